//! The addresses of STUN and TURN servers.
//!
//! The stack would look a server's name up on the task that drives the connection, before it offers even its host
//! candidates; a name server that does not answer would hold an offer up for as long as the system's resolver tries. So
//! names are looked up here, within the gathering deadline, remembered, and handed to the stack as numbers.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use webrtc::peer_connection::RTCIceServer;

use super::{IceServer, pulse::lock};

/// How long a looked-up address is used.
const REMEMBER: Duration = Duration::from_secs(120);

/// For how long a failed look-up is not repeated, and what was known before is used.
const REMEMBER_FAILURE: Duration = Duration::from_secs(10);

/// How long a look-up may go on after the offer that wanted it has left.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(10);

/// STUN's and TURN's port where a URL has none (RFC 7064, RFC 7065).
const DEFAULT_PORT: u16 = 3478;

type Looking = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// What is known of a host.
#[derive(Default)]
struct Known {
    addresses: Vec<SocketAddr>,
    until: Option<Instant>,
    /// The look-up under way: cancelled when it ends, however it does.
    looking: Option<CancellationToken>,
}

/// Looks up server names, each once for all who want it, and remembers them.
pub(super) struct Servers {
    known: Arc<Mutex<HashMap<String, Known>>>,
    resolver: Box<dyn Fn(String) -> Looking + Send + Sync>,
}

impl Default for Servers {
    fn default() -> Self {
        Self::new(|host| Box::pin(async { Ok(tokio::net::lookup_host(host).await?.collect()) }))
    }
}

impl Servers {
    fn new(resolver: impl Fn(String) -> Looking + Send + Sync + 'static) -> Self {
        Self { known: Arc::default(), resolver: Box::new(resolver) }
    }

    /// `servers` with numeric addresses; those that could not be looked up by `deadline` are left out.
    pub(super) async fn resolve(
        &self,
        servers: &[IceServer],
        deadline: Instant,
        tasks: &TaskTracker,
        shutdown: &CancellationToken,
    ) -> Vec<RTCIceServer> {
        let urls: Vec<Url<'_>> = servers
            .iter()
            .flat_map(|server| server.urls.iter().filter_map(move |url| Url::parse(url, server)))
            .collect();
        let lookups: Vec<_> =
            urls.iter().filter_map(|url| self.look_up(url.host_and_port(), tasks, shutdown)).collect();
        for lookup in lookups {
            // One that takes longer goes on by itself and is known to the next offer.
            let _ = tokio::time::timeout_at(deadline, lookup.cancelled()).await;
        }
        let known = lock(&self.known);
        urls.iter()
            .flat_map(|url| url.numeric(known.get(&url.host_and_port()).map_or(&[], |known| &known.addresses)))
            .collect()
    }

    /// What ends with the look-up of a host, unless there is no need of one.
    fn look_up(&self, host: String, tasks: &TaskTracker, shutdown: &CancellationToken) -> Option<CancellationToken> {
        let mut hosts = lock(&self.known);
        let known = hosts.entry(host.clone()).or_default();
        if known.until.is_some_and(|until| Instant::now() < until) {
            return None;
        }
        if let Some(looking) = known.looking.clone().filter(|looking| !looking.is_cancelled()) {
            return Some(looking);
        }
        let looking = CancellationToken::new();
        known.looking = Some(looking.clone());
        let ended = looking.clone().drop_guard();
        let (hosts, found, shutdown) = (self.known.clone(), (self.resolver)(host.clone()), shutdown.clone());
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
            known.until = Some(Instant::now() + remember);
            known.looking = None;
        });
        Some(looking)
    }
}

/// `scheme:host[:port][?query]`.
#[derive(Debug)]
struct Url<'a> {
    scheme: &'a str,
    host: &'a str,
    port: u16,
    query: &'a str,
    server: &'a IceServer,
}

impl<'a> Url<'a> {
    fn parse(url: &'a str, server: &'a IceServer) -> Option<Self> {
        let parsed = url.split_once(':').and_then(|(scheme, rest)| {
            let query = rest.find('?').map_or("", |at| &rest[at..]);
            let authority = &rest[..rest.len() - query.len()];
            let (host, port) = match authority.rsplit_once(':') {
                Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
                _ => (authority, DEFAULT_PORT),
            };
            let host = host.trim_start_matches('[').trim_end_matches(']');
            (!host.is_empty()).then_some(Self { scheme, host, port, query, server })
        });
        if parsed.is_none() {
            tracing::warn!(url, "not the URL of an ICE server");
        }
        parsed
    }

    fn host_and_port(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// This server at the first address of each family among `found`.
    fn numeric(&self, found: &[SocketAddr]) -> Vec<RTCIceServer> {
        let first = |v4: bool| found.iter().find(|address| address.is_ipv4() == v4);
        [first(true), first(false)]
            .into_iter()
            .flatten()
            .map(|address| RTCIceServer {
                urls: vec![format!("{}:{address}{}", self.scheme, self.query)],
                username: self.server.username.clone(),
                credential: self.server.credential.clone(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::*;

    fn numeric(url: &str, found: &[&str]) -> Vec<String> {
        let server = IceServer::turn(url, "user", "word");
        let found: Vec<SocketAddr> = found.iter().map(|address| address.parse().unwrap()).collect();
        Url::parse(url, &server)
            .map_or(Vec::new(), |url| url.numeric(&found))
            .into_iter()
            .flat_map(|s| s.urls)
            .collect()
    }

    #[test]
    fn names_become_numbers_of_both_families() {
        let found = ["203.0.113.1:19302", "203.0.113.2:19302", "[2001:db8::1]:19302"];
        assert_eq!(numeric("stun:stun.example:19302", &found), ["stun:203.0.113.1:19302", "stun:[2001:db8::1]:19302"]);
        assert_eq!(
            numeric("turn:relay.example?transport=udp", &["203.0.113.1:3478"]),
            ["turn:203.0.113.1:3478?transport=udp"]
        );
        assert!(numeric("stun:stun.example", &[]).is_empty());
    }

    #[test]
    fn ports_and_literals_are_understood() {
        let server = IceServer::stun("");
        for (url, host) in [
            ("stun:a.example", Some("a.example:3478")),
            ("stun:a.example:1", Some("a.example:1")),
            ("stun:[2001:db8::1]", Some("[2001:db8::1]:3478")),
            ("stun:[2001:db8::1]:7", Some("[2001:db8::1]:7")),
            ("stun:", None),
            ("stun", None),
            ("stun:a.example:port", None),
        ] {
            assert_eq!(Url::parse(url, &server).map(|url| url.host_and_port()).as_deref(), host, "{url}");
        }
    }

    /// A name server that takes two seconds, or does not answer at all.
    #[derive(Clone, Default)]
    struct NameServer {
        asked: Arc<AtomicUsize>,
        broken: Arc<AtomicBool>,
    }

    struct World {
        servers: Servers,
        name_server: NameServer,
        tasks: TaskTracker,
        shutdown: CancellationToken,
    }

    impl World {
        fn new() -> Self {
            let name_server = NameServer::default();
            let NameServer { asked, broken } = name_server.clone();
            let servers = Servers::new(move |_| {
                asked.fetch_add(1, Ordering::Relaxed);
                let broken = broken.load(Ordering::Relaxed);
                Box::pin(async move {
                    if broken {
                        std::future::pending::<()>().await;
                    }
                    tokio::time::sleep(Duration::from_secs(2)).await;
                    Ok(vec!["203.0.113.1:3478".parse().unwrap()])
                })
            });
            Self { servers, name_server, tasks: TaskTracker::new(), shutdown: CancellationToken::new() }
        }

        /// How many servers an offer gets that waits so long for them.
        async fn offer(&self, waits: Duration) -> usize {
            let servers = [IceServer::stun("stun:a.example")];
            self.servers.resolve(&servers, Instant::now() + waits, &self.tasks, &self.shutdown).await.len()
        }

        fn asked(&self) -> usize {
            self.name_server.asked.load(Ordering::Relaxed)
        }
    }

    const SHORT: Duration = Duration::from_millis(300);
    const LONG: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_host_is_looked_up_once_for_all() {
        let world = World::new();
        let start = Instant::now();
        let found = tokio::join!(world.offer(SHORT), world.offer(LONG), world.offer(LONG));
        assert_eq!((found, world.asked()), ((0, 1, 1), 1));
        assert_eq!(start.elapsed(), Duration::from_secs(2));
        assert_eq!((world.offer(SHORT).await, world.asked()), (1, 1));
        tokio::time::sleep(REMEMBER).await;
        assert_eq!((world.offer(LONG).await, world.asked()), (1, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_name_server_is_asked_seldom_and_what_was_known_stays() {
        let world = World::new();
        world.name_server.broken.store(true, Ordering::Relaxed);
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(90) {
            assert_eq!(world.offer(SHORT).await, 0);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(world.asked(), 5, "a look-up takes ten seconds, and is not repeated for ten");

        world.name_server.broken.store(false, Ordering::Relaxed);
        tokio::time::sleep(REMEMBER_FAILURE + LOOK_UP_TIMEOUT).await;
        assert_eq!(world.offer(LONG).await, 1);
        world.name_server.broken.store(true, Ordering::Relaxed);
        tokio::time::sleep(REMEMBER).await;
        assert_eq!(world.offer(LONG).await, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_up_ends_with_its_transport() {
        let world = World::new();
        world.name_server.broken.store(true, Ordering::Relaxed);
        world.offer(SHORT).await;
        world.shutdown.cancel();
        world.tasks.close();
        let start = Instant::now();
        world.tasks.wait().await;
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
