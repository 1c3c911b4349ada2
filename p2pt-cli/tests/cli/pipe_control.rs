//! `p2pt pipe` as an application that decides about its peers, its trackers and its network.

use p2pt_tests::interop::{connected, converse, echo};
use p2pt_tests::pipe::PipePeer;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::program::{Tracker, run, text};

async fn error(peer: &mut PipePeer, tag: Option<&str>) -> String {
    let error = peer.process().expect("error", |error| error.get("tag").and_then(Value::as_str) == tag).await;
    error["error"].as_str().expect("an error says what is wrong").to_owned()
}

async fn ask(peer: &mut PipePeer, command: Value, event: &str) -> Value {
    peer.process().command(&command).await;
    peer.process().expect(event, |_| true).await
}

#[tokio::test]
async fn a_peer_is_sent_away_after_what_it_was_sent_and_can_be_banned() {
    let tracker = Tracker::start().await;
    let (mut ann, mut ben) = (tracker.pipe("ann", &[]).await, tracker.pipe("ben", &[]).await);
    connected(&mut ann, &mut ben).await;
    let (ann_id, ben_id) = (ann.id().to_owned(), ben.id().to_owned());

    let large = json!({"send": {"peer": ben_id, "message": "x".repeat(5_000_000), "tag": "never answered"}});
    ann.process().command(&large).await;
    ann.process().command(&json!({"disconnect": ben_id})).await;
    let closed = ann.about("peer_closed", &ben_id).await;
    assert_eq!((&closed["reason"], &closed["unacknowledged_bytes"]), (&json!("closed by this side"), &json!(0)));
    let problem = error(&mut ann, Some("never answered")).await;
    assert!(problem.contains("the peer went before it responded: closed by this side"), "{problem}");
    assert_eq!(ben.about("message", &ann_id).await["message"].as_str().map(str::len), Some(5_000_000));
    assert_eq!(ben.about("peer_closed", &ann_id).await["reason"], "closed by the other side");

    // It may come back, until it is banned.
    ann.process().command(&json!({"request_more_peers": true})).await;
    connected(&mut ann, &mut ben).await;
    ann.process().command(&json!({"ban": ben_id})).await;
    assert_eq!(ask(&mut ann, json!({"banned": true}), "banned").await["peers"], json!([ben_id]));
    ann.about("peer_closed", &ben_id).await;
    ben.about("peer_closed", &ann_id).await;
    for peer in [&mut ann, &mut ben] {
        peer.process().command(&json!({"request_more_peers": true})).await;
    }
    let refused = ann.process().expect("connection_rejected", |event| event["reason"] == "it is banned").await;
    assert_eq!(refused["peer"], ben_id);

    ann.process().command(&json!({"unban": ben_id})).await;
    for peer in [&mut ann, &mut ben] {
        peer.process().command(&json!({"request_more_peers": true})).await;
    }
    connected(&mut ann, &mut ben).await;
    for command in ["unban", "disconnect", "stats"] {
        ann.process().command(&json!({command: "0".repeat(40)})).await;
        let problem = error(&mut ann, None).await;
        assert!(problem.contains("is not "), "{command}: {problem}");
    }
    ann.stop().await;
    ben.stop().await;
}

#[tokio::test]
async fn only_allowed_peers_are_met() {
    let tracker = Tracker::start().await;
    let friend_id = "f1".repeat(20);
    let mut other = tracker.pipe("other", &[]).await;
    let mut ann = tracker.pipe("ann", &["--allow", &friend_id, "--allow", &"f2".repeat(20)]).await;
    let refused = |event: &Value| event["reason"] == "the application's filter does not admit it";
    assert_eq!(ann.process().expect("connection_rejected", refused).await["peer"], other.id());
    let mut friend = tracker.pipe("friend", &["--peer-id", &friend_id]).await;
    assert_eq!(friend.id(), friend_id);
    connected(&mut ann, &mut friend).await;
    connected(&mut other, &mut friend).await;
    let peers = ask(&mut ann, json!({"peers": true}), "peers").await;
    // It has chosen its id, and so has no key.
    assert_eq!(peers["peers"], json!([{"peer": friend_id, "connections": 1, "trust": {"level": "unsigned"}}]));
    for peer in [ann, other, friend] {
        peer.stop().await;
    }
}

#[tokio::test]
async fn what_is_not_to_wait_is_sent_at_once_or_not_at_all() {
    let tracker = Tracker::start().await;
    let (mut ann, mut ben) = (tracker.pipe("ann", &[]).await, tracker.pipe("ben", &[]).await);
    connected(&mut ann, &mut ben).await;
    let (ann_id, ben_id) = (ann.id().to_owned(), ben.id().to_owned());
    let send = |message: Value, tag| json!({"send": {"peer": ben_id, "message": message, "wait": false, "tag": tag}});
    ann.process().command(&send(json!({"small": 1}), "fits")).await;
    assert_eq!(ben.about("message", &ann_id).await["message"], json!({"small": 1}));
    // Larger than the send buffer.
    ann.process().command(&send(json!("x".repeat(3 << 20)), "large")).await;
    let problem = error(&mut ann, Some("large")).await;
    assert!(problem.contains("send buffer"), "{problem}");
    // While something waits, nothing overtakes it.
    ann.process().command(&json!({"send": {"peer": ben_id, "message": "y".repeat(20 << 20)}})).await;
    ann.process().command(&send(json!("late"), "late")).await;
    let problem = error(&mut ann, Some("late")).await;
    assert!(problem.contains("no room"), "{problem}");
    assert_eq!(ben.about("message", &ann_id).await["message"].as_str().map(str::len), Some(20 << 20));
    echo(&mut ann, &mut ben, &json!("and in order")).await;
    ann.process().assert_unsaid("error");
    ann.stop().await;
    ben.stop().await;
}

#[tokio::test]
async fn peers_and_trackers_report_how_they_are() {
    let tracker = Tracker::start().await;
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dead = format!("ws://{}", unused.local_addr().unwrap());
    drop(unused);
    let (mut ann, mut ben) = (tracker.pipe("ann", &["--tracker", &dead]).await, tracker.pipe("ben", &[]).await);
    connected(&mut ann, &mut ben).await;
    converse(&mut ann, &mut ben).await;
    let stats = ask(&mut ann, json!({"stats": ben.id()}), "stats").await;
    assert_eq!((&stats["peer"], stats["connections"].as_array().map(Vec::len)), (&json!(ben.id()), Some(1)));
    let channel = &stats["connections"][0];
    assert_eq!((&channel["local_candidate"], &channel["remote_candidate"]), (&json!("host"), &json!("host")));
    assert!(channel["bytes_sent"].as_u64() > Some(0) && channel["round_trip"].as_f64() > Some(0.0), "{channel}");

    ann.process().expect("tracker_warning", |warning| warning["tracker"] == dead).await;
    let trackers = ask(&mut ann, json!({"trackers": true}), "trackers").await;
    assert_eq!((&trackers["connected"], &trackers["total"]), (&json!(1), &json!(2)));
    let of = |url: &str| {
        let trackers = trackers["trackers"].as_array().expect("a list");
        trackers.iter().find(|tracker| tracker["tracker"] == url).unwrap_or_else(|| panic!("{trackers:?}"))
    };
    let (well, ill) = (of(&tracker.url), of(&dead));
    assert_eq!(
        (&well["status"], &well["announced"], &well["family"]),
        (&json!("connected"), &json!(true), &json!("IPv4"))
    );
    assert!(well["members"].as_u64() >= Some(1) && well["counters"]["announces_sent"].as_u64() >= Some(1), "{well}");
    assert!(ill["error"].as_str().is_some_and(|error| !error.is_empty()), "{ill}");
    assert!(ill["error_age"].is_f64() && ill["counters"]["connects_failed"].as_u64() >= Some(1), "{ill}");
    assert!(ill["counters"]["warnings"].as_u64() >= Some(1), "{ill}");
    assert!(ill["status"] == "waiting" && ill["retry_in"].is_f64() || ill["status"] == "connecting", "{ill}");
    ann.stop().await;
    ben.stop().await;
}

#[tokio::test]
async fn trackers_are_reached_as_asked_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = String::new();
        while !request.ends_with("\r\n\r\n") {
            let byte = tokio::io::AsyncReadExt::read_u8(&mut stream).await.unwrap();
            request.push(char::from(byte));
        }
        stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        request.to_ascii_lowercase()
    });
    let header = ["--header", "Origin: https://my-app.example", "--header", "X-Two:2"];
    let output = run(&[&["scrape", url.as_str(), "app"], &header[..]].concat()).await;
    assert_eq!(output.status.code(), Some(1));
    let request = serving.await.unwrap();
    assert!(
        request.contains("\r\norigin: https://my-app.example\r\n") && request.contains("\r\nx-two: 2\r\n"),
        "{request}"
    );

    // That address is no longer listened at.
    let output = run(&["scrape", "ws://tracker.example", "app", "--proxy", &url.replace("ws:", "http:")]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("proxy"), "{output:?}");

    for command in [["chat", "app"], ["pipe", "app"], ["scrape", url.as_str()]] {
        let output = run(&[&command[..], &["--root-certificate", "/nowhere.pem"]].concat()).await;
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains("/nowhere.pem: "), "{output:?}");
    }
}

#[tokio::test]
async fn where_only_relays_may_be_used_nothing_else_is() {
    let tracker = Tracker::start().await;
    // There is no relay at that address.
    let relay = ["--relay-only", "--turn", "turn:127.0.0.1:9", "--turn-user", "ann", "--turn-password", "secret"];
    let mut ann = tracker.pipe("ann", &relay).await;
    let problem = error(&mut ann, None).await;
    assert!(problem.contains("no offer could be made"), "{problem}");
    let mut ben = tracker.pipe("ben", &[]).await;
    let failed = ann.about("connection_failed", ben.id()).await;
    assert_eq!((&failed["role"], &failed["tracker"]), (&json!("answerer"), &json!(tracker.url)));
    ann.process().assert_unsaid("peer_connected");
    ben.process().assert_unsaid("peer_connected");
    ann.stop().await;
    ben.stop().await;
}
