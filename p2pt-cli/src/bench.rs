//! `p2pt bench`: how fast two peers talk.
//!
//! One measures, the other is its partner, anywhere; the program's README describes what they say to each other. Without an
//! identifier both are on this machine, with a tracker of their own.

mod child;
mod measure;
mod meeting;
mod memory;
mod progress;
mod protocol;
mod report;
mod serve;
mod statistics;
mod tally;
mod usage;

use std::io;
use std::time::Duration;

use p2pt::tracker::{ServerConfig, TrackerServer};
use p2pt::{AnnounceUrl, NodeError, StartError};
use tokio::time::timeout;

use crate::args::{AccessError, BenchArgs, Child, NetworkArgs, Test, quoted};
use crate::signals::StopSignals;
use crate::terminal::Terminal;
use child::ChildProcess;
use measure::{Measurer, TestError};
use meeting::{MeetError, Met, meet};
use progress::Progress;
use report::{Figure, Report};
use serve::Partner;
use statistics::median;

/// What the two on this machine share.
const IDENTIFIER: &str = "p2pt bench";

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error(transparent)]
    Meet(#[from] MeetError),
    #[error("{test}: {error}")]
    Test { test: &'static str, error: TestError },
    #[error("{test}: not done within {after:?}; --deadline gives it more time")]
    Deadline { test: &'static str, after: Duration },
    #[error("memory can be measured only where the partner is a process of its own on this machine")]
    NoMemory,
    #[error("another process of this program, which was started for this, did not do its part")]
    Child,
    #[error("a node has not met the hub within {0:?}")]
    NoHub(Duration),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("interrupted")]
    Interrupted,
}

impl BenchError {
    fn test(test: &'static str, error: TestError) -> Self {
        Self::Test { test, error }
    }
}

pub(crate) async fn run(args: BenchArgs) -> Result<(), BenchError> {
    // As a task, among those that it wakes and is woken by; the thread that waits for it takes no part.
    match tokio::spawn(part(args)).await {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

async fn part(args: BenchArgs) -> Result<(), BenchError> {
    match (&args.identifier, args.child) {
        (Some(identifier), Some(part)) => child::run(part, identifier, args.network).await,
        (Some(identifier), None) if args.serve => serve(identifier, &args.network).await,
        (Some(identifier), None) => with_partner(&args, identifier).await,
        (None, _) => alone(&args).await,
    }
}

/// Is the partner of every measurer that comes, until it is stopped.
async fn serve(identifier: &str, network: &NetworkArgs) -> Result<(), BenchError> {
    let mut signals = StopSignals::with_hangup()?;
    let (swarm, events) = network.builder()?.join(identifier).await?;
    let mut terminal = Terminal::stdout();
    terminal.line(format_args!("serving those who measure under {identifier:?}, until Ctrl-C"))?;
    let served = tokio::select! {
        served = Partner::new().telling(terminal).run(events) => served,
        () = signals.next() => Ok(()),
    };
    tokio::select! {
        () = swarm.shutdown() => {}
        // A second signal asks not to wait.
        () = signals.next() => {}
    }
    served
}

/// Measures with a partner that was started elsewhere.
async fn with_partner(args: &BenchArgs, identifier: &str) -> Result<(), BenchError> {
    if args.only.contains(&Test::Memory) {
        return Err(BenchError::NoMemory);
    }
    let mut signals = StopSignals::new()?;
    let mut bench = Bench::new(args, identifier, &args.network, Place::Elsewhere);
    let report = bench.run(&mut signals).await?;
    bench.show(&report)
}

/// Measures on this machine.
async fn alone(args: &BenchArgs) -> Result<(), BenchError> {
    if args.one_process && args.only.contains(&Test::Memory) {
        return Err(BenchError::NoMemory);
    }
    let mut signals = StopSignals::new()?;
    let server = TrackerServer::bind("127.0.0.1:0", ServerConfig::default()).await?;
    let tracker = server.url();
    let network = NetworkArgs::on_loopback(tracker.clone());
    let result = if args.one_process {
        let (swarm, events) = network.builder()?.join(IDENTIFIER).await?;
        let partner = tokio::spawn(Partner::new().run(events));
        let mut bench = Bench::new(args, IDENTIFIER, &network, Place::ThisProcess);
        let result = bench.run(&mut signals).await;
        swarm.shutdown().await;
        // It ends with its node.
        if let Err(error) = partner.await {
            std::panic::resume_unwind(error.into_panic());
        }
        result.and_then(|report| bench.show(&report))
    } else {
        let (partner, _) = tokio::select! {
            started = ChildProcess::start(Child::Partner, IDENTIFIER, &tracker) => started?,
            () = signals.next() => return Err(BenchError::Interrupted),
        };
        let mut bench = Bench::new(args, IDENTIFIER, &network, Place::ThisMachine(tracker.clone()));
        let result = bench.run(&mut signals).await;
        partner.end().await;
        result.and_then(|report| bench.show(&report))
    };
    server.shutdown().await;
    result
}

/// What comes of it within the deadline of a test.
async fn within<T>(
    after: Duration,
    test: &'static str,
    work: impl Future<Output = Result<T, TestError>>,
) -> Result<T, BenchError> {
    match timeout(after, work).await {
        Ok(done) => done.map_err(|error| BenchError::test(test, error)),
        Err(_) => Err(BenchError::Deadline { test, after }),
    }
}

/// Where the partner is.
#[derive(Debug)]
enum Place {
    ThisProcess,
    /// In a process that starts nodes when it is asked to, with this tracker.
    ThisMachine(AnnounceUrl),
    Elsewhere,
}

/// What is measured, with which partner, and how progress is reported.
#[derive(Debug)]
struct Bench<'a> {
    args: &'a BenchArgs,
    identifier: &'a str,
    network: &'a NetworkArgs,
    place: Place,
    progress: Progress,
}

impl<'a> Bench<'a> {
    fn new(args: &'a BenchArgs, identifier: &'a str, network: &'a NetworkArgs, place: Place) -> Self {
        Self { args, identifier, network, place, progress: Progress::new(args.json) }
    }

    /// Meets the partner and runs the tests, until a signal comes.
    async fn run(&mut self, signals: &mut StopSignals) -> Result<Report, BenchError> {
        let (mut met, connect_ms) = self.connect(signals).await?;
        let result = tokio::select! {
            result = self.measure(&mut met, connect_ms) => result,
            () = signals.next() => Err(BenchError::Interrupted),
        };
        met.swarm.shutdown().await;
        result
    }

    /// Meets the partner, as often as that is to be timed; the last connection stays.
    async fn connect(&mut self, signals: &mut StopSignals) -> Result<(Met, Option<f64>), BenchError> {
        let wanted = self.args.wants(Test::Connect);
        let times = if wanted { self.args.connects } else { 1 };
        self.progress.begin("connect", times);
        if let Place::Elsewhere = self.place {
            self.progress.wait(&format!("a partner, which runs: p2pt bench {} --serve", quoted(self.identifier)));
        }
        let mut took = Vec::new();
        loop {
            let met = meet(self.identifier, self.network, self.args.deadline, signals.next()).await?;
            took.push(met.took.as_secs_f64() * 1e3);
            self.progress.step(took.len() as u64);
            if took.len() as u64 == times {
                return Ok((met, median(&took).filter(|_| wanted)));
            }
            met.swarm.shutdown().await;
        }
    }

    async fn measure(&mut self, met: &mut Met, connect_ms: Option<f64>) -> Result<Report, BenchError> {
        let one_process = matches!(self.place, Place::ThisProcess);
        let mut measurer = Measurer::new(self.args, met, one_process, &mut self.progress);
        measurer.report.set(Figure::ConnectMs, connect_ms);
        measurer.run().await?;
        if let Place::ThisMachine(tracker) = &self.place
            && self.args.wants(Test::Memory)
        {
            memory::measure(&mut measurer, self.network, tracker).await?;
        }
        Ok(measurer.report)
    }

    /// Prints the figures.
    fn show(self, report: &Report) -> Result<(), BenchError> {
        // The line of progress goes.
        drop(self.progress);
        let mut terminal = Terminal::stdout();
        if self.args.json {
            return Ok(terminal.line(serde_json::to_string(report).map_err(io::Error::from)?)?);
        }
        let place = match self.place {
            Place::ThisProcess => "in this process",
            Place::ThisMachine(_) => "another process on this machine",
            Place::Elsewhere => "met at trackers",
        };
        Ok(report.show(&mut terminal, place)?)
    }
}
