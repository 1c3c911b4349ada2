//! What the tracker's own peer does on its channels: it carries what two peers say, changed, or speaks for itself.

use std::sync::{Arc, Mutex};

use p2pt_messaging::wire::{FrameKind, Frames};
use p2pt_messaging::{Chunks, DEFAULT_BUDGET, MessageId, Payload};
use p2pt_proto::PeerId;
use p2pt_transport::{Channel, Frame, FrameReceiver, FrameSender};

/// What the tracker's own peer says to the peers that it meets, in a message of p2pt/1.
pub const GREETING: &str = "It is I; trust me.";

/// What it has heard.
#[derive(Debug, Clone, Default)]
pub(super) struct Record(Arc<Mutex<Vec<Heard>>>);

/// One frame that the tracker's own peer has received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// The peer that sent it.
    pub from: PeerId,
    /// The frame.
    pub frame: Frame,
}

impl Record {
    fn add(&self, from: PeerId, frame: &Frame) {
        let heard = Heard { from, frame: frame.clone() };
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(heard);
    }

    pub(super) fn all(&self) -> Vec<Heard> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

/// A word and what it becomes in every text that is carried.
pub(super) type Rewriting = Option<(String, String)>;

/// A channel to a peer, and whether its confirmation is meant for this end.
pub(super) struct Open {
    pub(super) victim: PeerId,
    pub(super) channel: Channel,
    /// This end has a key of its own, so that what confirms the peer's description is not carried any further.
    pub(super) keeps_auth: bool,
}

/// Carries what two peers say until one of them is gone.
pub(super) async fn carry(one: Open, two: Open, record: Record, rewriting: Rewriting) {
    let (mut from_one, mut from_two) = (one.channel.receiver, two.channel.receiver);
    let (to_one, to_two) = (one.channel.sender, two.channel.sender);
    let there = pass(&mut *from_one, &*to_two, (one.victim, one.keeps_auth), &record, &rewriting);
    let back = pass(&mut *from_two, &*to_one, (two.victim, two.keeps_auth), &record, &rewriting);
    tokio::select! {
        () = there => {}
        () = back => {}
    }
    tokio::join!(to_one.close(), to_two.close());
}

async fn pass(
    from: &mut dyn FrameReceiver,
    to: &dyn FrameSender,
    (victim, keeps_auth): (PeerId, bool),
    record: &Record,
    rewriting: &Rewriting,
) {
    while let Ok(frame) = from.recv().await {
        record.add(victim, &frame);
        let frame = match (&frame, rewriting) {
            (Frame::Binary(bytes), _) if keeps_auth && is_auth(bytes) => continue,
            (Frame::Text(_), Some((word, other))) => Frame::text(frame.to_text().replace(word, other)),
            _ => frame,
        };
        if to.send(frame).await.is_err() {
            return;
        }
    }
}

/// Sends back to a peer what it sends, until it is gone.
pub(super) async fn echo(open: Open, record: Record) {
    let mut channel = open.channel;
    while let Ok(frame) = channel.receiver.recv().await {
        record.add(open.victim, &frame);
        if channel.sender.send(frame).await.is_err() {
            return;
        }
    }
}

/// Speaks to a peer, and hears it until it is gone.
pub(super) async fn speak(open: Open, record: Record) {
    let mut channel = open.channel;
    let (id, greeting) = (MessageId::from(200_000), Payload::from(GREETING));
    for frame in Chunks::new(&id, &greeting, DEFAULT_BUDGET).into_iter().flatten() {
        // A peer that is gone by now is not heard either.
        let _ = channel.sender.send(Frame::text(frame)).await;
    }
    while let Ok(frame) = channel.receiver.recv().await {
        record.add(open.victim, &frame);
    }
}

/// Whether a binary frame begins with a confirmation.
pub(super) fn is_auth(bytes: &[u8]) -> bool {
    matches!(Frames::new(bytes).next(), Some(Ok(frame)) if frame.kind == FrameKind::AUTH)
}
