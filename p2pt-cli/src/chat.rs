//! `p2pt chat`: a terminal chat with everyone under an identifier.

use std::io::{self, ErrorKind};
use std::time::Duration;

use p2pt::{Event, Events, Peer, PeerId, Swarm};
use tokio::io::BufReader;

use crate::args::ChatArgs;
use crate::lines::{Line, Lines};
use crate::reader::OutputReader;
use crate::signals::StopSignals;
use crate::terminal::{Colour, Terminal, clean, output_error, short};

/// The longest line of a chat, in bytes; `p2pt pipe` takes longer ones.
const MAX_LINE_BYTES: usize = 1 << 20;

/// How long the last lines may take to leave.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

const HELP: &str = "A line goes to everyone. /peers lists them, /msg ID TEXT writes to one, /quit leaves.";

/// What a line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Input<'a> {
    Nothing,
    Say(&'a str),
    Whisper { to: &'a str, text: &'a str },
    Peers,
    Help,
    Quit,
    Unknown(&'a str),
}

impl<'a> Input<'a> {
    fn parse(line: &'a str) -> Self {
        let line = line.trim_end_matches(['\r', '\n']);
        let Some(command) = line.strip_prefix('/') else {
            return if line.trim().is_empty() { Self::Nothing } else { Self::Say(line) };
        };
        let (name, arguments) = command.split_once(' ').unwrap_or((command, ""));
        match name {
            "msg" => match arguments.trim_start().split_once(' ') {
                Some((to, text)) => Self::Whisper { to, text },
                None => Self::Help,
            },
            "peers" => Self::Peers,
            "help" => Self::Help,
            "quit" | "exit" => Self::Quit,
            other => Self::Unknown(other),
        }
    }
}

pub(crate) async fn run(args: ChatArgs) -> Result<(), crate::Failure> {
    let mut signals = StopSignals::with_hangup()?;
    let mut reader = OutputReader::watch();
    let builder = args.network.builder()?.flush_timeout(FLUSH_TIMEOUT);
    let (swarm, events) = builder.join(&args.identifier).await?;
    let mut chat = Chat { swarm, terminal: Terminal::stdout() };
    let ended = tokio::select! {
        ended = chat.converse(&args.identifier, events) => ended,
        () = signals.next() => Ok(()),
        () = reader.gone() => Err(output_error(ErrorKind::BrokenPipe.into())),
    };
    // However it ends, the others are told.
    tokio::select! {
        () = chat.swarm.shutdown() => {}
        // A second signal asks not to wait.
        () = signals.next() => {}
    }
    Ok(ended?)
}

struct Chat {
    swarm: Swarm,
    terminal: Terminal,
}

impl Chat {
    /// Shows what happens and does what is asked for, until the input ends or says to leave.
    async fn converse(&mut self, identifier: &str, mut events: Events) -> io::Result<()> {
        let own_id = short(self.swarm.peer_id());
        self.note(format_args!("You are {own_id}, under {identifier:?}. {HELP}"))?;
        let mut lines = Lines::new(BufReader::new(tokio::io::stdin()), MAX_LINE_BYTES);
        loop {
            tokio::select! {
                line = lines.next() => match line? {
                    Some(Line::Whole(line)) => {
                        if self.obey(Input::parse(&String::from_utf8_lossy(&line)))? {
                            return Ok(());
                        }
                    }
                    Some(Line::TooLong) => self.warn(format_args!("a line is longer than {MAX_LINE_BYTES} bytes"))?,
                    None => return Ok(()),
                },
                Some(event) = events.next() => self.show(event)?,
            }
        }
    }

    /// Does what a line asks for; returns whether it was to leave.
    fn obey(&mut self, input: Input<'_>) -> io::Result<bool> {
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
            Input::Whisper { to, text } => match self.find(to) {
                Ok(peer) => self.send(&peer, text)?,
                Err(problem) => self.warn(problem)?,
            },
            Input::Peers => {
                let peers = self.swarm.peers();
                self.note(format_args!("{} here besides you", peers.len()))?;
                for peer in peers {
                    self.note(peer.id())?;
                }
            }
            Input::Help => self.note(HELP)?,
            Input::Unknown(name) => self.warn(format_args!("there is no /{name}. {HELP}"))?,
            Input::Quit => return Ok(true),
        }
        Ok(false)
    }

    fn find(&self, prefix: &str) -> Result<Peer, String> {
        let prefix = prefix.to_ascii_lowercase();
        let mut found = self.swarm.peers().into_iter().filter(|peer| peer.id().to_string().starts_with(&prefix));
        match (found.next(), found.next()) {
            (Some(peer), None) => Ok(peer),
            (Some(_), Some(_)) => Err(format!("the ids of several peers begin with {prefix}")),
            (None, _) => Err(format!("no peer's id begins with {prefix}")),
        }
    }

    fn send(&mut self, peer: &Peer, text: &str) -> io::Result<()> {
        match peer.queue(text) {
            Ok(()) => Ok(()),
            Err(error) => self.unsent(peer, error),
        }
    }

    fn unsent(&mut self, peer: &Peer, error: impl std::fmt::Display) -> io::Result<()> {
        self.warn(format_args!("not sent to {}: {error}", short(peer.id())))
    }

    fn show(&mut self, event: Event) -> io::Result<()> {
        match event {
            Event::PeerConnected(peer) => self.note(format_args!("{} is here", short(peer.id()))),
            Event::PeerClosed(closed) => {
                if closed.unsent_messages > 0 {
                    let count = closed.unsent_messages;
                    self.warn(format_args!("{count} lines did not reach {}", short(closed.peer.id())))?;
                }
                self.note(format_args!("{} has left", short(closed.peer.id())))
            }
            Event::SendFailed(failed) => self.unsent(&failed.peer, failed.error),
            Event::Message(message) => {
                let from = self.name(message.peer().id());
                self.terminal.line(format_args!("{from} {}", clean(message.payload().as_str())))
            }
            Event::Data(data) => {
                let from = self.name(data.peer.id());
                self.terminal.line(format_args!("{from} ({} bytes of data)", data.frame.len()))
            }
            Event::TrackerConnected(tracker) => self.note(format_args!(
                "{} is reached ({} of {} trackers)",
                tracker.tracker, tracker.connected, tracker.total
            )),
            Event::TrackerWarning { tracker, warning, missed: 0 } => self.warn(format_args!("{tracker}: {warning}")),
            Event::TrackerWarning { tracker, warning, missed } => {
                self.warn(format_args!("{tracker}: {warning} ({missed} more since)"))
            }
            Event::ConnectionFailed(failed) => {
                self.warn(format_args!("no connection to {}: {}", short(failed.peer_id), failed.error))
            }
            Event::OfferFailed(error) => self.warn(format_args!("no peer can be invited: {error}")),
            Event::InvalidFrame(refused) => {
                self.warn(format_args!("from {}: {}", short(refused.peer.id()), refused.error))
            }
            _ => Ok(()),
        }
    }

    fn name(&self, peer: PeerId) -> String {
        self.terminal.paint(Colour::Cyan, format_args!("{}:", short(peer)))
    }

    fn note(&mut self, text: impl std::fmt::Display) -> io::Result<()> {
        let text = self.terminal.paint(Colour::Dim, format_args!("* {text}"));
        self.terminal.line(text)
    }

    fn warn(&mut self, text: impl std::fmt::Display) -> io::Result<()> {
        let text = self.terminal.paint(Colour::Yellow, format_args!("! {}", clean(&text.to_string())));
        self.terminal.line(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_said_and_commands_obeyed() {
        for (line, input) in [
            ("", Input::Nothing),
            ("  \r", Input::Nothing),
            ("hello there\r", Input::Say("hello there")),
            (" /quit", Input::Say(" /quit")),
            ("/msg ab12 how are you", Input::Whisper { to: "ab12", text: "how are you" }),
            ("/msg ab12", Input::Help),
            ("/peers", Input::Peers),
            ("/help", Input::Help),
            ("/quit\r", Input::Quit),
            ("/dance now", Input::Unknown("dance")),
        ] {
            assert_eq!(Input::parse(line), input, "{line:?}");
        }
    }
}
