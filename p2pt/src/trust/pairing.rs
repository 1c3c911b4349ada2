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
        // The side that shows waits for the reply on each channel by itself, so that a silent peer holds up no other.
        let mut begun = None;
        if self.side == Side::Shows {
            self.check_of_use()?;
            let mut exchange = self.new_exchange();
            if let Ok(Some(element)) = exchange.begin(crate::now(), &proven.transcript, rng) {
                let _ = channel.sender.send(framed(&element)).await;
            }
            let until = crate::now() + EXCHANGE_TIMEOUT;
            first = Some(receive(channel, until).await.ok_or(RejectReason::NotConfirmed)?);
            begun = Some(exchange);
        }
        let Ok(exchange) = timeout(2 * EXCHANGE_TIMEOUT, self.exchange.lock()).await else {
            return Err(RejectReason::Busy);
        };
        let mut under_way = UnderWay(exchange);
        if self.has_paired(proven) {
            // Another channel with it was faster.
            drop(under_way);
            let mut exchange = begun.unwrap_or_else(|| self.new_exchange());
            return again(go_on(&mut exchange, channel, proven, first, rng).await);
        }
        if let Some(begun) = begun {
            under_way.0.take_over(crate::now(), begun).map_err(refused)?;
        }
        go_on(&mut under_way.0, channel, proven, first, rng).await?;
        // The code is of no use for another one from here on.
        let _ = self.paired.set(proven.key);
        Ok(())
    }

    fn has_paired(&self, proven: &Proven) -> bool {
        self.paired.get() == Some(&proven.key)
    }

    fn new_exchange(&self) -> CodeExchange {
        CodeExchange::new(self.side, self.code.clone(), self.key.clone(), crate::now())
    }

    /// Fails if it is known that the code is of no use.
    fn check_of_use(&self) -> Result<(), RejectReason> {
        // While an exchange is under way it is not known.
        let Ok(mut exchange) = self.exchange.try_lock() else { return Ok(()) };
        let _ = exchange.handle_timeout(crate::now());
        exchange.end().map_or(Ok(()), |end| Err(refused(BeginError::Void(end))))
    }

    /// Has the peer that has proven the code do it again, which cannot be an attempt to guess it.
    async fn pair_again(
        &self,
        channel: &mut Channel,
        proven: &Proven,
        first: Option<Bytes>,
        rng: &mut StdRng,
    ) -> Result<(), RejectReason> {
        again(go_on(&mut self.new_exchange(), channel, proven, first, rng).await)
    }
}

fn again(paired: Result<(), RejectReason>) -> Result<(), RejectReason> {
    paired.map_err(|_| RejectReason::NotConfirmed)
}

fn refused(error: BeginError) -> RejectReason {
    debug!(%error, "the code is of no use any more");
    match error {
        BeginError::Busy => RejectReason::Busy,
        _ => RejectReason::CodeVoid,
    }
}

/// An exchange on a channel, which begins unless it has begun, and of which the first message may have come already.
async fn go_on(
    exchange: &mut CodeExchange,
    channel: &mut Channel,
    proven: &Proven,
    mut first: Option<Bytes>,
    rng: &mut StdRng,
) -> Result<(), RejectReason> {
    let mut to_send = match exchange.begin(crate::now(), &proven.transcript, rng) {
        // It is held by this call alone, so that what is under way is what was begun for it.
        Err(BeginError::Busy) => None,
        begun => begun.map_err(refused)?,
    };
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
