//! `p2pt bench`: what it prints, with every kind of partner, and how it ends when there is none.

use std::process::{Output, Stdio};

use p2pt_tests::pipe::{PATIENCE, PipePeer};
use serde_json::{Map, Value, json};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::program::{Tracker, exit_code, line, p2pt, run, stdout, text};

/// Few of everything: what is printed matters here, not how fast it goes.
const FEW: [&str; 10] =
    ["--connects", "2", "--round-trips", "20", "--messages", "300", "--texts", "2", "--megabytes", "1"];

const KEYS: [&str; 14] = [
    "connect_ms",
    "rtt_us_p50",
    "rtt_us_p99",
    "small_per_s",
    "small_delay_us_p50",
    "small_delay_us_p99",
    "small_delay_us_max",
    "text_1mb_mb_s",
    "text_16mb_mb_s",
    "raw_mb_s",
    "raw_cpu_s_per_gb",
    "rss_kb_per_peer",
    "peer",
    "version",
];

const REVERSE_KEYS: [&str; 3] = ["reverse_small_per_s", "reverse_text_1mb_mb_s", "reverse_raw_mb_s"];

/// The one JSON object that a program has written.
fn object(output: &Output) -> Map<String, Value> {
    assert!(output.status.success(), "{output:?}");
    assert_eq!(text(&output.stdout).lines().count(), 1, "{output:?}");
    serde_json::from_slice(&output.stdout).expect("an object")
}

/// The keys are these, and the figures positive, but for those that are not known.
fn check(object: &Map<String, Value>, keys: &[&str], unknown: &[&str]) {
    assert_eq!(object.len(), keys.len(), "{object:?}");
    for key in keys {
        match &object[*key] {
            Value::Null => assert!(unknown.contains(key), "{key} of {object:?}"),
            Value::Number(figure) => {
                assert!(!unknown.contains(key), "{key} of {object:?}");
                // Few bytes may take less than the smallest time that a system counts.
                let positive = figure.as_f64().is_some_and(|figure| figure > 0.0 || *key == "raw_cpu_s_per_gb");
                assert!(positive, "{key} of {object:?}");
            }
            other => assert_eq!((*key, other.is_string()), ("peer", true), "{object:?}"),
        }
    }
    let (least, middle, most) = ("small_delay_us_p50", "small_delay_us_p99", "small_delay_us_max");
    let delay = |key: &str| object[key].as_f64();
    assert!(delay(least) <= delay(middle) && delay(middle) <= delay(most), "{object:?}");
    assert!(object["rtt_us_p50"].as_f64() <= object["rtt_us_p99"].as_f64(), "{object:?}");
}

#[tokio::test]
async fn everything_is_measured_on_this_machine() {
    let mut command = p2pt(&[&["bench", "--json", "--reverse"], &FEW[..]].concat());
    // A proxy that does not exist is no matter: nothing leaves this machine.
    let output = output(command.stdin(Stdio::null()).env("P2PT_PROXY", "socks5://127.0.0.1:9")).await;
    let object = object(&output);
    let unknown: &[&str] = if cfg!(target_os = "linux") { &[] } else { &["raw_cpu_s_per_gb", "rss_kb_per_peer"] };
    check(&object, &[&KEYS[..], &REVERSE_KEYS].concat(), unknown);
    assert_eq!((&object["peer"], &object["version"]), (&json!(concat!("p2pt ", env!("CARGO_PKG_VERSION"))), &json!(1)));
    // There is nothing to warn of, and no terminal.
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[tokio::test]
async fn people_get_a_table() {
    let output = run(&[&["bench", "--one-process", "--only", "rtt,raw,text"], &FEW[..]].concat()).await;
    let (table, progress) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{output:?}");
    let named = |name: &str| table.lines().any(|line| line.starts_with(&format!("  {name} ")));
    for (name, measured) in
        [("round trip", true), ("texts of 16 MB", true), ("raw frames", true), ("connect", false), ("memory", false)]
    {
        assert_eq!(named(name), measured, "{name} in\n{table}");
    }
    assert!(table.contains(" µs ") && table.contains(" MB/s ") && table.contains(", in this process\n"), "{table}");
    for test in ["round trip", "texts of 1 MB", "raw frames"] {
        assert!(progress.lines().any(|line| line == format!("measuring: {test}")), "no {test} in\n{progress}");
    }
    // Neither is a terminal.
    assert!(!table.contains('\x1b') && !progress.contains(['\x1b', '\r']), "{output:?}");
}

/// `p2pt bench` with the partner of this identifier.
fn bench(tracker: &Tracker, identifier: &str, arguments: &[&str]) -> Command {
    let mut command = p2pt(&["bench", identifier, "--loopback", "--tracker", &tracker.url]);
    command.args(arguments).stdin(Stdio::null());
    command
}

async fn output(command: &mut Command) -> Output {
    timeout(PATIENCE, command.output()).await.expect("it ends in time").expect("it starts")
}

/// The program has failed, and says why in these words.
fn failed(output: &Output, words: &str) {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stderr).contains(words) && output.stdout.is_empty(), "{output:?}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_partner_serves_one_after_the_other_until_it_is_told_to_stop() {
    let tracker = Tracker::start().await;
    let mut partner = bench(&tracker, "app", &["--serve"]).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut says = stdout(&mut partner);
    assert!(line(&mut says).await.starts_with("serving those who measure under \"app\""));
    for _ in 0..2 {
        let measured = output(&mut bench(&tracker, "app", &[&["--json", "--reverse"], &FEW[..]].concat())).await;
        let unknown: &[&str] =
            if cfg!(target_os = "linux") { &["rss_kb_per_peer"] } else { &["raw_cpu_s_per_gb", "rss_kb_per_peer"] };
        check(&object(&measured), &[&KEYS[..], &REVERSE_KEYS].concat(), unknown);
    }
    // Each of them met it twice.
    for what in ["is here", "has left"].repeat(4) {
        assert!(line(&mut says).await.ends_with(what));
    }
    p2pt_tests::pipe::signal(&partner, "INT").await;
    assert_eq!(exit_code(partner).await, Some(0));
}

#[tokio::test]
async fn who_meets_no_partner_is_told_why() {
    let tracker = Tracker::start().await;
    let alone = output(&mut bench(&tracker, "nobody", &["--deadline", "0.5", "--json"])).await;
    failed(&alone, "no partner was met under \"nobody\" within 500ms");

    let memory = output(&mut bench(&tracker, "nobody", &["--only", "memory"])).await;
    failed(&memory, "memory can be measured only where the partner is");

    // A peer is there, for another reason.
    let _other = tracker.pipe("other", &[]).await;
    let alone = output(&mut bench(&tracker, "p2pt-cli tests", &["--deadline", "2"])).await;
    failed(&alone, "was met, but answers nothing");
}

/// One who measures, and a partner that answers as a test wants it to, as one in another language could.
struct Scene {
    measurer: Child,
    partner: PipePeer,
}

impl Scene {
    async fn begin(tracker: &Tracker, arguments: &[&str]) -> Self {
        let mut partner = tracker.pipe("partner", &[]).await;
        partner.tracker_connected(&tracker.url).await;
        let mut command = bench(tracker, "p2pt-cli tests", arguments);
        let measurer = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        Self { measurer, partner }
    }

    /// Awaits a request, and answers it.
    async fn answer(&mut self, request: Value, answer: Value) {
        let asked = self.partner.process().expect("message", |_| true).await;
        assert_eq!(asked["message"], request);
        let respond = json!({"peer": asked["peer"], "id": asked["id"], "message": answer});
        self.partner.process().command(&json!({"respond": respond})).await;
    }

    async fn hello(&mut self, version: u32) {
        let answer = json!({"bench": "hello", "version": version, "name": "chromium"});
        self.answer(json!({"bench": "hello"}), answer).await;
    }

    async fn end(self) -> Output {
        timeout(PATIENCE, self.measurer.wait_with_output()).await.expect("it ends in time").expect("it has ended")
    }
}

/// What a partner says to have counted that does not know its processor time.
fn count(frames: u64) -> Value {
    let (bytes, span_us) = (frames * 65_536, 4_000);
    json!({"messages": 0, "frames": frames, "bytes": bytes, "span_us": span_us, "cpu_us": null, "delays_us": null})
}

#[tokio::test]
async fn a_partner_may_be_written_in_any_language() {
    let tracker = Tracker::start().await;
    let mut scene = Scene::begin(&tracker, &["--json", "--only", "raw", "--megabytes", "1"]).await;
    scene.hello(1).await;
    scene.answer(json!({"bench": "sink"}), json!({"ready": true})).await;
    for _ in 0..16 {
        scene.partner.process().expect("data", |event| event["base64"].is_string()).await;
    }
    scene.answer(json!({"bench": "report"}), count(16)).await;
    let object = object(&scene.end().await);
    assert_eq!((&object["peer"], &object["raw_mb_s"]), (&json!("chromium"), &json!(262.144)));
    assert!(object["raw_cpu_s_per_gb"].is_null() && object["connect_ms"].is_null(), "{object:?}");
}

#[tokio::test]
async fn what_a_partner_sends_is_counted() {
    let tracker = Tracker::start().await;
    let mut scene =
        Scene::begin(&tracker, &["--json", "--reverse", "--only", "text", "--texts", "2", "--deadline", "60"]).await;
    scene.hello(1).await;
    for times in [2, 1] {
        scene.answer(json!({"bench": "echo"}), json!({"ready": true})).await;
        for _ in 0..times {
            let asked = scene.partner.process().expect("message", |event| event["message"].is_string()).await;
            let respond = json!({"peer": asked["peer"], "id": asked["id"], "message": "ok"});
            scene.partner.process().command(&json!({"respond": respond})).await;
        }
    }
    let source = json!({"bench": "source", "messages": 2, "bytes": 1_000_000});
    scene.answer(source, json!({"ready": true})).await;
    for message in [json!("a"), json!("b"), json!({"bench": "done", "cpu_us": null})] {
        scene.partner.process().command(&json!({"send": {"peer": "*", "message": message}})).await;
    }
    assert!(object(&scene.end().await)["reverse_text_1mb_mb_s"].as_f64() > Some(0.0));
}

#[tokio::test]
async fn partners_that_do_not_do_their_part_are_told_apart() {
    let tracker = Tracker::start().await;
    let mut scene = Scene::begin(&tracker, &[]).await;
    scene.hello(2).await;
    failed(&scene.end().await, "the partner, \"chromium\", speaks version 2 of the bench protocol");

    let mut scene = Scene::begin(&tracker, &["--only", "raw", "--megabytes", "1"]).await;
    scene.hello(1).await;
    scene.answer(json!({"bench": "sink"}), json!({"ready": true})).await;
    scene.answer(json!({"bench": "report"}), count(15)).await;
    failed(&scene.end().await, "raw frames: 16 were sent, but 15 have arrived");

    let mut scene = Scene::begin(&tracker, &["--only", "rtt"]).await;
    scene.hello(1).await;
    scene.answer(json!({"bench": "echo"}), json!({"error": "not today"})).await;
    failed(&scene.end().await, "round trip: the partner refuses: not today");

    let mut scene = Scene::begin(&tracker, &["--only", "rtt", "--deadline", "3"]).await;
    scene.hello(1).await;
    failed(&scene.end().await, "round trip: ");
}

#[tokio::test]
async fn a_partner_that_goes_ends_it() {
    let tracker = Tracker::start().await;
    let mut scene = Scene::begin(&tracker, &["--only", "rtt"]).await;
    scene.hello(1).await;
    scene.partner.process().expect("message", |event| event["message"]["bench"] == "echo").await;
    let Scene { measurer, partner } = scene;
    partner.stop().await;
    let output = timeout(PATIENCE, measurer.wait_with_output()).await.expect("it ends in time").expect("it has ended");
    failed(&output, "round trip: the peer went before it responded: closed by the other side");
}

/// The processes that a process has started.
#[cfg(target_os = "linux")]
fn children(of: u32) -> Vec<u32> {
    let threads = std::fs::read_dir(format!("/proc/{of}/task")).into_iter().flatten().flatten();
    let children = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    children.flat_map(|ids| ids.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<u32>>()).collect()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn no_process_is_left_behind() {
    use std::time::Duration;

    /// A process that has ended has no command line, even if it has not been waited for.
    fn runs(process: u32) -> bool {
        std::fs::read(format!("/proc/{process}/cmdline")).is_ok_and(|line| !line.is_empty())
    }

    let poll = || tokio::time::sleep(Duration::from_millis(20));
    for (signal, code) in [("KILL", None), ("INT", Some(1))] {
        let mut command = p2pt(&["bench", "--json", "--only", "raw", "--megabytes", "1000000"]);
        let child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        let id = child.id().expect("it still runs");
        let partner = timeout(PATIENCE, async {
            loop {
                match children(id).first() {
                    Some(partner) => break *partner,
                    None => poll().await,
                }
            }
        });
        let partner = partner.await.expect("it starts a partner");
        p2pt_tests::pipe::signal(&child, signal).await;
        assert_eq!(exit_code(child).await, code, "{signal}");
        let gone = async {
            while runs(partner) {
                poll().await;
            }
        };
        timeout(PATIENCE, gone).await.unwrap_or_else(|_| panic!("{signal}: the partner is still there"));
    }
}
