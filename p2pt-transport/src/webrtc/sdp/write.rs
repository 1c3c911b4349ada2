//! The descriptions this side writes.

use std::fmt;

use super::{CLOSE, CLOSE_BY_RESET, DEFAULT_SCTP_PORT, Setup, WINDOW, candidate};
use crate::{Fingerprint, webrtc::candidate::Candidate};

/// How an m= line names DTLS and SCTP. It says nothing about the transport, which ICE finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum DataProtocol {
    /// `UDP/DTLS/SCTP`, of RFC 8841.
    #[default]
    Udp,
    /// `TCP/DTLS/SCTP`, of RFC 8841.
    Tcp,
    /// `DTLS/SCTP`, of drafts before it.
    Draft,
}

impl DataProtocol {
    pub(super) const ALL: [Self; 3] = [Self::Udp, Self::Tcp, Self::Draft];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Udp => "UDP/DTLS/SCTP",
            Self::Tcp => "TCP/DTLS/SCTP",
            Self::Draft => "DTLS/SCTP",
        }
    }
}

/// A section of an offer that an answer must have and that it rejects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RejectedSection {
    /// `audio`, `video`, `application`.
    pub(super) kind: String,
    /// What stands in the offer.
    pub(super) protocol: String,
    /// The first of the offer; there must be one.
    pub(super) format: String,
    /// What stands in the offer.
    pub(super) mid: Option<String>,
}

impl fmt::Display for RejectedSection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, protocol, format, mid } = self;
        write!(f, "m={kind} 0 {protocol} {format}\r\nc=IN IP4 0.0.0.0\r\na=inactive\r\n")?;
        if let Some(mid) = mid {
            write!(f, "a=mid:{mid}\r\n")?;
        }
        Ok(())
    }
}

/// How a description is laid out. An answer is laid out as its offer: it has the same sections in the same order, with
/// the same identifiers and protocols, and groups them only if the offer does (RFC 8829 section 5.3.1).
///
/// The data channel is the only section that is accepted. libwebrtc with `bundlePolicy: "max-bundle"` refuses that of its
/// own offer if it offered media, too, as it cannot leave the transport of the first section of a group; its other
/// policies, the default among them, and Firefox take it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outline {
    /// The identifier of the data channel's section.
    pub(crate) mid: Option<String>,
    /// That section is in a `BUNDLE` group.
    pub(crate) bundle: bool,
    /// How it names its protocol.
    pub(crate) protocol: DataProtocol,
    /// It has the syntax that RFC 8841 replaced: `m=application 9 DTLS/SCTP 5000`, `a=sctpmap`.
    pub(crate) sctpmap: bool,
    /// The sections before it. An answer of ours rejects them.
    pub(crate) before: Vec<RejectedSection>,
    /// The sections after it.
    pub(crate) after: Vec<RejectedSection>,
}

/// The outline of the offers of this side.
impl Default for Outline {
    fn default() -> Self {
        Self {
            mid: Some("0".to_owned()),
            bundle: true,
            protocol: DataProtocol::default(),
            sctpmap: false,
            before: Vec::new(),
            after: Vec::new(),
        }
    }
}

/// An offer or an answer of this side, complete with all candidates. [`Display`](fmt::Display) writes it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LocalDescription<'a> {
    /// Names the session; its highest bit is left out (RFC 8829 section 5.2.1).
    pub(crate) session_id: u64,
    /// [`Outline::default`] in an offer, that of the offer in an answer.
    pub(crate) outline: &'a Outline,
    /// The ICE user name fragment.
    pub(crate) ufrag: &'a str,
    /// The ICE password.
    pub(crate) pwd: &'a str,
    /// That of this side's certificate.
    pub(crate) fingerprint: Fingerprint,
    /// [`Setup::ActPass`] in an offer, [`Description::answer_setup`](super::Description::answer_setup) in an answer.
    pub(crate) setup: Setup,
    /// The largest message in bytes that this side takes.
    pub(crate) max_message_bytes: usize,
    /// All addresses of this side.
    pub(crate) candidates: &'a [Candidate],
    /// How many bytes the sockets of this side can hold.
    pub(crate) window: u32,
}

impl fmt::Display for LocalDescription<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outline { mid, bundle, before, after, .. } = self.outline;
        write!(f, "v=0\r\no=- {} 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n", self.session_id & (u64::MAX >> 1))?;
        if let Some(mid) = mid.as_ref().filter(|_| *bundle) {
            write!(f, "a=group:BUNDLE {mid}\r\n")?;
        }
        // Of the session: libdatachannel repeats in its answers what it does not know in a section, and so would claim both.
        write!(f, "a={WINDOW}:{}\r\na={CLOSE}:{CLOSE_BY_RESET}\r\n", self.window)?;
        before.iter().try_for_each(|section| section.fmt(f))?;
        self.data_section(f)?;
        after.iter().try_for_each(|section| section.fmt(f))
    }
}

impl LocalDescription<'_> {
    fn data_section(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outline { mid, protocol, sctpmap, .. } = self.outline;
        // The port and the address are of no use with ICE, and these are what RFC 8829 section 5.2.1 puts there.
        write!(f, "m=application 9 {} ", protocol.name())?;
        if *sctpmap {
            write!(f, "{DEFAULT_SCTP_PORT}\r\nc=IN IP4 0.0.0.0\r\n")?;
            // As many streams as browsers named at that time; the association settles on its own.
            write!(f, "a=sctpmap:{DEFAULT_SCTP_PORT} webrtc-datachannel 1024\r\n")?;
        } else {
            write!(f, "webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=sctp-port:{DEFAULT_SCTP_PORT}\r\n")?;
        }
        if let Some(mid) = mid {
            write!(f, "a=mid:{mid}\r\n")?;
        }
        write!(f, "a=ice-ufrag:{}\r\na=ice-pwd:{}\r\n", self.ufrag, self.pwd)?;
        write!(f, "a=fingerprint:sha-256 {}\r\na=setup:{}\r\n", self.fingerprint, self.setup.name())?;
        write!(f, "a=max-message-size:{}\r\n", self.max_message_bytes)?;
        for (index, address) in self.candidates.iter().enumerate() {
            f.write_str("a=candidate:")?;
            candidate::write(f, index + 1, address)?;
            f.write_str("\r\n")?;
        }
        f.write_str("a=end-of-candidates\r\n")
    }
}
