//! Clients that behave.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{SinkExt, StreamExt, stream};
use p2pt_proto::{Announce, AnswerRequest, ClientMessage, InfoHash, Offer, PeerId, TrackerMessage};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::mpsc,
    task::JoinSet,
    time::{Instant, interval, sleep, timeout, timeout_at},
};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

use crate::tls::Identity;

/// A byte stream with or without TLS.
pub(crate) trait Bytes: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Bytes for S {}

pub(crate) type Client = WebSocketStream<Box<dyn Bytes>>;

/// How long a good client waits for a reply before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(10);
/// As long as the offers of a browser with a few candidates.
const SDP_BYTES: usize = 1000;

pub(crate) async fn open(addr: SocketAddr, tls: Option<&Identity>) -> Option<Client> {
    let stream = timeout(PATIENCE, TcpStream::connect(addr)).await.ok()?.ok()?;
    let _ = stream.set_nodelay(true);
    let stream: Box<dyn Bytes> = match tls {
        None => Box::new(stream),
        Some(tls) => {
            let name = "localhost".try_into().ok()?;
            Box::new(timeout(PATIENCE, tls.connector().connect(name, stream)).await.ok()?.ok()?)
        }
    };
    let (client, _) = timeout(PATIENCE, client_async("ws://tracker/announce", stream)).await.ok()?.ok()?;
    Some(client)
}

/// Opens so many connections, 50 at a time, and returns how long it took.
pub(crate) async fn connect(addr: SocketAddr, tls: Option<&Identity>, count: usize) -> (Vec<Client>, Duration) {
    let start = Instant::now();
    let clients: Vec<_> = stream::iter(0..count).map(|_| open(addr, tls)).buffer_unordered(50).collect().await;
    let took = start.elapsed();
    let clients: Vec<_> = clients.into_iter().flatten().collect();
    assert_eq!(clients.len(), count, "the tracker takes so many connections");
    (clients, took)
}

pub(crate) fn peer() -> PeerId {
    rand::random::<[u8; 20]>().into()
}

pub(crate) fn announce(swarm: InfoHash, peer: PeerId, offers: usize) -> Message {
    let mut announce = Announce::new(swarm, peer);
    announce.numwant = u32::try_from(offers).ok();
    let offer = |_| Offer::new(rand::random::<[u8; 20]>().into(), "v=0".repeat(SDP_BYTES / 3));
    announce.offers = Some((0..offers).map(offer).collect());
    Message::text(ClientMessage::Announce(announce).encode())
}

fn decode(message: &Message) -> Option<TrackerMessage> {
    if let Message::Text(text) = message { TrackerMessage::decode(text.as_str()).ok() } else { None }
}

/// Each client announces in a swarm of its own, again as soon as there is a reply; returns announces a second.
pub(crate) async fn announce_alone(clients: Vec<Client>, span: Duration) -> f64 {
    let end = Instant::now() + span;
    let replies = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for mut client in clients {
        let replies = Arc::clone(&replies);
        tasks.spawn(async move {
            let request = announce(rand::random::<[u8; 20]>().into(), peer(), 0);
            while Instant::now() < end && client.send(request.clone()).await.is_ok() {
                match timeout_at(end, client.next()).await {
                    Ok(Some(Ok(_))) => replies.fetch_add(1, Ordering::Relaxed),
                    _ => break,
                };
            }
            client
        });
    }
    // No client leaves before all are done, so that memory can be looked at.
    let clients: Vec<_> = tasks.join_all().await;
    drop(clients);
    replies.load(Ordering::Relaxed) as f64 / span.as_secs_f64()
}

/// A member of swarms that answers every offer; what it writes waits in a queue, so that it reads all the time.
struct Member {
    me: PeerId,
    write: mpsc::Sender<Message>,
}

impl Member {
    /// Answers, if it is an offer.
    fn on_message(&self, message: &TrackerMessage) {
        let TrackerMessage::Offer(offer) = message else { return };
        let answer =
            AnswerRequest::new(offer.info_hash, self.me, offer.peer_id, offer.offer_id, "v=0".repeat(SDP_BYTES / 3));
        // Too many to be answered are not answered.
        let _ = self.write.try_send(Message::text(ClientMessage::Answer(answer).encode()));
    }
}

/// Splits a client into a member and what it reads; a task writes.
fn member(client: Client) -> (Member, stream::SplitStream<Client>) {
    let (mut sink, source) = client.split();
    let (write, mut queue) = mpsc::channel::<Message>(64);
    tokio::spawn(async move {
        while let Some(message) = queue.recv().await {
            if sink.send(message).await.is_err() {
                return;
            }
        }
        let _ = sink.close().await;
    });
    (Member { me: peer(), write }, source)
}

/// What clients of a crowd do.
#[derive(Clone, Copy)]
pub(crate) struct Pattern {
    /// Offers of an announce.
    offers: usize,
    /// At least so long from one announce to the next, which also waits for the reply.
    pause: Duration,
    /// The swarm of the next announce.
    swarm: fn() -> InfoHash,
}

impl Pattern {
    /// Clients in one swarm, with five offers ten times a second.
    pub(crate) const CROWD: Self =
        Self { offers: 5, pause: Duration::from_millis(100), swarm: || InfoHash::of("crowd") };

    /// As aquatic's load test by its own defaults: announces with ten offers, one after another on each connection, in
    /// swarms that are drawn by a gamma distribution of shape 0.2 and scale 100, to which this is close.
    pub(crate) const LOAD: Self = Self {
        offers: 10,
        pause: Duration::ZERO,
        swarm: || InfoHash::of(&format!("load {}", (100.0 * rand::random::<f64>().powi(5)) as u32)),
    };
}

/// All clients announce by this pattern and answer all offers; returns announces replied to, and offers and answers
/// received, a second.
pub(crate) async fn crowd(clients: Vec<Client>, pattern: Pattern, span: Duration) -> (f64, f64) {
    let end = Instant::now() + span;
    let counts = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
    let mut tasks = JoinSet::new();
    for client in clients {
        let counts = Arc::clone(&counts);
        tasks.spawn(async move {
            let (member, mut source) = member(client);
            while Instant::now() < end {
                let again = Instant::now() + pattern.pause;
                let request = announce((pattern.swarm)(), member.me, pattern.offers);
                if member.write.send(request).await.is_err() {
                    return;
                }
                let mut replied = false;
                while !replied || Instant::now() < again {
                    let until = if replied { again } else { end };
                    let Ok(Some(Ok(message))) = timeout_at(until, source.next()).await else { break };
                    let Some(message) = decode(&message) else { continue };
                    member.on_message(&message);
                    replied |= matches!(message, TrackerMessage::Announced(_));
                    counts[usize::from(!matches!(message, TrackerMessage::Announced(_)))]
                        .fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }
    tasks.join_all().await;
    let rate = |count: &AtomicU64| count.load(Ordering::Relaxed) as f64 / span.as_secs_f64();
    (rate(&counts[0]), rate(&counts[1]))
}

/// How good clients fared.
pub(crate) struct Fare {
    /// Milliseconds from an announce to its reply, half of all.
    pub(crate) median: f64,
    /// The time within which 99 of 100 replies came.
    pub(crate) late: f64,
    /// Announces in a hundred that got no reply.
    pub(crate) lost: f64,
    /// Connections that could not be opened or ended early.
    pub(crate) broken: f64,
}

/// The swarms that good clients share, ten in each, and that hostile ones go for.
pub(crate) fn shared_swarm(number: usize) -> InfoHash {
    InfoHash::of(&format!("swarm {}", number % 10))
}

/// Runs this many clients in ten swarms, which announce with two offers twice a second, and answer what they are offered.
pub(crate) async fn watch(addr: SocketAddr, count: usize, span: Duration) -> Fare {
    let end = Instant::now() + span;
    let (samples_in, mut samples) = mpsc::channel::<Option<Duration>>(1024);
    let broken = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for number in 0..count {
        let (samples, broken) = (samples_in.clone(), Arc::clone(&broken));
        tasks.spawn(async move {
            // Not all in the same moment.
            sleep(Duration::from_millis(number as u64 * 5)).await;
            while Instant::now() < end {
                if visit(addr, shared_swarm(number), end, &samples).await.is_none() {
                    broken.fetch_add(1, Ordering::Relaxed);
                    sleep(Duration::from_millis(500)).await;
                }
            }
        });
    }
    drop(samples_in);
    let (mut times, mut lost) = (Vec::new(), 0.0);
    while let Some(sample) = samples.recv().await {
        match sample {
            Some(time) => times.push(time.as_secs_f64() * 1000.0),
            None => lost += 1.0,
        }
    }
    times.sort_by(f64::total_cmp);
    let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or(f64::NAN);
    let lost = lost * 100.0 / (times.len() as f64 + lost);
    Fare { median: at(50), late: at(99), lost, broken: broken.load(Ordering::Relaxed) as f64 }
}

/// One connection of a good client, until the end; `None` if it ended early.
async fn visit(
    addr: SocketAddr,
    swarm: InfoHash,
    end: Instant,
    samples: &mpsc::Sender<Option<Duration>>,
) -> Option<()> {
    let (member, mut source) = member(open(addr, None).await?);
    let mut due = interval(Duration::from_millis(500));
    while Instant::now() < end {
        due.tick().await;
        let sent = Instant::now();
        member.write.send(announce(swarm, member.me, 2)).await.ok()?;
        let mut replied = false;
        // Listens until the next announce is due, and longer if there is no reply.
        loop {
            let until = sent + if replied { Duration::from_millis(450) } else { PATIENCE };
            match timeout_at(until, source.next()).await {
                Err(_) => break,
                Ok(Some(Ok(message))) => {
                    let Some(message) = decode(&message) else { continue };
                    member.on_message(&message);
                    if matches!(message, TrackerMessage::Announced(_)) && !std::mem::replace(&mut replied, true) {
                        let _ = samples.send(Some(sent.elapsed())).await;
                    }
                }
                Ok(_) => {
                    let _ = samples.send(None).await;
                    return None;
                }
            }
        }
        if !replied {
            let _ = samples.send(None).await;
        }
    }
    Some(())
}
