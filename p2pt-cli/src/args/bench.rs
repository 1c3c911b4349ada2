//! The arguments of `p2pt bench`.

use std::time::Duration;

use clap::{ArgGroup, Args, ValueEnum};

use super::{NetworkArgs, identifier, seconds};

/// The most messages of one kind that a test sends.
const MAX_COUNT: u64 = 100_000_000;

#[derive(Debug, Args)]
// What a partner does is up to those who measure.
#[command(group = ArgGroup::new("measuring").multiple(true).args([
    "one_process", "json", "reverse", "only", "connects", "round_trips", "messages", "texts", "megabytes", "deadline",
]))]
// Without an identifier no peer outside this machine takes part, so these would have no effect.
#[command(group = ArgGroup::new("network").multiple(true).requires("identifier").args([
    "trackers", "no_default_trackers", "headers", "root_certificates", "follow_redirects", "stun", "no_default_stun",
    "turn", "relay_only", "loopback", "connections", "max_peers",
]))]
pub(crate) struct BenchArgs {
    /// What the two peers share; without it both run on this machine, and need no internet
    #[arg(value_parser = identifier)]
    pub(crate) identifier: Option<String>,
    /// Be the partner of those who measure under the identifier, until Ctrl-C
    #[arg(long, requires = "identifier", conflicts_with = "measuring")]
    pub(crate) serve: bool,
    /// Run both peers in this process, instead of the partner in one of its own
    #[arg(long, conflicts_with = "identifier")]
    pub(crate) one_process: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    /// Measure the way from the partner to this peer too
    #[arg(long)]
    pub(crate) reverse: bool,
    /// Run these tests only, with commas between them; may be repeated
    #[arg(long, value_name = "TEST", value_delimiter = ',')]
    pub(crate) only: Vec<Test>,
    /// How often a new node connects
    #[arg(long, value_name = "N", default_value = "15", value_parser = count(1_000))]
    pub(crate) connects: u64,
    /// Requests whose round trip is timed
    #[arg(long, value_name = "N", default_value = "2000", value_parser = count(1_000_000))]
    pub(crate) round_trips: u64,
    /// Messages of 100 bytes
    #[arg(long, value_name = "N", default_value = "200000", value_parser = count(MAX_COUNT))]
    pub(crate) messages: u64,
    /// Texts of 1 MB; a quarter as many have 16 MB
    #[arg(long, value_name = "N", default_value = "20", value_parser = count(10_000))]
    pub(crate) texts: u64,
    /// What is sent in raw frames, in MB
    #[arg(long, value_name = "N", default_value = "200", value_parser = count(1_000_000))]
    pub(crate) megabytes: u64,
    /// How long each test may take, and meeting the partner
    #[arg(long, value_name = "SECONDS", default_value = "120", value_parser = seconds)]
    pub(crate) deadline: Duration,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
    /// What this process is to another one of this program, which started it
    #[arg(long, hide = true, requires = "identifier", conflicts_with_all = ["serve", "measuring"])]
    pub(crate) child: Option<Child>,
}

/// A part of what is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Test {
    /// The time a new node needs to meet the partner
    Connect,
    /// The round trip of a short request
    Rtt,
    /// Messages of 100 bytes, one way
    Small,
    /// Texts of 1 MB and of 16 MB
    Text,
    /// Raw binary frames, one way
    Raw,
    /// Memory for each connected peer, with the partner on this machine
    Memory,
}

/// The part of a process that another one has started; it ends with its standard input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Child {
    /// Serves, and starts further nodes if it is asked to.
    Partner,
    /// Is met by nodes, and tells its memory.
    Hub,
}

impl BenchArgs {
    /// Whether a test is to be run.
    pub(crate) fn wants(&self, test: Test) -> bool {
        self.only.is_empty() || self.only.contains(&test)
    }

    /// Texts of 16 MB.
    pub(crate) fn large_texts(&self) -> u64 {
        self.texts.div_ceil(4)
    }
}

fn count(max: u64) -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(1..=max)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        bench: BenchArgs,
    }

    fn parse(arguments: &[&str]) -> Result<BenchArgs, clap::Error> {
        Line::try_parse_from(["bench"].iter().chain(arguments)).map(|line| line.bench)
    }

    #[test]
    fn alone_it_measures_everything_on_this_machine() {
        let args = parse(&[]).unwrap();
        assert!(args.identifier.is_none() && !args.serve && args.child.is_none());
        assert!(Test::value_variants().iter().all(|test| args.wants(*test)));
        assert_eq!((args.texts, args.large_texts()), (20, 5));
    }

    #[test]
    fn tests_can_be_picked() {
        let args = parse(&["--only", "rtt,raw", "--only", "memory", "--texts", "1"]).unwrap();
        let wanted: Vec<Test> = Test::value_variants().iter().copied().filter(|test| args.wants(*test)).collect();
        assert_eq!(wanted, [Test::Rtt, Test::Raw, Test::Memory]);
        assert_eq!(args.large_texts(), 1);
    }

    #[test]
    fn a_partner_may_be_anywhere() {
        for arguments in [
            &["app"][..],
            &["app", "--serve", "--tracker", "ws://127.0.0.1:8000", "--loopback"],
            &["app", "--json", "--reverse", "--connections", "2", "--deadline", "5"],
            &["app", "--child", "hub", "--loopback"],
        ] {
            parse(arguments).unwrap();
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (arguments, complaint) in [
            (&["--serve"][..], "<IDENTIFIER>"),
            (&["--loopback"], "<IDENTIFIER>"),
            (&["--tracker", "ws://127.0.0.1:8000"], "<IDENTIFIER>"),
            (&["app", "--one-process"], "--one-process"),
            (&["app", "--serve", "--json"], "cannot be used with"),
            (&["app", "--serve", "--connects", "3"], "cannot be used with"),
            (&["--only", "weather"], "connect, rtt, small, text, raw, memory"),
            (&["--connects", "0"], "1..=1000"),
            (&["--megabytes", "much"], "invalid digit"),
            (&["--deadline", "0"], "more than 0"),
        ] {
            let error = parse(arguments).unwrap_err().to_string();
            assert!(error.contains(complaint), "{arguments:?}: {error}");
        }
    }
}
