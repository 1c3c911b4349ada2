//! The driver's side of a socket: connects, reads, and writes one frame at a time.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::{Sink as _, Stream as _};
use tokio_tungstenite::tungstenite::{self, Message};

use crate::session::shorten;
use crate::{AnnounceUrl, ConnectError, Connector, Frame, Input, Output, Socket, SocketEnd, SocketId};

type Connecting = Pin<Box<dyn Future<Output = Result<Socket, ConnectError>> + Send>>;

/// The one socket, or attempt at one, that the session has asked for.
#[derive(Default)]
pub(crate) struct SocketDriver {
    state: Option<(SocketId, State)>,
}

enum State {
    Connecting(Connecting),
    Open(Box<OpenSocket>),
}

struct OpenSocket {
    socket: Socket,
    /// The frame to be written next; the session hands out the next one when this is on its way.
    next: Option<Message>,
    /// A frame was handed to the socket and is not yet flushed.
    flushing: bool,
}

impl SocketDriver {
    pub(crate) fn carry_out(&mut self, output: Output, connector: &Arc<dyn Connector>, url: &AnnounceUrl) {
        match output {
            Output::Connect { socket, family } => {
                let (connector, url) = (connector.clone(), url.clone());
                let connecting: Connecting = Box::pin(async move { connector.connect(&url, family).await });
                self.state = Some((socket, State::Connecting(connecting)));
            }
            Output::Send { socket, frame } => match frame {
                Frame::Text(text) => self.write(socket, Message::text(text)),
                Frame::Ping => self.write(socket, Message::Ping(Vec::new().into())),
            },
            Output::Close(socket) => self.write(socket, Message::Close(None)),
            Output::Abort(socket) => {
                if self.state.as_ref().is_some_and(|(id, _)| *id == socket) {
                    self.state = None;
                }
            }
        }
    }

    fn write(&mut self, socket: SocketId, message: Message) {
        if let Some((id, State::Open(open))) = &mut self.state
            && *id == socket
        {
            open.next = Some(message);
        }
    }

    /// Reports a sign of life, if there is an open socket.
    pub(crate) fn report_alive(&self, feed: impl FnOnce(Input)) {
        if let Some((id, State::Open(_))) = &self.state {
            feed(Input::Alive(*id));
        }
    }

    /// The next thing that happens on the socket; never resolves without one. Frames are read only if `reading`.
    /// Nothing is lost if the future is dropped.
    pub(crate) async fn next(&mut self, reading: bool) -> Input {
        poll_fn(|cx| self.poll_next(cx, reading)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, reading: bool) -> Poll<Input> {
        let Some((id, state)) = &mut self.state else { return Poll::Pending };
        let id = *id;
        let input = match state {
            State::Connecting(connecting) => match ready!(connecting.as_mut().poll(cx)) {
                Ok(socket) => {
                    let route = socket.route;
                    *state = State::Open(Box::new(OpenSocket { socket, next: None, flushing: false }));
                    Input::Connected { socket: id, route }
                }
                Err(error) => Input::ConnectFailed { socket: id, error },
            },
            State::Open(open) => match open.poll_write(cx) {
                Poll::Ready(Ok(())) => Input::Sent(id),
                Poll::Ready(Err(error)) => Input::Disconnected { socket: id, end: end_by(error) },
                Poll::Pending if reading => ready!(open.poll_read(cx, id)),
                Poll::Pending => return Poll::Pending,
            },
        };
        if matches!(input, Input::Disconnected { .. } | Input::ConnectFailed { .. }) {
            self.state = None;
        }
        Poll::Ready(input)
    }
}

impl OpenSocket {
    /// Ready when a frame has gone out.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), tungstenite::Error>> {
        let mut stream = Pin::new(&mut self.socket.stream);
        if self.next.is_some() {
            ready!(stream.as_mut().poll_ready(cx))?;
            if let Some(message) = self.next.take() {
                stream.as_mut().start_send(message)?;
                self.flushing = true;
            }
        }
        if !self.flushing {
            return Poll::Pending;
        }
        ready!(stream.as_mut().poll_flush(cx))?;
        self.flushing = false;
        Poll::Ready(Ok(()))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, socket: SocketId) -> Poll<Input> {
        let input = match ready!(Pin::new(&mut self.socket.stream).poll_next(cx)) {
            Some(Ok(Message::Text(text))) => {
                Input::Received { socket, frame: Vec::from(tungstenite::Bytes::from(text)) }
            }
            Some(Ok(Message::Binary(bytes))) => Input::Received { socket, frame: Vec::from(bytes) },
            Some(Ok(Message::Close(frame))) => {
                // The reply is queued by now; if it does not fit into the stream at once, the tracker does without.
                let _ = Pin::new(&mut self.socket.stream).poll_flush(cx);
                let (code, reason) = frame.map(|frame| (frame.code.into(), shorten(&frame.reason))).unzip();
                let reason = reason.filter(|reason| !reason.is_empty());
                Input::Disconnected { socket, end: SocketEnd::Closed { code, reason } }
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Input::Alive(socket),
            Some(Err(error)) => Input::Disconnected { socket, end: end_by(error) },
            None => Input::Disconnected { socket, end: end_by(tungstenite::Error::ConnectionClosed) },
        };
        Poll::Ready(input)
    }
}

fn end_by(error: tungstenite::Error) -> SocketEnd {
    use tungstenite::Error;
    use tungstenite::error::ProtocolError;
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => SocketEnd::Closed { code: None, reason: None },
        Error::Capacity(_) => SocketEnd::Oversized,
        Error::Io(error) => SocketEnd::Broken(error.to_string()),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            SocketEnd::Broken("ended without a closing handshake".to_owned())
        }
        other => SocketEnd::Protocol(other.to_string()),
    }
}

impl fmt::Debug for SocketDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SocketDriver").field(&self.state.as_ref().map(|(id, _)| id)).finish()
    }
}
