//! The partner of those who measure.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use p2pt::{Event, Events, Frame, Message, Payload, Peer, PeerId, SendError, Swarm};
use tokio::task::{AbortHandle, coop};
use tokio::time::timeout;

use super::protocol::{self, Done, ECHO, Hello, Load, Ready, Refusal, Request, Time, Visit};
use super::tally::{Clock, Tally};
use super::{BenchError, usage};
use crate::args::NetworkArgs;
use crate::terminal::{Terminal, short};

/// How long a node that was asked for may take to meet its peers.
const VISIT_DEADLINE: Duration = Duration::from_secs(30);

/// Serves every measurer, each independently of the others.
#[derive(Debug)]
pub(super) struct Partner {
    clock: Clock,
    served: HashMap<PeerId, Served>,
    /// How nodes are started for measurers that ask for them; by default they are refused.
    network: Option<Arc<NetworkArgs>>,
    /// Where it is reported which measurers come and go.
    terminal: Option<Terminal>,
}

/// One who measures.
#[derive(Debug, Default)]
struct Served {
    mode: Mode,
    /// What was started for it, which ends when something else is, or when it goes.
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

impl Work {
    fn start(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(work).abort_handle())
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Partner {
    pub(super) fn new() -> Self {
        Self { clock: Clock::new(), served: HashMap::new(), network: None, terminal: None }
    }

    /// Starts nodes for those who ask for them.
    pub(super) fn starting_nodes(self, network: NetworkArgs) -> Self {
        Self { network: Some(Arc::new(network)), ..self }
    }

    /// Reports which measurers come and go.
    pub(super) fn telling(self, terminal: Terminal) -> Self {
        Self { terminal: Some(terminal), ..self }
    }

    /// Serves until the node stops.
    pub(super) async fn run(mut self, mut events: Events) -> Result<(), BenchError> {
        while let Some(event) = events.next().await {
            match event {
                Event::Message(message) => self.message(message).await,
                Event::Data(data) => {
                    if let Some(Served { mode: Mode::Sink(tally), .. }) = self.served.get_mut(&data.peer.id()) {
                        tally.frame(self.clock.now_us(), data.frame.len());
                    }
                }
                Event::PeerConnected(peer) => {
                    self.tell(&peer, "is here")?;
                    self.served.insert(peer.id(), Served::default());
                }
                Event::PeerClosed(closed) => {
                    self.served.remove(&closed.peer.id());
                    self.tell(&closed.peer, "has left")?;
                }
                Event::TrackerWarning { tracker, warning, missed } => tracing::warn!(%tracker, %warning, missed),
                other => tracing::debug!(?other),
            }
            // Messages may be there as fast as they are read; others want their turn too.
            coop::consume_budget().await;
        }
        Ok(())
    }

    fn tell(&mut self, peer: &Peer, what: &str) -> Result<(), BenchError> {
        if let Some(terminal) = &mut self.terminal {
            terminal.line(format_args!("{} {what}", short(peer.id())))?;
        }
        Ok(())
    }

    async fn message(&mut self, message: Message) {
        // The sender is connected, so no visitor is added here.
        let Some(served) = self.served.get_mut(&message.peer().id()) else { return };
        let obeyed = match message.payload() {
            Payload::Text(text) => match &mut served.mode {
                Mode::Sink(tally) => return tally.message(self.clock.now_us(), text),
                Mode::Echo => Ok((ECHO.into(), None)),
                Mode::Idle => return,
            },
            json => match Request::parse(json) {
                Some(request) => request.and_then(|request| served.obey(request, self.clock, self.network.as_ref())),
                None => return,
            },
        };
        let (answer, task) = obeyed.unwrap_or_else(|error| (protocol::to_payload(&Refusal { error }), None));
        match message.respond(answer).await {
            // What it sends comes after the answer.
            Ok(()) => {
                if let Some(task) = task {
                    served.work = Some(Work::start(task.run(message.peer().clone())));
                }
            }
            // The end of a visitor is an event too.
            Err(error) => tracing::debug!(%error, "no answer"),
        }
    }
}

impl Served {
    /// Carries out a request, and says what to answer and what to do afterwards.
    fn obey(
        &mut self,
        request: Request,
        clock: Clock,
        network: Option<&Arc<NetworkArgs>>,
    ) -> Result<(Payload, Option<Task>), String> {
        let ready = protocol::to_payload(&Ready { ready: true });
        match request {
            Request::Hello => Ok((protocol::to_payload(&Hello::ours()), None)),
            Request::Clock => Ok((protocol::to_payload(&Time { clock_us: clock.now_us() }), None)),
            Request::Echo => {
                self.mode = Mode::Echo;
                Ok((ready, None))
            }
            Request::Sink => {
                self.mode = Mode::Sink(Box::new(Tally::new(usage::cpu_us())));
                Ok((ready, None))
            }
            Request::Report => match &self.mode {
                Mode::Sink(tally) => Ok((protocol::to_payload(&tally.count(usage::cpu_us())), None)),
                Mode::Idle | Mode::Echo => Err("nothing is counted".to_owned()),
            },
            Request::Source(source) => Ok((ready, Some(Task::Send(source.try_into()?)))),
            Request::Peers(peers) => {
                let network = network.ok_or("this partner starts no nodes")?.clone();
                Ok((ready, Some(Task::Visit(peers.try_into()?, network))))
            }
        }
    }
}

/// What is done after an answer, while others are served.
#[derive(Debug)]
enum Task {
    Send(Load),
    Visit(Visit, Arc<NetworkArgs>),
}

impl Task {
    async fn run(self, peer: Peer) {
        match self {
            Self::Send(load) => {
                if let Err(error) = send(&peer, load).await {
                    tracing::debug!(%error, "not all was sent");
                }
            }
            Self::Visit(visit, network) => match self::visit(&visit, &network).await {
                // They stay until this task is ended.
                Ok(_nodes) => std::future::pending().await,
                Err(error) => tracing::warn!(%error, "not all nodes met the hub"),
            },
        }
    }
}

/// Sends what was asked for, and then says that it was all.
async fn send(peer: &Peer, load: Load) -> Result<(), SendError> {
    let cpu_us = usage::cpu_us();
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
    peer.send(protocol::to_payload(&Done::new(usage::since(cpu_us, usage::cpu_us())))).await
}

/// Starts nodes one after the other, each of which meets the hub and no other peer.
pub(super) async fn visit(visit: &Visit, network: &NetworkArgs) -> Result<Vec<(Swarm, Events)>, BenchError> {
    let mut nodes = Vec::with_capacity(visit.count);
    for _ in 0..visit.count {
        let builder = network.builder()?.allow([visit.hub]).max_peers(1);
        let (swarm, mut events) = builder.join(&visit.identifier).await?;
        let met = async { while !matches!(events.next().await, Some(Event::PeerConnected(_)) | None) {} };
        timeout(VISIT_DEADLINE, met).await.map_err(|_| BenchError::NoHub(VISIT_DEADLINE))?;
        // The next one is to find the hub alone, which it meets at once then; the peers met at a tracker stay.
        for tracker in swarm.node().tracker_stats().trackers {
            swarm.node().remove_tracker(tracker.url).await?;
        }
        nodes.push((swarm, events));
    }
    Ok(nodes)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// What is answered to a request, by one that may or may not start nodes.
    fn answer(served: &mut Served, request: Value, network: Option<&Arc<NetworkArgs>>) -> Result<Value, String> {
        let request = Request::parse(&request.into()).expect("it is a request")?;
        let (answer, _) = served.obey(request, Clock::new(), network)?;
        Ok(answer.as_json().expect("it is JSON").to_value().expect("it is read"))
    }

    #[test]
    fn it_does_what_it_is_asked_for_one_after_the_other() {
        let mut served = Served::default();
        assert_eq!(answer(&mut served, json!({"bench": "hello"}), None).unwrap()["version"], protocol::VERSION);
        assert!(matches!(served.mode, Mode::Idle));
        assert!(answer(&mut served, json!({"bench": "clock"}), None).unwrap()["clock_us"].is_number());
        for (request, echoes) in [("echo", true), ("sink", false), ("echo", true), ("sink", false)] {
            assert_eq!(answer(&mut served, json!({"bench": request}), None), Ok(json!({"ready": true})));
            assert_eq!(matches!(served.mode, Mode::Echo), echoes, "{request}");
        }
        let Mode::Sink(tally) = &mut served.mode else { panic!("it counts") };
        tally.frame(1.0, 10);
        for expected in [1, 0] {
            let report = answer(&mut served, json!({"bench": "report"}), None).unwrap();
            assert_eq!((&report["frames"], &report["delays_us"]), (&json!(expected), &Value::Null));
            // It counts anew.
            answer(&mut served, json!({"bench": "sink"}), None).unwrap();
        }
    }

    #[test]
    fn what_it_cannot_or_must_not_do_it_refuses() {
        let peers = json!({"bench": "peers", "count": 1, "identifier": "hub", "hub": "ab".repeat(20)});
        for (request, reason) in [
            (json!({"bench": "report"}), "nothing is counted"),
            (json!({"bench": "source", "bytes": 1}), "either messages or frames"),
            (json!({"bench": "source", "frames": 1, "bytes": 100_000}), "at most"),
            (json!({"bench": "dance"}), "no such request"),
            (peers.clone(), "starts no nodes"),
        ] {
            let error = answer(&mut Served::default(), request, None).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
        let tracker = "ws://127.0.0.1:8000".parse().unwrap();
        let network = Arc::new(NetworkArgs::on_loopback(tracker));
        assert_eq!(answer(&mut Served::default(), peers, Some(&network)), Ok(json!({"ready": true})));
    }
}
