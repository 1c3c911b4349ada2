//! The `p2pt` program and JavaScript's p2pt in Node, through both trackers, in either order of coming.

use p2pt_tests::interop::{
    NOTICED_BY_RUST, Pair, a_killed_rust_peer_is_noticed, a_surplus_channel_closes, announce_again, connected,
    converse, everything, trackers_come_and_go, turn,
};
use p2pt_tests::js::{Kind, Tracker, TrackerKind};
use p2pt_tests::pipe::PipePeer;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node and npm packages: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_node -- --ignored"]
async fn node_first_at_the_npm_tracker() {
    everything(TrackerKind::Npm, Kind::NodeRoamhq, Kind::Rust).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node and npm packages: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_node -- --ignored"]
async fn rust_first_at_the_npm_tracker() {
    everything(TrackerKind::Npm, Kind::Rust, Kind::NodeRoamhq).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node and npm packages: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_node -- --ignored"]
async fn node_first_at_our_tracker() {
    everything(TrackerKind::Ours, Kind::NodeRoamhq, Kind::Rust).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node and npm packages: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_node -- --ignored"]
async fn rust_first_at_our_tracker() {
    everything(TrackerKind::Ours, Kind::Rust, Kind::NodeRoamhq).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node and npm packages: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_node -- --ignored"]
async fn two_rust_peers_at_the_npm_tracker() {
    let _turn = turn().await;
    let mut pair = Pair::meet(TrackerKind::Npm, Kind::Rust, Kind::Rust).await;
    converse(&mut pair.first, &mut pair.second).await;
    announce_again(&mut pair.first, &mut pair.second).await;
    pair.part().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node and npm packages: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_node -- --ignored"]
async fn libdatachannel_first_at_the_npm_tracker() {
    everything(TrackerKind::Npm, Kind::NodeNdc, Kind::Rust).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node and npm packages: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_node -- --ignored"]
async fn libdatachannel_second_at_our_tracker() {
    everything(TrackerKind::Ours, Kind::Rust, Kind::NodeNdc).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node and npm packages: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_node -- --ignored"]
async fn a_killed_node_peer_is_noticed() {
    let _turn = turn().await;
    let Pair { tracker, first: mut rust, second: node } =
        Pair::meet(TrackerKind::Npm, Kind::Rust, Kind::NodeRoamhq).await;
    let node_id = node.id().to_owned();
    node.kill().await;
    rust.process().expect_within(NOTICED_BY_RUST, "peer_closed", |event| event["peer"] == node_id).await;
    rust.stop().await;
    tracker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node and npm packages: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_node -- --ignored"]
async fn node_notices_a_killed_rust_peer() {
    a_killed_rust_peer_is_noticed(Kind::NodeRoamhq).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node and npm packages: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_node -- --ignored"]
async fn trackers_come_and_go_and_peers_stay() {
    trackers_come_and_go(Kind::NodeRoamhq).await;
}

/// Through two trackers two peers get two channels or more, of which a Rust peer closes all but one: later, when
/// JavaScript can bear it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node and npm packages: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_node -- --ignored"]
async fn a_surplus_channel_closes_unnoticed() {
    a_surplus_channel_closes(Kind::Rust).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node and npm packages: tests/js/setup.sh, then cargo test -p p2pt-tests --test interop_node -- --ignored"]
async fn two_rust_and_two_node_peers_all_meet() {
    let _turn = turn().await;
    let tracker = Tracker::start(TrackerKind::Ours).await;
    let mut peers: Vec<PipePeer> = Vec::new();
    for kind in [Kind::Rust, Kind::NodeRoamhq, Kind::NodeRoamhq, Kind::Rust] {
        let mut newcomer = kind.start("four", &[tracker.url()]).await;
        for peer in &mut peers {
            connected(&mut newcomer, peer).await;
        }
        peers.push(newcomer);
    }
    for speaker in 0..peers.len() {
        let said = json!(format!("peer {speaker} to all"));
        peers[speaker].process().command(&json!({"send": {"peer": "*", "message": said}})).await;
        let speaker_id = peers[speaker].id().to_owned();
        for listener in (0..peers.len()).filter(|&listener| listener != speaker) {
            assert_eq!(peers[listener].about("message", &speaker_id).await["message"], said);
        }
    }
    for peer in peers {
        peer.stop().await;
    }
    tracker.stop().await;
}
