//! What a node counts: relaxed atomics, one set per node, and the snapshot of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use p2pt_transport::ChannelClosed;

use crate::RejectReason;
use crate::node::{NodeShared, Tracker};
use crate::queue::lock;

/// One table of all numbers: the fields of [`NodeMetrics`], what counts them, and under which names the feature
/// `metrics` publishes them.
macro_rules! table {
    ($(
        $(#[doc = $doc:literal])+
        $kind:ident $field:ident = $name:literal $({ $label:literal = $value:literal })?;
    )+) => {
        /// What a node has done since its start, and holds now; see [`Node::metrics`](crate::Node::metrics).
        ///
        /// Numbers that are not said to be of *now* only grow. They are read one after the other while the node goes
        /// on, so sums of them may be off by what happens meanwhile.
        ///
        /// # With the feature `metrics`
        ///
        /// The same numbers are published to the recorder of the crate [`metrics`](https://docs.rs/metrics) that is
        /// installed, each with its description, when the node starts, every ten seconds and when it has stopped. The
        /// nodes of a process add up. These are the names:
        ///
        $(#[doc = concat!(
            "- `", $name, $("{", $label, "=\"", $value, "\"}",)? "` (", stringify!($kind), "): `",
            stringify!($field), "`"
        )])+
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize))]
        #[non_exhaustive]
        pub struct NodeMetrics {
            $($(#[doc = $doc])+ pub $field: u64,)+
        }

        /// What the parts of a node count into.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $field: AtomicU64,)+
        }

        impl Counters {
            fn snapshot(&self) -> NodeMetrics {
                NodeMetrics { $($field: self.$field.load(Ordering::Relaxed),)+ }
            }
        }

        #[cfg(feature = "metrics")]
        impl NodeMetrics {
            /// What stays when the node has stopped, without what it holds now.
            fn without_gauges(self) -> Self {
                Self { $($field: publish::left_behind::$kind(self.$field),)+ }
            }

            /// Publishes by how much the numbers have changed since `before`.
            fn publish(&self, before: &Self) {
                $(publish::$kind(
                    metrics::$kind!($name $(, $label => $value)?),
                    self.$field,
                    before.$field,
                );)+
            }

            fn describe() {
                $(publish::describe::$kind($name, concat!($($doc),+).trim_start());)+
                for (name, text) in FAMILIES {
                    publish::describe::counter(name, text);
                }
            }
        }
    };
}

table! {
    /// Swarms the node is in now.
    gauge swarms = "p2pt_swarms";
    /// Peers connected now, with those whose last messages are still being read.
    gauge peers = "p2pt_peers";
    /// Peers that have connected; one that came back counts again.
    counter peers_connected = "p2pt_peers_connected_total";
    /// Channels to peers that have opened.
    counter connections_opened = "p2pt_connections_opened_total";
    /// Attempts to connect to a peer that have failed.
    counter connections_failed = "p2pt_connections_failed_total";
    /// Peers turned away because the swarm was full.
    counter rejected_full = "p2pt_connections_rejected_total" { "reason" = "full" };
    /// Peers turned away because they were connected already.
    counter rejected_duplicate = "p2pt_connections_rejected_total" { "reason" = "duplicate" };
    /// Peers turned away because too many attempts were under way.
    counter rejected_busy = "p2pt_connections_rejected_total" { "reason" = "busy" };
    /// Peers turned away by the application's filter.
    counter rejected_filtered = "p2pt_connections_rejected_total" { "reason" = "filtered" };
    /// Peers turned away because they were banned.
    counter rejected_banned = "p2pt_connections_rejected_total" { "reason" = "banned" };
    /// Peers turned away because another one is connected under their id.
    counter rejected_not_the_same = "p2pt_connections_rejected_total" { "reason" = "not_the_same" };
    /// Peers turned away because they have no key, where one is asked for or belongs to their id.
    counter rejected_unsigned = "p2pt_connections_rejected_total" { "reason" = "unsigned" };
    /// Peers turned away because a signature does not hold, an offer came again, or a key was not proven.
    counter rejected_forged = "p2pt_connections_rejected_total" { "reason" = "forged" };
    /// Peers turned away because of their key, or because too few trackers show it.
    counter rejected_key = "p2pt_connections_rejected_total" { "reason" = "key" };
    /// Peers turned away because they do not have the secret of the room, or the code.
    counter rejected_room = "p2pt_connections_rejected_total" { "reason" = "room" };
    /// Channels closed by this side, or with the transport.
    counter closed_local = "p2pt_connections_closed_total" { "cause" = "local" };
    /// Channels closed by the other side.
    counter closed_remote = "p2pt_connections_closed_total" { "cause" = "remote" };
    /// Channels closed because nothing arrived for the idle timeout.
    counter closed_timeout = "p2pt_connections_closed_total" { "cause" = "timeout" };
    /// Channels that broke.
    counter closed_failed = "p2pt_connections_closed_total" { "cause" = "failed" };
    /// Messages that a channel has taken whole, responses among them.
    counter messages_sent = "p2pt_messages_total" { "direction" = "sent" };
    /// Messages received whole, responses among them.
    counter messages_received = "p2pt_messages_total" { "direction" = "received" };
    /// Bytes of the messages sent, as text, and of the frames sent outside the message format.
    counter bytes_sent = "p2pt_bytes_total" { "direction" = "sent" };
    /// Bytes of the messages received, as text, and of the frames received outside the message format.
    counter bytes_received = "p2pt_bytes_total" { "direction" = "received" };
    /// Frames, and messages, that were received and are not valid.
    counter invalid_frames = "p2pt_invalid_frames_total";
    /// Incomplete messages given up because all peers together made the node hold as much as they may. They count as
    /// invalid frames, too.
    counter messages_given_up = "p2pt_messages_given_up_total";
    /// Requests started. Those that have not ended wait for their responses.
    counter requests_started = "p2pt_requests_started_total";
    /// Requests that were answered.
    counter requests_answered = "p2pt_requests_ended_total" { "result" = "answered" };
    /// Requests that had no response in time.
    counter requests_timed_out = "p2pt_requests_ended_total" { "result" = "timed out" };
    /// Requests that ended with another error.
    counter requests_failed = "p2pt_requests_ended_total" { "result" = "failed" };
    /// Requests that the application dropped before they ended.
    counter requests_dropped = "p2pt_requests_ended_total" { "result" = "dropped" };
    /// Bytes received and not taken by the application, now: incomplete messages, inboxes and responses, with what it
    /// takes to keep them. Bounded by [`Builder::receive_memory`](crate::Builder::receive_memory).
    gauge held_bytes = "p2pt_held_bytes";
    /// Bytes queued for peers now, with 128 for each message and frame. Bounded by
    /// [`Builder::send_memory`](crate::Builder::send_memory).
    gauge queued_bytes = "p2pt_queued_bytes";
    /// Times that something was not queued for a peer because its send queue, or those of all peers, were full.
    counter queue_full = "p2pt_queue_full_total";
    /// Times that the channel of a peer waited because the peer's inbox, or what all peers may make the node hold, was
    /// full.
    counter inbox_full = "p2pt_inbox_full_total";
    /// Events dropped because the application did not read in time: replaced by a later one, or counted as `missed`.
    counter events_dropped = "p2pt_events_dropped_total";
    /// Offers made for trackers.
    counter offers_made = "p2pt_offers_made_total";
    /// Offers that could not be made.
    counter offers_failed = "p2pt_offers_failed_total";
    /// Offers that wait for an answer now.
    gauge offers_waiting = "p2pt_offers_waiting";
    /// Trackers that have answered an announce on their present socket, now.
    gauge trackers_connected = "p2pt_trackers_connected";
    /// Announces sent to trackers, `stopped` not counted.
    counter announces = "p2pt_announces_total";
    /// Frames of the tracker protocol sent.
    counter tracker_frames_sent = "p2pt_tracker_frames_total" { "direction" = "sent" };
    /// Frames of the tracker protocol received.
    counter tracker_frames_received = "p2pt_tracker_frames_total" { "direction" = "received" };
}

/// What the counters of one name are together.
#[cfg(feature = "metrics")]
const FAMILIES: [(&str, &str); 6] = [
    ("p2pt_connections_rejected_total", "Peers turned away, by reason."),
    ("p2pt_connections_closed_total", "Channels to peers that have closed, by cause."),
    ("p2pt_messages_total", "Messages that a channel has taken whole, or that were received whole."),
    ("p2pt_bytes_total", "Bytes of messages, as text, and of frames outside the message format."),
    ("p2pt_requests_ended_total", "Requests that have ended, by result."),
    ("p2pt_tracker_frames_total", "Frames of the tracker protocol."),
];

/// Adds one.
pub(crate) fn count(counter: &AtomicU64) {
    add(counter, 1);
}

pub(crate) fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(count as u64, Ordering::Relaxed);
}

impl Counters {
    pub(crate) fn rejected(&self, reason: RejectReason) {
        count(match reason {
            RejectReason::Full => &self.rejected_full,
            RejectReason::Duplicate => &self.rejected_duplicate,
            RejectReason::Busy => &self.rejected_busy,
            RejectReason::Filtered | RejectReason::Refused => &self.rejected_filtered,
            RejectReason::Banned => &self.rejected_banned,
            RejectReason::NotTheSamePeer => &self.rejected_not_the_same,
            RejectReason::Unsigned => &self.rejected_unsigned,
            RejectReason::BadSignature | RejectReason::Replayed | RejectReason::NotConfirmed => &self.rejected_forged,
            RejectReason::WrongKey | RejectReason::NotVouched { .. } => &self.rejected_key,
            RejectReason::WrongRoom | RejectReason::WrongCode { .. } | RejectReason::CodeVoid => &self.rejected_room,
        });
    }

    pub(crate) fn closed(&self, reason: &ChannelClosed) {
        count(match reason {
            ChannelClosed::Local | ChannelClosed::ShutDown => &self.closed_local,
            ChannelClosed::Remote => &self.closed_remote,
            ChannelClosed::Timeout(_) => &self.closed_timeout,
            _ => &self.closed_failed,
        });
    }

    /// Has the numbers of a tracker count on that is about to be removed. The trackers are locked meanwhile, so that no
    /// number of a snapshot grows less.
    pub(crate) fn keep(&self, tracker: &Tracker) {
        let counters = tracker.client.state().counters;
        self.announces.fetch_add(counters.announces_sent, Ordering::Relaxed);
        self.tracker_frames_sent.fetch_add(counters.frames_sent, Ordering::Relaxed);
        self.tracker_frames_received.fetch_add(counters.frames_received, Ordering::Relaxed);
    }
}

/// Which number of now a [`Counted`] is counted in.
pub(crate) type Gauge = fn(&Counters) -> &AtomicU64;

/// Is counted as long as it lives.
pub(crate) struct Counted {
    counters: Arc<Counters>,
    gauge: Gauge,
}

impl Counted {
    pub(crate) fn new(counters: Arc<Counters>, gauge: Gauge) -> Self {
        count(gauge(&counters));
        Self { counters, gauge }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.gauge)(&self.counters).fetch_sub(1, Ordering::Relaxed);
    }
}

impl NodeShared {
    pub(crate) fn metrics(&self) -> NodeMetrics {
        let trackers = lock(&self.trackers);
        let mut metrics = self.counters.snapshot();
        for tracker in trackers.values() {
            let counters = tracker.client.state().counters;
            metrics.trackers_connected += u64::from(tracker.reached);
            metrics.announces += counters.announces_sent;
            metrics.tracker_frames_sent += counters.frames_sent;
            metrics.tracker_frames_received += counters.frames_received;
        }
        metrics
    }
}

#[cfg(feature = "metrics")]
pub(crate) mod publish {
    //! The way of the numbers to the recorder of the crate `metrics`.

    use std::sync::Arc;
    use std::time::Duration;

    use metrics::{Counter, Gauge};
    use p2pt_rt::timeout;

    use super::NodeMetrics;
    use crate::node::NodeShared;

    /// How often numbers are published: recorders are usually read every 10 to 60 s.
    const INTERVAL: Duration = Duration::from_secs(10);

    /// Publishes until the node has stopped, and once more then. Differences are published, so that the nodes of a
    /// process add up.
    pub(crate) async fn run(shared: Arc<NodeShared>) {
        NodeMetrics::describe();
        let mut before = NodeMetrics::default();
        let mut has_stopped = false;
        while !has_stopped {
            publish(&shared, &mut before);
            has_stopped = timeout(INTERVAL, shared.stopped.cancelled()).await.is_ok();
        }
        publish(&shared, &mut before);
        // What is queued is held until the application has read that its peers have closed, which may be never; the
        // recorder is not told of it any more.
        before.clone().without_gauges().publish(&before);
    }

    fn publish(shared: &NodeShared, before: &mut NodeMetrics) {
        let now = shared.metrics();
        now.publish(before);
        *before = now;
    }

    pub(super) fn counter(counter: Counter, now: u64, before: u64) {
        counter.increment(now.saturating_sub(before));
    }

    #[expect(clippy::cast_precision_loss, reason = "a recorder's gauge is a float")]
    pub(super) fn gauge(gauge: Gauge, now: u64, before: u64) {
        gauge.increment(now as f64 - before as f64);
    }

    /// What of a number stays when its node has stopped.
    pub(super) mod left_behind {
        pub(in super::super) fn counter(number: u64) -> u64 {
            number
        }

        pub(in super::super) fn gauge(_: u64) -> u64 {
            0
        }
    }

    pub(super) mod describe {
        pub(in super::super) fn counter(name: &'static str, text: &'static str) {
            metrics::describe_counter!(name, text);
        }

        pub(in super::super) fn gauge(name: &'static str, text: &'static str) {
            metrics::describe_gauge!(name, text);
        }
    }
}
