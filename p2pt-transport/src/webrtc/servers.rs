//! The addresses of STUN and TURN servers.
//!
//! The stack would look a server's name up on the task that drives the connection, before it offers even its host
//! candidates; a name server that does not answer would hold an offer up for as long as the system's resolver tries. So
//! names are looked up here, within the gathering deadline, remembered, and handed to the stack as numbers.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use webrtc::peer_connection::RTCIceServer;

use super::{IceServer, pulse::lock};

/// How long a looked-up address is used, and for how long a failed look-up is not repeated.
const REMEMBER: Duration = Duration::from_secs(120);

/// STUN's and TURN's port where a URL has none (RFC 7064, RFC 7065).
const DEFAULT_PORT: u16 = 3478;

type Known = HashMap<String, (Instant, Vec<SocketAddr>)>;

/// Looks up server names and remembers them.
#[derive(Debug, Default)]
pub(super) struct Servers {
    known: Arc<Mutex<Known>>,
}

impl Servers {
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
        let mut lookups = Vec::new();
        {
            let known = lock(&self.known);
            for url in &urls {
                let host = url.host_and_port();
                let fresh = known.get(&host).is_some_and(|(since, _)| since.elapsed() < REMEMBER);
                if !fresh {
                    lookups.push(self.look_up(host, tasks, shutdown.clone()));
                }
            }
        }
        for lookup in lookups {
            // One that takes longer goes on by itself and is known to the next offer.
            let _ = tokio::time::timeout_at(deadline, lookup).await;
        }
        let known = lock(&self.known);
        urls.iter()
            .flat_map(|url| url.numeric(known.get(&url.host_and_port()).map_or(&[], |(_, found)| found)))
            .collect()
    }

    fn look_up(&self, host: String, tasks: &TaskTracker, shutdown: CancellationToken) -> tokio::task::JoinHandle<()> {
        let known = self.known.clone();
        tasks.spawn(async move {
            let found = tokio::select! {
                found = tokio::net::lookup_host(&host) => found.map(Iterator::collect),
                () = tokio::time::sleep(LOOK_UP_TIMEOUT) => Err(std::io::ErrorKind::TimedOut.into()),
                () = shutdown.cancelled() => return,
            }
            .unwrap_or_else(|error| {
                tracing::debug!(host, %error, "cannot look up an ICE server");
                Vec::new()
            });
            lock(&known).insert(host, (Instant::now(), found));
        })
    }
}

/// How long a look-up may go on after the offer that wanted it has left.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(10);

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
}
