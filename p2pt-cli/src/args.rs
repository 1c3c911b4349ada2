//! The command line.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use p2pt::transport::webrtc::{DEFAULT_STUN_SERVERS, IceServer, WebRtcConfig};
use p2pt::{AnnounceUrl, Builder, P2pt};

/// Trackers used when none is given: the two public ones that have served WebTorrent for years.
const DEFAULT_TRACKERS: [&str; 2] = ["wss://tracker.openwebtorrent.com", "wss://tracker.webtorrent.dev"];

/// The longest time that can be given: a day, which no deadline here needs.
const MAX_SECONDS: f64 = 86_400.0;

/// Peers that share an identifier find each other through WebTorrent trackers and talk over WebRTC, directly.
///
/// Without a command, `p2pt` runs the demo.
#[derive(Debug, Parser)]
#[command(name = "p2pt", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// Log more, to standard error: -v what p2pt does, -vv every detail. RUST_LOG works too
    #[arg(short, long, action = clap::ArgAction::Count, global = true, display_order = 900)]
    pub(crate) verbose: u8,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show it working on this machine, without the internet: a tracker, two peers, a conversation
    Demo(DemoArgs),
    /// Chat in the terminal with everyone under an identifier
    Chat(ChatArgs),
    /// Run a WebTorrent tracker
    Tracker(TrackerArgs),
    /// Ask a tracker how many members swarms have
    Scrape(ScrapeArgs),
    /// Speak JSON Lines on standard input and output, so that any language can use p2pt
    Pipe(PipeArgs),
}

impl Default for Command {
    fn default() -> Self {
        Self::Demo(DemoArgs::default())
    }
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// How long all of it may take
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub(crate) deadline: Duration,
}

impl Default for DemoArgs {
    fn default() -> Self {
        Self { deadline: Duration::from_secs(30) }
    }
}

#[derive(Debug, Args)]
pub(crate) struct ChatArgs {
    /// What all who chat together share
    pub(crate) identifier: String,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PipeArgs {
    /// What all peers share
    pub(crate) identifier: String,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
    /// How long the response to a message with a tag is awaited
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub(crate) request_deadline: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct TrackerArgs {
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8000", value_parser = listen_address)]
    pub(crate) listen: SocketAddr,
    /// How long peers are told to wait between announces [default: 120]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) interval: Option<u64>,
    /// Connections open at the same time [default: 10000]
    #[arg(long, value_name = "N")]
    pub(crate) max_connections: Option<usize>,
    /// Connections of one address; raise it behind a reverse proxy, where all share one [default: 1000]
    #[arg(long, value_name = "N")]
    pub(crate) max_connections_per_address: Option<usize>,
    /// Swarms with at least one member [default: 100000]
    #[arg(long, value_name = "N")]
    pub(crate) max_swarms: Option<usize>,
    /// Members of one swarm [default: 10000]
    #[arg(long, value_name = "N")]
    pub(crate) max_peers_per_swarm: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct ScrapeArgs {
    /// The tracker's announce URL
    pub(crate) url: AnnounceUrl,
    /// The swarms' identifiers; none asks for every swarm, which many trackers refuse
    #[arg(value_name = "IDENTIFIER")]
    pub(crate) identifiers: Vec<String>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    /// How long the tracker has to answer
    #[arg(long, value_name = "SECONDS", default_value = "15", value_parser = seconds)]
    pub(crate) deadline: Duration,
}

/// How a peer reaches others.
#[derive(Debug, Args)]
pub(crate) struct NetworkArgs {
    /// A tracker's announce URL, ws://… or wss://…; may be repeated [default: two public trackers]
    #[arg(long = "tracker", value_name = "URL")]
    trackers: Vec<AnnounceUrl>,
    /// Start with no tracker if none is given
    #[arg(long)]
    no_default_trackers: bool,
    /// A STUN server, stun:HOST[:PORT], besides the default ones; may be repeated
    #[arg(long, value_name = "URL", value_parser = stun_url)]
    stun: Vec<String>,
    /// Use no STUN servers but those given
    #[arg(long)]
    no_default_stun: bool,
    /// Meet only peers on this machine: use 127.0.0.1 and no STUN
    #[arg(long, conflicts_with = "stun")]
    loopback: bool,
    /// Data channels kept to each peer
    #[arg(long, value_name = "N", default_value = "1")]
    links: NonZeroUsize,
    /// Peers connected at most
    #[arg(long, value_name = "N", default_value = "100")]
    max_peers: usize,
}

impl NetworkArgs {
    /// A peer as configured.
    pub(crate) fn builder(&self, identifier: &str) -> Builder {
        let builder = P2pt::builder(identifier).trackers(self.tracker_urls()).webrtc(self.webrtc());
        builder.configure(|node| node.links_per_peer(self.links.get()).max_peers(self.max_peers))
    }

    fn tracker_urls(&self) -> Vec<String> {
        if self.trackers.is_empty() && !self.no_default_trackers {
            DEFAULT_TRACKERS.map(str::to_owned).to_vec()
        } else {
            self.trackers.iter().map(AnnounceUrl::to_string).collect()
        }
    }

    fn webrtc(&self) -> WebRtcConfig {
        if self.loopback {
            return WebRtcConfig::loopback();
        }
        let defaults: &[&str] = if self.no_default_stun { &[] } else { &DEFAULT_STUN_SERVERS };
        let urls = defaults.iter().copied().chain(self.stun.iter().map(String::as_str));
        WebRtcConfig::default().ice_servers(urls.map(IceServer::stun))
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    if (0.0..=MAX_SECONDS).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err(format!("not between 0 and {MAX_SECONDS} seconds"))
    }
}

fn listen_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "an address and a port are needed, such as 0.0.0.0:8000 or [::1]:8000".to_owned())
}

fn stun_url(text: &str) -> Result<String, String> {
    match text.strip_prefix("stun:") {
        Some(host) if !host.is_empty() => Ok(text.to_owned()),
        _ => Err("a STUN URL is stun:HOST or stun:HOST:PORT".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn pipe(arguments: &[&str]) -> PipeArgs {
        let cli = Cli::try_parse_from(["p2pt", "pipe", "my-app"].iter().chain(arguments)).unwrap();
        match cli.command {
            Some(Command::Pipe(args)) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_command_means_the_demo() {
        let cli = Cli::try_parse_from(["p2pt"]).unwrap();
        assert!(matches!(cli.command.unwrap_or_default(), Command::Demo(_)));
        // Both ways to it have the same deadline.
        let Some(Command::Demo(args)) = Cli::try_parse_from(["p2pt", "demo"]).unwrap().command else { panic!() };
        assert_eq!(args.deadline, DemoArgs::default().deadline);
    }

    #[test]
    fn default_trackers_give_way_to_given_ones() {
        assert_eq!(pipe(&[]).network.tracker_urls(), DEFAULT_TRACKERS);
        let given = pipe(&["--tracker", "ws://127.0.0.1:8000", "--tracker", "wss://example.org/announce"]);
        assert_eq!(given.network.tracker_urls(), ["ws://127.0.0.1:8000", "wss://example.org/announce"]);
        assert!(pipe(&["--no-default-trackers"]).network.tracker_urls().is_empty());
    }

    #[test]
    fn default_trackers_are_announce_urls() {
        for url in DEFAULT_TRACKERS {
            url.parse::<AnnounceUrl>().unwrap();
        }
    }

    #[test]
    fn a_tracker_listens_on_an_address_and_a_port() {
        let listen = |address| Cli::try_parse_from(["p2pt", "tracker", "--listen", address]);
        assert!(listen("[::1]:0").is_ok());
        for address in ["8000", "localhost:8000", "127.0.0.1"] {
            assert!(listen(address).unwrap_err().to_string().contains("such as 0.0.0.0:8000"), "{address}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for arguments in [
            ["--tracker", "http://example.org"],
            ["--stun", "example.org"],
            ["--stun", "stun:"],
            ["--links", "0"],
            ["--request-deadline", "-1"],
            ["--request-deadline", "soon"],
        ] {
            assert!(Cli::try_parse_from(["p2pt", "pipe", "my-app"].iter().chain(&arguments)).is_err(), "{arguments:?}");
        }
    }
}
