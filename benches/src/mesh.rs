//! A swarm's peers and channels as one node has them.

use std::hint::black_box;
use std::time::Instant;

use p2pt_mesh::TrackerId;
use p2pt_mesh::mesh::{
    ChannelId, Identity, Input, Library, Mesh, MeshConfig, Objects, Output, RejectReason, RemoteOffer, Role,
};

use crate::{base, peer};

/// What the mesh carries here.
#[derive(Debug)]
struct Nothing;

impl Objects for Nothing {
    type Offer = ();
    type Answer = ();
    type Channel = ();
    type Error = ();
}

const TRACKER: TrackerId = TrackerId(1);

const OURS: Identity = Identity { library: Library::Ours, fingerprint: None, key: None };

/// A node that is connected to others, each step with what the engine would do about it.
#[derive(Debug)]
pub struct Swarm {
    mesh: Mesh<Nothing>,
    now: Instant,
    newcomers: u64,
}

impl Swarm {
    /// One with channels to so many peers.
    pub fn new(peers: u64) -> Self {
        let max_peers = usize::try_from(peers).expect("few") + 1;
        let mesh = Mesh::new(MeshConfig { connections_per_peer: 1, max_peers });
        let mut swarm = Self { mesh, now: base(), newcomers: 0 };
        swarm.input(Input::TrackerAdded(TRACKER));
        for _ in 0..peers {
            swarm.meet();
        }
        assert_eq!(swarm.mesh.connected() as u64, peers);
        swarm
    }

    fn input(&mut self, input: Input<Nothing>) -> Vec<Output<Nothing>> {
        self.mesh.handle_input(self.now, input);
        let outputs = std::iter::from_fn(|| self.mesh.poll_output()).collect();
        black_box(self.mesh.poll_timeout());
        outputs
    }

    fn meet(&mut self) -> ChannelId {
        self.newcomers += 1;
        let outputs = self.input(Input::Offer { from: peer(self.newcomers), offer: offer() });
        let [Output::Answer { attempt, .. }, ..] = outputs[..] else { panic!("{outputs:?}") };
        let label = "a label of a channel".to_owned();
        let outputs = self.input(Input::AttemptSucceeded { attempt, label, fingerprint: None, channel: () });
        let opened = outputs.iter().find_map(|output| match output {
            Output::ChannelOpened { id, .. } => Some(*id),
            _ => None,
        });
        opened.unwrap_or_else(|| panic!("{outputs:?}"))
    }

    /// A new peer comes and goes: an offer, its channel, its end.
    pub fn meet_and_part(&mut self) {
        let channel = self.meet();
        let outputs = self.input(Input::ChannelClosed(channel));
        assert!(outputs.iter().any(|output| matches!(output, Output::PeerClosed(_))), "{outputs:?}");
    }

    /// A peer that has its channel offers another, and its offer is kept for a moment.
    pub fn take_offer(&mut self) {
        let outputs = self.input(Input::Offer { from: peer(1), offer: offer() });
        assert!(outputs.is_empty(), "{outputs:?}");
    }

    /// A peer that has its channel answers an offer of this side.
    pub fn take_answer(&mut self) {
        let answer = Input::Answer { from: peer(1), tracker: TRACKER, identity: OURS, answer: () };
        let outputs = self.input(answer);
        let [Output::Rejected { reason: RejectReason::Duplicate, role: Role::Offerer, .. }] = outputs[..] else {
            panic!("{outputs:?}")
        };
    }
}

fn offer() -> RemoteOffer<()> {
    RemoteOffer { tracker: TRACKER, identity: OURS, offer: () }
}
