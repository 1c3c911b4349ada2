//! Who the peers of a chat are: what people are told of keys, safety codes, and what may be forged.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use p2pt::trust::{Pin, StoreError, Trust, TrustStore};
use p2pt::{ConnectionRejected, Peer, PeerId, PinError, RejectReason, TrustChanged};

use super::Chat;
use crate::terminal::short;

/// Peers turned away that are remembered, so that each is told of once: more than stay in mind.
const MAX_REJECTED: usize = 1024;

/// What a chat knows of keys, besides what its peers know.
#[derive(Debug)]
pub(crate) struct Acquaintance {
    pub(crate) pins: Arc<dyn TrustStore>,
    /// Whether pins outlast the chat.
    pub(crate) is_kept: bool,
    /// Whether peers without a key are turned away because that was asked for.
    pub(crate) asks_for_keys: bool,
    rejected: HashSet<(PeerId, RejectReason)>,
    /// It has been said what a safety code is for.
    is_explained: bool,
}

impl Acquaintance {
    pub(crate) fn new(pins: Arc<dyn TrustStore>, is_kept: bool, asks_for_keys: bool) -> Self {
        Self { pins, is_kept, asks_for_keys, rejected: HashSet::new(), is_explained: false }
    }

    /// Whether a peer was not turned away for this reason before.
    fn is_news(&mut self, rejected: &ConnectionRejected) -> bool {
        if self.rejected.len() >= MAX_REJECTED {
            self.rejected.clear();
        }
        self.rejected.insert((rejected.peer_id, rejected.reason))
    }

    /// The pin under a name, as people read it.
    fn pin_named(&self, name: &str) -> Option<Pin> {
        let name = name.to_lowercase();
        self.pins.pins().into_iter().find(|pin| pin.name.to_lowercase() == name)
    }
}

impl Chat {
    /// Says that a peer has come, who it is, and how one finds out.
    pub(super) fn welcome(&mut self, peer: &Peer) -> io::Result<()> {
        let (id, trust) = (short(peer.id()), peer.trust());
        match trust {
            Trust::Unsigned => self.note(format_args!("{id} is here, without a key: who it is cannot be checked"))?,
            Trust::Pinned { name } => self.note(format_args!("{id} is here: it is {name:?}, whom you have pinned"))?,
            trust => self.note(format_args!("{id} is here, {trust}{}", code(peer)))?,
        }
        if peer.safety_code().is_some() && !self.acquaintance.is_explained {
            self.acquaintance.is_explained = true;
            self.note(
                "If somebody stands between, the other side sees another safety code: compare it by voice, and then /pin \
                 NAME ID-OR-NAME remembers the peer",
            )?;
        }
        Ok(())
    }

    /// Says all there is to know of a peer.
    pub(super) fn describe(&mut self, peer: &Peer) -> io::Result<()> {
        let (id, shown, trust) = (peer.id(), self.members.shown(peer.id()), peer.trust());
        let name = if id.to_string().starts_with(&shown) { String::new() } else { format!("  {shown}") };
        let key = peer.public_key().map(|key| format!("; key {key}")).unwrap_or_default();
        self.note(format_args!("{id}{name}: {trust}{}{key}", code(peer)))
    }

    /// Warns of a peer that calls itself by the name of another that is pinned.
    pub(super) fn check_name(&mut self, peer: &Peer, name: &str) -> io::Result<()> {
        let Some(pin) = self.acquaintance.pin_named(name) else { return Ok(()) };
        let Trust::Changed { name: pinned, now, .. } = peer.trust_as(&pin.name) else { return Ok(()) };
        let (id, what) = (short(peer.id()), if now.is_some() { "it has another key" } else { "it has no key" });
        let then = match now {
            Some(_) => format!(": ask, and not here; if it is a new key, /unpin {pinned} and /pin {pinned} {id}"),
            None => String::new(),
        };
        self.warn(format_args!(
            "{id} calls itself {name:?} and is not the {pinned:?} whom you have pinned, for {what}{then}"
        ))
    }

    pub(super) async fn pin(&mut self, name: &str, who: &str) -> io::Result<()> {
        let peer = match self.members.find(&self.swarm, who) {
            Ok(peer) => peer,
            Err(problem) => return self.warn(problem),
        };
        let Some(key) = peer.public_key() else {
            let shown = self.members.shown(peer.id());
            return self.warn(format_args!("{shown} has no key by which it could be known again"));
        };
        match self.swarm.node().pin(name, &key).await {
            // That it is pinned is an event.
            Ok(()) if self.acquaintance.is_kept => Ok(()),
            Ok(()) => self.note(format_args!("{name:?} is pinned until you leave; --known-peers FILE keeps pins")),
            Err(PinError::Store(error @ StoreError::Taken { .. })) => {
                self.warn(format_args!("not pinned: {error}; if that is known to be the old one, /unpin {name} first"))
            }
            Err(error) => self.warn(format_args!("not pinned: {error}")),
        }
    }

    pub(super) async fn unpin(&mut self, name: &str) -> io::Result<()> {
        match self.swarm.node().unpin(name).await {
            Ok(Some(key)) => self.note(format_args!("{name:?} is not pinned any more; its key was {key}")),
            Ok(None) => self.warn(format_args!("no peer is pinned as {name:?}")),
            Err(error) => self.warn(format_args!("{name:?} is still pinned: {error}")),
        }
    }

    pub(super) fn trust_changed(&mut self, changed: &TrustChanged) -> io::Result<()> {
        let TrustChanged { peer, was, now, .. } = changed;
        let shown = self.members.shown(peer.id());
        if now.level() < was.level() {
            self.warn(format_args!("{shown} is {now} now, and was {was}"))
        } else {
            self.note(format_args!("{shown} is {now} now"))
        }
    }

    /// Says once of each peer that it was turned away, where that has to do with who it is.
    pub(super) fn rejected(&mut self, rejected: &ConnectionRejected) -> io::Result<()> {
        let ConnectionRejected { peer_id, tracker, reason, .. } = rejected;
        let id = short(*peer_id);
        let is_about_trust = reason.is_forgery()
            || matches!(
                reason,
                RejectReason::Unsigned
                    | RejectReason::WrongKey
                    | RejectReason::WrongRoom
                    | RejectReason::NotVouched { .. }
            );
        if !is_about_trust || !self.acquaintance.is_news(rejected) {
            return Ok(());
        }
        match reason {
            reason if reason.is_forgery() => self.warn(format_args!(
                "what {tracker} brought as {id} may be forged, and was not let in; if that goes on, use another tracker"
            )),
            RejectReason::Unsigned if !self.acquaintance.asks_for_keys => self.warn(format_args!(
                "{tracker} brought a peer without a key under the id of {id}, which has one: it was not let in"
            )),
            reason => self.note(format_args!("{id} was not let in: {reason}")),
        }
    }
}

/// The safety code of a peer with a key, behind what else is said of it.
fn code(peer: &Peer) -> String {
    let Some(code) = peer.safety_code() else { return String::new() };
    let pictures: String = code.emoji().iter().map(|emoji| emoji.symbol).collect();
    format!("; safety code: {code} {pictures}")
}
