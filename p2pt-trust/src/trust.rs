//! How far a peer is known.

use std::collections::BTreeSet;
use std::fmt;

use crate::key::PublicKey;
use crate::pins::Pin;
use crate::sighting::TrackerHost;

/// Trackers at which a peer has been seen, of those that were asked.
///
/// It counts hosts, and the first is the one that brought the peer. That several show the same key proves *reach, not
/// honesty*: a tracker that shows another peer than the others do is found out, a stranger who announces everywhere is not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vouchers {
    seen_at: BTreeSet<TrackerHost>,
    of: BTreeSet<TrackerHost>,
}

impl Vouchers {
    /// This tracker is asked, too.
    pub fn ask(&mut self, tracker: TrackerHost) {
        self.of.insert(tracker);
    }

    /// The tracker is asked no more; what it has vouched for holds.
    pub fn stop_asking(&mut self, tracker: &TrackerHost) {
        self.of.remove(tracker);
    }

    /// The peer was introduced through this tracker, or a sighting through it has been verified. Whether that is news.
    pub fn vouch(&mut self, tracker: TrackerHost) -> bool {
        self.seen_at.insert(tracker)
    }

    /// Through how many trackers the peer has been seen.
    pub fn through(&self) -> usize {
        self.seen_at.len()
    }

    /// How many trackers there are: those that are asked and those that have vouched.
    pub fn of(&self) -> usize {
        self.seen_at.union(&self.of).count()
    }

    /// Whether so many trackers have vouched.
    pub fn agree(&self, wanted: usize) -> Result<(), NotVouched> {
        let seen = self.through();
        if seen >= wanted { Ok(()) } else { Err(NotVouched { seen, wanted }) }
    }
}

/// Fewer trackers have vouched for a peer than were wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the peer was seen through {seen} trackers, and {wanted} are required")]
pub struct NotVouched {
    /// How many have.
    pub seen: usize,
    /// How many should have.
    pub wanted: usize,
}

/// How far a peer is known. [`level`](Self::level) compares.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trust {
    /// The peer is not the one that the application expects by name: it has another key than is pinned, or none. Either the
    /// other person has a new key, or this is another person.
    Changed {
        /// The name that was expected.
        name: String,
        /// The key that is pinned for it.
        was: PublicKey,
        /// The key that the peer has, if it has one.
        now: Option<PublicKey>,
    },
    /// The peer has no key: it is a JavaScript peer, or a tracker in between has made it look like one.
    Unsigned,
    /// The peer has proven a key that nothing else is known of.
    FirstUse {
        /// Through how many trackers it has been seen, 0 or 1.
        through: usize,
    },
    /// The peer has proven a key, and several trackers show it.
    Vouched {
        /// Through how many trackers it has been seen, 2 or more.
        through: usize,
        /// How many there are.
        of: usize,
    },
    /// The peer has proven a key that is pinned.
    Pinned {
        /// The name under which it is.
        name: String,
    },
}

/// The kinds of [`Trust`], the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TrustLevel {
    /// [`Trust::Changed`].
    Changed,
    /// [`Trust::Unsigned`].
    Unsigned,
    /// [`Trust::FirstUse`].
    FirstUse,
    /// [`Trust::Vouched`].
    Vouched,
    /// [`Trust::Pinned`].
    Pinned,
}

impl Trust {
    /// How far a peer is known: by the key that it has proven, if any; by the pin that the application expects of it, if
    /// it does; by the name under which its key is pinned, if it is; and by the trackers that vouch for it.
    pub fn decide(key: Option<&PublicKey>, expected: Option<&Pin>, pinned_as: Option<&str>, by: &Vouchers) -> Self {
        if let Some(pin) = expected {
            return match key {
                Some(key) if *key == pin.key => Self::Pinned { name: pin.name.clone() },
                _ => Self::Changed { name: pin.name.clone(), was: pin.key, now: key.copied() },
            };
        }
        match (key, pinned_as, by.through()) {
            (None, ..) => Self::Unsigned,
            (Some(_), Some(name), _) => Self::Pinned { name: name.to_owned() },
            (Some(_), None, through @ 0..=1) => Self::FirstUse { through },
            (Some(_), None, through) => Self::Vouched { through, of: by.of() },
        }
    }

    /// Which kind it is, for comparing what it was with what it is.
    pub fn level(&self) -> TrustLevel {
        match self {
            Self::Changed { .. } => TrustLevel::Changed,
            Self::Unsigned => TrustLevel::Unsigned,
            Self::FirstUse { .. } => TrustLevel::FirstUse,
            Self::Vouched { .. } => TrustLevel::Vouched,
            Self::Pinned { .. } => TrustLevel::Pinned,
        }
    }
}

/// In a few words, such as `pinned as "ann"`.
impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed { name, was, now: Some(now) } => {
                write!(f, "not the {name:?} that is pinned: its key is {now}, and was {was}")
            }
            Self::Changed { name, was, now: None } => {
                write!(f, "not the {name:?} that is pinned: it has no key, and should have {was}")
            }
            Self::Unsigned => f.write_str("without a key"),
            Self::FirstUse { .. } => f.write_str("known by its key alone"),
            Self::Vouched { through, of } => write!(f, "shown by {through} of {of} trackers"),
            Self::Pinned { name } => write!(f, "pinned as {name:?}"),
        }
    }
}

/// Which peers a node speaks with at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// With all: JavaScript peers have no key, and are welcome.
    #[default]
    Open,
    /// With those that have proven some key.
    Signed,
    /// With those that have proven one of these keys.
    Only(BTreeSet<PublicKey>),
}

/// A peer is turned away by [`Policy`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// It has no key.
    #[error("the peer has no key, and only peers with one are admitted")]
    Unsigned,
    /// It has another key than those that are admitted.
    #[error("the key {key} is not among those that are admitted")]
    OtherKey {
        /// Its key.
        key: PublicKey,
    },
}

impl Policy {
    /// Whether a peer that has proven this key, or none, is admitted.
    pub fn admits(&self, key: Option<&PublicKey>) -> Result<(), PolicyError> {
        match (self, key) {
            (Self::Open, _) | (Self::Signed, Some(_)) => Ok(()),
            (_, None) => Err(PolicyError::Unsigned),
            (Self::Only(keys), Some(key)) if keys.contains(key) => Ok(()),
            (Self::Only(_), Some(key)) => Err(PolicyError::OtherKey { key: *key }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::NodeKey;

    fn key(byte: u8) -> PublicKey {
        NodeKey::from_bytes(&[byte; 32]).public_key()
    }

    fn vouchers(hosts: &[&str], asked: &[&str]) -> Vouchers {
        let mut vouchers = Vouchers::default();
        hosts.iter().for_each(|host| assert!(vouchers.vouch(TrackerHost::of(host))));
        asked.iter().for_each(|host| vouchers.ask(TrackerHost::of(host)));
        vouchers
    }

    #[test]
    fn trust_is_the_strongest_that_is_proven() {
        let (one, two) = (vouchers(&["a"], &["a", "b", "c"]), vouchers(&["a", "b"], &["a", "c"]));
        assert_eq!(Trust::decide(None, None, None, &two), Trust::Unsigned);
        assert_eq!(Trust::decide(Some(&key(1)), None, None, &Vouchers::default()), Trust::FirstUse { through: 0 });
        assert_eq!(Trust::decide(Some(&key(1)), None, None, &one), Trust::FirstUse { through: 1 });
        assert_eq!(Trust::decide(Some(&key(1)), None, None, &two), Trust::Vouched { through: 2, of: 3 });
        let pinned = Trust::Pinned { name: "ann".into() };
        assert_eq!(Trust::decide(Some(&key(1)), None, Some("ann"), &one), pinned);
        // A name says nothing of a peer without a key.
        assert_eq!(Trust::decide(None, None, Some("ann"), &one), Trust::Unsigned);
    }

    #[test]
    fn another_key_than_expected_is_a_change() {
        let (ann, by) = (Pin { name: "ann".into(), key: key(1) }, vouchers(&["a", "b"], &[]));
        assert_eq!(Trust::decide(Some(&key(1)), Some(&ann), None, &by), Trust::Pinned { name: "ann".into() });
        for now in [None, Some(key(2))] {
            let changed = Trust::Changed { name: "ann".into(), was: key(1), now };
            // Even if that one is another friend.
            assert_eq!(Trust::decide(now.as_ref(), Some(&ann), Some("ben"), &by), changed);
        }
    }

    #[test]
    fn trust_rises_and_falls() {
        use TrustLevel::{Changed, FirstUse, Pinned, Unsigned, Vouched};
        assert!([Changed, Unsigned, FirstUse, Vouched, Pinned].is_sorted());
        assert_eq!(Trust::FirstUse { through: 1 }.level(), FirstUse);
        assert_eq!(Trust::Changed { name: "ann".into(), was: key(1), now: None }.level(), Changed);
    }

    #[test]
    fn trust_is_said_in_a_few_words() {
        let changed = |now| Trust::Changed { name: "ann".into(), was: key(1), now }.to_string();
        let (was, now) = (key(1), key(2));
        for (trust, words) in [
            (changed(Some(now)), format!("not the \"ann\" that is pinned: its key is {now}, and was {was}")),
            (changed(None), format!("not the \"ann\" that is pinned: it has no key, and should have {was}")),
            (Trust::Unsigned.to_string(), "without a key".into()),
            (Trust::FirstUse { through: 1 }.to_string(), "known by its key alone".into()),
            (Trust::Vouched { through: 2, of: 3 }.to_string(), "shown by 2 of 3 trackers".into()),
            (Trust::Pinned { name: "ann".into() }.to_string(), "pinned as \"ann\"".into()),
        ] {
            assert_eq!(trust, words);
        }
    }

    #[test]
    fn a_host_counts_once() {
        let mut two = vouchers(&["a", "b"], &["c"]);
        assert!(!two.vouch(TrackerHost::of("A")));
        assert_eq!((two.through(), two.of()), (2, 3));
        assert_eq!(two.agree(2), Ok(()));
        assert_eq!(two.agree(3), Err(NotVouched { seen: 2, wanted: 3 }));
        two.stop_asking(&TrackerHost::of("c"));
        assert_eq!((two.through(), two.of()), (2, 2));
    }

    #[test]
    fn a_policy_admits_by_key() {
        let only = Policy::Only([key(1)].into());
        assert_eq!(Policy::default().admits(None), Ok(()));
        assert_eq!(Policy::Signed.admits(None), Err(PolicyError::Unsigned));
        assert_eq!(Policy::Signed.admits(Some(&key(2))), Ok(()));
        assert_eq!(only.admits(None), Err(PolicyError::Unsigned));
        assert_eq!(only.admits(Some(&key(2))), Err(PolicyError::OtherKey { key: key(2) }));
        assert_eq!(only.admits(Some(&key(1))), Ok(()));
    }
}
