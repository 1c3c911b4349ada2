//! What a tracker holds: connections and announces a second, memory, and how good clients fare among hostile ones.
//!
//! ```text
//! cargo run --release -p p2pt-tracker --features server --example tracker_load -- [npm bittorrent-tracker's script] [rounds]
//! ```
//!
//! (`just tracker-load` in the repository.) The tracker is a process of its own, so that its memory is its own; so are
//! the hostile clients. Trackers take turns, and the table shows the median of the rounds with the lowest and the
//! highest.

mod good;
mod hostile;
mod process;

use std::{io, net::SocketAddr, time::Duration};

use p2pt_tracker::{ServerConfig, TrackerServer};
use process::Tracker;
use tokio::io::AsyncReadExt;

/// Connections that are opened and then announce, each in a swarm of its own.
const CONNECTIONS: usize = 2000;
/// Members of the one big swarm. Each may have 100 offers open, so there must be many of them.
const MEMBERS: usize = 2000;
/// How long each rate is measured.
const SPAN: Duration = Duration::from_secs(5);
/// How long good clients are watched among hostile ones.
const SIEGE: Duration = Duration::from_secs(20);
const GOOD: usize = 100;
const HOSTILE: usize = 1000;

type Row = (&'static str, f64);

#[tokio::main]
async fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve"] => serve().await,
        ["hostile", addr] => {
            hostile::besiege(addr.parse().map_err(io::Error::other)?, HOSTILE).await;
            Ok(())
        }
        [] => compare(None, 3).await,
        [npm] => compare(Some(npm), 3).await,
        [npm, rounds] => compare(Some(npm), rounds.parse().map_err(io::Error::other)?).await,
        _ => Err(io::Error::other("arguments: [script of npm bittorrent-tracker] [rounds]")),
    }
}

/// The tracker in a process of its own, until its standard input ends.
async fn serve() -> io::Result<()> {
    // All clients have the same address here.
    let mut config = ServerConfig::default();
    config.max_connections_per_address = usize::MAX;
    let server = TrackerServer::bind("127.0.0.1:0", config).await?;
    println!("{}", serde_json::json!({ "event": "listening", "url": server.url().to_string() }));
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    server.shutdown().await;
    Ok(())
}

async fn compare(npm: Option<&str>, rounds: usize) -> io::Result<()> {
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}: p2pt-tracker");
        ours.push(measure(&Tracker::ours).await?);
        if let Some(script) = npm {
            eprintln!("round {round} of {rounds}: bittorrent-tracker");
            theirs.push(measure(&|| Tracker::npm(script)).await?);
        }
    }
    println!("| | p2pt-tracker | npm bittorrent-tracker |\n|---|---|---|");
    for (index, (name, _)) in ours[0].iter().enumerate() {
        println!("| {name} | {} | {} |", spread(&ours, index), spread(&theirs, index));
    }
    Ok(())
}

/// The median and, in brackets, the lowest and the highest.
fn spread(rounds: &[Vec<Row>], index: usize) -> String {
    let mut values: Vec<f64> = rounds.iter().map(|rows| rows[index].1).collect();
    values.sort_by(f64::total_cmp);
    let show = |value: &f64| match *value {
        // Where no client was served, there is nothing to be measured.
        value if value.is_nan() => "none".to_owned(),
        value if value < 10.0 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    };
    match values[..] {
        [] => "–".into(),
        [ref lowest, .., ref highest] => {
            format!("{} ({}–{})", show(&values[values.len() / 2]), show(lowest), show(highest))
        }
        [ref only] => show(only),
    }
}

/// All numbers of one tracker, each part with a fresh process.
async fn measure(start: &impl Fn() -> io::Result<Tracker>) -> io::Result<Vec<Row>> {
    let mut rows = Vec::new();

    let tracker = start()?;
    let before = tracker.memory_kib()?;
    let (clients, took) = good::connect(tracker.addr, CONNECTIONS).await;
    rows.push(("connections opened a second", CONNECTIONS as f64 / took.as_secs_f64()));
    let idle = tracker.memory_kib()?;
    rows.push(("memory for a connection, KiB", (idle - before) / CONNECTIONS as f64));
    rows.push(("announces a second, each client in its own swarm", good::announce_alone(clients, SPAN).await));
    rows.push(("memory for a member of its own swarm, KiB", (tracker.memory_kib()? - before) / CONNECTIONS as f64));
    drop(tracker);

    let tracker = start()?;
    let (clients, _) = good::connect(tracker.addr, MEMBERS).await;
    let (announces, forwards) = good::crowd(clients, SPAN).await;
    rows.push(("announces a second with 5 offers, 2000 in one swarm", announces));
    rows.push(("offers and answers forwarded a second there", forwards));
    drop(tracker);

    let tracker = start()?;
    let alone = good::watch(tracker.addr, GOOD, SPAN * 2).await;
    rows.push(("100 good clients alone: median reply, ms", alone.median));
    rows.push(("— 99 of 100 replies within, ms", alone.late));
    drop(tracker);

    let tracker = start()?;
    let mut siege = process::hostile(tracker.addr)?;
    let (among, peak) = tokio::join!(good::watch(tracker.addr, GOOD, SIEGE), tracker.peak_memory_kib(SIEGE));
    rows.push(("100 good among 1000 hostile clients: median reply, ms", among.median));
    rows.push(("— 99 of 100 replies within, ms", among.late));
    rows.push(("— announces without a reply within 10 s, of 100", among.lost));
    rows.push(("— connections lost or refused", among.broken));
    rows.push(("— the tracker's memory at most, MiB", peak? / 1024.0));
    siege.kill()?;
    siege.wait()?;
    Ok(rows)
}

/// The address in an announce URL of this machine.
fn address(url: &str) -> Option<SocketAddr> {
    url.strip_prefix("ws://")?.trim_end_matches('/').parse().ok()
}
