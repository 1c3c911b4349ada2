//! Carrying out what the meshes decide: attempts to connect, and links, each a task of its own.

use std::sync::Arc;

use p2pt_proto::{InfoHash, OfferId, PeerId};
use p2pt_tracker::TrackerClient;
use p2pt_transport::{Channel, Transport, TransportError};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Done, Engine, LinkClosed, SwarmId};
use crate::link::{self, Link};
use crate::members::Action;
use crate::mesh::{AttemptId, RemoteOffer};
use crate::queue::lock;
use crate::swarm::SwarmShared;
use crate::{Peer, sdp, send_queue};

impl Engine {
    /// Carries out what the meshes of the swarms that have changed decided, and tells the trackers concerned how many
    /// peers are still wanted.
    pub(super) fn act(&mut self) {
        for swarm in self.swarms.take_touched() {
            let Some(stay) = self.swarms.look_at(swarm) else { continue };
            while let Some(action) = stay.members.poll_action() {
                let (token, info_hash) = (stay.token.clone(), stay.info_hash);
                match action {
                    Action::Answer { attempt, peer, offer } => {
                        let transport = self.parts.transport.clone();
                        let opening = answer(transport, offer, info_hash, peer);
                        let task = self.tasks.spawn(attempt_task(swarm, attempt, token, opening));
                        stay.attempts.insert(attempt, task);
                    }
                    Action::Accept { attempt, pending, sdp } => {
                        let opening = async move { pending.open(&sdp).await };
                        let task = self.tasks.spawn(attempt_task(swarm, attempt, token, opening));
                        stay.attempts.insert(attempt, task);
                    }
                    Action::GiveUp { attempt } => {
                        if let Some(task) = stay.attempts.remove(&attempt) {
                            task.abort();
                        }
                    }
                    Action::Run { peer, link, channel } => {
                        let closings = self.closing_sender.clone();
                        let shared = stay.shared.clone();
                        self.tasks.spawn(async move {
                            let id = peer.id();
                            let run = run_link(swarm, peer, link, channel, shared, closings);
                            token.run_until_cancelled(run).await;
                            Done::Read { swarm, peer: id }
                        });
                    }
                    Action::Announce { tracker } => {
                        if let Some(tracker) = lock(&self.parts.shared.trackers).get(&tracker) {
                            tracker.client.announce(info_hash);
                        }
                    }
                    Action::Retire { link } => {
                        self.tasks.spawn(async move {
                            token.run_until_cancelled(link.retire()).await;
                            Done::Nothing
                        });
                    }
                }
            }
            let trackers = lock(&self.parts.shared.trackers);
            for url in stay.members.take_concerned(trackers.keys()) {
                if let Some(tracker) = trackers.get(&url)
                    && let Some(wanted) = stay.members.poll_wanted(crate::now(), &url)
                {
                    tracker.client.set_wanted(stay.info_hash, wanted);
                }
            }
            drop(trackers);
            let (due, waits) = (stay.members.poll_timeout(), stay.members.waits_for_application());
            self.swarms.set_due(swarm, due);
            if waits {
                // The application says nothing when it has heard what it lacked, so the next event has it looked at.
                self.swarms.touch(swarm);
            }
        }
    }
}

async fn attempt_task(
    swarm: SwarmId,
    attempt: AttemptId,
    token: CancellationToken,
    opening: impl Future<Output = Result<Channel, TransportError>>,
) -> Done {
    match token.run_until_cancelled(opening).await {
        Some(result) => Done::Attempt { swarm, attempt, result },
        None => Done::Nothing,
    }
}

/// What is needed to answer an offer: the client of the tracker by which it came, and its id.
pub(crate) type Via = (Arc<TrackerClient>, OfferId);

async fn answer(
    transport: Arc<dyn Transport>,
    offer: RemoteOffer<Via>,
    info_hash: InfoHash,
    to: PeerId,
) -> Result<Channel, TransportError> {
    let pending = transport.answer(&offer.sdp).await?;
    let (client, offer_id) = offer.via;
    client.answer(info_hash, to, offer_id, sdp::mark(pending.sdp()));
    pending.open().await
}

/// Reads a link to its end, hands over what is queued for its peer, and reports its close as soon as it happens, which may be long before.
async fn run_link(
    swarm: SwarmId,
    peer: Peer,
    link: Arc<Link>,
    channel: Box<dyn p2pt_transport::FrameReceiver>,
    shared: Arc<SwarmShared>,
    closings: mpsc::Sender<LinkClosed>,
) {
    let watch = async {
        let reason = link.ended().await;
        peer.shared().send_queue.wake();
        // Fails only when the engine is gone, and then nobody needs to know.
        let _ = closings.send(LinkClosed { swarm, link: link.id, reason }).await;
    };
    let draining = send_queue::drain(&link, &peer, &shared.queue);
    tokio::join!(link::read(&link, channel, &peer, &shared.queue), draining, watch);
}
