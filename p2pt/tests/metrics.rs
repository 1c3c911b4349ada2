//! What a node counts, and what becomes of it with the feature `metrics`.
#![cfg(all(feature = "memory", feature = "server"))]

mod common;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use common::{DEADLINE, Member, Place, TRACKER};
use p2pt::transport::{PendingAnswer, PendingOffer};
use p2pt::{Event, Frame, Node, NodeMetrics, Transport, TransportError};
use p2pt_transport::memory::MemoryTransport;
use tokio::time::timeout;

/// A frame that begins as a part of a message does, and is none.
const NOT_A_CHUNK: &str = "^ not a chunk";

/// Two that have met do a little of everything and part.
async fn live(place: &Place) -> [Node; 2] {
    let (mut one, two) = place.pair().await;
    one.peer.send("four").await.expect("sent");
    one.peer.queue("seven77").expect("room");
    one.peer.send_frame(Frame::binary(vec![0; 10])).await.expect("sent");
    one.peer.send_frame(Frame::text(NOT_A_CHUNK)).await.expect("sent");
    let [one_node, two_node] = [&one, &two].map(|member| member.swarm.node());

    let answered = one.peer.request("?");
    let ends = async {
        answered.await.expect("answered");
        one.peer.request("late").timeout(Duration::from_secs(1)).await.expect_err("not answered");
        drop(one.peer.request("dropped").send().await.expect("sent"));
        let gone = one.peer.request("gone").send().await.expect("sent");
        // So that they do not meet again.
        one_node.ban(one.peer.id()).await.expect("the node lives");
        gone.await.expect_err("the peer is gone");
        while !matches!(one.events.next().await, Some(Event::PeerClosed(_)) | None) {}
    };
    let Member { mut events, .. } = two;
    let answering = async {
        while let Some(event) = events.next().await {
            match event {
                Event::Message(message) if message.text() == Some("?") => message.respond("!").await.expect("sent"),
                Event::PeerClosed(_) => return,
                _ => {}
            }
        }
    };
    timeout(DEADLINE, async { tokio::join!(ends, answering) }).await.expect("in time");
    [one_node, two_node]
}

/// Waits, an hour of virtual time at most, until something has come true.
async fn until(is_true: impl Fn() -> bool) {
    let comes_true = async {
        while !is_true() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(60 * DEADLINE, comes_true).await.expect("it comes true");
}

#[tokio::test(start_paused = true)]
async fn a_node_counts_what_it_does_and_holds() {
    let place = Place::new();
    let [one, two] = live(&place).await;
    let (near, far) = (one.metrics(), two.metrics());
    let sent = ["four", "seven77", "?", "late", "dropped", "gone"];
    let bytes = sent.concat().len() as u64 + 10 + NOT_A_CHUNK.len() as u64;

    for (metrics, closed) in [(&near, near.closed_local), (&far, far.closed_remote)] {
        assert_eq!((metrics.swarms, metrics.peers, metrics.peers_connected), (1, 0, 1), "{metrics:?}");
        assert_eq!((metrics.connections_opened, closed, metrics.connections_failed), (1, 1, 0), "{metrics:?}");
        assert_eq!((metrics.trackers_connected, metrics.queued_bytes), (1, 0), "{metrics:?}");
        assert!(metrics.announces >= 1 && metrics.tracker_frames_sent >= metrics.announces, "{metrics:?}");
        assert!(metrics.tracker_frames_received >= 1 && metrics.offers_made >= 1, "{metrics:?}");
        assert!(metrics.offers_waiting <= metrics.offers_made, "{metrics:?}");
    }
    assert_eq!((near.messages_sent, near.messages_received), (6, 1));
    assert_eq!((near.bytes_sent, near.bytes_received), (bytes, 1));
    assert_eq!((far.messages_sent, far.messages_received, far.bytes_received), (1, 6, bytes));
    assert_eq!((near.invalid_frames, far.invalid_frames), (0, 0));
    assert_eq!((near.requests_started, near.requests_answered, near.requests_timed_out), (4, 1, 1));
    assert_eq!((near.requests_failed, near.requests_dropped), (1, 1));

    // What is gone is not held any more, and what was counted stays.
    one.remove_tracker(TRACKER).await.expect("the node lives");
    let later = one.metrics();
    assert!(later.announces >= near.announces && later.tracker_frames_sent >= near.tracker_frames_sent);
    assert_eq!((later.offers_waiting, later.trackers_connected), (0, 0));
    one.shutdown().await;
    let last = one.metrics();
    assert_eq!((last.swarms, last.peers, last.offers_waiting, last.queued_bytes), (0, 0, 0, 0));
    assert_eq!((last.offers_made, last.messages_sent), (later.offers_made, 6));
}

#[tokio::test(start_paused = true)]
async fn what_is_queued_is_counted_until_it_has_left_or_is_given_up() {
    let (one, two) = Place::new().pair().await;
    let node = one.swarm.node();
    for _ in 0..7 {
        one.peer.queue("x".repeat(1 << 20)).expect("room");
    }
    let queued = node.metrics().queued_bytes;
    assert!(queued > 4 << 20 && queued <= 7 * ((1 << 20) + 128), "{queued}");
    while one.peer.queue("x".repeat(1 << 20)).is_ok() {}
    assert_eq!(node.metrics().queue_full, 1);
    let other = two.swarm.node();
    until(|| other.metrics().inbox_full == 1).await;
    two.swarm.leave().await.expect("it was in the swarm");
    drop(one.events);
    until(|| node.metrics().queued_bytes == 0).await;
}

#[tokio::test(start_paused = true)]
async fn peers_that_are_turned_away_are_counted_by_reason_and_unread_events_when_dropped() {
    let place = Place::new();
    let filtering = place.builder(9, place.transport()).admit(|_| false).join("room").await.expect("a node starts");
    let _other = place.builder(1, place.transport()).join("room").await.expect("a node starts");
    let node = filtering.0.node();
    // Offers go on, and 32 rejections are kept.
    until(|| node.metrics().events_dropped > 0).await;
    let metrics = node.metrics();
    assert_eq!(metrics.rejected_filtered, 32 + metrics.events_dropped, "{metrics:?}");
    assert_eq!((metrics.peers_connected, metrics.rejected_full, metrics.rejected_banned), (0, 0, 0));
    assert_ne!(metrics, NodeMetrics::default());
}

/// A transport with a fault.
#[derive(Debug)]
struct Faulty(Arc<MemoryTransport>);

#[async_trait]
impl Transport for Faulty {
    async fn offer(&self) -> Result<Box<dyn PendingOffer>, TransportError> {
        self.0.offer().await
    }

    async fn answer(&self, _: &str) -> Result<Box<dyn PendingAnswer>, TransportError> {
        panic!("this transport panics where it should answer");
    }

    async fn shutdown(&self) {
        self.0.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_panics_counts_nothing_any_more_as_held() {
    let place = Place::new();
    let faulty = Arc::new(Faulty(place.transport()));
    let (swarm, mut events) = place.builder(1, faulty).join("room").await.expect("a node starts");
    let node = swarm.node();
    while !matches!(events.next().await, Some(Event::TrackerConnected(_))) {}
    let announces = node.metrics().announces;
    assert_eq!((node.metrics().trackers_connected, announces), (1, 1));
    let _other = place.builder(2, place.transport()).join("room").await.expect("a node starts");
    let ended = async { while events.next().await.is_some() {} };
    timeout(DEADLINE, ended).await.expect("the events end with the node");
    let metrics = node.metrics();
    assert_eq!((metrics.trackers_connected, metrics.offers_waiting, metrics.swarms), (0, 0, 0), "{metrics:?}");
    assert!(metrics.announces >= announces, "what was counted stays");
}

#[cfg(feature = "metrics")]
mod published {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use metrics::{
        Counter, CounterFn, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    };

    use super::*;

    /// A recorder that has everything in maps.
    #[derive(Default)]
    struct Maps {
        values: Arc<Mutex<BTreeMap<String, f64>>>,
        descriptions: Mutex<BTreeMap<String, String>>,
    }

    impl Maps {
        fn cell(&self, key: &Key) -> Arc<Cell> {
            let labels: Vec<String> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
            let name = format!("{}{{{}}}", key.name(), labels.join(","));
            Arc::new(Cell { name, values: self.values.clone() })
        }

        fn describe(&self, key: &KeyName, text: &SharedString) {
            let mut descriptions = self.descriptions.lock().expect("no test panics while it holds it");
            descriptions.insert(key.as_str().to_owned(), text.to_string());
        }

        fn value(&self, name: &str) -> f64 {
            let values = self.values.lock().expect("as above");
            *values.get(name).unwrap_or_else(|| panic!("no {name} in {values:?}"))
        }
    }

    struct Cell {
        name: String,
        values: Arc<Mutex<BTreeMap<String, f64>>>,
    }

    impl Cell {
        fn add(&self, value: f64) {
            *self.values.lock().expect("as above").entry(self.name.clone()).or_default() += value;
        }
    }

    impl CounterFn for Cell {
        fn increment(&self, value: u64) {
            self.add(value as f64);
        }

        fn absolute(&self, _: u64) {
            panic!("the nodes of a process add up");
        }
    }

    impl GaugeFn for Cell {
        fn increment(&self, value: f64) {
            self.add(value);
        }

        fn decrement(&self, value: f64) {
            self.add(-value);
        }

        fn set(&self, _: f64) {
            panic!("the nodes of a process add up");
        }
    }

    impl Recorder for Maps {
        fn describe_counter(&self, key: KeyName, _: Option<Unit>, text: SharedString) {
            self.describe(&key, &text);
        }

        fn describe_gauge(&self, key: KeyName, _: Option<Unit>, text: SharedString) {
            self.describe(&key, &text);
        }

        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(self.cell(key))
        }

        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::from_arc(self.cell(key))
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_recorder_has_the_sums_of_all_nodes_described() {
        let maps = Maps::default();
        let _installed = metrics::set_default_local_recorder(&maps);
        let [one, two] = live(&Place::new()).await;
        // They are published several times, and counted once.
        tokio::time::sleep(Duration::from_secs(31)).await;
        for (name, value) in [
            ("p2pt_swarms{}", 2.0),
            ("p2pt_peers_connected_total{}", 2.0),
            ("p2pt_connections_closed_total{cause=local}", 1.0),
            ("p2pt_connections_closed_total{cause=remote}", 1.0),
            ("p2pt_messages_total{direction=sent}", 7.0),
            ("p2pt_messages_total{direction=received}", 7.0),
            ("p2pt_requests_ended_total{result=timed out}", 1.0),
            ("p2pt_trackers_connected{}", 2.0),
        ] {
            assert!((maps.value(name) - value).abs() < 0.1, "{name} is {}, not {value}", maps.value(name));
        }
        one.shutdown().await;
        two.shutdown().await;
        // What a node held is taken back when it has stopped.
        until(|| maps.value("p2pt_swarms{}") + maps.value("p2pt_offers_waiting{}") < 0.1).await;
        let values = maps.values.lock().expect("as above");
        let descriptions = maps.descriptions.lock().expect("as above");
        for name in values.keys() {
            let name = name.split('{').next().unwrap_or_default();
            assert!(descriptions.get(name).is_some_and(|text| text.ends_with('.')), "{name} has no description");
        }
        assert_eq!(descriptions["p2pt_connections_closed_total"], "Channels to peers that have closed, by cause.");
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_has_stopped_leaves_nothing_in_a_recorder_that_is_held_now() {
        let maps = Maps::default();
        let _installed = metrics::set_default_local_recorder(&maps);
        let place = Place::new();
        let (one, two) = place.pair().await;
        // More than leaves before the flush is given up, and no event is read afterwards.
        while one.peer.queue("x".repeat(1 << 20)).is_ok() {}
        one.swarm.shutdown().await;
        two.swarm.shutdown().await;
        tokio::time::sleep(Duration::from_secs(31)).await;
        for name in ["swarms", "peers", "queued_bytes", "offers_waiting", "trackers_connected"] {
            let value = maps.value(&format!("p2pt_{name}{{}}"));
            assert!(value.abs() < 0.1, "{name} is {value}");
        }
    }
}
