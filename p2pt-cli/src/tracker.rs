//! `p2pt tracker`: the embedded tracker, alone.

use std::io;
use std::time::Duration;

use p2pt::tracker::{ServerConfig, TrackerServer};
use tracing::info;

use crate::args::TrackerArgs;
use crate::signals::StopSignals;
use crate::terminal::Terminal;

pub(crate) async fn run(args: TrackerArgs) -> io::Result<()> {
    let mut signals = StopSignals::new()?;
    let server = TrackerServer::bind(args.listen, config(&args))
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {}: {error}", args.listen)))?;
    // Programs that start a tracker wait for this line and take the port from it.
    Terminal::stdout().line(format_args!("listening on ws://{}", server.local_addr()))?;
    signals.next().await;
    info!(stats = server.stats().to_json(), "stopping");
    tokio::select! {
        () = server.shutdown() => {}
        // A second signal asks not to wait.
        () = signals.next() => {}
    }
    Ok(())
}

fn config(args: &TrackerArgs) -> ServerConfig {
    let mut config = ServerConfig::default();
    config.max_connections_per_address = args.max_connections_per_address.unwrap_or(config.max_connections_per_address);
    let swarms = &mut config.swarms;
    swarms.address_share = args.address_share.unwrap_or(swarms.address_share);
    swarms.interval = args.interval.map_or(swarms.interval, Duration::from_secs);
    swarms.max_connections = args.max_connections.unwrap_or(swarms.max_connections);
    swarms.max_swarms = args.max_swarms.unwrap_or(swarms.max_swarms);
    swarms.max_peers_per_swarm = args.max_peers_per_swarm.unwrap_or(swarms.max_peers_per_swarm);
    config
}
