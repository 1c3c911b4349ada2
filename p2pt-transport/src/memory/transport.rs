//! A node's transport: offers and answers on the way to an open channel.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::{sync::Notify, time::Instant};

use super::{
    NodeId,
    channel::{Handle, receiver, sender},
    connection::Side,
    network::{Network, Step},
    sdp::{Description, Kind, Token},
    state::Attempt,
};
use crate::{
    AddCandidateError, Channel, ChannelInfo, Fingerprint, PendingAnswer, PendingOffer, RemoteCandidates, Transport,
    TransportError, candidates,
};

/// One node's access to a [`MemoryNetwork`](super::MemoryNetwork).
#[derive(Debug)]
pub struct MemoryTransport {
    network: Arc<Network>,
    node: NodeId,
}

impl MemoryTransport {
    pub(super) fn new(network: Arc<Network>) -> Self {
        let node = network.with(|state, _| state.add_node());
        Self { network, node }
    }

    /// The node, for aiming faults at it.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// How many of this node's channels are open now.
    pub fn open_channels(&self) -> usize {
        self.network.with(|state, now| state.open_ends(Some(self.node), now))
    }
}

#[async_trait]
impl Transport for MemoryTransport {
    async fn offer(&self) -> Result<Box<dyn PendingOffer>, TransportError> {
        let wake = Arc::new(Notify::new());
        let own = self.network.with(|state, now| state.offer(self.node, wake.clone(), now))?;
        Ok(Box::new(Offer { network: self.network.clone(), node: self.node, sdp: own.to_string(), own, wake }))
    }

    async fn answer(&self, offer_sdp: &str) -> Result<Box<dyn PendingAnswer>, TransportError> {
        let wake = Arc::new(Notify::new());
        let (own, other) = self.network.with(|state, _| {
            if state.is_down(self.node) {
                return Err(TransportError::ShutDown);
            }
            let offer = Description::read(offer_sdp, Kind::Offer)?;
            Ok((state.answer(self.node, wake.clone(), &offer)?, offer))
        })?;
        let network = self.network.clone();
        Ok(Box::new(Answer { network, node: self.node, sdp: own.to_string(), own, other, wake }))
    }

    async fn shutdown(&self) {
        let ends = self.network.with(|state, now| state.shut_down(self.node, now));
        for (connection, side, wake) in ends {
            self.network.wait(&wake, |state, now| state.ending(connection, side, now)).await;
        }
    }
}

#[derive(Debug)]
struct Offer {
    network: Arc<Network>,
    node: NodeId,
    sdp: String,
    own: Description,
    wake: Arc<Notify>,
}

impl Drop for Offer {
    fn drop(&mut self) {
        self.network.with(|state, _| state.drop_offer(self.own.token));
    }
}

#[async_trait]
impl PendingOffer for Offer {
    fn sdp(&self) -> &str {
        &self.sdp
    }

    fn remote_candidates(&self) -> Arc<dyn RemoteCandidates> {
        Arc::new(NoAddresses)
    }

    async fn open(self: Box<Self>, answer_sdp: &str) -> Result<Channel, TransportError> {
        let answer = Description::read(answer_sdp, Kind::Answer)?;
        let opening = Opening::new(&self.network, self.node, &self.wake);
        let connection = opening
            .until(|state, now| match state.connect(self.own.token, &answer, now) {
                Attempt::Connected(connection) => Step::Done(Ok(connection)),
                Attempt::Failed(error) => Step::Done(Err(error)),
                Attempt::NoPath => Step::Wait(None),
            })
            .await?;
        opening.open(Handle::new(&self.network, connection, Side::OFFERER), &self.own, &answer).await
    }
}

#[derive(Debug)]
struct Answer {
    network: Arc<Network>,
    node: NodeId,
    sdp: String,
    own: Description,
    other: Description,
    wake: Arc<Notify>,
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.network.with(|state, now| state.drop_answer(self.own.token, now));
    }
}

#[async_trait]
impl PendingAnswer for Answer {
    fn sdp(&self) -> &str {
        &self.sdp
    }

    fn remote_candidates(&self) -> Arc<dyn RemoteCandidates> {
        Arc::new(NoAddresses)
    }

    async fn open(self: Box<Self>) -> Result<Channel, TransportError> {
        let opening = Opening::new(&self.network, self.node, &self.wake);
        let token: Token = self.own.token;
        let connection = opening
            .until(|state, _| match state.take_connection(token) {
                Ok(Some(connection)) => Step::Done(Ok(connection)),
                Ok(None) => Step::Wait(None),
                Err(error) => Step::Done(Err(error)),
            })
            .await?;
        opening.open(Handle::new(&self.network, connection, Side::ANSWERER), &self.own, &self.other).await
    }
}

/// Takes candidates and needs none: nodes find each other by the tokens of their descriptions.
#[derive(Debug)]
struct NoAddresses;

impl RemoteCandidates for NoAddresses {
    fn add(&self, candidate: &str) -> Result<(), AddCandidateError> {
        candidates::read(candidate).map(drop)
    }
}

/// The way from two descriptions to an open channel, with its deadline.
struct Opening<'a> {
    network: &'a Arc<Network>,
    node: NodeId,
    wake: &'a Notify,
    deadline: Instant,
}

impl<'a> Opening<'a> {
    fn new(network: &'a Arc<Network>, node: NodeId, wake: &'a Notify) -> Self {
        let after = network.with(|state, _| state.config.connect_timeout);
        Self { network, node, wake, deadline: Instant::now() + after }
    }

    /// Repeats a step until it is done or the deadline has passed.
    async fn until<T: Send>(
        &self,
        mut step: impl FnMut(&mut super::state::State, Instant) -> Step<Result<T, TransportError>> + Send,
    ) -> Result<T, TransportError> {
        self.network
            .wait(self.wake, |state, now| {
                let next = match step(state, now) {
                    Step::Done(done) => return Step::Done(done),
                    Step::Wait(next) => next,
                };
                if state.is_down(self.node) {
                    return Step::Done(Err(TransportError::ShutDown));
                }
                if now >= self.deadline {
                    let [local, remote] = ["host"; 2].map(str::to_owned);
                    return Step::Done(Err(TransportError::IceFailed { local, remote }));
                }
                Step::Wait(Some(next.map_or(self.deadline, |next| next.min(self.deadline))))
            })
            .await
    }

    async fn open(&self, handle: Handle, own: &Description, other: &Description) -> Result<Channel, TransportError> {
        let side = handle.side();
        let label = self
            .until(|state, now| {
                if state.is_down(self.node) {
                    return Step::Done(Err(TransportError::ShutDown));
                }
                let connection = state.connection(handle.connection(), now);
                if connection.is_open(side) {
                    Step::Done(Ok(connection.label.clone()))
                } else if connection.ended(side).is_some() {
                    Step::Done(Err(TransportError::ClosedEarly))
                } else {
                    Step::Wait(connection.next_event())
                }
            })
            .await?;
        let max_frame_bytes = own.max_frame_bytes.min(other.max_frame_bytes);
        let fingerprints: [Option<Fingerprint>; 2] = [own, other].map(|side| Some(side.fingerprint));
        let info = ChannelInfo {
            label,
            role: side.role(),
            local_fingerprint: fingerprints[0],
            remote_fingerprint: fingerprints[1],
            max_frame_bytes,
            good_frame_bytes: max_frame_bytes,
        };
        let handle = Arc::new(handle);
        Ok(Channel { info, sender: sender(handle.clone(), max_frame_bytes), receiver: receiver(handle) })
    }
}
