//! The suite, put to the memory network, and to backends that are broken on purpose.
#![cfg(all(feature = "conformance", feature = "memory"))]

use p2pt_transport::{
    conformance::{self, Settings},
    memory::MemoryNetwork,
};

async fn passes(network: MemoryNetwork) {
    let report =
        conformance::run(async || (network.transport() as _, network.transport() as _), &Settings::default()).await;
    assert!(report.passed(), "{report}");
    println!("{report}");
    assert_eq!((network.open_channels(), network.pending()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn memory_passes() {
    passes(MemoryNetwork::new(1)).await;
}
