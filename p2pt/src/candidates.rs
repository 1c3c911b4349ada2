//! Peers whose channels are open and who are not let in before further trackers show their keys.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use p2pt_mesh::TrackerId;
use p2pt_mesh::mesh::ChannelId;
use p2pt_proto::PeerId;
use p2pt_rt::Instant;
use p2pt_transport::{FrameReceiver, Role};
use p2pt_trust::PublicKey;

use crate::channel::PeerChannel;
use crate::trust::Proven;

/// How long a peer may wait for the agreement of trackers: nodes that join offer to all their trackers at once, and again
/// within seconds while they know no peer; members of a large swarm may need some announces.
const AGREEMENT_TIMEOUT: Duration = Duration::from_secs(60);

/// A channel that is open and not read, and what its other end has proven.
type Unread = (Arc<PeerChannel>, Box<dyn FrameReceiver>, Option<Proven>);

/// A peer that waits.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) key: Option<PublicKey>,
    /// What has led to it.
    pub(crate) tracker: TrackerId,
    pub(crate) role: Role,
    /// Its channels, of which nothing is read, so that what it sends waits on its side. One that has closed is kept for what it
    /// has brought, while another one is open.
    pub(crate) opened: Vec<Unread>,
    closed: Vec<ChannelId>,
    /// Those of them that are too many. They retire when the peer is let in, since the other side may have sent over them.
    pub(crate) retired: Vec<ChannelId>,
    until: Instant,
}

impl Candidate {
    pub(crate) fn new(key: Option<PublicKey>, tracker: TrackerId, now: Instant) -> Self {
        Self {
            key,
            tracker,
            role: Role::Offerer,
            opened: Vec::new(),
            closed: Vec::new(),
            retired: Vec::new(),
            until: now + AGREEMENT_TIMEOUT,
        }
    }

    pub(crate) fn channels(&self) -> impl Iterator<Item = &Arc<PeerChannel>> {
        self.opened.iter().map(|(channel, ..)| channel)
    }
}

/// The peers of a swarm that wait.
#[derive(Debug, Default)]
pub(crate) struct Candidates(BTreeMap<PeerId, Candidate>);

impl Candidates {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn insert(&mut self, peer: PeerId, candidate: Candidate) {
        self.0.insert(peer, candidate);
    }

    pub(crate) fn get_mut(&mut self, peer: &PeerId) -> Option<&mut Candidate> {
        self.0.get_mut(peer)
    }

    pub(crate) fn remove(&mut self, peer: &PeerId) -> Option<Candidate> {
        self.0.remove(peer)
    }

    /// When [`take_expired`](Self::take_expired) is due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.0.values().map(|candidate| candidate.until).min()
    }

    /// A peer that has waited for too long.
    pub(crate) fn take_expired(&mut self, now: Instant) -> Option<(PeerId, Candidate)> {
        let peer = *self.0.iter().find(|(_, candidate)| now >= candidate.until)?.0;
        Some((peer, self.0.remove(&peer)?))
    }

    /// A channel has closed; whether it was one of a peer that waits. Without an open one the peer waits no more.
    pub(crate) fn channel_closed(&mut self, id: ChannelId) -> bool {
        let found = self.0.iter_mut().find(|(_, candidate)| candidate.channels().any(|channel| channel.id == id));
        let Some((peer, candidate)) = found else { return false };
        candidate.closed.push(id);
        if candidate.channels().all(|channel| candidate.closed.contains(&channel.id)) {
            let peer = *peer;
            self.0.remove(&peer);
        }
        true
    }

    /// All of them, which wait no more.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = Candidate> + use<> {
        std::mem::take(&mut self.0).into_values()
    }

    /// The channels of a peer that waits.
    pub(crate) fn channels_of(&self, peer: &PeerId) -> Vec<Arc<PeerChannel>> {
        self.0.get(peer).map(|candidate| candidate.channels().cloned().collect()).unwrap_or_default()
    }

    pub(crate) fn into_channels(self) -> impl Iterator<Item = Arc<PeerChannel>> {
        self.0.into_values().flat_map(|candidate| candidate.opened.into_iter().map(|(channel, ..)| channel))
    }
}
