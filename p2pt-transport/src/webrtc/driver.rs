//! The driver: one task for all connections of a transport, and the only place with I/O.

use std::{
    collections::{HashMap, VecDeque},
    future::poll_fn,
    io::{self, IoSliceMut},
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::BytesMut;
use tokio::time::{Instant, Sleep};

use super::{
    buffers::{lock, try_lock},
    channel::ChannelState,
    contain::contained,
    core::Core,
    datagram::Datagram,
    endpoint::Key,
    peer,
    sets::{Sets, bare, scoped},
    socket::{DatagramSocket, RECEIVE_BATCH, Received},
};

/// The largest UDP datagram, and as much as the system joins into one.
const BUFFER_BYTES: usize = 65_536;

/// How often a socket is received from before the other sockets, and what was received, have their turn.
const ROUNDS: usize = 4;

/// How many received datagrams are processed before what they have caused is sent: acknowledgements, above all, for which
/// the sender of a whole window waits.
const MOST_PROCESSED: usize = 256;

/// How often that is done before the sockets are looked at again, and other tasks have their turn.
const TURNS: usize = 2;

/// The largest run of datagrams that is sent at once, in bytes: what one datagram could have.
const RUN_BYTES: usize = 65_000;

/// When a socket is tried again that fails, or the driver begins anew.
const TRY_AGAIN: Duration = Duration::from_millis(100);

/// Frames of a transport that follow each other sooner are many in a row. Waking a thread takes half of it.
pub(super) const ROW: Duration = Duration::from_micros(100);

/// Up to so many bytes leave from the thread that sends them: encrypting them takes as long as to wake the driver.
const SENT_AT_ONCE: usize = 4096;

/// How long a relay's confirmation is waited for that it has taken its allocation back. Without it the allocation lapses by itself.
const RELEASE: Duration = Duration::from_millis(200);

/// What the driver shares with everything else of a transport.
pub(super) struct Shared {
    pub(super) core: Mutex<Core>,
    pub(super) sets: Mutex<Sets>,
    /// Counts changes of the sets.
    generation: AtomicU64,
    /// Channels with something to do.
    listed: Mutex<Vec<Key>>,
    waker: Mutex<Option<Waker>>,
    pace: Mutex<Pace>,
    /// A turn without the driver has panicked, for another reason than one connection.
    is_broken: AtomicBool,
    /// The transport has shut down: the driver ends with the last connection.
    pub(super) ended: AtomicBool,
}

impl Shared {
    pub(super) fn new(core: Core, sets: Sets) -> Self {
        Self {
            core: Mutex::new(core),
            sets: Mutex::new(sets),
            generation: AtomicU64::new(0),
            listed: Mutex::default(),
            waker: Mutex::default(),
            pace: Mutex::default(),
            is_broken: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        }
    }

    /// Has the driver look at a channel.
    pub(super) fn touch(&self, channel: &ChannelState) {
        if !channel.is_listed.swap(true, Ordering::AcqRel) {
            lock(&self.listed).push(channel.key);
            self.wake();
        }
    }

    /// A channel has taken frames of so many bytes. They leave at once, from the thread of the caller, where that is sooner
    /// than to wake the driver; it is woken for what else there is to do.
    pub(super) fn has_taken(&self, channel: &Arc<ChannelState>, bytes: usize) {
        let now = Instant::now().into_std();
        let leaves_now = lock(&self.pace).leaves_now(now, bytes) && !channel.is_listed.load(Ordering::Acquire);
        if !leaves_now || !self.send_now(now, channel) {
            self.touch(channel);
        }
    }

    /// Has a channel take its turn, unless the driver is at work. Whether it did.
    fn send_now(&self, now: std::time::Instant, channel: &Arc<ChannelState>) -> bool {
        // In the order in which others take them; they are not waited for.
        let (Some(sets), Some(mut core)) = (try_lock(&self.sets), try_lock(&self.core)) else { return false };
        let needs_driver = contained(|| {
            core.turn_without_driver(now, channel);
            let mut run = Vec::new();
            core.outgoing.drain(|local, queue| {
                let Some(socket) = sets.sockets().find(|socket| bare(socket.local_addr()) == local) else {
                    return false;
                };
                // What the socket does not take is left to the driver, which can wait for it.
                while !queue.is_empty() && send_run(&**socket, queue, &mut run).is_ok() {}
                true
            });
            core.needs_driver()
        });
        drop(core);
        drop(sets);
        if needs_driver.is_none() {
            self.is_broken.store(true, Ordering::Release);
        }
        if needs_driver != Some(false) {
            self.wake();
        }
        true
    }

    pub(super) fn wake(&self) {
        // Cloned, so that the driver can register while it is woken.
        let waker = lock(&self.waker).clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The sockets have changed.
    pub(super) fn sockets_changed(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.wake();
    }
}

/// Decides whether frames leave from the thread that sends them. Many in a row do not: from the driver, which is on its way
/// then, several leave in one datagram and several datagrams in one call, while the sender goes on. Sans-I/O.
#[derive(Debug, Default)]
struct Pace {
    last: Option<std::time::Instant>,
}

impl Pace {
    fn leaves_now(&mut self, now: std::time::Instant, bytes: usize) -> bool {
        let last = self.last.replace(now);
        bytes <= SENT_AT_ONCE && last.is_none_or(|last| now.saturating_duration_since(last) >= ROW)
    }
}

/// The task.
struct Driver {
    shared: Arc<Shared>,
    sockets: HashMap<SocketAddr, Arc<dyn DatagramSocket>>,
    generation: Option<u64>,
    buffers: Vec<Vec<u8>>,
    sleep: Pin<Box<Sleep>>,
    run: Vec<u8>,
    /// The transport has shut down, and relays are given their allocations back until then.
    relays_until: Option<Instant>,
    /// A socket has failed and is looked at again then.
    try_again_at: Option<Instant>,
}

/// Ends all connections when the task ends, also together with its runtime, so that no waiter waits for ever.
struct AbandonOnDrop(Arc<Shared>);

impl Drop for AbandonOnDrop {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Release);
        lock(&self.0.core).abandon(&peer::End::Failed("its driver is gone".to_owned()));
        lock(&self.0.sets).clear();
    }
}

/// Runs until the transport has shut down and its last connection is gone. Where the driver panics for another reason than
/// one connection, it begins anew, without any connection.
pub(super) async fn drive(shared: Arc<Shared>) {
    let _abandon = AbandonOnDrop(shared.clone());
    tracing::debug!("driver task started");
    let mut driver = Driver::new(shared.clone());
    let is_broken = |shared: &Shared| shared.is_broken.swap(false, Ordering::AcqRel);
    while poll_fn(|cx| match contained(|| driver.poll(cx)) {
        None => Poll::Ready(true),
        Some(_) if is_broken(&shared) => Poll::Ready(true),
        Some(poll) => poll.map(|()| false),
    })
    .await
    {
        tracing::error!("driver task has panicked and begins anew, without any connection");
        lock(&shared.core).begin_anew();
        // The other sides take what comes from the old ones for their old connections, until those fall silent.
        lock(&shared.sets).clear();
        // What has panicked may do so again.
        tokio::time::sleep(TRY_AGAIN).await;
        driver = Driver::new(shared.clone());
    }
    tracing::debug!("driver task ended");
}

impl Driver {
    fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            sockets: HashMap::new(),
            generation: None,
            buffers: vec![vec![0; BUFFER_BYTES]; RECEIVE_BATCH],
            sleep: Box::pin(tokio::time::sleep(Duration::ZERO)),
            run: Vec::with_capacity(RUN_BYTES),
            relays_until: None,
            try_again_at: None,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.register(cx.waker());
        self.look_at_sockets();
        let shared = self.shared.clone();
        let mut core = lock(&shared.core);
        let mut again = self.receive(cx, &mut core);
        for key in std::mem::take(&mut *lock(&shared.listed)) {
            core.touched(key);
        }
        let mut now = Instant::now();
        for turn in 1..=TURNS {
            let mut more = core.turn(now.into_std(), MOST_PROCESSED);
            self.send(cx, &mut core);
            more |= core.go_on();
            if !more {
                break;
            }
            again |= turn == TURNS;
            now = Instant::now();
        }
        let next = [core.next_timeout().map(Instant::from_std), self.try_again_at].into_iter().flatten().min();
        if shared.ended.load(Ordering::Acquire) && core.endpoint.len() == 0 {
            let until = *self.relays_until.get_or_insert_with(|| {
                core.release_relays(now.into_std());
                again = true;
                now + RELEASE
            });
            if core.is_idle() || now >= until {
                return Poll::Ready(());
            }
        }
        core.driver_wakes_at = next.map(Instant::into_std);
        drop(core);
        let next = [next, self.relays_until].into_iter().flatten().min();
        if let Some(next) = next {
            if self.sleep.deadline() != next {
                self.sleep.as_mut().reset(next);
            }
            again |= self.sleep.as_mut().poll(cx).is_ready();
        }
        if again {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn register(&self, waker: &Waker) {
        let mut registered = lock(&self.shared.waker);
        if !registered.as_ref().is_some_and(|registered| registered.will_wake(waker)) {
            *registered = Some(waker.clone());
        }
    }

    fn look_at_sockets(&mut self) {
        let generation = self.shared.generation.load(Ordering::Acquire);
        if self.generation.replace(generation) != Some(generation) {
            let sets = lock(&self.shared.sets);
            self.sockets = sets.sockets().map(|socket| (bare(socket.local_addr()), socket.clone())).collect();
        }
    }

    /// Receives what is there, up to a bound. Whether there may be more.
    fn receive(&mut self, cx: &mut Context<'_>, core: &mut Core) -> bool {
        self.try_again_at = None;
        let mut more = false;
        let now = Instant::now().into_std();
        for (local, socket) in &self.sockets {
            let mut failed = None;
            for round in 0..=ROUNDS {
                let mut slices: [IoSliceMut<'_>; RECEIVE_BATCH] = {
                    let mut buffers = self.buffers.iter_mut();
                    std::array::from_fn(|_| IoSliceMut::new(buffers.next().map_or(&mut [], |buffer| &mut buffer[..])))
                };
                let mut received = [NOTHING; RECEIVE_BATCH];
                if round == ROUNDS {
                    more |= failed.is_none();
                    break;
                }
                match socket.poll_receive(cx, &mut slices, &mut received) {
                    Poll::Pending => break,
                    Poll::Ready(Ok(filled)) => {
                        failed = None;
                        for (buffer, received) in self.buffers.iter().zip(&received[..filled]) {
                            take(core, now, *local, received, buffer);
                        }
                    }
                    Poll::Ready(Err(error)) => failed = Some(error),
                }
            }
            if let Some(error) = failed {
                tracing::debug!(%local, %error, "cannot receive from a UDP socket");
                self.try_again_at = Some(Instant::now() + TRY_AGAIN);
            }
        }
        more
    }

    /// Sends what is to be sent, as far as each socket takes it; one that is full wakes the task when it is not.
    fn send(&mut self, cx: &mut Context<'_>, core: &mut Core) {
        let (sockets, run) = (&self.sockets, &mut self.run);
        core.outgoing.drain(|local, queue| {
            let Some(socket) = sockets.get(&local) else { return false };
            send_from(cx, &**socket, queue, run);
            true
        });
    }
}

/// Sends what a socket takes, which wakes the task when it takes more.
fn send_from(cx: &mut Context<'_>, socket: &dyn DatagramSocket, queue: &mut VecDeque<Datagram>, run: &mut Vec<u8>) {
    while !queue.is_empty() {
        let Err(IsFull { count }) = send_run(socket, queue, run) else { continue };
        match socket.poll_writable(cx) {
            Poll::Pending => return,
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => {
                tracing::debug!(local = %socket.local_addr(), %error, "cannot wait for a UDP socket");
                queue.drain(..count);
            }
        }
    }
}

/// A socket takes nothing now, and had to take so many datagrams.
#[derive(Debug)]
struct IsFull {
    count: usize,
}

/// Sends the first datagrams of a queue that go to one address and are of one size, of which the last may be shorter. Those
/// that cannot be sent are lost.
fn send_run(socket: &dyn DatagramSocket, queue: &mut VecDeque<Datagram>, run: &mut Vec<u8>) -> Result<(), IsFull> {
    let Some(first) = queue.front() else { return Ok(()) };
    let (remote, size) = (first.remote, first.data.len());
    run.clear();
    let mut count = 0;
    for datagram in queue.iter().take(socket.max_segments()) {
        let is_next = datagram.remote == remote && datagram.data.len() <= size;
        if !is_next || (count > 0 && run.len() + datagram.data.len() > RUN_BYTES) {
            break;
        }
        run.extend_from_slice(&datagram.data);
        count += 1;
        if datagram.data.len() < size {
            break;
        }
    }
    let local = socket.local_addr();
    match socket.try_send(scoped(remote, local), run, size) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(IsFull { count }),
        Err(error) => tracing::debug!(%local, %remote, %error, "cannot send from a UDP socket"),
        Ok(()) => {}
    }
    queue.drain(..count);
    Ok(())
}

pub(super) const NOTHING: Received = Received {
    remote: SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0),
    bytes: 0,
    segment_bytes: 1,
};

/// Takes the datagrams in a buffer.
fn take(core: &mut Core, now: std::time::Instant, local: SocketAddr, received: &Received, buffer: &[u8]) {
    let remote = bare(received.remote);
    // One allocation for all of them.
    let mut bytes = BytesMut::from(buffer.get(..received.bytes).unwrap_or(buffer));
    while !bytes.is_empty() {
        let data = bytes.split_to(received.segment_bytes.clamp(1, bytes.len()));
        core.receive(now, Datagram { local, remote, data });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_another_leaves_from_the_driver_and_so_does_what_is_large() {
        let begin = crate::webrtc::sim::epoch();
        let mut pace = Pace::default();
        let mut leaves_now = |micros, bytes| pace.leaves_now(begin + Duration::from_micros(micros), bytes);
        assert!(leaves_now(0, 100));
        // A row goes on for as long as each follows the one before.
        assert!((1..=50).all(|place| !leaves_now(place * 90, 100)));
        assert!(leaves_now(4_600, 100));
        assert!(!leaves_now(4_800, SENT_AT_ONCE + 1));
        assert!(leaves_now(5_000, SENT_AT_ONCE));
    }
}
