//! The smaller commands: help, tracker, scrape, chat.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdin};

use crate::program::{Tracker, exit_code, p2pt, run, stdout, text, until};

#[tokio::test]
async fn help_names_every_command_and_option() {
    for (arguments, named) in [
        (
            &["--help"][..],
            &["demo", "chat", "tracker", "web", "scrape", "pipe", "key", "room", "bench", "--verbose"][..],
        ),
        (&["demo", "--help"], &["--deadline"]),
        (
            &["chat", "--help"],
            &[
                "[IDENTIFIER]",
                "--tracker",
                "--stun",
                "--turn",
                "--relay-only",
                "--header",
                "--proxy",
                "--loopback",
                "--key",
                "--secret",
                "--secret-file",
                "--hidden-name",
                "--signed",
                "--only",
                "--require-agreement",
                "--known-peers",
            ],
        ),
        (
            &["bench", "--help"],
            &["[IDENTIFIER]", "--serve", "--one-process", "--json", "--reverse", "--only", "--tracker", "--loopback"],
        ),
        (
            &["tracker", "--help"],
            &[
                "--listen",
                "127.0.0.1:8000",
                "--tls-cert",
                "--trusted-proxy",
                "--proxy-protocol",
                "--metrics",
                "--interval",
            ],
        ),
        (&["key", "--help"], &["new", "show", "file"]),
        (&["key", "new", "--help"], &["[FILE]", "$XDG_CONFIG_HOME/p2pt/key", "--force"]),
        (&["room", "new", "--help"], &["[NAME]", "--qr"]),
        (&["web", "--help"], &["--listen", "0.0.0.0:8080", "--identifier", "--name", "--pages"]),
        (&["scrape", "--help"], &["<URL>", "[IDENTIFIER]...", "--json", "--deadline", "--root-certificate"]),
        (
            &["pipe", "--help"],
            &[
                "<IDENTIFIER>",
                "--tracker",
                "--no-default-stun",
                "--port",
                "--bind",
                "--connections",
                "--max-peers",
                "--allow",
                "--key",
                "--secret-file",
                "--require-agreement",
                "--known-peers",
            ],
        ),
    ] {
        let output = run(arguments).await;
        let help = text(&output.stdout);
        assert!(output.status.success());
        for name in named {
            assert!(help.contains(name), "{arguments:?} does not name {name}:\n{help}");
        }
    }
}

#[tokio::test]
async fn wrong_arguments_are_explained() {
    for (arguments, explanation) in [
        (&["dance"][..], "unrecognized subcommand"),
        (&["pipe"], "<IDENTIFIER>"),
        (&["pipe", "app", "--tracker", "http://example.org"], "ws:// or wss://"),
        (&["tracker", "--listen", "nowhere"], "invalid"),
        (&["demo", "--deadline", "0"], "more than 0"),
        (&["chat", "app", "--connections", "0"], "from 1 on"),
        (&["bench", "--serve"], "<IDENTIFIER>"),
        (&["bench", "app", "--one-process"], "cannot be used with"),
        (&["my-room"], "tip: to chat: p2pt chat my-room"),
        (&["chta"], "'chat'"),
        (&["scrape", "--tracker", "ws://127.0.0.1:9"], "tip: the URL goes first, without an option"),
        (&["chat", "app", "--tracker", "ws://a.example:1,ws://b.example:2"], "repeat --tracker"),
        (&["scrape", "ws://127.0.0.1:9", "ws://127.0.0.1:8"], "one tracker is asked at a time"),
    ] {
        let output = run(arguments).await;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains(explanation), "{arguments:?}: {}", text(&output.stderr));
    }
}

#[tokio::test]
async fn an_identifier_that_says_nothing_is_refused_by_every_command() {
    for arguments in
        [&["chat"][..], &["chat", "--p2chat"], &["pipe"], &["scrape", "ws://127.0.0.1:9"], &["doctor"], &["bench"]]
    {
        for blank in ["", " ", "\t\n"] {
            let output = run(&[arguments, &[blank]].concat()).await;
            assert_eq!(output.status.code(), Some(2), "{arguments:?} {blank:?}: {output:?}");
            let said = text(&output.stderr);
            assert!(said.contains("may not be empty") && said.contains("choose a name"), "{arguments:?}: {said}");
        }
    }
}

#[tokio::test]
async fn a_tracker_that_is_given_as_the_identifier_is_not_taken_for_one() {
    for command in ["chat", "pipe", "doctor", "bench"] {
        for url in ["ws://127.0.0.1:9", "WSS://tracker.example"] {
            let output = run(&[command, url]).await;
            assert_eq!(output.status.code(), Some(2), "{command} {url}: {output:?}");
            let said = text(&output.stderr);
            assert!(said.contains("that is a tracker's URL: --tracker"), "{command} {url}: {said}");
        }
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_tracker_ends_when_it_is_told_to() {
    for name in ["INT", "TERM"] {
        let tracker = Tracker::start().await;
        assert!(tracker.url.starts_with("ws://127.0.0.1:") && !tracker.url.ends_with(":0"), "{}", tracker.url);
        p2pt_tests::pipe::signal(&tracker.child, name).await;
        assert_eq!(exit_code(tracker.child).await, Some(0));
    }
}

#[tokio::test]
async fn a_tracker_says_why_it_cannot_listen() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(&["tracker", "--listen", &address]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains(&format!("cannot listen on {address}")), "{output:?}");
}

#[tokio::test]
async fn scrape_counts_members() {
    let tracker = Tracker::start().await;
    let mut member = tracker.pipe("member", &[]).await;
    member.tracker_connected(&tracker.url).await;

    let output = run(&["scrape", &tracker.url, "p2pt-cli tests", "nobody"]).await;
    let table: Vec<&str> = text(&output.stdout).lines().collect();
    assert!(output.status.success() && table.len() == 3, "{output:?}");
    assert!(table[1].trim_start().starts_with("1 ") && table[1].ends_with("p2pt-cli tests"), "{table:?}");
    assert!(table[2].trim_start().starts_with("0 ") && table[2].ends_with("nobody"), "{table:?}");

    let output = run(&["scrape", &tracker.url, "--json"]).await;
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["tracker"], tracker.url);
    assert_eq!(report["swarms"].as_array().map(Vec::len), Some(1), "{report}");
    let swarm = &report["swarms"][0];
    assert_eq!((&swarm["members"], &swarm["incomplete"], &swarm["complete"]), (&json!(1), &json!(1), &json!(0)));
    member.stop().await;
}

#[tokio::test]
async fn scrape_says_why_there_are_no_numbers() {
    // It listens, accepts by itself, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", silent.local_addr().unwrap());
    let output = run(&["scrape", &url, "app", "--deadline", "0.2"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains(&format!("{url} does not answer")), "{output:?}");

    drop(silent);
    let output = run(&["scrape", &url, "app"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains(&format!("{url} cannot be reached")), "{output:?}");
}

/// A `p2pt chat`, and its input.
fn chat(tracker: &Tracker) -> (Child, ChildStdin) {
    let mut command = p2pt(&["chat", "p2pt-cli chat", "--loopback", "--tracker", &tracker.url]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let stdin = child.stdin.take().expect("it is piped");
    (child, stdin)
}

#[tokio::test]
async fn two_people_chat() {
    let tracker = Tracker::start().await;
    let ((mut ann, mut to_ann), (mut ben, mut to_ben)) = (chat(&tracker), chat(&tracker));
    let (mut from_ann, mut from_ben) = (stdout(&mut ann), stdout(&mut ben));
    let greeting = until(&mut from_ann, "You are ").await;
    let ann_id = greeting.strip_prefix("* You are ").and_then(|rest| rest.get(..8)).unwrap().to_owned();
    until(&mut from_ann, "is here").await;
    until(&mut from_ben, &format!("{ann_id} is here")).await;

    to_ann.write_all(b"hello\x1b[2J there\n").await.unwrap();
    assert_eq!(until(&mut from_ben, "hello").await, format!("{ann_id}: hello\u{fffd}[2J there"));
    to_ben.write_all(format!("/dance\n/peers\n/msg {ann_id} psst\n").as_bytes()).await.unwrap();
    until(&mut from_ben, "there is no /dance").await;
    until(&mut from_ben, "1 here besides you").await;
    until(&mut from_ann, ": psst").await;

    to_ann.write_all(b"bye\n/quit\n").await.unwrap();
    until(&mut from_ben, ": bye").await;
    until(&mut from_ben, &format!("{ann_id} has left")).await;
    assert_eq!(exit_code(ann).await, Some(0));
    drop(to_ben);
    assert_eq!(exit_code(ben).await, Some(0));
}

#[tokio::test]
async fn a_chat_says_how_others_join_and_whom_it_asks_for_them() {
    let tracker = Tracker::start().await;
    let started = |arguments: &[&str]| {
        let mut command = p2pt(&[&["chat"], arguments, &["--loopback", "--tracker", &tracker.url]].concat());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        let from = stdout(&mut child);
        (child, from)
    };
    let (mut ann, mut from_ann) = started(&["two words", "--p2chat"]);
    let join = until(&mut from_ann, "Others join with: ").await;
    let options = format!("--tracker {} --loopback", tracker.url);
    assert_eq!(join, format!("* Others join with: p2pt chat 'two words' --p2chat {options}"));
    until(&mut from_ann, &format!("Looking for them by {}", tracker.url)).await;
    ann.kill().await.unwrap();

    // Without a room it draws one, in which those who type what it says meet it.
    let (mut ben, mut from_ben) = started(&[]);
    let join = until(&mut from_ben, "Others join with: ").await;
    let room = join.split(' ').nth(6).unwrap().to_owned();
    assert!(room.starts_with("room-") && room.len() == 15, "{join}");
    let (mut cem, mut from_cem) = started(&[&room]);
    until(&mut from_cem, "is here").await;
    until(&mut from_ben, "is here").await;
    ben.kill().await.unwrap();
    cem.kill().await.unwrap();
}

#[tokio::test]
async fn a_chat_tells_others_of_headers_and_not_what_is_in_them() {
    let arguments = ["chat", "room", "--loopback", "--header", "Authorization: s3cret", "--follow-redirects"];
    let output = run(&arguments).await;
    let said = text(&output.stdout);
    let hint = "* Others join with your --header and: p2pt chat room --follow-redirects --loopback\n";
    assert!(output.status.success() && said.contains(hint) && !said.contains("s3cret"), "{said}");
    // Public trackers are not on this machine.
    assert!(said.contains("there is no tracker"), "{said}");
}

#[tokio::test]
async fn a_chat_shows_warnings_in_its_own_way_without_a_terminal_too() {
    let mut command = p2pt(&["chat", "room", "--loopback", "--tracker", "ws://127.0.0.1:1"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut chat = command.spawn().expect("it starts");
    let mut from_chat = stdout(&mut chat);
    until(&mut from_chat, "! ws://127.0.0.1:1: ").await;
    drop(chat.stdin.take());
    let output = tokio::time::timeout(p2pt_tests::pipe::PATIENCE, chat.wait_with_output()).await;
    let output = output.expect("it ends in time").expect("it can be waited for");
    assert_eq!(text(&output.stderr), "");
}

#[tokio::test]
async fn the_version_says_which_build_it_is() {
    let [short, long] = [run(&["-V"]).await, run(&["--version"]).await];
    let short = text(&short.stdout).trim().to_owned();
    assert_eq!(short, format!("p2pt {}", env!("CARGO_PKG_VERSION")));
    let long = text(&long.stdout).trim().to_owned();
    assert!(long.starts_with(&format!("{short} (")) && long.ends_with(')'), "{long}");
}

#[tokio::test]
async fn completions_and_manual_pages_have_every_command() {
    let completions = run(&["completions", "bash"]).await;
    let man = run(&["man"]).await;
    let folder = std::env::temp_dir().join(format!("p2pt-man-{}", std::process::id()));
    let pages = run(&["man", "--folder", folder.to_str().unwrap()]).await;
    for output in [&completions, &man, &pages] {
        assert!(output.status.success(), "{output:?}");
    }
    for command in ["demo", "chat", "tracker", "scrape", "pipe", "key", "room", "doctor", "bench"] {
        assert!(text(&completions.stdout).contains(command), "{command}");
        assert!(text(&man.stdout).contains(&format!("p2pt\\-{command}")), "{command}");
        let page = std::fs::read_to_string(folder.join(format!("p2pt-{command}.1"))).unwrap();
        assert!(page.contains(".SH OPTIONS") || page.contains(".SH SYNOPSIS"), "{command}");
        for part in [".SH \"EXIT STATUS\"", ".SH ENVIRONMENT", ".SH EXAMPLES", "NO_COLOR", "RUST_LOG"] {
            assert!(page.contains(part), "{command} has no {part}:\n{page}");
        }
        let environment = page.split(".SH ENVIRONMENT").nth(1).unwrap();
        for (variable, without) in [
            ("P2PT_PROXY", &["demo", "tracker", "key", "room"][..]),
            ("P2PT_TURN_PASSWORD", &["demo", "tracker", "scrape", "key", "room"]),
            ("P2PT_SECRET", &["demo", "tracker", "scrape", "key", "room", "doctor", "bench"]),
        ] {
            assert_eq!(environment.contains(variable), !without.contains(&command), "{command}: {variable}");
        }
        let help = run(&[command, "--help"]).await;
        let help = text(&help.stdout);
        assert!(help.contains("Exit codes:") && help.contains("Examples:"), "{command}: {help}");
        let help = run(&[command, "-h"]).await;
        assert!(text(&help.stdout).contains("2 a wrong command line"), "{command}");
        // The same as the one in the folder.
        let alone = run(&["man", command]).await;
        assert_eq!(text(&alone.stdout), page, "{command}");
    }
    for part in ["key-new", "key-show", "key-file", "room-new"] {
        let page = std::fs::read_to_string(folder.join(format!("p2pt-{part}.1"))).unwrap();
        assert!(page.contains(".SH SYNOPSIS"), "{part}: {page}");
        // By the name that a reader sees, too.
        let alone = run(&["man", part]).await;
        assert_eq!(text(&alone.stdout), page, "{part}");
    }
    let unknown = run(&["man", "dance"]).await;
    assert!(text(&unknown.stderr).contains("there is no command \"dance\""), "{unknown:?}");
    for (command, is_stopped) in [("man", false), ("completions", false), ("scrape", false), ("tracker", true)] {
        let help = run(&[command, "--help"]).await;
        assert_eq!(text(&help.stdout).contains("also when Ctrl-C"), is_stopped, "{command}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
