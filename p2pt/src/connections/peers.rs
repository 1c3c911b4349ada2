//! How a peer becomes one of the application's, and how it ends.

use std::sync::Arc;

use p2pt_mesh::mesh::ChannelId;
use p2pt_proto::PeerId;
use p2pt_transport::{Channel, ChannelClosed, FrameReceiver};
use p2pt_trust::PublicKey;
use tracing::debug;

use super::{Action, Connections, Opened, Slot};
use crate::Peer;
use crate::channel::PeerChannel;
use crate::counters::{Counted, count};
use crate::swarm::SwarmShared;
use crate::trust::Proven;

impl Connections {
    /// Makes a peer one of the application's.
    pub(super) fn admit(&mut self, id: PeerId, key: Option<PublicKey>) {
        let slot = self.slots.entry(id).or_insert_with(|| {
            let make = || self.span.in_scope(|| Peer::new(id, key, self.settings.clone()));
            let peer = self.shared.queue.entry((id, key), make);
            let counted = Counted::new(self.settings.counters.clone(), |counters| &counters.peers);
            Slot { peer, readers: 0, gone: None, _counted: counted }
        });
        slot.gone = None;
        self.sessions.returned(&id);
        count(&self.settings.counters.peers_connected);
        self.look_at_trust(&id);
    }

    /// Lets a peer in that has waited for that.
    pub(super) fn let_in(&mut self, peer: PeerId) {
        let Some(candidate) = self.candidates.remove(&peer) else { return };
        debug!(parent: &self.span, %peer, "as many trackers as should show the peer's key");
        self.admit(peer, candidate.key);
        for (channel, receiver, proven) in candidate.opened {
            let is_retired = candidate.retired.contains(&channel.id);
            self.run(peer, channel.clone(), receiver, proven.as_ref());
            if is_retired {
                self.actions.push_back(Action::Retire { channel });
            }
        }
    }

    pub(super) fn open(&mut self, peer: PeerId, id: ChannelId, opened: Opened) {
        let Opened { channel: Channel { sender, receiver, info }, proven } = opened;
        if let Some(proven) = &proven {
            self.trust.met(peer, proven.key);
        }
        let span = self.slots.get(&peer).map_or(&self.span, |slot| slot.peer.span());
        let channel = Arc::new(span.in_scope(|| PeerChannel::new(id, sender, info.good_frame_bytes)));
        count(&self.settings.counters.connections_opened);
        debug!(parent: channel.span(), label = info.label, role = ?info.role, "a channel has opened");
        match self.candidates.get_mut(&peer) {
            Some(candidate) => {
                candidate.role = info.role;
                candidate.opened.push((channel.clone(), receiver, proven));
                self.actions.push_back(Action::Watch { channel });
            }
            None => self.run(peer, channel, receiver, proven.as_ref()),
        }
    }

    /// Has the application use a channel.
    pub(super) fn run(
        &mut self,
        peer: PeerId,
        channel: Arc<PeerChannel>,
        receiver: Box<dyn FrameReceiver>,
        proven: Option<&Proven>,
    ) {
        let Some(slot) = self.slots.get_mut(&peer) else { return };
        slot.peer.shared().add_channel(channel.clone(), proven);
        slot.readers += 1;
        let greeting = proven.and_then(|proven| proven.greeting.as_deref());
        let mux = greeting.and_then(|greeting| self.carry(&peer, &channel, greeting));
        let Some(slot) = self.slots.get(&peer) else { return };
        // Reported after the channel is there, so that the application can send at once.
        self.shared.queue.connect(&slot.peer);
        self.actions.push_back(Action::Run { peer: slot.peer.clone(), channel, receiver, mux });
    }

    /// Says that a peer has closed once its last channel is gone and everything it sent has been delivered.
    pub(super) fn finish(&mut self, peer: PeerId) {
        if self.slots.get(&peer).is_some_and(|slot| slot.readers == 0 && slot.gone.is_some())
            && let Some(Slot { peer, gone: Some((reason, unacknowledged)), .. }) = self.slots.remove(&peer)
        {
            end(&self.shared, &peer, reason, unacknowledged);
        }
    }

    /// Ends a peer for the application, whatever was not read, and hands out its channels, still open, to be closed.
    pub(super) fn end_now(&self, slot: Slot) -> Vec<Arc<PeerChannel>> {
        let (channels, mut unacknowledged) = (slot.peer.shared().channels(), 0);
        slot.peer.shared().say_goodbye();
        for channel in &channels {
            slot.peer.shared().remove_channel(channel.id, ChannelClosed::Local);
            self.settings.counters.closed(&ChannelClosed::Local);
            unacknowledged = channel.unacknowledged_bytes();
        }
        let (reason, unacknowledged) = slot.gone.unwrap_or((ChannelClosed::Local, unacknowledged));
        if let Some(mux) = slot.peer.shared().mux() {
            mux.end(&slot.peer.shared().send_queue, &reason);
        }
        end(&self.shared, &slot.peer, reason, unacknowledged);
        channels
    }

    /// Ends the peer that was connected under an id, which is another one's.
    pub(super) fn displace(&mut self, id: &PeerId) {
        let Some(slot) = self.slots.remove(id) else { return };
        debug!(parent: slot.peer.span(), "the peer gives way to the one that its id belongs to");
        for channel in self.end_now(slot) {
            channel.cut();
            self.actions.push_back(Action::Close { channel });
        }
    }
}

fn end(shared: &SwarmShared, peer: &Peer, reason: ChannelClosed, unacknowledged_bytes: u64) {
    // Not before everything was delivered: a response may have been among it.
    peer.shared().waiters.fail_all(crate::now(), &reason);
    debug!(parent: peer.span(), %reason, unacknowledged_bytes, "the connection to the peer is over");
    shared.queue.close(peer, reason, unacknowledged_bytes);
}
