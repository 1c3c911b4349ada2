//! Acknowledgements and the receive window they announce, which the SCTP stack does not say again when it has opened.

use std::time::{Duration, Instant};

use bytes::Bytes;
use rtc_sctp::Payload;

use super::{super::guard, Phase, REMOTE, Session};

/// The SCTP stack's longest delay of an acknowledgement (RFC 9260 section 6.2).
const ACK_DELAY: Duration = Duration::from_millis(200);

impl Session {
    /// Announces no larger receive window than this share of the socket's buffer.
    pub(crate) fn set_share(&mut self, bytes: u32) {
        self.share = bytes;
    }

    /// Acknowledges at once what the stack would let wait for 200 ms: a side that closes soon after the channel is open
    /// would wait for that.
    pub(super) fn acknowledge(&mut self, now: Instant) {
        self.held_ack.urge();
        if let Some(sack) = self.held_ack.take() {
            self.write(now, &sack);
        }
        if let Some((_, association)) = &mut self.association
            && !association.is_closed()
        {
            association.handle_timeout(now + ACK_DELAY);
        }
    }

    /// Has the other side acknowledge what it receives from now on, and what it was sent before, at once. It would let the
    /// acknowledgement of every other packet wait for 200 ms, and a close with it.
    ///
    /// What was sent before is asked for by its last packet, which is sent once more.
    pub(crate) fn begin_flush(&mut self, now: Instant) {
        self.is_flushing = true;
        if let Some(last) = self.last_data.take()
            && self.outstanding() > 0
            && !self.is_over()
        {
            self.send_packet(now, last, self.share);
        }
    }

    /// What the last acknowledgement would say if it were sent now. Parts of frames may still be held, for which there is no
    /// room twice.
    fn window_now(&self) -> u32 {
        self.window_free.saturating_add(self.read).min(self.window).min(self.share)
    }

    /// The stack never says that its window has opened again, and the other side would wait for a time-out.
    pub(super) fn reopen_window(&mut self, now: Instant) {
        let half = self.window.min(self.share) / 2;
        if self.reported_window < half && self.window_now() >= half && !self.window_update {
            self.window_update = true;
            // One that waits to be sent says more than the last one again.
            self.acknowledge(now);
        }
    }

    /// Takes what the stack has to send, unencrypted.
    pub(super) fn gather_packets(&mut self, now: Instant) {
        while let Some(sent) = self.association.as_mut().and_then(|(_, association)| association.poll_transmit(now)) {
            let Payload::RawEncode(packets) = sent.message else { continue };
            self.packets.extend(packets);
        }
    }

    /// Encrypts all that is to be sent now, for what cannot wait for its turn.
    pub(super) fn flush_association(&mut self, now: Instant) {
        if let Some(sack) = self.held_ack.take() {
            self.write(now, &sack);
        }
        self.gather_packets(now);
        while let Some(packet) = self.packets.pop_front() {
            self.send_packet(now, packet, self.share.min(self.window));
        }
        self.update_window(now);
    }

    /// Says the last acknowledgement again, with the window of now, where the stack would not.
    pub(super) fn update_window(&mut self, now: Instant) {
        let share = self.share.min(self.window);
        if std::mem::take(&mut self.window_update)
            && let Some(last) = self.last_sack.take()
        {
            let window = self.window_now();
            self.send_packet(now, guard::with_window(&last, window).freeze(), share);
        }
    }

    pub(super) fn send_packet(&mut self, now: Instant, mut packet: Bytes, share: u32) {
        self.sctp_guard.sent(&packet);
        if let Some(window) = guard::sack_window(&packet) {
            if window > share {
                packet = guard::with_window(&packet, share).freeze();
            }
            self.window_free = window;
            self.read = 0;
            self.reported_window = window.min(share);
            self.window_update = false;
            self.last_sack = Some(packet.clone());
        }
        if let Some(fitted) = guard::fitted(&packet) {
            packet = fitted.freeze();
        }
        if guard::sack_window(&packet).is_some() && self.phase == Phase::Open && self.held_ack.holds(now, &packet) {
            return;
        }
        if guard::carries_data(&packet) {
            if self.is_flushing {
                packet = guard::asking_for_acknowledgement(&packet).freeze();
            } else {
                self.last_data = Some(packet.clone());
            }
            if let Some(sack) = self.held_ack.take_for_data() {
                match guard::bundled(&sack, &packet) {
                    Some(bundled) => packet = bundled.freeze(),
                    None => self.write(now, &sack),
                }
            }
        }
        self.write(now, &packet);
    }

    /// Encrypts a packet.
    pub(super) fn write(&mut self, now: Instant, packet: &Bytes) {
        if let Err(error) = self.dtls.write(now, REMOTE, packet) {
            tracing::debug!(connection = self.connection, %error, "cannot write a DTLS record");
        }
        self.flush_records();
    }

    pub(super) fn flush_records(&mut self) {
        while let Some(sent) = self.dtls.poll_transmit() {
            self.records.push_back(sent.message);
        }
    }
}
