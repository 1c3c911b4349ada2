//! `p2pt scrape`: how many members swarms have.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use p2pt::{AnnounceUrl, InfoHash, PeerId, TrackerWarning};
use p2pt_tracker::{ClientConfig, ConnectError, SocketEnd, TrackerClient, TrackerEvent};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::args::ScrapeArgs;
use crate::progress::Waiting;
use crate::terminal::{Colour, Terminal, clean, option_for};

/// Swarms asked for at a time: what one request of the tracker client carries.
const BATCH: usize = 64;

/// Why there are no numbers.
#[derive(Debug, thiserror::Error)]
enum ScrapeError {
    #[error("{0} does not answer: nothing came within {1:?}")]
    Deadline(AnnounceUrl, Duration),
    #[error("{0} cannot be reached: {1}{option}", option = option_for(.1).unwrap_or_default())]
    Connect(AnnounceUrl, ConnectError),
    #[error("{0} closed the connection: {1}")]
    Disconnected(AnnounceUrl, SocketEnd),
    #[error("{0} does not answer: {1}")]
    Refused(AnnounceUrl, TrackerWarning),
}

/// One swarm's numbers, as they are printed.
#[derive(Debug, Clone, Serialize)]
struct Swarm {
    #[serde(skip_serializing_if = "Option::is_none")]
    identifier: Option<String>,
    info_hash: String,
    members: u32,
    complete: u32,
    incomplete: u32,
    downloaded: u32,
}

impl Swarm {
    fn empty(info_hash: InfoHash) -> Self {
        let info_hash = info_hash.to_string();
        Self { identifier: None, info_hash, members: 0, complete: 0, incomplete: 0, downloaded: 0 }
    }
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    tracker: &'a str,
    swarms: &'a [Swarm],
}

pub(crate) async fn run(args: ScrapeArgs) -> Result<(), crate::Failure> {
    let mut config = ClientConfig::default();
    // The deadline of the whole is to decide.
    config.scrape_timeout = args.deadline.saturating_mul(2);
    config.connect_timeout = args.deadline.saturating_mul(2);
    let (sender, mut events) = mpsc::channel(16);
    // A scrape carries no peer id.
    let unused_id = PeerId::from([0; 20]);
    let connector = args.access.connector()?;
    let client = TrackerClient::start(args.url.clone(), unused_id, config, connector, args.url.clone(), sender);
    let swarms = timeout(args.deadline, scrape(&client, &args, &mut events));
    let swarms = Waiting::new(args.json)
        .until(&args.url, swarms)
        .await
        .map_err(|_| ScrapeError::Deadline(args.url.clone(), args.deadline))??;
    show(&args, &swarms)?;
    client.stop().await;
    Ok(())
}

async fn scrape(
    client: &TrackerClient,
    args: &ScrapeArgs,
    events: &mut mpsc::Receiver<(AnnounceUrl, TrackerEvent)>,
) -> Result<Vec<Swarm>, ScrapeError> {
    let mut swarms = Vec::new();
    if args.identifiers.is_empty() {
        client.scrape(Vec::new());
        swarms.extend(reply(events).await?.into_values());
    }
    for identifiers in args.identifiers.chunks(BATCH) {
        client.scrape(identifiers.iter().map(|identifier| InfoHash::of(identifier)).collect());
        let known = reply(events).await?;
        swarms.extend(identifiers.iter().map(|identifier| {
            let info_hash = InfoHash::of(identifier);
            // Trackers leave out swarms they do not know.
            let swarm = known.get(&info_hash).cloned().unwrap_or_else(|| Swarm::empty(info_hash));
            Swarm { identifier: Some(identifier.clone()), ..swarm }
        }));
    }
    Ok(swarms)
}

/// What the tracker knows of the swarms in the one request that is open.
async fn reply(
    events: &mut mpsc::Receiver<(AnnounceUrl, TrackerEvent)>,
) -> Result<BTreeMap<InfoHash, Swarm>, ScrapeError> {
    while let Some((url, event)) = events.recv().await {
        match event {
            TrackerEvent::Scraped { files, .. } => {
                let swarms = files.into_iter().map(|(info_hash, stats)| {
                    let members = stats.complete.saturating_add(stats.incomplete);
                    let (complete, incomplete, downloaded) = (stats.complete, stats.incomplete, stats.downloaded);
                    (info_hash, Swarm { members, complete, incomplete, downloaded, ..Swarm::empty(info_hash) })
                });
                return Ok(swarms.collect());
            }
            TrackerEvent::Disconnected { end, .. } => return Err(ScrapeError::Disconnected(url, end)),
            TrackerEvent::Warning { warning: TrackerWarning::ConnectFailed { error, .. }, .. } => {
                return Err(ScrapeError::Connect(url, error));
            }
            TrackerEvent::Warning {
                warning: warning @ (TrackerWarning::Failure { .. } | TrackerWarning::ScrapeFailed { .. }),
                ..
            } => {
                return Err(ScrapeError::Refused(url, warning));
            }
            other => tracing::debug!(?other, "before the reply"),
        }
    }
    // The client stops only on request, so it still has the sender.
    std::future::pending().await
}

fn show(args: &ScrapeArgs, swarms: &[Swarm]) -> io::Result<()> {
    let mut terminal = Terminal::stdout();
    if args.json {
        return terminal.line(serde_json::to_string(&Report { tracker: args.url.as_str(), swarms })?);
    }
    terminal.line(terminal.paint(Colour::Dim, format_args!("{:>7}  {:<40}  identifier", "members", "info hash")))?;
    for Swarm { identifier, info_hash, members, .. } in swarms {
        let members = terminal.paint(Colour::Bold, format_args!("{members:>7}"));
        let identifier = identifier.as_deref().map(clean).unwrap_or_default();
        terminal.line(format_args!("{members}  {info_hash:<40}  {identifier}").to_string().trim_end())?;
    }
    Ok(())
}
