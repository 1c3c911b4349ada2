//! What the memory of a connected peer is measured with.

use p2pt::{Event, Events, PeerId, Swarm};
use p2pt_rt::{spawn, timeout};
use wasm_bindgen::prelude::*;

use crate::Options;
use crate::partner::StartFailed;

/// A node that peers meet.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Hub(Swarm);

impl Hub {
    pub(crate) async fn start(options: &Options) -> Result<Self, StartFailed> {
        let (swarm, mut events) = options.builder().join(options.identifier.as_str()).await?;
        while !matches!(events.next().await, Some(Event::TrackerConnected(_)) | None) {}
        drop(spawn(async move { while events.next().await.is_some() {} }));
        Ok(Self(swarm))
    }
}

#[wasm_bindgen]
impl Hub {
    /// The id by which visitors know it.
    #[wasm_bindgen(js_name = peerId)]
    pub fn peer_id(&self) -> String {
        self.0.peer_id().to_string()
    }

    /// How many peers are connected.
    pub fn peers(&self) -> usize {
        self.0.peers().len()
    }
}

pub(crate) async fn visit(options: &Options, hub: PeerId, count: usize) -> Result<(), StartFailed> {
    for _ in 0..count {
        let builder = options.builder().allow([hub]).max_peers(1);
        let (swarm, mut events) = builder.join(options.identifier.as_str()).await?;
        let met = async { while !matches!(events.next().await, Some(Event::PeerConnected(_)) | None) {} };
        timeout(options.deadline(), met).await.map_err(|_| StartFailed::NotMet)?;
        // The next one is to find the hub alone; the peer met at a tracker stays.
        for tracker in swarm.node().tracker_stats().trackers {
            swarm.node().remove_tracker(tracker.url).await?;
        }
        drop(spawn(stay(swarm, events)));
    }
    Ok(())
}

async fn stay(swarm: Swarm, mut events: Events) {
    while events.next().await.is_some() {}
    drop(swarm);
}
