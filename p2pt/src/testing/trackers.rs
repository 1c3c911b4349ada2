//! Trackers in memory, and the way of nodes to them.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use p2pt_tracker::{AnnounceUrl, ConnectError, Connector, Family, Route, ServerConfig, Socket, TrackerService};
use tokio::io::DuplexStream;
use tokio::task::JoinHandle;

use super::uplink::{Uplink, UplinkStream};
use crate::queue::lock;

/// How much a stream to a tracker buffers each way, in bytes.
const STREAM_BYTES: usize = 64 << 10;

/// Any number of trackers, each under its announce URL, that nodes reach over streams in memory with real WebSocket
/// framing.
///
/// A [`World`](super::World) has its own; programs that bring another network for the nodes themselves build on this.
/// Clones are the same trackers.
#[derive(Debug, Clone, Default)]
pub struct Trackers(Arc<Mutex<BTreeMap<AnnounceUrl, Service>>>);

type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Service {
    serve: Box<dyn Fn(DuplexStream, Family) -> Serving + Send>,
    /// Each with the way that it takes.
    streams: Vec<(Uplink, JoinHandle<()>)>,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("streams", &self.streams.len()).finish_non_exhaustive()
    }
}

impl Trackers {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts this library's own tracker at `url`, or starts it again with its memory lost.
    ///
    /// # Panics
    /// If `url` is no announce URL, and outside a tokio runtime.
    pub fn start(&self, url: &str, config: ServerConfig) -> TrackerService {
        let tracker = TrackerService::new(config);
        let serving = tracker.clone();
        self.serve(url, move |stream, _| serving.serve(stream));
        tracker
    }

    /// Starts another kind of tracker at `url`: `serve` is called with each new stream and the address family over which
    /// the node reaches it, and serves it to its end. What was at `url` before [crashes](Self::crash).
    ///
    /// # Panics
    /// If `url` is no announce URL.
    pub fn serve<F>(&self, url: &str, serve: impl Fn(DuplexStream, Family) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.crash(url);
        let serve = Box::new(move |stream, family| Box::pin(serve(stream, family)) as Serving);
        lock(&self.0).insert(announce_url(url), Service { serve, streams: Vec::new() });
    }

    /// Ends a tracker abruptly, as a crash does: its sockets just end, and new ones are refused. Without effect if there
    /// is none.
    ///
    /// # Panics
    /// If `url` is no announce URL.
    pub fn crash(&self, url: &str) {
        if let Some(service) = lock(&self.0).remove(&announce_url(url)) {
            service.streams.iter().for_each(|(_, stream)| stream.abort());
        }
    }

    /// How many sockets all trackers hold.
    pub fn sockets(&self) -> usize {
        let services = lock(&self.0);
        let streams = services.values().flat_map(|service| &service.streams);
        streams.filter(|(_, stream)| !stream.is_finished()).count()
    }

    /// Ends every socket of a node abruptly, on the side of the trackers.
    pub fn drop_sockets(&self, uplink: &Uplink) {
        for service in lock(&self.0).values() {
            let own = service.streams.iter().filter(|(of, _)| of == uplink);
            own.for_each(|(_, stream)| stream.abort());
        }
    }

    /// A node's connector, for [`Builder::connector`](crate::Builder::connector): it has addresses of these families, the
    /// preferred one first, and reaches the trackers by `uplink`.
    pub fn connector(&self, families: &[Family], uplink: &Uplink) -> Arc<dyn Connector> {
        let (trackers, families, uplink) = (self.clone(), families.to_vec(), uplink.clone());
        Arc::new(MemoryConnector { trackers, families, uplink })
    }
}

fn announce_url(url: &str) -> AnnounceUrl {
    url.parse().unwrap_or_else(|error| panic!("{url:?} is no announce URL: {error}"))
}

#[derive(Debug)]
struct MemoryConnector {
    trackers: Trackers,
    families: Vec<Family>,
    uplink: Uplink,
}

#[async_trait]
impl Connector for MemoryConnector {
    async fn connect(&self, url: &AnnounceUrl, family: Option<Family>) -> Result<Socket, ConnectError> {
        self.uplink.passed().await?;
        let no_address = || ConnectError::Lookup(format!("no address for {family:?}"));
        let mut families = self.families.iter().copied();
        let family = families.find(|own| family.is_none_or(|family| family == *own)).ok_or_else(no_address)?;
        let stream = {
            let mut services = lock(&self.trackers.0);
            let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
            let service = services.get_mut(url).ok_or(refused)?;
            let (stream, far) = tokio::io::duplex(STREAM_BYTES);
            let serving = tokio::spawn((service.serve)(far, family));
            service.streams.retain(|(_, stream)| !stream.is_finished());
            service.streams.push((self.uplink.clone(), serving));
            UplinkStream::new(stream, self.uplink.clone())
        };
        let route = Route::new(family, self.families.len() > 1);
        Ok(Socket::handshake(url, stream).await?.with_route(route))
    }
}
