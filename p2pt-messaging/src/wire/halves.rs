//! The two halves of a stream.

use bytes::Bytes;

use super::{
    FrameKind, ReadError, SessionError, StreamKey, WriteError,
    byte_queue::ByteQueue,
    config::MAX_STREAM_WINDOW,
    events::Signal,
    packet::{PacketWriter, Part},
};

/// How many bytes of a stream may wait to be sent.
const SEND_BUFFER: usize = 64 << 10;

/// The least bytes for which a DATA is put behind others in a packet.
const MIN_DATA: usize = 512;

/// How far the half is that this side writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SendState {
    Open,
    /// Ends behind what waits.
    Finishing,
    Finished,
    /// What waited was dropped, and the other side is to be told.
    Resetting(u64),
    Reset,
}

/// The half that this side writes.
#[derive(Debug)]
pub(super) struct SendHalf {
    /// What waits to be sent. The other side has granted all of it.
    buffer: ByteQueue,
    written: u64,
    acknowledged: u64,
    limit: u64,
    state: SendState,
    is_end_acknowledged: bool,
    /// The other side wants no more, with its code; and whether the writer knows.
    stopped: Option<u64>,
    is_stop_seen: bool,
    pub(super) writable: Signal,
    /// Has a turn.
    pub(super) is_scheduled: bool,
}

impl SendHalf {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            buffer: ByteQueue::default(),
            written: 0,
            acknowledged: 0,
            limit,
            state: SendState::Open,
            is_end_acknowledged: false,
            stopped: None,
            is_stop_seen: false,
            writable: Signal::new(false),
            is_scheduled: false,
        }
    }

    pub(super) fn write(&mut self, bytes: &mut Bytes) -> Result<usize, WriteError> {
        match (self.state, self.stopped) {
            (SendState::Open, _) => {}
            (SendState::Resetting(_) | SendState::Reset, Some(code)) => {
                self.is_stop_seen = true;
                return Err(WriteError::Stopped(code));
            }
            _ => return Err(WriteError::Finished),
        }
        let count = self.room().min(bytes.len());
        if count == 0 && !bytes.is_empty() {
            self.writable.want();
            return Err(WriteError::Blocked);
        }
        self.buffer.push(bytes.split_to(count));
        self.written += count as u64;
        Ok(count)
    }

    /// How much can be written.
    fn room(&self) -> usize {
        let window = usize::try_from(self.limit - self.written).unwrap_or(usize::MAX);
        window.min(SEND_BUFFER.saturating_sub(self.buffer.len()))
    }

    /// Whether the writer is to be told of room that it waits for.
    #[must_use]
    fn raise(&mut self) -> bool {
        self.room() > 0 && self.writable.raise()
    }

    pub(super) fn finish(&mut self) {
        if self.state == SendState::Open {
            self.state = SendState::Finishing;
        }
    }

    /// Whether a RESET is to go out.
    pub(super) fn reset(&mut self, code: u64) -> bool {
        self.is_stop_seen = true;
        let is_open = matches!(self.state, SendState::Open | SendState::Finishing);
        if is_open {
            self.buffer.clear();
            self.state = SendState::Resetting(code);
        }
        is_open
    }

    /// The other side wants no more. Whether a RESET is to go out.
    pub(super) fn stop(&mut self, code: u64) -> bool {
        let is_open = matches!(self.state, SendState::Open | SendState::Finishing);
        if is_open {
            self.reset(code);
            self.is_stop_seen = false;
            self.stopped = Some(code);
        }
        is_open
    }

    /// The other side grants so many bytes in all. Whether the writer is to be told.
    #[must_use]
    pub(super) fn granted(&mut self, limit: u64) -> bool {
        self.limit = self.limit.max(limit);
        self.raise()
    }

    /// Whether it has something for a DATA.
    pub(super) fn has_data(&self) -> bool {
        match self.state {
            SendState::Open => self.buffer.len() > 0,
            SendState::Finishing => true,
            _ => false,
        }
    }

    /// Writes a DATA. Whether there was room for one that is worth it.
    #[must_use]
    pub(super) fn write_data(&mut self, key: StreamKey, writer: &mut PacketWriter) -> bool {
        let room = writer.room().checked_sub(PacketWriter::data_overhead(key));
        let least = self.buffer.len().min(MIN_DATA);
        let Some(room) = room.filter(|room| *room >= least) else { return false };
        let count = self.buffer.len().min(room);
        let fin = count == self.buffer.len() && self.state == SendState::Finishing;
        let buffer = &mut self.buffer;
        writer.data(key, fin, count, |out| buffer.copy_to(count, out));
        writer.note(Part::Stream { key, bytes: count as u32, is_end: fin });
        if fin {
            self.state = SendState::Finished;
        }
        true
    }

    /// Whether the writer is to be told, after something was sent.
    #[must_use]
    pub(super) fn sent(&mut self) -> bool {
        self.state == SendState::Open && self.raise()
    }

    /// Whether a RESET is to go out.
    pub(super) fn has_control(&self) -> bool {
        matches!(self.state, SendState::Resetting(_))
    }

    /// Writes a RESET if one is due. Whether it is written then.
    #[must_use]
    pub(super) fn write_reset(&mut self, key: StreamKey, writer: &mut PacketWriter) -> bool {
        let SendState::Resetting(code) = self.state else { return true };
        if !writer.control(FrameKind::RESET, &[key.reference(), code]) {
            return false;
        }
        writer.note(Part::Stream { key, bytes: 0, is_end: true });
        self.state = SendState::Reset;
        true
    }

    /// The other side has taken something. Whether all that was written is acknowledged now.
    pub(super) fn acknowledged(&mut self, bytes: u32, is_end: bool) -> bool {
        self.acknowledged += u64::from(bytes);
        self.is_end_acknowledged |= is_end;
        self.is_flushed()
    }

    /// Whether all that was written is acknowledged, and the end too if there is one.
    pub(super) fn is_flushed(&self) -> bool {
        match self.state {
            SendState::Open => self.acknowledged == self.written,
            SendState::Finished => self.is_end_acknowledged,
            _ => false,
        }
    }

    /// Whether nothing is left to do and to say.
    pub(super) fn is_done(&self) -> bool {
        self.is_end_acknowledged && (self.stopped.is_none() || self.is_stop_seen)
    }
}

/// How the half has ended that the other side writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReceiveState {
    Open,
    Finished,
    Reset(u64),
}

/// The half that the other side writes.
#[derive(Debug)]
pub(super) struct ReceiveHalf {
    buffer: ByteQueue,
    received: u64,
    read: u64,
    granted: u64,
    window: usize,
    first_window: usize,
    state: ReceiveState,
    /// This side wants no more.
    is_stopped: bool,
    /// The reader knows that the half has ended.
    is_end_seen: bool,
    /// A STOP is to go out, with this code.
    stop_due: Option<u64>,
    grant_due: bool,
    pub(super) readable: Signal,
}

impl ReceiveHalf {
    pub(super) fn new(window: usize) -> Self {
        Self {
            buffer: ByteQueue::default(),
            received: 0,
            read: 0,
            granted: window as u64,
            window,
            first_window: window,
            state: ReceiveState::Open,
            is_stopped: false,
            is_end_seen: false,
            stop_due: None,
            grant_due: false,
            readable: Signal::new(true),
        }
    }

    /// Takes bytes of a packet. Whether the reader is to be told.
    pub(super) fn take(&mut self, bytes: &[u8], fin: bool, packet: &Bytes) -> Result<bool, SessionError> {
        if self.state != ReceiveState::Open {
            return Err(SessionError::StreamEnded);
        }
        self.received += bytes.len() as u64;
        if self.received > self.granted {
            return Err(SessionError::StreamWindow { received: self.received, granted: self.granted });
        }
        if fin {
            self.state = ReceiveState::Finished;
        }
        if self.is_stopped {
            return Ok(false);
        }
        self.buffer.push_from(bytes, packet);
        Ok((fin || !bytes.is_empty()) && self.readable.raise())
    }

    /// The other side has ended it. Whether the reader is to be told.
    pub(super) fn reset(&mut self, code: u64) -> Result<bool, SessionError> {
        if self.state != ReceiveState::Open {
            return Err(SessionError::StreamEnded);
        }
        self.state = ReceiveState::Reset(code);
        self.buffer.clear();
        Ok(!self.is_stopped && self.readable.raise())
    }

    /// Reads at most `max` bytes. What is read is granted anew, and more out of `pool` if it has that.
    pub(super) fn read(&mut self, max: usize, pool: &mut usize) -> Result<Bytes, ReadError> {
        if self.is_stopped {
            return Err(ReadError::Stopped);
        }
        if self.buffer.len() == 0 {
            return match self.state {
                ReceiveState::Open => {
                    self.readable.want();
                    Err(ReadError::Blocked)
                }
                ReceiveState::Finished => {
                    self.is_end_seen = true;
                    Ok(Bytes::new())
                }
                ReceiveState::Reset(code) => {
                    self.is_end_seen = true;
                    Err(ReadError::Reset(code))
                }
            };
        }
        let bytes = self.buffer.take(max.max(1));
        self.read += bytes.len() as u64;
        // In all of what was granted, this much is not in the window any more.
        let used = self.window as u64 - (self.granted - self.read);
        if self.state == ReceiveState::Open && used >= self.window as u64 / 2 {
            let more = self.window.min(MAX_STREAM_WINDOW - self.window);
            if more <= *pool {
                *pool -= more;
                self.window += more;
            }
            self.granted = self.read + self.window as u64;
            self.grant_due = true;
        }
        Ok(bytes)
    }

    /// This side wants no more. Whether a STOP is to go out.
    pub(super) fn stop(&mut self, code: u64) -> bool {
        if self.is_stopped {
            return false;
        }
        self.is_stopped = true;
        self.buffer.clear();
        if self.state == ReceiveState::Open {
            self.stop_due = Some(code);
        }
        self.stop_due.is_some()
    }

    /// Whether a MAX_DATA or a STOP is to go out.
    pub(super) fn has_control(&self) -> bool {
        self.state == ReceiveState::Open && (self.stop_due.is_some() || self.grant_due && !self.is_stopped)
    }

    /// Writes what is due. Whether all is written.
    #[must_use]
    pub(super) fn write_control(&mut self, key: StreamKey, writer: &mut PacketWriter) -> bool {
        if self.state != ReceiveState::Open {
            return true;
        }
        if let Some(code) = self.stop_due {
            if !writer.control(FrameKind::STOP, &[key.reference(), code]) {
                return false;
            }
            self.stop_due = None;
        }
        if self.grant_due && !self.is_stopped {
            if !writer.control(FrameKind::MAX_DATA, &[key.reference(), self.granted]) {
                return false;
            }
            self.grant_due = false;
        }
        true
    }

    /// Bytes that wait to be read.
    pub(super) fn held(&self) -> usize {
        self.buffer.len()
    }

    /// Gives back by how much the window has grown, once it is not needed any more.
    pub(super) fn give_back(&mut self) -> usize {
        if !self.is_done() {
            return 0;
        }
        let grown = self.window - self.first_window;
        self.window = self.first_window;
        grown
    }

    /// Whether it has ended, and the reader knows or does not want to.
    pub(super) fn is_done(&self) -> bool {
        self.state != ReceiveState::Open && (self.is_end_seen || self.is_stopped)
    }
}
