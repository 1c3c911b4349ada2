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
    assert!(tracker["advice"].as_str().is_some_and(|advice| advice.contains("another tracker")), "{tracker}");
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
