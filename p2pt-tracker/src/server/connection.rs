//! One WebSocket to its end.

use std::{io, net::IpAddr, pin::Pin, sync::Arc};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Instant, sleep_until, timeout},
};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tracing::{Instrument as _, Span};

use super::{
    arrival::Arrival,
    hub::{Hub, Registration},
    send_queue::Next,
    websocket::{Error, Received, WebSocket, append_ping, append_pong, append_text, close_frame},
};
use crate::swarms::CloseReason;

/// Messages that wait are written together up to so many bytes, so that many small ones cost one call.
const WRITE_BYTES: usize = 16 * 1024;

/// What is logged of a socket is logged in this span, at any level: it has the address that the socket comes from, and the
/// client's behind a trusted proxy once that has named it.
pub(super) fn span(address: Option<IpAddr>) -> Span {
    let address = address.map(|address| tracing::field::display(address.to_canonical()));
    tracing::error_span!("socket", address, client = tracing::field::Empty)
}

/// Serves the connection that comes of this, from this address, until it closes or the tracker stops. The future is in a box, so that those
/// around it are small, however often they are moved: what they take is taken for as long as the connection lives. So is
/// that of which the connection comes, whose memory is given back before the connection is idle.
pub(super) fn serve<S>(
    address: Option<IpAddr>,
    connecting: Pin<Box<impl Future<Output = Option<Box<Connection<S>>>> + Send>>,
) -> Pin<Box<impl Future<Output = ()> + Send>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let served = async move {
        if let Some(mut connection) = connecting.await {
            let end = connection.run().await;
            Box::pin(connection.end(end)).await;
        }
    };
    Box::pin(served.instrument(span(address)))
}

/// Closes a connection for which there is no room.
pub(super) async fn turn_away<S>(hub: &Hub, mut socket: WebSocket<S>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let end = End::Closed(CloseReason::Full);
    if timeout(hub.config.close_timeout, close_gracefully(&mut socket, &end)).await.is_err() {
        tracing::debug!("a client turned away did not answer the close frame in time");
    }
}

/// Ends the writing side and reads to the end: a socket closed with unread bytes resets the connection, and the
/// other side may then never see what was written last.
pub(super) async fn hang_up(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
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
    /// The client sent a close frame, which is to be answered with this code.
    ByClient(Option<CloseCode>),
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
            Self::ByClient(_) => "closed by the client",
            Self::Idle => "idle",
            Self::SlowReader => "the client does not read",
            Self::Failed(Error::TooLong(_)) => "too large a message",
            Self::Failed(_) => "the connection broke",
        }
    }

    /// The close frame to send, if the client may still read one.
    fn close_frame(&self) -> Option<Vec<u8>> {
        let (code, reason) = match self {
            Self::Stopping => (CloseCode::Away, "this tracker is stopping".into()),
            Self::Closed(CloseReason::Full) => (CloseCode::Again, CloseReason::Full.to_string()),
            Self::Closed(reason) => (CloseCode::Policy, reason.to_string()),
            Self::Idle => (CloseCode::Away, "no sign of life".into()),
            Self::ByClient(code) => return Some(close_frame(*code, "")),
            Self::Failed(error @ Error::TooLong(_)) => (CloseCode::Size, error.to_string()),
            Self::Failed(error @ Error::NotUtf8) => (CloseCode::Invalid, error.to_string()),
            Self::Failed(error @ Error::Protocol(_)) => (CloseCode::Protocol, error.to_string()),
            Self::SlowReader | Self::Failed(Error::Io(_) | Error::HungUp) => return None,
        };
        Some(close_frame(Some(code), &reason))
    }
}

/// An open connection.
#[derive(Debug)]
pub(super) struct Connection<S> {
    hub: Arc<Hub>,
    /// With the connection's place among those of its address.
    arrival: Arrival,
    socket: WebSocket<S>,
    registration: Registration,
    /// What is to be answered to the latest ping.
    pong: Option<Vec<u8>>,
    last_received: Instant,
    last_ping: Instant,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Connection<S> {
    pub(super) fn new(hub: Arc<Hub>, socket: WebSocket<S>, registration: Registration, arrival: Arrival) -> Self {
        let now = Instant::now();
        Self { hub, arrival, socket, registration, pong: None, last_received: now, last_ping: now }
    }

    async fn run(&mut self) -> End {
        tracing::debug!(connection = self.registration.conn.0, "socket opened");
        loop {
            if let Err(end) = self.step().await {
                return end;
            }
        }
    }

    async fn end(self: Box<Self>, end: End) {
        let Self { hub, arrival: _place, mut socket, registration, .. } = *self;
        tracing::debug!(connection = registration.conn.0, reason = end.reason(), "socket closed");
        if matches!(end, End::SlowReader) {
            hub.count_slow_reader();
        }
        // From here on it is no member of anything, however long the client takes to hang up.
        drop(registration);
        if timeout(hub.config.close_timeout, close_gracefully(&mut socket, &end)).await.is_err() {
            tracing::debug!("the client did not answer the close frame in time");
        }
    }

    /// Writes what waits, or else waits for whatever comes first and deals with it.
    async fn step(&mut self) -> Result<(), End> {
        let (frames, end) = self.outgoing()?;
        if !frames.is_empty() {
            self.write(&frames).await?;
        }
        if let Some(reason) = end {
            return Err(End::Closed(reason));
        }
        let now = Instant::now();
        let readable_at = self.registration.readable_at;
        let throttled = readable_at > now;
        if !throttled && self.take()? {
            return Ok(());
        }
        // While nothing is read, its silence means nothing.
        let idle_at = self.last_received.max(readable_at) + self.hub.config.idle_timeout;
        let ping_at = self.last_ping + self.hub.config.ping_interval;
        let wake_at = idle_at.min(ping_at).min(if throttled { readable_at } else { idle_at });
        tokio::select! {
            () = self.hub.stopping.cancelled() => Err(End::Stopping),
            () = self.registration.send_queue.changed() => Ok(()),
            received = self.socket.receive(), if !throttled => received.map_err(End::Failed),
            () = sleep_until(wake_at) => {
                if wake_at == idle_at {
                    return Err(End::Idle);
                }
                if wake_at == ping_at {
                    // Finds out, too, whether the client still reads.
                    self.registration.send_queue.ping();
                }
                Ok(())
            }
        }
    }

    /// The frames that are to be written next, and why the connection ends after them, if it does.
    fn outgoing(&mut self) -> Result<(Vec<u8>, Option<CloseReason>), End> {
        let mut frames = Vec::new();
        if let Some(payload) = self.pong.take() {
            append_pong(&mut frames, &payload);
        }
        while frames.len() < WRITE_BYTES {
            match self.registration.send_queue.pop() {
                Some(Next::Send(text)) => append_text(&mut frames, &text),
                Some(Next::Ping) => {
                    self.last_ping = Instant::now();
                    append_ping(&mut frames);
                }
                Some(Next::Close(reason)) => return Ok((frames, Some(reason))),
                Some(Next::Overflowed) => return Err(End::SlowReader),
                None => break,
            }
        }
        Ok((frames, None))
    }

    /// Takes one frame of what has been received; false if there is none.
    fn take(&mut self) -> Result<bool, End> {
        let Some(received) = self.socket.next().map_err(End::Failed)? else { return Ok(false) };
        self.last_received = Instant::now();
        match received {
            Received::Text(bytes) | Received::Binary(bytes) => self.registration.received(bytes),
            Received::Close(code) => return Err(End::ByClient(code)),
            Received::Ping(payload) => {
                self.pong = Some(payload.to_vec());
                self.registration.alive();
            }
            Received::Pong | Received::Fragment => self.registration.alive(),
        }
        Ok(true)
    }

    /// Writes frames, during which nothing is read: a client that does not read cannot make the tracker work.
    async fn write(&mut self, frames: &[u8]) -> Result<(), End> {
        tokio::select! {
            () = self.hub.stopping.cancelled() => Err(End::Stopping),
            () = self.registration.send_queue.overflowed() => Err(End::SlowReader),
            written = timeout(self.hub.config.write_timeout, self.socket.write(frames)) => match written {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(End::Failed(Error::Io(error))),
                Err(_) => Err(End::SlowReader),
            },
        }
    }
}

/// Ends a connection as its end allows: with a close frame, or an answer to one, or not at all.
async fn close_gracefully<S>(socket: &mut WebSocket<S>, end: &End)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let Some(frame) = end.close_frame() else { return };
    let closed = async {
        socket.write(&frame).await?;
        match end {
            // Nothing can be read any more, but the close frame should arrive.
            End::Failed(_) => return hang_up(socket.stream()).await,
            End::ByClient(_) => {}
            // The client answers our close frame, which may come after what it sent before.
            _ => while answers_later(socket).await {},
        }
        socket.stream().shutdown().await
    };
    if let Err(error) = closed.await {
        tracing::debug!(%error, "socket lost while closing");
    }
}

/// Reads on behind a close frame of ours; false after the answer, or if there will be none.
async fn answers_later<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocket<S>) -> bool {
    loop {
        match socket.next() {
            Ok(None) => return socket.receive().await.is_ok(),
            Ok(Some(Received::Close(_))) | Err(_) => return false,
            Ok(Some(_)) => {}
        }
    }
}
