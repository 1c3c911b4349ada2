//! The command line.

mod bench;
mod network;
mod tracker;
mod trust;
mod web;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use p2pt::{AnnounceUrl, Builder, PeerId};

pub(crate) use bench::{BenchArgs, Child, Test};
use network::AccessArgs;
pub(crate) use network::{AccessError, NetworkArgs, PROXY_VARIABLE};
pub(crate) use tracker::TrackerArgs;
pub(crate) use trust::{KeyArgs, KeyCommand, RoomArgs, RoomCommand, SECRET_VARIABLE, Secret, TrustArgs};
pub(crate) use web::WebArgs;

/// The longest time that can be given: a day, which no deadline here needs.
const MAX_SECONDS: f64 = 86_400.0;

/// Peers that share an identifier find each other through WebTorrent trackers and talk over WebRTC, directly.
///
/// Without a command, `p2pt` runs the demo.
#[derive(Debug, Parser)]
#[command(name = "p2pt", version, long_version = concat!(env!("CARGO_PKG_VERSION"), " (", env!("P2PT_BUILD"), ")"), max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// Log to standard error: -v each step of nodes, trackers and connections, -vv each frame and message, too
    ///
    /// What messages say is never logged. Without it, and from other libraries, there are warnings alone. RUST_LOG
    /// overrides it, for instance RUST_LOG=p2pt=debug,p2pt_tracker=trace.
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
    /// Serve pages to the browsers of the local network: a chat, a drawing board and a dashboard, with a tracker
    Web(WebArgs),
    /// Ask a tracker how many members swarms have
    Scrape(ScrapeArgs),
    /// Speak JSON Lines on standard input and output, so that any language can use p2pt
    Pipe(PipeArgs),
    /// Make a key by which others know you from run to run, and show it
    Key(KeyArgs),
    /// Make a room that only those find and join who have the link
    Room(RoomArgs),
    /// Look at trackers, STUN, TURN and this machine, and say what to do about what does not work
    Doctor(DoctorArgs),
    /// Print completions for a shell, for instance into ~/.local/share/bash-completion/completions/p2pt
    Completions(CompletionsArgs),
    /// Print a manual page, or write one for each command into a folder
    Man(ManArgs),
    /// Measure how fast two peers talk: on this machine, or with a partner anywhere
    Bench(BenchArgs),
}

impl Command {
    /// Whether it shows what goes wrong itself, so that the log would say it twice, and at a terminal in the middle of what
    /// is being typed.
    pub(crate) fn shows_warnings(&self) -> bool {
        matches!(self, Self::Doctor(_) | Self::Chat(_) | Self::Web(_))
    }
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
    /// What all who chat together share, or a link to a room, which `p2pt room new` makes [default: one that is drawn, for
    /// others to join]
    #[arg(value_parser = identifier_or_link)]
    pub(crate) identifier: Option<String>,
    /// Your name, as the others see it; /nick changes it
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Chat with the P2Chat web app: the identifier is the name of its room
    #[arg(long)]
    pub(crate) p2chat: bool,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
    #[command(flatten)]
    pub(crate) trust: TrustArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PipeArgs {
    /// What all peers share, or a link to a room; all who use this machine can see a link here, and not in a --secret-file
    #[arg(value_parser = identifier_or_link)]
    pub(crate) identifier: String,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
    /// This peer's id, instead of one that follows from its key; no two peers may have the same, and others see a peer
    /// without a key
    #[arg(long, value_name = "HEX", conflicts_with_all = ["key", "signed", "only"])]
    pub(crate) peer_id: Option<PeerId>,
    /// Connect to the peer with this id only; may be repeated, for more such peers
    #[arg(long, value_name = "HEX")]
    pub(crate) allow: Vec<PeerId>,
    /// How long the response to a message with a tag is awaited
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub(crate) request_timeout: Duration,
    #[command(flatten)]
    pub(crate) trust: TrustArgs,
}

impl PipeArgs {
    /// Sets the id of this peer and which peers it meets.
    pub(crate) fn restrict(&self, builder: Builder) -> Builder {
        let builder = self.peer_id.into_iter().fold(builder, Builder::peer_id);
        if self.allow.is_empty() { builder } else { builder.allow(self.allow.iter().copied()) }
    }
}

#[derive(Debug, Args)]
pub(crate) struct ScrapeArgs {
    /// The tracker's announce URL
    pub(crate) url: AnnounceUrl,
    /// The swarms' identifiers; none asks for every swarm, which many trackers refuse
    #[arg(value_name = "IDENTIFIER", value_parser = scraped_identifier)]
    pub(crate) identifiers: Vec<String>,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    /// How long the tracker has to answer
    #[arg(long, value_name = "SECONDS", default_value = "15", value_parser = seconds)]
    pub(crate) deadline: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Meet a partner that gives the same identifier, and say which path works between the two
    #[arg(value_parser = identifier)]
    pub(crate) identifier: Option<String>,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    /// How long each server may take
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(crate) deadline: Duration,
    /// How long to wait for the partner
    #[arg(long, value_name = "SECONDS", default_value = "120", value_parser = seconds)]
    pub(crate) wait: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// The command whose page to print [default: the page of the program]
    #[arg(conflicts_with = "folder")]
    pub(crate) command: Option<String>,
    /// Write a page for each command into this folder, such as ~/.local/share/man/man1
    #[arg(long, value_name = "FOLDER")]
    pub(crate) folder: Option<PathBuf>,
}

/// [`identifier_or_link`], where a link leads nowhere.
pub(crate) fn identifier(text: &str) -> Result<String, String> {
    if is_link(text) {
        return Err("that is a link to a room, which p2pt chat and p2pt pipe join".to_owned());
    }
    identifier_or_link(text)
}

/// Whether this is meant to be a link to a room, whole or not. What is left of a link is not taken for the identifier of an
/// open room, in which others would read along.
pub(crate) fn is_link(text: &str) -> bool {
    begins_with(text.trim_start(), "p2pt:")
}

/// Refuses an identifier that says nothing. The library and JavaScript take one, but all who leave a variable of their shell
/// empty would meet under it.
pub(crate) fn identifier_or_link(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err(
            "an identifier may not be empty or blank, or you would meet all who left theirs so: choose a name that \
                    your peers give too, and no others, such as my-app"
                .to_owned(),
        );
    }
    if is_tracker_url(text) {
        return Err(
            "that is a tracker's URL: --tracker URL; an identifier is a name that your peers give too, such as my-app"
                .to_owned(),
        );
    }
    Ok(text.to_owned())
}

/// [`identifier`], where the tracker is no option.
fn scraped_identifier(text: &str) -> Result<String, String> {
    if is_tracker_url(text) {
        return Err("that is a tracker's URL, and one tracker is asked at a time".to_owned());
    }
    identifier(text)
}

/// Whether this is meant to be the URL of a tracker.
fn is_tracker_url(text: &str) -> bool {
    begins_with(text, "ws://") || begins_with(text, "wss://")
}

fn begins_with(text: &str, scheme: &str) -> bool {
    text.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme))
}

/// An argument as it is written in a command for a shell.
pub(crate) fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-/:@%+=,".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) && !text.starts_with('-') {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) if !time.is_zero() && seconds <= MAX_SECONDS => Ok(time),
        _ => Err(format!("more than 0 and at most {MAX_SECONDS} seconds are needed")),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn what_a_shell_would_read_otherwise_is_quoted() {
        for (text, expected) in [
            ("my-app", "my-app"),
            ("wss://a.example:1/x", "wss://a.example:1/x"),
            ("two words", "'two words'"),
            ("it's $HOME", "'it'\\''s $HOME'"),
            ("ü", "'ü'"),
        ] {
            assert_eq!(quoted(text), expected);
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
    fn times_and_ids_that_make_no_sense_are_refused() {
        for (arguments, complaint) in [
            (["--max-peers", "many"], "invalid digit"),
            (["--request-timeout", "0.0"], "more than 0"),
            (["--request-timeout", "0"], "more than 0"),
            (["--request-timeout", "nan"], "more than 0"),
            (["--request-timeout", "86401"], "at most 86400"),
            (["--request-timeout", "soon"], "not a number"),
            (["--peer-id", "a1"], "'a1'"),
            (["--allow", "*"], "'*'"),
            (["--require-agreement", "-1"], "unexpected"),
        ] {
            let line = ["p2pt", "pipe", "my-app"].into_iter().chain(arguments);
            let error = Cli::try_parse_from(line).unwrap_err().to_string();
            assert!(error.contains(complaint), "{arguments:?}: {error}");
        }
    }
}
