"""Draws what the program shows in a terminal, as SVG: `cargo build --release`, then `python docs/pictures.py`. Needs the
PyPI package rich, `script` of util-linux, and tmux. The pictures in this folder were made by it."""

import io
import pathlib
import subprocess
import time

from rich.console import Console
from rich.text import Text

HERE = pathlib.Path(__file__).parent
PROGRAM = HERE.parent / "target" / "release" / "p2pt"


def draw(name, title, shown, width):
    console = Console(record=True, width=width, file=io.StringIO())
    console.print(Text.from_ansi(shown.replace("\r", "")))
    # rich names fonts on a web server, which pages should not ask for.
    kept, skip = [], False
    for line in console.export_svg(title=title).splitlines():
        skip = skip or "@font-face" in line
        if not skip and "<!--" not in line:
            kept.append(line.replace("Fira Code, ", ""))
        skip = skip and "}" not in line
    (HERE / f"{name}.svg").write_text("\n".join(kept) + "\n")


def demo():
    command = ["script", "-qec", f"{PROGRAM} demo", "/dev/null"]
    shown = subprocess.run(command, capture_output=True, check=True).stdout.decode()
    draw("demo", "p2pt demo", f"$ p2pt demo\n{shown}", 92)


def chat():
    tracker = subprocess.Popen([PROGRAM, "tracker", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True)
    url = tracker.stdout.readline().split()[-1]

    def tmux(*arguments):
        return subprocess.run(["tmux", "-L", "p2pt-pictures", *arguments], capture_output=True, text=True, check=True).stdout

    def say(who, text):
        tmux("send-keys", "-t", who, "-l", text)
        tmux("send-keys", "-t", who, "Enter")
        time.sleep(0.5)

    try:
        for who in ["Ann", "Ben"]:
            command = f"{PROGRAM} chat holiday --name {who} --loopback --tracker {url}"
            tmux("-f", "/dev/null", "new-session", "-d", "-s", who, "-x", "92", "-y", "16", command)
        time.sleep(1.5)
        say("Ben", "Is the lake warm enough to swim?")
        say("Ann", "Warmer than last year.")
        say("Ben", "Then I am packing. Who brings the boat?")
        tmux("send-keys", "-t", "Ann", "-l", "I do, and what others say meanwhile stays ab")
        say("Ben", "And the tent?")
        draw("chat", "p2pt chat holiday --name Ann", tmux("capture-pane", "-e", "-p", "-t", "Ann").rstrip(), 92)
    finally:
        subprocess.run(["tmux", "-L", "p2pt-pictures", "kill-server"], capture_output=True)
        tracker.kill()


demo()
chat()
