//! Two nodes that meet by a code: each end of a channel proves that it has the code before it is a peer.

use bytes::Bytes;
use p2pt_messaging::wire::{Frame as WireFrame, FrameKind, Frames};
use p2pt_rt::{Instant, timeout, timeout_at};
use p2pt_transport::{Channel, Frame};
use p2pt_trust::{BeginError, Code, CodeExchange, EXCHANGE_TIMEOUT, ExchangeOutput, NodeKey, PublicKey, Side};
use rand::rngs::StdRng;
use tokio::sync::{Mutex, MutexGuard};
use tracing::debug;

use super::confirm::Proven;
use crate::RejectReason;

/// This node's side of a code, in one swarm.
#[derive(Debug)]
pub(crate) struct Pairing {
    side: Side,
    /// Held during an exchange, of which there is one at a time.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    exchange: CodeExchange,
    /// Who has proven the code.
    paired: Option<PublicKey>,
}

/// An exchange under way. However it ends, by being dropped too, the attempt counts.
struct UnderWay<'a>(MutexGuard<'a, State>);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        // Nothing, unless it has been cut off.
        let _ = self.0.exchange.channel_ended();
    }
}

impl Pairing {
    pub(crate) fn new((side, code): &(Side, Code), key: NodeKey, now: Instant) -> Self {
        let exchange = CodeExchange::new(*side, code.clone(), key, now);
        Self { side: *side, state: Mutex::new(State { exchange, paired: None }) }
    }

    /// Has both ends of a channel prove that they have the code.
    ///
    /// # Errors
    /// Why the other one is turned away.
    pub(crate) async fn pair(
        &self,
        channel: &mut Channel,
        proven: Option<&Proven>,
        rng: &mut StdRng,
    ) -> Result<(), RejectReason> {
        let proven = proven.ok_or(RejectReason::Unsigned)?;
        // The side that types takes part in the exchange that the other has begun, so that the two do not wait for each other
        // on two channels.
        let mut first = None;
        if self.side == Side::Types && self.state.lock().await.paired != Some(proven.key) {
            first = Some(receive(channel, crate::now() + EXCHANGE_TIMEOUT).await.ok_or(RejectReason::NotConfirmed)?);
        }
        let Ok(state) = timeout(2 * EXCHANGE_TIMEOUT, self.state.lock()).await else {
            return Err(RejectReason::Busy);
        };
        let mut under_way = UnderWay(state);
        let state = &mut *under_way.0;
        if state.paired == Some(proven.key) {
            return Ok(());
        }
        let begun = state.exchange.begin(crate::now(), &proven.transcript, rng);
        let mut to_send = begun.map_err(|error| {
            debug!(%error, "the code is of no use any more");
            match error {
                BeginError::Busy => RejectReason::Busy,
                _ => RejectReason::CodeVoid,
            }
        })?;
        loop {
            if let Some(message) = to_send.take() {
                // That the channel has closed is seen by what is received, too.
                let _ = channel.sender.send(framed(&message)).await;
            }
            let until = state.exchange.poll_timeout().unwrap_or_else(crate::now);
            let received = match first.take() {
                Some(message) => Some(message),
                None => receive(channel, until).await,
            };
            let output = match received {
                Some(message) => state.exchange.receive(crate::now(), &message),
                None => state.exchange.handle_timeout(crate::now()).or_else(|| state.exchange.channel_ended()),
            };
            match output {
                Some(ExchangeOutput::Send(message)) => to_send = Some(message),
                Some(ExchangeOutput::Finished { key, last }) => {
                    if let Some(message) = last {
                        let _ = channel.sender.send(framed(&message)).await;
                    }
                    if key != proven.key {
                        debug!("the other side names another key than it has proven");
                        return Err(RejectReason::NotConfirmed);
                    }
                    state.paired = Some(key);
                    return Ok(());
                }
                Some(ExchangeOutput::Failed { why, left }) => {
                    debug!(%why, left, "the other side does not prove the code");
                    return Err(RejectReason::WrongCode { left });
                }
                _ => return Err(RejectReason::CodeVoid),
            }
        }
    }
}

fn framed(message: &[u8]) -> Frame {
    let mut bytes = Vec::with_capacity(message.len() + 4);
    // It fails for kinds that are no integers of the wire alone.
    let encoded = WireFrame { kind: FrameKind::CODE, body: message }.encode(&mut bytes);
    debug_assert!(encoded.is_ok());
    Frame::Binary(bytes.into())
}

/// The next message of an exchange; `None` if something else comes, or nothing in time.
async fn receive(channel: &mut Channel, until: Instant) -> Option<Bytes> {
    let frame = timeout_at(until, channel.receiver.recv()).await.ok()?.ok()?;
    let Frame::Binary(bytes) = frame else { return None };
    match Frames::new(&bytes).next() {
        Some(Ok(WireFrame { kind: FrameKind::CODE, body })) => Some(bytes.slice_ref(body)),
        _ => None,
    }
}
