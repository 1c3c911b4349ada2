//! Whose a path is. Datagrams say by their addresses alone which connection they belong to, so no two connections may take the
//! same path: an answer claims those that it may take, and a connection owns those on which it has proven itself.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::SocketAddr,
    time::Instant,
};

use super::{
    super::{
        candidate::may_reach,
        ice::Path,
        peer::{Remote, Stage},
    },
    Endpoint, Key, Slot,
};

/// The most paths of a connection on which checks have arrived and that are not proven yet.
const MAX_UNPROVEN: usize = 8;

impl Endpoint {
    /// Whether an answer from these addresses could be distinguished from every other connection.
    pub(crate) fn is_free(&self, locals: &[SocketAddr], remote: &Remote) -> bool {
        let is_taken = |path: Path| self.claims.contains_key(&path) || self.owners.contains_key(&path);
        !paths(locals.iter().copied(), remote).any(is_taken) && self.of_hidden(locals, remote).next().is_none()
    }

    /// The connections that may take the same path as an answer to an offer that names no address, but whose author's
    /// connections share one: those of the same node, which its certificate tells. What connections of other nodes claim is
    /// no concern of it: however many there are, it can be answered.
    fn of_hidden(&self, locals: &[SocketAddr], remote: &Remote) -> impl Iterator<Item = Key> {
        let is_hidden = remote.shares_sockets && paths(locals.iter().copied(), remote).next().is_none();
        let of_same = move |slot: &Slot| {
            slot.certificate.as_ref() == Some(&remote.certificate)
                && locals.iter().any(|local| slot.sockets.contains(local))
        };
        self.peers.iter().filter(move |(_, slot)| is_hidden && of_same(slot)).map(|(key, _)| key)
    }

    /// Makes room for an answer: ends the oldest of the connections in its way that are all but over, or from whose other
    /// side nothing has come; or takes back the claims of those that are proven on other paths. An attacker whose offers name
    /// addresses or certificates of other peers occupies no place for ever, not even with connections of its own. Whether there is room then.
    pub(crate) fn evict(&mut self, now: Instant, locals: &[SocketAddr], remote: &Remote) -> bool {
        let claiming = paths(locals.iter().copied(), remote).filter_map(|path| self.claims.get(&path).copied());
        let claiming = claiming
            .filter(|key| self.peers.get(*key).is_some_and(|slot| slot.owned.is_empty() || slot.peer.is_leaving()));
        // Checks may come from another node, but the certificate is not its own.
        let hidden = self.of_hidden(locals, remote).filter(|key| {
            let peer = &self.peers[*key].peer;
            matches!(peer.stage(), Stage::Checking | Stage::Handshaking) || peer.is_leaving()
        });
        let Some(oldest) = claiming.chain(hidden).min_by_key(|key| self.peers[*key].peer.began()) else {
            return self.reclaim(locals, remote);
        };
        tracing::debug!(connection = oldest, "connection without a proven path, or closing, gives way to an answer");
        self.peers[oldest].peer.end_now(now);
        self.release(oldest);
        self.list(oldest);
        true
    }

    /// Frees the paths of an answer from claims of connections that have proven themselves on other paths alone. Whether
    /// that is enough.
    fn reclaim(&mut self, locals: &[SocketAddr], remote: &Remote) -> bool {
        let wanted: Vec<Path> = paths(locals.iter().copied(), remote).collect();
        if wanted.is_empty() || wanted.iter().any(|path| self.owners.contains_key(path)) {
            return false;
        }
        for path in wanted {
            self.claims.remove(&path);
        }
        true
    }

    /// Remembers where a connection may be, for handshakes that overtake the proof.
    pub(super) fn note_unproven(&mut self, key: Key, path: Path) {
        if self.owners.contains_key(&path) || self.unproven.contains_key(&path) {
            return;
        }
        let Some(slot) = self.peers.get_mut(key) else { return };
        if slot.unproven.len() == MAX_UNPROVEN
            && let Some(oldest) = slot.unproven.pop_front()
        {
            self.unproven.remove(&oldest);
        }
        slot.unproven.push_back(path);
        self.unproven.insert(path, key);
    }

    /// A path is owned once a check on it was answered. Its first owner keeps it while it lives, and a connection that is
    /// proven there later is the next. An owner that is only closing gives way at once: the other side serves another
    /// connection from there, and receives nothing for the old one any more.
    pub(super) fn note_validated(&mut self, now: Instant, key: Key) {
        let Some(slot) = self.peers.get_mut(key) else { return };
        for path in slot.peer.take_validated() {
            let owner = self.owners.get(&path).copied().filter(|owner| *owner != key);
            if let Some(owner) = owner
                && let Some(leaving) = self.peers.get_mut(owner).filter(|slot| slot.peer.is_leaving())
            {
                tracing::debug!(connection = owner, "closing connection gives way to another one on the same path");
                leaving.peer.end_now(now);
                self.release(owner);
                self.list(owner);
            }
            self.own(key, path);
        }
    }

    fn own(&mut self, key: Key, path: Path) {
        let Some(slot) = self.peers.get_mut(key) else { return };
        match self.owners.entry(path) {
            Entry::Vacant(vacant) => {
                vacant.insert(key);
                slot.owned.push(path);
            }
            Entry::Occupied(owner) if *owner.get() == key => {}
            Entry::Occupied(_) => {
                if slot.awaited.len() < MAX_UNPROVEN && !slot.awaited.contains(&path) {
                    slot.awaited.push(path);
                }
            }
        }
    }

    /// Gives paths that a connection has owned to those that are next.
    pub(super) fn hand_over(&mut self, paths: &[Path]) {
        for path in paths.iter().filter(|path| !self.owners.contains_key(path)).copied().collect::<Vec<_>>() {
            let next = self.peers.iter_mut().find_map(|(key, slot)| {
                let at = slot.awaited.iter().position(|awaited| *awaited == path)?;
                slot.awaited.swap_remove(at);
                Some(key)
            });
            if let Some(next) = next {
                self.own(next, path);
            }
        }
    }

    /// Frees the paths of a connection that is over.
    fn release(&mut self, key: Key) {
        if let Some(slot) = self.peers.get_mut(key) {
            slot.certificate = None;
            Self::release_paths(key, slot, [&mut self.owners, &mut self.claims, &mut self.unproven]);
            slot.awaited.clear();
            let owned = std::mem::take(&mut slot.owned);
            self.hand_over(&owned);
        }
    }

    pub(super) fn release_paths(key: Key, slot: &Slot, maps: [&mut HashMap<Path, Key>; 3]) {
        for map in maps {
            for path in slot.owned.iter().chain(&slot.claimed).chain(&slot.unproven) {
                if map.get(path) == Some(&key) {
                    map.remove(path);
                }
            }
        }
    }
}

/// The paths that checks of an answer can take.
pub(super) fn paths(locals: impl Iterator<Item = SocketAddr>, remote: &Remote) -> impl Iterator<Item = Path> {
    locals.flat_map(move |local| {
        let named = remote.candidates.iter().map(|candidate| candidate.address);
        named.filter(move |named| may_reach(local, *named)).map(move |remote| Path { local, remote })
    })
}
