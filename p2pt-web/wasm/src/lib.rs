//! The crate `p2pt-web-core` for JavaScript in browsers. Nothing is decided here: each method is one of the core's, and values
//! cross as `p2pt-web/src/binding.ts` has them.
//!
//! An error is an `Error` whose message is a `Fault` of the core in text: its code, a colon, and its sentence.
#![cfg(target_family = "wasm")]

use js_sys::{Array, Promise, Uint8Array};
use p2pt::Frame;
use p2pt_web_core::{Fault, Item, Received, Sending};
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

/// `[text, isJson, id]`.
fn received(message: Received) -> Array {
    Array::of3(&message.text.into(), &message.is_json.into(), &message.id.into())
}

/// `[peer, text, isJson, id]` for a message, `[peer, bytes, isText]` for a frame, and a line of JSON for anything else.
fn crossing(item: Item) -> JsValue {
    match item {
        Item::Message { peer, message } => {
            Array::of4(&peer.into(), &message.text.into(), &message.is_json.into(), &message.id.into()).into()
        }
        Item::Data { peer, frame } => {
            let bytes = Uint8Array::from(frame.bytes().as_ref());
            Array::of3(&peer.into(), &bytes.into(), &matches!(frame, Frame::Text(_)).into()).into()
        }
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
    pub fn send(&self, peer: u32, text: String, is_json: bool, id: Option<String>) -> Result<Option<Promise>, JsError> {
        Ok(awaited(self.0.send(peer, text, is_json, id.as_deref()).map_err(thrown)?))
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

    /// Asks a peer; the promise has `[text, isJson, id]`.
    pub fn request(
        &self,
        peer: u32,
        text: String,
        is_json: bool,
        id: Option<String>,
        timeout: Option<f64>,
        ticket: Option<u32>,
    ) -> Promise {
        let response = self.0.request(peer, text, is_json, id.as_deref(), timeout, ticket);
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

    /// Ends all connections to a peer.
    pub fn disconnect(&self, peer: u32) -> Promise {
        let disconnecting = self.0.disconnect(peer);
        promise(async move {
            disconnecting.await;
            Ok(JsValue::UNDEFINED)
        })
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
    pub fn broadcast(&self, text: String, is_json: bool) -> Result<String, JsError> {
        self.0.broadcast(text, is_json).map_err(thrown)
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
    /// The next message as `[text, isJson, id]`; `undefined` after the last one.
    pub fn next(&self) -> Promise {
        let messages = self.0.clone();
        promise(async move { Ok(messages.next().await.map_or(JsValue::UNDEFINED, |message| received(message).into())) })
    }

    /// Gives what comes from now on back to the events of the swarm.
    pub fn close(&self) {
        self.0.close();
    }
}
