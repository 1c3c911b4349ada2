//! Back-pressure: who waits for whom, and who does not.

use p2pt_rt::sleep;

use super::{
    Problem,
    harness::{Harness, broken, numbered, same},
};
use crate::{Channel, Frame, FrameReceiver, FrameSender, TrySendAllError, TrySendFrameError};

/// The size of the frames that fill a channel.
fn frame_bytes(channel: &Channel) -> usize {
    channel.info.max_frame_bytes.min(16 * 1024)
}

pub(super) async fn send_waits(harness: &Harness<'_>) -> Result<(), Problem> {
    let (a, mut b) = harness.connect().await?;
    let bytes = frame_bytes(&a);
    let accepted = harness.fill(&*a.sender, bytes, 0).await?;
    let more = async {
        for number in accepted..accepted + 10 {
            harness.send(&*a.sender, numbered(number, bytes)).await?;
        }
        Ok(())
    };
    let (sent, received) = tokio::join!(more, harness.expect_numbered(&mut *b.receiver, accepted + 10, |_| bytes));
    received.and(sent)
}

pub(super) async fn stalled_reader_is_bounded(harness: &Harness<'_>) -> Result<(), Problem> {
    let (a, mut b) = harness.connect().await?;
    let bytes = frame_bytes(&a);
    if !harness.has_back_pressure() {
        return harness.overflows(&a, &mut b, bytes).await;
    }
    let accepted = harness.fill(&*a.sender, bytes, 0).await?;
    // However long it takes: the channel stays, and nothing is lost.
    sleep(harness.settings.patience).await;
    harness.expect_numbered(&mut *b.receiver, accepted, |_| bytes).await?;
    harness.works(&mut { a }, &mut b).await
}

pub(super) async fn try_send_is_full(harness: &Harness<'_>) -> Result<(), Problem> {
    let (a, mut b) = harness.connect().await?;
    let bytes = frame_bytes(&a);
    let mut accepted = 0;
    let refused = loop {
        accepted = harness.fill(&*a.sender, bytes, accepted).await?;
        let frame = numbered(accepted, bytes);
        match a.sender.try_send(frame.clone()) {
            Err(TrySendFrameError::Full(back)) => {
                same("the frame given back", &back, &frame)?;
                break frame;
            }
            // A slow channel made room after all, or the backend never says Full; `fill` tells which.
            Ok(()) => accepted += 1,
            Err(error) => return broken(format!("expected try_send to say Full, got {error:?}")),
        }
    };
    harness.expect_numbered(&mut *b.receiver, accepted, |_| bytes).await?;
    harness.pass(&*a.sender, &mut *b.receiver, Frame::text("room again")).await?;
    match a.sender.try_send(refused.clone()) {
        Ok(()) => harness.expect(&mut *b.receiver, &refused).await,
        Err(error) => broken(format!("try_send refused a frame though there was room: {error}")),
    }
}

pub(super) async fn all_or_nothing(harness: &Harness<'_>) -> Result<(), Problem> {
    let (a, mut b) = harness.connect().await?;
    let three: Vec<Frame> = (0..3).map(|number| numbered(number, 10)).collect();
    same("what try_send_all says of three small frames", &a.sender.try_send_all(three), &Ok(()))?;
    harness.expect_numbered(&mut *b.receiver, 3, |_| 10).await?;

    let bytes = frame_bytes(&a);
    let endless = vec![numbered(0, bytes); harness.settings.max_accepted_bytes / bytes + 1];
    let never = Err(TrySendAllError::NeverFits);
    same("what try_send_all says of more than any channel accepts", &a.sender.try_send_all(endless), &never)?;

    let (mut accepted, mut small) = (0, Vec::new());
    loop {
        accepted = harness.fill(&*a.sender, bytes, accepted).await?;
        // There is no room for a large frame, but there may be for the first of these.
        let batch = [10, bytes, bytes].into_iter().enumerate().map(|(n, bytes)| numbered(accepted + n, bytes));
        match a.sender.try_send_all(batch.collect()) {
            Err(TrySendAllError::Full | TrySendAllError::NeverFits) => break,
            // A slow channel made room after all.
            Ok(()) => {
                small.push(accepted);
                accepted += 3;
            }
            Err(error) => return broken(format!("expected try_send_all to say Full, got {error:?}")),
        }
    }
    let size = |number| if small.contains(&number) { 10 } else { bytes };
    harness.expect_numbered(&mut *b.receiver, accepted, size).await?;
    harness.pass(&*a.sender, &mut *b.receiver, Frame::text("nothing came between")).await
}

pub(super) async fn waiting_senders_get_through(harness: &Harness<'_>) -> Result<(), Problem> {
    let (a, mut b) = harness.connect().await?;
    let bytes = frame_bytes(&a);
    let accepted = harness.fill(&*a.sender, bytes, 0).await?;
    let sends = async {
        tokio::try_join!(
            harness.send(&*a.sender, Frame::text("one")),
            harness.send(&*a.sender, Frame::text("two")),
            harness.send(&*a.sender, Frame::text("three")),
        )
    };
    let receives = async {
        harness.expect_numbered(&mut *b.receiver, accepted, |_| bytes).await?;
        let mut got = Vec::new();
        for _ in 0..3 {
            match harness.within("receiving what waited", b.receiver.recv()).await? {
                Ok(frame) => got.push(frame.to_text().into_owned()),
                Err(closed) => return broken(format!("the channel ended: {closed}")),
            }
        }
        got.sort();
        same("the frames that waited", &got, &["one", "three", "two"].map(str::to_owned).to_vec())
    };
    let (sent, received) = tokio::join!(sends, receives);
    received.and(sent.map(drop))
}

pub(super) async fn stalls_alone(harness: &Harness<'_>) -> Result<(), Problem> {
    let (stalled, mut unread) = harness.connect().await?;
    let bytes = frame_bytes(&stalled);
    if harness.has_back_pressure() {
        harness.fill(&*stalled.sender, bytes, 0).await?;
    } else {
        harness.overflows(&stalled, &mut unread, bytes).await?;
    }
    let (mut a, mut b) = harness.connect().await?;
    let frames = harness.settings.many_frames / 10;
    flows(harness, &*a.sender, &mut *b.receiver, frames).await?;
    flows(harness, &*b.sender, &mut *a.receiver, frames).await
}

pub(super) async fn stalls_one_way(harness: &Harness<'_>) -> Result<(), Problem> {
    let (mut a, b) = harness.connect().await?;
    if harness.has_back_pressure() {
        harness.fill(&*a.sender, frame_bytes(&a), 0).await?;
    } else {
        // As many as any backend takes without their being read.
        harness.send_numbered(&*a.sender, 10, |_| 1000).await?;
    }
    flows(harness, &*b.sender, &mut *a.receiver, harness.settings.many_frames / 10).await
}

async fn flows(
    harness: &Harness<'_>,
    sender: &dyn FrameSender,
    receiver: &mut dyn FrameReceiver,
    frames: usize,
) -> Result<(), Problem> {
    let (sent, received) = tokio::join!(
        harness.send_numbered(sender, frames, |_| 1000),
        harness.expect_numbered(receiver, frames, |_| 1000)
    );
    received.and(sent)
}
