//! What arrives, and what is refused.

use std::{future::poll_fn, pin::pin, task::Poll, time::Duration};

use p2pt_rt::{sleep, timeout};

use super::{
    Problem,
    harness::{Harness, broken, excerpt, numbered, same},
};
use crate::{Channel, Frame, SendFrameError, TrySendFrameError};

/// Passes frames both ways, one at a time.
async fn pass_both_ways(harness: &Harness<'_>, frames: impl IntoIterator<Item = Frame>) -> Result<(), Problem> {
    let (mut a, mut b) = harness.connect().await?;
    for frame in frames {
        harness.pass(&*a.sender, &mut *b.receiver, frame.clone()).await?;
        harness.pass(&*b.sender, &mut *a.receiver, frame).await?;
    }
    Ok(())
}

pub(super) async fn text_and_binary(harness: &Harness<'_>) -> Result<(), Problem> {
    let text = "\u{0}\u{1F600}\u{10FFFF} and a line\r\n";
    let frames = [Frame::text("a"), Frame::binary("a"), Frame::text(text), Frame::binary(vec![0, 255, 254, 0, 128])];
    pass_both_ways(harness, frames).await
}

pub(super) async fn empty_frames(harness: &Harness<'_>) -> Result<(), Problem> {
    pass_both_ways(harness, [Frame::text(""), Frame::binary(""), Frame::text("after")]).await
}

pub(super) async fn largest_frame(harness: &Harness<'_>) -> Result<(), Problem> {
    let (mut a, mut b) = harness.connect().await?;
    for binary in [false, true] {
        let frame = |channel: &Channel| {
            let bytes = channel.info.max_frame_bytes.min(harness.settings.max_accepted_bytes);
            if binary { Frame::binary(vec![0xA5; bytes]) } else { Frame::text("x".repeat(bytes)) }
        };
        let (from_a, from_b) = (frame(&a), frame(&b));
        harness.pass(&*a.sender, &mut *b.receiver, from_a).await?;
        harness.pass(&*b.sender, &mut *a.receiver, from_b).await?;
    }
    Ok(())
}

/// A frame is refused, whichever way it is sent, with this error.
async fn is_refused(
    harness: &Harness<'_>,
    channel: &Channel,
    frame: Frame,
    error: SendFrameError,
) -> Result<(), Problem> {
    let refused = harness.within("refusing a frame", channel.sender.send(frame.clone())).await?;
    same("what send says", &refused, &Err(error.clone()))?;
    same("what try_send says", &channel.sender.try_send(frame), &Err(TrySendFrameError::Refused(error)))
}

pub(super) async fn too_large(harness: &Harness<'_>) -> Result<(), Problem> {
    let (mut a, mut b) = harness.connect().await?;
    for channel in [&a, &b] {
        let max = channel.info.max_frame_bytes;
        if max < harness.settings.max_accepted_bytes {
            let frame = Frame::binary(vec![0; max + 1]);
            is_refused(harness, channel, frame, SendFrameError::TooLarge { bytes: max + 1, max }).await?;
        }
    }
    harness.works(&mut a, &mut b).await
}

pub(super) async fn not_utf8(harness: &Harness<'_>) -> Result<(), Problem> {
    let (mut a, mut b) = harness.connect().await?;
    is_refused(harness, &a, Frame::Text(b"\xED\xA0\xBD"[..].into()), SendFrameError::NotUtf8).await?;
    is_refused(harness, &b, Frame::Text(b"a\xFF"[..].into()), SendFrameError::NotUtf8).await?;
    harness.works(&mut a, &mut b).await
}

pub(super) async fn order(harness: &Harness<'_>) -> Result<(), Problem> {
    let (mut a, mut b) = harness.connect().await?;
    let frames = harness.settings.many_frames;
    let size = |number: usize| if number % 100 == 99 { a.info.max_frame_bytes.min(16 * 1024) } else { 10 };
    tokio::try_join!(
        harness.send_numbered(&*a.sender, frames, size),
        harness.send_numbered(&*b.sender, frames, size),
        harness.expect_numbered(&mut *a.receiver, frames, size),
        harness.expect_numbered(&mut *b.receiver, frames, size),
    )?;
    Ok(())
}

pub(super) async fn acknowledges(harness: &Harness<'_>) -> Result<(), Problem> {
    let (a, mut b) = harness.connect().await?;
    harness.send_numbered(&*a.sender, 10, |_| 1000).await?;
    harness.expect_numbered(&mut *b.receiver, 10, |_| 1000).await?;
    let acknowledged = async {
        while a.sender.unacknowledged_bytes() > 0 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    harness.within("acknowledging what was received", acknowledged).await
}

pub(super) async fn counts_bytes(harness: &Harness<'_>) -> Result<(), Problem> {
    let (a, mut b) = harness.connect().await?;
    harness.pass(&*a.sender, &mut *b.receiver, Frame::text("\u{1F600}")).await?;
    harness.pass(&*a.sender, &mut *b.receiver, Frame::binary(vec![7; 1000])).await?;
    let sent = harness.within("asking for statistics", a.sender.stats()).await?.bytes_sent;
    let received = harness.within("asking for statistics", b.sender.stats()).await?.bytes_received;
    same("payload bytes sent and received", &(sent, received), &(1004, 1004))
}

pub(super) async fn cancelled_recv(harness: &Harness<'_>) -> Result<(), Problem> {
    let (a, mut b) = harness.connect().await?;
    let frames = harness.settings.many_frames.min(500);
    let patience = [Duration::ZERO, Duration::from_millis(1)];
    let receive = async {
        let mut number = 0;
        for round in 0_usize.. {
            match timeout(patience[round % 2], b.receiver.recv()).await {
                Ok(Ok(frame)) if frame == numbered(number, 10) => number += 1,
                Ok(Ok(frame)) => return broken(format!("expected frame {number}, got {}", excerpt(&frame))),
                Ok(Err(closed)) => return broken(format!("the channel ended: {closed}")),
                Err(_) => p2pt_rt::yield_now().await,
            }
            if number == frames {
                break;
            }
        }
        Ok(())
    };
    let send = async {
        for number in 0..frames {
            harness.send(&*a.sender, numbered(number, 10)).await?;
            if number % 10 == 0 {
                sleep(Duration::from_millis(1)).await;
            }
        }
        Ok(())
    };
    let (received, sent) = tokio::join!(harness.within("receiving all frames", receive), send);
    sent.and(received?)
}

/// How many frames of the largest size are sent, unless so many are more than a backend may have to accept.
const LARGE_FRAMES: usize = 24;

pub(super) async fn cancelled_large_recv(harness: &Harness<'_>) -> Result<(), Problem> {
    let (a, mut b) = harness.connect().await?;
    let max = harness.settings.max_accepted_bytes;
    let bytes = a.info.max_frame_bytes.min(max);
    let frames = (max / bytes.max(1)).clamp(2, LARGE_FRAMES);
    // Small ones between show whether a large one is overtaken.
    let size = |number| if number % 3 == 2 { 10 } else { bytes };
    let receive = async {
        let mut number = 0;
        for round in 0.. {
            let wait = Duration::from_millis(round as u64 % 3);
            // Frames come in pieces and each may wake the receiver: it is left after the first, the second, and so on.
            match timeout(wait, woken(round % 7, b.receiver.recv())).await {
                Ok(Some(Ok(frame))) if frame == patterned(number, size(number)) => number += 1,
                Ok(Some(Ok(frame))) => {
                    let what = format!("expected frame {number} of {} bytes whole", size(number));
                    return broken(format!("{what}, got {}", excerpt(&frame)));
                }
                Ok(Some(Err(closed))) => return broken(format!("the channel ended before frame {number}: {closed}")),
                // On a clock that stands still while there is work, time would otherwise not pass.
                Ok(None) | Err(_) => sleep(Duration::from_millis(1)).await,
            }
            if number == frames {
                break;
            }
        }
        Ok(())
    };
    let send = async {
        for number in 0..frames {
            harness.send(&*a.sender, patterned(number, size(number))).await?;
        }
        Ok(())
    };
    let (received, sent) = tokio::join!(harness.within("receiving all frames", receive), send);
    sent.and(received?)
}

/// A frame in which each word says where in which frame it belongs.
fn patterned(number: usize, bytes: usize) -> Frame {
    let words = (0..bytes.div_ceil(4)).flat_map(|word| (((number << 24) ^ word) as u32).to_be_bytes());
    Frame::binary(words.take(bytes).collect::<Vec<_>>())
}

/// What the future gives, unless it is pending when it is polled for the first time after being woken `times` times.
async fn woken<T>(times: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut left = times;
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}
