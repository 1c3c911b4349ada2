//! One socket from its HTTP request to its end.

use std::{io, net::IpAddr, sync::Arc};

use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Instant, sleep_until, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        http::StatusCode,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

use super::{
    http::{self, Request},
    hub::{Hub, Registration},
    send_queue::Next,
};
use crate::swarms::CloseReason;

/// What tungstenite allocates for reading when a connection opens; it grows to the size of a message when one comes.
const READ_BUFFER_BYTES: usize = 4 * 1024;

/// What may wait to be written besides one message: pongs, which tungstenite queues by itself.
const CONTROL_BUFFER_BYTES: usize = 4 * 1024;

/// Serves one socket until it closes or the tracker stops.
pub(super) async fn serve<S>(hub: Arc<Hub>, stream: S, address: Option<IpAddr>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let stopping = hub.stopping.clone();
    let handshake = timeout(hub.config.handshake_timeout, handshake(&hub, stream, address));
    let accepted = tokio::select! {
        () = stopping.cancelled() => return,
        accepted = handshake => accepted,
    };
    match accepted {
        Ok(Ok(Some((socket, registration)))) => Connection::new(&hub, socket, registration).run().await,
        Ok(Ok(None)) => {}
        Ok(Err(error)) => tracing::debug!(%error, "socket lost in the handshake"),
        Err(_) => tracing::debug!("handshake took too long"),
    }
}

/// Reads the request and responds. `None` if it was no WebSocket handshake or there are too many connections.
async fn handshake<S>(
    hub: &Arc<Hub>,
    mut stream: S,
    address: Option<IpAddr>,
) -> io::Result<Option<(WebSocketStream<S>, Registration)>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    const TEXT: &str = "text/plain; charset=utf-8";
    let response = match Request::read(&mut stream).await? {
        Request::Upgrade { response, rest } => match hub.open(address) {
            Some(registration) => {
                stream.write_all(&response).await?;
                stream.flush().await?;
                let limit = hub.config.max_message_bytes;
                let config = WebSocketConfig::default()
                    .read_buffer_size(READ_BUFFER_BYTES)
                    .write_buffer_size(0)
                    .max_write_buffer_size(hub.config.max_queued_bytes.saturating_add(CONTROL_BUFFER_BYTES))
                    .max_message_size(Some(limit))
                    .max_frame_size(Some(limit));
                let socket = WebSocketStream::from_partially_read(stream, rest, Role::Server, Some(config)).await;
                return Ok(Some((socket, registration)));
            }
            None => {
                hub.count_refused();
                http::response(StatusCode::SERVICE_UNAVAILABLE, TEXT, &CloseReason::Full.to_string())
            }
        },
        Request::Stats => http::response(StatusCode::OK, "application/json", &hub.stats().to_json()),
        Request::Refused(status, text) => http::response(status, TEXT, &text),
    };
    stream.write_all(&response).await?;
    hang_up(&mut stream).await?;
    Ok(None)
}

/// Ends the writing side and reads to the end: a socket closed with unread bytes resets the connection, and the
/// other side may then never see what was written last.
async fn hang_up(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
    stream.shutdown().await?;
    let mut discarded = Vec::with_capacity(1024);
    while stream.read_buf(&mut discarded).await? > 0 {
        discarded.clear();
    }
    Ok(())
}

/// Why a connection ends.
#[derive(Debug)]
enum End {
    /// The tracker stops.
    Stopping,
    /// The swarms want it closed.
    Closed(CloseReason),
    /// The client sent a close frame.
    ByClient,
    /// Nothing came for too long.
    Idle,
    /// The client does not read what is sent to it.
    SlowReader,
    /// The socket is gone, or what came is no WebSocket frame that can be taken.
    Failed(Error),
}

impl End {
    /// The reason as the log names it.
    fn reason(&self) -> &'static str {
        match self {
            Self::Stopping => "the tracker stops",
            Self::Closed(CloseReason::Full) => "too many connections",
            Self::Closed(CloseReason::BadFrames) => "too many bad frames",
            Self::Closed(CloseReason::Unresponsive) => "its peer id was claimed and it did not answer a ping",
            Self::ByClient => "closed by the client",
            Self::Idle => "idle",
            Self::SlowReader => "the client does not read",
            Self::Failed(Error::Capacity(_)) => "too large a message",
            Self::Failed(_) => "the connection broke",
        }
    }

    /// The close frame to send, if the client may still read one.
    fn close_frame(&self, limit: usize) -> Option<CloseFrame> {
        let (code, reason) = match self {
            Self::Stopping => (CloseCode::Away, "this tracker is stopping".into()),
            Self::Closed(CloseReason::Full) => (CloseCode::Again, CloseReason::Full.to_string()),
            Self::Closed(reason) => (CloseCode::Policy, reason.to_string()),
            Self::Idle => (CloseCode::Away, "no sign of life".into()),
            Self::Failed(Error::Capacity(_)) => (CloseCode::Size, format!("the message is longer than {limit} bytes")),
            Self::Failed(Error::Utf8(_)) => (CloseCode::Invalid, "the text message is not UTF-8".into()),
            Self::Failed(Error::Protocol(error)) => (CloseCode::Protocol, error.to_string()),
            Self::ByClient | Self::SlowReader | Self::Failed(_) => return None,
        };
        Some(CloseFrame { code, reason: reason.into() })
    }
}

struct Connection<'a, S> {
    hub: &'a Hub,
    socket: WebSocketStream<S>,
    registration: Registration,
    last_received: Instant,
    last_ping: Instant,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin + Send> Connection<'a, S> {
    fn new(hub: &'a Hub, socket: WebSocketStream<S>, registration: Registration) -> Self {
        let now = Instant::now();
        Self { hub, socket, registration, last_received: now, last_ping: now }
    }

    async fn run(mut self) {
        let connection = self.registration.conn.0;
        tracing::debug!(connection, "socket opened");
        let end = loop {
            if let Err(end) = self.step().await {
                break end;
            }
        };
        tracing::debug!(connection, reason = end.reason(), "socket closed");
        if matches!(end, End::SlowReader) {
            self.hub.count_slow_reader();
        }
        let Self { hub, mut socket, registration, .. } = self;
        // From here on it is no member of anything, however long the client takes to hang up.
        drop(registration);
        let close_gracefully = close_gracefully(&mut socket, &end, hub.config.max_message_bytes);
        if timeout(hub.config.close_timeout, close_gracefully).await.is_err() {
            tracing::debug!("the client did not answer the close frame in time");
        }
    }

    /// Waits for whatever comes first and deals with it.
    async fn step(&mut self) -> Result<(), End> {
        match self.registration.send_queue.pop() {
            Some(Next::Send(text)) => return self.write(Message::text(text)).await,
            Some(Next::Ping) => return self.ping().await,
            Some(Next::Close(reason)) => return Err(End::Closed(reason)),
            Some(Next::Overflowed) => return Err(End::SlowReader),
            None => {}
        }
        let now = Instant::now();
        let readable_at = self.registration.readable_at;
        let throttled = readable_at > now;
        // While nothing is read, its silence means nothing.
        let idle_at = self.last_received.max(readable_at) + self.hub.config.idle_timeout;
        let ping_at = self.last_ping + self.hub.config.ping_interval;
        let wake_at = idle_at.min(ping_at).min(if throttled { readable_at } else { idle_at });
        tokio::select! {
            () = self.hub.stopping.cancelled() => Err(End::Stopping),
            () = self.registration.send_queue.changed() => Ok(()),
            message = self.socket.next(), if !throttled => self.read(message),
            () = sleep_until(wake_at) => {
                if wake_at == idle_at {
                    Err(End::Idle)
                } else if wake_at == ping_at {
                    self.ping().await
                } else {
                    Ok(())
                }
            }
        }
    }

    fn read(&mut self, message: Option<Result<Message, Error>>) -> Result<(), End> {
        self.last_received = Instant::now();
        match message {
            Some(Ok(Message::Text(text))) => self.registration.received(text.as_bytes()),
            Some(Ok(Message::Binary(bytes))) => self.registration.received(&bytes),
            Some(Ok(Message::Close(_))) | None => return Err(End::ByClient),
            Some(Ok(_)) => self.registration.alive(),
            Some(Err(error)) => return Err(End::Failed(error)),
        }
        Ok(())
    }

    /// Also finds out whether the client still reads: pongs, which tungstenite queues by itself, are flushed with it.
    async fn ping(&mut self) -> Result<(), End> {
        self.last_ping = Instant::now();
        self.write(Message::Ping(Default::default())).await
    }

    /// Writes a message, during which nothing is read: a client that does not read cannot make the tracker work.
    async fn write(&mut self, message: Message) -> Result<(), End> {
        tokio::select! {
            () = self.hub.stopping.cancelled() => Err(End::Stopping),
            () = self.registration.send_queue.overflowed() => Err(End::SlowReader),
            written = timeout(self.hub.config.write_timeout, self.socket.send(message)) => match written {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(End::Failed(error)),
                Err(_) => Err(End::SlowReader),
            },
        }
    }
}

/// Ends a connection as its end allows: with a close frame, or an answer to one, or not at all.
async fn close_gracefully<S>(socket: &mut WebSocketStream<S>, end: &End, limit: usize)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    if let Some(frame) = end.close_frame(limit)
        && socket.close(Some(frame)).await.is_err()
    {
        return;
    }
    match end {
        // The client answers our close frame, or we answer its.
        End::Stopping | End::Closed(_) | End::Idle | End::ByClient => while let Some(Ok(_)) = socket.next().await {},
        // Nothing can be read any more, but the close frame should arrive.
        End::Failed(Error::Capacity(_) | Error::Utf8(_) | Error::Protocol(_)) => {
            if let Err(error) = hang_up(socket.get_mut()).await {
                tracing::debug!(%error, "socket lost while closing");
            }
        }
        End::SlowReader | End::Failed(_) => {}
    }
}
