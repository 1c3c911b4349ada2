//! `p2pt pipe` in several swarms, and under other identifiers.

use p2pt_tests::interop::connected;
use p2pt_tests::pipe::PipePeer;
use serde_json::{Value, json};

use crate::program::{Tracker, p2pt};

/// A pipe under this identifier.
async fn under(tracker: &Tracker, name: &str, identifier: &str) -> PipePeer {
    let command = p2pt(&["pipe", identifier, "--loopback", "--tracker", &tracker.url]);
    PipePeer::spawn(name, command).await
}

async fn ask(peer: &mut PipePeer, command: Value, event: &str) -> Value {
    peer.process().command(&command).await;
    peer.process().expect(event, |_| true).await
}

/// Joins a swarm, and returns its name.
async fn join(peer: &mut PipePeer, identifier: &str) -> String {
    let joined = ask(peer, json!({"join": identifier}), "joined").await;
    assert_eq!(joined["identifier"], identifier);
    joined["swarm"].as_str().expect("a swarm has a name").to_owned()
}

/// Waits for an event about a peer in a swarm.
async fn in_swarm(peer: &mut PipePeer, event: &str, swarm: &str, other: &str) -> Value {
    peer.process().expect(event, |event| event["swarm"] == swarm && event["peer"] == other).await
}

#[tokio::test]
async fn the_first_event_says_what_there_is_to_know() {
    let command = p2pt(&["pipe", "my-app", "--loopback", "--no-default-trackers", "--max-peers", "7"]);
    let mut process = p2pt_tests::pipe::LineProcess::spawn("ann", command);
    let ready = process.expect("ready", |_| true).await;
    assert_eq!((&ready["version"], &ready["protocol"]), (&json!(env!("CARGO_PKG_VERSION")), &json!(1)));
    let limits = &ready["limits"];
    assert_eq!((&limits["line_bytes"], &limits["message_bytes"]), (&json!(96 << 20), &json!(64 << 20)));
    assert_eq!((&limits["send_queue_bytes"], &limits["confirmations"]), (&json!(64 << 20), &json!(4096)));
    assert_eq!((&limits["frame_bytes"], &limits["peers"]), (&json!(65_536), &json!(7)));
    process.end().await;
}

#[tokio::test]
async fn further_swarms_are_joined_and_left() {
    let tracker = Tracker::start().await;
    let mut ann = under(&tracker, "ann", "one").await;
    let (mut ben, mut cem) = (under(&tracker, "ben", "one").await, under(&tracker, "cem", "two").await);
    connected(&mut ann, &mut ben).await;
    let one = ask(&mut ann, json!({"swarms": true}), "swarms").await["swarms"][0]["swarm"].as_str().unwrap().to_owned();
    let two = join(&mut ann, "two").await;
    in_swarm(&mut ann, "peer_connected", &two, cem.id()).await;
    cem.about("peer_connected", ann.id()).await;
    let swarms =
        json!([{"swarm": one, "identifier": "one", "peers": 1}, {"swarm": two, "identifier": "two", "peers": 1}]);
    assert_eq!(ask(&mut ann, json!({"swarms": true}), "swarms").await["swarms"], swarms);

    // What names no swarm is about the first, and "*" is everyone in that.
    ann.process().command(&json!({"send": {"peer": "*", "message": "to one"}})).await;
    assert_eq!(ben.about("message", ann.id()).await["message"], "to one");
    ann.process().command(&json!({"send": {"peer": "*", "message": "to two", "tag": "q", "swarm": two}})).await;
    let asked = cem.about("message", ann.id()).await;
    assert_eq!(asked["message"], "to two");
    cem.close_with(&asked, &json!("yes")).await;
    let response = ann.response("q").await;
    assert_eq!((&response["message"], &response["swarm"]), (&json!("yes"), &json!(two)));
    let peers = ask(&mut ann, json!({"peers": {"swarm": two}}), "peers").await;
    let ids: Vec<&Value> = peers["peers"].as_array().into_iter().flatten().map(|peer| &peer["peer"]).collect();
    assert_eq!((ids.as_slice(), &peers["swarm"]), (&[&json!(cem.id())][..], &json!(two)));
    let stats = ask(&mut ann, json!({"stats": {"peer": cem.id(), "swarm": two}}), "stats").await;
    assert_eq!((&stats["peer"], &stats["swarm"]), (&json!(cem.id()), &json!(two)));

    for (command, swarm, complaint) in [
        (json!({"join": "two"}), None, "in the swarm already"),
        (json!({"send": {"peer": cem.id(), "message": 1}}), Some(&one), "is not connected"),
        (json!({"send": {"peer": "*", "message": 1, "swarm": "0".repeat(40)}}), None, "is not joined"),
        (json!({"leave": {"swarm": "0".repeat(40)}}), None, "is not joined"),
        (json!({"set_identifier": "two"}), Some(&one), "in the swarm already"),
        (json!({"join": ""}), None, "may not be empty"),
        (json!({"set_identifier": " "}), None, "may not be empty"),
    ] {
        let error = ask(&mut ann, command, "error").await;
        assert!(error["error"].as_str().is_some_and(|error| error.contains(complaint)), "{error}");
        assert_eq!(error.get("swarm").and_then(Value::as_str), swarm.map(String::as_str), "{error}");
    }

    // Left after what was commanded before, and said when all is said.
    let last = json!({"send": {"peer": cem.id(), "message": "x".repeat(3_000_000), "swarm": two}});
    ann.process().command(&last).await;
    for number in 0..200 {
        let ask_in_vain = json!({"peer": cem.id(), "message": "?", "swarm": two, "tag": number.to_string()});
        ann.process().command(&json!({"send": ask_in_vain})).await;
    }
    ann.process().command(&json!({"leave": {"swarm": two}})).await;
    assert_eq!(cem.about("message", ann.id()).await["message"].as_str().map(str::len), Some(3_000_000));
    cem.about("peer_closed", ann.id()).await;
    ann.process().expect("left", |left| left["swarm"] == two).await;
    let said = ann.process().take_said();
    let ends = |event: &str| said.iter().filter(|said| said["event"] == event && said["swarm"] == two).count();
    assert_eq!((ends("peer_closed"), ends("error")), (1, 200), "before it was left: {said:?}");

    // It can be joined again, and then the first can be left; none takes its place.
    assert_eq!(join(&mut ann, "two").await, two);
    in_swarm(&mut ann, "peer_connected", &two, cem.id()).await;
    assert_eq!(ask(&mut ann, json!({"leave": true}), "left").await["swarm"], one);
    ben.about("peer_closed", ann.id()).await;
    for command in [json!({"peers": true}), json!({"send": {"peer": "*", "message": 1}}), json!({"leave": true})] {
        let error = ask(&mut ann, command, "error").await;
        assert_eq!(error["error"], "the first swarm was left: `swarm` must name the one that is meant");
    }
    // Without any swarm it goes on.
    assert_eq!(ask(&mut ann, json!({"leave": {"swarm": two}}), "left").await["swarm"], two);
    assert_eq!(ask(&mut ann, json!({"swarms": true}), "swarms").await["swarms"], json!([]));
    join(&mut ann, "one").await;
    in_swarm(&mut ann, "peer_connected", &one, ben.id()).await;
    for peer in [ann, ben, cem] {
        peer.stop().await;
    }
}

#[tokio::test]
async fn a_swarm_changes_its_identifier_and_keeps_its_peers() {
    let tracker = Tracker::start().await;
    let (mut ann, mut ben) = (under(&tracker, "ann", "here").await, under(&tracker, "ben", "here").await);
    connected(&mut ann, &mut ben).await;
    let here = ask(&mut ann, json!({"swarms": true}), "swarms").await["swarms"][0]["swarm"].clone();
    let elsewhere = join(&mut ben, "elsewhere").await;
    ask(&mut ben, json!({"leave": {"swarm": elsewhere}}), "left").await;

    ann.process().command(&json!({"set_identifier": "elsewhere"})).await;
    // Under the new name at once, whether the event has come or not.
    let send = json!({"peer": ben.id(), "message": "hello", "tag": "t", "confirm": "accepted", "swarm": elsewhere});
    ann.process().command(&json!({"send": send})).await;
    ann.process().expect("accepted", |accepted| accepted["tag"] == "t").await;
    let renamed = ann.process().expect("identifier_set", |_| true).await;
    let (identifier, was, name) = (&renamed["identifier"], &renamed["was"], &renamed["swarm"]);
    assert_eq!((identifier, was, name), (&json!("elsewhere"), &here, &json!(elsewhere)));
    ben.about("message", ann.id()).await;
    ben.process().command(&json!({"send": {"peer": "*", "message": "hello"}})).await;
    in_swarm(&mut ann, "message", &elsewhere, ben.id()).await;

    let mut cem = under(&tracker, "cem", "elsewhere").await;
    in_swarm(&mut ann, "peer_connected", &elsewhere, cem.id()).await;
    cem.about("peer_connected", ann.id()).await;
    let error = ask(&mut ann, json!({"peers": {"swarm": here}}), "error").await;
    assert!(error["error"].as_str().is_some_and(|error| error.contains("is not joined")), "{error}");
    for peer in [ann, ben, cem] {
        peer.stop().await;
    }
}
