//! The session with a peer that speaks p2pt/2: what it says to the channels of the peer, and they to it.
//!
//! [`Session`] decides; here are the lock around it, the channels that carry it, and those who wait for it. It outlives
//! channels, and ends with the peer. Locks, in this order and never across an await: the session's, the peer's send queue.

mod deliver;
mod sending;
mod streams;
mod window;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use p2pt_mesh::mesh::ChannelId;
use p2pt_messaging::MessageId;
use p2pt_messaging::wire::{
    GivenUp, Hello, LinkId, MessageKey, Session, SessionConfig, SessionError, SessionEvent, StreamKey,
};
use p2pt_transport::{ChannelClosed, Frame, TrySendFrameError};
use p2pt_trust::Features;
use tokio::sync::Notify;
use tracing::debug;

use crate::accounts::{Account, Tab};
use crate::channel::PeerChannel;
use crate::queue::lock;
use crate::send_queue::SendQueue;
use crate::settings::PeerConfig;
use crate::{Returned, SendError};

pub(crate) use deliver::deliver;
pub(crate) use sending::Put;
use sending::{Failed, Pending};
pub(crate) use streams::StreamWaits;
use window::SendWindow;

/// The largest packet.
const MAX_PACKET: usize = 65_536;

/// The code of a BYE that says that the application disconnects, or leaves.
pub(crate) const LEFT: u64 = 0;

/// How long a channel may stay silent after it was asked for a sign of life. Transports notice much sooner that the other
/// side is gone; this is for those that do not, and longer than a peer may wait until enough trackers have shown its key
/// (60 s), in which it says nothing.
const DEAD_AFTER: Duration = Duration::from_secs(90);

/// Names a session for one of its sides, which draws it at random.
pub(crate) type SessionName = [u8; 16];

/// What both sides have said of themselves when the channel opened.
#[derive(Debug, Clone)]
pub(crate) struct Greeting {
    /// The name that this side gave.
    pub(crate) own: SessionName,
    pub(crate) theirs: Hello,
}

impl Greeting {
    /// If the other side speaks p2pt/2, too, and has given the session a name.
    pub(crate) fn new(own: SessionName, theirs: Hello) -> Option<Self> {
        let speaks = theirs.features.split(',').any(|feature| feature == Features::MUX);
        (speaks && theirs.session_name.is_some()).then_some(Self { own, theirs })
    }

    /// The names of the session that the channel belongs to.
    fn names(&self) -> (SessionName, SessionName) {
        (self.own, self.theirs.session_name.unwrap_or_default())
    }
}

/// What this side says of itself, and of the session by its name.
pub(crate) fn hello(peers: &PeerConfig, name: SessionName) -> Hello {
    config(peers).hello(name, format!("{},{}", Features::AUTH, Features::MUX))
}

/// What this side grants, as the node is configured.
pub(crate) fn config(peers: &PeerConfig) -> SessionConfig {
    let largest = peers.limits.max_message_bytes;
    SessionConfig::default()
        .dead_after(DEAD_AFTER)
        .message_window(peers.inbox_bytes.max(64 << 10))
        .max_message(largest)
        .reassembly(peers.limits.max_held_bytes.max(largest))
}

/// A session, shared by the tasks of its channels and the handles of its peer.
#[derive(Debug)]
pub(crate) struct Mux {
    names: (SessionName, SessionName),
    state: Mutex<State>,
    /// Writers of channels have something to do.
    write: Notify,
    /// Something whole has come, or the session has ended.
    arrived: Notify,
    /// The send queue is to be looked at, or the session has become idle.
    changed: Notify,
    /// All that has come is delivered.
    delivered: Notify,
    /// The session in whose place this one is, until all of that is delivered.
    before: Mutex<Option<Arc<Mux>>>,
}

#[derive(Debug)]
struct State {
    session: Session,
    links: Vec<Link>,
    window: SendWindow,
    /// Messages in the session of which something is awaited or counted, until that is known.
    messages: HashMap<MessageKey, Pending>,
    /// The messages whose response is awaited, until they are acknowledged.
    requests: HashSet<MessageKey>,
    streams: HashMap<StreamKey, StreamWaits>,
    /// Those who wait until a stream may be opened.
    openers: Vec<Waker>,
    /// What the session holds of what the peer has sent.
    tab: Tab,
    /// Writers were woken to send what is in the session.
    is_dirty: bool,
    ended: Option<ChannelClosed>,
    /// Why the other side has left.
    left: Option<(u64, String)>,
    /// This side leaves.
    leaves: bool,
    returned: Vec<Returned>,
    failed: Vec<Failed>,
}

/// A channel that carries the session.
#[derive(Debug)]
struct Link {
    channel: Arc<PeerChannel>,
    /// The channel was full, and takes this before anything else.
    stuck: Option<Frame>,
    /// The writer is about to send what was stuck.
    is_writing: bool,
}

impl Mux {
    /// A session in the place of another one, if there was one, behind which its messages are delivered.
    pub(crate) fn new(
        config: SessionConfig,
        greeting: &Greeting,
        received: &Arc<Account>,
        before: Option<Arc<Mux>>,
    ) -> Self {
        let state = State {
            session: Session::new(config, &greeting.theirs),
            links: Vec::new(),
            window: SendWindow::new(),
            messages: HashMap::new(),
            requests: HashSet::new(),
            streams: HashMap::new(),
            openers: Vec::new(),
            tab: Tab::new(received),
            is_dirty: false,
            ended: None,
            left: None,
            leaves: false,
            returned: Vec::new(),
            failed: Vec::new(),
        };
        let (write, arrived, changed, delivered) = (Notify::new(), Notify::new(), Notify::new(), Notify::new());
        let (names, before) = (greeting.names(), Mutex::new(before));
        Self { names, state: Mutex::new(state), write, arrived, changed, delivered, before }
    }

    /// The name that this side gave the session.
    pub(crate) fn own_name(&self) -> SessionName {
        self.names.0
    }

    /// Whether a channel on which this was said carries on with this session.
    pub(crate) fn is_of(&self, greeting: &Greeting) -> bool {
        self.names == greeting.names() && !self.has_ended()
    }

    pub(crate) fn has_ended(&self) -> bool {
        lock(&self.state).ended.is_some()
    }

    /// A channel carries the session from now on.
    pub(crate) fn open_link(&self, queue: &SendQueue, channel: &Arc<PeerChannel>) {
        let mut state = lock(&self.state);
        state.session.link_opened(crate::now(), link_of(channel));
        state.window.restart();
        state.links.push(Link { channel: channel.clone(), stuck: None, is_writing: false });
        self.advance(&mut state, queue);
    }

    /// A channel has closed.
    pub(crate) fn close_link(&self, queue: &SendQueue, id: ChannelId) {
        let mut state = lock(&self.state);
        let before = state.links.len();
        state.links.retain(|link| link.channel.id != id);
        if state.links.len() < before {
            state.session.link_closed(crate::now(), LinkId(id.0));
            state.window.restart();
            self.advance(&mut state, queue);
        }
        self.changed.notify_waiters();
    }

    /// A channel is one too many: another carries what is new.
    pub(crate) fn retire_link(&self, queue: &SendQueue, id: ChannelId) {
        let mut state = lock(&self.state);
        state.session.link_leaving(LinkId(id.0));
        state.window.restart();
        self.advance(&mut state, queue);
    }

    /// Resolves when the send queue is to be looked at again, or the session has become idle or has ended.
    pub(crate) fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }

    /// Bytes that were sent and not acknowledged.
    pub(crate) fn unacknowledged_bytes(&self) -> u64 {
        lock(&self.state).session.unacknowledged_bytes() as u64
    }

    /// Whether nothing is unsent or unacknowledged.
    pub(crate) fn is_idle(&self) -> bool {
        let state = lock(&self.state);
        state.ended.is_some() || state.session.is_idle()
    }

    /// Has the session take what waits in the send queue.
    pub(crate) fn look_at_queue(&self, queue: &SendQueue) {
        self.advance(&mut lock(&self.state), queue);
    }

    /// A packet has come by a channel. Says what is to be paid for by what the session holds.
    pub(crate) fn receive(&self, channel: &PeerChannel, packet: &Bytes) -> Result<(), SessionError> {
        let mut state = lock(&self.state);
        if state.ended.is_some() {
            return Ok(());
        }
        let now = crate::now();
        state.session.receive(now, LinkId(channel.id.0), packet)?;
        let unacknowledged = state.session.unacknowledged_bytes();
        state.window.unacknowledged(now, unacknowledged);
        Ok(())
    }

    /// Says goodbye, behind what was queued before.
    pub(crate) fn leave(&self, queue: &SendQueue, code: u64, text: &str) {
        let mut state = lock(&self.state);
        state.session.leave(code, text);
        state.leaves = true;
        self.advance(&mut state, queue);
    }

    /// Why the other side has left, if it has said so.
    pub(crate) fn left(&self) -> Option<(u64, String)> {
        lock(&self.state).left.clone()
    }

    /// Whether the session is over, or one of the sides has said that it leaves.
    pub(crate) fn is_leaving(&self) -> bool {
        let state = lock(&self.state);
        state.ended.is_some() || state.left.is_some() || state.leaves
    }

    /// The session is over. What has come whole is still delivered; what was not acknowledged is kept to be returned.
    pub(crate) fn end(&self, queue: &SendQueue, reason: &ChannelClosed) {
        let mut state = lock(&self.state);
        if state.ended.is_some() {
            return;
        }
        state.ended = Some(reason.clone());
        state.links.clear();
        for (key, message) in state.session.take_unacknowledged() {
            let pending = state.messages.remove(&key);
            if let Some(pending) = pending {
                // What is not waited for is returned.
                let _ = pending.fail(queue, SendError::PeerGone(reason.clone()));
            }
            if !state.requests.contains(&key)
                && let Some(returned) = Returned::of(message)
            {
                state.returned.push(returned);
            }
        }
        for (_, pending) in std::mem::take(&mut state.messages) {
            let _ = pending.fail(queue, SendError::PeerGone(reason.clone()));
        }
        state.streams.values_mut().for_each(StreamWaits::wake);
        state.openers.drain(..).for_each(Waker::wake);
        drop(state);
        self.write.notify_waiters();
        self.arrived.notify_one();
        self.changed.notify_waiters();
    }

    /// What was not acknowledged, in the order of sending, once the session has ended.
    pub(crate) fn take_returned(&self) -> Vec<Returned> {
        std::mem::take(&mut lock(&self.state).returned)
    }

    /// Gives up the largest incomplete message of the other side, for want of memory.
    pub(crate) fn give_up_largest(&self, queue: &SendQueue) -> Option<GivenUp> {
        let mut state = lock(&self.state);
        let given_up = state.session.give_up_largest();
        self.advance(&mut state, queue);
        given_up
    }

    /// Has a writer send what is in the session.
    fn wake_writers(&self, state: &mut State) {
        if !std::mem::replace(&mut state.is_dirty, true) {
            self.write.notify_waiters();
        }
    }

    /// Moves what it can: from the send queue into the session, from the session into the channels; and tells those who
    /// wait.
    fn advance(&self, state: &mut State, queue: &SendQueue) {
        if state.ended.is_some() {
            return;
        }
        loop {
            self.refill(state, queue);
            let sent = self.transmit(state);
            let told = self.tell(state, queue);
            // More may fit into the room of what has left.
            if !sent && !told || queue.is_empty() {
                break;
            }
        }
        if state.session.is_idle() {
            self.changed.notify_waiters();
        }
    }

    /// Hands packets to the channels while they take them; says whether any was.
    fn transmit(&self, state: &mut State) -> bool {
        let State { session, links, window, .. } = state;
        let (now, mut any, mut wakes) = (crate::now(), false, false);
        for link in links {
            let max = MAX_PACKET.min(link.channel.good_frame_bytes());
            while link.stuck.is_none() && !link.is_writing && !link.channel.is_closed() {
                let before = session.unacknowledged_bytes();
                session.hold_back(!window.is_open());
                let Some(packet) = session.poll_transmit(now, link_of(&link.channel), max) else {
                    break;
                };
                any = true;
                let more = session.unacknowledged_bytes().saturating_sub(before);
                if more > 0 {
                    window.sent(now, more);
                }
                match link.channel.try_packet(packet) {
                    Ok(()) => {}
                    Err(TrySendFrameError::Full(frame)) => {
                        link.stuck = Some(frame);
                        wakes = true;
                    }
                    // Its end is reported by its own task.
                    Err(_) => break,
                }
            }
        }
        if wakes {
            self.write.notify_waiters();
        }
        any
    }

    /// Tells those who wait what the session has to say; says whether there was anything.
    fn tell(&self, state: &mut State, queue: &SendQueue) -> bool {
        let mut any = false;
        while let Some(event) = state.session.poll_event() {
            any = true;
            match event {
                SessionEvent::Taken(key) => {
                    let channel = state.channel();
                    if let Some(pending) = state.messages.remove(&key)
                        && let Some(waits) = pending.taken(queue, channel)
                    {
                        state.messages.insert(key, waits);
                    }
                }
                SessionEvent::Acknowledged(key) => {
                    state.requests.remove(&key);
                    if let Some(pending) = state.messages.remove(&key) {
                        pending.acknowledged(queue);
                    }
                }
                SessionEvent::Refused(key, message) => {
                    state.requests.remove(&key);
                    let pending = state.messages.remove(&key);
                    let pending = pending.unwrap_or(Pending { id: None, awaited: None, queued: None });
                    debug!(message = message.id, "the other side has no room for a message");
                    let pending = Pending { id: pending.id.or(Some(MessageId::from(message.id))), ..pending };
                    state.failed.extend(pending.fail(queue, SendError::Refused));
                    self.arrived.notify_one();
                }
                SessionEvent::MessageReady | SessionEvent::StreamReady => self.arrived.notify_one(),
                SessionEvent::Readable(key) => {
                    if let Some(waits) = state.streams.get_mut(&key) {
                        waits.wake_reader();
                    }
                }
                SessionEvent::Writable(key) => {
                    if let Some(waits) = state.streams.get_mut(&key) {
                        waits.wake_writer();
                    }
                }
                SessionEvent::StreamsAvailable => state.openers.drain(..).for_each(Waker::wake),
                SessionEvent::Left { code, text } => {
                    debug!(code, text, "the peer says goodbye");
                    state.left = Some((code, text));
                }
                SessionEvent::LinkDead(link) => {
                    if let Some(link) = state.links.iter().find(|open| open.channel.id.0 == link.0) {
                        debug!(parent: link.channel.span(), "the channel shows no sign of life");
                        link.channel.give_up();
                    }
                }
                _ => {}
            }
        }
        any
    }

    /// Hands what a full channel did not take to it when it has room, and sees to the session's timeouts; until the channel
    /// closes.
    pub(crate) async fn write(&self, queue: &SendQueue, channel: &PeerChannel) {
        loop {
            let mut write = std::pin::pin!(self.write.notified());
            write.as_mut().enable();
            if channel.is_closed() {
                return;
            }
            let (stuck, timeout) = {
                let mut state = lock(&self.state);
                if std::mem::take(&mut state.is_dirty) {
                    self.advance(&mut state, queue);
                }
                let timeout = state.session.poll_timeout();
                let Some(link) = state.links.iter_mut().find(|link| link.channel.id == channel.id) else { return };
                link.is_writing = link.stuck.is_some();
                (link.stuck.take(), timeout)
            };
            if let Some(frame) = stuck {
                if channel.send_packet(frame).await.is_err() {
                    return;
                }
                let mut state = lock(&self.state);
                if let Some(link) = state.links.iter_mut().find(|link| link.channel.id == channel.id) {
                    link.is_writing = false;
                }
                self.advance(&mut state, queue);
                continue;
            }
            match timeout {
                Some(at) => {
                    tokio::select! {
                        () = write => {}
                        _ = channel.closing() => return,
                        () = p2pt_rt::sleep_until(at) => {
                            let mut state = lock(&self.state);
                            state.session.handle_timeout(crate::now());
                            self.advance(&mut state, queue);
                        }
                    }
                }
                None => {
                    tokio::select! {
                        () = write => {}
                        _ = channel.closing() => return,
                    }
                }
            }
        }
    }
}

impl State {
    /// The channel that carries what is new; 0 while there is none.
    fn channel(&self) -> ChannelId {
        self.links.first().map_or(ChannelId(0), |link| link.channel.id)
    }
}

fn link_of(channel: &PeerChannel) -> LinkId {
    LinkId(channel.id.0)
}
