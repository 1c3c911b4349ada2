//! Pages of this library on a machine whose network changes, or fails for a while: a laptop that is carried about. The
//! browser runs on a host of its own, in a network that vanishes with the test.
#![cfg(target_os = "linux")]

use std::time::Duration;

use p2pt_tests::interop::{NOTICED_BY_RUST, connected, echo};
use p2pt_tests::js::Kind;
use p2pt_tests::pipe::{PATIENCE, PipePeer};
use p2pt_tests::soak::{HOME, Network, enter};
use p2pt_tracker::{ServerConfig, SocketEnd, TrackerServer};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

/// The hosts of the native peers and of the page.
const NATIVE: usize = 1;
const PAGE: usize = 2;
const HOSTS: usize = 3;

/// The host whose address the page's host gets elsewhere.
const ELSEWHERE: usize = 9;

/// Less than the idle timeout of both sides, and more than anything here takes by itself.
const SHORT: Duration = Duration::from_secs(2);

/// More than the idle timeout, and than browsers bear.
const LONG: Duration = Duration::from_secs(15);

const IDENTIFIER: &str = "carried about";

/// A native peer and a page that have met at a tracker, each on a host of its own.
struct Met {
    network: Network,
    tracker: TrackerServer,
    native: PipePeer,
    page: PipePeer,
}

impl Met {
    async fn new(page: Kind) -> Self {
        let network = Network::new(HOSTS);
        network.roam(PAGE, PAGE);
        let tracker = TrackerServer::bind((Network::address(HOME), 0), ServerConfig::default());
        let tracker = tracker.await.expect("a free port");
        let mut native = start(&network, &tracker, NATIVE, Kind::Rust).await;
        native.tracker_connected(tracker.url().as_str()).await;
        let mut page = start(&network, &tracker, PAGE, page).await;
        connected(&mut native, &mut page).await;
        let mut met = Self { network, tracker, native, page };
        met.talk("here I am").await;
        met
    }

    /// Each says something to the other.
    async fn talk(&mut self, text: &str) {
        echo(&mut self.native, &mut self.page, &json!(text)).await;
        echo(&mut self.page, &mut self.native, &json!(text)).await;
    }

    /// No peer has come or gone.
    fn assert_undisturbed(&mut self) {
        for peer in [&mut self.native, &mut self.page] {
            for event in ["peer_connected", "peer_closed"] {
                peer.process().assert_unsaid(event);
            }
        }
    }

    /// Each side notices that the other is gone.
    async fn part(&mut self) {
        let (native, page) = (self.native.id().to_owned(), self.page.id().to_owned());
        self.native.process().expect_within(NOTICED_BY_RUST, "peer_closed", |event| event["peer"] == page).await;
        self.page.about("peer_closed", &native).await;
    }

    async fn end(self) {
        self.page.stop().await;
        self.native.stop().await;
        self.tracker.shutdown().await;
    }
}

async fn start(network: &Network, tracker: &TrackerServer, host: usize, kind: Kind) -> PipePeer {
    let command = kind.command(IDENTIFIER, &[tracker.url().as_str()]);
    PipePeer::spawn(format!("{kind:?} peer"), network.at(host, &command)).await
}

/// Runs a test of this name in a network of its own.
fn on_a_network(test: &str, run: impl Future<Output = ()>) {
    if !enter(&["--exact", test, "--include-ignored", "--nocapture"]) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(run);
    }
}

/// What a page of Chromium has open goes on from the new address, as its sockets are bound to none. Its tracker's socket is
/// dead and nothing says so; it is noticed as that of any tracker that is silent, and the page is found again.
#[test]
#[ignore = "needs namespaces, Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_networks -- --ignored"]
fn a_connection_of_chromium_outlives_a_change_of_network() {
    on_a_network("a_connection_of_chromium_outlives_a_change_of_network", async {
        let mut met = Met::new(Kind::ChromiumWasm).await;
        let begun = Instant::now();
        met.network.roam(PAGE, ELSEWHERE);
        met.talk("from another network").await;
        println!("talks after {:?}", begun.elapsed());
        met.assert_undisturbed();
        let silent = |event: &Value| error(event).contains(&SocketEnd::Silent.to_string());
        met.page.process().expect_within(PATIENCE * 2, "tracker_warning", silent).await;
        println!("notices the tracker's silence after {:?}", begun.elapsed());
        let mut newcomer = start(&met.network, &met.tracker, NATIVE, Kind::Rust).await;
        connected(&mut newcomer, &mut met.page).await;
        println!("is found after {:?}", begun.elapsed());
        met.talk("still here").await;
        newcomer.stop().await;
        met.end().await;
    });
}

fn error(event: &Value) -> &str {
    event["error"].as_str().unwrap_or_default()
}

/// Firefox binds its sockets to addresses: they end with the address, and the peers meet again by the new one.
#[test]
#[ignore = "needs namespaces, Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_networks -- --ignored"]
fn a_page_in_firefox_meets_its_peers_again_in_another_network() {
    on_a_network("a_page_in_firefox_meets_its_peers_again_in_another_network", async {
        let mut met = Met::new(Kind::FirefoxWasm).await;
        let begun = Instant::now();
        met.network.roam(PAGE, ELSEWHERE);
        met.part().await;
        println!("parted after {:?}", begun.elapsed());
        connected(&mut met.native, &mut met.page).await;
        println!("met after {:?}", begun.elapsed());
        met.talk("from another network").await;
        met.end().await;
    });
}

async fn cut_off_for_long(browser: Kind) {
    let mut met = Met::new(browser).await;
    met.network.unplug(PAGE, true);
    sleep(LONG).await;
    met.part().await;
    met.network.unplug(PAGE, false);
    let begun = Instant::now();
    connected(&mut met.native, &mut met.page).await;
    println!("{browser:?} has met its peer again after {:?}", begun.elapsed());
    met.talk("here I am again").await;
    met.end().await;
}

#[test]
#[ignore = "needs namespaces, Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_networks -- --ignored"]
fn a_page_in_chromium_is_cut_off_for_long() {
    on_a_network("a_page_in_chromium_is_cut_off_for_long", cut_off_for_long(Kind::ChromiumWasm));
}

#[test]
#[ignore = "needs namespaces, Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_networks -- --ignored"]
fn a_page_in_firefox_is_cut_off_for_long() {
    on_a_network("a_page_in_firefox_is_cut_off_for_long", cut_off_for_long(Kind::FirefoxWasm));
}

/// What is said during a short failure arrives after it.
async fn cut_off_for_a_moment(browser: Kind) {
    let mut met = Met::new(browser).await;
    met.network.unplug(PAGE, true);
    let page_id = met.page.id().to_owned();
    let tag = met.native.ask(&page_id, &json!("said meanwhile")).await;
    sleep(SHORT).await;
    met.network.unplug(PAGE, false);
    let native_id = met.native.id().to_owned();
    let received = met.page.about("message", &native_id).await;
    assert_eq!(received["message"], "said meanwhile");
    met.page.close_with(&received, &json!("heard")).await;
    met.native.response(&tag).await;
    met.talk("all is well").await;
    met.assert_undisturbed();
    met.end().await;
}

#[test]
#[ignore = "needs namespaces, Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_networks -- --ignored"]
fn a_short_failure_of_the_network_disturbs_nothing_in_chromium() {
    on_a_network(
        "a_short_failure_of_the_network_disturbs_nothing_in_chromium",
        cut_off_for_a_moment(Kind::ChromiumWasm),
    );
}

#[test]
#[ignore = "needs namespaces, Node, npm packages, browsers and a compiler for wasm32: tests/js/setup.sh, tests/wasm/pages, then cargo test -p p2pt-tests --test interop_networks -- --ignored"]
fn a_short_failure_of_the_network_disturbs_nothing_in_firefox() {
    on_a_network("a_short_failure_of_the_network_disturbs_nothing_in_firefox", cut_off_for_a_moment(Kind::FirefoxWasm));
}
