//! A WebSocket client that takes nothing for granted, for the server's tests.

#![allow(dead_code, reason = "each test file uses its part")]

use std::{net::SocketAddr, time::Duration};

use futures_util::{SinkExt, StreamExt};
use p2pt_proto::{Announce, AnswerRequest, ClientMessage, InfoHash, Offer, OfferId, PeerId, TrackerMessage};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, protocol::CloseFrame},
};

/// A guard against hanging; nothing here is meant to take so long.
pub(crate) const GUARD: Duration = Duration::from_secs(600);

/// The end of one connection to a tracker.
pub(crate) struct Client<S>(pub(crate) WebSocketStream<S>);

impl Client<TcpStream> {
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        Self::over(TcpStream::connect(addr).await.expect("the server listens")).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) async fn over(stream: S) -> Self {
        let (socket, _) = client_async("ws://tracker/announce", stream).await.expect("a handshake");
        Self(socket)
    }

    pub(crate) async fn send(&mut self, message: impl Into<Message>) {
        self.0.send(message.into()).await.expect("the server reads");
    }

    pub(crate) async fn announce(&mut self, announce: Announce) {
        self.send(ClientMessage::Announce(announce).encode()).await;
    }

    /// The next message, pings and pongs aside; `None` after the end.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        let deadline = Instant::now() + GUARD;
        loop {
            match timeout_at(deadline, self.0.next()).await.expect("the server says something") {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(message)) => return Some(message),
                Some(Err(_)) | None => return None,
            }
        }
    }

    pub(crate) async fn text(&mut self) -> String {
        match self.next().await {
            Some(Message::Text(text)) => text.to_string(),
            other => panic!("no text: {other:?}"),
        }
    }

    pub(crate) async fn message(&mut self) -> TrackerMessage {
        TrackerMessage::decode(self.text().await).expect("a tracker's message")
    }

    /// The reply to an announce, as complete and incomplete.
    pub(crate) async fn reply(&mut self) -> (u32, u32) {
        match self.message().await {
            TrackerMessage::Announced(reply) => {
                (reply.complete.expect("complete"), reply.incomplete.expect("incomplete"))
            }
            other => panic!("no reply: {other:?}"),
        }
    }

    pub(crate) async fn failure(&mut self) -> p2pt_proto::Failure {
        match self.message().await {
            TrackerMessage::Failure(failure) => failure,
            other => panic!("no failure: {other:?}"),
        }
    }

    /// Reads on until the close frame that the server must send, and then the end.
    pub(crate) async fn close_frame(&mut self) -> CloseFrame {
        loop {
            match self.next().await {
                Some(Message::Close(Some(frame))) => {
                    assert_eq!(self.next().await, None, "nothing follows a close frame");
                    return frame;
                }
                Some(Message::Text(_)) => {}
                other => panic!("no close frame: {other:?}"),
            }
        }
    }

    /// Closes as JavaScript does, without a code, and waits for the server's answer.
    pub(crate) async fn close(mut self) {
        self.0.close(None).await.expect("the server reads");
        while self.next().await.is_some() {}
    }
}

/// Sends raw bytes and reads to the end.
pub(crate) async fn raw(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: impl AsRef<[u8]>) -> String {
    stream.write_all(request.as_ref()).await.expect("the server reads");
    let mut response = Vec::new();
    timeout(GUARD, stream.read_to_end(&mut response)).await.expect("an end").expect("no reset");
    String::from_utf8(response).expect("text")
}

pub(crate) fn swarm() -> InfoHash {
    InfoHash::of("server-test")
}

pub(crate) fn peer(n: u8) -> PeerId {
    PeerId::from([n; 20])
}

pub(crate) fn offer_id(n: u8) -> OfferId {
    OfferId::from([n; 20])
}

pub(crate) fn announce(n: u8) -> Announce {
    Announce::new(swarm(), peer(n))
}

/// An announce of peer `n` with one offer for each id, of about `sdp_bytes` bytes.
pub(crate) fn with_offers(n: u8, ids: impl IntoIterator<Item = u8>, sdp_bytes: usize) -> Announce {
    let offer = |id| Offer::new(offer_id(id), "s".repeat(sdp_bytes));
    let mut announce = announce(n);
    announce.offers = Some(ids.into_iter().map(offer).collect());
    announce
}

pub(crate) fn answer(from: u8, to: u8, offer: u8) -> String {
    ClientMessage::Answer(AnswerRequest::new(swarm(), peer(from), peer(to), offer_id(offer), "answer")).encode()
}
