//! Rooms with a secret: links, passphrases, and who stays outside.

use std::process::Stdio;

use p2pt_tests::interop::{connected, echo};
use p2pt_tests::pipe::PipePeer;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::program::{Folder, Tracker, exit_code, p2pt, run, stdout, text, until};

const PASSPHRASE: &str = "chance-lemon-bridge-otter-violin";

/// A link to a new room of this name.
async fn link(name: &str) -> String {
    let made = run(&["room", "new", name]).await;
    assert!(made.status.success(), "{made:?}");
    text(&made.stdout).trim_end().to_owned()
}

async fn identifier(peer: &mut PipePeer) -> String {
    peer.process().command(&json!({"swarms": true})).await;
    let swarms = peer.process().expect("swarms", |_| true).await;
    swarms["swarms"][0]["identifier"].as_str().expect("a name").to_owned()
}

fn with_secret(mut command: Command, secret: &str) -> Command {
    command.env("P2PT_SECRET", secret);
    command
}

#[tokio::test]
async fn a_link_is_all_that_programs_are_told_and_a_code_comes_on_demand() {
    let output = run(&["room", "new", "our table"]).await;
    let said = text(&output.stdout);
    assert!(said.starts_with("p2pt:our%20table#") && said.lines().count() == 1 && said.len() == 17 + 43 + 1, "{said}");
    assert_ne!(link("our table").await, said.trim_end());
    let drawn = run(&["room", "new", "--qr"]).await;
    let drawn = text(&drawn.stdout);
    assert!(
        drawn.starts_with("p2pt:room-") && drawn.contains('█') && drawn.contains("\x1b[38;5;16;48;5;231m"),
        "{drawn}"
    );
    let long = run(&["room", "new", &"x".repeat(1025)]).await;
    assert!(long.status.code() == Some(1) && long.stdout.is_empty(), "{long:?}");
}

#[tokio::test]
async fn those_with_the_secret_meet_however_they_were_given_it_and_others_stay_outside() {
    let (tracker, folder) = (Tracker::start().await, Folder::new("rooms"));
    let (link, file) = (link("table").await, folder.path("table.link"));
    std::fs::write(&file, format!("{link}\n")).unwrap();
    let mut outside = PipePeer::spawn("outside", tracker.pipe_at("table", &[])).await;
    let mut ann = PipePeer::spawn("ann", with_secret(tracker.pipe_at("table", &[]), &link)).await;
    let mut ben = PipePeer::spawn("ben", tracker.pipe_at(&link, &[])).await;
    connected(&mut ann, &mut ben).await;
    // A file comes before the environment.
    let from_file = with_secret(tracker.pipe_at("table", &["--secret-file", &file]), PASSPHRASE);
    let mut cem = PipePeer::spawn("cem", from_file).await;
    connected(&mut ann, &mut cem).await;
    let mut dot = PipePeer::spawn("dot", tracker.pipe_at("table", &["--secret", &link])).await;
    connected(&mut ann, &mut dot).await;
    echo(&mut ann, &mut dot, &json!("among us")).await;

    // Who has found the name, but not the secret, is not let in.
    let name = identifier(&mut ann).await;
    assert!(name.starts_with("p2pt1-"), "{name}");
    let mut thief = PipePeer::spawn("thief", tracker.pipe_at(&name, &[])).await;
    let id = thief.id().to_owned();
    let rejected = ann.about("connection_rejected", &id).await;
    assert_eq!((&rejected["code"], &rejected["forgery"]), (&json!("wrong_room"), &json!(false)), "{rejected}");
    for alone in [&mut outside, &mut thief] {
        alone.process().assert_unsaid("peer_connected");
    }
    for peer in [outside, ann, ben, cem, dot, thief] {
        peer.stop().await;
    }
}

#[tokio::test]
async fn a_pipe_joins_rooms_while_it_runs_and_takes_its_first_secret_from_its_input() {
    let tracker = Tracker::start().await;
    let mut ann = PipePeer::spawn("ann", tracker.pipe_at("elsewhere", &[])).await;
    ann.process().command(&json!({"join": {"identifier": "table", "secret": PASSPHRASE}})).await;
    assert_eq!(ann.process().expect("joined", |_| true).await["identifier"], "table");
    let first_line = tracker.pipe_at("table", &["--secret-file", "-"]);
    let mut ben = p2pt_tests::pipe::LineProcess::spawn("ben", first_line);
    ben.line(PASSPHRASE).await;
    // What follows is commands.
    ben.command(&json!({"peers": true})).await;
    let ready = ben.expect("ready", |_| true).await;
    ben.expect("peers", |_| true).await;
    let met = ann.about("peer_connected", ready["peer_id"].as_str().unwrap()).await;
    assert_eq!(met["swarm"], ready["info_hash"]);

    let link = link("lounge").await;
    ann.process().command(&json!({"join": link})).await;
    let joined = ann.process().expect("joined", |event| event["identifier"] == "lounge").await;
    ann.process().command(&json!({"set_identifier": {"identifier": link, "swarm": joined["swarm"]}})).await;
    for (command, complaint) in [
        (json!({"join": link[..link.len() - 1]}), "part of the link may be missing"),
        (json!({"join": "p2pt:lounge"}), "the link has no key"),
        (json!({"join": {"identifier": "lounge", "secret": "s3cret"}}), "11 characters at least"),
        (json!({"join": {"identifier": link, "secret": PASSPHRASE}}), "IDENTIFIER is a link"),
        (json!({"join": {"identifier": "lounge", "hidden_name": true}}), "there is none"),
        (json!({"join": {"identifier": link}}), "already"),
    ] {
        ann.process().command(&command).await;
        let error = ann.process().expect("error", |_| true).await["error"].as_str().unwrap().to_owned();
        assert!(error.contains(complaint), "{command}: {error}");
        for secret in ["s3cret", "lemon", &link[link.len() - 20..]] {
            assert!(!error.contains(secret), "{error}");
        }
    }
    ben.command(&json!({"stop": true})).await;
    ben.end().await;
    ann.stop().await;
}

#[tokio::test]
async fn a_room_of_which_only_the_name_is_hidden_takes_peers_that_know_the_name() {
    let tracker = Tracker::start().await;
    let hidden = with_secret(tracker.pipe_at("table", &["--hidden-name"]), PASSPHRASE);
    let mut ann = PipePeer::spawn("ann", hidden).await;
    let name = identifier(&mut ann).await;
    // It is no peer of JavaScript, but says no more than one.
    let mut script = PipePeer::spawn("script", tracker.pipe_at(&name, &["--peer-id", &"5c".repeat(20)])).await;
    connected(&mut ann, &mut script).await;
    ann.stop().await;
    script.stop().await;
}

#[tokio::test]
async fn what_names_no_room_is_explained_and_no_secret_is_shown() {
    let folder = Folder::new("rooms-wrong");
    let link = link("table").await;
    let (cut, no_text) = (&link[..link.len() - 1], folder.path("bytes"));
    std::fs::write(&no_text, b"\xff\xfe").unwrap();
    for (arguments, complaint) in [
        (&["chat", cut][..], "part of the link may be missing"),
        (&["chat", "lounge", "--secret", &link], "the link is to the room \"table\", and IDENTIFIER is \"lounge\""),
        (&["chat", &link, "--secret", PASSPHRASE], "unset P2PT_SECRET"),
        (&["chat", "--secret", PASSPHRASE], "give an IDENTIFIER"),
        (&["chat", "table", "--secret", "s3cret"], "11 characters at least"),
        (&["chat", "--hidden-name"], "there is none"),
        (&["pipe", "table", "--hidden-name"], "there is none"),
        (&["pipe", "table", "--secret-file", &no_text], "not UTF-8"),
        (&["pipe", "table", "--secret-file", &folder.path("nowhere")], "No such file"),
        (&["chat", "--p2chat", &link], "knows no rooms with a secret"),
        (&["pipe", "p2pt:table"], "the link has no key"),
    ] {
        let output = run(&[arguments, &["--loopback", "--no-default-trackers"]].concat()).await;
        let said = text(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains(complaint), "{arguments:?}: {output:?}");
        for secret in ["s3cret", "lemon", &cut[cut.len() - 20..]] {
            assert!(!said.contains(secret) && !text(&output.stdout).contains(secret), "{arguments:?}: {output:?}");
        }
    }
    let empty =
        with_secret(p2pt(&["pipe", "table", "--loopback", "--no-default-trackers"]), "").output().await.unwrap();
    assert!(text(&empty.stderr).contains("11 characters at least"), "{empty:?}");
    let both = run(&["pipe", "table", "--secret", PASSPHRASE, "--secret-file", "-"]).await;
    assert!(both.status.code() == Some(2) && !text(&both.stderr).contains("lemon"), "{both:?}");
    // Elsewhere a link leads nowhere.
    for arguments in
        [&["doctor"][..], &["bench"], &["scrape", "ws://127.0.0.1:9"], &["web", "--identifier"], &["room", "new"]]
    {
        let output = run(&[arguments, &[&link]].concat()).await;
        let said = text(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains("a link to a room"), "{arguments:?}: {output:?}");
        assert!(said.contains("'p2pt:table#…'") && !said.contains(&cut[cut.len() - 20..]), "{said}");
    }
}

#[tokio::test]
async fn a_chat_in_a_room_says_how_others_join_without_showing_the_secret() {
    let (tracker, folder) = (Tracker::start().await, Folder::new("rooms-chat"));
    let link = link("table").await;
    let started = |arguments: &[&str]| {
        let mut command = p2pt(&[&["chat", "--loopback", "--tracker", &tracker.url], arguments].concat());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let mut ann = started(&[&link]).spawn().expect("it starts");
    let mut from_ann = stdout(&mut ann);
    assert!(until(&mut from_ann, "You are ").await.contains("under \"table\""));
    let join = until(&mut from_ann, "Others join with").await;
    assert!(join.ends_with("--loopback, and the link") && join.contains("p2pt chat --secret-file - "), "{join}");
    assert!(!join.contains(&link[link.len() - 20..]), "{join}");
    until(&mut from_ann, "Only those with the secret").await;

    let mut ben = started(&["--secret-file", "-"]).spawn().expect("it starts");
    let (mut from_ben, mut to_ben) = (stdout(&mut ben), ben.stdin.take().expect("it is piped"));
    to_ben.write_all(format!("{link}\n").as_bytes()).await.unwrap();
    until(&mut from_ben, "is here").await;
    until(&mut from_ann, "is here").await;
    to_ben.write_all(b"the second line is said\n").await.unwrap();
    until(&mut from_ann, "the second line is said").await;
    to_ben.write_all(b"/quit\n").await.unwrap();
    assert_eq!(exit_code(ben).await, Some(0));
    ann.kill().await.unwrap();

    // A file that others can read is used, and is warned of.
    let file = folder.path("passphrase");
    std::fs::write(&file, PASSPHRASE).unwrap();
    #[cfg(unix)]
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let mut cem = started(&["table", "--secret-file", &file]);
    let output = cem.stdin(Stdio::null()).output().await.unwrap();
    let (said, warned) = (text(&output.stdout), text(&output.stderr));
    assert!(said.contains("p2pt chat table --secret-file - ") && said.contains("and the passphrase\n"), "{said}");
    assert!(!said.contains("lemon") && (cfg!(windows) || warned.contains("mode 0644")), "{said} {warned}");
}

#[tokio::test]
async fn help_warns_of_secrets_on_the_command_line() {
    let help = run(&["chat", "--help"]).await;
    let help: String = text(&help.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains("On the command line, all who use this machine can see it"), "{help}");
    let man = run(&["man", "pipe"]).await;
    assert!(text(&man.stdout).contains("P2PT_SECRET"), "{man:?}");
}
