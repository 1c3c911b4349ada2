//! Session descriptions of one data channel: what this backend reads in a remote one, and what it writes.
//!
//! The reader takes what libwebrtc takes: lines it does not know, attributes of the session in place of the section,
//! the syntax of `sctpmap` that RFC 8841 replaced, other sections before and after. What costs nothing but a candidate
//! costs no connection. It reads from the data channel's section first, then from the session; from another section only
//! if the two share their transport ([`Description::parse`]).

mod candidate;
mod error;
mod fingerprint;
mod lines;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tolerance_tests;
mod write;

use std::net::SocketAddr;

pub(crate) use self::{
    candidate::{CandidateKinds, UnusableCandidate, parse_candidate_line},
    error::SdpError,
    fingerprint::RemoteFingerprint,
    write::{DataProtocol, LocalDescription, Outline, RejectedSection},
};
use self::{
    error::Problem,
    lines::{Line, Section},
};
use super::candidate::Candidate;

/// The largest description that is read, in bytes. Browsers on machines with many addresses stay under 16 KiB, and the
/// strictest public tracker passes on no more.
pub(crate) const MAX_SDP_BYTES: usize = 65_536;

/// How many usable candidates of a description count; those after them are passed over. A host with 10 addresses,
/// each with its own reflexive and relayed ones, has 30.
pub(crate) const MAX_CANDIDATES: usize = 32;

/// How many sections a description may have. An answer must repeat them all, and applications that share a data
/// channel's connection with media have a handful.
const MAX_SECTIONS: usize = 16;

/// The longest section identifier that an answer repeats, in bytes. RFC 9143 section 5 asks for at most 3; libwebrtc makes
/// up to 16 and lets applications choose theirs.
const MAX_MID_BYTES: usize = 64;

/// The SCTP port where a description says none: the one all implementations use (RFC 8841 section 5.2 has no default).
pub(crate) const DEFAULT_SCTP_PORT: u16 = 5_000;

/// What is sent at most, in bytes, when a description does not say otherwise (RFC 8841 section 6.1).
const DEFAULT_MAX_MESSAGE_BYTES: u64 = 65_536;

/// The attributes by which this backend says how many bytes its sockets can hold, and that it sees a channel's reset.
/// Other implementations pass over lines they do not know.
const WINDOW: &str = "p2pt-window";
const CLOSE: &str = "p2pt-close";
const CLOSE_BY_RESET: &str = "reset";

/// Which side of the DTLS handshake the author of a description takes (RFC 8842 section 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Setup {
    /// Either; the answer chooses.
    ActPass,
    /// The client.
    Active,
    /// The server.
    Passive,
}

impl Setup {
    fn name(self) -> &'static str {
        match self {
            Self::ActPass => "actpass",
            Self::Active => "active",
            Self::Passive => "passive",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [Self::ActPass, Self::Active, Self::Passive].into_iter().find(|setup| name.eq_ignore_ascii_case(setup.name()))
    }
}

/// What a remote description says, as far as a data channel needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Description {
    /// The ICE user name fragment, of 4 to 256 characters.
    pub(crate) ufrag: String,
    /// The ICE password, of 22 to 256 characters.
    pub(crate) pwd: String,
    /// The certificate's fingerprint: of several the one by the strongest hash function, the first of its like.
    pub(crate) fingerprint: RemoteFingerprint,
    /// The DTLS role, where one that is known is given. [`answer_setup`](Self::answer_setup) and
    /// [`is_dtls_client`](Self::is_dtls_client) say what it means in an offer and in an answer.
    pub(crate) setup: Option<Setup>,
    /// The port of its SCTP association.
    pub(crate) sctp_port: u16,
    /// The largest message in bytes that its author takes; 0 for any. `None` where there is no readable line.
    pub(crate) max_message_bytes: Option<u64>,
    /// The first [`MAX_CANDIDATES`] usable candidates, each address once.
    pub(crate) candidates: Vec<Candidate>,
    /// The kinds of all candidates, usable or not, for people.
    pub(crate) kinds: CandidateKinds,
    /// Its author only answers connectivity checks (`a=ice-lite`), so that this side is the controlling one whatever its
    /// role (RFC 8445 section 6.1.1).
    pub(crate) ice_lite: bool,
    /// How many bytes the sockets of its author can hold, where its author is of this kind.
    pub(crate) window: Option<usize>,
    /// Its author takes the reset of a channel for its end.
    pub(crate) close_by_reset: bool,
    /// What an answer to it repeats.
    pub(crate) outline: Outline,
}

impl Description {
    /// Reads an offer or an answer.
    ///
    /// Sections of one `BUNDLE` group share the transport of its first, where libwebrtc and Firefox then write the
    /// candidates. That section is read, too, if the data channel's has no ICE parameters or the same.
    ///
    /// # Errors
    /// When a peer could not be connected to by what `sdp` says; names the line.
    pub(crate) fn parse(sdp: &str) -> Result<Self, SdpError> {
        if sdp.len() > MAX_SDP_BYTES {
            return Err(Problem::TooLong.into());
        }
        if sdp.lines().next().map(str::trim_end) != Some("v=0") {
            return Err(Problem::NoVersion.into());
        }
        let (session, media) = lines::sections(sdp)?;
        let position = data_section(&session, &media)?;
        let own = &media[position];
        let group = bundle_of(&session, own);
        let tagged = group.and_then(|group| tagged_section(group, own, &media));
        let mut places = vec![own];
        places.extend(tagged);
        places.push(&session);

        // What a section says of its transport, and what it says of its data channel.
        let value = |name: &'static str| places.iter().find_map(|place| place.attribute(name));
        let own_value = |name: &'static str| own.attribute(name).or_else(|| session.attribute(name));
        let required = |name: &'static str| value(name).ok_or_else(|| Problem::Missing(name).at(own.first_line()));
        let ufrag = credential(required("ice-ufrag")?, "ice-ufrag", 4)?;
        let pwd = credential(required("ice-pwd")?, "ice-pwd", 22)?;
        let fingerprint = fingerprint::find(&places, own.first_line())?;
        let (candidates, kinds) = candidates(&places);
        Ok(Self {
            ufrag,
            pwd,
            fingerprint,
            setup: value("setup").and_then(|line| Setup::parse(line.value())),
            sctp_port: sctp_port(own),
            max_message_bytes: own_value("max-message-size").and_then(|line| line.value().parse().ok()),
            candidates,
            kinds,
            ice_lite: session.attribute("ice-lite").is_some(),
            // Nothing would ever fit into none.
            window: own_value(WINDOW).and_then(|line| line.value().parse().ok()).filter(|bytes| *bytes > 0),
            close_by_reset: own_value(CLOSE).is_some_and(|line| line.value() == CLOSE_BY_RESET),
            outline: outline(&media, position, group.is_some())?,
        })
    }

    /// The DTLS role of this side when this is an offer: the client unless the offer claims that.
    pub(crate) fn answer_setup(&self) -> Setup {
        if self.setup == Some(Setup::Active) { Setup::Passive } else { Setup::Active }
    }

    /// Whether its author is the DTLS client when this is an answer to an offer that leaves the choice. One that does not
    /// choose is taken as active, which RFC 8842 section 5.3 recommends.
    pub(crate) fn is_dtls_client(&self) -> bool {
        self.setup != Some(Setup::Passive)
    }

    /// The largest frame in bytes its author accepts, but no more than `ours`.
    pub(crate) fn max_frame_bytes(&self, ours: usize) -> usize {
        match self.max_message_bytes.unwrap_or(DEFAULT_MAX_MESSAGE_BYTES) {
            0 => ours,
            bytes => usize::try_from(bytes).unwrap_or(ours).min(ours),
        }
    }
}

/// Which of the sections is that of the data channel: the first that is one and not rejected.
fn data_section(session: &Section<'_>, media: &[Section<'_>]) -> Result<usize, SdpError> {
    let is_usable = |section: &Section<'_>| {
        // A section with port 0 is rejected, unless it says that its address is that of its group.
        section.media().port() != Some(0)
            || section.attribute("bundle-only").is_some() && bundle_of(session, section).is_some()
    };
    if let Some(position) = media.iter().position(|section| section.media().is_data_channel() && is_usable(section)) {
        return Ok(position);
    }
    let rejected = media.iter().find(|section| section.media().is_data_channel());
    let other = media.iter().find(|section| section.media().kind == "application");
    Err(match (rejected, other) {
        (Some(section), _) => Problem::Rejected.at(section.first_line()),
        (None, Some(section)) => Problem::NoDataChannel.at(section.first_line()),
        (None, None) => Problem::NoDataChannel.into(),
    })
}

/// The members of the `BUNDLE` group that `section` is in.
fn bundle_of<'a>(session: &Section<'a>, section: &Section<'a>) -> Option<&'a str> {
    let mid = section.mid()?;
    session
        .attributes("group")
        .filter_map(|line| line.value().strip_prefix("BUNDLE "))
        .find(|mids| mids.split_ascii_whitespace().any(|other| other == mid))
}

/// The section whose transport all of `group` use, if `own` does not contradict it. It may be `own` itself.
fn tagged_section<'s, 'a>(group: &str, own: &Section<'a>, media: &'s [Section<'a>]) -> Option<&'s Section<'a>> {
    let tag = group.split_ascii_whitespace().next()?;
    let tagged = media.iter().find(|section| section.mid() == Some(tag))?;
    let ufrag = |section: &Section<'a>| section.attribute("ice-ufrag").map(|line| line.value());
    ufrag(own).is_none_or(|own| Some(own) == ufrag(tagged)).then_some(tagged)
}

/// The value of `line`, if it can be part of a STUN user name or be a password.
///
/// RFC 8839 section 5.4 allows letters, digits, `+` and `/`. libwebrtc takes four signs more, because there are
/// implementations that write them.
fn credential(line: Line<'_>, name: &'static str, min: usize) -> Result<String, SdpError> {
    let value = line.value();
    let is_ice_char = |byte: u8| byte.is_ascii_alphanumeric() || b"+/-=#_".contains(&byte);
    if !(min..=256).contains(&value.len()) || !value.bytes().all(is_ice_char) {
        return Err(Problem::Credential { name, min }.at(line));
    }
    Ok(value.to_owned())
}

/// The usable candidates of `places`, and the kinds of all of them.
fn candidates(places: &[&Section<'_>]) -> (Vec<Candidate>, CandidateKinds) {
    let mut usable: Vec<Candidate> = Vec::new();
    let mut kinds = CandidateKinds::default();
    for line in places.iter().flat_map(|place| place.attributes("candidate")) {
        let read = candidate::parse(line.value());
        kinds.note(&read);
        let is_known = |address: SocketAddr| usable.iter().any(|other| other.address == address);
        if let Ok(candidate) = read
            && usable.len() < MAX_CANDIDATES
            && !is_known(candidate.address)
        {
            usable.push(candidate);
        }
    }
    (usable, kinds)
}

/// The port of the SCTP association: by `a=sctp-port`, by the older `a=sctpmap`, or by the m= line of that time.
fn sctp_port(own: &Section<'_>) -> u16 {
    let lines = [
        own.attribute("sctp-port").map(|line| line.value()),
        own.attribute("sctpmap").and_then(|line| line.value().split_ascii_whitespace().next()),
        Some(own.media().format),
    ];
    let mut ports = lines.into_iter().flatten().filter_map(|port| port.parse().ok());
    ports.find(|port| *port != 0).unwrap_or(DEFAULT_SCTP_PORT)
}

/// What an answer repeats of `media`, in which the data channel is at `position`.
fn outline(media: &[Section<'_>], position: usize, bundle: bool) -> Result<Outline, SdpError> {
    let own = &media[position];
    let rejected = |sections: &[Section<'_>]| -> Result<Vec<RejectedSection>, SdpError> {
        sections.iter().map(|section| section.media().rejected(section.mid())).collect()
    };
    Ok(Outline {
        mid: own.mid().map(str::to_owned),
        bundle,
        protocol: own.media().data_protocol().unwrap_or_default(),
        sctpmap: own.media().is_sctpmap(),
        before: rejected(&media[..position])?,
        after: rejected(&media[position + 1..])?,
    })
}
