//! [`p2pt_web_core`] for JavaScript in Node. Nothing is decided here: each method is one of the core's, and values cross as
//! `p2pt-web/src/binding.ts` has them.
//!
//! What has to wait is not a promise here, since each promise of an addon costs an event handle of its own. It takes a
//! number instead, under which [`Bridge::take`] has the result later; `p2pt-web/src/native.ts` makes promises of that.
//!
//! An error is an `Error` whose message is a [`Fault`] in text: its code, a colon, and its sentence.

mod bridge;

use std::sync::Arc;

use bridge::Outcome;
use napi::bindgen_prelude::{Either, Either5, Either8, Function, Uint8ArraySlice};
use napi::{Env, Result};
use napi_derive::napi;
use p2pt::Frame;
use p2pt_web_core::{Content, Fault, Item, Received, Sending};

/// A text, JSON in text, or bytes.
type Crossed<'env> = Either<String, Uint8ArraySlice<'env>>;

/// Its content, whether that is JSON, and its id.
type Message<'env> = (Crossed<'env>, bool, String);
type Event<'env> = Either5<
    (u32, Crossed<'env>, bool, String),
    (u32, Uint8ArraySlice<'env>, bool),
    (u32, Stream),
    (String, Returned),
    String,
>;
type Value<'env> = Either8<bool, String, Message<'env>, Vec<Event<'env>>, Node, Swarm, Stream, Uint8ArraySlice<'env>>;

/// The number of a call, and its value or its error.
type Taken<'env> = (u32, Option<Value<'env>>, Option<String>);

fn thrown(fault: Fault) -> napi::Error {
    napi::Error::from_reason(fault.to_string())
}

fn content(crossed: Crossed<'_>, is_json: bool) -> Content {
    match crossed {
        Either::A(text) => Content::written(text, is_json),
        Either::B(bytes) => Content::Bytes(bytes.to_vec().into()),
    }
}

fn message<'env>(env: &'env Env, message: Received) -> Result<Message<'env>> {
    let (content, is_json) = match message.content {
        Content::Text(text) => (Either::A(text), false),
        Content::Json(json) => (Either::A(json), true),
        Content::Bytes(bytes) => (Either::B(Uint8ArraySlice::copy_from(env, bytes)?), false),
    };
    Ok((content, is_json, message.id))
}

fn event<'env>(env: &'env Env, bridge: &Arc<bridge::Bridge>, item: Item) -> Result<Event<'env>> {
    Ok(match item {
        Item::Message { peer, message: received } => {
            let (content, is_json, id) = message(env, received)?;
            Either5::A((peer, content, is_json, id))
        }
        Item::Data { peer, frame } => {
            let bytes = Uint8ArraySlice::copy_from(env, frame.bytes())?;
            Either5::B((peer, bytes, matches!(frame, Frame::Text(_))))
        }
        Item::Stream { peer, stream } => Either5::C((peer, Stream { stream, bridge: bridge.clone() })),
        Item::Closed { line, returned } => Either5::D((line, Returned(returned))),
        Item::Other(line) => Either5::E(line),
    })
}

/// The info hash of an identifier.
#[napi]
pub fn info_hash_of(identifier: String) -> String {
    p2pt_web_core::info_hash_of(&identifier)
}

/// A new key of a node.
#[napi]
pub fn generate_key() -> String {
    p2pt_web_core::generate_key()
}

/// The public key of a key.
#[napi]
pub fn public_key_of(key: String) -> Result<String> {
    p2pt_web_core::public_key_of(&key).map_err(thrown)
}

/// A link to a new room.
#[napi]
pub fn new_room_link(identifier: String) -> String {
    p2pt_web_core::new_room_link(&identifier)
}

/// A new passphrase.
#[napi]
pub fn new_passphrase() -> String {
    p2pt_web_core::new_passphrase()
}

/// A new code.
#[napi]
pub fn new_code() -> String {
    p2pt_web_core::new_code()
}

/// The way of results into JavaScript, of which an environment needs one.
#[napi]
pub struct Bridge(Arc<bridge::Bridge>);

#[napi]
impl Bridge {
    /// `wake` is called when there is something to be taken. It keeps no process alive.
    #[napi(constructor)]
    pub fn new(env: Env, wake: Function<'_, (), ()>) -> Result<Self> {
        let wake = wake.build_threadsafe_function::<()>().weak::<true>().max_queue_size::<1>().build()?;
        let bridge = Arc::new(bridge::Bridge::new(wake));
        env.add_env_cleanup_hook(bridge.clone(), |bridge| bridge.end())?;
        Ok(Self(bridge))
    }

    /// What has become of calls since this was asked last: `[[number of the call, value, error], …]`, with a value if
    /// there is no error.
    #[napi]
    pub fn take<'env>(&self, env: &'env Env) -> Result<Vec<Taken<'env>>> {
        let value = |outcome| -> Result<Option<Value<'env>>> {
            Ok(Some(match outcome {
                Outcome::Done
                | Outcome::MaybeText(None)
                | Outcome::Message(None)
                | Outcome::Bytes(None)
                | Outcome::Failed(_) => return Ok(None),
                Outcome::Said(said) => Either8::A(said),
                Outcome::Text(text) | Outcome::MaybeText(Some(text)) => Either8::B(text),
                Outcome::Message(Some(received)) => Either8::C(message(env, received)?),
                Outcome::Events(items) => {
                    Either8::D(items.into_iter().map(|item| event(env, &self.0, item)).collect::<Result<_>>()?)
                }
                Outcome::Node(number, node) => Either8::E(Node { number, node, bridge: self.0.clone() }),
                Outcome::Swarm(swarm) => Either8::F(Swarm { swarm, bridge: self.0.clone() }),
                Outcome::Stream(stream) => Either8::G(Stream { stream, bridge: self.0.clone() }),
                Outcome::Bytes(Some(bytes)) => Either8::H(Uint8ArraySlice::copy_from(env, bytes)?),
            }))
        };
        let crossing = self.0.take().into_iter().map(|(call, outcome)| {
            let error = if let Outcome::Failed(fault) = &outcome { Some(fault.to_string()) } else { None };
            Ok((call, value(outcome)?, error))
        });
        crossing.collect()
    }

    /// Starts a node with settings in JSON.
    #[napi]
    pub fn start_node(&self, call: u32, options: String) {
        self.0.start(call, options);
    }
}

/// A node. A method with the number of a call has its result there.
#[napi]
pub struct Node {
    number: u64,
    node: p2pt_web_core::Node,
    bridge: Arc<bridge::Bridge>,
}

#[napi]
impl Node {
    /// The node's id.
    #[napi]
    pub fn peer_id(&self) -> String {
        self.node.peer_id()
    }

    /// The node's public key.
    #[napi]
    pub fn public_key(&self) -> Option<String> {
        self.node.public_key()
    }

    /// Joins a swarm.
    #[napi]
    pub fn join(&self, call: u32, key: String, kind: String, secret: Option<String>) {
        let node = self.node.clone();
        self.bridge.spawn(call, async move { node.join(key, &kind, secret).await });
    }

    /// Adds a tracker; the result has its URL as events have it.
    #[napi]
    pub fn add_tracker(&self, call: u32, url: String) {
        let node = self.node.clone();
        self.bridge.spawn(call, async move { node.add_tracker(&url).await });
    }

    /// Leaves a tracker.
    #[napi]
    pub fn remove_tracker(&self, call: u32, url: String) {
        let node = self.node.clone();
        self.bridge.spawn(call, async move { node.remove_tracker(&url).await });
    }

    /// The trackers, as JSON.
    #[napi]
    pub fn trackers(&self) -> String {
        self.node.trackers()
    }

    /// What was counted, as JSON.
    #[napi]
    pub fn metrics(&self) -> String {
        self.node.metrics()
    }

    /// Keeps a peer away.
    #[napi]
    pub fn ban(&self, call: u32, id: String) {
        let node = self.node.clone();
        self.bridge.spawn(call, async move { node.ban(&id).await });
    }

    /// Lifts a ban.
    #[napi]
    pub fn unban(&self, id: String) -> Result<bool> {
        self.node.unban(&id).map_err(thrown)
    }

    /// Pins a public key.
    #[napi]
    pub fn pin(&self, call: u32, name: String, key: String) {
        let node = self.node.clone();
        self.bridge.spawn(call, async move { node.pin(&name, &key).await });
    }

    /// Takes a pin away; the result has the key that it had, if there was one.
    #[napi]
    pub fn unpin(&self, call: u32, name: String) {
        let node = self.node.clone();
        self.bridge.spawn(call, async move { node.unpin(&name).await });
    }

    /// The pins, as JSON.
    #[napi]
    pub fn pins(&self) -> String {
        self.node.pins()
    }

    /// Who a peer is, as JSON; nothing if it is gone.
    #[napi]
    pub fn known(&self, peer: u32) -> Option<String> {
        self.node.known(peer)
    }

    /// How far a peer is known under a name, as JSON; nothing if it is gone.
    #[napi]
    pub fn trust_as(&self, peer: u32, name: String) -> Option<String> {
        self.node.trust_as(peer, &name)
    }

    /// Ends the node.
    #[napi]
    pub fn shutdown(&self, call: u32) {
        self.bridge.shut_down(call, self.number, self.node.clone());
    }

    /// Ends a wait.
    #[napi]
    pub fn cancel(&self, ticket: u32) {
        self.node.cancel(ticket);
    }

    /// Sends a message. Returns whether a channel has taken it already; there is no result then.
    #[napi]
    pub fn send(&self, call: u32, peer: u32, crossed: Crossed<'_>, is_json: bool, id: Option<String>) -> Result<bool> {
        Ok(self.awaited(call, self.node.send(peer, content(crossed, is_json), id.as_deref()).map_err(thrown)?))
    }

    /// Sends a message that can be watched and taken back.
    #[napi]
    pub fn post(
        &self,
        peer: u32,
        crossed: Crossed<'_>,
        is_json: bool,
        id: Option<String>,
        urgency: Option<u8>,
        acknowledged: bool,
    ) -> Result<Outgoing> {
        let outgoing = self.node.post(peer, content(crossed, is_json), id.as_deref(), urgency, acknowledged);
        Ok(Outgoing { outgoing: outgoing.map_err(thrown)?, bridge: self.bridge.clone() })
    }

    /// Sends a text frame, as `send` sends.
    #[napi]
    pub fn send_text_frame(&self, call: u32, peer: u32, text: String) -> Result<bool> {
        self.send_frame(call, peer, Frame::text(text))
    }

    /// Sends a binary frame, as `send` sends.
    #[napi]
    pub fn send_binary_frame(&self, call: u32, peer: u32, bytes: &[u8]) -> Result<bool> {
        self.send_frame(call, peer, Frame::binary(bytes.to_vec()))
    }

    /// Asks a peer; the result is `[content, isJson, id]`.
    #[napi]
    #[allow(clippy::too_many_arguments, reason = "JavaScript calls it, where an object for them would cost more")]
    pub fn request(
        &self,
        call: u32,
        peer: u32,
        crossed: Crossed<'_>,
        is_json: bool,
        id: Option<String>,
        timeout: Option<f64>,
        ticket: Option<u32>,
    ) {
        let response = self.node.request(peer, content(crossed, is_json), id.as_deref(), timeout, ticket);
        self.bridge.poll(call, response);
    }

    /// Bytes that wait to be sent to a peer.
    #[napi]
    pub fn buffered(&self, peer: u32) -> i64 {
        i64::try_from(self.node.buffered(peer)).unwrap_or(i64::MAX)
    }

    /// Open connections to a peer.
    #[napi]
    pub fn connection_count(&self, peer: u32) -> u32 {
        u32::try_from(self.node.connection_count(peer)).unwrap_or(u32::MAX)
    }

    /// The connections to a peer, as JSON.
    #[napi]
    pub fn stats(&self, call: u32, peer: u32) {
        self.bridge.spawn(call, self.node.stats(peer));
    }

    /// Ends all connections to a peer, which is told the code and the text.
    #[napi]
    pub fn leave(&self, call: u32, peer: u32, code: f64, text: String) {
        self.bridge.spawn(call, self.node.leave(peer, code, text));
    }

    /// Opens a stream.
    #[napi]
    pub fn open_stream(&self, call: u32, peer: u32, metadata: &[u8], urgency: Option<u8>, ticket: Option<u32>) {
        self.bridge.spawn(call, self.node.open_stream(peer, metadata.to_vec().into(), urgency, ticket));
    }

    /// Takes a peer's messages out of the events of its swarm.
    #[napi]
    pub fn messages(&self, peer: u32) -> Result<Messages> {
        let messages = self.node.messages(peer).map_err(thrown)?;
        Ok(Messages { messages, bridge: self.bridge.clone() })
    }
}

impl Node {
    fn send_frame(&self, call: u32, peer: u32, frame: Frame) -> Result<bool> {
        Ok(self.awaited(call, self.node.send_frame(peer, frame).map_err(thrown)?))
    }

    /// Waits for what was not taken already.
    fn awaited(&self, call: u32, sending: Sending) -> bool {
        let taken = sending.is_taken_at_once();
        if !taken {
            self.bridge.poll(call, sending);
        }
        taken
    }
}

/// A swarm.
#[napi]
pub struct Swarm {
    swarm: p2pt_web_core::Swarm,
    bridge: Arc<bridge::Bridge>,
}

#[napi]
impl Swarm {
    /// The info hash.
    #[napi]
    pub fn info_hash(&self) -> String {
        self.swarm.info_hash()
    }

    /// The identifier, unless the swarm was joined by its info hash.
    #[napi]
    pub fn identifier(&self) -> Option<String> {
        self.swarm.identifier()
    }

    /// The next events; an empty array after the last one.
    #[napi]
    pub fn next(&self, call: u32) {
        let swarm = self.swarm.clone();
        self.bridge.poll(call, async move { swarm.next().await });
    }

    /// The peers, as JSON.
    #[napi]
    pub fn peers(&self) -> String {
        self.swarm.peers()
    }

    /// Waits for a peer; the result has it as JSON.
    #[napi]
    pub fn wait_for_peer(&self, call: u32, ticket: Option<u32>) {
        let swarm = self.swarm.clone();
        self.bridge.spawn(call, async move { swarm.wait_for_peer(ticket).await });
    }

    /// Sends a message to all peers; returns for which of them there was no room, as JSON.
    #[napi]
    pub fn broadcast(&self, crossed: Crossed<'_>, is_json: bool) -> Result<String> {
        self.swarm.broadcast(content(crossed, is_json)).map_err(thrown)
    }

    /// Announces now.
    #[napi]
    pub fn request_more_peers(&self, call: u32) {
        let swarm = self.swarm.clone();
        self.bridge.spawn(call, async move { swarm.request_more_peers().await });
    }

    /// Announces under another identifier from now on.
    #[napi]
    pub fn set_identifier(&self, call: u32, key: String, kind: String, secret: Option<String>) {
        let swarm = self.swarm.clone();
        self.bridge.spawn(call, async move { swarm.set_identifier(key, &kind, secret).await });
    }

    /// Leaves.
    #[napi]
    pub fn leave(&self, call: u32) {
        let swarm = self.swarm.clone();
        self.bridge.spawn(call, async move { swarm.leave().await });
    }
}

/// The messages of one peer.
#[napi]
pub struct Messages {
    messages: p2pt_web_core::Messages,
    bridge: Arc<bridge::Bridge>,
}

#[napi]
impl Messages {
    /// The next message as `[content, isJson, id]`; nothing after the last one.
    #[napi]
    pub fn next(&self, call: u32) {
        let messages = self.messages.clone();
        self.bridge.poll(call, async move { messages.next().await });
    }

    /// Gives what comes from now on back to the events of the swarm.
    #[napi]
    pub fn close(&self) {
        self.messages.close();
    }
}

/// A message that can be watched and taken back.
#[napi]
pub struct Outgoing {
    outgoing: p2pt_web_core::Outgoing,
    bridge: Arc<bridge::Bridge>,
}

#[napi]
impl Outgoing {
    /// Waits until a channel has taken it, or the other side has it. Called once.
    #[napi]
    pub fn done(&self, call: u32) {
        let outgoing = self.outgoing.clone();
        self.bridge.poll(call, async move { outgoing.done().await });
    }

    /// `[sent, acknowledged, total]` in bytes.
    #[napi]
    pub fn progress(&self) -> (i64, i64, i64) {
        let progress = self.outgoing.progress();
        let number = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
        (number(progress.sent), number(progress.acknowledged), number(progress.total))
    }

    /// Takes it back; says whether it has.
    #[napi]
    pub fn cancel(&self) -> bool {
        self.outgoing.cancel()
    }
}

/// The messages that a peer had not acknowledged when it closed.
#[napi]
pub struct Returned(p2pt_web_core::Returned);

#[napi]
impl Returned {
    /// Each as `[content, isJson, id]`.
    #[napi]
    pub fn messages<'env>(&self, env: &'env Env) -> Result<Vec<Message<'env>>> {
        self.0.messages().into_iter().map(|received| message(env, received)).collect()
    }
}

/// A stream of bytes.
#[napi]
pub struct Stream {
    stream: p2pt_web_core::Stream,
    bridge: Arc<bridge::Bridge>,
}

#[napi]
impl Stream {
    /// What the side that opened it says about it.
    #[napi]
    pub fn metadata<'env>(&self, env: &'env Env) -> Result<Uint8ArraySlice<'env>> {
        Uint8ArraySlice::copy_from(env, self.stream.metadata())
    }

    /// How urgent it is, 0 to 7.
    #[napi]
    pub fn urgency(&self) -> u8 {
        self.stream.urgency()
    }

    /// The next bytes; nothing at the end.
    #[napi]
    pub fn read(&self, call: u32) {
        let stream = self.stream.clone();
        self.bridge.poll(call, async move { stream.read().await });
    }

    /// Writes bytes.
    #[napi]
    pub fn write(&self, call: u32, bytes: &[u8]) {
        let (stream, bytes) = (self.stream.clone(), bytes.to_vec().into());
        self.bridge.poll(call, async move { stream.write(bytes).await });
    }

    /// Ends what this side writes, and waits until the other side has it.
    #[napi]
    pub fn close(&self, call: u32) {
        let stream = self.stream.clone();
        self.bridge.poll(call, async move { stream.close().await });
    }

    /// Reads no more.
    #[napi]
    pub fn stop(&self, code: f64) {
        self.stream.stop(code);
    }

    /// Writes no more, and drops what was not read.
    #[napi]
    pub fn reset(&self, code: f64) {
        self.stream.reset(code);
    }
}
