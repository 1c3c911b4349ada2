//! The partner of those who measure.

use std::collections::HashMap;

use p2pt::{Event, Events, Frame, Message, NodeError, Payload, Peer, PeerId, SendError, StartError};
use p2pt_rt::{AbortHandle, spawn};

use crate::Options;
use crate::protocol::{self, Done, ECHO, Hello, Load, Ready, Refusal, Request, Time};
use crate::tally::{Clock, Tally};

/// Why a node is not there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartFailed {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error("a node has not met the hub in time")]
    NotMet,
}

/// What a measurer has asked for.
#[derive(Debug, Default)]
struct Served {
    mode: Mode,
    /// What is sent to it.
    work: Option<Work>,
}

#[derive(Debug, Default)]
enum Mode {
    #[default]
    Idle,
    Echo,
    Sink(Box<Tally>),
}

/// A task that ends with its handle.
#[derive(Debug)]
struct Work(AbortHandle);

impl Drop for Work {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(crate) async fn serve(options: &Options) -> Result<(), StartFailed> {
    let (swarm, mut events) = options.builder().join(options.identifier.as_str()).await?;
    // A measurer that looks for it after that meets it at once.
    while !matches!(events.next().await, Some(Event::TrackerConnected(_)) | None) {}
    drop(spawn(async move {
        run(events).await;
        drop(swarm);
    }));
    Ok(())
}

async fn run(mut events: Events) {
    let clock = Clock::new();
    let mut served: HashMap<PeerId, Served> = HashMap::new();
    while let Some(event) = events.next().await {
        match event {
            Event::Message(message) => {
                if let Some(served) = served.get_mut(&message.peer().id()) {
                    served.message(&message, clock).await;
                }
            }
            Event::Data(data) => {
                if let Some(Served { mode: Mode::Sink(tally), .. }) = served.get_mut(&data.peer.id()) {
                    tally.frame(clock.now_us(), data.frame.len());
                }
            }
            Event::PeerConnected(peer) => {
                served.insert(peer.id(), Served::default());
            }
            Event::PeerClosed(closed) => {
                served.remove(&closed.peer.id());
            }
            _ => {}
        }
    }
}

impl Served {
    async fn message(&mut self, message: &Message, clock: Clock) {
        let answer = match message.payload() {
            Payload::Text(text) => match &mut self.mode {
                Mode::Sink(tally) => return tally.message(clock.now_us(), text),
                Mode::Echo => Ok((ECHO.into(), None)),
                Mode::Idle => return,
            },
            json => match Request::parse(json) {
                Some(request) => request.and_then(|request| self.obey(request, clock)),
                None => return,
            },
        };
        let (answer, load) = answer.unwrap_or_else(|error| (protocol::to_payload(&Refusal { error }), None));
        // One that has gone is reported by an event.
        if message.respond(answer).await.is_ok()
            && let Some(load) = load
        {
            let peer = message.peer().clone();
            self.work = Some(Work(spawn(async move { drop(send(&peer, load).await) }).abort_handle()));
        }
    }

    /// Carries out a request, and says what to answer and what to send afterwards.
    fn obey(&mut self, request: Request, clock: Clock) -> Result<(Payload, Option<Load>), String> {
        let ready = protocol::to_payload(&Ready { ready: true });
        Ok(match request {
            Request::Hello => (protocol::to_payload(&Hello::ours()), None),
            Request::Clock => (protocol::to_payload(&Time { clock_us: clock.now_us() }), None),
            Request::Echo => {
                self.mode = Mode::Echo;
                (ready, None)
            }
            Request::Sink => {
                self.mode = Mode::Sink(Box::new(Tally::new(None)));
                (ready, None)
            }
            Request::Report => match &self.mode {
                Mode::Sink(tally) => (protocol::to_payload(&tally.count(None)), None),
                Mode::Idle | Mode::Echo => return Err("nothing is counted".to_owned()),
            },
            Request::Source(source) => (ready, Some(source.try_into()?)),
            Request::Peers(_) => return Err("this partner starts no nodes".to_owned()),
        })
    }
}

/// Sends what was asked for, and then says that it was all.
async fn send(peer: &Peer, load: Load) -> Result<(), SendError> {
    match load {
        Load::Messages { count, bytes } => {
            let text = "x".repeat(bytes);
            for _ in 0..count {
                peer.send(text.as_str()).await?;
            }
        }
        Load::Frames { count, bytes } => {
            let frame = Frame::binary(vec![0; bytes]);
            for _ in 0..count {
                peer.send_frame(frame.clone()).await?;
            }
        }
    }
    peer.send(protocol::to_payload(&Done::new(None))).await
}
