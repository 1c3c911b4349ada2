//! Two nodes that meet by a code: each end of a channel proves that it has the code before it is a peer.

use std::sync::OnceLock;

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
    code: Code,
    key: NodeKey,
    /// Held during an exchange with peers that have not proven the code, of which there is one at a time.
    exchange: Mutex<CodeExchange>,
    /// Which peer has proven the code.
    paired: OnceLock<PublicKey>,
}

/// An exchange under way. However it ends, by being dropped too, the attempt counts.
struct UnderWay<'a>(MutexGuard<'a, CodeExchange>);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        // Nothing, unless it has been cut off.
        let _ = self.0.channel_ended();
    }
}

impl Pairing {
    pub(crate) fn new((side, code): &(Side, Code), key: NodeKey, now: Instant) -> Self {
        let exchange = Mutex::new(CodeExchange::new(*side, code.clone(), key.clone(), now));
        Self { side: *side, code: code.clone(), key, exchange, paired: OnceLock::new() }
    }

    /// Has both ends of a channel prove that they have the code.
    ///
    /// The two do so on each channel, also when this side knows that the other one has the code: the other side may not know it
    /// of this one, because the last message of their exchange was lost, or because two of their channels have opened at
    /// once.
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
        if self.side == Side::Types {
            first = Some(receive(channel, crate::now() + EXCHANGE_TIMEOUT).await.ok_or(RejectReason::NotConfirmed)?);
        }
        if self.has_paired(proven) {
            return self.pair_again(channel, proven, first, rng).await;
        }
        let Ok(exchange) = timeout(2 * EXCHANGE_TIMEOUT, self.exchange.lock()).await else {
            return Err(RejectReason::Busy);
        };
        let mut under_way = UnderWay(exchange);
        if self.has_paired(proven) {
            drop(under_way);
            return self.pair_again(channel, proven, first, rng).await;
        }
        exchange_codes(&mut under_way.0, channel, proven, first, rng).await?;
        // The code is of no use for another one from here on.
        let _ = self.paired.set(proven.key);
        Ok(())
    }

    fn has_paired(&self, proven: &Proven) -> bool {
        self.paired.get() == Some(&proven.key)
    }

    /// Has the peer that has proven the code do it again, which cannot be an attempt to guess it.
    async fn pair_again(
        &self,
        channel: &mut Channel,
        proven: &Proven,
        first: Option<Bytes>,
        rng: &mut StdRng,
    ) -> Result<(), RejectReason> {
        let mut exchange = CodeExchange::new(self.side, self.code.clone(), self.key.clone(), crate::now());
        let again = exchange_codes(&mut exchange, channel, proven, first, rng).await;
        again.map_err(|_| RejectReason::NotConfirmed)
    }
}

/// An exchange on a channel, of which the first message may have come already.
async fn exchange_codes(
    exchange: &mut CodeExchange,
    channel: &mut Channel,
    proven: &Proven,
    mut first: Option<Bytes>,
    rng: &mut StdRng,
) -> Result<(), RejectReason> {
    let begun = exchange.begin(crate::now(), &proven.transcript, rng);
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
        let until = exchange.poll_timeout().unwrap_or_else(crate::now);
        let received = match first.take() {
            Some(message) => Some(message),
            None => receive(channel, until).await,
        };
        let output = match received {
            Some(message) => exchange.receive(crate::now(), &message),
            None => exchange.handle_timeout(crate::now()).or_else(|| exchange.channel_ended()),
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

#[cfg(all(test, feature = "memory"))]
#[path = "pairing_tests.rs"]
mod tests;
