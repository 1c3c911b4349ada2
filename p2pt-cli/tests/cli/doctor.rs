//! `p2pt doctor`, with a tracker and without.

use p2pt_tests::js::{Tracker, TrackerKind};
use serde_json::Value;

use crate::program;

fn findings(output: &std::process::Output) -> Vec<Value> {
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    report["findings"].as_array().expect("a list").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tracker_that_works_is_said_to() {
    let tracker = Tracker::start(TrackerKind::Ours).await;
    let output = program::run(&["doctor", "--json", "--no-default-stun", "--tracker", tracker.url()]).await;
    assert!(output.status.success(), "{output:?}");
    let findings = findings(&output);
    let found = |text: &str| {
        findings.iter().any(|finding| {
            finding["verdict"] == "good" && finding["found"].as_str().is_some_and(|found| found.contains(text))
        })
    };
    assert!(found(&format!("{} was reached in ", tracker.url())), "{findings:?}");
    assert!(found("answers `p2pt scrape`"), "{findings:?}");
    tracker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_work_comes_with_advice_and_an_exit_code() {
    let arguments = ["doctor", "--json", "--no-default-stun", "--tracker", "ws://127.0.0.1:1"];
    let output = program::run(&arguments).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let findings = findings(&output);
    let tracker = findings.iter().find(|finding| finding["check"] == "tracker").expect("one about the tracker");
    assert_eq!(tracker["verdict"], "bad", "{tracker}");
    assert!(tracker["advice"].as_str().is_some_and(|advice| advice.contains("nothing listens there")), "{tracker}");
}

/// What is found of the tracker of this URL, and what to do about it.
async fn about_tracker(url: &str) -> (String, String) {
    let output = program::run(&["doctor", "--json", "--no-default-stun", "--tracker", url]).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let findings = findings(&output);
    let tracker = findings.iter().find(|finding| finding["check"] == "tracker").expect("one about the tracker");
    let text = |key: &str| tracker[key].as_str().unwrap_or_default().to_owned();
    (text("found"), text("advice"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistyped_url_is_said_to_be_one() {
    let (found, advice) = about_tracker("wss://tracker.exmaple.invalid").await;
    assert!(found.contains("tracker.exmaple.invalid has no known address"), "{found}");
    assert!(advice.contains("check the spelling"), "{advice}");

    let tracker = program::Tracker::start().await;
    let (found, advice) = about_tracker(&tracker.url.replace("ws://", "wss://")).await;
    assert!(found.contains("this port does not speak TLS: use ws://"), "{found}");
    assert!(advice.contains("ws:// in place of wss://"), "{advice}");

    let (_files, _tracker, port) = crate::tracker::with_tls("doctor").await;
    let (found, advice) = about_tracker(&format!("ws://127.0.0.1:{port}")).await;
    assert!(found.contains("this port speaks TLS: use wss://"), "{found}");
    assert!(advice.contains("wss:// in place of ws://"), "{advice}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_nobody_vouches_for_is_given_by_an_option() {
    let (_files, _tracker, port) = crate::tracker::with_tls("untrusted").await;
    let url = format!("wss://localhost:{port}");
    let (found, advice) = about_tracker(&url).await;
    assert!(found.contains("self-signed"), "{found}");
    assert!(advice.contains("--root-certificate FILE"), "{advice}");
    let output = program::run(&["scrape", &url, "app"]).await;
    let said = program::text(&output.stderr);
    assert!(said.contains("as a root certificate: --root-certificate FILE"), "{said}");
}

#[tokio::test]
async fn who_stays_on_this_machine_is_not_told_to_ask_stun_servers() {
    let output = program::run(&["doctor", "--json", "--loopback"]).await;
    let findings = findings(&output);
    let checks: Vec<_> = findings.iter().map(|finding| finding["check"].as_str().unwrap_or_default()).collect();
    assert!(checks.contains(&"tracker") && !checks.contains(&"stun"), "{checks:?}");
    let tracker = findings.iter().find(|finding| finding["check"] == "tracker").expect("one about trackers");
    assert_eq!(tracker["found"], "there is no tracker to look at");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_who_does_not_come_is_told_apart_from_a_path_that_does_not_work() {
    let tracker = Tracker::start(TrackerKind::Ours).await;
    let arguments = ["doctor", "us", "--json", "--loopback", "--wait", "2", "--tracker", tracker.url()];
    let told = findings(&program::run(&arguments).await);
    let partner = told.iter().find(|finding| finding["check"] == "partner").expect("one about the partner");
    let (found, advice) = (partner["found"].as_str().unwrap(), partner["advice"].as_str().unwrap());
    assert!(found.contains("no tracker knows of another member"), "{partner}");
    assert!(advice.ends_with(&format!("p2pt doctor us --tracker {} --loopback", tracker.url())), "{partner}");
    tracker.stop().await;
    let arguments = ["doctor", "us", "--json", "--loopback", "--wait", "2", "--tracker", "ws://127.0.0.1:1"];
    let findings = findings(&program::run(&arguments).await);
    let found =
        |finding: &&Value| finding["found"].as_str().is_some_and(|found| found.contains("no tracker was reached"));
    assert!(findings.iter().any(|finding| found(&finding)), "{findings:?}");
}

/// What a TURN server that this machine does not have, or that refuses, is said to be.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_does_not_answer_is_named_with_what_to_do() {
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let url = format!("turn:{}", silent.local_addr().expect("bound"));
    let arguments = ["doctor", "--json", "--no-default-stun", "--no-default-trackers", "--deadline", "5"];
    let turn = ["--turn", &url, "--turn-user", "me", "--turn-password", "secret"];
    let findings = findings(&program::run(&[&arguments[..], &turn].concat()).await);
    let relay = findings.iter().find(|finding| finding["check"] == "turn").expect("one about the relay");
    assert_eq!(relay["found"], format!("{url} does not relay: it does not answer"));
    assert!(relay["advice"].as_str().is_some_and(|advice| advice.contains("lets UDP out")), "{relay}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_partners_say_how_they_met() {
    let tracker = Tracker::start(TrackerKind::Ours).await;
    let arguments = ["doctor", "us", "--json", "--loopback", "--tracker", tracker.url()];
    let (one, other) = tokio::join!(program::run(&arguments), program::run(&arguments));
    for output in [one, other] {
        let findings = findings(&output);
        let partner = findings.iter().find(|finding| finding["check"] == "partner").expect("one about the partner");
        assert_eq!(partner["verdict"], "good", "{partner}");
        assert!(partner["found"].as_str().is_some_and(|found| found.contains("host to host")), "{partner}");
    }
    tracker.stop().await;
}
