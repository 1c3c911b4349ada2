//! The emulated path between two peers: UDP sockets that pass datagrams on after a delay.
//!
//! Datagrams that the sender handed to the system in one go come in one go and leave in one go, as on loopback itself,
//! so that the path costs little beside the peers that are measured.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use socket2::SockRef;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use webrtc::runtime::{AsyncUdpSocket, RecvMeta, Runtime as _, TokioRuntime, Transmit};

/// What is on its way at most in each direction, in bytes: as much as a fast line of this length holds. More is lost.
const MAX_IN_FLIGHT: usize = 16 << 20;

/// As much as the system hands over in one go.
const MOST_AT_ONCE: usize = 65_536;

const SOCKET_BUFFER: usize = 4 << 20;

/// How late tokio's timers come on average: they count in whole milliseconds.
const LATENESS: Duration = Duration::from_micros(1300);

/// What a path does to datagrams.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PathConditions {
    /// How long a datagram takes, one way.
    pub delay: Duration,
    /// How many of a hundred datagrams are lost, each way.
    pub loss_percent: f64,
}

/// The address of one peer, as far as it is known: from its SDP, and later from what it sends.
type Place = Arc<Mutex<Option<SocketAddr>>>;

/// The path between an offerer and an answerer. It exists until it is dropped.
#[derive(Debug)]
pub struct EmulatedPath {
    answerer: Place,
    /// What the offerer sees of the answerer.
    answer_from: SocketAddr,
    _carriers: JoinSet<io::Result<()>>,
}

impl EmulatedPath {
    /// Builds the path of one offer, and returns it with the offer as the answerer must see it.
    ///
    /// # Errors
    /// If no sockets can be had.
    pub fn begin(offer_sdp: &str, conditions: PathConditions) -> io::Result<(Self, String)> {
        let at = addresses(offer_sdp).into_iter().next();
        let ip = at.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |at| at.ip());
        let (at_offerer, at_answerer) = (socket(ip)?, socket(ip)?);
        let offer_from = at_answerer.local_addr()?;
        let answer_from = at_offerer.local_addr()?;
        let offerer = Place::new(Mutex::new(at));
        let answerer = Place::default();
        let mut carriers = JoinSet::new();
        for (from, sender, through, receiver) in [
            (at_offerer.clone(), offerer.clone(), at_answerer.clone(), answerer.clone()),
            (at_answerer, answerer.clone(), at_offerer, offerer),
        ] {
            carriers.spawn(carry(conditions, from, sender, through, receiver));
        }
        Ok((Self { answerer, answer_from, _carriers: carriers }, moved(offer_sdp, offer_from)))
    }

    /// The answer as the offerer must see it.
    pub fn complete(&self, answer_sdp: &str) -> String {
        let mut answerer = self.answerer.lock().unwrap_or_else(PoisonError::into_inner);
        *answerer = answerer.or(addresses(answer_sdp).into_iter().next());
        moved(answer_sdp, self.answer_from)
    }
}

/// What came in one go.
struct Batch {
    due: Instant,
    bytes: Vec<u8>,
    /// The size of each of its datagrams but the last.
    stride: usize,
}

async fn carry(
    conditions: PathConditions,
    from: Arc<dyn AsyncUdpSocket>,
    sender: Place,
    through: Arc<dyn AsyncUdpSocket>,
    receiver: Place,
) -> io::Result<()> {
    let mut chance = StdRng::seed_from_u64(0);
    let mut queue: VecDeque<Batch> = VecDeque::new();
    let mut in_flight = 0;
    let mut buffer = vec![0; MOST_AT_ONCE];
    loop {
        let due = queue.front().map_or_else(Instant::now, |batch| batch.due);
        tokio::select! {
            () = sleep_until(due), if !queue.is_empty() => {
                let Some(batch) = queue.pop_front() else { continue };
                in_flight -= batch.bytes.len();
                let place = *receiver.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(place) = place {
                    send(&*through, &batch, place).await;
                }
            }
            received = receive(&*from, &mut buffer) => {
                // On some systems an error here only says that no socket is open where something was sent.
                let Ok((bytes, stride, source)) = received else { continue };
                *sender.lock().unwrap_or_else(PoisonError::into_inner) = Some(source);
                let bytes = lose(&buffer[..bytes], stride, conditions.loss_percent, &mut chance);
                if bytes.is_empty() || in_flight + bytes.len() > MAX_IN_FLIGHT {
                    continue;
                }
                in_flight += bytes.len();
                queue.push_back(Batch { due: Instant::now() + conditions.delay.saturating_sub(LATENESS), bytes, stride });
            }
        }
    }
}

/// What is left of a batch.
fn lose(bytes: &[u8], stride: usize, percent: f64, chance: &mut StdRng) -> Vec<u8> {
    if percent <= 0.0 {
        return bytes.to_vec();
    }
    // Only the last may be shorter, so without it the batch is still one.
    bytes.chunks(stride).filter(|_| !chance.random_bool(percent / 100.0)).flatten().copied().collect()
}

async fn receive(socket: &dyn AsyncUdpSocket, buffer: &mut [u8]) -> io::Result<(usize, usize, SocketAddr)> {
    poll_fn(|cx| {
        let mut meta = [RecvMeta::default()];
        socket.poll_recv(cx, &mut [IoSliceMut::new(buffer)], &mut meta).map_ok(|_| {
            let [meta] = meta;
            (meta.len, meta.stride.max(1), meta.addr)
        })
    })
    .await
}

/// What is refused, because no socket is open there, counts as lost.
async fn send(socket: &dyn AsyncUdpSocket, batch: &Batch, destination: SocketAddr) {
    let most = batch.stride * socket.max_gso_segments().max(1);
    for contents in batch.bytes.chunks(most) {
        let segment_size = (contents.len() > batch.stride).then_some(batch.stride);
        let transmit = Transmit { destination, ecn: None, contents, segment_size, src_ip: None };
        let _ = poll_fn(|cx| socket.poll_send(cx, &transmit)).await;
    }
}

fn socket(ip: IpAddr) -> io::Result<Arc<dyn AsyncUdpSocket>> {
    let socket = UdpSocket::bind((ip, 0)).or_else(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)))?;
    let buffers = SockRef::from(&socket);
    // What the system grants is enough for peers that have asked for the same.
    let _ = buffers.set_recv_buffer_size(SOCKET_BUFFER);
    let _ = buffers.set_send_buffer_size(SOCKET_BUFFER);
    TokioRuntime.wrap_udp_socket(socket)
}

/// The IPv4 addresses over UDP that an SDP offers.
fn addresses(sdp: &str) -> Vec<SocketAddr> {
    sdp.lines()
        .filter_map(candidate)
        .filter_map(|words| {
            let ip: Ipv4Addr = words[4].parse().ok()?;
            Some(SocketAddr::from((ip, words[5].parse().ok()?)))
        })
        .collect()
}

fn candidate(line: &str) -> Option<Vec<&str>> {
    let words: Vec<&str> = line.trim().split(' ').collect();
    let usable = line.starts_with("a=candidate:") && words.len() >= 8 && words[2].eq_ignore_ascii_case("udp");
    usable.then_some(words)
}

/// The SDP with one candidate, which is `to`.
fn moved(sdp: &str, to: SocketAddr) -> String {
    let mut done = false;
    let mut moved = String::new();
    for line in sdp.lines() {
        if line.starts_with("a=candidate:") {
            let Some(mut words) = candidate(line).filter(|_| !done) else { continue };
            done = true;
            let (ip, port) = (to.ip().to_string(), to.port().to_string());
            (words[4], words[5]) = (&ip, &port);
            moved += &words.join(" ");
        } else {
            moved += line;
        }
        moved += "\r\n";
    }
    moved
}

#[cfg(test)]
mod tests {
    use p2pt_transport::webrtc::{WebRtc, WebRtcConfig};
    use p2pt_transport::{Frame, Transport as _};
    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[tokio::test(flavor = "multi_thread")]
    async fn what_takes_the_path_is_delayed_and_all_of_it_arrives() {
        let conditions = PathConditions { delay: Duration::from_millis(20), loss_percent: 1.0 };
        let [offerer, answerer] = [(); 2].map(|()| WebRtc::new(WebRtcConfig::loopback()).unwrap());
        let offer = offerer.offer().await.unwrap();
        let (path, offer_sdp) = EmulatedPath::begin(offer.sdp(), conditions).unwrap();
        let answer = answerer.answer(&offer_sdp).await.unwrap();
        let answer_sdp = path.complete(answer.sdp());
        let both = async { tokio::try_join!(offer.open(&answer_sdp), answer.open()) };
        let (mut a, mut b) = timeout(PATIENCE, both).await.unwrap().unwrap();

        let begin = Instant::now();
        a.sender.send(Frame::text("there")).await.unwrap();
        timeout(PATIENCE, b.receiver.recv()).await.unwrap().unwrap();
        b.sender.send(Frame::text("and back")).await.unwrap();
        timeout(PATIENCE, a.receiver.recv()).await.unwrap().unwrap();
        let least = 2 * (conditions.delay - LATENESS);
        assert!(begin.elapsed() >= least, "there and back in {:?}", begin.elapsed());

        for number in 0..200_u8 {
            a.sender.send(Frame::binary(vec![number; 10_000])).await.unwrap();
        }
        for number in 0..200_u8 {
            let frame = timeout(PATIENCE, b.receiver.recv()).await.unwrap().unwrap();
            assert_eq!(frame, Frame::binary(vec![number; 10_000]));
        }
        timeout(PATIENCE, async { tokio::join!(offerer.shutdown(), answerer.shutdown()) }).await.unwrap();
    }

    #[test]
    fn one_candidate_is_left_and_it_is_the_path() {
        let sdp = "v=0\r\na=candidate:1 1 udp 2 8e7b.local 5000 typ host\r\na=candidate:1 1 udp 1 192.0.2.1 4000 typ host\r\na=end-of-candidates\r\n";
        let to = SocketAddr::from(([127, 0, 0, 1], 9));
        assert_eq!(moved(sdp, to), "v=0\r\na=candidate:1 1 udp 2 127.0.0.1 9 typ host\r\na=end-of-candidates\r\n");
        assert_eq!(addresses(sdp), [SocketAddr::from(([192, 0, 2, 1], 4000))]);
    }
}
