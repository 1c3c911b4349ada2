//! `p2pt pipe`: JSON Lines on standard input and output, so that any language can use p2pt.
//!
//! Commands and events flow independently: while the events are not read, peers wait, but commands are still taken.

mod command;
mod confirm;
mod event;
mod failure;
mod follow;
mod known;
mod output;
#[cfg(test)]
mod page_tests;
mod report;
mod streams;
mod swarms;
mod who;

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use p2pt::trust::TrustStore;
use p2pt::{Events, InfoHash, Node, NodeError, PeerId, StartError, Swarm};
use tokio::io::{AsyncBufRead, BufReader};
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::args::{self, AccessError, PipeArgs};
use crate::lines::{Line, Lines};
use crate::reader::OutputReader;
use crate::signals::StopSignals;
use crate::terminal::output_error;
use crate::trust::TrustError;
use crate::trust::room::{Room, RoomError};
use command::{BadLine, Command, EndStream, FinishStream, NewIdentifier, PinKey};
use confirm::MAX_CONFIRMATIONS;
use event::{Event, Limits};
use output::{EmitError, Output};
use swarms::{Joined, Swarms};

/// The longest line taken: a message of the largest size (64 MiB), with room for escapes.
const MAX_LINE_BYTES: usize = 96 << 20;

/// What is read from standard input at a time.
const READ_BYTES: usize = 256 << 10;

/// The version of this protocol. It grows with every change that a program could notice that keeps to PIPE.md.
const PROTOCOL: u32 = 1;

/// The largest raw frame that every peer takes: what a WebRTC stack that says nothing else takes (RFC 8841). Larger ones
/// go as far as the peer announces.
const FRAME_BYTES: usize = 65_536;

/// Connections of one swarm, and bans, that may be closing at the same time.
const MAX_PARTINGS: usize = 1024;

/// Swarms that may be being left at the same time.
const MAX_LEAVING: usize = 256;

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
    Trust(#[from] TrustError),
    #[error(transparent)]
    Room(#[from] RoomError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("signals cannot be listened for: {0}")]
    Signals(io::Error),
    #[error("standard input: {0}")]
    Input(io::Error),
    /// It says by itself what it is about.
    #[error(transparent)]
    Output(io::Error),
    #[error(transparent)]
    Emit(#[from] EmitError),
    #[error("the last events were not read")]
    Unread,
    #[error("interrupted while it stopped")]
    Interrupted,
}

pub(crate) async fn run(args: PipeArgs) -> Result<(), PipeError> {
    let (builder, pins) = args.trust.configure(args.restrict(args.network.builder()?))?;
    let room = args.trust.room(Some(args.identifier.clone())).await?;
    let room = room.unwrap_or_else(|| Room::open(args.identifier.clone()));
    // Until here a signal ends the program at once, also while it waits for a secret.
    let mut signals = StopSignals::with_hangup().map_err(PipeError::Signals)?;
    let mut reader = OutputReader::watch();
    let builder = builder.request_timeout(args.request_timeout);
    let builder = builder.send_queue_bytes(SEND_QUEUE_BYTES).flush_timeout(FLUSH_TIMEOUT);
    let (swarm, events) = builder.join(room.key()).await?;
    let (output, writer) = Output::start(io::stdout());
    let written = output.clone();
    let (node, swarms, partings, leaving) = (swarm.node(), Swarms::default(), JoinSet::new(), JoinSet::new());
    let mut pipe = Pipe { node, pins, output, swarms, partings, leaving };
    let mut signalled = false;
    let ended = tokio::select! {
        ended = pipe.begin(swarm, events, limits(&args)) => ended,
        () = signals.next() => {
            signalled = true;
            Ok(())
        }
        () = reader.gone() => Err(PipeError::Output(output_error(ErrorKind::BrokenPipe.into()))),
        () = written.closed() => Err(EmitError::Closed.into()),
    };
    drop(written);
    let stop = async {
        match ended {
            // Nothing can be said any more, but the other peers are still told.
            Err(error @ (PipeError::Emit(_) | PipeError::Output(_))) => {
                pipe.node.shutdown().await;
                Err(why_closed(error, writer).await)
            }
            ended => {
                let left = pipe.leave(writer).await;
                ended.and(left)
            }
        }
    };
    tokio::select! {
        stopped = stop => stopped,
        () = signals.second(signalled) => Err(PipeError::Interrupted),
    }
}

fn limits(args: &PipeArgs) -> Limits {
    let [receive_memory_bytes, send_memory_bytes] = args.network.memory();
    Limits {
        line_bytes: MAX_LINE_BYTES,
        message_bytes: args.network.limits().max_message_bytes,
        frame_bytes: FRAME_BYTES,
        send_queue_bytes: SEND_QUEUE_BYTES,
        receive_memory_bytes,
        send_memory_bytes,
        confirmations: MAX_CONFIRMATIONS,
        peers: args.network.max_peers(),
    }
}

/// What a task of the pipe has come to.
fn check<T>(reported: Result<Result<T, EmitError>, JoinError>) -> Result<T, EmitError> {
    reported.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// What commands act on.
struct Pipe {
    node: Node,
    pins: Arc<dyn TrustStore>,
    output: Output,
    swarms: Swarms,
    /// Closing the connections of those who were banned.
    partings: JoinSet<Result<(), NodeError>>,
    /// Leaving swarms.
    leaving: JoinSet<Result<(), EmitError>>,
}

impl Pipe {
    /// Says that it is ready, and carries out commands.
    async fn begin(&mut self, swarm: Swarm, events: Events, limits: Limits) -> Result<(), PipeError> {
        let (peer_id, info_hash) = (swarm.peer_id(), swarm.info_hash());
        let (version, protocol) = (env!("CARGO_PKG_VERSION"), PROTOCOL);
        let public_key = self.node.public_key();
        self.output.emit(&Event::Ready { peer_id, public_key, info_hash, version, protocol, limits }).await?;
        self.swarms.push(Joined::new(swarm, events, &self.output));
        self.obey(Lines::new(BufReader::with_capacity(READ_BYTES, tokio::io::stdin()), MAX_LINE_BYTES)).await
    }

    /// Carries out commands, in order, until the input ends or says to stop. Waits for no peer.
    async fn obey(&mut self, mut lines: Lines<impl AsyncBufRead + Unpin>) -> Result<(), PipeError> {
        while let Some(line) = lines.next().await.map_err(PipeError::Input)? {
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
                Ok(Some(command)) => {
                    let tag = command.tag().map(str::to_owned);
                    match self.carry_out(command).await {
                        Ok(()) => {}
                        Err(Unable::Emit(error)) => return Err(error.into()),
                        Err(Unable::Refused(error)) => self.output.complain(tag, error).await?,
                    }
                }
                Err(BadLine { tag, error }) => self.output.complain(tag, error).await?,
            }
        }
        Ok(())
    }

    async fn carry_out(&mut self, command: Command) -> Result<(), Unable> {
        match command {
            Command::Send(send) => self.swarms.find(send.swarm)?.send(send).await?,
            Command::Respond(respond) => self.swarms.find(respond.swarm)?.respond(respond).await?,
            Command::SendFrame(send) => self.swarms.find(send.swarm)?.send_frame(send).await?,
            Command::Join(new) => self.join(new).await?,
            Command::Leave(which) => self.start_to_leave(which.swarm)?,
            Command::SetIdentifier(new) => {
                let swarm = new.swarm;
                self.swarms.find(swarm)?;
                let room = room(new).await?;
                self.swarms.find(swarm)?.set_identifier(room).await?;
            }
            Command::Swarms(_) => {
                let swarms = self.swarms.iter().map(Into::into).collect();
                self.output.answer(&Event::Swarms { swarms }).await?;
            }
            Command::AddTracker(url) => {
                let added = self.node.add_tracker(&url).await;
                added.map_err(|error| format!("tracker {url}: {error}"))?;
            }
            Command::RemoveTracker(url) => match self.node.remove_tracker(&url).await {
                Ok(true) => {}
                Ok(false) => return Err(format!("tracker {url}: there is no such tracker").into()),
                Err(error) => return Err(format!("tracker {url}: {error}").into()),
            },
            Command::Trackers(which) => self.swarms.find(which.swarm)?.trackers().await?,
            Command::RequestMorePeers(which) => self.swarms.find(which.swarm)?.request_more_peers().await?,
            Command::Peers(which) => self.swarms.find(which.swarm)?.peers().await?,
            Command::Stats(one) => self.swarms.find(one.swarm)?.stats(one.peer).await?,
            Command::Disconnect(one) => self.swarms.find(one.swarm)?.disconnect(one).await?,
            Command::Cancel(cancel) => self.swarms.find(cancel.swarm)?.cancel(&cancel.of).await?,
            Command::OpenStream(open) => self.swarms.find(open.swarm)?.open_stream(open).await?,
            Command::WriteStream(write) => self.swarms.find(write.swarm)?.write_stream(write).await?,
            Command::FinishStream(FinishStream { stream, tag, swarm }) => {
                let joined = self.swarms.find(swarm)?;
                let finished = joined.streams.finish(stream, tag.clone());
                joined.stream_result(tag, finished).await?;
            }
            Command::ResetStream(EndStream { stream, code, swarm }) => {
                let joined = self.swarms.find(swarm)?;
                let reset = joined.streams.reset(stream, code);
                joined.stream_result(None, reset).await?;
            }
            Command::StopStream(EndStream { stream, code, swarm }) => {
                let joined = self.swarms.find(swarm)?;
                let stopped = joined.streams.stop(stream, code);
                joined.stream_result(None, stopped).await?;
            }
            Command::Ban(id) => {
                // It holds from this call on; the task closes connections.
                let ban = self.node.ban(id);
                while self.partings.try_join_next().is_some() {}
                if self.partings.len() >= MAX_PARTINGS {
                    return Err(format!("peer {id}: {MAX_PARTINGS} others are being sent away").into());
                }
                self.partings.spawn(ban);
            }
            Command::Unban(id) if self.node.unban(&id) => {}
            Command::Unban(id) => return Err(format!("peer {id} is not banned").into()),
            Command::Banned(_) => {
                let peers = self.node.banned().iter().map(PeerId::to_string).collect();
                self.output.answer(&Event::Banned { peers }).await?;
            }
            Command::Trust(asked) => self.swarms.find(asked.swarm)?.trust(asked.peer, asked.name.as_deref()).await?,
            Command::Pin(pin) => self.pin(pin).await?,
            Command::Unpin(name) => match self.node.unpin(&name).await {
                Ok(Some(public_key)) => self.output.answer(&Event::Unpinned { name: &name, public_key }).await?,
                Ok(None) => return Err(format!("no peer is pinned as {name:?}").into()),
                Err(error) => return Err(format!("unpin {name:?}: {error}").into()),
            },
            Command::Pins(_) => {
                let pins = self.pins.pins().into_iter().map(Into::into).collect();
                self.output.answer(&Event::Pins { pins }).await?;
            }
            Command::Stop(_) => {}
        }
        Ok(())
    }

    async fn join(&mut self, new: NewIdentifier) -> Result<(), Unable> {
        if new.swarm.is_some() {
            return Err("join: the `swarm` of an identifier follows from it".to_owned().into());
        }
        let room = room(new).await?;
        let (swarm, events) =
            self.node.join(room.key()).await.map_err(|error| format!("join {:?}: {error}", room.name))?;
        self.swarms.push(Joined::begin(swarm, events, &self.output, &room.name).await?);
        Ok(())
    }

    async fn pin(&mut self, pin: PinKey) -> Result<(), Unable> {
        let PinKey { name, peer, public_key, swarm } = pin;
        let public_key = match (peer, public_key) {
            (Some(peer), None) => self.swarms.find(swarm)?.public_key(peer)?,
            (None, Some(key)) if swarm.is_none() => key,
            _ => return Err("pin: either a `peer`, perhaps of a `swarm`, or a `public_key`".to_owned().into()),
        };
        self.node.pin(&name, &public_key).await.map_err(|error| format!("pin {name:?}: {error}"))?;
        Ok(self.output.answer(&Event::Pinned { name: &name, public_key }).await?)
    }

    fn start_to_leave(&mut self, swarm: Option<InfoHash>) -> Result<(), Unable> {
        while let Some(left) = self.leaving.try_join_next() {
            check(left)?;
        }
        if self.leaving.len() >= MAX_LEAVING {
            return Err(format!("{MAX_LEAVING} swarms are being left already").into());
        }
        self.leaving.spawn(self.swarms.take(swarm)?.leave());
        Ok(())
    }

    /// Sends what was commanded, leaves politely, and says everything there is to say, `stopped` last.
    async fn leave(self, writer: JoinHandle<io::Result<()>>) -> Result<(), PipeError> {
        // Shutting down closes what has not been closed yet.
        let Self { node, swarms, output, mut leaving, partings: _, pins: _ } = self;
        node.shutdown().await;
        let last_words = async {
            while let Some(left) = leaving.join_next().await {
                check(left)?;
            }
            for joined in swarms.into_joined() {
                joined.wind_up().await?;
            }
            output.emit(&Event::Stopped {}).await?;
            drop(output);
            Ok::<(), PipeError>(())
        };
        match timeout(FAREWELL_DEADLINE, last_words).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(why_closed(error, writer).await),
            Err(_) => return Err(PipeError::Unread),
        }
        match timeout(FAREWELL_DEADLINE, writer).await {
            Ok(Ok(written)) => written.map_err(|error| PipeError::Output(output_error(error))),
            Ok(Err(error)) => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(PipeError::Unread),
        }
    }
}

/// What is to be joined. An error shows no secret.
async fn room(new: NewIdentifier) -> Result<Room, String> {
    let identifier = args::identifier_or_link(&new.identifier)?;
    Room::find(Some(identifier), new.secret, new.hidden_name).await.map_err(|error| error.to_string())
}

/// Why a command was not carried out.
#[derive(Debug)]
enum Unable {
    /// There is an answer, which says why.
    Refused(String),
    /// Nothing can be answered any more.
    Emit(EmitError),
}

impl From<String> for Unable {
    fn from(error: String) -> Self {
        Self::Refused(error)
    }
}

impl From<EmitError> for Unable {
    fn from(error: EmitError) -> Self {
        Self::Emit(error)
    }
}

/// What the writer failed with, if `error` is that it has ended.
async fn why_closed(error: PipeError, writer: JoinHandle<io::Result<()>>) -> PipeError {
    if !matches!(error, PipeError::Emit(EmitError::Closed)) {
        return error;
    }
    match timeout(FAREWELL_DEADLINE, writer).await {
        Ok(Ok(Err(error))) => PipeError::Output(output_error(error)),
        Ok(Err(error)) => std::panic::resume_unwind(error.into_panic()),
        Ok(Ok(Ok(()))) | Err(_) => error,
    }
}
