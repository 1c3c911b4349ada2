//! One connection: the browser's objects, and what their events have told.

use std::{
    cell::{Cell, RefCell},
    fmt,
    rc::{Rc, Weak},
    sync::Arc,
    time::Duration,
};

use p2pt_rt::{Instant, error_text, now, timeout};
use tokio::sync::{Notify, Semaphore, watch};
use wasm_bindgen::prelude::*;
use web_sys::{
    MessageEvent, RtcDataChannel, RtcDataChannelEvent, RtcDataChannelState, RtcDataChannelType, RtcIceConnectionState,
    RtcPeerConnection, RtcPeerConnectionState,
};

use super::{
    closing::{Closing, Step},
    common::{Common, Place},
    listener::{Counted, Listener},
    liveness::Liveness,
    opening::Seen,
    receive_buffer::ReceiveBuffer,
    send_window::SendWindow,
    stats::{self, Report},
    text,
};
use crate::{ChannelClosed, Frame, SendFrameError, TransportError};

/// How often a close looks at what is buffered, besides at the event that says that nothing is.
const CLOSE_POLL: Duration = Duration::from_millis(100);

/// How old a report may be that is not asked for again.
const REPORT_AGE: Duration = Duration::from_secs(1);

/// How long a report is waited for. It is a matter of the browser alone, and takes some milliseconds.
const REPORT_TIMEOUT: Duration = Duration::from_secs(1);

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// It waits for its other side, or opens.
    Opening,
    /// Its channel is open.
    Open,
    /// It closes gracefully.
    Closing,
    /// The browser's connection is closed.
    Closed,
}

/// A connection of the browser, and all that this backend keeps of it. It is closed when it is dropped.
pub(super) struct Connection {
    pub(super) common: Rc<Common>,
    /// Its name in the log.
    pub(super) number: u64,
    pub(super) pc: RtcPeerConnection,
    pub(super) channel: RefCell<Option<RtcDataChannel>>,
    /// The channel has been open, and may have been closed since: what was received is there to be read.
    was_open: Cell<bool>,
    /// When it opened; until then, when the connection was made.
    opened_at: Cell<Instant>,
    pub(super) phase: Cell<Phase>,
    /// Something has changed, for what awaits that: describing it, then opening it, then closing it.
    pub(super) changed: Notify,
    /// Why its channel has ended, set once.
    reason: watch::Sender<Option<ChannelClosed>>,
    /// The browser's connection is closed.
    finished: watch::Sender<bool>,
    /// Free capacity of the send window.
    pub(super) room: Arc<Semaphore>,
    window: RefCell<SendWindow>,
    pub(super) received: RefCell<ReceiveBuffer>,
    /// A frame has arrived, or the end.
    pub(super) arrived: Arc<Notify>,
    /// Frames that have arrived since the last look at the connection's life.
    frames: Cell<u64>,
    /// What was buffered when the connection was closed.
    last_buffered: Cell<usize>,
    /// The last report, and when it was made.
    report: RefCell<Option<(Instant, Report)>>,
    /// Halves of the channel that are alive.
    pub(super) halves: Cell<u8>,
    listeners: RefCell<Vec<Listener>>,
    _counted: Counted,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("number", &self.number)
            .field("phase", &self.phase.get())
            .field("buffered_bytes", &self.buffered())
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// A new connection of the browser, which takes a place of the transport's.
    pub(super) fn new(common: &Rc<Common>, place: Place, pc: RtcPeerConnection) -> Rc<Self> {
        let window = SendWindow::new(common.config.send_buffer_bytes);
        let connection = Rc::new_cyclic(|weak: &Weak<Self>| Self {
            number: common.register(place, weak.clone()),
            common: common.clone(),
            pc,
            channel: RefCell::default(),
            was_open: Cell::new(false),
            opened_at: Cell::new(now()),
            phase: Cell::new(Phase::Opening),
            changed: Notify::new(),
            reason: watch::Sender::new(None),
            finished: watch::Sender::new(false),
            room: Arc::new(Semaphore::new(window.capacity())),
            window: RefCell::new(window),
            received: RefCell::new(ReceiveBuffer::new(common.config.receive_buffer_bytes)),
            arrived: Arc::new(Notify::new()),
            frames: Cell::new(0),
            last_buffered: Cell::new(0),
            report: RefCell::default(),
            halves: Cell::new(2),
            listeners: RefCell::default(),
            _counted: Counted::new(),
        });
        for event in ["icegatheringstatechange", "iceconnectionstatechange", "connectionstatechange"] {
            connection.listen(&connection.pc, event, |connection, _| connection.state_changed());
        }
        connection
    }

    /// Has `handle` called with each such event, as long as the connection is not closed. The handler keeps nothing alive.
    fn listen(
        self: &Rc<Self>,
        target: &web_sys::EventTarget,
        event: &'static str,
        handle: impl Fn(&Rc<Self>, JsValue) + 'static,
    ) {
        let weak = Rc::downgrade(self);
        let listener = Listener::new(target, event, move |event| {
            if let Some(connection) = weak.upgrade() {
                handle(&connection, event);
            }
        });
        self.listeners.borrow_mut().push(listener);
    }

    /// Takes the channel that the other side makes.
    pub(super) fn await_channel(self: &Rc<Self>) {
        self.listen(&self.pc, "datachannel", |connection, event| {
            let channel = event.unchecked_into::<RtcDataChannelEvent>().channel();
            if connection.channel.borrow().is_some() {
                // A peer of this library makes one.
                channel.close();
                return;
            }
            connection.adopt(channel);
        });
    }

    /// Makes a channel that of this connection.
    pub(super) fn adopt(self: &Rc<Self>, channel: RtcDataChannel) {
        channel.set_binary_type(RtcDataChannelType::Arraybuffer);
        self.was_open.set(channel.ready_state() == RtcDataChannelState::Open);
        self.listen(&channel, "open", |connection, _| {
            connection.was_open.set(true);
            connection.changed.notify_one();
        });
        self.listen(&channel, "message", |connection, event| {
            let data = event.unchecked_into::<MessageEvent>().data();
            connection.receive(match data.dyn_ref::<js_sys::JsString>() {
                Some(text) => text::frame_of(text),
                None => Frame::binary(js_sys::Uint8Array::new(&data).to_vec()),
            });
        });
        self.listen(&channel, "bufferedamountlow", |connection, _| {
            connection.look_for_room();
            connection.wake_at_low();
            connection.changed.notify_one();
        });
        self.listen(&channel, "close", |connection, _| connection.channel_closed());
        *self.channel.borrow_mut() = Some(channel);
        self.changed.notify_one();
    }

    fn receive(&self, frame: Frame) {
        self.frames.set(self.frames.get().wrapping_add(1));
        let pushed = self.received.borrow_mut().push(frame);
        match pushed {
            Ok(()) => self.arrived.notify_one(),
            Err(reason) => {
                // Not gracefully: more would arrive meanwhile.
                self.end(reason);
                self.finish();
            }
        }
    }

    fn channel_closed(&self) {
        self.changed.notify_one();
        if self.phase.get() == Phase::Open {
            let reason = match self.pc.connection_state() {
                RtcPeerConnectionState::Failed => self.failure(),
                _ => ChannelClosed::Remote,
            };
            self.end(reason);
            self.finish();
        }
    }

    fn state_changed(&self) {
        self.changed.notify_one();
        if self.phase.get() == Phase::Open && self.pc.connection_state() == RtcPeerConnectionState::Failed {
            self.end(self.failure());
            self.finish();
        }
    }

    /// What the browser means when it calls an open connection failed.
    fn failure(&self) -> ChannelClosed {
        match self.pc.ice_connection_state() {
            // Nothing has been heard for longer than the browser bears.
            RtcIceConnectionState::Failed => ChannelClosed::Timeout(self.common.config.idle_timeout),
            _ => ChannelClosed::Failed("the browser calls the connection failed".to_owned()),
        }
    }

    /// What an opening is judged by.
    pub(super) fn seen(&self) -> Seen {
        let (ice, whole) = (self.pc.ice_connection_state(), self.pc.connection_state());
        let channel = self.channel_state();
        Seen {
            has_path: matches!(ice, RtcIceConnectionState::Connected | RtcIceConnectionState::Completed),
            no_path: ice == RtcIceConnectionState::Failed,
            has_session: whole == RtcPeerConnectionState::Connected,
            is_over: matches!(whole, RtcPeerConnectionState::Failed | RtcPeerConnectionState::Closed),
            is_open: self.was_open.get(),
            is_closed: matches!(channel, Some(RtcDataChannelState::Closing | RtcDataChannelState::Closed)),
        }
    }

    fn channel_state(&self) -> Option<RtcDataChannelState> {
        self.channel.borrow().as_ref().map(RtcDataChannel::ready_state)
    }

    /// Hands a frame to the browser. What of the room it takes has been acquired.
    pub(super) fn hand_over(&self, frame: &Frame) -> Result<(), SendFrameError> {
        let channel = self.channel.borrow();
        // Firefox takes frames, and drops them, when the other side has begun to close.
        let is_open = |channel: &&RtcDataChannel| channel.ready_state() == RtcDataChannelState::Open;
        let Some(channel) = channel.as_ref().filter(|_| self.phase.get() == Phase::Open).filter(is_open) else {
            return Err(SendFrameError::Closed);
        };
        let sent = match frame {
            Frame::Text(text) => {
                let text = std::str::from_utf8(text).map_err(|_| SendFrameError::NotUtf8)?;
                channel.send_with_str(text)
            }
            Frame::Binary(bytes) => channel.send_with_u8_array(bytes),
        };
        if let Err(error) = sent {
            // It throws when the channel is open no longer, of which the event has yet to come, and when it holds more than
            // the browser bears, which is several times what the window lets it.
            tracing::debug!(connection = self.number, error = %error_text(&error), "frame not taken");
            return Err(SendFrameError::Closed);
        }
        self.window.borrow_mut().accept(now(), frame.len());
        Ok(())
    }

    /// What a frame of this size takes of the room.
    pub(super) fn cost(&self, bytes: usize) -> u32 {
        u32::try_from(self.window.borrow().cost(bytes)).unwrap_or(u32::MAX)
    }

    /// The bytes that fit at once.
    pub(super) fn capacity(&self) -> usize {
        self.window.borrow().capacity()
    }

    /// Frees what the browser has sent meanwhile.
    pub(super) fn look_for_room(&self) {
        let freed = self.window.borrow_mut().settle(now(), self.buffered());
        self.room.add_permits(freed);
    }

    /// Has the browser say when there is room for a sender that lacks it.
    pub(super) fn wake_at_low(&self) {
        let mark = match self.phase.get() {
            Phase::Open => self.window.borrow().low_mark(),
            _ => 0,
        };
        if let Some(channel) = self.channel.borrow().as_ref() {
            channel.set_buffered_amount_low_threshold(u32::try_from(mark).unwrap_or(u32::MAX));
        }
    }

    /// The bytes accepted that the browser has not sent.
    pub(super) fn buffered(&self) -> usize {
        if self.phase.get() == Phase::Closed {
            return self.last_buffered.get();
        }
        self.channel.borrow().as_ref().map_or(0, |channel| channel.buffered_amount() as usize)
    }

    /// Payload bytes accepted and received.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.window.borrow().accepted_bytes(), self.received.borrow().received_bytes())
    }

    /// Ends the channel; the first reason stays.
    pub(super) fn end(&self, reason: ChannelClosed) {
        self.reason.send_if_modified(|known| {
            let is_first = known.is_none();
            if is_first {
                tracing::debug!(connection = self.number, %reason, "channel closed");
                *known = Some(reason);
            }
            is_first
        });
        self.room.close();
        self.arrived.notify_one();
        self.changed.notify_one();
    }

    /// Why the channel has ended.
    pub(super) fn reason(&self) -> Option<ChannelClosed> {
        self.reason.borrow().clone()
    }

    /// What tells why the channel ends.
    pub(super) fn await_reason(&self) -> watch::Receiver<Option<ChannelClosed>> {
        self.reason.subscribe()
    }

    /// What tells when the browser's connection is closed.
    pub(super) fn await_finished(&self) -> watch::Receiver<bool> {
        self.finished.subscribe()
    }

    /// Closes the browser's connection at once.
    pub(super) fn finish(&self) {
        if self.phase.get() == Phase::Closed {
            return;
        }
        self.last_buffered.set(self.buffered());
        self.phase.set(Phase::Closed);
        self.listeners.take();
        self.pc.close();
        self.end(ChannelClosed::Local);
        self.common.forget(self.number);
        self.finished.send_replace(true);
    }

    /// Begins a graceful close of an open connection, and closes one that is not open at once.
    pub(super) fn close(self: &Rc<Self>, reason: ChannelClosed) {
        match self.phase.get() {
            Phase::Opening => {
                self.end(reason);
                self.finish();
            }
            Phase::Open => {
                self.phase.set(Phase::Closing);
                self.end(reason);
                self.wake_at_low();
                // It goes on when nothing waits for it.
                p2pt_rt::spawn(close(self.clone()));
            }
            Phase::Closing | Phase::Closed => {}
        }
    }

    /// The channel is open: from now on its life is watched.
    pub(super) fn opened(self: &Rc<Self>) {
        self.phase.set(Phase::Open);
        self.opened_at.set(now());
        p2pt_rt::spawn(watch_life(Rc::downgrade(self), self.common.config.idle_timeout));
        // The events may have come before.
        if self.channel_state() == Some(RtcDataChannelState::Closed) {
            self.channel_closed();
        }
        self.state_changed();
    }

    /// A report of the browser, not older than a second; the last one when the connection is closed.
    pub(super) async fn report(&self) -> Report {
        let known = self.report.borrow().clone();
        if let Some((at, report)) = &known
            && (self.phase.get() == Phase::Closed || now().saturating_duration_since(*at) < REPORT_AGE)
        {
            return report.clone();
        }
        self.ask().await.or(known.map(|(_, report)| report)).unwrap_or_default()
    }

    /// Asks the browser for a report, and keeps it. Nothing when the connection is closed, or the browser does not answer.
    async fn ask(&self) -> Option<Report> {
        if self.phase.get() == Phase::Closed {
            return None;
        }
        let report = timeout(REPORT_TIMEOUT, stats::report(&self.pc)).await.ok().flatten()?;
        *self.report.borrow_mut() = Some((now(), report.clone()));
        Some(report)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Closes gracefully.
async fn close(connection: Rc<Connection>) {
    let timeout = connection.common.config.close_timeout;
    let mut closing = Closing::new(now(), timeout, connection.opened_at.get());
    loop {
        let is_closed = connection.phase.get() == Phase::Closed
            || matches!(connection.channel_state(), None | Some(RtcDataChannelState::Closed));
        match closing.step(now(), connection.buffered(), is_closed) {
            Step::Wait(until) => {
                let until = until.min(now() + CLOSE_POLL);
                let _ = p2pt_rt::timeout_at(until, connection.changed.notified()).await;
            }
            Step::CloseChannel => {
                if let Some(channel) = connection.channel.borrow().as_ref() {
                    channel.close();
                }
            }
            Step::CloseConnection => break,
        }
    }
    connection.finish();
}

/// Ends an open connection from which nothing arrives any more.
async fn watch_life(connection: Weak<Connection>, idle_timeout: Duration) {
    let mut liveness = Liveness::new(now(), idle_timeout);
    loop {
        p2pt_rt::sleep(liveness.interval()).await;
        let Some(connection) = connection.upgrade().filter(|connection| connection.phase.get() == Phase::Open) else {
            return;
        };
        // A browser whose event came before the mark was set would not send another.
        connection.look_for_room();
        if connection.frames.replace(0) > 0 {
            liveness.arrived(now());
            continue;
        }
        let Some(report) = connection.ask().await else { continue };
        let mut counters = report.counters;
        counters.is_disconnected = matches!(
            connection.pc.ice_connection_state(),
            RtcIceConnectionState::Disconnected | RtcIceConnectionState::Failed
        );
        if connection.phase.get() == Phase::Open && liveness.is_dead(now(), counters) {
            connection.end(ChannelClosed::Timeout(idle_timeout));
            connection.finish();
        }
    }
}

/// An error of the browser as one of this backend.
pub(super) fn backend_error(error: &JsValue) -> TransportError {
    TransportError::Backend(error_text(error).into())
}
