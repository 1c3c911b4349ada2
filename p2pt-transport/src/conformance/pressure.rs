//! Back-pressure: who waits for whom, and who does not.

use super::{
    Problem,
    bench::{Bench, broken, numbered, same},
};
use crate::{Channel, Frame, FrameReceiver, FrameSender, TrySendAllError, TrySendFrameError};

/// The size of the frames that fill a channel.
fn frame_bytes(channel: &Channel) -> usize {
    channel.info.max_frame_bytes.min(16 * 1024)
}

pub(super) async fn send_waits(bench: &Bench<'_>) -> Result<(), Problem> {
    let (a, mut b) = bench.connect().await?;
    let bytes = frame_bytes(&a);
    let accepted = bench.fill(&*a.sender, bytes, 0).await?;
    let more = async {
        for number in accepted..accepted + 10 {
            bench.send(&*a.sender, numbered(number, bytes)).await?;
        }
        Ok(())
    };
    let (sent, received) = tokio::join!(more, bench.expect_numbered(&mut *b.receiver, accepted + 10, |_| bytes));
    received.and(sent)
}

pub(super) async fn try_send_is_full(bench: &Bench<'_>) -> Result<(), Problem> {
    let (a, mut b) = bench.connect().await?;
    let bytes = frame_bytes(&a);
    let mut accepted = 0;
    let refused = loop {
        accepted = bench.fill(&*a.sender, bytes, accepted).await?;
        let frame = numbered(accepted, bytes);
        match a.sender.try_send(frame.clone()) {
            Err(TrySendFrameError::Full(back)) => {
                same("the frame given back", &back, &frame)?;
                break frame;
            }
            // A slow link made room after all, or the backend never says Full; `fill` tells which.
            Ok(()) => accepted += 1,
            Err(error) => return broken(format!("expected try_send to say Full, got {error:?}")),
        }
    };
    bench.expect_numbered(&mut *b.receiver, accepted, |_| bytes).await?;
    bench.pass(&*a.sender, &mut *b.receiver, Frame::text("room again")).await?;
    match a.sender.try_send(refused.clone()) {
        Ok(()) => bench.expect(&mut *b.receiver, &refused).await,
        Err(error) => broken(format!("try_send refused a frame though there was room: {error}")),
    }
}

pub(super) async fn all_or_nothing(bench: &Bench<'_>) -> Result<(), Problem> {
    let (a, mut b) = bench.connect().await?;
    let three: Vec<Frame> = (0..3).map(|number| numbered(number, 10)).collect();
    same("what try_send_all says of three small frames", &a.sender.try_send_all(three), &Ok(()))?;
    bench.expect_numbered(&mut *b.receiver, 3, |_| 10).await?;

    let bytes = frame_bytes(&a);
    let endless = vec![numbered(0, bytes); bench.settings.max_accepted_bytes / bytes + 1];
    let never = Err(TrySendAllError::NeverFits);
    same("what try_send_all says of more than any link accepts", &a.sender.try_send_all(endless), &never)?;

    let (mut accepted, mut small) = (0, Vec::new());
    loop {
        accepted = bench.fill(&*a.sender, bytes, accepted).await?;
        // There is no room for a large frame, but there may be for the first of these.
        let batch = [10, bytes, bytes].into_iter().enumerate().map(|(n, bytes)| numbered(accepted + n, bytes));
        match a.sender.try_send_all(batch.collect()) {
            Err(TrySendAllError::Full | TrySendAllError::NeverFits) => break,
            // A slow link made room after all.
            Ok(()) => {
                small.push(accepted);
                accepted += 3;
            }
            Err(error) => return broken(format!("expected try_send_all to say Full, got {error:?}")),
        }
    }
    let size = |number| if small.contains(&number) { 10 } else { bytes };
    bench.expect_numbered(&mut *b.receiver, accepted, size).await?;
    bench.pass(&*a.sender, &mut *b.receiver, Frame::text("nothing came between")).await
}

pub(super) async fn waiting_senders_get_through(bench: &Bench<'_>) -> Result<(), Problem> {
    let (a, mut b) = bench.connect().await?;
    let bytes = frame_bytes(&a);
    let accepted = bench.fill(&*a.sender, bytes, 0).await?;
    let sends = async {
        tokio::try_join!(
            bench.send(&*a.sender, Frame::text("one")),
            bench.send(&*a.sender, Frame::text("two")),
            bench.send(&*a.sender, Frame::text("three")),
        )
    };
    let receives = async {
        bench.expect_numbered(&mut *b.receiver, accepted, |_| bytes).await?;
        let mut got = Vec::new();
        for _ in 0..3 {
            match bench.within("receiving what waited", b.receiver.recv()).await? {
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

pub(super) async fn stalls_alone(bench: &Bench<'_>) -> Result<(), Problem> {
    let (stalled, _unread) = bench.connect().await?;
    bench.fill(&*stalled.sender, frame_bytes(&stalled), 0).await?;
    let (mut a, mut b) = bench.connect().await?;
    let frames = bench.settings.many_frames / 10;
    flows(bench, &*a.sender, &mut *b.receiver, frames).await?;
    flows(bench, &*b.sender, &mut *a.receiver, frames).await
}

pub(super) async fn stalls_one_way(bench: &Bench<'_>) -> Result<(), Problem> {
    let (mut a, b) = bench.connect().await?;
    bench.fill(&*a.sender, frame_bytes(&a), 0).await?;
    flows(bench, &*b.sender, &mut *a.receiver, bench.settings.many_frames / 10).await
}

async fn flows(
    bench: &Bench<'_>,
    sender: &dyn FrameSender,
    receiver: &mut dyn FrameReceiver,
    frames: usize,
) -> Result<(), Problem> {
    let (sent, received) =
        tokio::join!(bench.send_numbered(sender, frames, |_| 1000), bench.expect_numbered(receiver, frames, |_| 1000));
    received.and(sent)
}
