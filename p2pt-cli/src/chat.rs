//! `p2pt chat`: a terminal chat with everyone under an identifier.

mod dialect;
mod editor;
mod input;
mod members;
mod trust;

use std::io::{self, ErrorKind};
use std::time::Duration;

use p2pt::{AnnounceUrl, Event, Events, Peer, PeerId, Swarm, TrackerWarning};

use crate::args::{ChatArgs, quoted};
use crate::lines::Line;
use crate::progress::Waiting;
use crate::reader::OutputReader;
use crate::signals::StopSignals;
use crate::terminal::{Colour, Terminal, clean, explained, option_for, output_error, short};
use crate::trust::room::{Entry, Room};
pub(crate) use dialect::Dialect;
use dialect::{Said, short_name};
use editor::{MAX_LINE_BYTES, Source};
use input::{HELP, Input};
use members::Members;
pub(crate) use trust::Acquaintance;

/// How long the last lines may take to leave.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) async fn run(args: ChatArgs) -> Result<(), crate::Failure> {
    let dialect = if args.p2chat { Dialect::P2Chat } else { Dialect::Plain };
    let (builder, pins) = args.trust.configure(args.network.builder()?.flush_timeout(FLUSH_TIMEOUT))?;
    let room = args.trust.room(args.identifier.clone()).await?.unwrap_or_else(|| Room::open(draw_room()));
    let key = match (&room.entry, dialect) {
        (Entry::Open, dialect) => dialect.identifier(&room.name).into(),
        (_, Dialect::P2Chat) => return Err("--p2chat is for the web app, which knows no rooms with a secret".into()),
        _ => room.key(),
    };
    // Until here a signal ends the program at once, also while it waits for a secret.
    let signals = StopSignals::with_hangup()?;
    let (swarm, events) = builder.join(key).await?;
    let name = args.name.as_deref().map(short_name).filter(|name| !name.is_empty());
    // The web app shows a name beside each line.
    let name = name.or_else(|| args.p2chat.then(|| short(swarm.peer_id())));
    let header = if args.network.has_headers() { " your --header and" } else { "" };
    let mut about = vec![format!("Others join with{header}: {}", command_for_others(&args, &room))];
    about.extend(about_room(&room, &swarm));
    if let Some(key) = swarm.node().public_key().filter(|_| args.trust.key.is_some()) {
        about.push(format!("Others know you by the key {key}"));
    }
    let trackers = args.network.announce_urls();
    let acquaintance = Acquaintance::new(pins, args.trust.known_peers.is_some(), args.trust.asks_for_keys());
    let room = room.name;
    let conversation =
        Conversation { swarm, events, room, dialect, name, about, trackers, acquaintance, is_over_with_input: true };
    hold(conversation, signals).await
}

/// What is said of a room with a secret.
fn about_room(room: &Room, swarm: &Swarm) -> Option<String> {
    if matches!(room.entry, Entry::Open) {
        return None;
    }
    let key = swarm.key();
    Some(match key.identifier().filter(|_| !key.is_sealed()) {
        Some(identifier) => format!(
            "Only those with the secret find this room, but trackers can read along when peers connect. JavaScript peers join \
             by the identifier {identifier}"
        ),
        None => "Only those with the secret find this room and join it".to_owned(),
    })
}

/// What a chat is held with.
pub(crate) struct Conversation {
    pub(crate) swarm: Swarm,
    pub(crate) events: Events,
    /// What people call the room.
    pub(crate) room: String,
    pub(crate) dialect: Dialect,
    pub(crate) name: Option<String>,
    /// How others come here, and what else there is to know at the start.
    pub(crate) about: Vec<String>,
    pub(crate) trackers: Vec<AnnounceUrl>,
    pub(crate) acquaintance: Acquaintance,
    /// Whether it is over when the input ends, even where that is no terminal.
    pub(crate) is_over_with_input: bool,
}

/// Holds a chat in the terminal until it is left, and leaves the swarm in order.
pub(crate) async fn hold(conversation: Conversation, mut signals: StopSignals) -> Result<(), crate::Failure> {
    let mut reader = OutputReader::watch();
    let Conversation { swarm, events, room, dialect, name, about, trackers, acquaintance, is_over_with_input } =
        conversation;
    let (mut source, terminal) = Source::open();
    let ends = is_over_with_input || source.is_editor();
    let mut chat = Chat { swarm, terminal, dialect, name, members: Members::default(), acquaintance };
    let mut signalled = false;
    let conversing = async {
        chat.greet(&room, &about, &trackers)?;
        chat.converse(&mut source, events, ends).await
    };
    let ended = tokio::select! {
        ended = conversing => ended,
        () = signals.next() => {
            signalled = true;
            Ok(())
        }
        () = reader.gone() => Err(output_error(ErrorKind::BrokenPipe.into())),
    };
    // However it ends, the others are told.
    let mut waiting = Waiting::new(false);
    tokio::select! {
        () = waiting.until("the others and the trackers to be told; Ctrl-C does not wait", chat.swarm.shutdown()) => {}
        () = signals.second(signalled) => {}
    }
    Ok(ended?)
}

/// A name for a room where none is given: 40 bits that are in use nowhere else, and that no stranger guesses.
pub(crate) fn draw_room() -> String {
    format!("room-{}", &PeerId::random().to_string()[..10])
}

/// What others type to be in the same room. A secret is not shown: those who may have it get it from those who have.
fn command_for_others(args: &ChatArgs, room: &Room) -> String {
    let (p2chat, network) = (if args.p2chat { " --p2chat" } else { "" }, args.network.for_others());
    let hidden = if args.trust.hidden_name { " --hidden-name" } else { "" };
    match room.entry {
        Entry::Open => format!("p2pt chat {}{p2chat}{network}", quoted(&room.name)),
        Entry::Link(_) => format!("p2pt chat --secret-file -{hidden}{network}, and the link"),
        Entry::Passphrase(_) => {
            format!("p2pt chat {} --secret-file -{hidden}{network}, and the passphrase", quoted(&room.name))
        }
    }
}

struct Chat {
    swarm: Swarm,
    terminal: Terminal,
    dialect: Dialect,
    name: Option<String>,
    members: Members,
    acquaintance: Acquaintance,
}

impl Chat {
    /// Says where this is, and how others come here.
    fn greet(&mut self, room: &str, about: &[String], trackers: &[AnnounceUrl]) -> io::Result<()> {
        let own_id = short(self.swarm.peer_id());
        let name = self.name.as_deref().map(|name| format!(", {name:?}")).unwrap_or_default();
        self.note(format_args!("You are {own_id}{name}, under {room:?}. {HELP}"))?;
        for line in about {
            self.note(line)?;
        }
        let trackers: Vec<String> = trackers.iter().map(ToString::to_string).collect();
        match trackers.as_slice() {
            [] => self.warn("there is no tracker, so no peer is met: --tracker"),
            urls => self.note(format_args!("Looking for them by {}", urls.join(" and "))),
        }
    }

    /// Shows what happens and does what is asked for, until the input says to leave, or ends where that `ends` it.
    async fn converse(&mut self, source: &mut Source, mut events: Events, ends: bool) -> io::Result<()> {
        let mut is_open = true;
        loop {
            tokio::select! {
                line = source.next(), if is_open => match line? {
                    Some(Line::Whole(line)) => {
                        if self.obey(Input::parse(&String::from_utf8_lossy(&line))).await? {
                            return Ok(());
                        }
                    }
                    Some(Line::TooLong) => self.warn(format_args!("a line is longer than {MAX_LINE_BYTES} bytes"))?,
                    None if ends => return Ok(()),
                    None => is_open = false,
                },
                Some(event) = events.next() => self.show(event)?,
                else => return Ok(()),
            }
        }
    }

    /// Does what a line asks for; returns whether it was to leave.
    async fn obey(&mut self, input: Input<'_>) -> io::Result<bool> {
        match input {
            Input::Nothing => {}
            Input::Say(text) => {
                let peers = self.swarm.peers();
                if peers.is_empty() {
                    self.note("no peer is here yet")?;
                }
                for peer in peers {
                    self.send(&peer, text)?;
                }
            }
            Input::Whisper { to, text } => match self.members.find(&self.swarm, to) {
                Ok(peer) => self.send(&peer, text)?,
                Err(problem) => self.warn(problem)?,
            },
            Input::Nick(name) => {
                let name = short_name(name);
                self.note(format_args!("You are {name:?} now"))?;
                self.name = Some(name);
                for peer in self.swarm.peers() {
                    self.introduce(&peer)?;
                }
            }
            Input::Peers => {
                let peers = self.swarm.peers();
                self.note(format_args!("{} here besides you", peers.len()))?;
                for peer in peers {
                    self.describe(&peer)?;
                }
            }
            Input::Pin { name, who } => self.pin(name, who).await?,
            Input::Unpin(name) => self.unpin(name).await?,
            Input::Help => self.note(HELP)?,
            Input::Unknown(name) => self.warn(format_args!("there is no /{name}. {HELP}"))?,
            Input::Quit => return Ok(true),
        }
        Ok(false)
    }

    fn send(&mut self, peer: &Peer, text: &str) -> io::Result<()> {
        match peer.queue(self.dialect.line(self.name.as_deref(), text)) {
            Ok(()) => Ok(()),
            Err(error) => self.unsent(peer, error),
        }
    }

    /// Tells a peer this one's name, if it has one.
    fn introduce(&mut self, peer: &Peer) -> io::Result<()> {
        let Some(name) = self.name.as_deref().and_then(|name| self.dialect.name(name)) else { return Ok(()) };
        match peer.queue(name) {
            Ok(()) => Ok(()),
            Err(error) => self.unsent(peer, error),
        }
    }

    fn unsent(&mut self, peer: &Peer, error: impl std::fmt::Display) -> io::Result<()> {
        let shown = self.members.shown(peer.id());
        self.warn(format_args!("not sent to {shown}: {error}"))
    }

    fn show(&mut self, event: Event) -> io::Result<()> {
        match event {
            Event::PeerConnected(peer) => {
                self.welcome(&peer)?;
                self.introduce(&peer)
            }
            Event::PeerClosed(closed) => {
                let shown = self.members.shown(closed.peer.id());
                self.members.forget(closed.peer.id());
                if closed.unsent_messages > 0 {
                    let count = closed.unsent_messages;
                    self.warn(format_args!("{count} lines did not reach {shown}"))?;
                }
                self.note(format_args!("{shown} has left"))
            }
            Event::SendFailed(failed) => self.unsent(&failed.peer, failed.error),
            Event::Message(message) => self.hear(message.peer(), self.dialect.read(message.payload())),
            Event::Data(data) => {
                let bytes = data.frame.len();
                self.said(&data.peer, format_args!("({bytes} bytes of data)"))
            }
            Event::TrackerConnected(tracker) => self.note(format_args!(
                "{} is reached ({} of {} trackers)",
                tracker.tracker, tracker.connected, tracker.total
            )),
            Event::TrackerWarning { tracker, warning, missed } => {
                let option = match &warning {
                    TrackerWarning::ConnectFailed { error, .. } => option_for(error).unwrap_or_default(),
                    _ => "",
                };
                let more = if missed > 0 { format!(" ({missed} more since)") } else { String::new() };
                self.warn(format_args!("{tracker}: {warning}{option}{more}"))
            }
            Event::ConnectionFailed(failed) => self.warn(format_args!(
                "no connection to {}: {} (`p2pt doctor` says what this network allows)",
                short(failed.peer_id),
                explained(&failed.error)
            )),
            Event::ConnectionRejected(rejected) => self.rejected(&rejected),
            Event::TrustChanged(changed) => self.trust_changed(&changed),
            Event::OfferFailed(error) => self.warn(format_args!("no peer can be invited: {}", explained(&error))),
            Event::ServerWarning(warning) => self.warn(format_args!("{warning}; {}", warning.advice())),
            Event::InvalidFrame(refused) => {
                self.warn(format_args!("from {}: {}", short(refused.peer.id()), refused.error))
            }
            _ => Ok(()),
        }
    }

    fn hear(&mut self, peer: &Peer, said: Said) -> io::Result<()> {
        let before = self.members.shown(peer.id());
        match said {
            Said::Line { text, name } => {
                if let Some(name) = name
                    && self.members.rename(peer.id(), name.clone())
                {
                    self.check_name(peer, &name)?;
                }
                self.said(peer, clean(&text))
            }
            Said::Typing => Ok(()),
            Said::Name(name) => {
                if self.members.rename(peer.id(), name.clone()) {
                    self.note(format_args!("{before} is {}", self.members.shown(peer.id())))?;
                    self.check_name(peer, &name)?;
                }
                Ok(())
            }
        }
    }

    fn said(&mut self, peer: &Peer, text: impl std::fmt::Display) -> io::Result<()> {
        let shown = self.members.shown(peer.id());
        let from = self.terminal.paint(Members::colour(peer.id()), format_args!("{shown}:"));
        let time = self.terminal.time();
        self.terminal.line(format_args!("{time}{from} {text}"))
    }

    fn note(&mut self, text: impl std::fmt::Display) -> io::Result<()> {
        let time = self.terminal.time();
        let text = self.terminal.paint(Colour::Dim, format_args!("* {text}"));
        self.terminal.line(format_args!("{time}{text}"))
    }

    fn warn(&mut self, text: impl std::fmt::Display) -> io::Result<()> {
        let time = self.terminal.time();
        let text = self.terminal.paint(Colour::Yellow, format_args!("! {}", clean(&text.to_string())));
        self.terminal.line(format_args!("{time}{text}"))
    }
}
