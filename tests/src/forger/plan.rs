//! What a malicious tracker does with offers and answers, as data.

use proptest::prelude::*;

/// What becomes of the offers and answers that a tracker carries, and what it adds.
///
/// Each list is gone through from its beginning to its end and then anew, one entry for each offer or answer; with none,
/// everything is relayed as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// What becomes of offers.
    pub offers: Vec<OnOffer>,
    /// What becomes of answers to the peers' offers. Answers to the tracker's own offers connect.
    pub answers: Vec<OnAnswer>,
    /// Offers of the tracker's own peer, all of which follow each announce.
    pub added: Vec<Added>,
}

impl Plan {
    /// Does this with every offer.
    pub fn offers(with: OnOffer) -> Self {
        Self { offers: vec![with], ..Self::default() }
    }

    /// Does this with every answer.
    pub fn answers(with: OnAnswer) -> Self {
        Self { answers: vec![with], ..Self::default() }
    }

    /// Relays everything, and adds these.
    pub fn adding(added: impl Into<Vec<Added>>) -> Self {
        Self { added: added.into(), ..Self::default() }
    }

    /// Any plan, short enough that a failing one can be read.
    pub fn any() -> impl Strategy<Value = Self> {
        let offers = prop::collection::vec(OnOffer::any(), 0..6);
        let answers = prop::collection::vec(OnAnswer::any(), 0..6);
        let added = prop::collection::vec(Added::any(), 0..3);
        (offers, answers, added).prop_map(|(offers, answers, added)| Self { offers, answers, added })
    }
}

/// What becomes of an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnOffer {
    /// It is relayed as it is.
    Relay,
    /// Its recipient never sees it.
    Hide,
    /// It is relayed twice.
    Repeat,
    /// Its text is changed.
    Edit(Edit),
    /// It is relayed under another peer id.
    Under(Name),
    /// It is relayed as the tracker's own: under the tracker's id, and signed again with the tracker's key. The two ends
    /// connect directly, and each is to believe that the other end is the tracker's peer (RFC 8844).
    Adopt,
    /// It goes back to its author, under the recipient's id.
    Reflect,
    /// The first offer of the same author is relayed in its place; none if it is the first.
    Replay,
    /// Members of other swarms get it as an offer in theirs, and those of its own get none.
    Elsewhere,
    /// The tracker's own peer stands in the middle: it answers the offer in the recipient's place, makes one to the
    /// recipient in the author's place, and carries what the two say.
    Between(Guise),
    /// The tracker's own peer answers in the recipient's place, and speaks for itself.
    AnswerItself(Guise),
}

impl OnOffer {
    fn any() -> impl Strategy<Value = Self> {
        prop_oneof![
            2 => Just(Self::Relay),
            1 => Just(Self::Hide),
            1 => Just(Self::Repeat),
            4 => prop::sample::select(Edit::ALL.to_vec()).prop_map(Self::Edit),
            2 => Name::any().prop_map(Self::Under),
            1 => Just(Self::Adopt),
            1 => Just(Self::Reflect),
            1 => Just(Self::Replay),
            1 => Just(Self::Elsewhere),
            4 => Guise::any().prop_map(Self::Between),
            3 => Guise::any().prop_map(Self::AnswerItself),
        ]
    }
}

/// What becomes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnAnswer {
    /// It is relayed as it is.
    Relay,
    /// The offerer never sees it.
    Hide,
    /// It is relayed twice.
    Repeat,
    /// Its text is changed.
    Edit(Edit),
    /// It is relayed under another peer id.
    Under(Name),
    /// It is relayed as the tracker's own, as with [`OnOffer::Adopt`].
    Adopt,
    /// It is given as the answer to another offer of the same offerer.
    Mix,
    /// The first answer of the same author to the same offerer is relayed in its place; none if it is the first.
    Replay,
    /// The offerer gets its own offer as the answer, with the part of the answerer.
    Reflect,
}

impl OnAnswer {
    fn any() -> impl Strategy<Value = Self> {
        prop_oneof![
            3 => Just(Self::Relay),
            1 => Just(Self::Hide),
            1 => Just(Self::Repeat),
            4 => prop::sample::select(Edit::ALL.to_vec()).prop_map(Self::Edit),
            2 => Name::any().prop_map(Self::Under),
            1 => Just(Self::Adopt),
            1 => Just(Self::Mix),
            1 => Just(Self::Replay),
            1 => Just(Self::Reflect),
        ]
    }
}

/// An offer of the tracker's own peer, which speaks for itself to those that answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// The peer that announces gets it. [`Name::Other`] is another member, or one that has been a member.
    ToAnnouncer(Name, Guise),
    /// All other members get it. [`Name::Other`] is the announcer.
    ToOthers(Name, Guise),
}

impl Added {
    fn any() -> impl Strategy<Value = Self> {
        (any::<bool>(), Name::any(), Guise::any()).prop_map(|(to_announcer, name, guise)| match to_announcer {
            true => Self::ToAnnouncer(name, guise),
            false => Self::ToOthers(name, guise),
        })
    }
}

/// A peer id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// The recipient's own.
    Recipient,
    /// That of another member than author and recipient, or of one that has been a member; the author's if there is none.
    Other,
    /// That of the tracker's own peer.
    Own,
    /// One that no peer has.
    New,
}

impl Name {
    fn any() -> impl Strategy<Value = Self> {
        prop::sample::select(vec![Self::Recipient, Self::Other, Self::Own, Self::New])
    }
}

/// As whom the tracker's own peer comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guise {
    /// Under the other peer's id, without a key, as a node of this library.
    Unsigned,
    /// Under the other peer's id, without any line of p2pt, as JavaScript peers are.
    JavaScript,
    /// Under the other peer's id, with that peer's lines of p2pt around a description of its own.
    Pasted,
    /// Under the other peer's id, signed with its own key.
    SignedUnder,
    /// Under its own id, signed with its own key: an honest newcomer as far as anybody can tell, and confirmed.
    Own,
    /// As [`Own`](Self::Own), but it does not prove its key: it speaks at once, or carries the other peer's proof.
    Unproven,
    /// As [`Own`](Self::Own), but in place of a proof it sends back what it gets.
    Echo,
    /// Under its own id and signed, sealed as in a room with another secret.
    OtherRoom,
}

impl Guise {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Unsigned,
        Self::JavaScript,
        Self::Pasted,
        Self::SignedUnder,
        Self::Own,
        Self::Unproven,
        Self::Echo,
        Self::OtherRoom,
    ];

    /// Whether it comes under its own id.
    pub fn is_own(self) -> bool {
        matches!(self, Self::Own | Self::Unproven | Self::Echo | Self::OtherRoom)
    }

    /// Whether it proves its key when the channel is open.
    pub fn proves(self) -> bool {
        matches!(self, Self::SignedUnder | Self::Own | Self::OtherRoom)
    }

    fn any() -> impl Strategy<Value = Self> {
        prop::sample::select(Self::ALL.to_vec())
    }
}

/// A change of a description's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edit {
    /// The fingerprint is another one.
    OtherFingerprint,
    /// Another fingerprint stands before the author's.
    FingerprintBefore,
    /// Another fingerprint stands behind the author's.
    FingerprintBehind,
    /// The candidates are replaced by one of the tracker.
    OtherCandidates,
    /// There is one more candidate, of the tracker.
    MoreCandidates,
    /// All lines of p2pt are gone.
    Strip,
    /// The lines of p2pt are gone but for one that says version 1.
    Downgrade,
    /// The signature is gone.
    TakeSignature,
    /// The key is gone from the line of p2pt.
    TakeKey,
    /// The line of p2pt is gone, the signature is there.
    TakeMark,
    /// The features are fewer.
    TakeFeatures,
    /// One letter of the session's name is another.
    Letter,
    /// The signature is by the tracker's key, the key in the line is the author's.
    OtherSignature,
    /// It is signed again with the tracker's key, and comes under the author's id.
    SignAgain,
    /// There are two lines of p2pt and two signatures: the tracker's, then the author's.
    SignTwice,
    /// It is sealed as in a room with another secret.
    Seal,
}

impl Edit {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::OtherFingerprint,
        Self::FingerprintBefore,
        Self::FingerprintBehind,
        Self::OtherCandidates,
        Self::MoreCandidates,
        Self::Strip,
        Self::Downgrade,
        Self::TakeSignature,
        Self::TakeKey,
        Self::TakeMark,
        Self::TakeFeatures,
        Self::Letter,
        Self::OtherSignature,
        Self::SignAgain,
        Self::SignTwice,
        Self::Seal,
    ];
}
