//! What the log says of one connection's life, and what it never says.
//!
//! In a process of its own: `tracing` asks the thread that first comes to an event whether it is wanted, and would take the
//! answer of a test beside this one for good.
#![cfg(all(feature = "webrtc", feature = "emulator"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    fmt::{self, Write as _},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use p2pt_transport::{
    ChannelClosed, Fingerprint, Frame, Transport,
    emulator::{Internet, Path},
    webrtc::{WebRtc, WebRtcConfig},
};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

/// Longer than anything takes here, in virtual time.
const GUARD: Duration = Duration::from_secs(60);

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(GUARD, future).await.expect("in time")
}

/// One event: its level, its message, and all its fields as text.
#[derive(Debug, Clone)]
struct Entry {
    level: Level,
    message: String,
    fields: String,
    connection: Option<u64>,
}

impl Visit for Entry {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "connection" {
            self.connection = Some(value);
        }
        self.record_debug(field, &value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            write!(self.fields, "{}={value:?} ", field.name()).unwrap();
        }
    }
}

/// Records the events of this crate at every level. Clones share them.
#[derive(Debug, Clone, Default)]
struct Recorder {
    entries: Arc<Mutex<Vec<Entry>>>,
    spans: Arc<AtomicU64>,
}

impl Recorder {
    fn entries(&self) -> Vec<Entry> {
        self.entries.lock().unwrap().clone()
    }
}

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("p2pt_transport")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(self.spans.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let level = *event.metadata().level();
        let mut entry = Entry { level, message: String::new(), fields: String::new(), connection: None };
        event.record(&mut entry);
        self.entries.lock().unwrap().push(entry);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// The changes of state of the connection with this number, in order.
fn life(entries: &[Entry], connection: u64) -> Vec<&str> {
    let of = |entry: &&Entry| entry.connection == Some(connection) && entry.level == Level::DEBUG;
    entries.iter().filter(of).map(|entry| entry.message.as_str()).collect()
}

/// The lines of a description, and the beginnings of the secrets in them: its fingerprint in every usual form.
fn secrets(sdp: &str) -> Vec<String> {
    let fingerprint = Fingerprint::from_sdp(sdp).unwrap();
    let hex = fingerprint.to_string();
    // `v=0` and `t=0 0` are in each description, and short enough to be in anything.
    let lines = sdp.lines().filter(|line| line.len() > 8);
    let values = ["a=ice-ufrag:", "a=ice-pwd:"].map(|name| {
        let mut values = sdp.lines().filter_map(|line| line.strip_prefix(name));
        // Errors quote the beginnings of lines.
        values.next().unwrap().chars().take(8).collect()
    });
    let hex = &hex[..23];
    let forms = [hex.to_owned(), hex.to_lowercase(), hex.replace(':', ""), hex.to_lowercase().replace(':', "")];
    lines
        .map(str::to_owned)
        .chain(values)
        .chain(forms)
        .chain([format!("{:?}", &fingerprint.0[..8]).replace(']', "")])
        .collect()
}

#[tokio::test(start_paused = true)]
async fn the_log_tells_the_life_of_a_connection_in_order_and_no_secret() {
    const CLOSES: [&str; 4] = ["channel closed", "closing gracefully", "SCTP stream closed", "close complete"];
    const IS_CLOSED: [&str; 3] = ["SCTP stream closed", "connection ended", "channel closed"];
    const TEXT: &str = "a text that is no concern of the log";
    let recorder = Recorder::default();
    let _default = tracing::subscriber::set_default(recorder.clone());
    let internet = Internet::new(11);
    let hosts = [(); 2].map(|()| internet.host(Path::default().delay(Duration::from_millis(5))).unwrap());
    let [alice, bob] = hosts
        .each_ref()
        .map(|host| WebRtc::with_network(WebRtcConfig::default().without_ice_servers(), host.network()).unwrap());
    // It has the number 0 at Alice, so that the next connection has another number than at Bob.
    let first = within(alice.offer()).await.unwrap();
    let offer = within(alice.offer()).await.unwrap();
    let answer = within(bob.answer(offer.sdp())).await.unwrap();
    let mut secret = [secrets(first.sdp()), secrets(offer.sdp()), secrets(answer.sdp())].concat();
    secret.push(TEXT.to_owned());
    let broken = offer.sdp().replace("a=fingerprint:sha-256", "a=fingerprint:md5");
    let sdp = answer.sdp().to_owned();
    let (a, b) = within(async { tokio::join!(offer.open(&sdp), answer.open()) }).await;
    let (mut a, b) = (a.unwrap(), b.unwrap());
    within(b.sender.send(Frame::text(TEXT))).await.unwrap();
    assert_eq!(within(a.receiver.recv()).await, Ok(Frame::text(TEXT)));
    within(a.sender.close()).await;
    assert_eq!(within(b.sender.closed()).await, ChannelClosed::Remote);
    within(b.sender.close()).await;
    let entries = recorder.entries();

    let opening = [
        "path found, DTLS handshake begins",
        "candidate pair nominated",
        "DTLS handshake complete",
        "SCTP association up",
        "channel open",
    ];
    let offerer = [&["offer made", "answer received", "looking for a path"], &opening[..], &CLOSES].concat();
    assert_eq!(life(&entries, 1), offerer);
    // The first one is of the other offer.
    let answerer = [&["offer made", "looking for a path", "answer made"], &opening[..], &IS_CLOSED].concat();
    assert_eq!(life(&entries, 0), answerer);
    let closed = entries.iter().filter(|entry| entry.message == "channel closed");
    let reasons: Vec<_> = closed.map(|entry| entry.fields.as_str()).collect();
    assert!(
        matches!(reasons[..], [a, b] if a.contains("by this side") && b.contains("by the other side")),
        "{reasons:?}"
    );
    for message in ["frame sent", "frame received", "check sent", "check received", "check answered"] {
        let level = entries.iter().find(|entry| entry.message == message).map(|entry| entry.level);
        assert_eq!(level, Some(Level::TRACE), "{message}");
    }

    // Descriptions that cannot be used, of which errors quote lines.
    assert!(within(bob.answer(&broken)).await.is_err());
    assert!(within(first.open(&broken)).await.is_err());
    within(async { tokio::join!(alice.shutdown(), bob.shutdown()) }).await;
    let log: Vec<_> = recorder.entries().iter().map(|entry| format!("{} {}", entry.message, entry.fields)).collect();
    assert!(log.iter().any(|entry| entry.contains("unusable SDP")), "the errors are in the log");
    for secret in &secret {
        let leak = log.iter().find(|entry| entry.contains(secret));
        assert_eq!(leak, None, "{secret}");
    }
}
