//! What has come whole, on its way to the application; and what is paid for by what is held meanwhile.

use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use p2pt_messaging::wire::{Accepted, InMessage, MessageKind};
use p2pt_messaging::{FrameError, Message, MessageId, Payload};
use p2pt_transport::{ChannelClosed, Frame};
use tracing::debug;

use super::Mux;
use super::sending::Failed;
use crate::accounts::{Claim, Remedy, Short};
use crate::channel::PeerChannel;
use crate::counters::count;
use crate::inbox::Inbound;
use crate::queue::{EventQueue, lock};
use crate::reading::Reader;
use crate::send_queue::SendQueue;
use crate::{Peer, PeerStream, SendFailed};

/// So many bytes of messages are taken from the session at a time, or one message,
const BATCH: usize = 16 << 10;

/// and at most so many of them.
const MOST: usize = 64;

/// Something whole.
enum Arrived {
    Message(InMessage),
    Stream(Accepted),
}

/// Delivers what comes whole, until the session has ended and all of it is delivered.
pub(crate) async fn deliver(mux: &Arc<Mux>, peer: &Peer, queue: &EventQueue) {
    let claim = lock(&mux.state).tab.claim();
    tokio::select! {
        () = deliver_all(mux, peer, queue) => {}
        () = pay(mux, &claim, peer, queue) => {}
    }
}

async fn deliver_all(mux: &Arc<Mux>, peer: &Peer, queue: &EventQueue) {
    let mut reader = Reader::new(peer, queue);
    let mut arrived = Vec::new();
    let before = lock(&mux.before).take();
    if let Some(before) = before {
        before.delivered.notified().await;
    }
    loop {
        mux.report_failures(peer, queue);
        mux.next(&peer.shared().send_queue, &mut arrived);
        if arrived.is_empty() {
            if mux.has_ended() {
                mux.report_failures(peer, queue);
                return mux.delivered.notify_one();
            }
            mux.arrived.notified().await;
        }
        for arrived in arrived.drain(..) {
            match arrived {
                Arrived::Message(message) => deliver_message(&mut reader, message).await,
                Arrived::Stream(accepted) => {
                    let stream = PeerStream::accepted(peer.clone(), mux.clone(), accepted);
                    reader.deliver(Inbound::Stream(Box::new(stream)), None).await;
                }
            }
        }
    }
}

async fn deliver_message(reader: &mut Reader<'_>, message: InMessage) {
    let id = MessageId::from(message.id);
    let payload = match message.kind {
        MessageKind::Text => Payload::of_text(message.bytes),
        MessageKind::Json => Payload::of_json(message.bytes),
        MessageKind::Bytes => Ok(Payload::Bytes(message.bytes)),
        MessageKind::Raw => {
            let is_text = message.id == 1;
            let frame = if is_text { Frame::Text(message.bytes) } else { Frame::Binary(message.bytes) };
            return reader.deliver_frame(frame).await;
        }
    };
    match payload {
        Ok(payload) => reader.take_message(Message { id, payload }, message.response).await,
        Err(reason) => reader.refuse(FrameError::InvalidMessage { id, reason }).await,
    }
}

/// Gives an incomplete message up whenever that is asked for.
async fn pay(mux: &Mux, claim: &Claim, peer: &Peer, queue: &EventQueue) {
    let mut reader = Reader::new(peer, queue);
    loop {
        claim.asked().await;
        let owes = lock(&mux.state).tab.owes();
        if owes {
            mux.give_up_one(&mut reader, &peer.shared().send_queue).await;
        }
        let mut state = lock(&mux.state);
        let _ = state.settle();
        state.tab.paid();
    }
}

impl Mux {
    /// The next things that have come whole: a large one, or several small ones.
    fn next(&self, queue: &SendQueue, arrived: &mut Vec<Arrived>) {
        let mut state = lock(&self.state);
        let mut bytes = 0;
        while bytes < BATCH && arrived.len() < MOST {
            let Some(message) = state.session.receive_message() else { break };
            bytes += message.bytes.len();
            arrived.push(Arrived::Message(message));
        }
        if arrived.len() < MOST {
            arrived.extend(state.session.accept().map(Arrived::Stream));
        }
        if !arrived.is_empty() {
            // It holds less than before, for which there was room.
            let _ = state.settle();
            self.advance(&mut state, queue);
        }
    }

    /// Says of which messages nothing came.
    fn report_failures(&self, peer: &Peer, events: &EventQueue) {
        let failed = std::mem::take(&mut lock(&self.state).failed);
        for Failed { id, request, error } in failed {
            match request {
                Some(asked) => peer.shared().waiters.fail(crate::now(), asked.id, asked.number, error),
                None => events.send_failed(peer, SendFailed { peer: peer.clone(), id, error, missed: 0 }),
            }
        }
    }

    /// Sends what is owed for what has come: when there is nothing more to read now, or much has come.
    pub(crate) fn flush(&self, queue: &SendQueue) {
        self.advance(&mut lock(&self.state), queue);
    }

    /// Takes a packet, for which room is made if it needs some: where there is none, an incomplete message is given up, or
    /// the channel waits.
    pub(crate) async fn take_packet(&self, reader: &mut Reader<'_>, channel: &PeerChannel, packet: &Bytes) {
        let shared = reader.peer().shared();
        let queue = &shared.send_queue;
        if let Err(error) = self.receive(channel, packet) {
            count(&shared.settings.counters.invalid_frames);
            debug!(%error, "the peer breaks the protocol; the session ends");
            self.end(queue, &ChannelClosed::Failed(format!("the peer broke the protocol: {error}")));
            channel.give_up();
            return;
        }
        let memory = shared.received.memory();
        loop {
            let _waits = memory.waits();
            let mut room = pin!(memory.room());
            room.as_mut().enable();
            let short = match lock(&self.state).settle() {
                Ok(()) => return,
                Err(short) => short,
            };
            let waits = matches!(short, Short::Node(Remedy::Wait));
            if waits || !self.give_up_one(reader, queue).await {
                room.await;
            }
        }
    }

    /// Gives up an incomplete message; says whether there was one.
    async fn give_up_one(&self, reader: &mut Reader<'_>, queue: &SendQueue) -> bool {
        let Some(given_up) = self.give_up_largest(queue) else { return false };
        reader.note_given_up(MessageId::from(given_up.id), given_up.bytes);
        reader.report().await;
        true
    }
}

impl super::State {
    /// Has the peer's account hold what the session holds.
    pub(super) fn settle(&mut self) -> Result<(), Short> {
        let held = self.session.held_bytes();
        if let Some(more) = held.checked_sub(self.tab.room()).filter(|more| *more > 0) {
            self.tab.make_room(more)?;
        }
        let incomplete = self.session.receiving().map(|(.., received, _)| received).sum();
        self.tab.settle(held, incomplete);
        Ok(())
    }
}
