//! The addresses of STUN and TURN servers.
//!
//! A name server that does not answer must not hold an offer up for as long as the system's resolver tries. So names are
//! looked up within the gathering deadline, each once for all offers, and remembered.

use std::{
    collections::{HashMap, HashSet},
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Network,
    reachability::{Service, SharedReachability},
    relay::RelayServer,
};
use crate::IceServer;

/// How long a looked-up address is used.
const REMEMBER: Duration = Duration::from_secs(120);

/// For how long a failed look-up is not repeated, and what was known before is used.
const REMEMBER_FAILURE: Duration = Duration::from_secs(10);

/// How long a look-up may go on after the offer that wanted it has left.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(10);

/// STUN's and TURN's port where a URL has none (RFC 7064, RFC 7065).
const DEFAULT_PORT: u16 = 3478;

/// Servers by their addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Servers {
    /// Those that tell a socket's reflexive address.
    pub(crate) stun: Vec<SocketAddr>,
    /// Those that relay.
    pub(crate) turn: Vec<RelayServer>,
}

/// What is known of a host.
#[derive(Debug, Default)]
struct Known {
    addresses: Vec<SocketAddr>,
    until: Option<Instant>,
    /// The URLs that name it, and what for.
    urls: Vec<(String, Service)>,
    /// The look-up under way: cancelled when it ends, however it does.
    looking: Option<CancellationToken>,
}

/// Looks up server names, each once for all who want it, and remembers them.
#[derive(Debug)]
pub(crate) struct ServerNames {
    network: Arc<dyn Network>,
    known: Arc<Mutex<HashMap<String, Known>>>,
    reachability: Arc<SharedReachability>,
    /// URLs that were warned of.
    warned: Mutex<HashSet<String>>,
}

/// Locks a mutex whose holders never leave its contents half-changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ServerNames {
    /// Nothing is known yet; `network` looks it up.
    pub(crate) fn new(network: Arc<dyn Network>, reachability: Arc<SharedReachability>) -> Self {
        Self { network, known: Arc::default(), reachability, warned: Mutex::default() }
    }

    /// The addresses of `servers`; those that could not be looked up by `deadline` are left out.
    pub(crate) async fn resolve(
        &self,
        servers: &[IceServer],
        deadline: Instant,
        tasks: &TaskTracker,
        shutdown: &CancellationToken,
    ) -> Servers {
        let urls: Vec<(Url<'_>, &IceServer)> = servers
            .iter()
            .flat_map(|server| server.urls.iter().filter_map(move |url| Some((self.parse(url)?, server))))
            .collect();
        let lookups: Vec<_> = urls.iter().filter_map(|(url, _)| self.look_up(url, tasks, shutdown)).collect();
        for lookup in lookups {
            // One that takes longer goes on by itself and is known to the next offer.
            let _ = tokio::time::timeout_at(deadline, lookup.cancelled()).await;
        }
        let known = lock(&self.known);
        let mut resolved = Servers::default();
        for (url, server) in urls {
            let found = known.get(&url.host_and_port()).map_or(&[][..], |known| &known.addresses);
            let used = resolved.add(&url, server, found);
            if !used.is_empty() {
                self.reachability.note(|reachability| reachability.looked_up(url.text, url.service, &used));
            }
        }
        resolved
    }

    /// Parses a URL, and warns once of one that is of no use.
    fn parse<'a>(&self, url: &'a str) -> Option<Url<'a>> {
        let parsed = Url::parse(url);
        if let Err(reason) = &parsed
            && lock(&self.warned).insert(url.to_owned())
        {
            tracing::warn!(url, reason, "ICE server skipped");
        }
        parsed.ok()
    }

    /// What ends with the look-up of a host, unless there is no need of one.
    fn look_up(&self, url: &Url<'_>, tasks: &TaskTracker, shutdown: &CancellationToken) -> Option<CancellationToken> {
        let host = url.host_and_port();
        let mut hosts = lock(&self.known);
        let known = hosts.entry(host.clone()).or_default();
        if !known.urls.iter().any(|(known, _)| known == url.text) {
            known.urls.push((url.text.to_owned(), url.service));
        }
        if known.until.is_some_and(|until| Instant::now() < until) {
            return None;
        }
        if let Some(looking) = known.looking.clone().filter(|looking| !looking.is_cancelled()) {
            return Some(looking);
        }
        let looking = CancellationToken::new();
        known.looking = Some(looking.clone());
        let ended = looking.clone().drop_guard();
        let (hosts, found, shutdown) = (self.known.clone(), self.network.resolve(host.clone()), shutdown.clone());
        let reachability = self.reachability.clone();
        tasks.spawn(async move {
            let _ended = ended;
            let found = tokio::select! {
                found = found => found,
                () = tokio::time::sleep(LOOK_UP_TIMEOUT) => Err(io::ErrorKind::TimedOut.into()),
                () = shutdown.cancelled() => Err(io::ErrorKind::Interrupted.into()),
            };
            let mut hosts = lock(&hosts);
            let Some(known) = hosts.get_mut(&host) else { return };
            let remember = match found {
                Ok(addresses) => {
                    known.addresses = addresses;
                    REMEMBER
                }
                Err(error) => {
                    tracing::debug!(host, %error, "cannot look up an ICE server");
                    REMEMBER_FAILURE
                }
            };
            if known.addresses.is_empty() && !shutdown.is_cancelled() {
                reachability.note(|reachability| {
                    known.urls.iter().for_each(|(url, service)| reachability.looked_up(url, *service, &[]));
                });
            }
            known.until = Some(Instant::now() + remember);
            known.looking = None;
        });
        Some(looking)
    }
}

impl Servers {
    /// Adds the server of `url` at the first address of each family among those found, and returns these. The scope of an
    /// address is left out, as that of each address in the endpoint is.
    fn add(&mut self, url: &Url<'_>, server: &IceServer, found: &[SocketAddr]) -> Vec<SocketAddr> {
        let mut used = Vec::new();
        for v4 in [true, false] {
            let Some(address) = found.iter().find(|address| address.is_ipv4() == v4) else { continue };
            let address = SocketAddr::new(address.ip(), address.port());
            used.push(address);
            match url.service {
                Service::Stun if !self.stun.contains(&address) => self.stun.push(address),
                Service::Turn if !self.turn.iter().any(|known| known.address == address) => {
                    let (username, credential) = (server.username.clone(), server.credential.clone());
                    self.turn.push(RelayServer { address, username, credential });
                }
                Service::Stun | Service::Turn => {}
            }
        }
        used
    }
}

/// `scheme:host[:port][?query]`.
#[derive(Debug)]
struct Url<'a> {
    /// As it was configured.
    text: &'a str,
    service: Service,
    host: &'a str,
    port: u16,
}

impl<'a> Url<'a> {
    /// Parses a URL, or says why its server is of no use.
    fn parse(url: &'a str) -> Result<Self, &'static str> {
        const MALFORMED: &str = "it is not stun:host[:port] or turn:host[:port]";
        let (scheme, rest) = url.split_once(':').ok_or(MALFORMED)?;
        let (authority, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().map_err(|_| MALFORMED)?),
            _ => (authority, DEFAULT_PORT),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(MALFORMED);
        }
        let is = |name: &str| scheme.eq_ignore_ascii_case(name);
        let service = if is("stun") {
            Service::Stun
        } else if is("turn") {
            Service::Turn
        } else if is("stuns") || is("turns") {
            return Err("servers are asked over UDP, not TLS");
        } else {
            return Err(MALFORMED);
        };
        match query.split('&').find_map(|part| part.strip_prefix("transport=")) {
            Some(transport) if !transport.eq_ignore_ascii_case("udp") => Err("servers are asked over UDP, not TCP"),
            _ => Ok(Self { text: url, service, host, port }),
        }
    }

    fn host_and_port(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::*;
    use crate::webrtc::{DatagramSocket, Resolving};

    fn at(address: &str) -> SocketAddr {
        address.parse().expect("an address")
    }

    fn resolved(url: &str, found: &[&str]) -> Servers {
        let server = IceServer::turn(url, "user", "word");
        let found: Vec<SocketAddr> = found.iter().map(|address| at(address)).collect();
        let mut servers = Servers::default();
        servers.add(&Url::parse(url).expect("a URL"), &server, &found);
        servers
    }

    #[test]
    fn names_become_addresses_of_both_families() {
        let found = ["203.0.113.1:19302", "203.0.113.2:19302", "[2001:db8::1]:19302"];
        let servers = resolved("stun:stun.example:19302", &found);
        assert_eq!(servers.stun, [at("203.0.113.1:19302"), at("[2001:db8::1]:19302")]);
        assert!(servers.turn.is_empty());
        let servers = resolved("turn:relay.example?transport=udp", &["203.0.113.1:3478"]);
        let (username, credential) = ("user".to_owned(), "word".to_owned());
        assert_eq!(servers.turn, [RelayServer { address: at("203.0.113.1:3478"), username, credential }]);
        assert!(servers.stun.is_empty());
        assert_eq!(resolved("stun:stun.example", &[]), Servers::default());
        let scoped = SocketAddr::V6(std::net::SocketAddrV6::new("fe80::1".parse().expect("an address"), 1, 2, 3));
        let mut servers = Servers::default();
        servers.add(&Url::parse("stun:a").expect("a URL"), &IceServer::stun("stun:a"), &[scoped, scoped]);
        assert_eq!(servers.stun, [at("[fe80::1]:1")]);
    }

    #[test]
    fn ports_and_literals_are_understood() {
        for (url, host) in [
            ("stun:a.example", Some("a.example:3478")),
            ("stun:a.example:1", Some("a.example:1")),
            ("STUN:a.example:1", Some("a.example:1")),
            ("stun:[2001:db8::1]", Some("[2001:db8::1]:3478")),
            ("stun:[2001:db8::1]:7", Some("[2001:db8::1]:7")),
            ("turn:a.example", Some("a.example:3478")),
            ("turn:a.example:1?transport=UDP", Some("a.example:1")),
            ("turn:a.example?transport=tcp", None),
            ("turns:a.example", None),
            ("stuns:a.example", None),
            ("http:a.example", None),
            ("stun:", None),
            ("stun", None),
            ("stun:a.example:port", None),
        ] {
            assert_eq!(Url::parse(url).ok().map(|url| url.host_and_port()).as_deref(), host, "{url}");
        }
    }

    /// A name server that takes two seconds, or does not answer at all.
    #[derive(Debug, Clone, Default)]
    struct NameServer {
        asked: Arc<AtomicUsize>,
        broken: Arc<AtomicBool>,
    }

    impl Network for NameServer {
        fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
            Ok(Vec::new())
        }

        fn bind(&self, _: SocketAddr, _: usize) -> io::Result<Arc<dyn DatagramSocket>> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn resolve(&self, _: String) -> Resolving {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let broken = self.broken.load(Ordering::Relaxed);
            Box::pin(async move {
                if broken {
                    std::future::pending::<()>().await;
                }
                tokio::time::sleep(Duration::from_secs(2)).await;
                Ok(vec![at("203.0.113.1:3478")])
            })
        }
    }

    struct Harness {
        names: ServerNames,
        name_server: NameServer,
        tasks: TaskTracker,
        shutdown: CancellationToken,
    }

    impl Harness {
        fn new() -> Self {
            let name_server = NameServer::default();
            let names = ServerNames::new(Arc::new(name_server.clone()), Arc::default());
            Self { names, name_server, tasks: TaskTracker::new(), shutdown: CancellationToken::new() }
        }

        async fn resolve(&self, url: &str, waits: Duration) -> Servers {
            let servers = [IceServer::stun(url)];
            self.names.resolve(&servers, Instant::now() + waits, &self.tasks, &self.shutdown).await
        }

        /// How many servers an offer gets that waits so long for them.
        async fn offer(&self, waits: Duration) -> usize {
            self.resolve("stun:a.example", waits).await.stun.len()
        }

        fn asked(&self) -> usize {
            self.name_server.asked.load(Ordering::Relaxed)
        }
    }

    const SHORT: Duration = Duration::from_millis(300);
    const LONG: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_host_is_looked_up_once_for_all() {
        let harness = Harness::new();
        let start = Instant::now();
        let found = tokio::join!(harness.offer(SHORT), harness.offer(LONG), harness.offer(LONG));
        assert_eq!((found, harness.asked()), ((0, 1, 1), 1));
        assert_eq!(start.elapsed(), Duration::from_secs(2));
        assert_eq!((harness.offer(SHORT).await, harness.asked()), (1, 1));
        tokio::time::sleep(REMEMBER).await;
        assert_eq!((harness.offer(LONG).await, harness.asked()), (1, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_name_server_is_asked_seldom_and_what_was_known_stays() {
        let harness = Harness::new();
        harness.name_server.broken.store(true, Ordering::Relaxed);
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(90) {
            assert_eq!(harness.offer(SHORT).await, 0);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(harness.asked(), 5, "a look-up takes ten seconds, and is not repeated for ten");

        harness.name_server.broken.store(false, Ordering::Relaxed);
        tokio::time::sleep(REMEMBER_FAILURE + LOOK_UP_TIMEOUT).await;
        assert_eq!(harness.offer(LONG).await, 1);
        harness.name_server.broken.store(true, Ordering::Relaxed);
        tokio::time::sleep(REMEMBER).await;
        assert_eq!(harness.offer(LONG).await, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_up_ends_with_its_transport() {
        let harness = Harness::new();
        harness.name_server.broken.store(true, Ordering::Relaxed);
        harness.offer(SHORT).await;
        harness.shutdown.cancel();
        harness.tasks.close();
        let start = Instant::now();
        harness.tasks.wait().await;
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn servers_not_over_udp_are_skipped_and_warned_of_once() {
        let harness = Harness::new();
        for url in ["turns:a.example", "turn:a.example?transport=tcp", "turns:a.example", "nonsense"] {
            assert_eq!(harness.resolve(url, LONG).await, Servers::default());
        }
        assert_eq!(harness.asked(), 0);
        assert_eq!(lock(&harness.names.warned).len(), 3);
    }
}
