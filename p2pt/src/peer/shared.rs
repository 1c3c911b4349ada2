//! What a peer's handles and channels share: its inbox, its queue, its channels, and how a message finds one.

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use p2pt_messaging::{ChunksError, MessageId, Payload};
use p2pt_proto::PeerId;
use p2pt_rt::timeout_at;
use p2pt_transport::{ChannelClosed, Frame};
use rand::RngExt as _;
use tokio::sync::oneshot::error::TryRecvError;
use tracing::{Span, debug};

use crate::accounts::Account;
use crate::channel::{ChannelError, PeerChannel, TryChannelError};
use crate::counters::{add, count};
use crate::inbox::Inbox;
use crate::mux::{self, Mux};
use crate::queue::lock;
use crate::request::Waiters;
use crate::send_queue::{Awaited, Behind, Content, Outgoing, Pushed, SendQueue, Sent};
use crate::settings::Settings;
use crate::trust::Proven;
use crate::{Returned, SendError};

use super::PeerTrust;
use p2pt_mesh::mesh::ChannelId;

/// When the peer's inbox is full and nothing is read for this long, what waits behind it is given up.
const HELD_UP: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct PeerShared {
    pub(super) id: PeerId,
    pub(crate) trust: PeerTrust,
    pub(crate) settings: Arc<Settings>,
    pub(crate) inbox: Inbox,
    pub(crate) waiters: Waiters,
    pub(crate) send_queue: SendQueue,
    /// What the node holds of what the peer has sent.
    pub(crate) received: Arc<Account>,
    pub(super) channels: Mutex<Channels>,
    /// The session with the peer, if it speaks p2pt/2.
    pub(super) mux: Mutex<Option<Arc<Mux>>>,
    /// What was not acknowledged in sessions before that.
    pub(super) returned: Mutex<Vec<Returned>>,
    pub(super) span: Span,
}

#[derive(Debug)]
pub(super) struct Channels {
    /// In the order they opened.
    pub(super) open: Vec<Arc<PeerChannel>>,
    /// How the last one ended; meaningful while none is open.
    pub(super) ended: ChannelClosed,
}

/// The largest message, in bytes, that can be sent at once over a session: what a peer grants unless configured.
const AT_ONCE: usize = 1 << 20;

/// Why nothing was handed over without waiting.
#[derive(Debug)]
pub(crate) enum NotNow {
    /// It has to wait for room, or for its turn.
    Full,
    /// The channel never has room for all of it at once.
    NeverFits,
    /// No channel takes it.
    Failed(SendError),
}

impl PeerShared {
    /// The session with the peer, if it speaks p2pt/2.
    pub(crate) fn mux(&self) -> Option<Arc<Mux>> {
        lock(&self.mux).clone()
    }

    /// A session with the peer begins. What was not acknowledged in the one before comes back with this one's end: that of the
    /// one before is not reported any more.
    pub(crate) fn set_mux(&self, mux: Arc<Mux>) {
        let before = lock(&self.mux).replace(mux);
        if let Some(before) = before {
            lock(&self.returned).extend(before.take_returned());
        }
    }

    /// Lets the other side know that this one ends the session, if there is one.
    pub(crate) fn say_goodbye(&self) {
        if let Some(mux) = self.mux() {
            mux.leave(&self.send_queue, mux::LEFT, "");
        }
    }

    /// What was not acknowledged when sessions ended whose end is not reported yet, in the order of sending.
    pub(crate) fn take_returned(&self) -> Vec<Returned> {
        let mut returned = std::mem::take(&mut *lock(&self.returned));
        returned.extend(self.mux().map(|mux| mux.take_returned()).unwrap_or_default());
        returned
    }

    pub(crate) fn new_id(&self) -> MessageId {
        let mut rng = lock(&self.settings.message_ids);
        MessageId::random(|| rng.random())
    }

    /// Queues something to be handed over.
    pub(crate) fn enqueue(&self, content: Content, awaited: Option<Awaited>) -> Pushed {
        let pushed = self.send_queue.push(content, awaited);
        if let Pushed::Queued = pushed
            && let Some(mux) = self.mux()
        {
            mux.look_at_queue(&self.send_queue);
        }
        if matches!(pushed, Pushed::Full(_) | Pushed::NodeFull(_)) {
            let node = matches!(pushed, Pushed::NodeFull(_));
            count(&self.settings.counters.queue_full);
            debug!(parent: &self.span, queued_bytes = self.send_queue.weight(), node, "the send queue is full");
        }
        pushed
    }

    /// Waits until it is certain that the full inbox of this peer, or responses that were not taken, hold back what it sends.
    pub(crate) async fn held_up(&self) {
        let events_taken = || self.settings.events_taken.load(Ordering::Relaxed);
        let blocked_at = || [self.inbox.is_blocked().then(events_taken), self.waiters.blocked_at()];
        self.inbox.held_up(HELD_UP, blocked_at).await;
    }

    /// The size of a message that is too large, and the limit.
    pub(crate) fn too_large(&self, payload: &Payload) -> Option<(usize, usize)> {
        let (bytes, max) = (payload.len(), self.settings.config.limits.max_message_bytes);
        (bytes > max).then_some((bytes, max))
    }

    pub(super) fn check_size(&self, payload: &Payload) -> Result<(), SendError> {
        match self.too_large(payload) {
            Some((bytes, max)) => Err(SendError::TooLarge { bytes, max }),
            None => Ok(()),
        }
    }

    /// Waits until what a send has put behind what was queued is sent.
    pub(super) async fn sent_behind(&self, mut behind: Behind<'_>) -> Sent {
        let stall = self.settings.config.send_timeout;
        let (mut since, mut before) = (crate::now(), None);
        loop {
            let mut changed = pin!(self.send_queue.changed());
            changed.as_mut().enable();
            let sent = match behind.sent.try_recv() {
                Ok(sent) => return sent,
                Err(TryRecvError::Closed) => return Err(SendError::PeerGone(self.ended())),
                Err(TryRecvError::Empty) => &mut behind.sent,
            };
            let taken = Some(self.channel()?.frames_taken());
            if std::mem::replace(&mut before, taken) != taken {
                since = crate::now();
            }
            let stalled = tokio::select! {
                biased;
                sent = sent => return sent.unwrap_or_else(|_| Err(SendError::PeerGone(self.ended()))),
                waited = timeout_at(since + stall, changed) => waited.is_err(),
            };
            if stalled && Some(self.channel()?.frames_taken()) == taken {
                return Err(SendError::Timeout(stall));
            }
        }
    }

    /// Sends a message over the best channel, and again over the next if that one closes. Says which took it.
    pub(crate) async fn hand_over(&self, id: &MessageId, payload: &Payload) -> Sent {
        loop {
            let channel = self.channel_in_turn().await?;
            match channel.send_message(id, payload, self.settings.config.send_timeout).await {
                // The whole message starts again on the next channel, under the same id.
                Err(ChannelError::Closed) => {
                    debug!(parent: channel.span(), message = %id, "the channel closed in the midst of a message");
                }
                Err(error) => return Err(error.into()),
                Ok(()) => {
                    self.sent(payload.len());
                    return Ok(channel.id);
                }
            }
        }
    }

    /// Hands a message to the best channel if that takes no waiting: nothing that was queued is ahead of it, and the channel
    /// has room for all of it. Never hands over a part.
    pub(crate) fn hand_over_now(&self, id: &MessageId, message: &Outgoing) -> Result<(), NotNow> {
        let payload = &message.payload;
        match self.mux() {
            Some(mux) => {
                let message = Arc::new(Outgoing::of(payload.clone(), message.urgency, message.response));
                self.put_now(&mux, Content::Message(id.clone(), message))?;
            }
            None => self.now(|channel| channel.try_send_message(id, payload))?,
        }
        self.sent(payload.len());
        Ok(())
    }

    /// Puts something into the session if a channel takes all of it at once; takes it back otherwise.
    fn put_now(&self, mux: &Mux, content: Content) -> Result<(), NotNow> {
        if content.bytes() > AT_ONCE {
            return Err(NotNow::NeverFits);
        }
        mux.put_now(&self.send_queue, content).map_err(|error| error.map_or(NotNow::Full, NotNow::Failed))
    }

    /// The same for a frame.
    pub(crate) fn hand_over_frame_now(&self, frame: &Frame) -> Result<(), NotNow> {
        match self.mux() {
            Some(mux) => self.put_now(&mux, Content::Frame(frame.clone()))?,
            None => self.now(|channel| channel.try_send_frame(frame.clone()))?,
        }
        add(&self.settings.counters.bytes_sent, frame.len());
        Ok(())
    }

    fn now(&self, try_send: impl Fn(&PeerChannel) -> Result<(), TryChannelError>) -> Result<(), NotNow> {
        loop {
            let channel = self.channel().map_err(NotNow::Failed)?;
            // It must not overtake what waits.
            if channel.is_ending() || !self.send_queue.is_empty() {
                return Err(NotNow::Full);
            }
            match try_send(&channel) {
                Ok(()) => return Ok(()),
                Err(TryChannelError::Full) => return Err(NotNow::Full),
                Err(TryChannelError::NeverFits) => return Err(NotNow::NeverFits),
                Err(TryChannelError::Channel(ChannelError::Closed)) => {}
                Err(TryChannelError::Channel(error)) => return Err(NotNow::Failed(error.into())),
            }
        }
    }

    pub(crate) async fn hand_over_frame(&self, frame: &Frame) -> Sent {
        loop {
            let channel = self.channel_in_turn().await?;
            match channel.send(frame.clone(), self.settings.config.send_timeout).await {
                Err(ChannelError::Closed) => {}
                Err(error) => return Err(error.into()),
                Ok(()) => {
                    add(&self.settings.counters.bytes_sent, frame.len());
                    return Ok(channel.id);
                }
            }
        }
    }

    pub(super) fn sent(&self, bytes: usize) {
        count(&self.settings.counters.messages_sent);
        add(&self.settings.counters.bytes_sent, bytes);
    }

    /// Adds a channel; `proven` is what its other end has.
    pub(crate) fn add_channel(&self, channel: Arc<PeerChannel>, proven: Option<&Proven>) {
        let mut channels = lock(&self.channels);
        self.trust.add_safety_code(channel.id, proven, channels.open.is_empty());
        channels.open.push(channel);
    }

    /// Takes a channel out; `ended` is why it closed.
    pub(crate) fn remove_channel(&self, id: ChannelId, ended: ChannelClosed) -> Option<Arc<PeerChannel>> {
        let mut channels = lock(&self.channels);
        let index = channels.open.iter().position(|channel| channel.id == id)?;
        channels.ended = ended;
        let removed = channels.open.remove(index);
        self.trust.remove_safety_code(id);
        drop(channels);
        self.send_queue.wake();
        Some(removed)
    }

    /// How the last channel ended.
    pub(crate) fn ended(&self) -> ChannelClosed {
        lock(&self.channels).ended.clone()
    }

    pub(crate) fn channels(&self) -> Vec<Arc<PeerChannel>> {
        lock(&self.channels).open.clone()
    }

    /// The channel that a new message takes, once no earlier one is under way on a channel that is about to be closed.
    pub(super) async fn channel_in_turn(&self) -> Result<Arc<PeerChannel>, SendError> {
        loop {
            let channel = self.channel()?;
            if !channel.is_ending() {
                return Ok(channel);
            }
            channel.has_ended().await;
        }
    }

    /// The channel new messages take: the oldest that is not about to be closed. As long as that one is the same,
    /// messages arrive in order.
    pub(super) fn channel(&self) -> Result<Arc<PeerChannel>, SendError> {
        let channels = lock(&self.channels);
        let usable = |channel: &&Arc<PeerChannel>| !channel.is_closed();
        let best = channels.open.iter().filter(usable).find(|channel| !channel.is_leaving());
        match best.or_else(|| channels.open.iter().find(usable)) {
            Some(channel) => Ok(channel.clone()),
            None => {
                let newest = channels.open.last().and_then(|channel| channel.reason());
                Err(SendError::PeerGone(newest.unwrap_or_else(|| channels.ended.clone())))
            }
        }
    }
}

impl From<ChannelError> for SendError {
    fn from(error: ChannelError) -> Self {
        match error {
            ChannelError::Closed => Self::PeerGone(ChannelClosed::Remote),
            ChannelError::Timeout(after) => Self::Timeout(after),
            ChannelError::Frame(error) => Self::Frame(error),
            ChannelError::Chunks(ChunksError::Budget(error)) => Self::Budget(error),
            ChannelError::Chunks(_) => Self::NoBytes,
        }
    }
}
