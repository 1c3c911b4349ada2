//! What a tracker holds: connections and responses a second, memory, and how good clients fare among hostile ones.
//!
//! ```text
//! cargo run --release -p p2pt-tracker --features server --example tracker_load -- \
//!     [--npm SCRIPT] [--aquatic PROGRAM] [--rounds N]
//! ```
//!
//! (`just tracker-load` in the repository.) The tracker is a process of its own, so that its memory is its own; so are
//! the hostile clients. Trackers take turns, and the table shows the median of the rounds with the lowest and the
//! highest.

mod good;
mod hostile;
mod process;
mod tls;

use std::{io, net::SocketAddr, time::Duration};

use good::Pattern;
use p2pt_tracker::{ServerConfig, TrackerServer, TrackerService, raise_descriptor_limit};
use process::{Program, Tracker};
use tls::Identity;
use tokio::{io::AsyncReadExt, net::TcpListener};

/// Connections that are opened and then announce, each in a swarm of its own.
const CONNECTIONS: usize = 2000;
/// Members of the one big swarm. Each may have 100 offers open, so there must be many of them.
const MEMBERS: usize = 2000;
/// Connections of the load that aquatic's load test makes.
const LOAD: usize = 500;
/// How long each rate is measured.
const SPAN: Duration = Duration::from_secs(5);
/// How long good clients are watched among hostile ones.
const SIEGE: Duration = Duration::from_secs(20);
const GOOD: usize = 100;
const HOSTILE: usize = 1000;

type Row = (&'static str, f64);

#[tokio::main]
async fn main() -> io::Result<()> {
    raise_descriptor_limit()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve"] => serve(true).await,
        ["serve-without-limits"] => serve(false).await,
        ["serve-without-limits", cert, key] => serve_tls(cert, key).await,
        ["hostile", addr] => {
            hostile::besiege(addr.parse().map_err(io::Error::other)?, HOSTILE).await;
            Ok(())
        }
        ref options => {
            let (mut programs, mut rounds) = (vec![Program::Ours], 3);
            for option in options.chunks(2) {
                match *option {
                    ["--npm", script] => programs.push(Program::Npm(script.into())),
                    ["--aquatic", binary] => programs.push(Program::Aquatic(binary.into())),
                    ["--rounds", number] => rounds = number.parse().map_err(io::Error::other)?,
                    _ => return Err(io::Error::other("options: --npm SCRIPT, --aquatic PROGRAM, --rounds N")),
                }
            }
            compare(&programs, rounds).await
        }
    }
}

fn config(limits: bool) -> ServerConfig {
    // All clients have the same address here.
    let mut config = ServerConfig::default();
    config.max_connections_per_address = usize::MAX;
    config.swarms.address_share = 1;
    if !limits {
        config.messages_per_second = u32::MAX;
    }
    config
}

/// The tracker in a process of its own, until its standard input ends.
async fn serve(limits: bool) -> io::Result<()> {
    let server = TrackerServer::bind("127.0.0.1:0", config(limits)).await?;
    println!("{}", serde_json::json!({ "event": "listening", "url": server.url().to_string() }));
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    server.shutdown().await;
    Ok(())
}

/// The tracker behind TLS.
async fn serve_tls(cert: &str, key: &str) -> io::Result<()> {
    let acceptor = tls::acceptor(cert, key)?;
    let service = TrackerService::new(config(false));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", serde_json::json!({ "event": "listening", "url": format!("ws://{}", listener.local_addr()?) }));
    let accept = async {
        loop {
            let (stream, peer) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let (acceptor, service) = (acceptor.clone(), service.clone());
            tokio::spawn(async move {
                if let Ok(stream) = Box::pin(acceptor.accept(stream)).await {
                    service.serve_from(peer.ip(), stream).await;
                }
            });
        }
    };
    tokio::select! {
        failed = accept => failed,
        ended = async { tokio::io::stdin().read_to_end(&mut Vec::new()).await } => ended.map(drop),
    }
}

async fn compare(programs: &[Program], rounds: usize) -> io::Result<()> {
    let tls = Identity::generate()?;
    let mut measured: Vec<Vec<Vec<Row>>> = programs.iter().map(|_| Vec::new()).collect();
    for round in 1..=rounds {
        for (program, measured) in programs.iter().zip(&mut measured) {
            eprintln!("round {round} of {rounds}: {}", program.name());
            measured.push(measure(program, &tls).await?);
        }
    }
    let names: Vec<&str> = programs.iter().map(Program::name).collect();
    println!("| | {} |\n|---|{}", names.join(" | "), "---|".repeat(names.len()));
    for (index, (name, _)) in measured[0][0].iter().enumerate() {
        let cells: Vec<String> = measured.iter().map(|rounds| spread(rounds, index)).collect();
        println!("| {name} | {} |", cells.join(" | "));
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
async fn measure(program: &Program, tls: &Identity) -> io::Result<Vec<Row>> {
    let mut rows = Vec::new();

    let tracker = Tracker::start(program, None, true).await?;
    let before = tracker.memory_kib()?;
    let (clients, took) = good::connect(tracker.addr, None, CONNECTIONS).await;
    rows.push(("connections opened a second", CONNECTIONS as f64 / took.as_secs_f64()));
    let idle = tracker.memory_kib()?;
    rows.push(("memory for a connection, KiB", (idle - before) / CONNECTIONS as f64));
    rows.push(("announces a second, each client in its own swarm", good::announce_alone(clients, SPAN).await));
    rows.push(("memory for a member of its own swarm, KiB", (tracker.memory_kib()? - before) / CONNECTIONS as f64));
    drop(tracker);

    let tracker = Tracker::start(program, None, true).await?;
    let (clients, _) = good::connect(tracker.addr, None, MEMBERS).await;
    let (announces, forwards) = good::crowd(clients, Pattern::CROWD, SPAN).await;
    rows.push(("announces a second with 5 offers, 2000 in one swarm", announces));
    rows.push(("offers and answers forwarded a second there", forwards));
    drop(tracker);

    let (responses, microseconds, _) = load(program, None).await?;
    rows.push(("aquatic's load test: responses a second", responses));
    rows.push(("— the tracker's processor time for a response, µs", microseconds));
    let (responses, microseconds, memory) = load(program, Some(tls)).await?;
    rows.push(("over TLS: memory for a connection, KiB", memory));
    rows.push(("— responses a second", responses));
    rows.push(("— the tracker's processor time for a response, µs", microseconds));

    let tracker = Tracker::start(program, None, true).await?;
    let alone = good::watch(tracker.addr, GOOD, SPAN * 2).await;
    rows.push(("100 good clients alone: median reply, ms", alone.median));
    rows.push(("— 99 of 100 replies within, ms", alone.late));
    drop(tracker);

    let tracker = Tracker::start(program, None, true).await?;
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

/// The load of aquatic's load test: responses a second, what one costs the tracker, and memory for a connection before.
async fn load(program: &Program, tls: Option<&Identity>) -> io::Result<(f64, f64, f64)> {
    let tracker = Tracker::start(program, tls, false).await?;
    let before = tracker.memory_kib()?;
    let (clients, _) = good::connect(tracker.addr, tls, LOAD).await;
    let memory = (tracker.memory_kib()? - before) / LOAD as f64;
    let cpu = tracker.cpu_seconds()?;
    let (announces, forwards) = good::crowd(clients, Pattern::LOAD, SPAN).await;
    let responses = announces + forwards;
    let microseconds = (tracker.cpu_seconds()? - cpu) * 1e6 / (responses * SPAN.as_secs_f64());
    Ok((responses, microseconds, memory))
}

/// The address in an announce URL of this machine.
fn address(url: &str) -> Option<SocketAddr> {
    url.split_once("://")?.1.trim_end_matches('/').parse().ok()
}
