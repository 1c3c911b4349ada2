use std::sync::Arc;

use p2pt_transport::{
    Channel, Frame, Transport, TransportError,
    memory::{MemoryConfig, MemoryNetwork, MemoryTransport},
};

pub(crate) async fn connect(a: &MemoryTransport, b: &MemoryTransport) -> Result<(Channel, Channel), TransportError> {
    let offer = a.offer().await?;
    let answer = b.answer(offer.sdp()).await?;
    let sdp = answer.sdp().to_owned();
    tokio::try_join!(offer.open(&sdp), answer.open())
}

pub(crate) type Nodes = (MemoryNetwork, Arc<MemoryTransport>, Arc<MemoryTransport>);

pub(crate) fn pair(seed: u64) -> Nodes {
    pair_with(seed, MemoryConfig::default())
}

pub(crate) fn pair_with(seed: u64, config: MemoryConfig) -> Nodes {
    let network = MemoryNetwork::with_config(seed, config);
    let (a, b) = (network.transport(), network.transport());
    (network, a, b)
}

/// Receives this frame next.
pub(crate) async fn expect(channel: &mut Channel, text: &str) {
    assert_eq!(channel.receiver.recv().await, Ok(Frame::text(text)));
}
