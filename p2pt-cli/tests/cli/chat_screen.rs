//! What `p2pt chat` looks like on a terminal, which tmux is.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::program::Tracker;

/// A guard against hanging, not a measurement.
const DEADLINE: Duration = Duration::from_secs(60);

/// A terminal in which a chat runs, on a tmux server of its own.
struct Screen {
    socket: String,
}

impl Screen {
    fn chat(name: &str, tracker: &Tracker) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let screen = Self { socket: format!("p2pt-{}-{number}", std::process::id()) };
        let program = env!("CARGO_BIN_EXE_p2pt");
        let chat =
            format!("{program} chat room --name {name} --loopback --tracker {}; echo left with $?; cat", tracker.url);
        screen.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "20", &chat]);
        screen
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let output = Command::new("tmux").args(["-L", &self.socket]).args(arguments).output();
        let output = output.expect("tmux starts: it is in the package tmux");
        assert!(output.status.success(), "tmux {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    fn type_text(&self, text: &str) {
        self.tmux(&["send-keys", "-l", text]);
    }

    fn press(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }

    /// The screen, once it is as wanted.
    async fn shows(&self, what: &str, wanted: impl Fn(&[&str]) -> bool) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let screen = self.tmux(&["capture-pane", "-p"]);
            let lines: Vec<&str> = screen.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
            if wanted(&lines) {
                return screen;
            }
            assert!(Instant::now() < deadline, "the screen does not show {what}:\n{screen}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn shows_line(&self, end: &str) {
        self.shows(end, |lines| lines.iter().any(|line| line.ends_with(end))).await;
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = Command::new("tmux").args(["-L", &self.socket, "kill-server"]).output();
    }
}

#[tokio::test]
#[ignore = "needs tmux: apt-get install tmux, then cargo test -p p2pt-cli --test cli chat_screen -- --ignored"]
async fn what_others_say_does_not_paste_into_what_is_typed() {
    let tracker = Tracker::start().await;
    let (ann, ben) = (Screen::chat("Ann", &tracker), Screen::chat("Ben", &tracker));
    ann.shows_line("is Ben").await;
    ben.shows_line("is Ann").await;

    ben.type_text("half of a l");
    ben.shows("what is typed", |lines| lines.last() == Some(&"> half of a l")).await;
    ann.type_text("hello, Ben");
    ann.press("Enter");
    // Above the line that is being typed, which stays as it is.
    ben.shows(
        "the line above",
        |lines| matches!(lines, [.., said, typed] if said.ends_with(" Ann: hello, Ben") && *typed == "> half of a l"),
    )
    .await;
    ben.type_text("ine");
    ben.press("Enter");
    ann.shows_line(" Ben: half of a line").await;

    // What was sent is there again, to be changed.
    ben.press("Up");
    ben.shows("the last line", |lines| lines.last() == Some(&"> half of a line")).await;
    ben.press("C-u");
    ben.type_text("/nick Benedict");
    ben.press("Enter");
    ann.shows_line("* Ben is Benedict").await;

    // Ctrl-C leaves in order, and the terminal is as it was before: `cat` echoes.
    ben.press("C-c");
    ann.shows_line("* Benedict has left").await;
    ben.shows_line("left with 0").await;
    ben.type_text("as before");
    ben.press("Enter");
    ben.shows("an echo and a copy", |lines| lines.iter().filter(|line| **line == "as before").count() == 2).await;
}

#[cfg(unix)]
#[tokio::test]
#[ignore = "needs tmux: apt-get install tmux, then cargo test -p p2pt-cli --test cli chat_screen -- --ignored"]
async fn a_terminal_is_as_before_after_a_signal() {
    let tracker = Tracker::start().await;
    let ann = Screen::chat("Ann", &tracker);
    ann.shows("a prompt", |lines| lines.last() == Some(&">")).await;
    let children = std::fs::read_to_string(format!(
        "/proc/{0}/task/{0}/children",
        ann.tmux(&["display", "-p", "#{pane_pid}"]).trim()
    ));
    let chat = children.expect("the shell has a child").split_whitespace().next().expect("one").to_owned();
    assert!(Command::new("kill").args(["-TERM", &chat]).status().expect("kill").success());
    ann.shows_line("left with 0").await;
    ann.type_text("as before");
    ann.press("Enter");
    ann.shows("an echo and a copy", |lines| lines.iter().filter(|line| **line == "as before").count() == 2).await;
}
