//! The driver's side of a socket: connects, reads, and writes one frame at a time.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::connector::{Incoming, Outgoing};
use crate::{AnnounceUrl, ConnectError, Connector, Frame, Input, Output, Socket, SocketId};

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
    next: Option<Outgoing>,
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
                Frame::Text(text) => self.write(socket, Outgoing::Text(text)),
                Frame::Ping => self.write(socket, Outgoing::Ping),
            },
            Output::Close(socket) => self.write(socket, Outgoing::Close),
            Output::Abort(socket) => {
                if self.state.as_ref().is_some_and(|(id, _)| *id == socket) {
                    self.state = None;
                }
            }
        }
    }

    fn write(&mut self, socket: SocketId, message: Outgoing) {
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
                    *state = State::Open(Box::new(OpenSocket { socket, next: None }));
                    Input::Connected { socket: id, route }
                }
                Err(error) => Input::ConnectFailed { socket: id, error },
            },
            State::Open(open) => match open.socket.poll_write(cx, &mut open.next) {
                Poll::Ready(Ok(())) => Input::Sent(id),
                Poll::Ready(Err(end)) => Input::Disconnected { socket: id, end },
                Poll::Pending if reading => match ready!(open.socket.poll_read(cx)) {
                    Incoming::Frame(frame) => Input::Received { socket: id, frame },
                    Incoming::Alive => Input::Alive(id),
                    Incoming::End(end) => Input::Disconnected { socket: id, end },
                },
                Poll::Pending => return Poll::Pending,
            },
        };
        if matches!(input, Input::Disconnected { .. } | Input::ConnectFailed { .. }) {
            self.state = None;
        }
        Poll::Ready(input)
    }
}

impl fmt::Debug for SocketDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SocketDriver").field(&self.state.as_ref().map(|(id, _)| id)).finish()
    }
}
