//! Sessions with peers that speak p2pt/2: which channel carries which, and when one ends.
//!
//! A session outlives its channels: a peer whose last one has failed is waited for, and is closed for the application only
//! when it has not come back in time, or comes back without its session.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use p2pt_mesh::mesh::ChannelId;
use p2pt_messaging::wire::Hello;
use p2pt_proto::PeerId;
use p2pt_rt::Instant;
use p2pt_transport::ChannelClosed;
use rand::RngExt as _;
use tracing::debug;

use super::{Action, Connections, Slot};
use crate::channel::PeerChannel;
use crate::mux::{self, Greeting, Mux, SessionName};

/// The names of sessions that have not begun, and the peers that are waited for.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    /// What this side calls its next session with a peer that the mesh knows.
    names: BTreeMap<PeerId, SessionName>,
    /// Peers without a channel, and until when they may come back.
    waited_for: BTreeMap<PeerId, Instant>,
}

impl Sessions {
    /// The mesh knows nothing of a peer any more.
    pub(super) fn forget(&mut self, peer: &PeerId) {
        self.names.remove(peer);
    }

    /// A peer that is waited for has come back, or is not waited for any more.
    pub(super) fn returned(&mut self, peer: &PeerId) {
        self.waited_for.remove(peer);
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.waited_for.values().min().copied()
    }

    /// A peer that has not come back in time.
    pub(super) fn take_expired(&mut self, now: Instant) -> Option<PeerId> {
        let (peer, _) = self.waited_for.iter().find(|(_, until)| now >= **until)?;
        let peer = *peer;
        self.waited_for.remove(&peer);
        Some(peer)
    }
}

impl Connections {
    /// What this side says of itself to a peer, if it speaks p2pt/2.
    pub(crate) fn hello(&mut self, peer: &PeerId) -> Option<Hello> {
        let config = &self.settings.config;
        if !config.p2pt2 {
            return None;
        }
        let session = self.slots.get(peer).and_then(|slot| slot.peer.shared().mux()).filter(|mux| !mux.has_ended());
        let name = match session {
            Some(session) => session.own_name(),
            None => *self.sessions.names.entry(*peer).or_insert_with(|| self.rng.random()),
        };
        Some(mux::hello(config, name))
    }

    /// Has a channel to a peer carry the session with it, and begins one if there is none.
    pub(super) fn carry(&mut self, peer: &PeerId, channel: &Arc<PeerChannel>, greeting: &Greeting) -> Option<Arc<Mux>> {
        let now = crate::now();
        let Slot { peer: handle, readers, .. } = self.slots.get_mut(peer)?;
        let shared = handle.shared();
        let before = shared.mux();
        if let Some(mux) = before.as_ref().filter(|mux| mux.is_of(greeting)) {
            mux.open_link(&shared.send_queue, channel);
            return before;
        }
        if let Some(before) = before.as_ref().filter(|before| !before.has_ended()) {
            debug!(parent: handle.span(), "the peer does not know the session any more; another one begins");
            before.end(&shared.send_queue, &ChannelClosed::Remote);
            // What was asked in that session is not answered in this one.
            shared.waiters.fail_all(now, &ChannelClosed::Remote);
        }
        let mux = Arc::new(Mux::new(mux::config(&self.settings.config), greeting, &shared.received, before));
        shared.set_mux(mux.clone());
        // The next one has another name.
        self.sessions.names.remove(peer);
        *readers += 1;
        self.actions.push_back(Action::Deliver { peer: handle.clone(), mux: mux.clone() });
        mux.open_link(&shared.send_queue, channel);
        Some(mux)
    }

    /// A channel of a peer is one too many.
    pub(super) fn retire_link(&self, peer: &PeerId, channel: ChannelId) {
        if let Some(slot) = self.slots.get(peer)
            && let Some(mux) = slot.peer.shared().mux()
        {
            mux.retire_link(&slot.peer.shared().send_queue, channel);
        }
    }

    /// The last channel of a peer has closed: it is gone, or waited for.
    ///
    /// Why that channel closed says nothing: it may have been one too many whose successor broke, or the other side may have
    /// closed it for want of a sign of life. Who leaves says so in the session.
    pub(super) fn peer_closed(&mut self, now: Instant, peer: PeerId) {
        let mux = self.slots.get(&peer).and_then(|slot| slot.peer.shared().mux());
        let waits = mux.is_some_and(|mux| !mux.is_leaving());
        let within = self.settings.config.reconnect_within;
        if waits && within > Duration::ZERO {
            debug!(parent: &self.span, %peer, ?within, "the peer may come back, and its session goes on");
            self.sessions.waited_for.insert(peer, now + within);
            return;
        }
        self.end_session(&peer);
        self.finish(peer);
    }

    /// Ends the session with a peer, for the reason for which its last channel ended.
    pub(super) fn end_session(&mut self, peer: &PeerId) {
        self.sessions.returned(peer);
        if let Some(slot) = self.slots.get(peer)
            && let Some(mux) = slot.peer.shared().mux()
        {
            let reason = slot.gone.as_ref().map_or(ChannelClosed::Local, |(reason, _)| reason.clone());
            mux.end(&slot.peer.shared().send_queue, &reason);
        }
    }
}
