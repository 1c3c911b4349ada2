//! What the engine has to do with trackers: adding and removing them, and handling what they report.

use std::sync::Arc;

use p2pt_mesh::TrackerId;
use p2pt_tracker::{AnnounceUrl, SocketEnd, TrackerClient, TrackerEvent};
use rand::RngExt as _;
use tracing::debug;

use super::Engine;
use super::offers::Waiting;
use crate::TrackerConnected;
use crate::node::Tracker;
use crate::queue::lock;

impl Engine {
    pub(crate) fn add_tracker(&mut self, url: AnnounceUrl) {
        let mut trackers = lock(&self.parts.shared.trackers);
        if trackers.values().any(|tracker| tracker.url == url) {
            return;
        }
        debug!(tracker = %url, "a tracker is added");
        self.next_tracker += 1;
        let id = TrackerId(self.next_tracker);
        let mut config = self.parts.client_config.clone();
        config.seed.get_or_insert_with(|| self.parts.rng.random());
        let client = TrackerClient::start(
            url.clone(),
            self.parts.shared.peer_id,
            config,
            self.parts.connector.clone(),
            id,
            self.tracker_sender.clone(),
        );
        for membership in self.memberships.touch_all() {
            client.join(membership.info_hash);
            membership.connections.add_tracker(crate::now(), id, url.clone());
        }
        trackers.insert(id, Tracker { url, client: Arc::new(client), connected: false, reached: false });
    }

    pub(super) fn remove_tracker(&mut self, url: &AnnounceUrl) -> bool {
        let mut trackers = lock(&self.parts.shared.trackers);
        let id = trackers.iter().find(|(_, tracker)| tracker.url == *url).map(|(id, _)| id);
        let Some((id, tracker)) = id.and_then(|id| Some((id, trackers.remove(&id)?))) else { return false };
        self.parts.shared.counters.keep(&tracker);
        drop(trackers);
        debug!(tracker = %url, "a tracker is removed");
        for membership in self.memberships.touch_all() {
            membership.connections.remove_tracker(crate::now(), id);
            membership.offers.retain(|_, waiting| waiting.tracker != id);
        }
        self.graceful.spawn(async move { tracker.client.stop().await });
        true
    }

    /// A tracker's URL and client, unless it was removed: what its client still reports is of no interest.
    pub(super) fn client(&self, id: TrackerId) -> Option<(AnnounceUrl, Arc<TrackerClient>)> {
        let trackers = lock(&self.parts.shared.trackers);
        trackers.get(&id).map(|tracker| (tracker.url.clone(), tracker.client.clone()))
    }

    pub(super) fn handle_tracker(&mut self, id: TrackerId, event: TrackerEvent) {
        let Some((url, client)) = self.client(id) else { return };
        match event {
            TrackerEvent::Connected => {
                debug!(tracker = %url, "there is a socket to the tracker");
                self.set_connected(id, true);
                self.retry_others(id);
            }
            // The tracker is reached all the same, but other members are counted over there.
            TrackerEvent::Disconnected { end: SocketEnd::OtherFamily, .. } => {
                debug!(tracker = %url, "the tracker is asked over the other address family");
                self.set_connected(id, false);
                self.memberships
                    .touch_all()
                    .for_each(|membership| membership.connections.reset_tracker(crate::now(), id));
            }
            TrackerEvent::Disconnected { end, .. } => {
                debug!(tracker = %url, %end, "there is no socket to the tracker any more");
                self.set_connected(id, false);
                self.set_reached(id, false);
                // The members it counted are void, so that the first announce carries offers when it is back.
                self.memberships
                    .touch_all()
                    .for_each(|membership| membership.connections.disconnected(crate::now(), id));
            }
            TrackerEvent::Announced { info_hash, complete, incomplete, interval, .. } => {
                if let Some(membership) = self.membership(info_hash) {
                    let span = membership.connections.span();
                    debug!(parent: span, tracker = %url, complete, incomplete, ?interval, "an announce is answered");
                }
                if self.set_reached(id, true) {
                    let (connected, total) = self.parts.shared.reached();
                    for (_, membership) in self.memberships.iter() {
                        let event = TrackerConnected { tracker: url.clone(), connected, total };
                        membership.shared.queue.tracker_connected(event);
                    }
                }
                if let (Some(membership), Some(complete), Some(incomplete)) =
                    (self.membership(info_hash), complete, incomplete)
                {
                    membership.connections.announced(crate::now(), id, complete.saturating_add(incomplete) as usize);
                }
            }
            TrackerEvent::OffersWanted { info_hash, count, .. } => {
                if let Some(membership) = self.membership(info_hash) {
                    debug!(parent: membership.connections.span(), tracker = %url, count, "an announce takes offers");
                }
                self.make_offers(info_hash, id, count);
            }
            TrackerEvent::Offer { info_hash, from, offer_id, sdp, .. } => {
                if let Some(membership) = self.membership(info_hash) {
                    let span = membership.connections.span();
                    debug!(parent: span, tracker = %url, peer = %from, offer = %offer_id, "a peer's offer arrives");
                    membership.connections.offer(crate::now(), from, id, (client, offer_id, sdp));
                }
            }
            TrackerEvent::Answer { info_hash, from, offer_id, sdp, .. } => {
                if let Some(membership) = self.membership(info_hash)
                    && let Some(Waiting { pending, own, .. }) = membership.offers.remove(&offer_id)
                {
                    let span = membership.connections.span();
                    debug!(parent: span, tracker = %url, peer = %from, offer = %offer_id, "an offer is answered");
                    membership.connections.answer(crate::now(), from, id, (pending, own, sdp));
                }
            }
            TrackerEvent::OfferEnded { info_hash, offer_id, end, .. } => {
                if let Some(membership) = self.membership(info_hash) {
                    let span = membership.connections.span();
                    debug!(parent: span, tracker = %url, offer = %offer_id, ?end, "an offer is given up unanswered");
                    membership.offers.remove(&offer_id);
                }
            }
            TrackerEvent::ConnectFailed { .. } => {
                self.set_reached(id, false);
            }
            TrackerEvent::Warning { warning, missed, .. } => {
                debug!(tracker = %url, %warning, missed, "the tracker gives trouble");
                for (_, membership) in self.memberships.iter() {
                    membership.shared.queue.tracker_warning(url.clone(), warning.clone(), missed);
                }
            }
            _ => {}
        }
    }

    /// A tracker that could not be reached answers, so that the network may be back: others need not wait until it is
    /// their time to be tried again.
    fn retry_others(&self, id: TrackerId) {
        let trackers = lock(&self.parts.shared.trackers);
        if trackers.get(&id).is_some_and(|tracker| !tracker.reached) {
            let lost = trackers.values().filter(|tracker| !tracker.connected);
            lost.for_each(|tracker| tracker.client.retry());
        }
    }

    /// Returns whether that is news.
    fn set_reached(&mut self, id: TrackerId, reached: bool) -> bool {
        let mut trackers = lock(&self.parts.shared.trackers);
        let Some(tracker) = trackers.get_mut(&id) else { return false };
        std::mem::replace(&mut tracker.reached, reached) != reached
    }

    fn set_connected(&self, id: TrackerId, connected: bool) {
        if let Some(tracker) = lock(&self.parts.shared.trackers).get_mut(&id) {
            tracker.connected = connected;
        }
    }
}
