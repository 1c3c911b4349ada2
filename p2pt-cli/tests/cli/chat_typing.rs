//! `p2pt chat` at a terminal at which lines are typed, or pasted, faster than they are dealt with.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Stdio;
use std::thread;

use p2pt_tests::pipe::PATIENCE;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tokio::io::AsyncWriteExt;
use tokio::process::Child;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::program::{Tracker, exit_code, p2pt, stdout, until};

/// A terminal in which a chat runs.
struct Typist {
    chat: Child,
    keyboard: File,
    screen: mpsc::Receiver<Vec<u8>>,
    /// All that the screen has been sent.
    shown: String,
}

impl Typist {
    /// A chat that meets no peer.
    fn new() -> Self {
        Self::with(&[], &[])
    }

    /// A chat with these arguments more, and this in its environment.
    fn with(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&keyboard).and_then(|()| unlockpt(&keyboard)).expect("it can be opened");
        let path = ptsname(&keyboard, Vec::new()).expect("its other side has a name");
        let path = Path::new(path.to_str().expect("UTF-8"));
        let open = || File::options().read(true).write(true).open(path).expect("its other side");
        let mut chat = p2pt(&["chat", "room", "--loopback", "--no-default-trackers"]);
        chat.args(arguments);
        chat.env("TERM", "xterm").envs(environment.iter().copied()).stdin(open()).stdout(open()).stderr(open());
        let chat = chat.spawn().expect("it starts");
        let keyboard = File::from(keyboard);
        let mut from = keyboard.try_clone().expect("a second handle");
        let (seen, screen) = mpsc::channel(64);
        // Reading ends with an error when the other side is closed.
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                if seen.blocking_send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { chat, keyboard, screen, shown: String::new() }
    }

    fn write(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("the terminal takes it");
    }

    /// Waits until the screen has been sent this.
    async fn shows(&mut self, wanted: &str) {
        while !self.shown.contains(wanted) {
            let next = timeout(PATIENCE, self.screen.recv()).await;
            let next = next.unwrap_or_else(|_| panic!("the screen does not show {wanted}: {}", self.shown));
            self.shown.push_str(&String::from_utf8_lossy(&next.expect("the chat runs")));
        }
    }

    async fn leave(mut self) {
        self.write("/quit\r");
        self.ends().await;
    }

    /// Waits until the chat has ended in order; returns all that the screen has been sent.
    async fn ends(self) -> String {
        let Self { chat, keyboard: _open, mut screen, mut shown } = self;
        let closed = async {
            while let Some(next) = screen.recv().await {
                shown.push_str(&String::from_utf8_lossy(&next));
            }
        };
        timeout(PATIENCE, closed).await.expect("the chat closes its terminal");
        assert_eq!(exit_code(chat).await, Some(0));
        shown
    }
}

/// The names that a screen says the chat has taken, in their order.
fn taken_names(shown: &str) -> Vec<&str> {
    let said = shown.split("You are \"").skip(1);
    said.filter_map(|said| said.split_once("\" now")).map(|(name, _)| name).collect()
}

#[tokio::test]
async fn lines_that_come_at_once_are_all_dealt_with() {
    let mut typist = Typist::new();
    typist.shows("> ").await;
    typist.write("/nick one\r/nick two\r/nick three\r");
    typist.shows("You are \"one\" now").await;
    // Lines that were lost do not come before this one.
    typist.write("/nick last\r");
    typist.shows("You are \"last\" now").await;
    assert_eq!(taken_names(&typist.shown), ["one", "two", "three", "last"]);
    typist.leave().await;
}

#[tokio::test]
async fn lines_that_come_while_others_are_dealt_with_are_not_lost() {
    let mut typist = Typist::new();
    typist.shows("> ").await;
    let names: Vec<String> = (0..60).map(|number| format!("n{number}")).collect();
    for name in &names {
        typist.write(&format!("/nick {name}\r"));
        tokio::task::yield_now().await;
    }
    typist.write("/nick last\r");
    typist.shows("You are \"last\" now").await;
    assert_eq!(taken_names(&typist.shown)[..60], names);
    typist.leave().await;
}

#[tokio::test]
async fn what_is_said_last_is_shown_however_the_chat_is_left() {
    // The last is Ctrl-D, with which the editor ends before its lines are dealt with.
    for leave in ["/quit\r", "\x04"] {
        let mut typist = Typist::new();
        typist.shows("> ").await;
        typist.write(&format!("/nick one\r/nick two\r/nick three\r{leave}"));
        let shown = typist.ends().await;
        assert_eq!(taken_names(&shown), ["one", "two", "three"], "{leave:?}: {shown}");
    }
}

#[tokio::test]
async fn lines_are_in_order_while_a_line_is_typed_in_a_terminal_without_colours() {
    let mut typist = Typist::with(&[], &[("NO_COLOR", "1")]);
    typist.shows("> ").await;
    typist.write("/nick one\r/nick two\rhalf of a l");
    typist.shows("You are \"two\" now").await;
    typist.write("ine\r/nick last\r");
    typist.shows("You are \"last\" now").await;
    assert_eq!(taken_names(&typist.shown), ["one", "two", "last"]);
    typist.leave().await;
}

#[tokio::test]
async fn what_peers_say_is_shown_in_order_while_lines_are_pasted() {
    const LINES: usize = 60;
    let tracker = Tracker::start().await;
    let arguments = ["--tracker", &tracker.url];
    let mut typist = Typist::with(&arguments, &[]);
    let mut ann = p2pt(&["chat", "room", "--loopback", "--name", "Ann"]);
    let mut ann = ann.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let (mut to_ann, mut from_ann) = (ann.stdin.take().expect("it is piped"), stdout(&mut ann));
    typist.shows("is Ann").await;
    until(&mut from_ann, "is here").await;
    for number in 0..LINES {
        to_ann.write_all(format!("said {number}.\n").as_bytes()).await.expect("Ann takes it");
        typist.write(&format!("/nick n{number}\r"));
    }
    typist.shows(&format!("said {}.", LINES - 1)).await;
    typist.shows(&format!("You are \"n{}\" now", LINES - 1)).await;
    // What is typed is echoed, with other words.
    let said: Vec<&str> = typist.shown.split("said ").skip(1).filter_map(|said| said.split('.').next()).collect();
    let numbers: Vec<String> = (0..LINES).map(|number| number.to_string()).collect();
    assert_eq!(said, numbers);
    assert_eq!(taken_names(&typist.shown), numbers.iter().map(|number| format!("n{number}")).collect::<Vec<_>>());
    typist.leave().await;
    drop(to_ann);
    assert_eq!(exit_code(ann).await, Some(0));
}

#[tokio::test]
async fn a_secret_that_is_typed_is_not_shown_and_what_comes_after_is() {
    let mut typist = Typist::with(&["--secret-file", "-"], &[]);
    typist.shows("its passphrase: ").await;
    typist.write("chance-lemon-bridge-otter-violin\r");
    typist.shows("> ").await;
    typist.write("/nick ann\r");
    typist.shows("You are \"ann\" now").await;
    for shown in ["under \"room\"", "Only those with the secret", "/nick ann"] {
        assert!(typist.shown.contains(shown), "{shown}: {}", typist.shown);
    }
    assert!(!typist.shown.contains("lemon"), "{}", typist.shown);
    typist.leave().await;
}

#[tokio::test]
async fn who_does_not_know_the_secret_gets_out_again() {
    let mut typist = Typist::with(&["--secret-file", "-"], &[]);
    typist.shows("its passphrase: ").await;
    p2pt_tests::pipe::signal(&typist.chat, "INT").await;
    typist.shows("interrupted").await;
    assert_eq!(exit_code(typist.chat).await, Some(1));
}
