//! The first example of the crate doc meets a copy of itself: two processes, a real tracker, real WebRTC.
#![cfg(all(feature = "webrtc", feature = "server"))]

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use p2pt::tracker::{ServerConfig, TrackerServer};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// A guard against hanging, not a measurement.
const DEADLINE: Duration = Duration::from_secs(60);

fn example() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let profile = test.parent().and_then(|deps| deps.parent()).expect("tests lie in target/<profile>/deps");
    let example = profile.join("examples").join(format!("hello{}", std::env::consts::EXE_SUFFIX));
    assert!(example.exists(), "{} is missing: `cargo test -p p2pt` builds it", example.display());
    example
}

fn start(url: &str) -> Child {
    let mut command = Command::new(example());
    command.arg(url).stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("the example starts")
}

async fn first_line(child: &mut Child) -> String {
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let line = timeout(DEADLINE, lines.next_line()).await.expect("in time");
    line.expect("readable").expect("the example goes on")
}

#[tokio::test]
async fn the_first_example_talks_to_a_copy_of_itself() {
    let tracker = TrackerServer::bind("127.0.0.1:0", ServerConfig::default()).await.expect("a free port");
    let url = tracker.url().to_string();
    let (mut one, mut two) = (start(&url), start(&url));
    let (said_one, said_two) = tokio::join!(first_line(&mut one), first_line(&mut two));
    for said in [said_one, said_two] {
        assert!(said.ends_with(r#" answers Some("nice to meet you")"#), "{said}");
    }
    one.kill().await.expect("killed");
    two.kill().await.expect("killed");
    tracker.shutdown().await;
}
