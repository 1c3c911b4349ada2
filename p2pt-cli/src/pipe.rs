//! `p2pt pipe`: JSON Lines on standard input and output, so that any language can use p2pt.
//!
//! Commands and events flow independently: while the events are not read, peers wait, but commands are still taken.

mod command;
mod event;
mod known;
mod output;

use std::io;
use std::time::Duration;

use p2pt::{Events, NodeError, Peer, PeerId, PendingResponse, Request, RequestError, StartError, Swarm};
use tokio::io::{AsyncBufRead, BufReader};
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::args::{AccessError, PipeArgs};
use crate::lines::{Line, Lines};
use crate::signals::StopSignals;
use command::{BadLine, Command, Respond, SendMessage, To};
use event::{Event, Value};
use known::{KnownConnection, KnownTracker};
use output::{EmitError, Output};

/// The longest line taken: a message of the largest size (64 MiB), with room for escapes.
const MAX_LINE_BYTES: usize = 96 << 20;

/// What is read from standard input at a time.
const READ_BYTES: usize = 256 << 10;

/// How long an event that answers a command may wait while the output is not read; then it is dropped, so that the commands
/// behind it, perhaps a stop, are reached.
const ANSWER_DEADLINE: Duration = Duration::from_secs(30);

/// Bytes that may wait for one peer: as much as the largest message, which may also be larger and wait alone.
const SEND_QUEUE_BYTES: usize = 64 << 20;

/// How long what was commanded before the stop may take to be sent.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the last events may wait to be read.
const FAREWELL_DEADLINE: Duration = Duration::from_secs(3);

/// Why the pipe did not end well.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PipeError {
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("standard input or output: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Emit(#[from] EmitError),
    #[error("the last events were not read")]
    Unread,
    #[error("interrupted while it stopped")]
    Interrupted,
}

pub(crate) async fn run(args: PipeArgs) -> Result<(), PipeError> {
    let mut signals = StopSignals::new()?;
    let builder = args.restrict(args.network.builder()?).request_timeout(args.request_timeout);
    let builder = builder.send_queue_bytes(SEND_QUEUE_BYTES).flush_timeout(FLUSH_TIMEOUT);
    let (swarm, events) = builder.join(&args.identifier).await?;
    let (output, writer) = Output::start(io::stdout());
    output.emit(&Event::Ready { peer_id: swarm.peer_id(), info_hash: swarm.info_hash() }).await?;

    let mut reports = tokio::spawn(report(output.clone(), events));
    let mut pipe = Pipe { swarm, output, asked: JoinSet::new(), partings: JoinSet::new() };
    let lines = Lines::new(BufReader::with_capacity(READ_BYTES, tokio::io::stdin()), MAX_LINE_BYTES);
    let ended = tokio::select! {
        ended = pipe.obey(lines) => ended,
        () = signals.next() => Ok(()),
        // Before the node has stopped it ends only when its reader is gone.
        _ = &mut reports => {
            pipe.swarm.shutdown().await;
            return Err(EmitError::Closed.into());
        }
    };
    tokio::select! {
        left = pipe.leave(reports, writer) => ended.and(left),
        // A second signal asks not to wait.
        () = signals.next() => Err(PipeError::Interrupted),
    }
}

/// Writes what peers and trackers say, until there is no more to come.
async fn report(output: Output, mut events: Events) -> Result<(), EmitError> {
    while let Some(event) = events.next().await {
        let event = match &event {
            p2pt::Event::PeerConnected(peer) => Event::PeerConnected { peer: peer.id() },
            p2pt::Event::PeerClosed(closed) => Event::PeerClosed {
                peer: closed.peer.id(),
                reason: closed.reason.to_string(),
                unacknowledged_bytes: closed.unacknowledged_bytes,
                unsent_messages: closed.unsent_messages,
                unsent_bytes: closed.unsent_bytes,
            },
            p2pt::Event::SendFailed(failed) => {
                Event::Error { tag: None, error: format!("peer {}: {}", failed.peer.id(), failed.error) }
            }
            p2pt::Event::Message(message) => {
                Event::Message { peer: message.peer().id(), id: message.id(), message: Value(message.payload()) }
            }
            p2pt::Event::Data(data) => Event::Data { peer: data.peer.id(), frame: (&data.frame).into() },
            p2pt::Event::InvalidFrame(refused) => {
                Event::Error { tag: None, error: format!("from peer {}: {}", refused.peer.id(), refused.error) }
            }
            p2pt::Event::TrackerConnected(tracker) => Event::TrackerConnected {
                tracker: &tracker.tracker,
                connected: tracker.connected,
                total: tracker.total,
            },
            p2pt::Event::TrackerWarning { tracker, warning, missed } => {
                Event::TrackerWarning { tracker, error: warning.to_string(), missed: *missed }
            }
            p2pt::Event::ConnectionFailed(failed) => Event::ConnectionFailed {
                peer: failed.peer_id,
                tracker: &failed.tracker,
                role: failed.role.into(),
                error: failed.error.to_string(),
                missed: failed.missed,
            },
            p2pt::Event::ConnectionRejected(refused) => Event::ConnectionRejected {
                peer: refused.peer_id,
                tracker: &refused.tracker,
                role: refused.role.into(),
                reason: refused.reason.to_string(),
                missed: refused.missed,
            },
            p2pt::Event::OfferFailed(error) => {
                Event::Error { tag: None, error: format!("no offer could be made: {error}") }
            }
            _ => continue,
        };
        output.emit(&event).await?;
    }
    Ok(())
}

/// Writes what came of a request.
async fn report_response(
    output: Output,
    peer: PeerId,
    tag: String,
    response: PendingResponse,
) -> Result<(), EmitError> {
    match response.await {
        Ok(message) => {
            let (id, said) = (message.id(), Value(message.payload()));
            output.emit(&Event::Response { peer, id, tag: &tag, message: said }).await
        }
        Err(error) => output.emit(&Event::Error { tag: Some(tag), error: format!("peer {peer}: {error}") }).await,
    }
}

fn text(error: impl std::error::Error) -> String {
    error.to_string()
}

/// What a task of the pipe has come to.
fn check(reported: Result<Result<(), EmitError>, JoinError>) -> Result<(), EmitError> {
    reported.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// What commands act on.
struct Pipe {
    swarm: Swarm,
    output: Output,
    /// Responses that are awaited.
    asked: JoinSet<Result<(), EmitError>>,
    /// Closing the connections of those who are sent away or were banned.
    partings: JoinSet<Result<(), NodeError>>,
}

impl Pipe {
    /// Carries out commands, in order, until the input ends or says to stop. Waits for no peer.
    async fn obey(&mut self, mut lines: Lines<impl AsyncBufRead + Unpin>) -> Result<(), PipeError> {
        while let Some(line) = lines.next().await? {
            let command = match line {
                Line::Whole(line) => Command::parse(&line),
                Line::TooLong => {
                    let error = format!("a line is longer than {MAX_LINE_BYTES} bytes");
                    Err(BadLine { tag: None, error })
                }
            };
            match command {
                Ok(None) => {}
                Ok(Some(Command::Stop(_))) => break,
                Ok(Some(command)) => self.carry_out(command).await?,
                Err(BadLine { tag, error }) => self.complain(tag, error).await?,
            }
        }
        Ok(())
    }

    async fn carry_out(&mut self, command: Command) -> Result<(), EmitError> {
        match command {
            Command::Send(SendMessage { peer, message, tag, wait: true }) => match tag {
                Some(tag) => self.ask(peer, tag, |peer| peer.request(message.clone())).await,
                None => self.for_each(peer, None, |peer| peer.queue(message.clone()).map_err(text)).await,
            },
            Command::Send(SendMessage { peer, message, tag, wait: false }) => {
                self.for_each(peer, tag, |peer| peer.try_send(message.clone()).map_err(text)).await
            }
            Command::Respond(Respond { peer, id, message, tag }) => {
                let to = To::Peer(peer);
                match tag {
                    Some(tag) => {
                        let request = |peer: &Peer| peer.request_in_response_to(id.clone(), message.clone());
                        self.ask(to, tag, request).await
                    }
                    None => {
                        let respond = |peer: &Peer| peer.queue_response_to(id.clone(), message.clone());
                        self.for_each(to, None, |peer| respond(peer).map_err(text)).await
                    }
                }
            }
            Command::SendFrame(mut send) => match send.frame() {
                Ok(frame) => {
                    self.for_each(send.peer, send.tag, |peer| peer.queue_frame(frame.clone()).map_err(text)).await
                }
                Err(error) => self.complain(send.tag, error).await,
            },
            Command::AddTracker(url) => match self.swarm.node().add_tracker(&url).await {
                Ok(()) => Ok(()),
                Err(error) => self.complain(None, format!("tracker {url}: {error}")).await,
            },
            Command::RemoveTracker(url) => match self.swarm.node().remove_tracker(&url).await {
                Ok(true) => Ok(()),
                Ok(false) => self.complain(None, format!("tracker {url}: there is no such tracker")).await,
                Err(error) => self.complain(None, format!("tracker {url}: {error}")).await,
            },
            Command::Trackers(_) => {
                let (stats, info_hash) = (self.swarm.node().tracker_stats(), self.swarm.info_hash());
                let trackers = stats.trackers.iter().map(|state| KnownTracker::new(state, &info_hash)).collect();
                self.answer(&Event::Trackers { connected: stats.connected, total: stats.total, trackers }).await
            }
            Command::RequestMorePeers(_) => match self.swarm.request_more_peers().await {
                Ok(()) => Ok(()),
                Err(error) => self.complain(None, error.to_string()).await,
            },
            Command::Peers(_) => {
                let peers = self.swarm.peers().into_iter().map(Into::into).collect();
                self.answer(&Event::Peers { peers }).await
            }
            Command::Stats(id) => match self.swarm.peer(&id) {
                Some(peer) => {
                    let connections = peer.connection_stats().await.into_iter().map(KnownConnection::from).collect();
                    self.answer(&Event::Stats { peer: id, connections }).await
                }
                None => self.not_connected(None, id).await,
            },
            Command::Disconnect(id) => match self.swarm.peer(&id) {
                Some(peer) => {
                    self.part(async move {
                        peer.disconnect().await;
                        Ok(())
                    });
                    Ok(())
                }
                None => self.not_connected(None, id).await,
            },
            Command::Ban(id) => {
                let ban = self.swarm.node().ban(id);
                self.part(ban);
                Ok(())
            }
            Command::Unban(id) if self.swarm.node().unban(&id) => Ok(()),
            Command::Unban(id) => self.complain(None, format!("peer {id} is not banned")).await,
            Command::Banned(_) => {
                let peers = self.swarm.node().banned().iter().map(PeerId::to_string).collect();
                self.answer(&Event::Banned { peers }).await
            }
            Command::Stop(_) => Ok(()),
        }
    }

    /// Queues a request for each peer that is meant, and has what comes of it reported.
    async fn ask(&mut self, to: To, tag: String, request: impl Fn(&Peer) -> Request) -> Result<(), EmitError> {
        while let Some(reported) = self.asked.try_join_next() {
            check(reported)?;
        }
        let mut asked = Vec::new();
        let mut ask = |peer: &Peer| {
            asked.push((peer.id(), request(peer).queue()?));
            Ok::<_, RequestError>(())
        };
        self.for_each(to, Some(tag.clone()), |peer| ask(peer).map_err(text)).await?;
        for (peer, response) in asked {
            self.asked.spawn(report_response(self.output.clone(), peer, tag.clone(), response));
        }
        Ok(())
    }

    /// Closes a peer's connection, for which nothing waits.
    fn part(&mut self, parting: impl Future<Output = Result<(), NodeError>> + Send + 'static) {
        while self.partings.try_join_next().is_some() {}
        self.partings.spawn(parting);
    }

    /// Does something for each peer that is meant; `tag` is what an error bears.
    async fn for_each(
        &mut self,
        to: To,
        tag: Option<String>,
        mut act: impl FnMut(&Peer) -> Result<(), String>,
    ) -> Result<(), EmitError> {
        let peers = match to {
            To::Everyone => self.swarm.peers(),
            To::Peer(id) => self.swarm.peer(&id).into_iter().collect(),
        };
        if peers.is_empty() {
            return match to {
                To::Peer(id) => self.not_connected(tag, id).await,
                // No response will come.
                To::Everyone if tag.is_some() => self.complain(tag, "no peer is connected".to_owned()).await,
                To::Everyone => Ok(()),
            };
        }
        for peer in peers {
            if let Err(error) = act(&peer) {
                self.complain(tag.clone(), format!("peer {}: {error}", peer.id())).await?;
            }
        }
        Ok(())
    }

    async fn not_connected(&self, tag: Option<String>, peer: PeerId) -> Result<(), EmitError> {
        self.complain(tag, format!("peer {peer} is not connected")).await
    }

    async fn complain(&self, tag: Option<String>, error: String) -> Result<(), EmitError> {
        self.answer(&Event::Error { tag, error }).await
    }

    async fn answer(&self, event: &Event<'_>) -> Result<(), EmitError> {
        match timeout(ANSWER_DEADLINE, self.output.emit(event)).await {
            Ok(emitted) => emitted,
            Err(_) => {
                tracing::warn!(?event, "dropped, since standard output is not read");
                Ok(())
            }
        }
    }

    /// Sends what was commanded, leaves politely, and says everything there is to say, `stopped` last.
    async fn leave(
        self,
        mut reports: JoinHandle<Result<(), EmitError>>,
        writer: JoinHandle<io::Result<()>>,
    ) -> Result<(), PipeError> {
        // Shutting down closes what has not been closed yet.
        let Self { swarm, output, mut asked, partings: _ } = self;
        swarm.shutdown().await;
        let last_words = async {
            // Every request has ended with its peer.
            while let Some(reported) = asked.join_next().await {
                check(reported)?;
            }
            match (&mut reports).await {
                Ok(reported) => reported?,
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
            output.emit(&Event::Stopped {}).await?;
            drop(output);
            Ok::<(), PipeError>(())
        };
        let said = timeout(FAREWELL_DEADLINE, last_words).await;
        reports.abort();
        said.map_err(|_| PipeError::Unread)??;
        match timeout(FAREWELL_DEADLINE, writer).await {
            Ok(Ok(written)) => Ok(written?),
            Ok(Err(error)) => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(PipeError::Unread),
        }
    }
}
