//! Ends without an explicit close: drops and shutdown.

use super::{
    Problem,
    harness::{Harness, broken, same},
};
use crate::{Channel, ChannelClosed, Frame, SendFrameError, TransportError};

pub(super) async fn dropped_channel(harness: &Harness<'_>) -> Result<(), Problem> {
    for offerer_stays in [true, false] {
        let (a, b) = harness.connect().await?;
        let (mut stays, goes) = if offerer_stays { (a, b) } else { (b, a) };
        drop(goes);
        let reason = harness.end(&mut *stays.receiver).await?;
        same("how the other side sees the drop", &reason, &ChannelClosed::Remote)?;
    }
    Ok(())
}

pub(super) async fn one_half_is_enough(harness: &Harness<'_>) -> Result<(), Problem> {
    let (a, b) = harness.connect().await?;
    let Channel { sender: a_sender, receiver: mut a_receiver, .. } = a;
    let Channel { sender: b_sender, receiver: mut b_receiver, .. } = b;
    drop(a_sender);
    harness.pass(&*b_sender, &mut *a_receiver, Frame::text("to the half that is left")).await?;
    drop(a_receiver);
    let reason = harness.end(&mut *b_receiver).await?;
    same("how the other side sees the drop of the second half", &reason, &ChannelClosed::Remote)?;

    let (a, mut b) = harness.connect().await?;
    let Channel { sender, receiver, .. } = a;
    drop(receiver);
    harness.pass(&*sender, &mut *b.receiver, Frame::text("from the half that is left")).await
}

pub(super) async fn shutdown_closes(harness: &Harness<'_>) -> Result<(), Problem> {
    let (mut a, mut b) = harness.connect().await?;
    harness.send(&*b.sender, Frame::text("unread")).await?;
    harness.within("shutting down", harness.a.shutdown()).await?;
    let own = harness.end_at_last(&mut *a.receiver).await?;
    if !matches!(own, ChannelClosed::ShutDown | ChannelClosed::Local) {
        return broken(format!("after shutdown the reason is ShutDown or Local, but recv says {own:?}"));
    }
    let other = harness.end(&mut *b.receiver).await?;
    same("how the other side sees the shutdown", &other, &ChannelClosed::Remote)?;
    let sent = harness.within("refusing a frame", a.sender.send(Frame::text("late"))).await?;
    same("what send says", &sent, &Err(SendFrameError::Closed))
}

pub(super) async fn shutdown_ends_pending(harness: &Harness<'_>) -> Result<(), Problem> {
    let (offer, unanswered) = (harness.offer().await?, harness.offer().await?);
    let answer = harness.answer(offer.sdp()).await?;
    let late = harness.answer(unanswered.sdp()).await?;
    let late_sdp = late.sdp().to_owned();
    // The answerer waits for an offerer that never comes, until it is shut down.
    let waiting = harness.within("ending an open that waits", answer.open());
    let shut_down = async {
        p2pt_rt::yield_now().await;
        harness.within("shutting down", async { tokio::join!(harness.b.shutdown(), harness.a.shutdown()) }).await
    };
    let (opened, shut_down) = tokio::join!(waiting, shut_down);
    shut_down?;
    if opened?.is_ok() {
        return broken("an answer opened without its offerer");
    }
    harness.fails("failing to open after shutdown", unanswered.open(&late_sdp)).await
}

pub(super) async fn shutdown_is_final(harness: &Harness<'_>) -> Result<(), Problem> {
    let offer = harness.offer().await?;
    let shut_down = async { tokio::join!(harness.b.shutdown(), harness.b.shutdown()) };
    harness.within("shutting down twice at once", shut_down).await?;
    harness.within("shutting down again", harness.b.shutdown()).await?;
    match harness.within("refusing to answer", harness.b.answer(offer.sdp())).await? {
        Err(TransportError::ShutDown) => {}
        other => return broken(format!("answer after shutdown is ShutDown, got {:?}", other.map(drop))),
    }
    match harness.within("refusing to offer", harness.b.offer()).await? {
        Err(TransportError::ShutDown) => {}
        other => return broken(format!("offer after shutdown is ShutDown, got {:?}", other.map(drop))),
    }
    let other = Harness { a: harness.a.clone(), b: harness.a.clone(), settings: harness.settings };
    other.offer().await.map(drop)
}
