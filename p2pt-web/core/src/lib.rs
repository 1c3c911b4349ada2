//! What the npm package `p2pt-web` asks of [`p2pt`]: a node and its swarms in plain values (numbers, text, bytes, JSON),
//! so that a binding has nothing left to decide.
//!
//! ```text
//! p2pt-web/src/*.ts ─▶ a binding (p2pt-web/wasm in browsers, p2pt-web/node in Node) ─▶ this crate ─▶ p2pt
//! ```
//!
//! Both bindings show JavaScript the same methods, which are those of [`Node`], [`Swarm`] and [`Messages`] here, one by
//! one; `p2pt-web/src/binding.ts` has them as types. What differs between the platforms is how a text, bytes or a promise
//! crosses into JavaScript, and nothing else.
//!
//! - A peer is a [number](Node::send) that is never given out twice by a node. It is valid from the first time the peer is
//!   handed out until its [`peerClosed`](Item::Other) has been, and after that everything fails with
//!   [`peer_gone`](Fault).
//! - A key, a link, a code and a passphrase are texts, and so is a public key. None of them is ever in an error.
//! - Messages, frames and streams cross as they are. All other events are one line of JSON each, since they are rare
//!   ([`Item`]).
//! - Every error is a [`Fault`]: a code that programs can rely on, and a sentence for people.
//! - What is sent to a peer leaves in the order of the calls, whatever has to wait for room: each call puts its message in
//!   the facade's send queue before it returns. The queue is bounded in bytes ([`Options`]), and a message for which there
//!   is no room is refused with [`queue_full`](Fault), never dropped in silence.

mod cancel;
mod content;
mod fault;
mod item;
mod node;
mod options;
mod peers;
mod sending;
mod state;
mod stream;
mod swarm;
mod trust;

pub use content::{Content, Received, Returned};
pub use fault::{CODES, Fault};
pub use item::{Batch, Item};
pub use node::{Node, info_hash_of};
pub use options::{OPTIONS, Options};
pub use sending::{Outgoing, Progress, Sending};
pub use stream::Stream;
pub use swarm::{Messages, Swarm};
pub use trust::{generate_key, new_code, new_passphrase, new_room_link, public_key_of};
