//! A path between two transports that can be cut, slowed and narrowed: UDP sockets that pass datagrams on.

use std::{
    collections::VecDeque,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use p2pt_transport::{PendingAnswer, PendingOffer, Transport};
use tokio::{
    net::UdpSocket,
    task::JoinSet,
    time::{Instant, sleep_until},
};

/// How much waits in front of a narrow path before datagrams are dropped, as time: a deep buffer, as home routers have.
const QUEUE: Duration = Duration::from_secs(2);

/// One direction.
#[derive(Debug, Default)]
pub(crate) struct Way {
    cut: AtomicBool,
    only_checks: AtomicBool,
    delay_millis: AtomicU64,
    bytes_per_second: AtomicU64,
}

impl Way {
    pub(crate) fn cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::SeqCst);
    }

    /// Lets only ICE through.
    #[allow(dead_code, reason = "not every suite needs it")]
    pub(crate) fn only_checks(&self) {
        self.only_checks.store(true, Ordering::SeqCst);
    }

    pub(crate) fn slow(&self, delay: Duration, bytes_per_second: u64) {
        self.delay_millis.store(delay.as_millis() as u64, Ordering::SeqCst);
        self.bytes_per_second.store(bytes_per_second, Ordering::SeqCst);
    }

    async fn carry(self: Arc<Self>, from: Arc<UdpSocket>, through: Arc<UdpSocket>, to: SocketAddr) {
        let mut queue: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
        let mut line_free = Instant::now();
        let mut buffer = vec![0; 65_536];
        loop {
            let due = queue.front().map_or_else(Instant::now, |(due, _)| *due);
            tokio::select! {
                () = sleep_until(due), if !queue.is_empty() => {
                    let Some((_, datagram)) = queue.pop_front() else { continue };
                    // Refused while no socket listens, which is as good as lost.
                    let _ = through.send_to(&datagram, to).await;
                }
                received = from.recv(&mut buffer) => {
                    let (Ok(bytes), false) = (received, self.cut.load(Ordering::SeqCst)) else { continue };
                    // What begins with 0 to 3 is STUN, with 20 to 63 DTLS (RFC 7983).
                    if self.only_checks.load(Ordering::SeqCst) && buffer[0] > 3 {
                        continue;
                    }
                    let now = Instant::now();
                    let rate = self.bytes_per_second.load(Ordering::SeqCst);
                    let waits = line_free.saturating_duration_since(now);
                    if waits > QUEUE {
                        continue;
                    }
                    if rate > 0 {
                        line_free = now + waits + Duration::from_secs_f64(bytes as f64 / rate as f64);
                    }
                    let delay = Duration::from_millis(self.delay_millis.load(Ordering::SeqCst));
                    queue.push_back((line_free.max(now) + delay, buffer[..bytes].to_vec()));
                }
            }
        }
    }
}

/// The path of one connection.
#[derive(Debug)]
pub(crate) struct Relay {
    /// From the offerer to the answerer.
    pub(crate) there: Arc<Way>,
    /// From the answerer to the offerer.
    pub(crate) back: Arc<Way>,
    /// The answer as the offerer must see it.
    pub(crate) answer_sdp: String,
    _carriers: JoinSet<()>,
}

impl Relay {
    /// Lets `answerer` answer an offer of `offerer`, each of whom sees only the relay's addresses. The transports must
    /// offer one address each.
    pub(crate) async fn between(
        offerer: &dyn Transport,
        answerer: &dyn Transport,
    ) -> (Self, Box<dyn PendingOffer>, Box<dyn PendingAnswer>) {
        let (at_offerer, at_answerer) = (socket().await, socket().await);
        let offer = offerer.offer().await.unwrap();
        let (offer_sdp, offerer_at) = moved(offer.sdp(), at_answerer.local_addr().unwrap());
        let answer = answerer.answer(&offer_sdp).await.unwrap();
        let (answer_sdp, answerer_at) = moved(answer.sdp(), at_offerer.local_addr().unwrap());

        let (there, back) = (Arc::<Way>::default(), Arc::<Way>::default());
        let mut carriers = JoinSet::new();
        carriers.spawn(there.clone().carry(at_offerer.clone(), at_answerer.clone(), answerer_at));
        carriers.spawn(back.clone().carry(at_answerer, at_offerer, offerer_at));
        (Self { there, back, answer_sdp, _carriers: carriers }, offer, answer)
    }
}

async fn socket() -> Arc<UdpSocket> {
    Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap())
}

/// The SDP with another address in its one candidate, and the address that was there.
pub(crate) fn moved(sdp: &str, to: SocketAddr) -> (String, SocketAddr) {
    let mut was = Vec::new();
    let lines = sdp.lines().map(|line| {
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        if line.starts_with("a=candidate:") {
            was.push(SocketAddr::new(words[4].parse().unwrap(), words[5].parse().unwrap()));
            words[4] = to.ip().to_string();
            words[5] = to.port().to_string();
        }
        words.join(" ") + "\r\n"
    });
    let sdp = lines.collect();
    assert!(was.windows(2).all(|pair| pair[0] == pair[1]), "more than one address: {was:?}");
    (sdp, was[0])
}
