//! Messages of the application's own types, which travel as JSON.

use std::fmt;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use p2pt_messaging::{DecodeError, EncodeError, Payload};
use serde::{Serialize, de::DeserializeOwned};

use crate::{Message, Peer, Request, RequestError, TypedError};

impl Peer {
    /// Sends a value as JSON; otherwise as [`send`](Self::send). For [`Swarm::broadcast`](crate::Swarm::broadcast) and
    /// whatever else takes a message, `Payload::json(&value)?` makes one of a value.
    ///
    /// As in every message that is made of a value, floats that are no numbers (NaN and the infinities) become `null`, as
    /// JavaScript's JSON has it. The other side reads them as an `Option<f64>`; as an `f64` they are a [`DecodeError`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// # let (swarm, mut events) = world.join("room").await;
    /// # let (bob, mut bob_events) = world.join("room").await;
    /// # let peer = swarm.wait_for_peer().await?;
    /// #[derive(serde::Serialize)]
    /// struct Move { from: &'static str, to: &'static str }
    ///
    /// peer.send_json(&Move { from: "e2", to: "e4" }).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`TypedError::Encode`], before anything is sent; [`TypedError::Send`].
    pub async fn send_json<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), TypedError> {
        Ok(self.send(Payload::json(value)?).await?)
    }

    /// Queues a value as JSON, and never waits; otherwise as [`queue`](Self::queue).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// # let (swarm, mut events) = world.join("room").await;
    /// # let (bob, mut bob_events) = world.join("room").await;
    /// # let peer = swarm.wait_for_peer().await?;
    /// peer.queue_json(&("e2", "e4"))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`TypedError::Encode`], before anything is queued; [`TypedError::Queue`].
    pub fn queue_json<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), TypedError> {
        Ok(self.queue(Payload::json(value)?)?)
    }

    /// Sends a value as JSON and waits for a response of the type `T`, with a deadline:
    /// `peer.request_json::<Answer>(&question).await?`.
    pub fn request_json<T: DeserializeOwned>(&self, value: &(impl Serialize + ?Sized)) -> TypedRequest<T> {
        TypedRequest::new(Payload::json(value).map(|payload| self.request(payload)))
    }
}

impl Message {
    /// Reads it into a type of the application's. Text is read as a JSON string, since a JavaScript peer sends strings
    /// as text; [`as_json`](Self::as_json) and [`text`](Self::text) are what was sent, unread.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// # let (swarm, mut events) = world.join("room").await;
    /// # let (bob, _bob_events) = world.join("room").await;
    /// # bob.wait_for_peer().await?.queue_json(&serde_json::json!({ "city": "Ghent" }))?;
    /// # let message = loop {
    /// #     if let Some(p2pt::Event::Message(message)) = events.next().await {
    /// #         break message;
    /// #     }
    /// # };
    /// #[derive(serde::Deserialize)]
    /// struct Question { city: String }
    ///
    /// let question: Question = message.json()?;
    /// assert_eq!(question.city, "Ghent");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`DecodeError`]: it is not of the type. In a function that fails with [`TypedError`], `?` makes that of it. The
    /// peer that asked waits for its whole deadline if nothing is answered, so answer that the question was not understood,
    /// with a variant of your own type.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        self.payload().parse()
    }

    /// Responds with a value as JSON; otherwise as [`respond`](Self::respond).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let world = p2pt::testing::World::new(1);
    /// # let (swarm, mut events) = world.join("room").await;
    /// # let (bob, _bob_events) = world.join("room").await;
    /// # bob.wait_for_peer().await?.queue_json(&serde_json::json!({ "city": "Ghent" }))?;
    /// # let message = loop {
    /// #     if let Some(p2pt::Event::Message(message)) = events.next().await {
    /// #         break message;
    /// #     }
    /// # };
    /// #[derive(serde::Serialize)]
    /// struct Answer { degrees: f64 }
    ///
    /// message.respond_json(&Answer { degrees: 19.5 }).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`TypedError::Encode`], before anything is sent; [`TypedError::Send`].
    pub async fn respond_json<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), TypedError> {
        Ok(self.respond(Payload::json(value)?).await?)
    }

    /// Queues a value as a JSON response, and never waits; otherwise as [`queue_response`](Self::queue_response).
    ///
    /// # Errors
    /// [`TypedError::Encode`], before anything is queued; [`TypedError::Queue`].
    pub fn queue_response_json<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), TypedError> {
        Ok(self.queue_response(Payload::json(value)?)?)
    }

    /// Responds with a value as JSON, and waits for a response to that of the type `T`.
    pub fn request_json<T: DeserializeOwned>(&self, value: &(impl Serialize + ?Sized)) -> TypedRequest<T> {
        TypedRequest::new(Payload::json(value).map(|payload| self.request(payload)))
    }
}

/// A [`Request`] whose response is read as a `T`: await it to send it and wait for the response.
///
/// A value that cannot be written as JSON is an error when it is awaited, sent or queued, and nothing is sent.
#[must_use = "a request is sent when it is awaited"]
pub struct TypedRequest<T> {
    request: Result<Request, EncodeError>,
    of: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> TypedRequest<T> {
    fn new(request: Result<Request, EncodeError>) -> Self {
        Self { request, of: PhantomData }
    }

    /// See [`Request::timeout`].
    pub fn timeout(self, timeout: Duration) -> Self {
        Self::new(self.request.map(|request| request.timeout(timeout)))
    }

    /// See [`Request::send`].
    ///
    /// # Errors
    /// [`TypedError::Encode`], before anything is sent; [`TypedError::Request`].
    pub async fn send(self) -> Result<TypedResponse<T>, TypedError> {
        Ok(TypedResponse::new(Box::pin(self.request?.send().await?)))
    }

    /// See [`Request::queue`].
    ///
    /// # Errors
    /// [`TypedError::Encode`], before anything is queued; [`TypedError::Request`].
    pub fn queue(self) -> Result<TypedResponse<T>, TypedError> {
        Ok(TypedResponse::new(Box::pin(self.request?.queue()?)))
    }
}

impl<T: DeserializeOwned> IntoFuture for TypedRequest<T> {
    type Output = Result<T, TypedError>;
    type IntoFuture = TypedResponse<T>;

    fn into_future(self) -> TypedResponse<T> {
        match self.request {
            Ok(request) => TypedResponse::new(request.into_future()),
            Err(error) => TypedResponse { state: State::Failed(Some(error)), of: PhantomData },
        }
    }
}

impl<T> fmt::Debug for TypedRequest<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TypedRequest").field(&self.request).finish()
    }
}

/// The response to a [`TypedRequest`]: a future. Dropping it ends the request.
///
/// It fails with [`TypedError::Decode`] if the response is not a `T`, and with [`TypedError::Request`] if there is
/// none.
#[must_use = "dropping it ends the request"]
pub struct TypedResponse<T> {
    state: State,
    of: PhantomData<fn() -> T>,
}

enum State {
    Asked(Pin<Box<dyn Future<Output = Result<Message, RequestError>> + Send>>),
    /// `None` once it was reported.
    Failed(Option<EncodeError>),
}

impl<T> TypedResponse<T> {
    fn new(response: Pin<Box<dyn Future<Output = Result<Message, RequestError>> + Send>>) -> Self {
        Self { state: State::Asked(response), of: PhantomData }
    }
}

impl<T: DeserializeOwned> Future for TypedResponse<T> {
    type Output = Result<T, TypedError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.state {
            State::Asked(response) => {
                response.as_mut().poll(cx).map(|response| Ok(response.map_err(TypedError::Request)?.json()?))
            }
            State::Failed(error) => error.take().map_or(Poll::Pending, |error| Poll::Ready(Err(error.into()))),
        }
    }
}

impl<T> fmt::Debug for TypedResponse<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedResponse").finish_non_exhaustive()
    }
}
