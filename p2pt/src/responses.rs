//! One request to many peers.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use futures_util::future::poll_fn;
use futures_util::stream::FuturesUnordered;
use p2pt_messaging::Payload;

use crate::send_queue::Outgoing;
use crate::{Message, Peer, Request, RequestError};

type Response = (Peer, Result<Message, RequestError>);

/// The responses to [`Swarm::request_many`](crate::Swarm::request_many), each as it comes: a stream. Ends when each
/// peer has responded or failed to, which takes the requests' timeout at most. Dropping it ends the requests.
///
/// Its `Debug` says how large the request is, and does not print it.
#[must_use = "the requests are queued when the first response is asked for, and dropping this ends them"]
pub struct Responses {
    /// Until it is queued.
    payload: Payload,
    timeout: Option<Duration>,
    /// The peers to be asked.
    peers: Vec<Peer>,
    pending: FuturesUnordered<Pin<Box<dyn Future<Output = Response> + Send>>>,
}

impl Responses {
    pub(crate) fn new(peers: Vec<Peer>, payload: Payload) -> Self {
        Self { payload, timeout: None, peers, pending: FuturesUnordered::new() }
    }

    /// How long each response may take, instead of the node's [request timeout](crate::Builder::request_timeout) (30 s
    /// unless configured). Counts from when the requests are queued, and has no effect afterwards.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The next response or failure, and whose it is; `None` after the last. Cancel-safe.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// # let (swarm, mut events) = world.join("room").await;
    /// # let (_bob, mut bob_events) = world.join("room").await;
    /// # tokio::spawn(async move {
    /// #     while let Some(event) = bob_events.next().await {
    /// #         if let p2pt::Event::Message(message) = event {
    /// #             let _ = message.queue_response("fine, thanks");
    /// #         }
    /// #     }
    /// # });
    /// # let peer = swarm.wait_for_peer().await?;
    /// let mut responses = swarm.request_many("how are you?");
    /// while let Some((peer, response)) = responses.next().await {
    ///     match response {
    ///         Ok(message) => println!("{}: {:?}", peer.id(), message.text()),
    ///         Err(error) => println!("{} did not answer: {error}", peer.id()),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn next(&mut self) -> Option<(Peer, Result<Message, RequestError>)> {
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Response>> {
        let peers = std::mem::take(&mut self.peers);
        let payload = match peers.first() {
            Some(first) => Outgoing::shared(std::mem::replace(&mut self.payload, "".into()), &peers, first).awaited(),
            None => return Pin::new(&mut self.pending).poll_next(cx),
        };
        let payload = Arc::new(payload);
        for peer in peers {
            let queued = Request::queue_shared(&peer, payload.clone(), self.timeout);
            self.pending.push(Box::pin(async move {
                let response = match queued {
                    Ok(pending) => pending.await,
                    Err(error) => Err(error),
                };
                (peer, response)
            }));
        }
        Pin::new(&mut self.pending).poll_next(cx)
    }
}

impl fmt::Debug for Responses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responses")
            .field("bytes", &self.payload.len())
            .field("timeout", &self.timeout)
            .field("peers", &self.peers)
            .field("pending", &self.pending.len())
            .finish()
    }
}

impl Stream for Responses {
    type Item = (Peer, Result<Message, RequestError>);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(cx)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.peers.len() + self.pending.len();
        (left, Some(left))
    }
}
