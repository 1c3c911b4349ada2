//! Messages on their way into a session, and what becomes of them.

use p2pt_mesh::mesh::ChannelId;
use p2pt_messaging::wire::{MessageKey, MessageKind, OutMessage, Progress, Urgency};
use p2pt_messaging::{InvalidMessage, MessageId, Payload};
use p2pt_transport::Frame;

use super::{Mux, State};
use crate::pending_send::Confirm;
use crate::queue::lock;
use crate::send_queue::{Asked, Awaited, Content, HandedOver, Queued, SendQueue};
use crate::{Returned, SendError};

/// A message of this size or less, in bytes, is as good as sent once the session has it: what may wait there unsent is bounded,
/// and nothing of it is lost while the session lasts.
const SMALL: usize = 16 << 10;

/// What is awaited of a message, and what it counts as.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) id: Option<MessageId>,
    pub(super) awaited: Option<Awaited>,
    pub(super) queued: Option<Queued>,
}

/// Something of which nothing came, and of which nothing was said yet.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) id: Option<MessageId>,
    pub(super) request: Option<Asked>,
    pub(super) error: SendError,
}

/// What became of a message that was to be put into the session.
pub(crate) enum Put {
    /// A channel has taken all of it.
    Taken(ChannelId),
    /// It is in the session.
    Waits(MessageKey),
    /// It has to wait for its turn.
    Full(Content, Option<Confirm>),
    /// It can never be sent.
    Failed(SendError),
}

impl Mux {
    /// Puts a message or frame into the session, unless something is ahead of it.
    pub(crate) fn put(&self, queue: &SendQueue, content: Content, confirm: Option<Confirm>) -> Put {
        self.put_into(&mut lock(&self.state), queue, content, confirm)
    }

    /// Puts a message or frame into the session if the channel takes all of it now, as far as its room and the other side's
    /// window go; otherwise nothing of it, and there is no error either if it only has to wait.
    pub(crate) fn put_now(&self, queue: &SendQueue, content: Content) -> Result<(), Option<SendError>> {
        let mut state = lock(&self.state);
        state.window.set_aside(true);
        let put = self.put_into(&mut state, queue, content, None);
        state.window.set_aside(false);
        match put {
            Put::Taken(_) => Ok(()),
            // What is not sent whole comes back.
            Put::Waits(key) => self.take_out(&mut state, queue, key).map_or(Ok(()), |_| Err(None)),
            Put::Full(..) => Err(None),
            Put::Failed(error) => Err(Some(error)),
        }
    }

    fn put_into(&self, state: &mut State, queue: &SendQueue, content: Content, confirm: Option<Confirm>) -> Put {
        if let Some(ended) = &state.ended {
            return Put::Failed(SendError::PeerGone(ended.clone()));
        }
        if !queue.is_empty() || !state.session.has_room(content.urgency()) {
            return Put::Full(content, confirm);
        }
        let bytes = content.bytes();
        let (id, key) = match state.give(content) {
            Ok(given) => given,
            Err(error) => return Put::Failed(error),
        };
        if confirm.is_none() && bytes <= SMALL && !state.window.is_aside() {
            if state.window.is_empty() {
                self.advance(state, queue);
            } else {
                // It goes with what else comes until a writer has its turn.
                self.wake_writers(state);
            }
            return Put::Taken(state.channel());
        }
        if let Some(confirm) = &confirm {
            confirm.is_in_session(key);
        }
        state.messages.insert(key, Pending { id, awaited: confirm.map(Awaited::Acceptance), queued: None });
        self.advance(state, queue);
        match state.messages.get(&key) {
            None => Put::Taken(state.channel()),
            Some(_) => Put::Waits(key),
        }
    }

    /// Has a sender told what becomes of a message that it has put into the session.
    pub(crate) fn attach(&self, key: MessageKey, confirm: Confirm) {
        confirm.is_in_session(key);
        match lock(&self.state).messages.get_mut(&key) {
            Some(pending) => pending.awaited = Some(Awaited::Acceptance(confirm)),
            None => confirm.taken(),
        }
    }

    /// What has moved on the session, to tell whether anything does.
    pub(crate) fn moved(&self) -> u64 {
        lock(&self.state).window.moved()
    }

    /// Takes a message back that was not sent whole.
    pub(crate) fn cancel(&self, queue: &SendQueue, key: MessageKey) -> Option<Payload> {
        let message = self.take_out(&mut lock(&self.state), queue, key)?;
        payload_of(message).ok()
    }

    fn take_out(&self, state: &mut State, queue: &SendQueue, key: MessageKey) -> Option<OutMessage> {
        let message = state.session.cancel(key)?;
        state.requests.remove(&key);
        if let Some(Pending { queued: Some(queued), .. }) = state.messages.remove(&key) {
            queue.settle(queued);
        }
        self.advance(state, queue);
        Some(message)
    }

    /// How far a message has come.
    pub(crate) fn progress(&self, key: MessageKey) -> Option<Progress> {
        lock(&self.state).session.progress(key)
    }

    /// Moves what there is room for from the send queue into the session.
    pub(super) fn refill(&self, state: &mut State, queue: &SendQueue) {
        while let Some((content, awaited, queued)) = queue.take_for(|urgency| state.session.has_room(urgency)) {
            match state.give(content) {
                Ok((id, key)) => {
                    if let Some(Awaited::Acceptance(confirm)) = &awaited {
                        confirm.is_in_session(key);
                    }
                    state.messages.insert(key, Pending { id, awaited, queued: Some(queued) });
                }
                Err(error) => {
                    let pending = Pending { id: None, awaited, queued: Some(queued) };
                    state.failed.extend(pending.fail(queue, error));
                    self.arrived.notify_one();
                }
            }
        }
    }
}

impl State {
    /// Gives something to the session.
    fn give(&mut self, content: Content) -> Result<(Option<MessageId>, MessageKey), SendError> {
        let is_request = matches!(&content, Content::Message(_, message) if message.request);
        let (id, message) = outgoing(content)?;
        let given = self.session.send(message);
        let key = given.map_err(|error| SendError::TooLarge { bytes: error.bytes, max: error.max })?;
        if is_request {
            self.requests.insert(key);
        }
        Ok((id, key))
    }
}

impl Pending {
    /// A channel has all of the message. Comes back if more is awaited.
    pub(super) fn taken(mut self, queue: &SendQueue, channel: ChannelId) -> Option<Self> {
        if let Some(queued) = self.queued.take() {
            queue.settle(queued);
        }
        match self.awaited.take()? {
            Awaited::Send(send) => drop(send.send(Ok(channel))),
            Awaited::Response(asked) => drop(asked.handed_over.set(HandedOver { at: crate::now(), channel })),
            Awaited::Acceptance(confirm) => {
                confirm.taken();
                return Some(Self { awaited: Some(Awaited::Acceptance(confirm)), ..self });
            }
        }
        None
    }

    pub(super) fn acknowledged(self, queue: &SendQueue) {
        if let Some(queued) = self.queued {
            queue.settle(queued);
        }
        if let Some(Awaited::Acceptance(confirm)) = self.awaited {
            confirm.acknowledged();
        }
    }

    /// Nothing comes of the message. Says so to those who wait; what is left is to be said otherwise.
    pub(super) fn fail(self, queue: &SendQueue, error: SendError) -> Option<Failed> {
        if let Some(queued) = self.queued {
            queue.settle(queued);
        }
        let (error, request) = match self.awaited {
            Some(Awaited::Send(send)) => (send.send(Err(error)).err()?.err()?, None),
            Some(Awaited::Response(asked)) => (error, Some(asked)),
            Some(Awaited::Acceptance(confirm)) => (confirm.fail(error)?, None),
            None => (error, None),
        };
        Some(Failed { id: self.id, request, error })
    }
}

/// What the session takes for something that is to be sent.
fn outgoing(content: Content) -> Result<(Option<MessageId>, OutMessage), SendError> {
    Ok(match content {
        Content::Message(id, message) => {
            let number = id.as_integer().ok_or(SendError::ForeignId)?;
            let (urgency, response) = (message.urgency, message.response);
            let payload = crate::peer::given_back(message);
            let kind = match &payload {
                Payload::Text(_) => MessageKind::Text,
                Payload::Json(_) => MessageKind::Json,
                _ => MessageKind::Bytes,
            };
            (Some(id), OutMessage { id: number, response, kind, urgency, bytes: payload.into_bytes() })
        }
        Content::Frame(frame) => {
            let is_text = matches!(frame, Frame::Text(_));
            let (Frame::Text(bytes) | Frame::Binary(bytes)) = frame;
            let (id, urgency) = (u64::from(is_text), Urgency::DEFAULT);
            (None, OutMessage { id, response: false, kind: MessageKind::Raw, urgency, bytes })
        }
    })
}

/// What the application sent.
fn payload_of(message: OutMessage) -> Result<Payload, InvalidMessage> {
    match message.kind {
        MessageKind::Text => Payload::of_text(message.bytes),
        MessageKind::Json => Payload::of_json(message.bytes),
        _ => Ok(Payload::Bytes(message.bytes)),
    }
}

impl Returned {
    pub(super) fn of(message: OutMessage) -> Option<Self> {
        if message.kind == MessageKind::Raw {
            return None;
        }
        let id = MessageId::from(message.id);
        payload_of(message).ok().map(|payload| Self { id, payload })
    }
}
