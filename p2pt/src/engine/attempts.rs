//! Carrying out what the meshes decide: attempts to connect, and channels, each a task of its own.

use std::sync::Arc;

use p2pt_mesh::mesh::AttemptId;
use p2pt_messaging::wire::Hello;
use p2pt_proto::{InfoHash, PeerId};
use p2pt_transport::{Channel, FrameReceiver, Transport};
use p2pt_trust::Role;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, debug, error_span};

use super::{ChannelEnd, Done, Engine, MembershipId, Parts};
use crate::channel::PeerChannel;
use crate::connections::{Action, AnsweredOffer, AttemptError, IncomingOffer, Opened};
use crate::handshake::Handshake;
use crate::mux::Mux;
use crate::queue::lock;
use crate::swarm::SwarmShared;
use crate::trust::{Descriptions, Pairing, Proof, confirm};
use crate::{Peer, mux, reading, send_queue};

impl Engine {
    /// Carries out what was decided for the swarms that have changed.
    pub(super) fn act(&mut self) {
        for swarm in self.memberships.take_touched() {
            let Some(membership) = self.memberships.look_at(swarm) else { continue };
            membership.connections.refresh(crate::now());
            while let Some(action) = membership.connections.poll_action() {
                let (token, info_hash) = (membership.token.clone(), membership.info_hash);
                let span = &membership.connections.span().clone();
                match action {
                    Action::Answer { attempt, peer, offer } => {
                        let transport = self.parts.transport.clone();
                        let descriptions = membership.connections.descriptions().clone();
                        let pairing = membership.connections.pairing().cloned();
                        let hello = membership.connections.hello(&peer);
                        let meeting = self.parts.meeting(info_hash, peer, pairing, hello);
                        let opening = answer(transport, offer, descriptions, meeting);
                        let span = error_span!(parent: span, "peer", id = %peer);
                        let task = self.tasks.spawn(attempt_task(swarm, attempt, token, opening).instrument(span));
                        membership.attempts.insert(attempt, task);
                    }
                    Action::Accept { attempt, peer, answer } => {
                        let descriptions = membership.connections.descriptions();
                        let AnsweredOffer { pending, own, answer } = answer;
                        let proof = descriptions.proof(&own, Role::Offer, &answer.hash, &answer.author);
                        let pairing = membership.connections.pairing().cloned();
                        let hello = membership.connections.hello(&peer);
                        let meeting = self.parts.meeting(info_hash, peer, pairing, hello);
                        let opening = async move { meeting.met(pending.open(&answer.sdp).await?, proof).await };
                        let span = error_span!(parent: span, "peer", id = %peer);
                        let task = self.tasks.spawn(attempt_task(swarm, attempt, token, opening).instrument(span));
                        membership.attempts.insert(attempt, task);
                    }
                    Action::GiveUp { attempt } => {
                        if let Some(task) = membership.attempts.remove(&attempt) {
                            task.abort();
                        }
                    }
                    Action::Deliver { peer, mux } => {
                        let (span, shared) = (peer.span().clone(), membership.shared.clone());
                        let task = async move {
                            token.run_until_cancelled(mux::deliver(&mux, &peer, &shared.queue)).await;
                            Done::Read { swarm, peer }
                        };
                        self.tasks.spawn(task.instrument(span));
                    }
                    Action::Run { peer, channel, receiver, mux } => {
                        let span = channel.span().clone();
                        let closings = self.closing_sender.clone();
                        let shared = membership.shared.clone();
                        let task = async move {
                            let on = (channel.clone(), receiver, mux);
                            let run = run_channel(swarm, peer.clone(), on, shared, closings);
                            token.run_until_cancelled(channel.run_until_cut(run)).await;
                            Done::Read { swarm, peer }
                        };
                        self.tasks.spawn(task.instrument(span));
                    }
                    Action::Announce { tracker } => {
                        if let Some(tracker) = lock(&self.parts.shared.trackers).get(&tracker) {
                            debug!(parent: span, tracker = %tracker.url, "has the tracker asked for more peers");
                            tracker.client.announce(info_hash);
                        }
                    }
                    Action::SetWanted { tracker, offers } => {
                        if let Some(tracker) = lock(&self.parts.shared.trackers).get(&tracker) {
                            debug!(parent: span, tracker = %tracker.url, offers, "wants so many offers in an announce");
                            tracker.client.set_wanted(info_hash, offers);
                        }
                    }
                    Action::Close { channel } => {
                        self.graceful.spawn(async move { channel.close().await });
                    }
                    Action::Watch { channel } => {
                        let closings = self.closing_sender.clone();
                        let task = async move {
                            token.run_until_cancelled(watch(swarm, &channel, closings)).await;
                            Done::Nothing
                        };
                        self.tasks.spawn(task);
                    }
                    Action::Sight { peer, offer, tracker } => {
                        let seen = (offer.description.hash, peer);
                        let sighting =
                            membership.connections.descriptions().sighting(seen, tracker, &mut self.parts.rng);
                        if let Some(sighting) = sighting {
                            debug!(parent: span, %peer, "lets a peer know that it is met already");
                            offer.client.answer(info_hash, peer, offer.offer_id, sighting);
                        }
                    }
                    Action::Retire { channel } => {
                        let span = channel.span().clone();
                        let task = async move {
                            debug!("the channel is one too many, and closes when it is quiet");
                            token.run_until_cancelled(channel.retire()).await;
                            Done::Nothing
                        };
                        self.tasks.spawn(task.instrument(span));
                    }
                }
            }
            let (due, waits) = (membership.connections.poll_timeout(), membership.connections.waits_for_application());
            self.memberships.set_due(swarm, due);
            if waits {
                // The application does not say when it has read what was missing, so the next event has this looked at.
                self.memberships.touch(swarm);
            }
        }
    }
}

async fn attempt_task(
    swarm: MembershipId,
    attempt: AttemptId,
    token: CancellationToken,
    opening: impl Future<Output = Result<Opened, AttemptError>>,
) -> Done {
    match token.run_until_cancelled(opening).await {
        Some(result) => Done::Attempt { swarm, attempt, result: Box::new(result) },
        None => Done::Nothing,
    }
}

async fn answer(
    transport: Arc<dyn Transport>,
    offer: IncomingOffer,
    descriptions: Descriptions,
    mut meeting: Meeting,
) -> Result<Opened, AttemptError> {
    let (info_hash, to) = (meeting.info_hash, meeting.peer);
    let IncomingOffer { client, offer_id, description } = offer;
    let pending = transport.answer(&description.sdp).await?;
    let (sdp, own) = descriptions.answer(pending.sdp(), (description.hash, to), &mut meeting.rng)?;
    let proof = descriptions.proof(&own, Role::Answer, &description.hash, &description.author);
    debug!(offer = %offer_id, "the answer is made and sent; the channel opens");
    client.answer(info_hash, to, offer_id, sdp);
    meeting.met(pending.open().await?, proof).await
}

/// What is due on a channel that has opened, before its other end is a peer.
struct Meeting {
    info_hash: InfoHash,
    peer: PeerId,
    pairing: Option<Arc<Pairing>>,
    /// What this side says of itself, if it speaks p2pt/2.
    hello: Option<Hello>,
    handshake: Option<Handshake>,
    rng: StdRng,
}

impl Parts {
    fn meeting(
        &mut self,
        info_hash: InfoHash,
        peer: PeerId,
        pairing: Option<Arc<Pairing>>,
        hello: Option<Hello>,
    ) -> Meeting {
        let rng = StdRng::from_rng(&mut self.rng);
        Meeting { info_hash, peer, pairing, hello, handshake: self.handshake.clone(), rng }
    }
}

impl Meeting {
    /// Has both ends prove who they are, if both sign, and the code if the swarm has one, and the application accept the
    /// other one.
    async fn met(mut self, mut channel: Channel, proof: Option<Proof>) -> Result<Opened, AttemptError> {
        let proven = match proof {
            Some(proof) => Some(confirm(&mut channel, proof, self.hello).await.map_err(AttemptError::Refused)?),
            None => None,
        };
        if let Some(pairing) = self.pairing {
            pairing.pair(&mut channel, proven.as_ref(), &mut self.rng).await.map_err(AttemptError::Refused)?;
        }
        let opened = Opened { channel, proven };
        match self.handshake {
            Some(handshake) => handshake.shake(opened, self.info_hash, self.peer).await.map_err(AttemptError::Refused),
            None => Ok(opened),
        }
    }
}

/// Reads a channel to its end, hands over what is queued for its peer, and reports its close as soon as it happens,
/// which may be long before.
async fn run_channel(
    swarm: MembershipId,
    peer: Peer,
    (channel, receiver, mux): (Arc<PeerChannel>, Box<dyn FrameReceiver>, Option<Arc<Mux>>),
    shared: Arc<SwarmShared>,
    closings: mpsc::Sender<ChannelEnd>,
) {
    let watch = async {
        channel.ended().await;
        peer.shared().send_queue.wake();
        watch(swarm, &channel, closings).await;
    };
    let writing = async {
        match &mux {
            Some(mux) => mux.write(&peer.shared().send_queue, &channel).await,
            None => send_queue::drain(&channel, &peer, &shared.queue).await,
        }
    };
    let reading = reading::read(&channel, receiver, &peer, &shared.queue, mux.as_deref());
    tokio::join!(reading, writing, watch, channel.close_if_given_up());
}

/// Reports the close of a channel.
async fn watch(swarm: MembershipId, channel: &PeerChannel, closings: mpsc::Sender<ChannelEnd>) {
    let reason = channel.ended().await;
    // Fails only when the engine is gone, and then it is of no interest.
    let _ = closings.send(ChannelEnd { swarm, channel: channel.id, reason }).await;
}
