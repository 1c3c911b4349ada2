//! The end of a channel by a polite close.

use std::time::Duration;

use p2pt_rt::sleep;

use super::{
    Problem,
    harness::{Harness, broken, numbered, same},
};
use crate::{Channel, ChannelClosed, Frame, SendFrameError, TrySendFrameError};

const FRAMES: usize = 200;
const BYTES: usize = 1000;

pub(super) async fn close_flushes(harness: &Harness<'_>) -> Result<(), Problem> {
    let (a, mut b) = harness.connect().await?;
    let send = async {
        harness.send_numbered(&*a.sender, FRAMES, |_| BYTES).await?;
        harness.closes(&*a.sender).await
    };
    let receive = async {
        harness.expect_numbered(&mut *b.receiver, FRAMES, |_| BYTES).await?;
        same("how the other side sees the close", &harness.end(&mut *b.receiver).await?, &ChannelClosed::Remote)
    };
    let (sent, received) = tokio::join!(send, receive);
    received.and(sent)
}

pub(super) async fn acknowledged_at_close(harness: &Harness<'_>) -> Result<(), Problem> {
    // What was delivered long before the close is known to be acknowledged by the time the close is.
    let (mut a, mut b) = harness.connect().await?;
    let (sent, received) = tokio::join!(
        harness.send_numbered(&*a.sender, FRAMES, |_| BYTES),
        harness.expect_numbered(&mut *b.receiver, FRAMES, |_| BYTES),
    );
    received.and(sent)?;
    harness.pass(&*b.sender, &mut *a.receiver, Frame::text("all here")).await?;
    sleep(harness.settings.patience).await;
    harness.closes(&*b.sender).await?;
    same("how the other side sees the close", &harness.end(&mut *a.receiver).await?, &ChannelClosed::Remote)?;
    same("the bytes unacknowledged at the close", &a.sender.unacknowledged_bytes(), &0)?;

    // The acknowledgement of what was delivered just before the close may come just after it.
    let (mut a, mut b) = harness.connect().await?;
    harness.pass(&*a.sender, &mut *b.receiver, numbered(0, BYTES)).await?;
    harness.closes(&*b.sender).await?;
    same("how the other side sees the close", &harness.end(&mut *a.receiver).await?, &ChannelClosed::Remote)?;
    let acknowledged = async {
        while a.sender.unacknowledged_bytes() > 0 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    harness.within("acknowledging what was received just before the close", acknowledged).await
}

pub(super) async fn reason_is_stable(harness: &Harness<'_>) -> Result<(), Problem> {
    let (mut a, mut b) = harness.connect().await?;
    harness.closes(&*a.sender).await?;
    for (channel, reason) in [(&mut a, ChannelClosed::Local), (&mut b, ChannelClosed::Remote)] {
        for _ in 0..3 {
            same("the reason recv gives", &harness.end(&mut *channel.receiver).await?, &reason)?;
            let closed = harness.within("learning of the end from the sender", channel.sender.closed()).await?;
            same("the reason closed gives", &closed, &reason)?;
        }
    }
    Ok(())
}

pub(super) async fn unread_frames_survive(harness: &Harness<'_>) -> Result<(), Problem> {
    let (a, mut b) = harness.connect().await?;
    harness.send_numbered(&*a.sender, 10, |_| 20).await?;
    harness.closes(&*a.sender).await?;
    let closed = harness.within("learning of the end while frames wait", b.sender.closed()).await?;
    same("the reason closed gives", &closed, &ChannelClosed::Remote)?;
    harness.expect_numbered(&mut *b.receiver, 10, |_| 20).await?;
    same("the reason recv gives", &harness.end(&mut *b.receiver).await?, &ChannelClosed::Remote)
}

pub(super) async fn full_receive_buffer_hides_nothing(harness: &Harness<'_>) -> Result<(), Problem> {
    let (a, mut b) = harness.connect().await?;
    harness.fill(&*a.sender, a.info.max_frame_bytes.min(16 * 1024), 0).await?;
    harness.closes(&*a.sender).await?;
    let closed = harness.within("learning of the end while the receive buffer is full", b.sender.closed()).await?;
    same("the reason recv gives in the end", &harness.end_at_last(&mut *b.receiver).await?, &closed)
}

pub(super) async fn close_ends_recv(harness: &Harness<'_>) -> Result<(), Problem> {
    let (mut a, _b) = harness.connect().await?;
    let (reason, closed) = tokio::join!(harness.end(&mut *a.receiver), harness.closes(&*a.sender));
    closed?;
    same("the reason recv gives", &reason?, &ChannelClosed::Local)
}

async fn refuses(harness: &Harness<'_>, channel: &Channel) -> Result<(), Problem> {
    let sent = harness.within("refusing a frame", channel.sender.send(Frame::text("late"))).await?;
    same("what send says", &sent, &Err(SendFrameError::Closed))?;
    let closed = Err(TrySendFrameError::Refused(SendFrameError::Closed));
    same("what try_send says", &channel.sender.try_send(Frame::text("late")), &closed)
}

pub(super) async fn send_after_close(harness: &Harness<'_>) -> Result<(), Problem> {
    let (a, mut b) = harness.connect().await?;
    harness.closes(&*a.sender).await?;
    refuses(harness, &a).await?;
    harness.end(&mut *b.receiver).await?;
    refuses(harness, &b).await
}

/// A sender that waits for room gets `Closed` when one side closes; the other reads nothing meanwhile.
async fn ends_a_waiting_send(harness: &Harness<'_>, waiting: &Channel, closing: &Channel) -> Result<(), Problem> {
    let bytes = waiting.info.max_frame_bytes.min(16 * 1024);
    harness.fill(&*waiting.sender, bytes, 0).await?;
    let send_on = async {
        // More than once, should a slow channel have made room after all.
        for _ in 0..harness.settings.max_accepted_bytes / bytes {
            if let Err(error) = waiting.sender.send(Frame::binary(vec![0; bytes])).await {
                return Some(error);
            }
        }
        None
    };
    let (ended, closed) =
        tokio::join!(harness.within("ending a send that waits", send_on), harness.closes(&*closing.sender));
    closed?;
    same("what send says", &ended?, &Some(SendFrameError::Closed))
}

pub(super) async fn close_ends_send(harness: &Harness<'_>) -> Result<(), Problem> {
    let (a, _b) = harness.connect().await?;
    ends_a_waiting_send(harness, &a, &a).await
}

pub(super) async fn remote_close_ends_send(harness: &Harness<'_>) -> Result<(), Problem> {
    let (a, b) = harness.connect().await?;
    ends_a_waiting_send(harness, &a, &b).await
}

pub(super) async fn close_twice(harness: &Harness<'_>) -> Result<(), Problem> {
    let (mut a, mut b) = harness.connect().await?;
    tokio::try_join!(
        harness.closes(&*a.sender),
        harness.closes(&*a.sender),
        harness.closes(&*b.sender),
        harness.closes(&*b.sender),
    )?;
    harness.closes(&*a.sender).await?;
    for receiver in [&mut a.receiver, &mut b.receiver] {
        let reason = harness.end(&mut **receiver).await?;
        if !matches!(reason, ChannelClosed::Local | ChannelClosed::Remote) {
            return broken(format!("when both sides close, the reason is Local or Remote, but recv says {reason:?}"));
        }
    }
    Ok(())
}
