//! What comes by trackers: who made it, whether it holds, and whether its author is welcome.

use std::sync::Arc;

use p2pt_mesh::TrackerId;
use p2pt_mesh::discovery;
use p2pt_mesh::mesh::{Identity, Input, Library, PeerKey, RemoteOffer};
use p2pt_proto::{OfferId, PeerId};
use p2pt_rt::Instant;
use p2pt_tracker::TrackerClient;
use p2pt_transport::{Fingerprint, PendingOffer, Role};
use p2pt_trust::TrackerHost;
use tracing::debug;

use super::{AnsweredOffer, Connections, IncomingOffer, fingerprint_of};
use crate::admission::PeerRequest;
use crate::trust::{Author, OwnDescription, ReadAnswer, ReadDescription};
use crate::{ConnectionRejected, RejectReason, TrustChanged};

impl Connections {
    /// A peer's offer came by a tracker.
    pub(crate) fn offer(
        &mut self,
        now: Instant,
        from: PeerId,
        tracker: TrackerId,
        (client, offer_id, sdp): (Arc<TrackerClient>, OfferId, String),
    ) {
        let read = self.descriptions.read_offer(sdp, from).and_then(|read| {
            let is_replayed = matches!(read.author, Author::Signed(_)) && !self.trust.is_new(now, read.hash);
            if is_replayed { Err(RejectReason::Replayed) } else { Ok(read) }
        });
        if let Some(description) = self.admitted(from, tracker, Role::Answerer, read) {
            let identity = claimed(&description);
            let offer = IncomingOffer { client, offer_id, description };
            self.step(now, Input::Offer { from, offer: RemoteOffer { tracker, identity, offer } });
            self.saw(now, from, tracker, identity.key.is_some());
        }
    }

    /// The answer to an offer of this side came by a tracker.
    pub(crate) fn answer(
        &mut self,
        now: Instant,
        from: PeerId,
        tracker: TrackerId,
        (pending, own, sdp): (Box<dyn PendingOffer>, OwnDescription, String),
    ) {
        let Some(host) = self.host(tracker) else { return };
        let answer = match self.descriptions.read_answer(sdp, from, own.hash(), host) {
            Ok(ReadAnswer::Answer(answer)) => Ok(answer),
            Ok(ReadAnswer::Sighting) => {
                debug!(parent: &self.span, peer = %from, "a peer says that it is met already");
                self.saw(now, from, tracker, true);
                return;
            }
            Err(reason) => Err(reason),
        };
        if let Some(answer) = self.admitted(from, tracker, Role::Offerer, answer) {
            let identity = claimed(&answer);
            let answer = AnsweredOffer { pending, own, answer };
            self.step(now, Input::Answer { from, tracker, identity, answer });
            self.saw(now, from, tracker, identity.key.is_some());
        }
    }

    /// An offer or answer of a peer came by a tracker. Discovery learns of it only if the mesh knows the peer.
    pub(super) fn saw(&mut self, now: Instant, peer: PeerId, tracker: TrackerId, is_signed: bool) {
        if !self.mesh.knows(&peer) {
            return;
        }
        self.discover(now, discovery::Input::PeerSeen { peer, tracker });
        if is_signed && let Some(host) = self.host(tracker) {
            // Another key cannot be shown under the id.
            self.vouchers.entry(peer).or_default().vouch(host);
            self.look_at_trust(&peer);
            if self.agreed(&peer) {
                self.let_in(peer);
            }
        }
    }

    pub(super) fn host(&self, tracker: TrackerId) -> Option<TrackerHost> {
        self.urls.get(&tracker).map(|url| TrackerHost::of(url.host()))
    }

    /// Whether as many trackers show a peer's key as should.
    pub(super) fn agreed(&self, peer: &PeerId) -> bool {
        let wanted = self.trust.agreement();
        wanted <= 1 || self.vouchers.get(peer).is_some_and(|vouchers| vouchers.through() >= wanted)
    }

    /// Tells the application if a connected peer is known better or less than before.
    pub(super) fn look_at_trust(&self, peer: &PeerId) {
        let Some(slot) = self.slots.get(peer) else { return };
        if let Some(vouchers) = self.vouchers.get(peer) {
            let mut vouchers = vouchers.clone();
            let is_there = |tracker: &TrackerId| !self.removed.contains(tracker);
            self.urls
                .iter()
                .filter(|(id, _)| is_there(id))
                .for_each(|(_, url)| vouchers.ask(TrackerHost::of(url.host())));
            slot.peer.shared().trust.set_vouchers(&vouchers);
        }
        if let Some((was, now)) = slot.peer.trust_change() {
            self.shared.queue.trust_changed(&slot.peer, TrustChanged { peer: slot.peer.clone(), was, now });
        }
    }

    /// A key was pinned or is not pinned any more.
    pub(crate) fn pins_changed(&self) {
        self.slots.keys().for_each(|peer| self.look_at_trust(peer));
    }

    /// The description, unless it does not hold or its author is not welcome, which is reported.
    pub(super) fn admitted(
        &self,
        peer_id: PeerId,
        tracker: TrackerId,
        role: Role,
        read: Result<ReadDescription, RejectReason>,
    ) -> Option<ReadDescription> {
        let url = self.urls.get(&tracker)?.clone();
        let welcome = read.and_then(|description| {
            let public_key = description.key().copied();
            self.trust.admits(&peer_id, public_key.as_ref())?;
            let info_hash = self.shared.identity().key.info_hash();
            self.admission.check(&PeerRequest { peer_id, public_key, info_hash, tracker: url, role })?;
            Ok(description)
        });
        match welcome {
            Ok(description) => {
                debug!(parent: &self.span, peer = %peer_id, ?role, "a peer is admitted");
                Some(description)
            }
            Err(reason) => {
                self.rejected(peer_id, tracker, role, reason);
                None
            }
        }
    }

    pub(super) fn rejected(&self, peer_id: PeerId, tracker: TrackerId, role: Role, reason: RejectReason) {
        self.settings.counters.rejected(reason);
        debug!(parent: &self.span, peer = %peer_id, ?role, %reason, "a peer is rejected");
        if let Some(tracker) = self.urls.get(&tracker).cloned() {
            self.shared.queue.connection_rejected(ConnectionRejected { peer_id, tracker, role, reason, missed: 0 });
        }
    }
}

/// What a description says of its maker.
fn claimed(description: &ReadDescription) -> Identity {
    let is_ours = description.author != Author::JavaScript;
    let library = if is_ours { Library::Ours } else { Library::JavaScript };
    let key = description.key().map(|key| PeerKey(*key.as_bytes()));
    Identity { library, fingerprint: Fingerprint::from_sdp(&description.sdp).map(fingerprint_of), key }
}
