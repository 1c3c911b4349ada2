//! With a partner: which paths work between two machines that both run `p2pt doctor IDENTIFIER`.

use std::time::Duration;

use p2pt::{Builder, Event, Events, InfoHash, StartError, TrackerState, TrackerStats};
use tokio::time::{Instant, timeout};

use super::{Finding, millis};
use crate::terminal::short;

/// Asked over the new connection, and answered with itself.
const PING: &str = "p2pt doctor";

/// How long the partner may stay for after it was met, so that it gets its own answer too.
const GRACE: Duration = Duration::from_secs(3);

/// Meets the partner, for which `command` is to be run on its machine.
pub(super) async fn look(
    builder: Builder,
    identifier: &str,
    command: &str,
    wait: Duration,
) -> Result<Vec<Finding>, StartError> {
    let (swarm, mut events) = builder.join(format!("p2pt-doctor-{identifier}")).await?;
    let started = Instant::now();
    let mut findings = Vec::new();
    let met = timeout(wait, meet(&mut events, started, &mut findings)).await;
    match met {
        Ok(()) => {
            // The partner asks too.
            let answer = async { while answer(events.next().await) {} };
            let _ = timeout(GRACE, answer).await;
        }
        Err(_) => findings.push(not_met(&swarm.node().tracker_stats(), swarm.info_hash(), command, wait)),
    }
    swarm.shutdown().await;
    Ok(findings)
}

async fn meet(events: &mut Events, started: Instant, findings: &mut Vec<Finding>) {
    while let Some(event) = events.next().await {
        match event {
            Event::PeerConnected(peer) => {
                let met = started.elapsed();
                let asked = Instant::now();
                let request = peer.request(PING).timeout(Duration::from_secs(10));
                let mut request = std::pin::pin!(request.into_future());
                let answered = loop {
                    tokio::select! {
                        answered = &mut request => break answered.is_ok(),
                        event = events.next() => if !answer(event) { break false },
                    }
                };
                let stats = peer.stats().await;
                let path = stats.as_ref().map_or_else(String::new, |stats| {
                    let kind = |kind: &Option<String>| kind.clone().unwrap_or_else(|| "unknown".to_owned());
                    format!("{} to {}", kind(&stats.local_candidate), kind(&stats.remote_candidate))
                });
                let pairs = stats.as_ref().map_or(&[][..], |stats| &stats.working_pairs);
                let found = format!("met after {}, over the path {path}{}", millis(met), others(pairs, &path));
                findings.push(if answered {
                    Finding::good("partner", format!("{found}; a question was answered in {}", millis(asked.elapsed())))
                } else {
                    Finding::bad("partner", format!("{found}; a question was not answered"), "run both again with -v")
                });
                return;
            }
            Event::ConnectionFailed(failed) => findings.push(Finding::bad(
                "partner",
                format!("no path was found to a peer ({}): {}", short(failed.peer_id), failed.error),
                failed.advice().unwrap_or("it is tried again; run both with -v if it goes on"),
            )),
            Event::OfferFailed(error) => findings.push(Finding::bad(
                "partner",
                format!("the partner cannot be invited: {error}"),
                error.advice().unwrap_or("run it again with -v"),
            )),
            // That trackers and servers are of no use was seen before.
            _ => {}
        }
    }
}

/// The candidate pairs that work besides the path that is used.
fn others(pairs: &[(String, String)], path: &str) -> String {
    let pairs = pairs.iter().map(|(local, remote)| format!("{local} to {remote}")).filter(|pair| pair != path);
    let pairs: Vec<String> = pairs.collect();
    if pairs.is_empty() { String::new() } else { format!("; what works too: {}", pairs.join(", ")) }
}

/// Why the partner was not met, as far as trackers tell.
fn not_met(trackers: &TrackerStats, swarm: InfoHash, command: &str, wait: Duration) -> Finding {
    let members = |tracker: &TrackerState| tracker.swarms.get(&swarm).and_then(|swarm| swarm.members());
    // This side is one of them.
    let others = trackers.trackers.iter().filter_map(members).max().unwrap_or_default().saturating_sub(1);
    let seconds = wait.as_secs();
    if trackers.connected == 0 {
        return Finding::bad(
            "partner",
            format!("no partner was met within {seconds} s, since no tracker was reached"),
            "do what is said about the trackers above",
        );
    }
    let (found, advice) = match others {
        0 => {
            ("no tracker knows of another member", format!("run this on the other machine at the same time: {command}"))
        }
        _ => (
            "a tracker knows of another member, and no connection came about",
            "if a line above says why, do what it says; run both again with -v".to_owned(),
        ),
    };
    Finding::bad("partner", format!("no partner was met within {seconds} s: {found}"), advice)
}

/// Answers the partner; false when no event will come.
fn answer(event: Option<Event>) -> bool {
    match event {
        Some(Event::Message(message)) => {
            if message.text() == Some(PING) {
                // A partner that is gone needs no answer.
                let _ = message.queue_response(PING);
            }
            true
        }
        Some(_) => true,
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pairs_that_work_are_named_besides_the_one_in_use() {
        let pair = |local: &str, remote: &str| (local.to_owned(), remote.to_owned());
        let pairs = [pair("host", "host"), pair("host", "srflx"), pair("relay", "host")];
        assert_eq!(others(&pairs, "host to host"), "; what works too: host to srflx, relay to host");
        assert_eq!(others(&pairs[..1], "host to host"), "");
    }
}
