"""Draws what the program shows in a terminal, as SVG: `python docs/pictures.py` (needs the PyPI package rich, and `script`
of util-linux). The pictures in this folder were made by it."""

import io
import pathlib
import subprocess

from rich.console import Console
from rich.text import Text

HERE = pathlib.Path(__file__).parent
PROGRAM = HERE.parent / "target" / "release" / "p2pt"

for name, arguments, width in [("demo", "demo", 92)]:
    command = f"{PROGRAM} {arguments}"
    shown = subprocess.run(["script", "-qec", command, "/dev/null"], capture_output=True, check=True).stdout.decode()
    console = Console(record=True, width=width, file=io.StringIO())
    console.print(Text.from_ansi(f"$ p2pt {arguments}\n{shown}".replace("\r", "")))
    # rich names fonts on a web server, which pages should not ask for.
    svg = console.export_svg(title=f"p2pt {arguments}")
    kept, skip = [], False
    for line in svg.splitlines():
        skip = skip or "@font-face" in line
        if not skip:
            kept.append(line.replace("Fira Code, ", ""))
        skip = skip and "}" not in line
    (HERE / f"{name}.svg").write_text("\n".join(kept) + "\n")
