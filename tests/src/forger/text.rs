//! Descriptions as a tracker can change them that reads and writes SDP.

use p2pt_proto::{InfoHash, PeerId};
use p2pt_trust::{
    Commitment, Context, Features, NodeIdentity, RoomKey, RoomSecret, SdpHash, SealKey, seal, sign_description,
};
use rand::rngs::StdRng;

use super::plan::Edit;

/// Every line of p2pt begins so.
const MARK: &str = "a=p2pt";
const FINGERPRINT: &str = "a=fingerprint:";
const CANDIDATE: &str = "a=candidate:";

/// The signature's line begins so.
const SIGNATURE: &str = "a=p2pt-sig:";

/// A candidate of the tracker: an address of documentation (RFC 5737), where nothing answers.
const OWN_CANDIDATE: &str = "a=candidate:1 1 udp 2130706431 192.0.2.66 6666 typ host\r\n";

/// Where a description belongs, and by whose word.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) swarm: InfoHash,
    /// Of an answer: the hash of the offer as its author sent it, and the offerer.
    pub(super) answers: Option<(SdpHash, PeerId)>,
}

impl Place {
    pub(super) fn context(&self, author: PeerId) -> Context {
        match self.answers {
            None => Context::offer(self.swarm, author),
            Some((offer, offerer)) => Context::answer(self.swarm, author, offer, offerer),
        }
    }
}

/// The tracker as a signer: its key, and the secret of a room in which its victims are not.
#[derive(Debug)]
pub(super) struct Signer {
    pub(super) identity: NodeIdentity,
    room: SealKey,
}

impl Signer {
    pub(super) fn new(identity: NodeIdentity) -> Self {
        let room = RoomSecret::from_key("room", &RoomKey::from([0x66; 32]));
        Self { identity, room: room.seal_key() }
    }

    /// The description without its author's lines, signed by the tracker under the tracker's own id.
    pub(super) fn sign(&self, sdp: &str, place: &Place, commitment: &Commitment) -> String {
        let (context, features) = (place.context(self.identity.peer_id()), Features::of([Features::AUTH]));
        sign_description(&stripped(sdp), &context, &self.identity, &features, commitment).expect("its own, unmarked")
    }

    /// The description as in a room with the tracker's secret; one too long for that as it is.
    pub(super) fn seal(&self, sdp: &str, place: &Place, author: PeerId, rng: &mut StdRng) -> String {
        seal(sdp, &place.context(author), &self.room, rng).unwrap_or_else(|_| sdp.to_owned())
    }

    /// Changes a description of `author`.
    pub(super) fn edit(&self, edit: Edit, sdp: &str, place: &Place, author: PeerId, rng: &mut StdRng) -> String {
        let commitment = p2pt_trust::Nonce::draw(rng).commitment();
        match edit {
            Edit::OtherFingerprint => each_line(sdp, |line| vec![other_fingerprint(line)]),
            Edit::FingerprintBefore => each_line(sdp, |line| vec![other_fingerprint(line), line.to_owned()]),
            Edit::FingerprintBehind => each_line(sdp, |line| vec![line.to_owned(), other_fingerprint(line)]),
            Edit::OtherCandidates => with_candidate(&without(sdp, CANDIDATE)),
            Edit::MoreCandidates => with_candidate(sdp),
            Edit::Strip => stripped(sdp),
            Edit::Downgrade => marked(&stripped(sdp), "a=p2pt:1\r\n"),
            Edit::TakeSignature => without(sdp, SIGNATURE),
            Edit::TakeMark => without(sdp, "a=p2pt:"),
            Edit::TakeKey => without_word(sdp, "k="),
            Edit::TakeFeatures => without_word(sdp, "f="),
            Edit::Letter => sdp.replacen("\r\ns=", "\r\ns=x", 1),
            Edit::OtherSignature => {
                let own = own_line(&self.sign(sdp, place, &commitment), SIGNATURE);
                each_line(sdp, |line| vec![if line.starts_with(SIGNATURE) { own.clone() } else { line.to_owned() }])
            }
            Edit::SignAgain => self.sign(sdp, place, &commitment),
            Edit::SignTwice => marked(&self.sign(sdp, place, &commitment), &lines_of_p2pt(sdp)),
            Edit::Seal => self.seal(sdp, place, author, rng),
        }
    }
}

/// A description without any line of p2pt.
pub(super) fn stripped(sdp: &str) -> String {
    without(sdp, MARK)
}

/// The lines of p2pt in a description.
pub(super) fn lines_of_p2pt(sdp: &str) -> String {
    sdp.split_inclusive('\n').filter(|line| line.starts_with(MARK)).collect()
}

/// A description with these lines at the end of its session part.
pub(super) fn marked(sdp: &str, lines: &str) -> String {
    let media = sdp.find("\nm=").map_or(sdp.len(), |newline| newline + 1);
    let (session, media) = sdp.split_at(media);
    format!("{session}{lines}{media}")
}

fn own_line(sdp: &str, start: &str) -> String {
    sdp.split_inclusive('\n').filter(|line| line.starts_with(start)).collect()
}

fn each_line(sdp: &str, change: impl Fn(&str) -> Vec<String>) -> String {
    let mut changed = String::with_capacity(sdp.len());
    for line in sdp.split_inclusive('\n') {
        let mut lines = change(line);
        // A line that the change does not concern is there once.
        lines.dedup();
        lines.iter().for_each(|line| changed.push_str(line));
    }
    changed
}

fn without(sdp: &str, start: &str) -> String {
    sdp.split_inclusive('\n').filter(|line| !line.starts_with(start)).collect()
}

/// Without the word that begins so, of the line of p2pt.
fn without_word(sdp: &str, start: &str) -> String {
    let cut = |line: &str| {
        if !line.starts_with("a=p2pt:") {
            return vec![line.to_owned()];
        }
        let words = line.trim_end().split(' ').filter(|word| !word.starts_with(start));
        vec![words.collect::<Vec<_>>().join(" ") + "\r\n"]
    };
    each_line(sdp, cut)
}

/// The line, if it is a fingerprint's, with another certificate's.
fn other_fingerprint(line: &str) -> String {
    let Some(value) = line.strip_prefix(FINGERPRINT) else { return line.to_owned() };
    let (algorithm, hex) = value.split_once(' ').unwrap_or((value, ""));
    let other = |digit: char| digit.to_digit(16).and_then(|digit| char::from_digit(15 - digit, 16));
    let hex: String = hex.chars().map(|c| other(c).map_or(c, |c| c.to_ascii_uppercase())).collect();
    format!("{FINGERPRINT}{algorithm} {hex}")
}

/// With the tracker's candidate as the last line of the media section.
fn with_candidate(sdp: &str) -> String {
    let newline = if sdp.ends_with('\n') { "" } else { "\r\n" };
    format!("{sdp}{newline}{OWN_CANDIDATE}")
}
