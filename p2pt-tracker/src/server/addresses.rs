//! How many sockets each address has.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::swarms::owner;

/// Counts sockets by address, up to a limit for each.
#[derive(Debug)]
pub(super) struct Addresses {
    counts: Arc<Counts>,
    limit: usize,
}

/// An address is here as long as it has a socket.
#[derive(Debug, Default)]
struct Counts(Mutex<HashMap<IpAddr, usize>>);

impl Counts {
    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one socket, given back on drop.
#[derive(Debug)]
pub(super) struct Place {
    counts: Arc<Counts>,
    owner: IpAddr,
}

impl Addresses {
    pub(super) fn new(limit: usize) -> Self {
        Self { counts: Arc::default(), limit }
    }

    /// A place for one more socket of this address; `None` if it has as many as it may.
    pub(super) fn take(&self, ip: IpAddr) -> Option<Place> {
        let owner = owner(ip);
        let mut counts = self.counts.lock();
        let taken = counts.get(&owner).copied().unwrap_or(0);
        if taken >= self.limit {
            return None;
        }
        counts.insert(owner, taken + 1);
        Some(Place { counts: Arc::clone(&self.counts), owner })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.counts.lock();
        if let Some(taken) = counts.get_mut(&self.owner) {
            *taken -= 1;
            if *taken == 0 {
                counts.remove(&self.owner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_address_has_its_own_limit_and_gets_places_back() {
        let addresses = Addresses::new(2);
        let first = addresses.take(ip("192.0.2.1"));
        let _second = addresses.take(ip("192.0.2.1"));
        assert!(addresses.take(ip("192.0.2.1")).is_none());
        let other = addresses.take(ip("192.0.2.2"));
        assert!(other.is_some());
        drop(first);
        assert!(addresses.take(ip("192.0.2.1")).is_some());
        drop(other);
        assert_eq!(addresses.counts.lock().len(), 1, "an address without sockets is forgotten");
    }

    #[test]
    fn an_address_written_otherwise_is_the_same_and_a_network_of_ipv6_is_one() {
        let addresses = Addresses::new(1);
        let _v4 = addresses.take(ip("192.0.2.1"));
        assert!(addresses.take(ip("::ffff:192.0.2.1")).is_none());
        let _v6 = addresses.take(ip("2001:db8:0:1::1"));
        assert!(addresses.take(ip("2001:db8:0:1:ffff::2")).is_none());
        assert!(addresses.take(ip("2001:db8:0:2::1")).is_some());
    }
}
