//! What a line that was typed asks for.

/// What the commands are, for those who ask.
pub(super) const HELP: &str = "A line goes to everyone, and one that begins with / behind a space, too. /peers lists them with \
                               their keys and safety codes, /msg ID-OR-NAME TEXT writes to one, /nick NAME sets your name, \
                               /pin NAME ID-OR-NAME remembers a peer by a name and /unpin NAME forgets it, /help says this, \
                               /quit leaves.";

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Input<'a> {
    Nothing,
    Say(&'a str),
    Whisper {
        to: &'a str,
        text: &'a str,
    },
    Nick(&'a str),
    Peers,
    /// `who` is an id or a name.
    Pin {
        name: &'a str,
        who: &'a str,
    },
    Unpin(&'a str),
    Help,
    Quit,
    Unknown(&'a str),
}

impl<'a> Input<'a> {
    pub(super) fn parse(line: &'a str) -> Self {
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
            "nick" => match arguments.trim() {
                "" => Self::Help,
                name => Self::Nick(name),
            },
            "peers" | "who" => Self::Peers,
            // A peer that is called what it is to be called may be named once.
            "pin" => match arguments.trim().rsplit_once(' ') {
                Some((name, who)) => Self::Pin { name: name.trim_end(), who },
                None if arguments.trim().is_empty() => Self::Help,
                None => Self::Pin { name: arguments.trim(), who: arguments.trim() },
            },
            "unpin" => match arguments.trim() {
                "" => Self::Help,
                name => Self::Unpin(name),
            },
            "help" => Self::Help,
            "quit" | "exit" => Self::Quit,
            other => Self::Unknown(other),
        }
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
            ("/nick Ann of Cleves", Input::Nick("Ann of Cleves")),
            ("/nick ", Input::Help),
            ("/peers", Input::Peers),
            ("/who", Input::Peers),
            ("/pin Ann of Cleves  ab12 ", Input::Pin { name: "Ann of Cleves", who: "ab12" }),
            ("/pin Ann", Input::Pin { name: "Ann", who: "Ann" }),
            ("/pin", Input::Help),
            ("/unpin Ann of Cleves", Input::Unpin("Ann of Cleves")),
            ("/unpin ", Input::Help),
            ("/help", Input::Help),
            ("/quit\r", Input::Quit),
            ("/dance now", Input::Unknown("dance")),
        ] {
            assert_eq!(Input::parse(line), input, "{line:?}");
        }
    }
}
