//! The crate `p2pt-web-core` for JavaScript in browsers. Nothing is decided here: each method is one of the core's, and values
//! cross as `p2pt-web/src/binding.ts` has them.
//!
//! An error is an `Error` whose message is a `Fault` of the core in text: its code, a colon, and its sentence.
#![cfg(target_family = "wasm")]

use js_sys::{Array, Promise, Uint8Array};
use p2pt::Frame;
use p2pt_web_core::{Content, Fault, Item, Received, Sending};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;

/// A panic is said in the console, since nothing works after it.
#[wasm_bindgen(start)]
fn main() {
    console_error_panic_hook::set_once();
}

fn thrown(fault: Fault) -> JsError {
    JsError::new(&fault.to_string())
}

/// A future as a promise.
fn promise<T: Into<JsValue>>(future: impl Future<Output = Result<T, Fault>> + 'static) -> Promise {
    future_to_promise(async move { future.await.map(Into::into).map_err(|fault| thrown(fault).into()) })
}

/// A text, JSON in text, or bytes.
fn content(crossed: &JsValue, is_json: bool) -> Content {
    match crossed.as_string() {
        Some(text) => Content::written(text, is_json),
        None => Content::Bytes(Uint8Array::new(crossed).to_vec().into()),
    }
}

/// The content and whether it is JSON.
fn crossing_content(content: Content) -> (JsValue, bool) {
    match content {
        Content::Text(text) => (text.into(), false),
        Content::Json(json) => (json.into(), true),
        Content::Bytes(bytes) => (Uint8Array::from(bytes.as_ref()).into(), false),
    }
}

/// `[content, isJson, id]`.
fn received(message: Received) -> Array {
    let (content, is_json) = crossing_content(message.content);
    Array::of3(&content, &is_json.into(), &message.id.into())
}

/// `[peer, content, isJson, id]` for a message, `[peer, bytes, isText]` for a frame, `[peer, stream]` for a stream, `[line,
/// returned]` for a peer that has gone and had not acknowledged all, and a line of JSON for anything else.
fn crossing(item: Item) -> JsValue {
    match item {
        Item::Message { peer, message } => {
            let (content, is_json) = crossing_content(message.content);
            Array::of4(&peer.into(), &content, &is_json.into(), &message.id.into()).into()
        }
        Item::Data { peer, frame } => {
            let bytes = Uint8Array::from(frame.bytes().as_ref());
            Array::of3(&peer.into(), &bytes.into(), &matches!(frame, Frame::Text(_)).into()).into()
        }
        Item::Stream { peer, stream } => Array::of2(&peer.into(), &Stream(stream).into()).into(),
        Item::Closed { line, returned } => Array::of2(&line.into(), &Returned(returned).into()).into(),
        Item::Other(line) => line.into(),
    }
}

/// Starts a node with settings in JSON.
#[wasm_bindgen(js_name = startNode)]
pub fn start_node(options: String) -> Promise {
    promise(async move { p2pt_web_core::Node::start(&options).await.map(Node) })
}

/// The info hash of an identifier.
#[wasm_bindgen(js_name = infoHashOf)]
pub fn info_hash_of(identifier: &str) -> String {
    p2pt_web_core::info_hash_of(identifier)
}

/// A new key of a node.
#[wasm_bindgen(js_name = generateKey)]
pub fn generate_key() -> String {
    p2pt_web_core::generate_key()
}

/// The public key of a key.
#[wasm_bindgen(js_name = publicKeyOf)]
pub fn public_key_of(key: &str) -> Result<String, JsError> {
    p2pt_web_core::public_key_of(key).map_err(thrown)
}

/// A link to a new room.
#[wasm_bindgen(js_name = newRoomLink)]
pub fn new_room_link(identifier: &str) -> String {
    p2pt_web_core::new_room_link(identifier)
}

/// A new passphrase.
#[wasm_bindgen(js_name = newPassphrase)]
pub fn new_passphrase() -> String {
    p2pt_web_core::new_passphrase()
}

/// A new code.
#[wasm_bindgen(js_name = newCode)]
pub fn new_code() -> String {
    p2pt_web_core::new_code()
}

/// A node.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Node(p2pt_web_core::Node);

#[wasm_bindgen]
impl Node {
    /// The node's id.
    #[wasm_bindgen(js_name = peerId)]
    pub fn peer_id(&self) -> String {
        self.0.peer_id()
    }

    /// The node's public key.
    #[wasm_bindgen(js_name = publicKey)]
    pub fn public_key(&self) -> Option<String> {
        self.0.public_key()
    }

    /// Joins a swarm.
    pub fn join(&self, key: String, kind: String, secret: Option<String>) -> Promise {
        let node = self.0.clone();
        promise(async move { node.join(key, &kind, secret).await.map(Swarm) })
    }

    /// Adds a tracker; the promise has its URL as events have it.
    #[wasm_bindgen(js_name = addTracker)]
    pub fn add_tracker(&self, url: String) -> Promise {
        let node = self.0.clone();
        promise(async move { node.add_tracker(&url).await })
    }

    /// Leaves a tracker.
    #[wasm_bindgen(js_name = removeTracker)]
    pub fn remove_tracker(&self, url: String) -> Promise {
        let node = self.0.clone();
        promise(async move { node.remove_tracker(&url).await })
    }

    /// The trackers, as JSON.
    pub fn trackers(&self) -> String {
        self.0.trackers()
    }

    /// What was counted, as JSON.
    pub fn metrics(&self) -> String {
        self.0.metrics()
    }

    /// Keeps a peer away.
    pub fn ban(&self, id: String) -> Promise {
        let node = self.0.clone();
        promise(async move { node.ban(&id).await.map(|()| JsValue::UNDEFINED) })
    }

    /// Lifts a ban.
    pub fn unban(&self, id: &str) -> Result<bool, JsError> {
        self.0.unban(id).map_err(thrown)
    }

    /// Pins a public key.
    pub fn pin(&self, name: String, key: String) -> Promise {
        let node = self.0.clone();
        promise(async move { node.pin(&name, &key).await.map(|()| JsValue::UNDEFINED) })
    }

    /// Takes a pin away; the promise has the key that it had, or `undefined`.
    pub fn unpin(&self, name: String) -> Promise {
        let node = self.0.clone();
        promise(async move { node.unpin(&name).await })
    }

    /// The pins, as JSON.
    pub fn pins(&self) -> String {
        self.0.pins()
    }

    /// Who a peer is, as JSON; `undefined` if it is gone.
    pub fn known(&self, peer: u32) -> Option<String> {
        self.0.known(peer)
    }

    /// How far a peer is known under a name, as JSON; `undefined` if it is gone.
    #[wasm_bindgen(js_name = trustAs)]
    pub fn trust_as(&self, peer: u32, name: &str) -> Option<String> {
        self.0.trust_as(peer, name)
    }

    /// Ends the node.
    pub fn shutdown(&self) -> Promise {
        let node = self.0.clone();
        promise(async move {
            node.shutdown().await;
            Ok(JsValue::UNDEFINED)
        })
    }

    /// Ends a wait.
    pub fn cancel(&self, ticket: u32) {
        self.0.cancel(ticket);
    }

    /// Sends a message; `undefined` if a channel has taken it already.
    pub fn send(
        &self,
        peer: u32,
        crossed: &JsValue,
        is_json: bool,
        id: Option<String>,
    ) -> Result<Option<Promise>, JsError> {
        Ok(awaited(self.0.send(peer, content(crossed, is_json), id.as_deref()).map_err(thrown)?))
    }

    /// Sends a message that can be watched and taken back.
    pub fn post(
        &self,
        peer: u32,
        crossed: &JsValue,
        is_json: bool,
        id: Option<String>,
        urgency: Option<u8>,
        acknowledged: bool,
    ) -> Result<Outgoing, JsError> {
        let outgoing = self.0.post(peer, content(crossed, is_json), id.as_deref(), urgency, acknowledged);
        outgoing.map(Outgoing).map_err(thrown)
    }

    /// Sends a text frame, as `send` sends.
    #[wasm_bindgen(js_name = sendTextFrame)]
    pub fn send_text_frame(&self, peer: u32, text: String) -> Result<Option<Promise>, JsError> {
        self.send_frame(peer, Frame::text(text))
    }

    /// Sends a binary frame, as `send` sends.
    #[wasm_bindgen(js_name = sendBinaryFrame)]
    pub fn send_binary_frame(&self, peer: u32, bytes: Vec<u8>) -> Result<Option<Promise>, JsError> {
        self.send_frame(peer, Frame::binary(bytes))
    }

    /// Asks a peer; the promise has `[content, isJson, id]`.
    pub fn request(
        &self,
        peer: u32,
        crossed: &JsValue,
        is_json: bool,
        id: Option<String>,
        timeout: Option<f64>,
        ticket: Option<u32>,
    ) -> Promise {
        let response = self.0.request(peer, content(crossed, is_json), id.as_deref(), timeout, ticket);
        promise(async move { response.await.map(received) })
    }

    /// Bytes that wait to be sent to a peer.
    pub fn buffered(&self, peer: u32) -> usize {
        self.0.buffered(peer)
    }

    /// Open connections to a peer.
    #[wasm_bindgen(js_name = connectionCount)]
    pub fn connection_count(&self, peer: u32) -> usize {
        self.0.connection_count(peer)
    }

    /// The connections to a peer, as JSON.
    pub fn stats(&self, peer: u32) -> Promise {
        let stats = self.0.stats(peer);
        promise(async move { Ok(stats.await) })
    }

    /// Ends all connections to a peer, which is told the code and the text.
    pub fn leave(&self, peer: u32, code: f64, text: String) -> Promise {
        let leaving = self.0.leave(peer, code, text);
        promise(async move {
            leaving.await;
            Ok(JsValue::UNDEFINED)
        })
    }

    /// Opens a stream.
    #[wasm_bindgen(js_name = openStream)]
    pub fn open_stream(&self, peer: u32, metadata: Vec<u8>, urgency: Option<u8>, ticket: Option<u32>) -> Promise {
        let opening = self.0.open_stream(peer, metadata.into(), urgency, ticket);
        promise(async move { opening.await.map(Stream) })
    }

    /// Takes a peer's messages out of the events of its swarm.
    pub fn messages(&self, peer: u32) -> Result<Messages, JsError> {
        self.0.messages(peer).map(Messages).map_err(thrown)
    }
}

impl Node {
    fn send_frame(&self, peer: u32, frame: Frame) -> Result<Option<Promise>, JsError> {
        Ok(awaited(self.0.send_frame(peer, frame).map_err(thrown)?))
    }
}

/// The promise of what was not taken already.
fn awaited(sending: Sending) -> Option<Promise> {
    let is_taken = sending.is_taken_at_once();
    (!is_taken).then(|| promise(async move { sending.await.map(|()| JsValue::UNDEFINED) }))
}

/// A swarm.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Swarm(p2pt_web_core::Swarm);

#[wasm_bindgen]
impl Swarm {
    /// The info hash.
    #[wasm_bindgen(js_name = infoHash)]
    pub fn info_hash(&self) -> String {
        self.0.info_hash()
    }

    /// The identifier, unless the swarm was joined by its info hash.
    pub fn identifier(&self) -> Option<String> {
        self.0.identifier()
    }

    /// The next events; an empty array after the last one.
    pub fn next(&self) -> Promise {
        let swarm = self.0.clone();
        promise(async move { Ok(swarm.next().await.into_iter().map(crossing).collect::<Array>()) })
    }

    /// The peers, as JSON.
    pub fn peers(&self) -> String {
        self.0.peers()
    }

    /// Waits for a peer; the promise has it as JSON.
    #[wasm_bindgen(js_name = waitForPeer)]
    pub fn wait_for_peer(&self, ticket: Option<u32>) -> Promise {
        promise(self.0.wait_for_peer(ticket))
    }

    /// Sends a message to all peers; returns for which of them there was no room, as JSON.
    pub fn broadcast(&self, crossed: &JsValue, is_json: bool) -> Result<String, JsError> {
        self.0.broadcast(content(crossed, is_json)).map_err(thrown)
    }

    /// Announces now.
    #[wasm_bindgen(js_name = requestMorePeers)]
    pub fn request_more_peers(&self) -> Promise {
        let swarm = self.0.clone();
        promise(async move { swarm.request_more_peers().await.map(|()| JsValue::UNDEFINED) })
    }

    /// Announces under another identifier from now on.
    #[wasm_bindgen(js_name = setIdentifier)]
    pub fn set_identifier(&self, key: String, kind: String, secret: Option<String>) -> Promise {
        let swarm = self.0.clone();
        promise(async move { swarm.set_identifier(key, &kind, secret).await.map(|()| JsValue::UNDEFINED) })
    }

    /// Leaves.
    pub fn leave(&self) -> Promise {
        let swarm = self.0.clone();
        promise(async move { swarm.leave().await.map(|()| JsValue::UNDEFINED) })
    }
}

/// The messages of one peer.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Messages(p2pt_web_core::Messages);

#[wasm_bindgen]
impl Messages {
    /// The next message as `[content, isJson, id]`; `undefined` after the last one.
    pub fn next(&self) -> Promise {
        let messages = self.0.clone();
        promise(async move { Ok(messages.next().await.map_or(JsValue::UNDEFINED, |message| received(message).into())) })
    }

    /// Gives what comes from now on back to the events of the swarm.
    pub fn close(&self) {
        self.0.close();
    }
}

/// A message that can be watched and taken back.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Outgoing(p2pt_web_core::Outgoing);

#[wasm_bindgen]
impl Outgoing {
    /// Waits until a channel has taken it, or the other side has it. Called once.
    pub fn done(&self) -> Promise {
        let outgoing = self.0.clone();
        promise(async move { outgoing.done().await.map(|()| JsValue::UNDEFINED) })
    }

    /// `[sent, acknowledged, total]` in bytes.
    pub fn progress(&self) -> Array {
        let progress = self.0.progress();
        Array::of3(&progress.sent.into(), &progress.acknowledged.into(), &progress.total.into())
    }

    /// Takes it back; says whether it has.
    pub fn cancel(&self) -> bool {
        self.0.cancel()
    }
}

/// The messages that a peer had not acknowledged when it closed.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Returned(p2pt_web_core::Returned);

#[wasm_bindgen]
impl Returned {
    /// Each as `[content, isJson, id]`.
    pub fn messages(&self) -> Array {
        self.0.messages().into_iter().map(received).collect()
    }
}

/// A stream of bytes.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Stream(p2pt_web_core::Stream);

#[wasm_bindgen]
impl Stream {
    /// What the side that opened it says about it.
    pub fn metadata(&self) -> Vec<u8> {
        self.0.metadata().to_vec()
    }

    /// How urgent it is, 0 to 7.
    pub fn urgency(&self) -> u8 {
        self.0.urgency()
    }

    /// The next bytes; `undefined` at the end.
    pub fn read(&self) -> Promise {
        let stream = self.0.clone();
        promise(async move {
            Ok(stream.read().await?.map_or(JsValue::UNDEFINED, |bytes| Uint8Array::from(bytes.as_ref()).into()))
        })
    }

    /// Writes bytes.
    pub fn write(&self, bytes: Vec<u8>) -> Promise {
        let stream = self.0.clone();
        promise(async move { stream.write(bytes.into()).await.map(|()| JsValue::UNDEFINED) })
    }

    /// Ends what this side writes, and waits until the other side has it.
    pub fn close(&self) -> Promise {
        let stream = self.0.clone();
        promise(async move { stream.close().await.map(|()| JsValue::UNDEFINED) })
    }

    /// Reads no more.
    pub fn stop(&self, code: f64) {
        self.0.stop(code);
    }

    /// Writes no more, and drops what was not read.
    pub fn reset(&self, code: f64) {
        self.0.reset(code);
    }
}
