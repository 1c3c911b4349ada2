//! A node whose transport cannot make offers, or has servers that are of no use, says so, and goes on.

use std::sync::Arc;
use std::time::Duration;

use p2pt::transport::{PendingAnswer, PendingOffer};
use p2pt::{Event, P2pt, ServerProblem, ServerWarning, Transport, TransportError};
use tokio::sync::Mutex;
use tokio::time::timeout;

#[derive(Debug)]
struct NoAddress;

#[async_trait::async_trait]
impl Transport for NoAddress {
    async fn offer(&self) -> Result<Box<dyn PendingOffer>, TransportError> {
        Err(TransportError::NoCandidate)
    }

    async fn answer(&self, _offer_sdp: &str) -> Result<Box<dyn PendingAnswer>, TransportError> {
        Err(TransportError::NoCandidate)
    }

    async fn shutdown(&self) {}
}

/// A transport with servers that are of no use.
#[derive(Debug)]
struct Lonely(Mutex<Vec<&'static str>>);

#[async_trait::async_trait]
impl Transport for Lonely {
    async fn offer(&self) -> Result<Box<dyn PendingOffer>, TransportError> {
        Err(TransportError::NoCandidate)
    }

    async fn answer(&self, _offer_sdp: &str) -> Result<Box<dyn PendingAnswer>, TransportError> {
        Err(TransportError::NoCandidate)
    }

    async fn warning(&self) -> ServerWarning {
        match self.0.lock().await.pop() {
            Some(url) => ServerWarning::new(url, ServerProblem::Silent),
            None => std::future::pending().await,
        }
    }

    async fn shutdown(&self) {}
}

#[tokio::test(start_paused = true)]
async fn each_server_of_no_use_is_an_event_of_its_own() {
    let transport = Arc::new(Lonely(Mutex::new(vec!["turn:b.test", "stun:a.test"])));
    let (swarm, mut events) = P2pt::builder().transport(transport).join("room").await.expect("a node starts");
    // Not read at once: one does not take the place of the other.
    tokio::time::sleep(Duration::from_secs(10)).await;
    for url in ["stun:a.test", "turn:b.test"] {
        let event = timeout(Duration::from_secs(30), events.next()).await.expect("in time");
        assert!(matches!(&event, Some(Event::ServerWarning(warning)) if warning.url == url), "{event:?}");
    }
    assert!(timeout(Duration::from_secs(3600), events.next()).await.is_err(), "no more than that");
    swarm.shutdown().await;
}

#[tokio::test]
async fn an_offer_that_cannot_be_made_is_an_event() {
    let builder = P2pt::builder().tracker("ws://127.0.0.1:9").transport(Arc::new(NoAddress));
    let (swarm, mut events) = builder.join("room").await.expect("a node starts");
    let failed = async {
        loop {
            if let Some(Event::OfferFailed(error)) = events.next().await {
                return error;
            }
        }
    };
    let error = timeout(Duration::from_secs(30), failed).await.expect("in time");
    assert!(matches!(*error, TransportError::NoCandidate));
    swarm.shutdown().await;
    let end = async { while events.next().await.is_some() {} };
    timeout(Duration::from_secs(30), end).await.expect("the stream ends");
}
