//! `p2pt demo`: what p2pt does, for real and on this machine alone: a tracker, two peers, WebRTC between them.

use std::error::Error;
use std::io;
use std::time::Duration;

use p2pt::tracker::{ServerConfig, TrackerServer};
use p2pt::transport::ChannelClosed;
use p2pt::transport::webrtc::WebRtcConfig;
use p2pt::{AnnounceUrl, Event, Events, Message, P2pt, Payload, Peer, PeerClosed, Swarm};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use crate::args::DemoArgs;
use crate::progress::Waiting;
use crate::terminal::{Colour, Terminal, short};

/// The size of the large message, in bytes.
const LARGE: usize = 1_000_000;

/// Why the demo did not succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    #[error("the demo failed at the step \"{step}\": {reason}")]
    Step { step: &'static str, reason: Problem },
    #[error("the demo failed at the step \"{step}\": nothing more happened within {deadline:?}")]
    Deadline { step: &'static str, deadline: Duration },
    #[error("the demo cannot be shown: {0}")]
    Io(#[from] io::Error),
}

type Problem = Box<dyn Error + Send + Sync>;

pub(crate) async fn run(args: DemoArgs) -> Result<(), DemoError> {
    let mut show = Show::begin(args.deadline)?;
    let server = show.step("tracker", start_tracker()).await?;
    let url = server.url();
    let (mut alice, mut bob) = show.step("meet", meet(&url)).await?;
    show.step("chat", chat(&mut alice, &mut bob)).await?;
    show.step("request", request(&mut alice, &mut bob)).await?;
    show.step("1 MB", large_message(&mut alice, &mut bob)).await?;
    show.step("leave", leave(&mut alice, &bob)).await?;
    show.step("stop", stop(alice, server)).await?;
    show.end()
}

async fn start_tracker() -> Result<Done<TrackerServer>, Problem> {
    let server = TrackerServer::bind("127.0.0.1:0", ServerConfig::default()).await?;
    let text = format!("a tracker listens on {}", server.url());
    Ok(Done::new(server, text))
}

async fn meet(tracker: &AnnounceUrl) -> Result<Done<(Party, Party)>, Problem> {
    let (alice, bob) = tokio::try_join!(Party::arrive("alice", tracker), Party::arrive("bob", tracker))?;
    let (alice_id, bob_id) = (alice.swarm.peer_id(), bob.swarm.peer_id());
    check(alice.other.id() == bob_id && bob.other.id() == alice_id, "they met another peer")?;
    let text = format!("alice ({}) and bob ({}) found each other and connected", short(alice_id), short(bob_id));
    Ok(Done::new((alice, bob), text))
}

async fn chat(alice: &mut Party, bob: &mut Party) -> Result<Done<()>, Problem> {
    let (hello, welcome) = ("Hello, are you there?", "Yes! Nice to meet you, alice.");
    alice.other.send(hello).await?;
    let first = bob.message().await?;
    bob.other.send(welcome).await?;
    let second = alice.message().await?;
    check(first.text() == Some(hello) && second.text() == Some(welcome), "they heard something else")?;
    Ok(Done::new((), "each heard what the other said").said(alice, &first).said(bob, &second))
}

/// A chain: the answer to the question is itself a request, and answered.
async fn request(alice: &mut Party, bob: &mut Party) -> Result<Done<()>, Problem> {
    let (question, answer, thanks) = (json!({"what is": "6 * 7"}), json!({"it is": 42, "glad": "?"}), json!("Yes!"));
    let ask = async {
        let answer = alice.other.request(question.clone()).await?;
        answer.respond("Yes!").await?;
        Ok::<_, Problem>(answer)
    };
    let reply = async {
        let question = bob.message().await?;
        let thanks = question.request(answer.clone()).await?;
        Ok((question, thanks))
    };
    let (second, (first, third)) = tokio::try_join!(ask, reply)?;
    for (received, sent) in [(&first, &question), (&second, &answer), (&third, &thanks)] {
        check(received.json::<Value>()? == *sent, "a message was not what was sent")?;
    }
    let done = Done::new((), "a question, its answer, and the answer to that");
    Ok(done.said(alice, &first).said(bob, &second).said(alice, &third))
}

async fn large_message(alice: &mut Party, bob: &mut Party) -> Result<Done<()>, Problem> {
    let text = large_text();
    let compare = |received: &Payload, by: &str| {
        let Some(received) = received.text() else { return Err(format!("{by} received JSON, not text")) };
        let same = received.bytes().zip(text.bytes()).take_while(|(received, sent)| received == sent).count();
        if received.len() == LARGE && same == LARGE {
            return Ok(());
        }
        Err(format!("{by} received {} bytes, of which the first {same} are as they were sent", received.len()))
    };
    let ask = async {
        let echo = alice.other.request(text.as_str()).await?;
        Ok::<_, Problem>(compare(echo.payload(), "alice")?)
    };
    let reply = async {
        let message = bob.message().await?;
        compare(message.payload(), "bob")?;
        message.respond(message.payload().clone()).await?;
        Ok(())
    };
    let began = Instant::now();
    tokio::try_join!(ask, reply)?;
    let rate = 2.0 * LARGE as f64 / 1e6 / began.elapsed().as_secs_f64();
    Ok(Done::new((), format!("1,000,000 bytes to bob and back, not one changed ({rate:.0} MB/s)")))
}

/// Text in which no two stretches are alike, so that a chunk lost, doubled or displaced would show.
fn large_text() -> String {
    let mut state = 1_u64;
    let printable = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b' ' + ((state >> 33) % 95) as u8)
    });
    printable.take(LARGE).collect()
}

async fn leave(alice: &mut Party, bob: &Party) -> Result<Done<()>, Problem> {
    let (closed, ()) = tokio::join!(alice.closed(), bob.swarm.shutdown());
    let PeerClosed { peer, reason, .. } = closed?;
    check(peer == alice.other, "another peer left")?;
    if reason != ChannelClosed::Remote {
        return Err(format!("bob left, but not politely: {reason}").into());
    }
    Ok(Done::new((), "bob left, and alice saw it"))
}

async fn stop(alice: Party, server: TrackerServer) -> Result<Done<()>, Problem> {
    alice.swarm.shutdown().await;
    server.shutdown().await;
    Ok(Done::new((), "alice and the tracker stopped in order"))
}

fn check(holds: bool, otherwise: &str) -> Result<(), Problem> {
    if holds { Ok(()) } else { Err(otherwise.into()) }
}

/// A peer of the demo, and the one it has met.
struct Party {
    name: &'static str,
    swarm: Swarm,
    events: Events,
    other: Peer,
}

impl Party {
    /// Starts a peer and waits until it has met another.
    async fn arrive(name: &'static str, tracker: &AnnounceUrl) -> Result<Self, Problem> {
        let builder = P2pt::builder().tracker(tracker.as_str()).webrtc(WebRtcConfig::loopback());
        let (swarm, mut events) = builder.join("p2pt demo").await?;
        match next(name, &mut events).await? {
            Event::PeerConnected(other) => Ok(Self { name, swarm, events, other }),
            event => Err(unexpected(name, &event)),
        }
    }

    async fn message(&mut self) -> Result<Message, Problem> {
        match next(self.name, &mut self.events).await? {
            Event::Message(message) => Ok(message),
            event => Err(unexpected(self.name, &event)),
        }
    }

    async fn closed(&mut self) -> Result<PeerClosed, Problem> {
        match next(self.name, &mut self.events).await? {
            Event::PeerClosed(closed) => Ok(closed),
            event => Err(unexpected(self.name, &event)),
        }
    }
}

/// The next event that is not about trackers.
async fn next(name: &str, events: &mut Events) -> Result<Event, Problem> {
    loop {
        match events.next().await {
            Some(Event::TrackerConnected(_)) => {}
            // Seen on standard error: it may be why nothing happens.
            Some(Event::TrackerWarning { tracker, warning, missed }) => {
                tracing::warn!(name, %tracker, %warning, missed);
            }
            Some(Event::ConnectionFailed(_) | Event::ConnectionRejected(_)) => {}
            Some(event) => return Ok(event),
            None => return Err(format!("{name} has stopped").into()),
        }
    }
}

fn unexpected(name: &str, event: &Event) -> Problem {
    match event {
        Event::PeerClosed(closed) => format!("{name} lost the other: {}", closed.reason).into(),
        other => format!("something else happened to {name}: {other}").into(),
    }
}

/// What a finished step leaves: something for the next ones, and what to say about it.
struct Done<T> {
    value: T,
    text: String,
    said: Vec<(&'static str, String)>,
}

impl<T> Done<T> {
    fn new(value: T, text: impl Into<String>) -> Self {
        Self { value, text: text.into(), said: Vec::new() }
    }

    /// Shows a message as it arrived.
    fn said(mut self, speaker: &Party, message: &Message) -> Self {
        self.said.push((speaker.name, message.payload().as_str().unwrap_or_default().to_owned()));
        self
    }
}

/// Tells what happens.
struct Show {
    terminal: Terminal,
    began: Instant,
    deadline: Duration,
}

impl Show {
    fn begin(deadline: Duration) -> io::Result<Self> {
        let mut terminal = Terminal::stdout();
        let title = terminal.paint(Colour::Bold, "p2pt demo");
        terminal
            .line(format_args!("{title}  two peers meet at a tracker and talk over WebRTC, all on this machine"))?;
        terminal.line("")?;
        Ok(Self { terminal, began: Instant::now(), deadline })
    }

    /// Does a step within what is left of the deadline, and says how it went and how long it took.
    async fn step<T>(
        &mut self,
        step: &'static str,
        work: impl Future<Output = Result<Done<T>, Problem>>,
    ) -> Result<T, DemoError> {
        let began = Instant::now();
        let work = timeout_at(self.began + self.deadline, work);
        let failure = match Waiting::new(false).until(format!("the step \"{step}\""), work).await {
            Ok(Ok(done)) => {
                self.succeeded(step, &done, began.elapsed())?;
                return Ok(done.value);
            }
            Ok(Err(reason)) => DemoError::Step { step, reason },
            Err(_) => DemoError::Deadline { step, deadline: self.deadline },
        };
        let mark = self.terminal.paint(Colour::Red, "✗");
        self.terminal.line(format_args!("  {mark} {step:<9}failed after {}", milliseconds(began.elapsed())))?;
        Err(failure)
    }

    fn succeeded<T>(&mut self, step: &str, done: &Done<T>, took: Duration) -> io::Result<()> {
        let mark = self.terminal.paint(Colour::Green, "✓");
        let took = self.terminal.paint(Colour::Dim, format_args!("{:>10}", milliseconds(took)));
        self.terminal.line(format_args!("  {mark} {step:<9}{:<66}{took}", done.text))?;
        for (name, text) in &done.said {
            let colour = if *name == "alice" { Colour::Cyan } else { Colour::Magenta };
            let name = self.terminal.paint(colour, format_args!("{name:>19}"));
            self.terminal.line(format_args!("{name}  {text}"))?;
        }
        Ok(())
    }

    fn end(mut self) -> Result<(), DemoError> {
        let text = format!("All of it worked, in {}.", milliseconds(self.began.elapsed()));
        let text = self.terminal.paint(Colour::Bold, text);
        self.terminal.line("")?;
        Ok(self.terminal.line(text)?)
    }
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_large_text_is_as_large_as_it_says_and_has_what_must_be_escaped() {
        let text = large_text();
        assert_eq!(text.len(), LARGE);
        assert!(text.contains('"') && text.contains('\\'));
    }
}
