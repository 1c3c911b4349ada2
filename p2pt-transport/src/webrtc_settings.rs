//! What the WebRTC backends of both platforms are set by: one definition of the settings that mean the same on each.

/// The largest frame unless configured. A JavaScript p2pt's are of up to 96 KiB.
pub(crate) const DEFAULT_FRAME_BYTES: usize = 98_304;

/// The setters of `WebRtcConfig` that both platforms have and that mean the same there, for its `impl` block. Those whose
/// default or meaning is the platform's own stand beside them.
macro_rules! common_setters {
    () => {
        /// No STUN and no TURN: only peers that can reach this machine's own addresses will connect.
        pub fn without_ice_servers(self) -> Self {
            self.ice_servers([])
        }

        /// Which paths may be used.
        pub fn ice_policy(mut self, policy: IcePolicy) -> Self {
            self.ice_policy = policy;
            self
        }

        /// How long an offer stays usable while it waits for its answer. 120 s by default, which is as long as the strictest
        /// public tracker passes answers on.
        pub fn answer_timeout(mut self, timeout: Duration) -> Self {
            self.answer_timeout = timeout;
            self
        }

        /// How long `open` waits for the channel. 30 s by default.
        ///
        /// Of that, finding a path may take half, and setting up the encrypted session on it a third: an answer that was
        /// made up, or whose author is gone, holds its connection for 15 s. With the native backend a side from which
        /// something has arrived and then nothing more is not waited for any longer than the
        /// [idle timeout](Self::idle_timeout).
        pub fn connect_timeout(mut self, timeout: Duration) -> Self {
            self.connect_timeout = timeout;
            self
        }

        /// How long a graceful close waits without progress: for what was sent to leave (natively to be acknowledged), then
        /// for the other side to close too. 2 s by default: a packet that is lost is sent again after one, and with less
        /// the close would not wait for it.
        pub fn close_timeout(mut self, timeout: Duration) -> Self {
            self.close_timeout = timeout;
            self
        }

        /// The largest frame sent or received, which is announced to the other side as `a=max-message-size`.
        /// 96 KiB by default; at most [`MAX_FRAME_BYTES`], and at least 64 KiB, which a peer without that line may
        /// send. JavaScript peers send frames of up to 96 KiB, for texts of control characters.
        pub fn max_frame_bytes(mut self, bytes: usize) -> Self {
            self.max_frame_bytes = bytes.clamp(65_536, MAX_FRAME_BYTES);
            self
        }
    };
}
pub(crate) use common_setters;
