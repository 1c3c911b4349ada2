//! What leaves from the thread that sends it, and what it wakes.

use std::{
    io::{self, IoSliceMut},
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, ThreadId},
    time::Duration,
};

use super::{
    socket::{Network as _, RECEIVE_BATCH, SystemNetwork},
    wrapped_socket::{Intercept, Wrapped},
    *,
};
use crate::{Channel, Frame};

const GUARD: Duration = Duration::from_secs(60);

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(GUARD, future).await.expect("in time")
}

/// Notes which threads send, and is full once if it is told to.
#[derive(Debug, Default)]
struct Threads {
    sent: Mutex<Vec<ThreadId>>,
    is_full: AtomicBool,
}

impl Intercept for Threads {
    fn before_send(&self, _local: SocketAddr, _remote: SocketAddr) -> io::Result<()> {
        if self.is_full.swap(false, Ordering::AcqRel) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        lock(&self.sent).push(thread::current().id());
        Ok(())
    }
}

impl Threads {
    /// Whether this thread has sent since it was asked last.
    fn has_sent(&self) -> bool {
        let here = thread::current().id();
        std::mem::take(&mut *lock(&self.sent)).contains(&here)
    }
}

async fn connect(a: &WebRtc, b: &WebRtc) -> (Channel, Channel) {
    let offer = within(a.offer()).await.expect("an offer");
    let answer = within(b.answer(offer.sdp())).await.expect("an answer");
    let sdp = answer.sdp().to_owned();
    let (a, b) = within(async { tokio::join!(offer.open(&sdp), answer.open()) }).await;
    (a.expect("open"), b.expect("open"))
}

/// The driver runs on the worker, the test on a thread of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_message_that_follows_no_other_leaves_from_the_thread_that_sends_it() {
    let threads = Arc::new(Threads::default());
    let new =
        |threads| WebRtc::with_network(WebRtcConfig::loopback(), Arc::new(Wrapped(threads))).expect("a transport");
    let (a, b) = (new(threads.clone()), new(Arc::default()));
    let (at_a, mut at_b) = connect(&a, &b).await;
    let mut sent_here = 0;
    for round in 0..20 {
        // The driver may just be at work, for which nothing waits; it is not each time.
        let frame = Frame::text(format!("alone {round}"));
        thread::sleep(super::driver::ROW);
        threads.has_sent();
        at_a.sender.try_send(frame.clone()).expect("accepted");
        sent_here += usize::from(threads.has_sent());
        assert_eq!(within(at_b.receiver.recv()).await, Ok(frame));
    }
    assert!(sent_here >= 10, "{sent_here} of 20");

    // What its socket does not take at once, the driver sends.
    thread::sleep(super::driver::ROW);
    threads.is_full.store(true, Ordering::Release);
    at_a.sender.try_send(Frame::text("late")).expect("accepted");
    assert_eq!(within(at_b.receiver.recv()).await, Ok(Frame::text("late")));

    // Large ones are the driver's.
    thread::sleep(super::driver::ROW);
    threads.has_sent();
    at_a.sender.try_send(Frame::binary(vec![0; 60_000])).expect("accepted");
    assert!(!threads.has_sent());
    assert_eq!(within(at_b.receiver.recv()).await.map(|frame| frame.len()), Ok(60_000));
    within(async { tokio::join!(a.shutdown(), b.shutdown()) }).await;
}

/// Each datagram that has left makes room in its socket, which is of interest only where there was none.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn sending_does_not_wake_what_receives() {
    const SENT: u64 = 2_000;
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    let socket = SystemNetwork.bind(local, 1 << 16).expect("a socket");
    let other = std::net::UdpSocket::bind(local).expect("a socket");
    let receives = {
        let socket = socket.clone();
        tokio::spawn(std::future::poll_fn(move |cx| {
            let mut buffers = [[0; 64]; RECEIVE_BATCH];
            let mut slices = buffers.each_mut().map(|buffer| IoSliceMut::new(buffer));
            let mut received = [super::driver::NOTHING; RECEIVE_BATCH];
            socket.poll_receive(cx, &mut slices, &mut received)
        }))
    };
    let to = other.local_addr().expect("an address");
    let parked = || tokio::runtime::Handle::current().metrics().worker_park_count(0);
    while parked() == 0 {
        thread::yield_now();
    }
    let before = parked();
    for _ in 0..SENT {
        socket.try_send(to, b"to another", 10).expect("sent");
        other.recv(&mut [0; 64]).expect("received");
    }
    let woken = parked() - before;
    assert!(woken < SENT / 20, "woken {woken} times");
    other.send_to(b"back", socket.local_addr()).expect("sent");
    assert_eq!(within(receives).await.expect("no panic").expect("received"), 1);
}
