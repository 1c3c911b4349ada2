//! Peers by number, and how much waits to be sent to each.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use p2pt::Peer;

use crate::Fault;

/// A peer that JavaScript knows by its number.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) peer: Peer,
    /// Bytes that were sent and that no channel has taken yet.
    buffered: AtomicUsize,
}

impl Known {
    pub(crate) fn buffered(&self) -> usize {
        self.buffered.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
struct State {
    /// How many numbers were given out.
    given: u32,
    by_number: HashMap<u32, Arc<Known>>,
    numbers: HashMap<Peer, u32>,
}

/// The peers of all swarms of a node.
#[derive(Debug, Default)]
pub(crate) struct Peers(Mutex<State>);

impl Peers {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of a peer, which is new if the peer is.
    fn number(&self, peer: &Peer) -> u32 {
        let state = &mut *self.state();
        *state.numbers.entry(peer.clone()).or_insert_with(|| {
            state.given += 1;
            let known = Known { peer: peer.clone(), buffered: AtomicUsize::new(0) };
            state.by_number.insert(state.given, Arc::new(known));
            state.given
        })
    }

    pub(crate) fn get(&self, number: u32) -> Result<Arc<Known>, Fault> {
        self.state().by_number.get(&number).cloned().ok_or_else(Fault::peer_gone)
    }

    /// Makes numbers mean nothing from now on.
    fn forget(&self, numbers: impl IntoIterator<Item = u32>) {
        let mut state = self.state();
        for number in numbers {
            if let Some(known) = state.by_number.remove(&number) {
                state.numbers.remove(&known.peer);
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.state().by_number.len()
    }
}

/// The peers of one swarm among those of its node. Those of which no end was read are forgotten when this is dropped: with
/// a swarm of which a program reads no events.
#[derive(Debug)]
pub(crate) struct Members {
    peers: Arc<Peers>,
    numbers: Mutex<HashSet<u32>>,
}

impl Members {
    pub(crate) fn new(peers: Arc<Peers>) -> Self {
        Self { peers, numbers: Mutex::default() }
    }

    fn numbers(&self) -> MutexGuard<'_, HashSet<u32>> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of a peer, which is new if the peer is.
    pub(crate) fn number(&self, peer: &Peer) -> u32 {
        let number = self.peers.number(peer);
        self.numbers().insert(number);
        number
    }

    /// What a peer is introduced by: its number, its id and its public key.
    pub(crate) fn who(&self, peer: &Peer) -> (u32, String, Option<String>) {
        (self.number(peer), peer.id().to_string(), peer.public_key().map(|key| key.to_string()))
    }

    /// The number of a peer that has gone, which means nothing from now on.
    pub(crate) fn forget(&self, peer: &Peer) -> u32 {
        let number = self.peers.number(peer);
        self.numbers().remove(&number);
        self.peers.forget([number]);
        number
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        let numbers = std::mem::take(&mut *self.numbers());
        self.peers.forget(numbers);
    }
}

/// Counts bytes among those that wait to be sent to a peer, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Buffered {
    known: Arc<Known>,
    bytes: usize,
}

impl Buffered {
    pub(crate) fn new(known: Arc<Known>, bytes: usize) -> Self {
        known.buffered.fetch_add(bytes, Ordering::Relaxed);
        Self { known, bytes }
    }
}

impl Drop for Buffered {
    fn drop(&mut self) {
        self.known.buffered.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
