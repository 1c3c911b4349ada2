//! The task that reads a channel: reassembles, resolves requests, and fills the peer's inbox, within what the peer and all
//! peers together may make the node hold.

use std::future::pending;
use std::pin::{Pin, pin};
use std::sync::Arc;

use futures_util::future::poll_immediate;
use p2pt_messaging::{
    Chunk, Expired, FrameError, InvalidMessage, Message, NotAChunk, Progress, Reassembler, TextFrame,
};
use p2pt_rt::{Sleep, sleep_until};
use p2pt_transport::{Frame, FrameReceiver};
use tracing::{debug, trace, warn};

use crate::accounts::{Account, Charge, Remedy, Short, Tab};
use crate::channel::{PeerChannel, kind};
use crate::counters::{Counters, add, count};
use crate::inbox::{Inbound, Item, weight_of};
use crate::mux::Mux;
use crate::queue::EventQueue;
use crate::request::Routed;
use crate::{Peer, ReceiveError};

/// What has come by a session is acknowledged when nothing more is there to read, or after so many bytes.
const ACKNOWLEDGED_AFTER: usize = 64 << 10;

/// Reads a channel until it ends. Stops reading while the peer's inbox is full, which stalls this channel's sender and no
/// other; what comes by a session waits in that, and stalls nothing.
pub(crate) async fn read(
    channel: &PeerChannel,
    mut receiver: Box<dyn FrameReceiver>,
    peer: &Peer,
    queue: &EventQueue,
    mux: Option<&Mux>,
) {
    let mut unsettled = 0;
    let mut reader = Reader::new(peer, queue);
    let mut timer = pin!(None);
    loop {
        reader.settle().await;
        // Set for the first of many messages, and again when its time has come: so that frames set none.
        if timer.is_none()
            && let Some(at) = reader.reassembler.poll_timeout()
        {
            timer.set(Some(sleep_until(at)));
        }
        let mut coming = receiver.recv();
        let ready = if unsettled > 0 { poll_immediate(&mut coming).await } else { None };
        if let Some(mux) = mux
            && (ready.is_none() || unsettled >= ACKNOWLEDGED_AFTER)
        {
            // Nothing more is there, or much has come.
            unsettled = 0;
            mux.flush(&peer.shared().send_queue);
        }
        let frame = match ready {
            Some(frame) => frame,
            None => tokio::select! {
                biased;
                () = elapsed(timer.as_mut()) => {
                    timer.set(None);
                    reader.handle_timeout();
                    continue;
                }
                frame = coming => frame,
                () = reader.tab.asked() => continue,
            },
        };
        let Ok(frame) = frame else { return };
        channel.frame_came();
        trace!(kind = kind(&frame), bytes = frame.len(), "frame in");
        match (&frame, mux) {
            (Frame::Binary(packet), Some(mux)) => {
                unsettled += packet.len();
                mux.take_packet(&mut reader, channel, packet).await;
            }
            _ => reader.take(frame).await,
        }
    }
}

/// Waits for a timer, if there is one.
async fn elapsed(timer: Pin<&mut Option<Sleep>>) {
    match timer.as_pin_mut() {
        Some(timer) => timer.await,
        None => pending().await,
    }
}

pub(crate) struct Reader<'a> {
    peer: &'a Peer,
    queue: &'a EventQueue,
    account: &'a Arc<Account>,
    counters: &'a Counters,
    reassembler: Reassembler,
    tab: Tab,
    /// What became of incomplete messages, which is not queued yet.
    unreported: Vec<ReceiveError>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(peer: &'a Peer, queue: &'a EventQueue) -> Self {
        let (settings, account) = (&peer.shared().settings, &peer.shared().received);
        let mut reassembler = Reassembler::new(settings.config.limits.clone());
        reassembler.set_room(0);
        let (counters, tab) = (&*settings.counters, Tab::new(account));
        Self { peer, queue, account, counters, reassembler, tab, unreported: Vec::new() }
    }

    pub(crate) fn peer(&self) -> &'a Peer {
        self.peer
    }

    /// Pays if that is due, and reports what was not reported.
    async fn settle(&mut self) {
        self.pay_if_asked();
        self.report().await;
    }

    pub(crate) async fn report(&mut self) {
        while !self.unreported.is_empty() {
            let error = self.unreported.remove(0);
            self.deliver(Inbound::Invalid(error), None).await;
        }
    }

    fn handle_timeout(&mut self) {
        for expired in self.reassembler.handle_timeout(crate::now()) {
            count(&self.counters.invalid_frames);
            debug!(message = %expired.id, chunks = expired.chunks, "a message stayed incomplete");
            self.unreported.push(expired.into());
        }
        self.give_room_back();
    }

    async fn take(&mut self, frame: Frame) {
        let read = match &frame {
            Frame::Text(text) => self.reassembler.read(text),
            // Messages travel as text.
            Frame::Binary(_) => Ok(TextFrame::Foreign(NotAChunk::NoMark)),
        };
        let progress = match read {
            Ok(TextFrame::Chunk(chunk)) => self.take_chunk(&chunk).await,
            Ok(TextFrame::Foreign(why)) => Ok(Progress::Foreign(why)),
            Ok(_) => return,
            Err(error) => Err(error),
        };
        self.report().await;
        match progress {
            Ok(Progress::Foreign(why)) => {
                if why != NotAChunk::NoMark {
                    debug!(%why, "a text frame begins like a part of a message, and is data");
                }
                self.deliver_frame(frame).await;
            }
            Ok(Progress::Complete(message)) => {
                // Its text is held by itself from here on.
                drop(frame);
                self.note(&message);
                let held = self.reassembler.held_bytes();
                let charge = self.tab.complete(held, weight_of(&message.id, message.payload.len()));
                self.give_room_back();
                self.route(message, charge).await;
            }
            // Its message is incomplete.
            Ok(_) => self.tab.set_held(self.reassembler.held_bytes(), false),
            Err(error) => {
                self.give_room_back();
                self.refuse(error).await;
            }
        }
    }

    fn note(&self, message: &Message) {
        count(&self.counters.messages_received);
        add(&self.counters.bytes_received, message.payload.len());
        trace!(message = %message.id, bytes = message.payload.len(), "message in");
    }

    /// Delivers a frame that is no part of a message.
    pub(crate) async fn deliver_frame(&mut self, frame: Frame) {
        add(&self.counters.bytes_received, frame.len());
        self.deliver(Inbound::Data(frame), None).await;
    }

    /// Reports something that is not valid.
    pub(crate) async fn refuse(&mut self, error: FrameError) {
        count(&self.counters.invalid_frames);
        debug!(%error, "a frame is not valid");
        self.deliver(Inbound::Invalid(error.into()), None).await;
    }

    /// Delivers a message that has come by a session.
    pub(crate) async fn take_message(&mut self, message: Message, response: bool) {
        self.note(&message);
        if response { self.route(message, None).await } else { self.deliver(Inbound::Message(message), None).await }
    }

    /// Takes a chunk, for which room is made if it needs some.
    async fn take_chunk(&mut self, chunk: &Chunk<'_>) -> Result<Progress, FrameError> {
        loop {
            let now = crate::now();
            let bytes = match self.reassembler.take(now, chunk)? {
                Progress::NeedsRoom { bytes } => bytes,
                progress => return Ok(progress),
            };
            // Twice as much as is held, or nearly, if that is to be had, so that bytes are moved a few times only.
            let held = self.reassembler.held_bytes();
            if [1, 2, 4, 8].into_iter().any(|part| self.tab.try_make_room(bytes.max(held / part))) {
                self.reassembler.set_room(self.tab.room());
                continue;
            }
            let (peer, account) = (self.peer, self.account);
            let _waits = account.memory().waits();
            let mut room = pin!(account.memory().room());
            room.as_mut().enable();
            match self.tab.make_room(bytes) {
                Ok(()) => self.reassembler.set_room(self.tab.room()),
                Err(Short::Node(Remedy::Wait)) => {
                    trace!(bytes, "a part of a message waits until another peer has given up one");
                    self.while_paused(room).await;
                }
                Err(Short::Node(Remedy::Pay)) => self.pay(),
                Err(Short::Node(Remedy::Nothing)) => {
                    let bytes = self.reject(chunk);
                    self.note_given_up(chunk.id().clone(), bytes);
                    return Ok(Progress::Partial);
                }
                Err(Short::Peer) => {
                    self.reject(chunk);
                    let limit = peer.shared().settings.config.limits.max_held_bytes;
                    let reason = InvalidMessage::TooManyBytesHeld { limit };
                    return Err(FrameError::InvalidMessage { id: chunk.id().clone(), reason });
                }
            }
        }
    }

    /// Rejects the message of a chunk, and says how much was held of it.
    fn reject(&mut self, chunk: &Chunk<'_>) -> usize {
        let now = crate::now();
        let before = self.reassembler.held_bytes();
        self.reassembler.reject(now, chunk.id());
        // The chunk itself is rejected, too: with the last one, that ends.
        let _ = self.reassembler.take(now, chunk);
        let bytes = before - self.reassembler.held_bytes();
        self.give_room_back();
        bytes
    }

    /// The incomplete messages need no more room than they have.
    fn give_room_back(&mut self) {
        self.tab.set_held(self.reassembler.held_bytes(), true);
        self.reassembler.set_room(self.tab.room());
    }

    fn pay_if_asked(&mut self) {
        if self.tab.owes() {
            self.pay();
        } else if self.tab.is_asked() {
            // The peer holds no more than its share any more.
            self.tab.paid();
        }
    }

    /// Gives up the largest incomplete message, because all peers together hold as much as they may and this one most.
    fn pay(&mut self) {
        if let Some(Expired { id, bytes, .. }) = self.reassembler.give_up_largest(crate::now()) {
            self.note_given_up(id, bytes);
        }
        self.give_room_back();
        self.tab.paid();
    }

    pub(crate) fn note_given_up(&mut self, id: p2pt_messaging::MessageId, bytes: usize) {
        let limit = self.account.memory().bound();
        count(&self.counters.invalid_frames);
        count(&self.counters.messages_given_up);
        if let Some(left_out) = self.account.memory().warn(crate::now()) {
            warn!(message = %id, bytes, limit, left_out, "all peers hold as much as they may, so a message is given up");
        } else {
            debug!(message = %id, bytes, limit, "all peers hold as much as they may, so a message is given up");
        }
        self.unreported.push(ReceiveError::NodeFull { id, bytes, limit });
    }

    /// Waits, and pays meanwhile if that is due. Time in which the channel is not read is not held against messages that
    /// are incomplete.
    async fn while_paused<T>(&mut self, wait: impl Future<Output = T>) -> T {
        let mut wait = pin!(wait);
        self.reassembler.pause(crate::now());
        let done = loop {
            tokio::select! {
                biased;
                done = &mut wait => break done,
                () = self.tab.asked() => self.pay_if_asked(),
            }
        };
        self.reassembler.resume(crate::now());
        done
    }

    /// Gives a message to the request it answers, or to the inbox. Waits while responses that were not taken yet fill their
    /// room.
    async fn route(&mut self, message: Message, charge: Option<Charge>) {
        let (peer, now) = (self.peer, crate::now());
        let waiters = &peer.shared().waiters;
        let (mut message, mut charge) = (message, charge);
        loop {
            if charge.is_none() {
                charge = self.charge(weight_of(&message.id, message.payload.len())).await;
            }
            (message, charge) = match waiters.route(now, message, charge) {
                Routed::Message(message, charge) => return self.deliver(Inbound::Message(message), charge).await,
                Routed::Response => return,
                Routed::Late => {
                    debug!("a response came after its request had ended, and is dropped");
                    return;
                }
                Routed::Wait(message, charge) => (message, charge),
            };
            debug!(message = %message.id, "responses that were not taken leave no room; the channel is not read meanwhile");
            let _blocked = waiters.block();
            peer.shared().inbox.announce_full();
            self.while_paused(waiters.room_for(&message)).await;
        }
    }

    /// Charges the peer with so many bytes, as soon as it can be. `None` for more than can ever be charged.
    async fn charge(&mut self, bytes: usize) -> Option<Charge> {
        let (peer, account) = (self.peer, self.account);
        let mut blocked = None;
        loop {
            let _waits = account.memory().waits();
            let mut room = pin!(account.memory().room());
            if blocked.is_some() {
                room.as_mut().enable();
            }
            match account.take(bytes, &self.tab) {
                Ok(()) => return Some(Charge::taken(account, bytes)),
                Err(Remedy::Pay) => self.pay(),
                Err(_) if bytes > account.memory().bound() / 2 => return None,
                Err(remedy) if blocked.is_none() => {
                    blocked = Some(peer.shared().inbox.block());
                    if matches!(remedy, Remedy::Nothing) {
                        count(&self.counters.inbox_full);
                        debug!("all peers hold as much as they may; the channel is not read until events are taken");
                    }
                }
                Err(_) => self.while_paused(room).await,
            }
        }
    }

    pub(crate) async fn deliver(&mut self, inbound: Inbound, charge: Option<Charge>) {
        let charge = match charge {
            Some(charge) => Some(charge),
            None => self.charge(inbound.weight()).await,
        };
        let (peer, queue) = (self.peer, self.queue);
        if let Err(item) = queue.try_push(peer, Item::new(inbound, charge)) {
            let since = crate::now();
            count(&self.counters.inbox_full);
            debug!("the inbox is full; the channel is not read until the application takes events");
            self.while_paused(queue.push(peer, item)).await;
            debug!(waited = ?crate::now().saturating_duration_since(since), "the inbox has room again");
        }
    }
}

#[cfg(all(test, feature = "memory"))]
#[path = "reading_tests.rs"]
mod tests;
