//! What a connected peer costs in memory.
//!
//! The process that measures, and its partner, have moved hundreds of megabytes and hold what is left of them, so this is
//! measured in a fresh process, the hub. The first peer it meets is not counted: with it come code and tables that all
//! peers share.

use std::time::Duration;

use p2pt::AnnounceUrl;
use tokio::time::{sleep, timeout};

use super::child::ChildProcess;
use super::measure::Measurer;
use super::protocol::{Peers, Ready, Request, Visit};
use super::report::Figure;
use super::{BenchError, serve, usage};
use crate::args::{Child, NetworkArgs};

/// What the hub and the nodes that it meets share.
const IDENTIFIER: &str = "p2pt bench memory";

const TEST: &str = "memory";

/// Peers that are counted.
const PEERS: usize = 20;

/// How long what connecting takes only for a moment has to go.
const SETTLE: Duration = Duration::from_secs(1);

const POLL: Duration = Duration::from_millis(100);

/// Measures the memory of a process for each connected peer; the partner starts the peers.
pub(super) async fn measure(
    measurer: &mut Measurer<'_>,
    network: &NetworkArgs,
    tracker: &AnnounceUrl,
) -> Result<(), BenchError> {
    // Where the system does not tell, there is nothing to wait for.
    if usage::resident_kb().is_none() {
        return Ok(());
    }
    let after = measurer.args.deadline;
    measurer.progress.begin(TEST, PEERS as u64);
    let kb = timeout(after, of_each_peer(measurer, network, tracker)).await;
    let kb = kb.map_err(|_| BenchError::Deadline { test: TEST, after })??;
    measurer.report.set(Figure::RssKbPerPeer, Some(kb));
    Ok(())
}

async fn of_each_peer(
    measurer: &mut Measurer<'_>,
    network: &NetworkArgs,
    tracker: &AnnounceUrl,
) -> Result<f64, BenchError> {
    let (mut hub, here) = ChildProcess::start(Child::Hub, IDENTIFIER, tracker).await?;
    let peers = Peers { count: PEERS, identifier: IDENTIFIER.to_owned(), hub: here.peer_id };
    let first = Visit::try_from(Peers { count: 1, ..peers.clone() }).map_err(|_| BenchError::Child)?;
    let first = serve::visit(&first, network).await?;
    sleep(SETTLE).await;
    let before = hub.holds().await?;
    let asked = measurer.ask(&Request::Peers(peers)).await;
    let Ready { .. } = asked.map_err(|error| BenchError::test(TEST, error))?;
    loop {
        let met = hub.holds().await?.peers - before.peers;
        measurer.progress.step(met as u64);
        if met == PEERS {
            break;
        }
        sleep(POLL).await;
    }
    sleep(SETTLE).await;
    let now = hub.holds().await?;
    hub.end().await;
    drop(first);
    Ok((now.resident_kb as f64 - before.resident_kb as f64) / PEERS as f64)
}
