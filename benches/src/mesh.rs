//! A swarm's peers and links as one node has them.

use std::hint::black_box;
use std::time::Instant;

use p2pt_transport::Role;

use crate::{RejectReason, base, peer};
use source::mesh::{Input, LinkId, Mesh, MeshConfig, Output, RemoteOffer};

/// The mesh is a private module, and hardly knows the rest of its crate: it is compiled here once more.
#[allow(dead_code, unreachable_pub, reason = "not all of it is measured")]
#[path = "../../p2pt/src"]
mod source {
    pub(crate) mod mesh;
}

/// A node that is connected to others, each step with what the engine would do about it.
#[derive(Debug)]
pub struct Swarm {
    mesh: Mesh<()>,
    now: Instant,
    newcomers: u64,
}

impl Swarm {
    /// One with links to so many peers.
    pub fn new(peers: u64) -> Self {
        let max_peers = usize::try_from(peers).expect("few") + 1;
        let mesh = Mesh::new(MeshConfig { connections_per_peer: 1, max_peers });
        let mut swarm = Self { mesh, now: base(), newcomers: 0 };
        for _ in 0..peers {
            swarm.meet();
        }
        assert_eq!(swarm.mesh.connected() as u64, peers);
        swarm
    }

    fn input(&mut self, input: Input<()>) -> Vec<Output<()>> {
        self.mesh.handle_input(self.now, input);
        let outputs = std::iter::from_fn(|| self.mesh.poll_output()).collect();
        black_box(self.mesh.poll_timeout());
        outputs
    }

    fn meet(&mut self) -> LinkId {
        self.newcomers += 1;
        let outputs = self.input(Input::Offer { from: peer(self.newcomers), offer: offer() });
        let [Output::Answer { attempt, .. }] = outputs[..] else { panic!("{outputs:?}") };
        let outputs = self.input(Input::Opened { attempt, label: "a label of a channel".to_owned() });
        let [Output::PeerConnected { .. }, Output::LinkOpened { link, .. }] = outputs[..] else {
            panic!("{outputs:?}")
        };
        link
    }

    /// Somebody new comes and goes: an offer, its channel, its end.
    pub fn meet_and_part(&mut self) {
        let link = self.meet();
        let outputs = self.input(Input::Closed { link });
        assert!(matches!(outputs[..], [Output::PeerClosed { .. }]), "{outputs:?}");
    }

    /// A peer that has its link offers another, and its offer is kept for a moment.
    pub fn take_offer(&mut self) {
        let outputs = self.input(Input::Offer { from: peer(1), offer: offer() });
        assert!(outputs.is_empty(), "{outputs:?}");
    }

    /// A peer that has its link answers one of our offers.
    pub fn take_answer(&mut self) {
        let outputs = self.input(Input::Answer { from: peer(1), tracker: offer().tracker, ours: true });
        let [Output::Rejected { reason: RejectReason::Duplicate, role: Role::Offerer, .. }] = outputs[..] else {
            panic!("{outputs:?}")
        };
    }
}

fn offer() -> RemoteOffer<()> {
    let tracker = "wss://tracker.example.org".parse().expect("a URL");
    RemoteOffer { tracker, via: (), sdp: String::new(), ours: true }
}
