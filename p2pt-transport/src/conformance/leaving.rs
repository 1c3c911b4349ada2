//! Ends that nobody announces: drops and shutdown.

use super::{
    Problem,
    bench::{Bench, broken, same},
};
use crate::{Channel, ChannelClosed, Frame, SendFrameError, TransportError};

pub(super) async fn dropped_channel(bench: &Bench<'_>) -> Result<(), Problem> {
    for offerer_stays in [true, false] {
        let (a, b) = bench.connect().await?;
        let (mut stays, goes) = if offerer_stays { (a, b) } else { (b, a) };
        drop(goes);
        let reason = bench.end(&mut *stays.receiver).await?;
        same("how the other side sees the drop", &reason, &ChannelClosed::Remote)?;
    }
    Ok(())
}

pub(super) async fn one_half_is_enough(bench: &Bench<'_>) -> Result<(), Problem> {
    let (a, b) = bench.connect().await?;
    let Channel { sender: a_sender, receiver: mut a_receiver, .. } = a;
    let Channel { sender: b_sender, receiver: mut b_receiver, .. } = b;
    drop(a_sender);
    bench.pass(&*b_sender, &mut *a_receiver, Frame::text("to the half that is left")).await?;
    drop(a_receiver);
    let reason = bench.end(&mut *b_receiver).await?;
    same("how the other side sees the drop of the second half", &reason, &ChannelClosed::Remote)?;

    let (a, mut b) = bench.connect().await?;
    let Channel { sender, receiver, .. } = a;
    drop(receiver);
    bench.pass(&*sender, &mut *b.receiver, Frame::text("from the half that is left")).await
}

pub(super) async fn shutdown_closes(bench: &Bench<'_>) -> Result<(), Problem> {
    let (mut a, mut b) = bench.connect().await?;
    bench.send(&*b.sender, Frame::text("unread")).await?;
    bench.within("shutting down", bench.a.shutdown()).await?;
    let own = bench.end_at_last(&mut *a.receiver).await?;
    if !matches!(own, ChannelClosed::ShutDown | ChannelClosed::Local) {
        return broken(format!("after shutdown the reason is ShutDown or Local, but recv says {own:?}"));
    }
    let other = bench.end(&mut *b.receiver).await?;
    same("how the other side sees the shutdown", &other, &ChannelClosed::Remote)?;
    let sent = bench.within("refusing a frame", a.sender.send(Frame::text("late"))).await?;
    same("what send says", &sent, &Err(SendFrameError::Closed))
}

pub(super) async fn shutdown_ends_pending(bench: &Bench<'_>) -> Result<(), Problem> {
    let (offer, unanswered) = (bench.offer().await?, bench.offer().await?);
    let answer = bench.answer(offer.sdp()).await?;
    let late = bench.answer(unanswered.sdp()).await?;
    let late_sdp = late.sdp().to_owned();
    // The answerer waits for an offerer that never comes, until it is shut down.
    let waiting = bench.within("ending an open that waits", answer.open());
    let shut_down = async {
        tokio::task::yield_now().await;
        bench.within("shutting down", async { tokio::join!(bench.b.shutdown(), bench.a.shutdown()) }).await
    };
    let (opened, shut_down) = tokio::join!(waiting, shut_down);
    shut_down?;
    if opened?.is_ok() {
        return broken("an answer opened without its offerer");
    }
    bench.fails("failing to open after shutdown", unanswered.open(&late_sdp)).await
}

pub(super) async fn shutdown_is_final(bench: &Bench<'_>) -> Result<(), Problem> {
    let offer = bench.offer().await?;
    let shut_down = async { tokio::join!(bench.b.shutdown(), bench.b.shutdown()) };
    bench.within("shutting down twice at once", shut_down).await?;
    bench.within("shutting down again", bench.b.shutdown()).await?;
    match bench.within("refusing to answer", bench.b.answer(offer.sdp())).await? {
        Err(TransportError::ShutDown) => {}
        other => return broken(format!("answer after shutdown is ShutDown, got {:?}", other.map(drop))),
    }
    match bench.within("refusing to offer", bench.b.offer()).await? {
        Err(TransportError::ShutDown) => {}
        other => return broken(format!("offer after shutdown is ShutDown, got {:?}", other.map(drop))),
    }
    let other = Bench { a: bench.a.clone(), b: bench.a.clone(), settings: bench.settings };
    other.offer().await.map(drop)
}
