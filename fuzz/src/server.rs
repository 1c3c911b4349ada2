//! One stream to the tracker, from the first byte of HTTP on, and a well-behaved client beside it.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use arbitrary::Arbitrary;
use p2pt_proto::{Announce, ClientMessage, InfoHash, PeerId};
use p2pt_tracker::{ForwardedHeader, ServerConfig, TrackerService};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time::{Instant, timeout},
};

/// What a stream holds on to in each direction.
const BUFFER_BYTES: usize = 4 * 1024;
/// A handshake but for the empty line at its end.
const HANDSHAKE: &[u8] = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// A reverse proxy whose word is taken.
const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

/// Where the well-behaved client is.
const GOOD: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));

#[derive(Debug, Arbitrary)]
struct Input {
    /// Whether the handshake is a good one.
    handshake: bool,
    origin: Origin,
    ops: Vec<Op>,
}

/// From where the stream comes.
#[derive(Debug, Clone, Copy, Arbitrary)]
enum Origin {
    Unknown,
    Client(u8),
    /// A proxy that says for which client, in one header field or the other.
    XForwardedFor(u8),
    Forwarded(u8),
}

impl Origin {
    fn address(self) -> Option<IpAddr> {
        match self {
            Self::Unknown => None,
            Self::Client(last) => Some([192, 0, 2, last].into()),
            Self::XForwardedFor(_) | Self::Forwarded(_) => Some(PROXY),
        }
    }

    /// A good handshake of a client that comes from there.
    fn handshake(self) -> Vec<u8> {
        let field = match self {
            Self::Unknown | Self::Client(_) => String::new(),
            Self::XForwardedFor(last) => format!("X-Forwarded-For: made up, 192.0.2.{last}\r\n"),
            Self::Forwarded(last) => format!("Forwarded: for=_hidden, for=\"192.0.2.{last}:4711\"\r\n"),
        };
        [HANDSHAKE, field.as_bytes(), b"\r\n"].concat()
    }
}

#[derive(Debug, Arbitrary)]
enum Op {
    Bytes(Vec<u8>),
    /// A piece of an HTTP head.
    Head(Head),
    /// A run of one byte.
    Long(u8, u16),
    Frame {
        first: u8,
        masked: bool,
        length: Option<u32>,
        payload: Vec<u8>,
    },
    Announce {
        peer: u8,
        offers: u8,
    },
    Scrape,
    /// Reads what has come.
    Read,
    Wait(u16),
}

#[derive(Debug, Arbitrary)]
enum Head {
    Get,
    Stats,
    Post,
    Upgrade,
    Connection,
    Version,
    Key,
    Host,
    End,
    Options,
    Health,
    ForClient,
    ForProxy,
    ForText,
}

impl Head {
    fn bytes(&self) -> &'static [u8] {
        match self {
            Self::Get => b"GET / HTTP/1.1\r\n",
            Self::Stats => b"GET /stats.json HTTP/1.1\r\n",
            Self::Post => b"POST /announce HTTP/1.0\r\n",
            Self::Upgrade => b"Upgrade: websocket\r\n",
            Self::Connection => b"Connection: keep-alive, Upgrade\r\n",
            Self::Version => b"Sec-WebSocket-Version: 13\r\n",
            Self::Key => b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            Self::Host => b"Host: tracker\r\n",
            Self::End => b"\r\n",
            Self::Options => b"OPTIONS * HTTP/1.1\r\n",
            Self::Health => b"HEAD /health HTTP/1.0\r\n",
            Self::ForClient => b"X-Forwarded-For: 192.0.2.1\r\nForwarded: for=\"[2001:db8::1]:4711\";proto=https\r\n",
            Self::ForProxy => b"X-Forwarded-For: 10.0.0.2\r\nForwarded: for=10.0.0.2\r\n",
            Self::ForText => b"X-Forwarded-For: text\r\nForwarded: for=\"\r\n",
        }
    }
}

/// A client's frame with a mask of zeros; the length may be a lie.
fn frame(first: u8, masked: bool, length: Option<u32>, payload: &[u8]) -> Vec<u8> {
    let length = length.map_or(payload.len() as u64, u64::from);
    let mask = if masked { 0x80 } else { 0 };
    let mut frame = vec![first];
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ 0..126), _) => frame.push(mask | length),
        (_, Ok(length)) => {
            frame.push(mask | 126);
            frame.extend(length.to_be_bytes());
        }
        _ => {
            frame.push(mask | 127);
            frame.extend(length.to_be_bytes());
        }
    }
    frame.extend([0; 4].iter().filter(|_| masked));
    frame.extend(payload);
    frame
}

fn announce(peer: u8, offers: u8) -> Vec<u8> {
    let mut announce = Announce::new(InfoHash::from([1; 20]), PeerId::from([peer; 20]));
    let offer = |id| p2pt_proto::Offer::new([id; 20].into(), "s".repeat(200));
    announce.offers = Some((0..offers % 24).map(offer).collect());
    frame(0x81, true, None, ClientMessage::Announce(announce).encode().as_bytes())
}

/// What the client reads, as far as it reads.
struct Client {
    stream: DuplexStream,
    received: Vec<u8>,
}

impl Client {
    /// Writes as long as the server reads; it may have hung up or be waiting for us.
    async fn write(&mut self, bytes: &[u8]) {
        let _ = timeout(Duration::from_secs(1), self.stream.write_all(bytes)).await;
    }

    async fn read(&mut self) {
        let mut buffer = [0; BUFFER_BYTES];
        if let Ok(Ok(bytes)) = timeout(Duration::from_millis(1), self.stream.read(&mut buffer)).await {
            self.received.extend(&buffer[..bytes]);
        }
    }

    /// Reads until the text has come.
    async fn expect(&mut self, text: &[u8]) {
        while !self.received.windows(text.len()).any(|window| window == text) {
            let read = timeout(Duration::from_secs(1), self.stream.read_buf(&mut self.received)).await;
            assert!(matches!(read, Ok(Ok(1..))), "a good client is not served: {read:?}");
        }
    }
}

/// No bytes keep a stream open for ever or hurt another client, and what is answered is HTTP.
pub fn server_streams(data: &[u8]) {
    let Some(input) = crate::read(data) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(serve(input));
}

async fn serve(Input { handshake, origin, ops }: Input) {
    let mut config = ServerConfig::default();
    config.seed = Some(1);
    config.max_message_bytes = 4 * 1024;
    config.max_queued_bytes = 64 * 1024;
    config.trusted_proxies = vec![PROXY.into()];
    if matches!(origin, Origin::Forwarded(_)) {
        config.forwarded_header = ForwardedHeader::Forwarded;
    }
    let service = TrackerService::new(config.clone());
    let open = |address: Option<IpAddr>| {
        let (near, far) = duplex(BUFFER_BYTES);
        let served = match address {
            Some(address) => tokio::spawn(service.serve_from(address, far)),
            None => tokio::spawn(service.serve(far)),
        };
        (Client { stream: near, received: Vec::new() }, served)
    };
    let (mut client, served) = open(origin.address());
    if handshake {
        client.write(&origin.handshake()).await;
    }
    for op in ops {
        match op {
            Op::Bytes(bytes) => client.write(&bytes).await,
            Op::Head(head) => client.write(head.bytes()).await,
            Op::Long(byte, times) => client.write(&vec![byte; times.into()]).await,
            Op::Frame { first, masked, length, payload } => {
                client.write(&frame(first, masked, length, &payload)).await;
            }
            Op::Announce { peer, offers } => client.write(&announce(peer % 200, offers)).await,
            Op::Scrape => client.write(&frame(0x81, true, None, br#"{"action":"scrape"}"#)).await,
            Op::Read => client.read().await,
            Op::Wait(millis) => tokio::time::sleep(Duration::from_millis(millis.into())).await,
        }
    }
    let (mut good, good_served) = open(Some(GOOD));
    good.write(&Origin::Client(1).handshake()).await;
    // A peer id that the other does not know: claiming it would make the good one wait for some seconds.
    good.write(&announce(255, 0)).await;
    good.expect(b"\"incomplete\":").await;

    client.read().await;
    assert!(client.received.is_empty() || client.received.starts_with(b"HTTP/1.1 "), "{:?}", client.received);
    // The longest a stream lasts whose client is silent: until it is missed and its close frame unanswered.
    let start = Instant::now();
    served.await.expect("no panic");
    let longest = config.idle_timeout + config.write_timeout + config.close_timeout;
    assert!(start.elapsed() <= longest, "it took {:?}", start.elapsed());
    drop(good);
    good_served.await.expect("no panic");
    let stats = service.stats().swarms;
    assert_eq!((stats.connections, stats.swarms, stats.peers), (0, 0, 0));
}
