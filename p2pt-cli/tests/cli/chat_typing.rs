//! `p2pt chat` at a terminal at which lines are typed, or pasted, faster than they are dealt with.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::thread;

use p2pt_tests::pipe::PATIENCE;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tokio::process::Child;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::program::{exit_code, p2pt};

/// A terminal in which a chat runs that meets no peer.
struct Typist {
    chat: Child,
    keyboard: File,
    screen: mpsc::Receiver<Vec<u8>>,
    /// All that the screen has been sent.
    shown: String,
}

impl Typist {
    fn new(arguments: &[&str]) -> Self {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&keyboard).and_then(|()| unlockpt(&keyboard)).expect("it can be opened");
        let path = ptsname(&keyboard, Vec::new()).expect("its other side has a name");
        let path = Path::new(path.to_str().expect("UTF-8"));
        let open = || File::options().read(true).write(true).open(path).expect("its other side");
        let mut chat = p2pt(&[&["chat", "--loopback", "--no-default-trackers"], arguments].concat());
        chat.env("TERM", "xterm").stdin(open()).stdout(open()).stderr(open());
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

    /// The names that the chat has taken, in their order.
    fn names(&self) -> Vec<&str> {
        let said = self.shown.split("You are \"").skip(1);
        said.filter_map(|said| said.split_once("\" now")).map(|(name, _)| name).collect()
    }

    async fn leave(mut self) {
        self.write("/quit\r");
        assert_eq!(exit_code(self.chat).await, Some(0));
    }
}

#[tokio::test]
async fn lines_that_come_at_once_are_all_dealt_with() {
    let mut typist = Typist::new(&["room"]);
    typist.shows("> ").await;
    typist.write("/nick one\r/nick two\r/nick three\r");
    typist.shows("You are \"one\" now").await;
    // Lines that were lost do not come before this one.
    typist.write("/nick last\r");
    typist.shows("You are \"last\" now").await;
    assert_eq!(typist.names(), ["one", "two", "three", "last"]);
    typist.leave().await;
}

#[tokio::test]
async fn lines_that_come_while_others_are_dealt_with_are_not_lost() {
    let mut typist = Typist::new(&["room"]);
    typist.shows("> ").await;
    let names: Vec<String> = (0..60).map(|number| format!("n{number}")).collect();
    for name in &names {
        typist.write(&format!("/nick {name}\r"));
        tokio::task::yield_now().await;
    }
    typist.write("/nick last\r");
    typist.shows("You are \"last\" now").await;
    assert_eq!(typist.names()[..60], names);
    typist.leave().await;
}

#[tokio::test]
async fn a_secret_that_is_typed_is_not_shown_and_what_comes_after_is() {
    let mut typist = Typist::new(&["our-table", "--secret-file", "-"]);
    typist.shows("its passphrase: ").await;
    typist.write("chance-lemon-bridge-otter-violin\r");
    typist.shows("> ").await;
    typist.write("/nick ann\r");
    typist.shows("You are \"ann\" now").await;
    for shown in ["under \"our-table\"", "Only those with the secret", "/nick ann"] {
        assert!(typist.shown.contains(shown), "{shown}: {}", typist.shown);
    }
    assert!(!typist.shown.contains("lemon"), "{}", typist.shown);
    typist.leave().await;
}

#[tokio::test]
async fn who_does_not_know_the_secret_gets_out_again() {
    let mut typist = Typist::new(&["our-table", "--secret-file", "-"]);
    typist.shows("its passphrase: ").await;
    p2pt_tests::pipe::signal(&typist.chat, "INT").await;
    typist.shows("interrupted").await;
    assert_eq!(exit_code(typist.chat).await, Some(1));
}
