//! A socket until it is a WebSocket, or has its response to another request.

use std::{io, net::IpAddr, sync::Arc};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    time::{Instant, timeout_at},
};
use tokio_tungstenite::tungstenite::http::StatusCode;

use super::{
    arrival::Arrival,
    connection::{self, Connection, hang_up},
    files,
    http::{self, Head, Refusal, Request},
    hub::{Hub, Registration},
    refusals::Refused,
    websocket::WebSocket,
};
use crate::swarms::CloseReason;

/// The connection of a socket that comes from this address, or none.
pub(super) async fn connect_from<S>(hub: Arc<Hub>, stream: S, address: Option<IpAddr>) -> Option<Box<Connection<S>>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let deadline = Instant::now() + hub.config.handshake_timeout;
    match Arrival::new(&hub, address) {
        Ok(arrival) => connect(hub, stream, arrival, deadline).await,
        Err(why) => {
            hub.refusals.count(why);
            None
        }
    }
}

/// The connection of a socket of which it is known where it comes from, and which has until then to read its response; or
/// none, if another request was served, or it was refused.
pub(super) async fn connect<S>(
    hub: Arc<Hub>,
    stream: S,
    mut arrival: Arrival,
    deadline: Instant,
) -> Option<Box<Connection<S>>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let accepted = tokio::select! {
        () = hub.stopping.cancelled() => return None,
        accepted = timeout_at(deadline, handshake(&hub, stream, &mut arrival)) => accepted,
    };
    match accepted {
        Ok(Ok(Outcome::Accepted(socket, registration))) => {
            Some(Box::new(Connection::new(hub, socket, registration, arrival)))
        }
        Ok(Ok(Outcome::Answered)) => None,
        Ok(Ok(Outcome::File(mut stream, answer))) => {
            let written = tokio::select! {
                () = hub.stopping.cancelled() => return None,
                written = answer.write(&mut stream, hub.config.write_timeout) => written,
            };
            if let Err(error) = written {
                tracing::debug!(%error, "a file was not read to its end");
            }
            None
        }
        Ok(Err(error)) => {
            tracing::debug!(%error, "socket lost in the handshake");
            None
        }
        Err(_) => {
            hub.refusals.count(Refused::Timeout);
            None
        }
    }
}

/// The connection of a stream that is a WebSocket already, if there is room for it.
pub(super) async fn connect_upgraded<S>(hub: Arc<Hub>, stream: S, address: Option<IpAddr>) -> Option<Box<Connection<S>>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let socket = WebSocket::new(stream, Vec::new(), hub.config.max_message_bytes);
    let arrival = match address {
        Some(client) => Arrival::of_client(&hub, client.to_canonical()),
        None => Ok(Arrival::default()),
    };
    let registration = arrival.and_then(|arrival| {
        let registration = hub.open(arrival.address()).ok_or(Refused::Full)?;
        Ok((registration, arrival))
    });
    match registration {
        Ok((registration, arrival)) => Some(Box::new(Connection::new(hub, socket, registration, arrival))),
        Err(why) => {
            hub.refusals.count(why);
            connection::turn_away(&hub, socket).await;
            None
        }
    }
}

/// What has become of a socket's request.
enum Outcome<S> {
    Accepted(WebSocket<S>, Registration),
    /// It was no WebSocket handshake, or there are too many connections; nothing is left to be said.
    Answered,
    /// It gets a file, which may take longer than a handshake.
    File(S, files::Answer),
}

/// Reads the request and responds, unless the response is a file.
async fn handshake<S>(hub: &Arc<Hub>, mut stream: S, arrival: &mut Arrival) -> io::Result<Outcome<S>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let answer = match Head::read(&mut stream).await? {
        Ok(head) => match answer(hub, &head, arrival) {
            Answer::Accept(response, registration) => {
                stream.write_all(&response).await?;
                stream.flush().await?;
                let socket = WebSocket::new(stream, head.rest, hub.config.max_message_bytes);
                return Ok(Outcome::Accepted(socket, registration));
            }
            Answer::File(answer) => return Ok(Outcome::File(stream, answer)),
            Answer::Last(response) => response,
        },
        Err(response) => {
            hub.refusals.count(Refused::Request);
            response
        }
    };
    stream.write_all(&answer).await?;
    hang_up(&mut stream).await?;
    Ok(Outcome::Answered)
}

/// What is said to a request.
enum Answer {
    /// It is accepted as a WebSocket, which has its place.
    Accept(Vec<u8>, Registration),
    File(files::Answer),
    /// The last that is said on this socket.
    Last(Vec<u8>),
}

fn answer(hub: &Arc<Hub>, head: &Head, arrival: &mut Arrival) -> Answer {
    let refuse = |why, refusal: Refusal| {
        hub.refusals.count(why);
        Answer::Last(refusal.response(head.head_only()))
    };
    if let Err((why, refusal)) = arrival.learn(hub, head.headers()) {
        return refuse(why, refusal);
    }
    match head.route(arrival.audience, &hub.config.files) {
        Request::Upgrade { response } => match hub.open(arrival.address()) {
            Some(registration) => Answer::Accept(response, registration),
            None => refuse(Refused::Full, Refusal::new(StatusCode::SERVICE_UNAVAILABLE, CloseReason::Full)),
        },
        Request::Page(page) => Answer::Last(page.response(head.head_only(), || hub.stats())),
        Request::File(answer) => Answer::File(answer),
        Request::Options => Answer::Last(http::options()),
        Request::Refused(refusal) => refuse(Refused::Request, refusal),
    }
}
