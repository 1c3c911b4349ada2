//! Sockets to trackers in a browser: its own `WebSocket`.
//!
//! A page sends no pings, chooses no address family, no header and no proxy, trusts the certificates that the browser
//! trusts, and is told nothing of why a socket could not be opened.

use std::fmt::{self, Debug};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::task::AtomicWaker;
use js_sys::{ArrayBuffer, JsString, Uint8Array};
use p2pt_rt::{Sleep, sleep};
use send_wrapper::SendWrapper;
use wasm_bindgen::prelude::*;
use web_sys::{BinaryType, CloseEvent, MessageEvent, WebSocket};

use crate::connector::{Connector, Incoming, Outgoing};
use crate::session::shorten;
use crate::unread::Unread;
use crate::{AnnounceUrl, ConnectError, Family, Route, SocketEnd};

/// Larger messages end the socket, as on native platforms.
const MAX_MESSAGE_BYTES: usize = 1 << 20;
/// With no more than this in the browser's buffer, a frame counts as written. A little more than the largest that is sent,
/// so that only a tracker that does not read is waited for.
const SENT_BYTES: u32 = 16 << 10;
/// How often the browser's buffer is looked at meanwhile: there is no event for it.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// An open WebSocket to a tracker.
pub struct Socket {
    js: SendWrapper<Js>,
    received: Arc<Received>,
    /// A frame was handed to the browser and may be in its buffer still.
    writing: bool,
    look_again: Option<Pin<Box<Sleep>>>,
    pub(crate) route: Route,
}

/// The browser's socket and what it calls.
struct Js {
    socket: WebSocket,
    _on_open: Closure<dyn FnMut()>,
    _on_message: Closure<dyn FnMut(MessageEvent)>,
    _on_close: Closure<dyn FnMut(CloseEvent)>,
}

impl Drop for Js {
    fn drop(&mut self) {
        // First, so that the browser calls nothing that is gone.
        self.socket.set_onopen(None);
        self.socket.set_onmessage(None);
        self.socket.set_onclose(None);
        // Fails only for codes and reasons, of which there are none here.
        let _ = self.socket.close();
    }
}

/// What the browser has reported.
#[derive(Default)]
struct Received {
    state: Mutex<State>,
    waker: AtomicWaker,
}

#[derive(Default)]
struct State {
    open: bool,
    unread: Unread,
}

impl Received {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, what: impl FnOnce(&mut State)) {
        what(&mut self.state());
        self.waker.wake();
    }

    fn message(&self, data: &JsValue) {
        // After the end nothing is wanted, and the socket is closed when the end is read.
        if self.state().unread.ended().is_some() {
            return;
        }
        // The size is looked at before anything is copied. A text has at least as many bytes as UTF-16 units.
        if let Some(text) = data.dyn_ref::<JsString>() {
            if text.length() as usize > MAX_MESSAGE_BYTES {
                return self.note(|state| state.unread.end(SocketEnd::Oversized));
            }
            let text = String::from(text).into_bytes();
            self.note(|state| state.unread.push(text));
        } else if let Some(buffer) = data.dyn_ref::<ArrayBuffer>() {
            if buffer.byte_length() as usize > MAX_MESSAGE_BYTES {
                return self.note(|state| state.unread.end(SocketEnd::Oversized));
            }
            let bytes = Uint8Array::new(buffer).to_vec();
            self.note(|state| state.unread.push(bytes));
        }
    }
}

impl Socket {
    fn open(url: &AnnounceUrl) -> Result<Self, ConnectError> {
        // Throws where the page's security policy forbids the URL, or a page that came over https asks for `ws`.
        let socket =
            WebSocket::new(url.as_str()).map_err(|error| ConnectError::Forbidden(p2pt_rt::error_text(&error)))?;
        socket.set_binary_type(BinaryType::Arraybuffer);
        let received = Arc::<Received>::default();
        let opened = received.clone();
        let on_open = Closure::new(move || opened.note(|state| state.open = true));
        let got = received.clone();
        let on_message = Closure::new(move |event: MessageEvent| got.message(&event.data()));
        let closed = received.clone();
        let on_close = Closure::new(move |event: CloseEvent| closed.note(|state| state.unread.end(closed_by(&event))));
        socket.set_onopen(Some(on_open.as_ref().unchecked_ref()));
        socket.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        socket.set_onclose(Some(on_close.as_ref().unchecked_ref()));
        let js = SendWrapper::new(Js { socket, _on_open: on_open, _on_message: on_message, _on_close: on_close });
        Ok(Self { js, received, writing: false, look_again: None, route: Route::without_pings() })
    }

    fn poll_open(&self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        self.received.waker.register(cx.waker());
        let state = self.received.state();
        match state.unread.ended() {
            Some(_) => Poll::Ready(Err(ConnectError::Unexplained)),
            None if state.open => Poll::Ready(Ok(())),
            None => Poll::Pending,
        }
    }

    /// Writes `next`, if there is one. Ready when the browser has sent it on, or nearly all.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        next: &mut Option<Outgoing>,
    ) -> Poll<Result<(), SocketEnd>> {
        if let Some(frame) = next.take() {
            match frame {
                Outgoing::Text(text) => {
                    if let Err(error) = self.js.socket.send_with_str(&text) {
                        return Poll::Ready(Err(SocketEnd::Broken(p2pt_rt::error_text(&error))));
                    }
                }
                // The session does not ask for one, since the route has none.
                Outgoing::Ping => {}
                Outgoing::Close => {
                    let _ = self.js.socket.close();
                }
            }
            self.writing = true;
        }
        if !self.writing {
            return Poll::Pending;
        }
        while self.js.socket.buffered_amount() > SENT_BYTES {
            let look_again = self.look_again.get_or_insert_with(|| Box::pin(sleep(LOOK_AGAIN)));
            ready!(look_again.as_mut().poll(cx));
            self.look_again = None;
        }
        self.writing = false;
        Poll::Ready(Ok(()))
    }

    /// The next thing that arrives.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        self.received.waker.register(cx.waker());
        self.received.state().unread.pop().map_or(Poll::Pending, Poll::Ready)
    }
}

impl Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").finish_non_exhaustive()
    }
}

/// 1006 stands for an end without a closing handshake, 1005 for a handshake without a code; neither is ever sent.
fn closed_by(event: &CloseEvent) -> SocketEnd {
    let reason = Some(shorten(&event.reason())).filter(|reason| !reason.is_empty());
    match event.code() {
        1006 => SocketEnd::Broken("ended without a closing handshake".to_owned()),
        1005 => SocketEnd::Closed { code: None, reason },
        code => SocketEnd::Closed { code: Some(code), reason },
    }
}

/// The usual [`Connector`]: the browser's `WebSocket`, of which nothing can be set.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct WebSocketConnector;

impl WebSocketConnector {
    /// The browser's `WebSocket`.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

#[async_trait]
impl Connector for WebSocketConnector {
    async fn connect(&self, url: &AnnounceUrl, _: Option<Family>) -> Result<Socket, ConnectError> {
        let socket = Socket::open(url)?;
        poll_fn(|cx| socket.poll_open(cx)).await?;
        Ok(socket)
    }
}
