//! The tests, and what they say to a partner.

use p2pt::{ChannelClosed, Event, Events, Frame, Peer, RequestError, SendError};
use p2pt_rt::now;
use serde::de::DeserializeOwned;
use tokio::task::coop;

use super::meeting::Met;
use super::progress::Progress;
use super::protocol::{self, BadAnswer, Count, Done, ECHO, FRAME_BYTES, Load, Ready, Request, SMALL_BYTES, Time};
use super::report::{Figure, Report};
use super::statistics::{median, spread};
use super::tally::{Clock, Tally, microseconds};
use super::{BenchError, usage, within};
use crate::args::{BenchArgs, Test};

/// The request whose round trip is timed.
const PING: &str = "ping123";

/// A tenth as many round trips come before those that are timed.
const WARM_UP: u64 = 10;

/// Round trips by which two clocks are compared; the fastest counts.
const CLOCK_ROUNDS: usize = 50;

const MB: usize = 1_000_000;

/// Why a test came to no end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TestError {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(transparent)]
    Send(#[from] SendError),
    #[error(transparent)]
    Answer(#[from] BadAnswer),
    #[error("the partner answers {0:?} instead of {ECHO:?}")]
    Echo(String),
    #[error("{sent} were sent, but {counted} have arrived")]
    Lost { sent: u64, counted: u64 },
    #[error("the partner has gone: {0}")]
    Gone(ChannelClosed),
    #[error("this node has stopped")]
    Stopped,
}

/// A measurer, and the partner it has met.
#[derive(Debug)]
pub(super) struct Measurer<'a> {
    pub(super) args: &'a BenchArgs,
    peer: Peer,
    events: &'a mut Events,
    clock: Clock,
    /// The partner is in this process too, so that its processor time is ours.
    one_process: bool,
    pub(super) progress: &'a mut Progress,
    pub(super) report: Report,
}

impl<'a> Measurer<'a> {
    pub(super) fn new(args: &'a BenchArgs, met: &'a mut Met, one_process: bool, progress: &'a mut Progress) -> Self {
        let report = Report::new(met.name.clone(), args.reverse);
        Self {
            args,
            peer: met.peer.clone(),
            events: &mut met.events,
            clock: Clock::new(),
            one_process,
            progress,
            report,
        }
    }

    /// Runs the tests that are wanted, in order.
    pub(super) async fn run(&mut self) -> Result<(), BenchError> {
        let args = self.args;
        if args.wants(Test::Rtt) {
            self.progress.begin("round trip", args.round_trips);
            within(args.deadline, self.progress.test(), self.round_trips()).await?;
        }
        if args.wants(Test::Small) {
            self.progress.begin("small messages", args.messages);
            within(args.deadline, self.progress.test(), self.small()).await?;
        }
        if args.wants(Test::Text) {
            self.progress.begin("texts of 1 MB", args.texts);
            within(args.deadline, self.progress.test(), self.texts(Figure::Text1MbMbS, args.texts, MB)).await?;
            let (figure, times) = (Figure::Text16MbMbS, args.large_texts());
            self.progress.begin("texts of 16 MB", times);
            within(args.deadline, self.progress.test(), self.texts(figure, times, 16 * MB)).await?;
        }
        if args.wants(Test::Raw) {
            self.progress.begin("raw frames", self.frames());
            within(args.deadline, self.progress.test(), self.raw()).await?;
        }
        if args.reverse {
            self.run_reverse().await?;
        }
        Ok(())
    }

    async fn run_reverse(&mut self) -> Result<(), BenchError> {
        let args = self.args;
        let small = Load::Messages { count: args.messages, bytes: SMALL_BYTES };
        let text = Load::Messages { count: args.texts, bytes: MB };
        let raw = Load::Frames { count: self.frames(), bytes: FRAME_BYTES };
        if args.wants(Test::Small) {
            self.progress.begin("small messages from the partner", args.messages);
            let count = within(args.deadline, self.progress.test(), self.receive(small)).await?;
            self.report.set(Figure::ReverseSmallPerS, messages_per_second(&count));
        }
        if args.wants(Test::Text) {
            self.progress.begin("texts of 1 MB from the partner", args.texts);
            let count = within(args.deadline, self.progress.test(), self.receive(text)).await?;
            // The clock starts when the first is there.
            let rate = messages_per_second(&count).map(|rate| rate * MB as f64 / 1e6);
            self.report.set(Figure::ReverseText1MbMbS, rate);
        }
        if args.wants(Test::Raw) {
            self.progress.begin("raw frames from the partner", self.frames());
            let count = within(args.deadline, self.progress.test(), self.receive(raw)).await?;
            self.report.set(Figure::ReverseRawMbS, megabytes_per_second(&count));
        }
        Ok(())
    }

    /// How many raw frames hold what is to be sent.
    fn frames(&self) -> u64 {
        (self.args.megabytes * MB as u64).div_ceil(FRAME_BYTES as u64)
    }

    /// Asks the partner for something it answers at once.
    pub(super) async fn ask<T: DeserializeOwned>(&self, request: &Request) -> Result<T, TestError> {
        Ok(protocol::answer(self.peer.request(request.payload()).await?.payload())?)
    }

    async fn round_trips(&mut self) -> Result<(), TestError> {
        let _: Ready = self.ask(&Request::Echo).await?;
        let (times, warm_up) = (self.args.round_trips, self.args.round_trips / WARM_UP);
        let mut took = Vec::with_capacity(times as usize);
        for round in 0..warm_up + times {
            let began = now();
            self.echo(PING.to_owned()).await?;
            if round >= warm_up {
                took.push(microseconds(began));
                self.progress.step(took.len() as u64);
            }
        }
        let [p50, p99, _] = spread(&took).map_or([None; 3], |spread| spread.map(Some));
        self.report.set(Figure::RttUsP50, p50);
        self.report.set(Figure::RttUsP99, p99);
        Ok(())
    }

    /// Sends a text, and waits until the partner has it.
    async fn echo(&self, text: String) -> Result<(), TestError> {
        let response = self.peer.request(text).await?;
        match response.payload().as_str() {
            Some(ECHO) => Ok(()),
            other => Err(TestError::Echo(other.unwrap_or("bytes").chars().take(80).collect())),
        }
    }

    async fn small(&mut self) -> Result<(), TestError> {
        let offset_us = self.clock_offset().await?;
        let _: Ready = self.ask(&Request::Sink).await?;
        for sent in 1..=self.args.messages {
            self.peer.send(protocol::stamped(self.clock.now_us() as u64)).await?;
            self.progress.step(sent);
        }
        let count: Count = self.ask(&Request::Report).await?;
        all_arrived(self.args.messages, count.messages)?;
        self.report.set(Figure::SmallPerS, messages_per_second(&count));
        let figures = [Figure::SmallDelayUsP50, Figure::SmallDelayUsP99, Figure::SmallDelayUsMax];
        for (figure, delay) in figures.into_iter().zip(count.delays_us.into_iter().flatten()) {
            self.report.set(figure, Some(delay - offset_us));
        }
        Ok(())
    }

    /// How far the partner's clock is ahead.
    async fn clock_offset(&self) -> Result<f64, TestError> {
        let mut rounds = Vec::with_capacity(CLOCK_ROUNDS);
        for _ in 0..CLOCK_ROUNDS {
            let asked = self.clock.now_us();
            let Time { clock_us } = self.ask(&Request::Clock).await?;
            rounds.push([asked, clock_us, self.clock.now_us()]);
        }
        Ok(offset(&rounds))
    }

    async fn texts(&mut self, figure: Figure, times: u64, bytes: usize) -> Result<(), TestError> {
        let _: Ready = self.ask(&Request::Echo).await?;
        let text = "x".repeat(bytes);
        let mut rates = Vec::new();
        for done in 1..=times {
            let text = text.clone();
            let began = now();
            self.echo(text).await?;
            // A byte in a microsecond is a megabyte in a second.
            rates.push(bytes as f64 / microseconds(began));
            self.progress.step(done);
        }
        self.report.set(figure, median(&rates));
        Ok(())
    }

    async fn raw(&mut self) -> Result<(), TestError> {
        let _: Ready = self.ask(&Request::Sink).await?;
        let (frame, frames) = (Frame::binary(vec![0; FRAME_BYTES]), self.frames());
        let cpu_us = usage::cpu_us();
        for sent in 1..=frames {
            self.peer.send_frame(frame.clone()).await?;
            self.progress.step(sent);
        }
        let count: Count = self.ask(&Request::Report).await?;
        let own_us = usage::since(cpu_us, usage::cpu_us());
        all_arrived(frames, count.frames)?;
        self.report.set(Figure::RawMbS, megabytes_per_second(&count));
        let both_us =
            if self.one_process { own_us } else { own_us.zip(count.cpu_us).map(|(own, theirs)| own + theirs) };
        // Microseconds for each byte, in seconds for each gigabyte.
        self.report.set(Figure::RawCpuSPerGb, both_us.map(|both| both * 1e3 / count.bytes as f64));
        Ok(())
    }

    /// Lets the partner send, and counts what arrives.
    async fn receive(&mut self, load: Load) -> Result<Count, TestError> {
        let _: Ready = self.ask(&Request::Source(load.into())).await?;
        let mut tally = Tally::new(None);
        loop {
            match self.events.next().await {
                Some(Event::Message(message)) if *message.peer() == self.peer => match message.text() {
                    Some(text) => tally.message(self.clock.now_us(), text),
                    None if Done::is(message.payload()) => break,
                    None => {}
                },
                Some(Event::Data(data)) if data.peer == self.peer => {
                    tally.frame(self.clock.now_us(), data.frame.len());
                }
                Some(Event::PeerClosed(closed)) if closed.peer == self.peer => {
                    return Err(TestError::Gone(closed.reason));
                }
                Some(_) => {}
                None => return Err(TestError::Stopped),
            }
            self.progress.step(tally.messages + tally.frames);
            coop::consume_budget().await;
        }
        let count = tally.count(None);
        match load {
            Load::Messages { count: sent, .. } => all_arrived(sent, count.messages)?,
            Load::Frames { count: sent, .. } => all_arrived(sent, count.frames)?,
        }
        Ok(count)
    }
}

fn all_arrived(sent: u64, counted: u64) -> Result<(), TestError> {
    if sent == counted { Ok(()) } else { Err(TestError::Lost { sent, counted }) }
}

/// Of all but the first, whose arrival starts the clock.
fn messages_per_second(count: &Count) -> Option<f64> {
    let later = count.messages.saturating_sub(1);
    (later > 0 && count.span_us > 0.0).then(|| later as f64 * 1e6 / count.span_us)
}

fn megabytes_per_second(count: &Count) -> Option<f64> {
    (count.span_us > 0.0).then(|| count.bytes as f64 / count.span_us)
}

/// How far another clock is ahead, from rounds of: the own clock, then the other's, then the own again.
fn offset(rounds: &[[f64; 3]]) -> f64 {
    let fastest = rounds.iter().min_by(|a, b| (a[2] - a[0]).total_cmp(&(b[2] - b[0])));
    // In the fastest round least time was lost on the way, and so least more on one way than on the other.
    fastest.map_or(0.0, |[asked, other, answered]| other - f64::midpoint(*asked, *answered))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(messages: u64, bytes: u64, span_us: f64) -> Count {
        Count { messages, frames: 0, bytes, span_us, cpu_us: None, delays_us: None }
    }

    #[test]
    fn the_fastest_round_compares_the_clocks() {
        assert_eq!(offset(&[[0.0, 950.0, 300.0], [400.0, 1_405.0, 410.0], [500.0, 1_700.0, 560.0]]), 1_000.0);
        assert_eq!(offset(&[[10.0, 2.0, 14.0]]), -10.0);
    }

    #[test]
    fn rates_are_those_of_what_came_after_the_clock_started() {
        assert_eq!(messages_per_second(&count(101, 10_100, 1_000.0)), Some(100_000.0));
        assert_eq!(megabytes_per_second(&count(0, 5_000_000, 50_000.0)), Some(100.0));
        for nothing in [count(0, 0, 0.0), count(1, 100, 0.0)] {
            assert_eq!((messages_per_second(&nothing), megabytes_per_second(&nothing)), (None, None));
        }
    }

    #[test]
    fn what_is_lost_is_an_error() {
        assert!(all_arrived(3, 3).is_ok());
        let error = all_arrived(3, 2).unwrap_err().to_string();
        assert_eq!(error, "3 were sent, but 2 have arrived");
    }
}
