//! What datagrams may cost before DTLS has authenticated them.
//!
//! They come from an address that answered a check, but anyone who can forge that address can send them too. Nothing here
//! ends a connection, therefore: what is out of bounds is dropped.

/// A record's header, in bytes (RFC 6347 §4.1).
const RECORD_HEADER: usize = 13;

/// A handshake fragment's header, in bytes (RFC 6347 §4.2.2).
const FRAGMENT_HEADER: usize = 12;

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

const FATAL: u8 = 2;

/// The longest handshake message, in bytes: a certificate chain, as browsers accept it (BoringSSL's default for
/// `SSL_CTX_set_max_cert_list` is 100 KiB, but no WebRTC peer sends more than one self-signed certificate of 0.3–2 KiB).
const MAX_MESSAGE: usize = 16_384;

/// Numbers of handshake messages of one side: a full handshake with a cookie and both certificates has 7.
const MAX_MESSAGES: u16 = 16;

/// Handshake fragments before the handshake is complete. A flight has up to 8, and is sent up to 8 times. `rtc-dtls`
/// keeps them all, goes through them once for each record, and once more for each fragment of a message, recursively
/// (`fragment_buffer/mod.rs`, `append_message`): a message in 40,000 fragments of a byte, 1 MB on the wire, overflows a
/// thread's stack of 2 MiB and ends the process.
const MAX_FRAGMENTS: u16 = 128;

/// Handshake fragments after that: a peer that misses the last flight repeats its own (RFC 6347 §4.2.4), and `rtc-dtls`
/// answers seven times.
const MAX_FRAGMENTS_AFTER: u16 = 64;

/// An encrypted handshake record, in bytes. Of the messages only Finished is encrypted: 24 bytes and up to 69 for the
/// cipher.
const MAX_ENCRYPTED_HANDSHAKE: usize = 128;

/// Records that wait for keys, in `rtc-dtls`: the first SCTP packets of a peer that is done already.
const MAX_EARLY: u8 = 32;

/// Alerts in the life of a connection. `rtc-dtls` answers every alert with the same one, so two of them never stop.
const MAX_ALERTS: u8 = 8;

/// What to do with a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum RecordVerdict {
    /// `rtc-dtls` may have it.
    Pass,
    /// It is lost.
    Drop,
}

/// Guards one DTLS connection.
#[derive(Debug)]
pub(crate) struct DtlsGuard {
    complete: bool,
    fragments: u16,
    early: u8,
    alerts: u8,
}

impl DtlsGuard {
    pub(crate) fn new() -> Self {
        Self { complete: false, fragments: MAX_FRAGMENTS, early: MAX_EARLY, alerts: MAX_ALERTS }
    }

    /// The handshake is complete.
    pub(crate) fn completed(&mut self) {
        self.complete = true;
        self.fragments = MAX_FRAGMENTS_AFTER;
    }

    /// Looks at a datagram before `rtc-dtls` does. All of it is dropped for one bad record: an honest peer sends none.
    pub(crate) fn inspect(&mut self, datagram: &[u8]) -> RecordVerdict {
        let mut rest = datagram;
        while !rest.is_empty() {
            let Some((header, behind)) = rest.split_first_chunk::<RECORD_HEADER>() else { return RecordVerdict::Drop };
            let length = usize::from(u16::from_be_bytes([header[11], header[12]]));
            let epoch = u16::from_be_bytes([header[3], header[4]]);
            let Some((body, after)) = behind.split_at_checked(length) else { return RecordVerdict::Drop };
            if !self.record(header[0], epoch, body) {
                return RecordVerdict::Drop;
            }
            rest = after;
        }
        RecordVerdict::Pass
    }

    fn record(&mut self, kind: u8, epoch: u16, body: &[u8]) -> bool {
        match (kind, epoch) {
            (APPLICATION_DATA, 1) => self.complete || take(&mut self.early, 1),
            (HANDSHAKE, 0) => self.handshake(body),
            (HANDSHAKE, 1) => {
                let fragments = body.len().div_ceil(FRAGMENT_HEADER);
                body.len() <= MAX_ENCRYPTED_HANDSHAKE && take(&mut self.fragments, fragments as u16)
            }
            // In epoch 1, `rtc-dtls` takes it for true without decrypting it, and from then on drops all that the peer
            // sends (`crypto/crypto_gcm.rs`, `decrypt`). A malformed one in epoch 0 makes it send a fatal alert.
            (CHANGE_CIPHER_SPEC, 0) => body == [1] && (self.complete || take(&mut self.early, 1)),
            // An alert without authentication ends nothing that has keys. Before, a fatal one is how a peer says why it
            // refuses; a warning, close_notify for one, says nothing that the deadline does not.
            (ALERT, 0) => !self.complete && matches!(body, [FATAL, _]) && take(&mut self.alerts, 1),
            (ALERT, 1) => take(&mut self.alerts, 1),
            // Data in the clear and unknown kinds make `rtc-dtls` send a fatal alert; no epoch follows the first keys.
            _ => false,
        }
    }

    /// The fragments of a record, as `rtc-dtls` cuts them: by the length of their message, not by their own.
    fn handshake(&mut self, mut body: &[u8]) -> bool {
        if body.is_empty() {
            return false;
        }
        while let Some((header, behind)) = body.split_first_chunk::<FRAGMENT_HEADER>() {
            let length = be24(header[1], header[2], header[3]);
            let sequence = u16::from_be_bytes([header[4], header[5]]);
            let (offset, fragment) = (be24(header[6], header[7], header[8]), be24(header[9], header[10], header[11]));
            let data = length.min(behind.len());
            let plausible = length <= MAX_MESSAGE
                && sequence < MAX_MESSAGES
                && offset + fragment <= length
                && fragment <= data
                && (fragment > 0) == (length > 0);
            if !plausible || !take(&mut self.fragments, 1) {
                return false;
            }
            body = &behind[data..];
        }
        body.is_empty()
    }
}

fn be24(high: u8, middle: u8, low: u8) -> usize {
    usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low)
}

/// Takes `amount` from `left`, if there is so much.
fn take<T: Copy + PartialOrd + std::ops::SubAssign>(left: &mut T, amount: T) -> bool {
    let enough = *left >= amount;
    if enough {
        *left -= amount;
    }
    enough
}
