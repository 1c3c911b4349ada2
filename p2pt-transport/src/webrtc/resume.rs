//! The cure for two defects of `rtc` 0.21 at the end of a burst of frames.
//!
//! Of what has arrived, its core hands over at most 256 frames at a time and leaves the rest in the SCTP reassembly queue.
//!
//! *It stalls.* The core fetches more when it handles the next datagram; its driver never asks otherwise. So the last
//! frames of a burst of small ones arrive when the other side next says something, up to two seconds late.
//!
//! *It loses.* If the other side resets the stream meanwhile, the core waits with that until the queue has been read, but
//! then throws the last part it read away: up to 256 frames sent before a polite close.
//!
//! The cure: once a link has read a good number of frames and finds none waiting, one of its sockets hands the driver a
//! datagram that came from nowhere, which makes the core fetch what is left; and until nothing is left, the sockets hand
//! over nothing else. So the other side's close is not seen before all it sent has been. The datagram is an empty STUN
//! binding indication from a documentation address: the ICE agent discards it, for it belongs to no candidate.
//!
//! A link whose reader is slow does not hold the sockets up, since connectivity checks and acknowledgements come the same
//! way. There, frames beyond what the inbox and the stack's own queues hold can still be lost to a close.
//!
//! To be removed when the crate mends both. The test below shows the stall, `tests/webrtc.rs` the loss.

use std::{
    io::IoSliceMut,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    task::{Wake, Waker},
};

use tokio::sync::Notify;
use webrtc::runtime::RecvMeta;

use super::pulse::{Pulse, lock};

/// How many frames a link reads before an empty queue makes it ask. Frames are only left behind once 256 are waiting, and
/// those are read first; so any number up to 256 is safe, and a smaller one only asks more often than needed.
pub(super) const FRAMES_BETWEEN: usize = 128;

/// A STUN binding indication (RFC 8489 section 5): type 0x0011, no attributes, magic cookie, transaction id zero.
const DATAGRAM: [u8; 20] = [0, 0x11, 0, 0, 0x21, 0x12, 0xA4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Where it claims to come from: TEST-NET-1 (RFC 5737), the discard port.
const SOURCE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9);

/// The link reads no frames: it is not open yet, waits for its own reader, or closes.
const AWAY: u8 = 0;
/// The link has read every frame and waits for one.
const WAITING: u8 = 1;
/// The link has frames to read, or asks whether there are more. The sockets hold.
const BEHIND: u8 = 2;

/// What a link and the sockets of its connection agree on.
#[derive(Debug, Default)]
pub(super) struct Resume {
    /// One of the three states of a link.
    link: AtomicU8,
    /// A socket has held something back, perhaps.
    held: AtomicBool,
    wanted: AtomicBool,
    /// The datagram has been handed over in the pass under way.
    handed_over: AtomicBool,
    answers: AtomicU64,
    answered: Notify,
    wakers: Mutex<Vec<Option<Waker>>>,
    /// Takes the cure away.
    #[cfg(test)]
    off: AtomicBool,
    /// Makes the sockets deaf.
    #[cfg(test)]
    pub(super) deaf: AtomicBool,
}

impl Resume {
    /// A number for the next socket of this connection.
    pub(super) fn add_socket(&self) -> usize {
        let mut wakers = lock(&self.wakers);
        wakers.push(None);
        wakers.len() - 1
    }

    pub(super) fn wake_sockets(&self) {
        for waker in lock(&self.wakers).iter().flatten() {
            waker.wake_by_ref();
        }
    }

    /// Makes the driver's next pass begin now, and fetch what was left behind.
    pub(super) fn request(&self) {
        self.wanted.store(true, Ordering::Release);
        self.wake_sockets();
    }

    /// The same, and waits until it has been delivered.
    pub(super) async fn request_and_wait(&self) {
        #[cfg(test)]
        if self.off.load(Ordering::Acquire) {
            return;
        }
        let before = self.answers.load(Ordering::Acquire);
        self.request();
        loop {
            let answered = self.answered.notified();
            if self.answers.load(Ordering::Acquire) > before {
                return;
            }
            answered.await;
        }
    }

    /// The driver has delivered everything it read in a pass.
    pub(super) fn pass_ends(&self) {
        if self.handed_over.swap(false, Ordering::AcqRel) {
            self.answers.fetch_add(1, Ordering::AcqRel);
            self.answered.notify_waiters();
        }
    }

    /// The link has frames to read.
    pub(super) fn fall_behind(&self) {
        self.link.store(BEHIND, Ordering::Release);
    }

    /// The link has read everything there is.
    pub(super) fn wait_for_frames(&self) {
        self.let_go(WAITING);
    }

    /// The link reads nothing for now.
    pub(super) fn go_away(&self) {
        self.let_go(AWAY);
    }

    fn let_go(&self, state: u8) {
        // This side writes `link` and then reads `held`, `holds` the other way round. Only in one order for all threads
        // does one of the two see what the other wrote; with less, both may miss it, and nobody wakes the socket.
        self.link.store(state, Ordering::SeqCst);
        if self.held.swap(false, Ordering::SeqCst) {
            self.wake_sockets();
        }
    }

    /// Whether sockets hold what they hear.
    pub(super) fn is_behind(&self) -> bool {
        self.link.load(Ordering::SeqCst) == BEHIND
    }

    /// Whether a socket must not hand over what it hears. `waker` is woken when it may, or shall hand over the datagram.
    pub(super) fn holds(&self, socket: usize, waker: &Waker) -> bool {
        #[cfg(test)]
        if self.deaf.load(Ordering::Acquire) {
            return true;
        }
        if !self.is_behind() {
            return false;
        }
        self.register(socket, waker);
        self.held.store(true, Ordering::SeqCst);
        self.is_behind()
    }

    fn register(&self, socket: usize, waker: &Waker) {
        if let Some(slot) = lock(&self.wakers).get_mut(socket)
            && !slot.as_ref().is_some_and(|known| known.will_wake(waker))
        {
            *slot = Some(waker.clone());
        }
    }

    /// Hands over the datagram if it is wanted; if not, `waker` is woken when it is.
    pub(super) fn hand_over(
        &self,
        socket: usize,
        waker: &Waker,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> bool {
        self.register(socket, waker);
        let ([buf, ..], [meta, ..]) = (bufs, meta) else { return false };
        let Some(start) = buf.get_mut(..DATAGRAM.len()) else { return false };
        if !self.wanted.swap(false, Ordering::AcqRel) {
            return false;
        }
        start.copy_from_slice(&DATAGRAM);
        *meta = RecvMeta::default();
        meta.len = DATAGRAM.len();
        meta.stride = meta.len;
        meta.addr = SOURCE;
        self.handed_over.store(true, Ordering::Release);
        true
    }
}

/// The waker of a link that waits for frames: what wakes it has put one into its queue, and the sockets hold from then
/// on, not only once the link runs. One that fires late finds the link in another state and changes nothing.
pub(super) struct FrameWaker {
    pub(super) pulse: Arc<Pulse>,
    pub(super) link: Waker,
}

impl Wake for FrameWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let link = &self.pulse.resume.link;
        let _ = link.compare_exchange(WAITING, BEHIND, Ordering::AcqRel, Ordering::Acquire);
        self.link.wake_by_ref();
    }
}

#[cfg(test)]
mod tests {
    use std::{future::Future, sync::atomic::AtomicU32, time::Duration};

    use super::*;
    use crate::{
        Frame, PendingAnswer, PendingOffer, Transport,
        webrtc::{WebRtc, WebRtcConfig},
    };

    async fn within<T>(future: impl Future<Output = T>) -> T {
        tokio::time::timeout(Duration::from_secs(60), future).await.expect("in time")
    }

    /// A socket that begins to hold just as the link lets go. On a machine with one core they never meet.
    #[test]
    fn a_socket_that_holds_is_woken_when_the_link_lets_go() {
        const ROUNDS: u32 = 100_000;

        #[derive(Default)]
        struct Woken(AtomicBool);
        impl Wake for Woken {
            fn wake(self: Arc<Self>) {
                self.0.store(true, Ordering::SeqCst);
            }
        }

        fn reach(round: &AtomicU32, number: u32) {
            for spins in 1u32.. {
                if round.load(Ordering::Acquire) >= number {
                    return;
                }
                if spins.is_multiple_of(1000) {
                    std::thread::yield_now();
                }
            }
        }

        let (resume, woken) = (Resume::default(), Arc::new(Woken::default()));
        let (waker, socket) = (Waker::from(woken.clone()), resume.add_socket());
        let (begun, let_go) = (AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1..=ROUNDS {
                    reach(&begun, round);
                    resume.wait_for_frames();
                    let_go.store(round, Ordering::Release);
                }
            });
            let mut forgotten = 0;
            for round in 1..=ROUNDS {
                woken.0.store(false, Ordering::SeqCst);
                resume.fall_behind();
                begun.store(round, Ordering::Release);
                let holds = resume.holds(socket, &waker);
                reach(&let_go, round);
                forgotten += u32::from(holds && !woken.0.load(Ordering::SeqCst));
            }
            assert_eq!(forgotten, 0, "of {ROUNDS}");
        });
    }

    /// All frames have arrived and been acknowledged, and no datagram gets through any more.
    #[tokio::test(flavor = "multi_thread")]
    async fn without_the_cure_the_tail_of_a_burst_stays_behind() {
        const FRAMES: usize = 3000;
        let config = || WebRtcConfig::loopback().silence_timeout(Duration::from_secs(120)).receive_buffer_bytes(1);
        let (alice, bob) = (WebRtc::new(config()).unwrap(), WebRtc::new(config()).unwrap());
        let offer = Box::new(within(alice.prepare_offer()).await.unwrap());
        let answer = Box::new(within(bob.prepare_answer(offer.sdp())).await.unwrap());
        let pulse = answer.connection.pulse.clone();
        let answer_sdp = answer.sdp().to_owned();
        let (a, b) = within(async { tokio::join!(offer.open(&answer_sdp), answer.open()) }).await;
        let (a, mut b) = (a.unwrap(), b.unwrap());

        pulse.resume.off.store(true, Ordering::Release);
        for _ in 0..FRAMES {
            within(a.sender.send(Frame::binary(vec![0; 100]))).await.unwrap();
        }
        within(async {
            while a.sender.unacknowledged_bytes() > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        pulse.resume.deaf.store(true, Ordering::Release);

        // The driver's own timer goes on; what it would deliver is there after a few passes.
        let mut received = 0;
        let mut idle_passes = 0;
        while idle_passes < 5 {
            let passes = pulse.passes();
            tokio::select! {
                biased;
                frame = b.receiver.recv() => {
                    frame.unwrap();
                    received += 1;
                    idle_passes = 0;
                }
                () = pulse.passed(passes) => idle_passes += 1,
            }
        }
        assert!(received < FRAMES, "nothing stayed behind: the defect is mended, and this module can go");

        pulse.resume.off.store(false, Ordering::Release);
        pulse.resume.request();
        while received < FRAMES {
            within(b.receiver.recv()).await.unwrap();
            received += 1;
        }
        pulse.resume.deaf.store(false, Ordering::Release);
        within(async { tokio::join!(alice.shutdown(), bob.shutdown()) }).await;
    }
}
