//! The text format of Prometheus, version 0.0.4.

use std::fmt::{Display, Write as _};

use super::ServerStats;

/// What the response with the text says that it is.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A text that grows by a metric at a time.
#[derive(Debug, Default)]
struct Exposition(String);

impl Exposition {
    /// Appends a line. To a `String` that cannot fail.
    fn line(&mut self, line: impl Display) {
        let _ = writeln!(self.0, "{line}");
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP p2pt_tracker_{name} {help}"));
        self.line(format_args!("# TYPE p2pt_tracker_{name} {kind}"));
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, "gauge", help);
        self.line(format_args!("p2pt_tracker_{name} {value}"));
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, "counter", help);
        self.line(format_args!("p2pt_tracker_{name} {value}"));
    }

    fn counters(&mut self, name: &str, help: &str, label: &str, values: &[(&str, u64)]) {
        self.head(name, "counter", help);
        for (of, value) in values {
            self.line(format_args!("p2pt_tracker_{name}{{{label}=\"{of}\"}} {value}"));
        }
    }
}

impl ServerStats {
    /// All counts in the text format of Prometheus (version 0.0.4), whose content type is
    /// `text/plain; version=0.0.4; charset=utf-8`. The metrics are called `p2pt_tracker_…`, those that only grow end in
    /// `_total`, and times are in seconds.
    pub fn to_prometheus(&self) -> String {
        let (swarms, refused) = (&self.swarms, &self.refused);
        let mut text = Exposition::default();
        text.gauge("uptime_seconds", "Time since the tracker started.", self.uptime.as_secs_f64());
        text.gauge("connections", "Open WebSocket connections.", swarms.connections);
        text.gauge("swarms", "Swarms with at least one member.", swarms.swarms);
        text.gauge("members", "Members of all swarms; a peer in two swarms counts twice.", swarms.peers);
        text.gauge("seeders", "Members that reported that they have everything.", swarms.seeders);
        text.counter("connections_opened_total", "WebSocket connections opened.", self.connections_opened);
        text.counters(
            "refused_total",
            "Sockets and requests turned away, by reason.",
            "reason",
            &[
                ("sockets", refused.sockets),
                ("full", refused.full),
                ("per_address", refused.per_address),
                ("proxy", refused.proxy),
                ("request", refused.requests),
                ("tls", refused.tls),
                ("timeout", refused.timeouts),
            ],
        );
        text.counter(
            "slow_readers_dropped_total",
            "Connections dropped because they did not read what was sent to them.",
            self.slow_readers_dropped,
        );
        text.counter(
            "connections_evicted_total",
            "Connections closed because another announced their peer id and they did not answer a ping.",
            swarms.connections_evicted,
        );
        text.counters(
            "messages_total",
            "Messages of clients that were served, by kind; offers and answers are those forwarded.",
            "kind",
            &[
                ("announce", swarms.announces),
                ("scrape", swarms.scrapes),
                ("offer", swarms.offers_forwarded),
                ("answer", swarms.answers_forwarded),
            ],
        );
        text.counter("failures_total", "Failures sent in reply to messages.", swarms.failures);
        text.counter(
            "members_expired_total",
            "Members removed because they did not announce again.",
            swarms.peers_expired,
        );
        text.0
    }
}
