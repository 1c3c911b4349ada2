//! Which peers may connect: the ban list, and the application's own filters.

use std::collections::BTreeSet;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use p2pt_proto::{InfoHash, PeerId};
use p2pt_tracker::AnnounceUrl;
use p2pt_transport::Role;
use p2pt_trust::PublicKey;
use tracing::error;

use crate::RejectReason;
use crate::queue::lock;

/// A peer that this node is about to connect to, for [`Builder::admit`](crate::Builder::admit).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerRequest {
    /// The id that it claims.
    pub peer_id: PeerId,
    /// Its key, if its description is signed. It follows from the key whether the id is the peer's; that the peer is the
    /// holder of the key is proven once the channel is open, and before it is a [`Peer`](crate::Peer).
    pub public_key: Option<PublicKey>,
    /// The swarm.
    pub info_hash: InfoHash,
    /// The tracker its offer or answer came by.
    pub tracker: AnnounceUrl,
    /// This node's side: `Answerer` if the peer made an offer, `Offerer` if it answered one of this node's.
    pub role: Role,
}

type Filter = Arc<dyn Fn(&PeerRequest) -> bool + Send + Sync>;

/// The application's filters, all of which must agree.
#[derive(Default, Clone)]
pub(crate) struct Filters(Vec<Filter>);

impl Filters {
    pub(crate) fn add(&mut self, filter: Filter) {
        self.0.push(filter);
    }
}

impl fmt::Debug for Filters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} filters", self.0.len())
    }
}

/// One node's rules, for all its swarms.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    banned: Mutex<BTreeSet<PeerId>>,
    filters: Filters,
}

impl Admission {
    pub(crate) fn new(filters: Filters) -> Self {
        Self { banned: Mutex::default(), filters }
    }

    pub(crate) fn ban(&self, peer: PeerId) {
        lock(&self.banned).insert(peer);
    }

    pub(crate) fn unban(&self, peer: &PeerId) -> bool {
        lock(&self.banned).remove(peer)
    }

    pub(crate) fn banned(&self) -> Vec<PeerId> {
        lock(&self.banned).iter().copied().collect()
    }

    /// Says whether a peer may connect.
    ///
    /// A filter that panics has not admitted its peer. That is the application's fault and concerns this peer alone:
    /// the node and its other peers go on.
    pub(crate) fn check(&self, request: &PeerRequest) -> Result<(), RejectReason> {
        if lock(&self.banned).contains(&request.peer_id) {
            return Err(RejectReason::Banned);
        }
        let admits = |filter: &Filter| match catch_unwind(AssertUnwindSafe(|| filter(request))) {
            Ok(admitted) => admitted,
            Err(_) => {
                error!(peer = %request.peer_id, "an admission filter panicked; the peer is turned away");
                false
            }
        };
        if self.filters.0.iter().all(admits) { Ok(()) } else { Err(RejectReason::Filtered) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(n: u8) -> PeerRequest {
        let (info_hash, tracker) = (InfoHash::of("room"), "ws://a.test".parse().expect("a URL"));
        PeerRequest { peer_id: PeerId::from([n; 20]), public_key: None, info_hash, tracker, role: Role::Answerer }
    }

    #[test]
    fn a_ban_lasts_until_it_is_lifted() {
        let admission = Admission::default();
        let one = request(1);
        admission.ban(one.peer_id);
        admission.ban(one.peer_id);
        assert_eq!((admission.check(&one), admission.check(&request(2))), (Err(RejectReason::Banned), Ok(())));
        assert_eq!(admission.banned(), [one.peer_id]);
        assert!(admission.unban(&one.peer_id) && !admission.unban(&one.peer_id));
        assert_eq!(admission.check(&one), Ok(()));
    }

    #[test]
    fn every_filter_must_agree() {
        let mut filters = Filters::default();
        filters.add(Arc::new(|request| request.peer_id != PeerId::from([1; 20])));
        filters.add(Arc::new(|request| request.peer_id != PeerId::from([2; 20])));
        let admission = Admission::new(filters);
        let verdicts = [1, 2, 3].map(|n| admission.check(&request(n)));
        assert_eq!(verdicts, [Err(RejectReason::Filtered), Err(RejectReason::Filtered), Ok(())]);
    }

    #[test]
    fn a_filter_that_panics_turns_its_peer_away_and_no_other() {
        let mut filters = Filters::default();
        filters.add(Arc::new(|request| {
            assert_ne!(request.peer_id, PeerId::from([1; 20]), "the application's own mistake");
            true
        }));
        let admission = Admission::new(filters);
        assert_eq!([1, 2].map(|n| admission.check(&request(n))), [Err(RejectReason::Filtered), Ok(())]);
    }
}
