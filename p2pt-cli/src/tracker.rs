//! `p2pt tracker`: the embedded tracker, alone.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use p2pt::tracker::{ServerConfig, ServerTls, ServerTlsError, TrackerListener, TrackerServer};
use tracing::{error, info};

use crate::Failure;
use crate::args::TrackerArgs;
use crate::progress::Waiting;
use crate::signals::StopSignals;
use crate::terminal::Terminal;

pub(crate) async fn run(args: TrackerArgs) -> Result<(), Failure> {
    let mut certificate = Certificate::read(args.tls_files()).await?;
    // A hangup has the certificate read anew; without one it is a reason to stop.
    let mut signals = if certificate.is_some() { StopSignals::new()? } else { StopSignals::with_hangup()? };
    let mut terminal = Terminal::stdout();
    let server = TrackerServer::start(listeners(&args, certificate.as_ref())?, config(&args))?;
    // Programs that start a tracker wait for the first line and take the port from it.
    let scheme = if certificate.is_some() { "wss" } else { "ws" };
    for (number, address) in server.local_addrs().iter().enumerate() {
        // The one for metrics is the last.
        if number < args.listen.len() {
            terminal.line(format_args!("listening on {scheme}://{address}"))?;
        } else {
            terminal.line(format_args!("metrics at http://{address}/metrics"))?;
        }
    }
    loop {
        tokio::select! {
            () = signals.next() => break,
            renewed = renewed(certificate.as_mut()) => match renewed {
                // That standard output is not read any more is no reason to end.
                Ok(()) => drop(terminal.line("the certificate was read anew")),
                Err(error) => error!(%error, "the certificate was not replaced, and the one before it remains in use"),
            },
        }
    }
    info!(stats = server.stats().to_json(), "stopping");
    let mut waiting = Waiting::new(false);
    tokio::select! {
        () = waiting.until("the clients to hang up; Ctrl-C does not wait", server.shutdown()) => {}
        // A second signal asks not to wait.
        () = signals.next() => {}
    }
    Ok(())
}

/// The listeners for peers in the order of the arguments, then that for metrics.
fn listeners(args: &TrackerArgs, certificate: Option<&Certificate>) -> io::Result<Vec<TrackerListener>> {
    let addresses: Vec<_> = args.listen.iter().chain(&args.metrics).copied().collect();
    let listeners = TrackerListener::bind_all(&addresses)?.into_iter().enumerate().map(|(number, listener)| {
        if number >= args.listen.len() {
            return listener.metrics();
        }
        let listener = if args.proxy_protocol { listener.proxy_protocol() } else { listener };
        match certificate {
            Some(certificate) => listener.tls(certificate.tls.clone()),
            None => listener,
        }
    });
    Ok(listeners.collect())
}

fn config(args: &TrackerArgs) -> ServerConfig {
    let mut config = ServerConfig::default();
    config.max_connections_per_address = args.max_connections_per_address.unwrap_or(config.max_connections_per_address);
    config.trusted_proxies.clone_from(&args.trusted_proxy);
    config.forwarded_header = args.forwarded_header.into();
    let swarms = &mut config.swarms;
    swarms.address_share = args.address_share.unwrap_or(swarms.address_share);
    swarms.interval = args.interval.map_or(swarms.interval, Duration::from_secs);
    swarms.max_connections = args.max_connections.unwrap_or(swarms.max_connections);
    swarms.max_swarms = args.max_swarms.unwrap_or(swarms.max_swarms);
    swarms.max_peers_per_swarm = args.max_peers_per_swarm.unwrap_or(swarms.max_peers_per_swarm);
    config
}

/// The certificate, and from where it is read anew at SIGHUP, where there is such a signal.
#[derive(Debug)]
struct Certificate {
    tls: ServerTls,
    #[cfg(unix)]
    files: (PathBuf, PathBuf),
    #[cfg(unix)]
    hangup: tokio::signal::unix::Signal,
}

impl Certificate {
    /// Reads it, if there are files to read it from.
    async fn read(files: Option<(PathBuf, PathBuf)>) -> Result<Option<Self>, Failure> {
        let Some(files) = files else { return Ok(None) };
        #[cfg(unix)]
        let hangup = {
            use tokio::signal::unix::{SignalKind, signal};
            signal(SignalKind::hangup())?
        };
        let (certificates, key) = files.clone();
        let tls = tokio::task::spawn_blocking(move || ServerTls::from_files(certificates, key)).await??;
        Ok(Some(Self {
            tls,
            #[cfg(unix)]
            files,
            #[cfg(unix)]
            hangup,
        }))
    }
}

/// Waits until the certificate has been asked for and read again, or could not be; for ever without one.
async fn renewed(certificate: Option<&mut Certificate>) -> Result<(), ServerTlsError> {
    #[cfg(unix)]
    if let Some(certificate) = certificate {
        certificate.hangup.recv().await;
        let tls = certificate.tls.clone();
        let (certificates, key) = certificate.files.clone();
        let read = tokio::task::spawn_blocking(move || tls.replace_with_files(certificates, key));
        return read.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
    }
    #[cfg(not(unix))]
    drop(certificate);
    std::future::pending().await
}
