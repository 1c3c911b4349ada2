//! What the engine has to do with trackers: adding and removing them, and what they say.

use std::sync::Arc;

use p2pt_tracker::{AnnounceUrl, SocketEnd, TrackerClient, TrackerEvent, TrackerWarning};
use rand::RngExt as _;
use tracing::{debug, trace};

use super::offers::Waiting;
use super::{ClientKey, Engine};
use crate::mesh::RemoteOffer;
use crate::node::Tracker;
use crate::queue::lock;
use crate::{TrackerConnected, sdp};

impl Engine {
    pub(crate) fn add_tracker(&mut self, url: AnnounceUrl) {
        let mut trackers = lock(&self.parts.shared.trackers);
        if trackers.contains_key(&url) {
            return;
        }
        self.next_client += 1;
        let number = self.next_client;
        let mut config = self.parts.client_config.clone();
        config.seed.get_or_insert_with(|| self.parts.rng.random());
        let client = TrackerClient::start(
            url.clone(),
            self.parts.shared.peer_id,
            config,
            self.parts.connector.clone(),
            ClientKey { url: url.clone(), number },
            self.tracker_sender.clone(),
        );
        for stay in self.swarms.touch_all() {
            client.join(stay.info_hash);
            stay.members.add_tracker(&url);
        }
        trackers.insert(url, Tracker { number, client: Arc::new(client), connected: false, reached: false });
    }

    pub(super) fn remove_tracker(&mut self, url: &AnnounceUrl) -> bool {
        let Some(tracker) = lock(&self.parts.shared.trackers).remove(url) else { return false };
        for stay in self.swarms.touch_all() {
            stay.members.forget_tracker(url);
            stay.offers.retain(|_, waiting| waiting.tracker != *url);
        }
        self.farewells.spawn(async move { tracker.client.stop().await });
        true
    }

    /// The client of that name, unless it was removed: what it says then concerns nobody.
    pub(super) fn client(&self, key: &ClientKey) -> Option<Arc<TrackerClient>> {
        let trackers = lock(&self.parts.shared.trackers);
        let tracker = trackers.get(&key.url).filter(|tracker| tracker.number == key.number)?;
        Some(tracker.client.clone())
    }

    pub(super) fn handle_tracker(&mut self, key: ClientKey, event: TrackerEvent) {
        let Some(client) = self.client(&key) else { return };
        let url = key.url.clone();
        match event {
            TrackerEvent::Connected => self.set_connected(&url, true),
            // The tracker is reached all the same, but other members are counted over there.
            TrackerEvent::Disconnected { end: SocketEnd::OtherFamily } => {
                self.set_connected(&url, false);
                self.swarms.touch_all().for_each(|stay| stay.members.forget_tracker(&url));
            }
            TrackerEvent::Disconnected { .. } => {
                self.set_connected(&url, false);
                self.set_reached(&url, false);
            }
            TrackerEvent::Announced { info_hash, complete, incomplete, .. } => {
                if self.set_reached(&url, true) {
                    let (connected, total) = self.parts.shared.reached();
                    for (_, stay) in self.swarms.iter() {
                        let event = TrackerConnected { tracker: url.clone(), connected, total };
                        stay.shared.queue.tracker_connected(event);
                    }
                }
                if let (Some(stay), Some(complete), Some(incomplete)) = (self.stay(info_hash), complete, incomplete) {
                    stay.members.count(crate::now(), url, complete.saturating_add(incomplete) as usize);
                }
            }
            TrackerEvent::OffersWanted { info_hash, count } => self.make_offers(info_hash, key, count),
            TrackerEvent::Offer { info_hash, from, offer_id, sdp } => {
                if let Some(stay) = self.stay(info_hash) {
                    let (tracker, via, ours) = (url, (client, offer_id), sdp::is_marked(&sdp));
                    stay.members.offer(crate::now(), from, RemoteOffer { tracker, via, sdp, ours });
                }
            }
            TrackerEvent::Answer { info_hash, from, offer_id, sdp } => {
                if let Some(stay) = self.stay(info_hash)
                    && let Some(Waiting { pending, .. }) = stay.offers.remove(&offer_id)
                {
                    let ours = sdp::is_marked(&sdp);
                    stay.members.answer(crate::now(), from, url, ours, pending, sdp);
                }
            }
            TrackerEvent::OfferEnded { info_hash, offer_id, end } => {
                trace!(%url, ?end, "an offer ended unanswered");
                if let Some(stay) = self.stay(info_hash) {
                    stay.offers.remove(&offer_id);
                }
            }
            TrackerEvent::Warning(warning) => {
                debug!(%url, %warning, "tracker");
                if matches!(warning, TrackerWarning::ConnectFailed { .. }) {
                    self.set_reached(&url, false);
                }
                for (_, stay) in self.swarms.iter() {
                    stay.shared.queue.tracker_warning(url.clone(), warning.clone());
                }
            }
            _ => {}
        }
    }

    /// Returns whether that is news.
    fn set_reached(&mut self, url: &AnnounceUrl, reached: bool) -> bool {
        let mut trackers = lock(&self.parts.shared.trackers);
        let Some(tracker) = trackers.get_mut(url) else { return false };
        std::mem::replace(&mut tracker.reached, reached) != reached
    }

    fn set_connected(&self, url: &AnnounceUrl, connected: bool) {
        if let Some(tracker) = lock(&self.parts.shared.trackers).get_mut(url) {
            tracker.connected = connected;
        }
    }
}
