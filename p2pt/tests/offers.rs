//! A node whose transport cannot make offers says so, and goes on.

use std::sync::Arc;
use std::time::Duration;

use p2pt::transport::{PendingAnswer, PendingOffer};
use p2pt::{Event, P2pt, Transport, TransportError};
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
