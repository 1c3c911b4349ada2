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
        Ok(Ok(Some((socket, registration)))) => Some(Box::new(Connection::new(hub, socket, registration, arrival))),
        Ok(Ok(None)) => None,
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

/// Reads the request and responds. `None` if it was no WebSocket handshake or there are too many connections.
async fn handshake<S>(
    hub: &Arc<Hub>,
    mut stream: S,
    arrival: &mut Arrival,
) -> io::Result<Option<(WebSocket<S>, Registration)>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let answer = match Head::read(&mut stream).await? {
        Ok(head) => match answer(hub, &head, arrival) {
            Ok((response, registration)) => {
                stream.write_all(&response).await?;
                stream.flush().await?;
                return Ok(Some((WebSocket::new(stream, head.rest, hub.config.max_message_bytes), registration)));
            }
            Err(response) => response,
        },
        Err(response) => {
            hub.refusals.count(Refused::Request);
            response
        }
    };
    stream.write_all(&answer).await?;
    hang_up(&mut stream).await?;
    Ok(None)
}

/// The response that accepts a WebSocket, and its place; or else the last that is said on this socket.
fn answer(hub: &Arc<Hub>, head: &Head, arrival: &mut Arrival) -> Result<(Vec<u8>, Registration), Vec<u8>> {
    let refuse = |why, refusal: Refusal| {
        hub.refusals.count(why);
        refusal.response(head.head_only())
    };
    arrival.learn(hub, head.headers()).map_err(|(why, refusal)| refuse(why, refusal))?;
    match head.route(arrival.audience) {
        Request::Upgrade { response } => match hub.open(arrival.address()) {
            Some(registration) => Ok((response, registration)),
            None => Err(refuse(Refused::Full, Refusal::new(StatusCode::SERVICE_UNAVAILABLE, CloseReason::Full))),
        },
        Request::Page(page) => Err(page.response(head.head_only(), || hub.stats())),
        Request::Options => Err(http::options()),
        Request::Refused(refusal) => Err(refuse(Refused::Request, refusal)),
    }
}
