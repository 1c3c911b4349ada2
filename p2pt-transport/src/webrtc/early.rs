//! The cure for an impatience of `rtc` 0.21: what arrives before its time, it throws away.
//!
//! *Connectivity checks* may arrive before the other side's description, which is still on its way through the tracker.
//! RFC 8445 section 7.3 has them answered all the same. Browsers and libwebrtc send the next one 50 ms later, on another
//! path, and do not begin to talk before one of theirs is answered.
//!
//! *The first words of the encrypted session* may arrive before the path is chosen, since libwebrtc says them as soon as
//! any path works. It repeats them after 50 ms; others, after a second.
//!
//! The cure: a socket keeps both until their time has come. Checks are then handed over behind the answer to one of our
//! own, because a check on a path that is known to work makes the agent choose that path at once, not at the next beat of
//! its clock.
//!
//! To be removed when the crate answers early checks and chooses paths when it can.

use std::{
    collections::VecDeque,
    sync::{
        Mutex,
        atomic::{AtomicU8, Ordering},
    },
};

use webrtc::runtime::RecvMeta;

use super::pulse::lock;

/// How much a socket keeps, in bytes; the oldest goes first. A check has some 100 bytes, a first flight up to 2,500.
const MAX_KEPT_BYTES: usize = 16_384;

/// The other side's description is not known.
const UNDESCRIBED: u8 = 0;
/// The description is known, and a path is looked for.
const DESCRIBED: u8 = 1;
/// A path has been chosen.
const CONNECTED: u8 = 2;

/// How far a connection is, as its sockets need to know.
#[derive(Debug, Default)]
pub(super) struct Stage(AtomicU8);

impl Stage {
    pub(super) fn described(&self) {
        self.0.fetch_max(DESCRIBED, Ordering::AcqRel);
    }

    pub(super) fn connected(&self) {
        self.0.fetch_max(CONNECTED, Ordering::AcqRel);
    }

    fn get(&self) -> u8 {
        self.0.load(Ordering::Acquire)
    }
}

/// A STUN binding request (RFC 8489 section 5).
fn is_check(datagram: &[u8]) -> bool {
    datagram.starts_with(&[0, 1])
}

/// The first stage at which the stack takes `datagram`. What belongs to the encrypted session begins with 20 to 63
/// (RFC 7983); what servers say is always welcome.
fn time_of(datagram: &[u8]) -> u8 {
    match datagram {
        [20..=63, ..] => CONNECTED,
        _ if is_check(datagram) => DESCRIBED,
        _ => UNDESCRIBED,
    }
}

/// What one socket has heard before its time.
#[derive(Debug, Default)]
pub(super) struct Early(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    datagrams: VecDeque<(Vec<u8>, RecvMeta)>,
    bytes: usize,
    /// Since the description, something has been handed over.
    is_answered: bool,
    /// A path has been chosen and nothing is left.
    is_over: bool,
}

impl Early {
    /// Whether `datagram` is kept for later.
    pub(super) fn keeps(&self, stage: &Stage, datagram: &[u8], meta: &RecvMeta) -> bool {
        let mut kept = lock(&self.0);
        if kept.is_over {
            return false;
        }
        let stage = stage.get();
        if stage >= time_of(datagram) {
            kept.is_answered |= stage >= DESCRIBED;
            return false;
        }
        kept.push(datagram, meta);
        true
    }

    /// Hands over something whose time has come, if there is such a thing.
    pub(super) fn hand_over(&self, stage: &Stage, buf: &mut [u8], meta: &mut RecvMeta) -> bool {
        let mut kept = lock(&self.0);
        if kept.is_over {
            return false;
        }
        let stage = stage.get();
        let due = kept.datagrams.iter().position(|(datagram, _)| match time_of(datagram) {
            DESCRIBED => kept.is_answered,
            time => stage >= time,
        });
        let Some((datagram, its_meta)) = due.and_then(|at| kept.datagrams.remove(at)) else {
            kept.is_over = stage == CONNECTED && kept.datagrams.is_empty();
            return false;
        };
        kept.bytes -= datagram.len();
        let len = datagram.len().min(buf.len());
        buf[..len].copy_from_slice(&datagram[..len]);
        *meta = its_meta;
        meta.len = len;
        true
    }
}

impl Kept {
    fn push(&mut self, datagram: &[u8], meta: &RecvMeta) {
        if is_check(datagram) {
            // Whoever has not been answered asks again.
            self.drop_first(|(known, its_meta)| is_check(known) && its_meta.addr == meta.addr);
        }
        self.datagrams.push_back((datagram.to_owned(), *meta));
        self.bytes += datagram.len();
        while self.bytes > MAX_KEPT_BYTES {
            self.drop_first(|_| true);
        }
    }

    fn drop_first(&mut self, which: impl Fn(&(Vec<u8>, RecvMeta)) -> bool) {
        if let Some((datagram, _)) = self.datagrams.iter().position(which).and_then(|at| self.datagrams.remove(at)) {
            self.bytes -= datagram.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use proptest::prelude::*;

    use super::*;

    const SUCCESS: &[u8] = &[1, 1, 0, 0];
    const CHECK: &[u8] = &[0, 1, 0, 0];
    const HELLO: &[u8] = &[22, 254, 253, 0];

    fn from(port: u16) -> RecvMeta {
        let mut meta = RecvMeta::default();
        meta.addr = SocketAddr::from(([127, 0, 0, 1], port));
        meta
    }

    fn next(early: &Early, stage: &Stage) -> Option<(Vec<u8>, u16)> {
        let (mut buf, mut meta) = ([0; 6000], RecvMeta::default());
        early.hand_over(stage, &mut buf, &mut meta).then(|| (buf[..meta.len].to_vec(), meta.addr.port()))
    }

    #[test]
    fn a_check_waits_for_the_description_and_for_an_answer_to_ours() {
        let (early, stage) = (Early::default(), Stage::default());
        assert!(early.keeps(&stage, CHECK, &from(1)) && early.keeps(&stage, CHECK, &from(2)));
        // The same again takes the place of the first.
        let again = [CHECK, &[7]].concat();
        assert!(early.keeps(&stage, &again, &from(1)));
        // A server's answer is taken at any time.
        assert!(!early.keeps(&stage, SUCCESS, &from(3)));
        assert_eq!(next(&early, &stage), None);
        stage.described();
        assert_eq!(next(&early, &stage), None);
        assert!(!early.keeps(&stage, SUCCESS, &from(1)));
        assert_eq!(next(&early, &stage), Some((CHECK.to_vec(), 2)));
        assert_eq!(next(&early, &stage), Some((again, 1)));
        assert_eq!(next(&early, &stage), None);
        assert!(!early.keeps(&stage, CHECK, &from(1)));
    }

    #[test]
    fn the_encrypted_session_waits_for_a_path_and_keeps_its_order() {
        let (early, stage) = (Early::default(), Stage::default());
        stage.described();
        let second = [HELLO, &[1]].concat();
        assert!(early.keeps(&stage, HELLO, &from(1)) && early.keeps(&stage, &second, &from(1)));
        assert!(!early.keeps(&stage, CHECK, &from(1)));
        assert_eq!(next(&early, &stage), None);
        stage.connected();
        // No way back, whatever is heard later.
        stage.described();
        assert_eq!(next(&early, &stage), Some((HELLO.to_vec(), 1)));
        assert_eq!(next(&early, &stage), Some((second, 1)));
        assert_eq!(next(&early, &stage), None);
        assert!(lock(&early.0).is_over && !early.keeps(&stage, HELLO, &from(1)));
    }

    proptest! {
        /// Whoever sends what, no more than the limit is kept, and the newest is.
        #[test]
        fn what_is_kept_is_bounded(
            datagrams in prop::collection::vec((any::<bool>(), 1u16..5, 4usize..6000), 1..50),
        ) {
            let (early, stage) = (Early::default(), Stage::default());
            let mut last = None;
            for (is_check, port, len) in datagrams {
                let mut datagram = if is_check { CHECK.to_vec() } else { HELLO.to_vec() };
                datagram.resize(len, 0);
                prop_assert!(early.keeps(&stage, &datagram, &from(port)));
                let kept = lock(&early.0);
                let bytes: usize = kept.datagrams.iter().map(|(datagram, _)| datagram.len()).sum();
                prop_assert_eq!(kept.bytes, bytes);
                prop_assert!(bytes <= MAX_KEPT_BYTES);
                last = Some((datagram, port));
            }
            let kept = lock(&early.0);
            let (datagram, meta) = kept.datagrams.back().unwrap();
            prop_assert_eq!(Some((datagram.clone(), meta.addr.port())), last);
        }
    }
}
