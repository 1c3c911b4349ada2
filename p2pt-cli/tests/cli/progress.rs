//! What is seen on a terminal while something takes its time, and not seen elsewhere.
//!
//! The terminal is that of the command `script`, which each Linux system has.

use std::process::Stdio;

use p2pt_tests::pipe::PATIENCE;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::timeout;

use crate::program::{run, text};

/// What `p2pt` shows with these arguments on a terminal of this kind, until it ends.
async fn on_a_terminal(kind: &str, arguments: &[&str]) -> String {
    let line = [&[env!("CARGO_BIN_EXE_p2pt")], arguments].concat().join(" ");
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).env_remove("RUST_LOG").env("TERM", kind);
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = timeout(PATIENCE, output).await.expect("it ends in time").expect("script is there");
    text(&output.stdout).to_owned()
}

/// A port that accepts and says nothing.
async fn silence() -> (TcpListener, String) {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("ws://{}", silent.local_addr().expect("bound"));
    (silent, url)
}

#[tokio::test]
async fn what_is_waited_for_is_on_the_terminal_and_gone_before_the_result() {
    let (_silent, url) = silence().await;
    for (arguments, waited_for) in [
        (vec!["scrape", &url, "app", "--deadline", "2.5"], url.clone()),
        (vec!["doctor", "--no-default-stun", "--deadline", "2.5", "--tracker", &url], url.clone()),
        (
            vec!["doctor", "us", "--no-default-trackers", "--loopback", "--deadline", "1", "--wait", "2.5"],
            "the partner, 2 s at most".to_owned(),
        ),
    ] {
        let shown = on_a_terminal("xterm", &arguments).await;
        let line = format!("\r\u{1b}[Kwaiting 1 s for {waited_for}");
        let (_, after) = shown.split_once(&line).unwrap_or_else(|| panic!("{arguments:?} does not say it:\n{shown:?}"));
        let (_, after) = after.rsplit_once("waiting ").unwrap_or(("", after));
        assert!(after.contains("\r\u{1b}[K"), "{arguments:?}: the line stays: {shown:?}");
    }
}

#[tokio::test]
async fn elsewhere_nothing_of_it_is_seen() {
    let (_silent, url) = silence().await;
    let scrape = ["scrape", &url, "app", "--deadline", "1.5"];
    let output = run(&scrape).await;
    assert!(output.stdout.is_empty() && !text(&output.stderr).contains("waiting"), "{output:?}");
    let json = on_a_terminal("xterm", &[&scrape[..], &["--json"]].concat()).await;
    let dumb = on_a_terminal("dumb", &scrape).await;
    assert!(!json.contains("waiting") && !dumb.contains("waiting"), "{json:?} {dumb:?}");
}
