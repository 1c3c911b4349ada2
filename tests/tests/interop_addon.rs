//! The npm package of this workspace in Node, with its class in the place of npm p2pt's and nothing else changed, with the
//! `p2pt` program, with npm p2pt and with itself, through both trackers, in either order of coming.

use p2pt_tests::interop::{
    NOTICED_BY_RUST, Pair, a_killed_rust_peer_is_noticed, announce_again, converse, everything, sixteen_megabytes,
    trackers_come_and_go, turn,
};
use p2pt_tests::js::{Kind, TrackerKind};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages and the addon: tests/js/setup.sh, p2pt-web/build, p2pt-web/build-addon dev, then cargo test -p p2pt-tests --test interop_addon -- --ignored"]
async fn the_addon_first_at_the_npm_tracker() {
    everything(TrackerKind::Npm, Kind::NodeAddon, Kind::Rust).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages and the addon: tests/js/setup.sh, p2pt-web/build, p2pt-web/build-addon dev, then cargo test -p p2pt-tests --test interop_addon -- --ignored"]
async fn native_first_at_our_tracker() {
    everything(TrackerKind::Ours, Kind::Rust, Kind::NodeAddon).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages and the addon: tests/js/setup.sh, p2pt-web/build, p2pt-web/build-addon dev, then cargo test -p p2pt-tests --test interop_addon -- --ignored"]
async fn npm_p2pt_first_at_the_npm_tracker() {
    everything(TrackerKind::Npm, Kind::NodeRoamhq, Kind::NodeAddon).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages and the addon: tests/js/setup.sh, p2pt-web/build, p2pt-web/build-addon dev, then cargo test -p p2pt-tests --test interop_addon -- --ignored"]
async fn npm_p2pt_on_libdatachannel_second_at_our_tracker() {
    everything(TrackerKind::Ours, Kind::NodeAddon, Kind::NodeNdc).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages and the addon: tests/js/setup.sh, p2pt-web/build, p2pt-web/build-addon dev, then cargo test -p p2pt-tests --test interop_addon -- --ignored"]
async fn two_of_them() {
    let _turn = turn().await;
    let mut pair = Pair::meet(TrackerKind::Ours, Kind::NodeAddon, Kind::NodeAddon).await;
    converse(&mut pair.first, &mut pair.second).await;
    announce_again(&mut pair.first, &mut pair.second).await;
    pair.part().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages and the addon: tests/js/setup.sh, p2pt-web/build, p2pt-web/build-addon dev, then cargo test -p p2pt-tests --test interop_addon -- --ignored"]
async fn sixteen_megabytes_to_and_from_native() {
    sixteen_megabytes(Kind::Rust, Kind::NodeAddon).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages and the addon: tests/js/setup.sh, p2pt-web/build, p2pt-web/build-addon dev, then cargo test -p p2pt-tests --test interop_addon -- --ignored"]
async fn sixteen_megabytes_to_and_from_npm_p2pt() {
    sixteen_megabytes(Kind::NodeRoamhq, Kind::NodeAddon).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages and the addon: tests/js/setup.sh, p2pt-web/build, p2pt-web/build-addon dev, then cargo test -p p2pt-tests --test interop_addon -- --ignored"]
async fn a_killed_process_is_noticed() {
    let _turn = turn().await;
    let Pair { tracker, first: mut rust, second: node } =
        Pair::meet(TrackerKind::Npm, Kind::Rust, Kind::NodeAddon).await;
    let node_id = node.id().to_owned();
    node.kill().await;
    rust.process().expect_within(NOTICED_BY_RUST, "peer_closed", |event| event["peer"] == node_id).await;
    rust.stop().await;
    tracker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages and the addon: tests/js/setup.sh, p2pt-web/build, p2pt-web/build-addon dev, then cargo test -p p2pt-tests --test interop_addon -- --ignored"]
async fn it_notices_a_killed_peer() {
    a_killed_rust_peer_is_noticed(Kind::NodeAddon).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages and the addon: tests/js/setup.sh, p2pt-web/build, p2pt-web/build-addon dev, then cargo test -p p2pt-tests --test interop_addon -- --ignored"]
async fn trackers_come_and_go_and_peers_stay() {
    trackers_come_and_go(Kind::NodeAddon).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages and the addon: tests/js/setup.sh, p2pt-web/build, p2pt-web/build-addon dev, then cargo test -p p2pt-tests --test interop_addon -- --ignored"]
async fn webassembly_where_no_addon_was_built() {
    everything(TrackerKind::Ours, Kind::NodeWasm, Kind::Rust).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node, npm packages and the addon: tests/js/setup.sh, p2pt-web/build, p2pt-web/build-addon dev, then cargo test -p p2pt-tests --test interop_addon -- --ignored"]
async fn webassembly_and_the_addon() {
    everything(TrackerKind::Npm, Kind::NodeAddon, Kind::NodeWasm).await;
}
