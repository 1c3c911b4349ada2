//! What the mesh takes in and what it gives out.

use std::fmt;

use p2pt_proto::PeerId;

use crate::TrackerId;

/// The application's objects. The mesh does not look into them; it carries each from the input that brings it to the
/// output that needs it, or drops it if none does.
pub trait Objects {
    /// What it takes to answer a peer's offer: its description, and the way back.
    type Offer: fmt::Debug;
    /// An offer of this side with the answer to it.
    type Answer: fmt::Debug;
    /// An open channel.
    type Channel: fmt::Debug;
    /// Why an attempt failed.
    type Error: fmt::Debug;
}

/// One attempt to open a channel: an offer of this side that was answered, or an answer of this side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttemptId(pub u64);

/// One open channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelId(pub u64);

/// Which side of an attempt this node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The peer answered an offer of this side.
    Offerer,
    /// This side answers an offer of the peer.
    Answerer,
}

/// Which library a peer runs, as its description says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Library {
    /// This one: both sides of a channel decide alike which one is kept.
    Ours,
    /// Another one, which is treated as the JavaScript p2pt has to be.
    JavaScript,
}

/// The digest by which a peer's certificate is known, where its transport has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

/// The public key of a peer that signs what it says to trackers, and from which its id follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PeerKey(pub [u8; 32]);

/// What tells a peer from another under the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Which library it runs.
    pub library: Library,
    /// Its certificate: what a description claims, or what an open channel was secured with.
    pub fingerprint: Option<Fingerprint>,
    /// Its key, if it has one. The driver has verified the signature of the description, and lets an attempt succeed only
    /// once the other end of the channel has proven the key.
    pub key: Option<PeerKey>,
}

impl Identity {
    /// Whether a description that claims this may be of the peer whose channel was secured with `other`. What is not
    /// claimed is seen when the channel opens.
    pub(super) fn may_be(&self, other: &Self) -> bool {
        if self.key.is_some() || other.key.is_some() {
            return self.key == other.key;
        }
        let is_other = |(one, two): (Fingerprint, Fingerprint)| one != two;
        self.library == other.library
            && (self.library == Library::JavaScript || !self.fingerprint.zip(other.fingerprint).is_some_and(is_other))
    }

    /// Whether the peer of this open channel is the peer of `other`. JavaScript has another certificate for each
    /// connection, and nothing else by which it could be known.
    pub(super) fn is(&self, other: &Self) -> bool {
        if self.key.is_some() || other.key.is_some() {
            return self.key == other.key;
        }
        self.library == other.library && (self.library == Library::JavaScript || self.fingerprint == other.fingerprint)
    }
}

/// Why an offer or an answer was not taken up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RejectReason {
    /// There are as many peers as may be.
    Full,
    /// There are as many channels to this peer as are kept.
    Duplicate,
    /// As many attempts are under way as may be, or as this tracker may cause.
    Busy,
    /// A peer is connected under this id, and this is another one.
    NotTheSamePeer,
    /// It has no key, and the id is that of a key.
    Unsigned,
}

/// A peer's offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteOffer<O> {
    /// The tracker by which it came.
    pub tracker: TrackerId,
    /// What it says of its maker.
    pub identity: Identity,
    /// What it takes to answer it.
    pub offer: O,
}

/// Something that happened.
#[derive(Debug)]
pub enum Input<T: Objects> {
    /// A tracker was added.
    TrackerAdded(TrackerId),
    /// A tracker was removed, or counts other members from now on. What it has led to remains.
    TrackerRemoved(TrackerId),
    /// An offer of a peer arrived.
    Offer {
        /// Who offers, as the tracker says.
        from: PeerId,
        /// The offer.
        offer: RemoteOffer<T::Offer>,
    },
    /// An offer of this side was answered.
    Answer {
        /// Who answers, as the tracker says.
        from: PeerId,
        /// The tracker by which the answer came.
        tracker: TrackerId,
        /// What the answer says of its maker.
        identity: Identity,
        /// The offer and its answer.
        answer: T::Answer,
    },
    /// An attempt has led to an open channel.
    AttemptSucceeded {
        /// Which attempt.
        attempt: AttemptId,
        /// The channel's label, which both sides see.
        label: String,
        /// The certificate that the channel was secured with.
        fingerprint: Option<Fingerprint>,
        /// The channel.
        channel: T::Channel,
    },
    /// An attempt has failed.
    AttemptFailed {
        /// Which attempt.
        attempt: AttemptId,
        /// Why.
        error: T::Error,
    },
    /// An attempt has reached a peer, which was turned away for what it did not prove. That does not speak against the tracker:
    /// the peer exists, and may be one of many that try.
    AttemptRefused {
        /// Which attempt.
        attempt: AttemptId,
        /// Why.
        error: T::Error,
    },
    /// A channel is gone.
    ChannelClosed(ChannelId),
    /// The application has ended the connection to this peer: attempts with it come to nothing, and what it offered is
    /// forgotten. The driver closes its channels.
    Disconnect(PeerId),
    /// The swarm has another identifier from now on. What was under way under the old one comes to nothing: attempts
    /// are given up and offers forgotten. Channels stay open, and their peers keep their places.
    IdentifierChanged,
    /// So many peers have gone but still hold memory, because the application has not read their last events. With as
    /// many of those as peers are allowed, no further peer is welcome.
    Lingering(usize),
    /// The time of [`Mesh::poll_timeout`](super::Mesh::poll_timeout) has come.
    Timeout,
}

/// Something to be done or to be known.
#[derive(Debug, PartialEq, Eq)]
pub enum Output<T: Objects> {
    /// Answer this offer and open the channel.
    Answer {
        /// The attempt that begins.
        attempt: AttemptId,
        /// Who offers.
        peer: PeerId,
        /// The offer.
        offer: RemoteOffer<T::Offer>,
    },
    /// Apply the answer to the offer and open the channel.
    Accept {
        /// The attempt that begins.
        attempt: AttemptId,
        /// Who has answered.
        peer: PeerId,
        /// The tracker by which the answer came.
        tracker: TrackerId,
        /// The offer and its answer.
        answer: T::Answer,
    },
    /// An offer is not answered, an answer is not taken up, or the channel of an attempt is dropped, which closes it.
    Rejected {
        /// Whose.
        peer: PeerId,
        /// The tracker by which it came.
        tracker: TrackerId,
        /// Which side this node was.
        role: Role,
        /// Why.
        reason: RejectReason,
    },
    /// An offer of a peer that has all its channels is not answered. It comes before [`Rejected`](Self::Rejected), for a
    /// driver that lets the peer know.
    MetAlready {
        /// Whose.
        peer: PeerId,
        /// The offer.
        offer: RemoteOffer<T::Offer>,
    },
    /// An attempt has failed.
    AttemptFailed {
        /// With whom.
        peer: PeerId,
        /// The tracker that led to it.
        tracker: TrackerId,
        /// Which side this node was.
        role: Role,
        /// Why.
        error: T::Error,
    },
    /// End this attempt; nothing needs to be reported.
    GiveUp(AttemptId),
    /// A first channel to this peer is open.
    PeerConnected {
        /// Which peer.
        peer: PeerId,
        /// Its key, if it has one.
        key: Option<PeerKey>,
        /// The tracker that led to it.
        tracker: TrackerId,
    },
    /// An attempt's channel is open. Comes after [`PeerConnected`](Self::PeerConnected).
    ChannelOpened {
        /// To which peer.
        peer: PeerId,
        /// Its id from now on.
        id: ChannelId,
        /// The channel.
        channel: T::Channel,
    },
    /// Send over other channels as soon as order allows, and close this one when it is quiet.
    Retire {
        /// To which peer it is.
        peer: PeerId,
        /// Which channel.
        channel: ChannelId,
    },
    /// The last channel is gone.
    PeerClosed(PeerId),
    /// The peer that is connected under this id has no key, and the id is that of one: all channels to it are to be closed,
    /// and are gone for the mesh. Comes in the place of [`PeerClosed`](Self::PeerClosed).
    PeerDisplaced(PeerId),
    /// Whether further channels to a connected peer are sought has changed; the first report comes after
    /// [`PeerConnected`](Self::PeerConnected).
    Sought {
        /// Which peer.
        peer: PeerId,
        /// Whether further channels are sought.
        sought: bool,
    },
    /// There is no channel to this peer any more, no attempt with it, and no offer of it that is kept.
    PeerForgotten(PeerId),
    /// For how many more peers there are places. Comes before the other outputs of an input.
    Places(usize),
    /// With how many more peers an attempt may begin that this tracker leads to.
    Vacancies {
        /// Which tracker.
        tracker: TrackerId,
        /// How many.
        vacancies: usize,
    },
}
