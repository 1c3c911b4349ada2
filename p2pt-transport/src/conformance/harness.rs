//! What the checks have in common: a pair of transports, and steps with a deadline.

use std::{fmt, sync::Arc};

use p2pt_rt::timeout;

use super::{Problem, Settings};
use crate::{
    Channel, ChannelClosed, Frame, FrameReceiver, FrameSender, PendingAnswer, PendingOffer, Transport, TransportError,
    TrySendFrameError,
};

pub(super) struct Harness<'a> {
    pub(super) a: Arc<dyn Transport>,
    pub(super) b: Arc<dyn Transport>,
    pub(super) settings: &'a Settings,
}

pub(super) fn broken<T>(what: impl Into<String>) -> Result<T, Problem> {
    Err(Problem::Broken(what.into()))
}

pub(super) fn same<T: PartialEq + fmt::Debug>(what: &str, got: &T, expected: &T) -> Result<(), Problem> {
    if got == expected { Ok(()) } else { broken(format!("{what}: expected {expected:?}, got {got:?}")) }
}

/// A frame that says which one it is.
pub(super) fn numbered(number: usize, bytes: usize) -> Frame {
    Frame::text(format!("{number:<bytes$}"))
}

impl Harness<'_> {
    pub(super) async fn within<T>(&self, step: &'static str, future: impl Future<Output = T>) -> Result<T, Problem> {
        let after = self.settings.deadline;
        timeout(after, future).await.map_err(|_| Problem::Timeout { step, after })
    }

    pub(super) async fn offer(&self) -> Result<Box<dyn PendingOffer>, Problem> {
        let step = "making an offer";
        self.within(step, self.a.offer()).await?.map_err(|source| Problem::Transport { step, source })
    }

    pub(super) async fn answer(&self, offer_sdp: &str) -> Result<Box<dyn PendingAnswer>, Problem> {
        let step = "making an answer";
        self.within(step, self.b.answer(offer_sdp)).await?.map_err(|source| Problem::Transport { step, source })
    }

    /// Opens both sides; `answer_sdp` is what reaches the offerer.
    pub(super) async fn open(
        &self,
        offer: Box<dyn PendingOffer>,
        answer: Box<dyn PendingAnswer>,
        answer_sdp: &str,
    ) -> Result<(Channel, Channel), Problem> {
        let step = "opening both sides";
        let both = async { tokio::try_join!(offer.open(answer_sdp), answer.open()) };
        self.within(step, both).await?.map_err(|source| Problem::Transport { step, source })
    }

    pub(super) async fn connect(&self) -> Result<(Channel, Channel), Problem> {
        let offer = self.offer().await?;
        let answer = self.answer(offer.sdp()).await?;
        let sdp = answer.sdp().to_owned();
        self.open(offer, answer, &sdp).await
    }

    pub(super) async fn send(&self, sender: &dyn FrameSender, frame: Frame) -> Result<(), Problem> {
        let sent = self.within("sending a frame", sender.send(frame)).await?;
        sent.or_else(|error| broken(format!("a frame was not accepted: {error}")))
    }

    pub(super) async fn expect(&self, receiver: &mut dyn FrameReceiver, frame: &Frame) -> Result<(), Problem> {
        match self.within("receiving a frame", receiver.recv()).await? {
            Ok(got) if got == *frame => Ok(()),
            Ok(got) => broken(format!("expected {}, got {}", excerpt(frame), excerpt(&got))),
            Err(closed) => broken(format!("expected {}, but the channel ended: {closed}", excerpt(frame))),
        }
    }

    pub(super) async fn pass(
        &self,
        sender: &dyn FrameSender,
        receiver: &mut dyn FrameReceiver,
        frame: Frame,
    ) -> Result<(), Problem> {
        let (sent, received) = tokio::join!(self.send(sender, frame.clone()), self.expect(receiver, &frame));
        sent.and(received)
    }

    /// The channel works both ways.
    pub(super) async fn works(&self, a: &mut Channel, b: &mut Channel) -> Result<(), Problem> {
        self.pass(&*a.sender, &mut *b.receiver, Frame::text("there")).await?;
        self.pass(&*b.sender, &mut *a.receiver, Frame::text("and back")).await
    }

    pub(super) async fn closes(&self, sender: &dyn FrameSender) -> Result<(), Problem> {
        self.within("closing a channel", sender.close()).await
    }

    /// The reason of the end, when no more frames may come.
    pub(super) async fn end(&self, receiver: &mut dyn FrameReceiver) -> Result<ChannelClosed, Problem> {
        match self.within("learning of the end of a channel", receiver.recv()).await? {
            Ok(frame) => broken(format!("expected the end of the channel, got {}", excerpt(&frame))),
            Err(reason) => Ok(reason),
        }
    }

    /// Receives these frames, in this order.
    pub(super) async fn expect_numbered(
        &self,
        receiver: &mut dyn FrameReceiver,
        frames: usize,
        size: impl Fn(usize) -> usize,
    ) -> Result<(), Problem> {
        for number in 0..frames {
            self.expect(receiver, &numbered(number, size(number))).await?;
        }
        Ok(())
    }

    pub(super) async fn send_numbered(
        &self,
        sender: &dyn FrameSender,
        frames: usize,
        size: impl Fn(usize) -> usize,
    ) -> Result<(), Problem> {
        for number in 0..frames {
            self.send(sender, numbered(number, size(number))).await?;
        }
        Ok(())
    }

    /// The reason of the end, with whatever frames come before it.
    pub(super) async fn end_at_last(&self, receiver: &mut dyn FrameReceiver) -> Result<ChannelClosed, Problem> {
        loop {
            let received = self.within("learning of the end of a channel", receiver.recv()).await?;
            if let Err(reason) = received {
                return Ok(reason);
            }
        }
    }

    /// An opening that must come to nothing: an error, or a channel that has been closed.
    pub(super) async fn fails(
        &self,
        step: &'static str,
        open: impl Future<Output = Result<Channel, TransportError>>,
    ) -> Result<(), Problem> {
        let Ok(mut channel) = self.within(step, open).await? else { return Ok(()) };
        self.end(&mut *channel.receiver).await.map(drop)
    }

    /// Whether a reader that stalls makes its senders wait, with both transports.
    pub(super) fn has_back_pressure(&self) -> bool {
        self.a.capabilities().back_pressure && self.b.capabilities().back_pressure
    }

    /// Sends frames numbered from `first` until the channel takes no more; returns the number of the one it did not take.
    ///
    /// Where a reader that stalls does not make it wait, the channel takes no more for a moment only: until it has sent what
    /// it was handed at once.
    pub(super) async fn fill(
        &self,
        sender: &dyn FrameSender,
        frame_bytes: usize,
        first: usize,
    ) -> Result<usize, Problem> {
        for number in first..=self.settings.max_accepted_bytes / frame_bytes {
            let frame = numbered(number, frame_bytes);
            if self.has_back_pressure() {
                // Dropping the `send` that waits must send nothing: a later reader finds a gap if it does.
                match timeout(self.settings.patience, sender.send(frame)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return broken(format!("a frame was not accepted: {error}")),
                    Err(_) => return Ok(number),
                }
            } else {
                match sender.try_send(frame) {
                    Ok(()) => {}
                    Err(TrySendFrameError::Full(_)) => return Ok(number),
                    Err(error) => return broken(format!("a frame was not accepted: {error}")),
                }
            }
        }
        let bytes = self.settings.max_accepted_bytes;
        broken(format!("more than {bytes} bytes were accepted though the other side read nothing"))
    }

    /// Sends on a channel that nothing is read of and whose backend cannot make it wait: it ends with the reason that says
    /// so, after what the backend held.
    pub(super) async fn overflows(&self, a: &Channel, b: &mut Channel, frame_bytes: usize) -> Result<(), Problem> {
        let step = "ending a channel of which nothing is read";
        let mut sent = 0;
        while let Ok(()) = self.within(step, a.sender.send(numbered(sent, frame_bytes))).await? {
            sent += 1;
            if sent * frame_bytes > self.settings.max_accepted_bytes {
                let bytes = self.settings.max_accepted_bytes;
                return broken(format!(
                    "more than {bytes} bytes were accepted and none of them read, and nothing ended"
                ));
            }
        }
        let reason = self.within(step, b.sender.closed()).await?;
        if !matches!(reason, ChannelClosed::Overflow { .. }) {
            return broken(format!("the reason of the end is Overflow, but closed says {reason:?}"));
        }
        same("how the other side sees the end", &self.within(step, a.sender.closed()).await?, &ChannelClosed::Remote)?;
        for number in 0..=sent {
            match self.within("receiving what was held", b.receiver.recv()).await? {
                Ok(frame) if frame == numbered(number, frame_bytes) => {}
                Ok(frame) => return broken(format!("expected frame {number} or the end, got {}", excerpt(&frame))),
                Err(_) if number == 0 => return broken("nothing of what was held can be read"),
                Err(closed) => return same("the reason recv gives", &closed, &reason),
            }
        }
        broken("more was received than was sent")
    }
}

/// A frame for people: its kind, size and beginning.
pub(super) fn excerpt(frame: &Frame) -> String {
    let text = frame.to_text();
    format!("{frame:?} {:?}", text.chars().take(24).collect::<String>().trim_end())
}
