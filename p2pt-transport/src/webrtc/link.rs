//! An open channel: one task that moves frames both ways, watches over the connection, and closes it.

use std::{
    future::poll_fn,
    sync::{Arc, Mutex, atomic::AtomicUsize},
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tokio_util::sync::{CancellationToken, DropGuard};
use webrtc::data_channel::{DataChannel, DataChannelEvent, RTCDataChannelMessage};

use super::{
    Node, WebRtcConfig,
    connection::{Connection, Progress, is_over, session},
    flow::{End, Inbox, Outbox},
    halves::{Receiver, Sender, Shared, Stack, link_stats},
    pulse::{Pulse, lock},
    resume::{self, FrameWaker},
};
use crate::{Channel, ChannelClosed, ChannelInfo, Frame, Role, TransportError};

/// How many times the close timeout a flush may take as long as it makes progress.
const FLUSH_FACTOR: u32 = 10;

/// The longest a polite close can take.
pub(super) fn longest_close(config: &WebRtcConfig) -> Duration {
    config.close_timeout * (FLUSH_FACTOR + 2) + Duration::from_secs(1)
}

/// What may be on its way to somebody who does not say what its sockets hold, in bytes, besides what the path itself holds.
///
/// Our stack sends as much as the other side's SCTP window lets it, at once; browsers and libwebrtc announce windows of
/// megabytes over sockets that hold some ninety datagrams, and what is lost there costs a time-out of a second.
const NEAR_WINDOW: usize = 32_768;

/// Frames of which several are on their way even so, so that acknowledgements come without a pause.
pub(super) const NEAR_FRAME_BYTES: usize = 16_384;

/// What a path holds, in bytes for each second of its round trip, but for the first millisecond, in which a busy machine is
/// as likely: more than such peers take.
const FAR_WINDOW_RATE: f64 = 30e6;

/// How often that is looked at.
const WINDOW_AGE: Duration = Duration::from_secs(1);

/// Makes an open channel of a connection, whose task it becomes. No more than `window` bytes are on their way at a time; if
/// that is not known, a little more than the path holds.
pub(super) fn start(
    connection: Connection,
    channel: Arc<dyn DataChannel>,
    info: ChannelInfo,
    window: Option<usize>,
) -> Result<Channel, TransportError> {
    // Whatever has arrived by now is read before anything else is.
    connection.pulse.resume.fall_behind();
    let node = connection.node.clone();
    let stack =
        Arc::new(Stack { connection: connection.stack.clone(), channel, handing: tokio::sync::Mutex::default() });
    let shared = Arc::new(Shared {
        max_frame_bytes: info.max_frame_bytes,
        outbox: Outbox::new(node.config.send_buffer_bytes, window.unwrap_or(NEAR_WINDOW)),
        inbox: Inbox::new(node.config.receive_buffer_bytes),
        end: End::default(),
        closing: node.shutdown.child_token(),
        finished: CancellationToken::new(),
        halves: AtomicUsize::new(2),
        stack: Mutex::new(Ok(stack.clone())),
    });
    let link = Link {
        node,
        role: info.role,
        shared: shared.clone(),
        stack,
        pulse: connection.pulse.clone(),
        progress: connection.progress.clone(),
        low: Notify::new(),
        finished: Some(shared.finished.clone().drop_guard()),
        window_is_known: window.is_some(),
    };
    connection.run(Box::pin(link.run()))?;
    Ok(Channel { info, sender: Arc::new(Sender(shared.clone())), receiver: Box::new(Receiver(shared)) })
}

/// The task of an open channel.
struct Link {
    node: Arc<Node>,
    role: Role,
    shared: Arc<Shared>,
    stack: Arc<Stack>,
    pulse: Arc<Pulse>,
    progress: watch::Receiver<Progress>,
    /// The stack has sent half of what it held.
    low: Notify,
    /// Says that the connection is closed, when dropped.
    finished: Option<DropGuard>,
    /// The other side has said what its sockets can hold.
    window_is_known: bool,
}

/// However a link ends, even one that never ran, its halves are told.
impl Drop for Link {
    fn drop(&mut self) {
        self.shared.end_with(self.closed_here());
    }
}

impl Link {
    async fn run(mut self) -> Option<DropGuard> {
        let finished = self.finished.take();
        self.pulse.set_eager(false);
        tokio::select! {
            ended = self.inbound() => self.ended(ended).await,
            ended = self.silence() => self.ended(ended).await,
            ended = self.failure() => self.ended(ended).await,
            idle = self.outbound() => self.farewell(idle).await,
        }
        let stats = link_stats(&*self.stack.connection).await;
        *lock(&self.shared.stack) = Err(stats);
        finished
    }

    async fn ended(&self, reason: ChannelClosed) {
        self.settle().await;
        self.shared.end_with(reason);
    }

    /// Moves received frames to their reader, until the other side closes.
    async fn inbound(&self) -> ChannelClosed {
        let mut since_resume = 0;
        loop {
            if !self.has_room().await {
                self.drain().await;
                return ChannelClosed::Remote;
            }
            match self.next(&mut since_resume).await {
                Some(DataChannelEvent::OnMessage(message)) => {
                    since_resume += 1;
                    self.receive(message);
                    if self.shared.inbox.is_flooded() {
                        return ChannelClosed::Failed("nobody reads its flood of tiny frames".to_owned());
                    }
                }
                Some(DataChannelEvent::OnBufferedAmountLow) => self.low.notify_one(),
                Some(DataChannelEvent::OnClose) => {
                    self.drain().await;
                    return ChannelClosed::Remote;
                }
                Some(_) => {}
                None => return ChannelClosed::Failed("its sockets are gone".to_owned()),
            }
            // The stack's queue never makes a task yield, and the other half of this link shares this one.
            tokio::task::coop::consume_budget().await;
        }
    }

    /// The stack's next event, for which more is fetched and more is read from the sockets as [`resume`] says.
    async fn next(&self, since_resume: &mut usize) -> Option<DataChannelEvent> {
        let mut next = self.stack.channel.poll();
        loop {
            if let Poll::Ready(event) = poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx))).await {
                return event;
            }
            if *since_resume < resume::FRAMES_BETWEEN {
                break;
            }
            *since_resume = 0;
            self.pulse.resume.request_and_wait().await;
        }
        let event = poll_fn(|cx| {
            let waker = Waker::from(Arc::new(FrameWaker { pulse: self.pulse.clone(), link: cx.waker().clone() }));
            let mut cx = Context::from_waker(&waker);
            let event = next.as_mut().poll(&mut cx);
            if event.is_ready() {
                return event;
            }
            self.pulse.resume.wait_for_frames();
            // One that came in between has not changed the state.
            next.as_mut().poll(&mut cx)
        })
        .await;
        self.pulse.resume.fall_behind();
        event
    }

    /// Waits for room in the inbox. `false` if the other side closes meanwhile, which would otherwise be told behind the
    /// frames that wait, and so not before somebody reads.
    async fn has_room(&self) -> bool {
        if !self.shared.inbox.is_full() {
            return true;
        }
        self.pulse.resume.go_away();
        tokio::select! {
            biased;
            () = self.shared.inbox.has_room() => {
                self.pulse.resume.fall_behind();
                true
            }
            () = self.over() => false,
        }
    }

    /// Resolves when the other side has ended the session.
    async fn over(&self) {
        loop {
            let passes = self.pulse.passes();
            if is_over(session(&*self.stack.connection).await) {
                return;
            }
            self.pulse.passed(passes).await;
        }
    }

    fn receive(&self, message: RTCDataChannelMessage) {
        if !self.shared.end.is_said() {
            let bytes = message.data.freeze();
            self.shared.inbox.push(if message.is_string { Frame::Text(bytes) } else { Frame::Binary(bytes) });
        }
    }

    /// Takes what was received before the other side closed: the stack announces the close ahead of it.
    async fn drain(&self) {
        self.pulse.resume.go_away();
        let drained = async {
            loop {
                let mut received = false;
                // The pass under way may be past its reading; the one after it is whole.
                for _ in 0..2 {
                    let passes = self.pulse.passes();
                    self.pulse.resume.request();
                    loop {
                        tokio::select! {
                            biased;
                            event = self.stack.channel.poll() => match event {
                                Some(DataChannelEvent::OnMessage(message)) => {
                                    received = true;
                                    self.receive(message);
                                }
                                Some(_) => {}
                                None => return,
                            },
                            () = self.pulse.passed(passes) => break,
                        }
                    }
                }
                if !received {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(self.node.config.close_timeout, drained).await;
    }

    /// Moves accepted frames to the stack, until a close is asked for; then sees them off. Whether there were none.
    async fn outbound(&self) -> bool {
        let half = u32::try_from(self.node.config.send_buffer_bytes / 2).unwrap_or(u32::MAX);
        let mut ok = self.stack.channel.set_buffered_amount_low_threshold(half).await.is_ok();
        let outbox = &self.shared.outbox;
        let mut looked = None;
        loop {
            let passes = self.pulse.passes();
            if outbox.is_pressed() {
                self.settle().await;
                if !self.window_is_known && looked.is_none_or(|at: Instant| at.elapsed() >= WINDOW_AGE) {
                    looked = Some(Instant::now());
                    self.look_far().await;
                }
            }
            ok = ok && self.hand_over().await;
            if !ok {
                // The channel is gone; `inbound` is about to say why.
                self.shared.closing.cancelled().await;
                return false;
            }
            tokio::select! {
                () = outbox.work.notified() => {}
                () = self.low.notified() => self.settle().await,
                // What has been acknowledged was read by the driver.
                () = self.pulse.passed(passes), if outbox.is_pressed() => {}
                () = self.shared.closing.cancelled() => {
                    self.shared.end_with(self.closed_here());
                    return self.flush().await;
                }
            }
        }
    }

    fn closed_here(&self) -> ChannelClosed {
        if self.node.shutdown.is_cancelled() { ChannelClosed::ShutDown } else { ChannelClosed::Local }
    }

    /// Hands accepted frames to the stack. `false` if it refuses.
    async fn hand_over(&self) -> bool {
        let handed = self.stack.hand_over(&self.shared.outbox).await;
        if let Err(error) = &handed {
            tracing::debug!(%error, "sending a frame");
        }
        handed.is_ok()
    }

    /// Lets as much be on its way as the path holds.
    async fn look_far(&self) {
        if let Some(round_trip) = link_stats(&*self.stack.connection).await.round_trip {
            let far = round_trip.saturating_sub(Duration::from_millis(1)).as_secs_f64() * FAR_WINDOW_RATE;
            self.shared.outbox.set_window(NEAR_WINDOW + far as usize);
        }
    }

    async fn settle(&self) {
        self.stack.settle(&self.shared.outbox).await;
    }

    /// Waits until everything is acknowledged, as long as that makes progress. Whether it all was from the start.
    async fn flush(&self) -> bool {
        let timeout = self.node.config.close_timeout;
        let last = Instant::now() + timeout * FLUSH_FACTOR;
        let mut deadline = Instant::now() + timeout;
        let mut left = u64::MAX;
        let mut idle = true;
        while self.hand_over().await {
            let passes = self.pulse.passes();
            self.settle().await;
            if self.shared.outbox.is_idle() {
                return idle;
            }
            idle = false;
            let now_left = self.shared.outbox.unacknowledged_bytes();
            if now_left < left {
                left = now_left;
                deadline = (Instant::now() + timeout).min(last);
            }
            if Instant::now() >= deadline {
                break;
            }
            let _ = tokio::time::timeout_at(deadline, self.pulse.passed(passes)).await;
        }
        false
    }

    /// Closes the channel and gives the other side time to read to its end and to close the connection itself: the
    /// message that would close it from here makes it drop what its application has not fetched yet.
    async fn farewell(&self, idle: bool) {
        if self.stack.channel.close().await.is_err() {
            return;
        }
        self.pulse.resume.go_away();
        self.pulse.set_eager(true);
        let discard = async { while self.stack.channel.poll().await.is_some() {} };
        // When both sides close at once, both wait here: the shorter patience ends it for both.
        let timeout = self.node.config.close_timeout;
        let patience = match self.role {
            Role::Offerer if idle => timeout / 10,
            Role::Offerer => timeout / 2,
            Role::Answerer => timeout,
        };
        let _ = tokio::time::timeout(patience, async {
            tokio::select! {
                () = discard => {}
                () = self.over() => {}
            }
        })
        .await;
    }

    /// A living peer answers this side's connectivity checks, a quarter of that time apart, however busy the link is.
    async fn silence(&self) -> ChannelClosed {
        let timeout = self.node.config.silence_timeout;
        self.pulse.silence(timeout).await;
        ChannelClosed::Silent(timeout)
    }

    /// Resolves when the stack gives up, or the other side floods it.
    async fn failure(&self) -> ChannelClosed {
        let mut progress = self.progress.clone();
        match progress.wait_for(Progress::is_broken).await {
            Ok(progress) if progress.flooded => {
                ChannelClosed::Failed("the other side opens channel after channel".to_owned())
            }
            Ok(progress) => ChannelClosed::Failed(format!("ICE is {}", progress.ice)),
            Err(_) => ChannelClosed::Failed("its driver is gone".to_owned()),
        }
    }
}
