//! The mappings and the filter of one NAT, as RFC 4787 names them.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use rand::{RngExt as _, rngs::Xoshiro256PlusPlus};
use tokio::time::Instant;

use super::config::{NatBehavior, NatConfig};

/// NATs keep away from the well-known ports.
const FIRST_PORT: u16 = 1024;

/// How many entries a table has before it is looked through for expired ones.
const PURGE_AT: usize = 64;

/// The part of a remote endpoint on which a behaviour depends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Remote {
    Any,
    Address(IpAddr),
    Endpoint(SocketAddr),
}

impl NatBehavior {
    fn part(self, remote: SocketAddr) -> Remote {
        match self {
            Self::EndpointIndependent => Remote::Any,
            Self::AddressDependent => Remote::Address(remote.ip()),
            Self::AddressAndPortDependent => Remote::Endpoint(remote),
        }
    }
}

#[derive(Debug)]
struct Mapping {
    internal: SocketAddr,
    remote: Remote,
    used: Instant,
    /// The remote endpoints that are let in, each with when the internal endpoint last sent to it.
    permitted: HashMap<Remote, Instant>,
    purge_at: usize,
}

/// A NAT without its place in the network.
#[derive(Debug)]
pub(super) struct NatTable {
    mapping: NatBehavior,
    filtering: NatBehavior,
    port_preservation: bool,
    lifetime: Duration,
    rng: Xoshiro256PlusPlus,
    by_external: HashMap<SocketAddr, Mapping>,
    by_internal: HashMap<(SocketAddr, Remote), SocketAddr>,
    /// External ports from before the last rebinding.
    worn: HashSet<u16>,
    purge_at: usize,
}

impl NatTable {
    pub(super) fn new(config: &NatConfig, rng: Xoshiro256PlusPlus) -> Self {
        Self {
            mapping: config.mapping,
            filtering: config.filtering,
            port_preservation: config.port_preservation,
            lifetime: config.mapping_lifetime,
            rng,
            by_external: HashMap::new(),
            by_internal: HashMap::new(),
            worn: HashSet::new(),
            purge_at: PURGE_AT,
        }
    }

    /// Lets a datagram out, and says from which endpoint at `external_ip` it goes on. IPv6 addresses stay what they
    /// are: they are only filtered. `None` when no port is left.
    pub(super) fn outbound(
        &mut self,
        now: Instant,
        internal: SocketAddr,
        remote: SocketAddr,
        external_ip: IpAddr,
    ) -> Option<SocketAddr> {
        let behavior = if internal.is_ipv6() { NatBehavior::EndpointIndependent } else { self.mapping };
        let key = (internal, behavior.part(remote));
        let known = self.by_internal.get(&key).copied().filter(|external| self.is_alive(external, now));
        let external = match known {
            Some(external) => external,
            None => self.map(now, key, external_ip)?,
        };
        let permission = self.filtering.part(remote);
        let mapping = self.by_external.get_mut(&external)?;
        mapping.used = now;
        mapping.permitted.insert(permission, now);
        if mapping.permitted.len() > mapping.purge_at {
            mapping.permitted.retain(|_, used| now.saturating_duration_since(*used) <= self.lifetime);
            mapping.purge_at = (2 * mapping.permitted.len()).max(PURGE_AT);
        }
        Some(external)
    }

    /// The internal endpoint behind an external one, for any sender.
    pub(super) fn internal(&self, now: Instant, external: SocketAddr) -> Option<SocketAddr> {
        self.is_alive(&external, now).then(|| self.by_external.get(&external).map(|mapping| mapping.internal))?
    }

    /// The internal endpoint that a datagram of `remote` to `external` is let in to.
    pub(super) fn inbound(&self, now: Instant, external: SocketAddr, remote: SocketAddr) -> Option<SocketAddr> {
        let internal = self.internal(now, external)?;
        let permitted = self.by_external.get(&external)?.permitted.get(&self.filtering.part(remote))?;
        (now.saturating_duration_since(*permitted) <= self.lifetime).then_some(internal)
    }

    /// Forgets everything; new mappings get ports that were not in use before, as long as there are such.
    pub(super) fn rebind(&mut self) {
        self.worn = self.by_external.drain().map(|(external, _)| external.port()).collect();
        self.by_internal.clear();
    }

    /// Each internal endpoint with an external one.
    pub(super) fn mappings(&self, now: Instant) -> Vec<(SocketAddr, SocketAddr)> {
        let alive = self.by_external.iter().filter(|(external, _)| self.is_alive(external, now));
        let mut mappings: Vec<_> = alive.map(|(external, mapping)| (mapping.internal, *external)).collect();
        mappings.sort_unstable();
        mappings
    }

    /// How many mappings it keeps, expired ones included.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_external.len()
    }

    fn is_alive(&self, external: &SocketAddr, now: Instant) -> bool {
        self.by_external
            .get(external)
            .is_some_and(|mapping| now.saturating_duration_since(mapping.used) <= self.lifetime)
    }

    fn map(&mut self, now: Instant, key: (SocketAddr, Remote), external_ip: IpAddr) -> Option<SocketAddr> {
        if self.by_external.len() >= self.purge_at {
            self.purge(now);
        }
        let (internal, remote) = key;
        let external = if internal.is_ipv6() { internal } else { self.free(now, internal.port(), external_ip)? };
        let mapping = Mapping { internal, remote, used: now, permitted: HashMap::new(), purge_at: PURGE_AT };
        if let Some(expired) = self.by_external.insert(external, mapping) {
            self.by_internal.remove(&(expired.internal, expired.remote));
        }
        self.by_internal.insert(key, external);
        Some(external)
    }

    /// An endpoint that no living mapping has.
    fn free(&mut self, now: Instant, internal_port: u16, ip: IpAddr) -> Option<SocketAddr> {
        let start = self.rng.random_range(FIRST_PORT..=u16::MAX);
        let is_free = |port: u16| {
            let external = SocketAddr::new(ip, port);
            (port >= FIRST_PORT && !self.is_alive(&external, now)).then_some(external)
        };
        let is_fresh = |port: &u16| !self.worn.contains(port);
        if self.port_preservation
            && let Some(external) = Some(internal_port).filter(is_fresh).and_then(is_free)
        {
            return Some(external);
        }
        let ports = || (start..=u16::MAX).chain(FIRST_PORT..start);
        ports().filter(is_fresh).find_map(is_free).or_else(|| ports().find_map(is_free))
    }

    fn purge(&mut self, now: Instant) {
        let (by_internal, lifetime) = (&mut self.by_internal, self.lifetime);
        self.by_external.retain(|_, mapping| {
            let alive = now.saturating_duration_since(mapping.used) <= lifetime;
            if !alive {
                by_internal.remove(&(mapping.internal, mapping.remote));
            }
            alive
        });
        self.purge_at = (2 * self.by_external.len()).max(PURGE_AT);
    }
}
