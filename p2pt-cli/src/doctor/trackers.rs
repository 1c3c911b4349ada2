//! Trackers: whether each is reached, how fast it replies, and what it can do.

use std::sync::Arc;
use std::time::Duration;

use p2pt::tracker::{ConnectError, Connector};
use p2pt::{AnnounceUrl, InfoHash, PeerId, TrackerWarning};
use p2pt_tracker::{ClientConfig, TrackerClient, TrackerEvent};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::{Finding, millis};

/// What became of a tracker.
enum Outcome {
    Replied { reached: Duration, replied: Duration, interval: Duration, incomplete: Option<u32> },
    Unreachable(ConnectError),
    Refused { reached: Duration, warning: TrackerWarning },
    Lost(String),
}

pub(super) async fn look(url: AnnounceUrl, connector: Arc<dyn Connector>, deadline: Duration) -> Vec<Finding> {
    let config = ClientConfig::default();
    let (sender, mut events) = mpsc::channel(16);
    let client = TrackerClient::start(url.clone(), PeerId::random(), config, connector, (), sender);
    // A swarm of its own, which disturbs no peer.
    let info_hash = InfoHash::of(&PeerId::random().to_string());
    client.join(info_hash);
    let outcome = timeout(deadline, outcome(&client, info_hash, &mut events)).await;
    let mut findings = vec![tell(&url, outcome.as_ref().ok(), deadline)];
    if matches!(outcome, Ok(Outcome::Replied { .. })) {
        client.scrape(vec![info_hash]);
        findings.push(scraping(&url, timeout(deadline, scraped(&mut events)).await.unwrap_or(false)));
    }
    // Reads on, so that nothing waits for this side.
    let drain = async { while events.recv().await.is_some() {} };
    tokio::select! {
        () = client.stop() => {}
        () = drain => {}
    }
    findings
}

async fn outcome(
    client: &TrackerClient,
    info_hash: InfoHash,
    events: &mut mpsc::Receiver<((), TrackerEvent)>,
) -> Outcome {
    let started = Instant::now();
    let mut reached = Duration::ZERO;
    while let Some(((), event)) = events.recv().await {
        match event {
            TrackerEvent::Connected => reached = started.elapsed(),
            // No offers: this is no peer, and an announce without any is as good.
            TrackerEvent::OffersWanted { info_hash, .. } => client.offers(info_hash, Vec::new()),
            TrackerEvent::Announced { interval, incomplete, .. } => {
                let state = client.state();
                let replied = state.swarms.get(&info_hash).and_then(|swarm| swarm.reply_time).unwrap_or_default();
                return Outcome::Replied { reached, replied, interval, incomplete };
            }
            TrackerEvent::Warning { warning: TrackerWarning::ConnectFailed { error, .. }, .. } => {
                return Outcome::Unreachable(error);
            }
            TrackerEvent::Warning {
                warning: warning @ (TrackerWarning::Failure { .. } | TrackerWarning::BadFrame { .. }),
                ..
            } => {
                return Outcome::Refused { reached, warning };
            }
            TrackerEvent::Disconnected { end, .. } => return Outcome::Lost(end.to_string()),
            _ => {}
        }
    }
    Outcome::Lost("the client stopped".to_owned())
}

fn tell(url: &AnnounceUrl, outcome: Option<&Outcome>, deadline: Duration) -> Finding {
    const OTHERS: &str = "use another tracker; peers meet at any that they share";
    match outcome {
        Some(Outcome::Replied { reached, replied, interval, incomplete }) => {
            let members = match incomplete {
                Some(0) => "it counts the others only",
                Some(_) => "it counts the caller too",
                None => "it does not say how many members there are",
            };
            let (reached, replied) = (millis(*reached), millis(*replied));
            let seconds = interval.as_secs();
            let found = format!(
                "{url} was reached in {reached} and replied in {replied}; announces every {seconds} s; {members}"
            );
            Finding::good("tracker", found)
        }
        Some(Outcome::Unreachable(error)) => {
            let found = format!("{url} cannot be reached: {error}");
            let is_unknown_name = matches!(error, ConnectError::Lookup(_));
            let advice = match error {
                ConnectError::Untrusted(_) => {
                    "if it is a tracker that you trust, give that certificate: --root-certificate FILE"
                }
                error => error.advice().unwrap_or(OTHERS),
            };
            Finding { is_unknown_name, ..Finding::bad("tracker", found, advice) }
        }
        Some(Outcome::Refused { reached, warning }) => {
            let found = format!("{url} was reached in {} and refuses: {warning}", millis(*reached));
            Finding::bad("tracker", found, "it may want an Origin or a token: --header; or use another tracker")
        }
        Some(Outcome::Lost(end)) => Finding::bad("tracker", format!("{url} hangs up: {end}"), OTHERS),
        None => {
            let found = format!("{url} does not reply within {} s", deadline.as_secs());
            Finding::bad("tracker", found, OTHERS)
        }
    }
}

/// Whether a scrape is answered.
async fn scraped(events: &mut mpsc::Receiver<((), TrackerEvent)>) -> bool {
    while let Some(((), event)) = events.recv().await {
        match event {
            TrackerEvent::Scraped { .. } => return true,
            TrackerEvent::Warning { warning: TrackerWarning::Failure { .. }, .. }
            | TrackerEvent::ScrapeFailed { .. }
            | TrackerEvent::Disconnected { .. } => return false,
            _ => {}
        }
    }
    false
}

fn scraping(url: &AnnounceUrl, answered: bool) -> Finding {
    if answered {
        Finding::good("tracker", format!("{url} answers `p2pt scrape`"))
    } else {
        let advice = "nothing depends on it but `p2pt scrape`";
        Finding::warning("tracker", format!("{url} does not answer a scrape"), advice)
    }
}
