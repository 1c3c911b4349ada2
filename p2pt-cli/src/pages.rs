//! `p2pt completions` and `p2pt man`: what a package of the program installs beside it; and what stands at the end of
//! `--help`.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, roman};

use crate::args::{Cli, CompletionsArgs, ManArgs, SECRET_VARIABLE, is_link, quoted};
use crate::terminal::output_error;

/// The exit codes, for people.
const EXIT_STATUS: [(&str, &str); 3] = [
    ("0", "Success."),
    ("1", "Failure; standard error says why in its last line."),
    ("2", "The command line is wrong."),
];

/// What the code 0 means for commands that run until they are stopped.
const STOPPED: &str = "Success, also when Ctrl-C or SIGTERM has stopped it.";

/// For commands that a signal ends at once.
const ENDED_BY_SIGNAL: (&str, &str) = ("130, 143", "Ended by Ctrl-C or SIGTERM, as a shell counts signals.");

/// What commands read beside their arguments, and [that which stands in for options](clap::Arg::get_env).
const ENVIRONMENT: [(&str, &str); 3] = [
    ("NO_COLOR", "If it is set and not empty, there are no colours; see https://no-color.org."),
    ("TERM", "With \"dumb\" there are neither colours nor lines that come and go to say what is being waited for."),
    (
        "RUST_LOG",
        "What is logged to standard error, in place of -v: a level or a list for each part of the program, such as \
         p2pt=debug,p2pt_tracker=trace.",
    ),
];

/// What becomes of a command at Ctrl-C and SIGTERM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnSignal {
    /// It leaves in order, as it does whenever it ends.
    Leaves,
    /// It ends at once, by the signal.
    Ends,
    /// It has ended before anyone could send one.
    IsOver,
}

/// What stands on the page of a command besides its options.
struct Page {
    command: &'static str,
    /// What the code 1 means there, where more is to be said than that it failed.
    failure: Option<&'static str>,
    on_signal: OnSignal,
    /// Command lines, and what each does.
    examples: &'static [(&'static str, &'static str)],
}

const PAGES: [Page; 13] = [
    Page {
        command: "p2pt",
        failure: None,
        on_signal: OnSignal::Leaves,
        examples: &[
            ("p2pt", "Show it working on this machine, without the internet."),
            ("p2pt chat my-room", "Chat with everyone who runs the same command."),
            ("p2pt doctor", "See what this machine and its network let p2pt do."),
        ],
    },
    Page {
        command: "demo",
        failure: Some("A step of the demo has failed."),
        on_signal: OnSignal::Ends,
        examples: &[("p2pt demo", "Start a tracker and two peers, and have them talk.")],
    },
    Page {
        command: "chat",
        failure: Some("It cannot start, or the reader of its output is gone."),
        on_signal: OnSignal::Leaves,
        examples: &[
            ("p2pt chat", "Draw a room, and say how others join it."),
            ("p2pt chat my-room --name Ann", "Chat under a name."),
            ("p2pt chat general --p2chat --name Ann", "Chat with the P2Chat web app."),
            ("p2pt chat my-room --tracker wss://tracker.example", "Meet at a tracker of your own."),
            (
                "p2pt chat --secret-file -",
                "Chat in a room with a secret: it asks for the link that p2pt room new has made.",
            ),
            (
                "p2pt chat my-room --key default --known-peers default",
                "Be known by your key, and know again whom you have pinned.",
            ),
            ("p2pt chat my-room --known-peers default --only ann,ben", "Meet these two, and nobody else."),
        ],
    },
    Page {
        command: "tracker",
        failure: Some("It cannot listen, or the certificate cannot be used."),
        on_signal: OnSignal::Leaves,
        examples: &[
            ("p2pt tracker", "Serve ws://127.0.0.1:8000, for this machine alone."),
            (
                "p2pt tracker --listen 0.0.0.0:443 --tls-cert cert.pem --tls-key key.pem",
                "Serve wss:// for everyone; kill -HUP reads the certificate anew.",
            ),
            (
                "p2pt -v tracker --trusted-proxy 127.0.0.1",
                "Serve behind a reverse proxy, and log sockets and refusals.",
            ),
        ],
    },
    Page {
        command: "web",
        failure: Some("It cannot listen, or there are no pages."),
        on_signal: OnSignal::Leaves,
        examples: &[
            ("p2pt web", "Serve the pages on port 8080, and take part in the chat of a room that is drawn."),
            ("p2pt web --identifier my-room --name Ann", "Serve them for a room, and chat under a name."),
            ("p2pt web --listen 127.0.0.1:8080", "Serve this machine alone."),
            ("p2pt web --pages examples/web/dist", "Serve pages that were built in the repository, or others."),
        ],
    },
    Page {
        command: "scrape",
        failure: Some("The tracker cannot be reached, or does not answer in time."),
        on_signal: OnSignal::Ends,
        examples: &[("p2pt scrape wss://tracker.example my-room", "Count the members of a swarm.")],
    },
    Page {
        command: "pipe",
        failure: Some("It cannot start, its output is not read any more, or a second signal interrupted it."),
        on_signal: OnSignal::Leaves,
        examples: &[
            ("p2pt pipe my-app", "Print events as JSON Lines and take commands: messages, bytes, streams."),
            (
                "echo '{\"peers\":true}' | p2pt pipe my-app --loopback --no-default-trackers",
                "Ask one question and stop.",
            ),
            (
                "p2pt pipe my-app --secret-file app.secret --key app.key",
                "Be in a room with a secret, under a key of one's own.",
            ),
        ],
    },
    Page {
        command: "key",
        failure: Some("There is no key, or one already, or others can read it."),
        on_signal: OnSignal::IsOver,
        examples: &[
            ("p2pt key new", "Make your key, for --key default, and print its public part for others to know."),
            ("p2pt key new server.key", "Make one in a file, for --key server.key."),
            ("p2pt key show", "Print the public key again."),
        ],
    },
    Page {
        command: "room",
        failure: Some("The name makes no link, or cannot be drawn as a QR code."),
        on_signal: OnSignal::IsOver,
        examples: &[
            ("p2pt room new", "Make a room, and print its link and a QR code of it."),
            ("p2pt room new our-table > table.link", "Make one with a name, for --secret-file table.link."),
        ],
    },
    Page {
        command: "doctor",
        failure: Some("A check has found something bad; what to do stands below it."),
        on_signal: OnSignal::Ends,
        examples: &[
            ("p2pt doctor", "Look at the default trackers and STUN servers, and at this machine."),
            ("p2pt doctor us", "With the same command on another machine, look at the path between the two."),
            ("p2pt doctor --json | jq '.findings[] | select(.verdict != \"good\")'", "Read it by a program."),
        ],
    },
    Page {
        command: "completions",
        failure: None,
        on_signal: OnSignal::IsOver,
        examples: &[
            ("p2pt completions bash > ~/.local/share/bash-completion/completions/p2pt", "Install them for bash."),
            ("p2pt completions zsh > ~/.zfunc/_p2pt", "For zsh, with fpath+=~/.zfunc before compinit in ~/.zshrc."),
            ("p2pt completions fish > ~/.config/fish/completions/p2pt.fish", "For fish."),
            ("p2pt completions bash > /etc/bash_completion.d/p2pt", "For all who use bash on this machine, as root."),
        ],
    },
    Page {
        command: "man",
        failure: None,
        on_signal: OnSignal::IsOver,
        examples: &[
            ("p2pt man | man -l -", "Read the page of the program."),
            ("p2pt man chat | man -l -", "Read the page of a command."),
            ("p2pt man --folder ~/.local/share/man/man1", "Install the pages."),
        ],
    },
    Page {
        command: "bench",
        failure: Some("No partner was met, something was lost, or a test was not done in time."),
        on_signal: OnSignal::Leaves,
        examples: &[
            ("p2pt bench", "Measure on this machine."),
            ("p2pt bench my-bench --serve", "Be the partner of those who measure."),
            ("p2pt bench my-bench --json", "Measure with that partner."),
        ],
    },
];

impl Page {
    fn of(command: &Command) -> Option<&'static Self> {
        let name = command.get_name();
        PAGES.iter().find(|page| page.command == name.rsplit('-').next().unwrap_or(name))
    }

    fn exit_status(&self) -> Vec<(&'static str, &'static str)> {
        let mut codes = EXIT_STATUS.to_vec();
        if let Some(failure) = self.failure {
            codes[1].1 = failure;
        }
        match self.on_signal {
            OnSignal::Leaves => codes[0].1 = STOPPED,
            OnSignal::Ends => codes.push(ENDED_BY_SIGNAL),
            OnSignal::IsOver => {}
        }
        codes
    }

    /// What stands at the end of `--help`.
    fn help(&self) -> String {
        let mut help = "Examples:\n".to_owned();
        for (line, effect) in self.examples {
            let _ = writeln!(help, "  {line}\n          {effect}");
        }
        help.push_str("\nExit codes:\n");
        for (code, meaning) in self.exit_status() {
            let _ = writeln!(help, "  {code:<8}  {meaning}");
        }
        help.push_str("\nEnvironment variables: p2pt man | man -l -");
        help
    }
}

/// The command line, with what stands at the end of its help.
pub(crate) fn command() -> Command {
    fn documented(command: Command) -> Command {
        let Some(page) = Page::of(&command) else { return command };
        command
            .after_help("Exit codes: 0 success, 1 failure, 2 a wrong command line. More with --help.")
            .after_long_help(page.help())
            .mut_subcommands(documented)
    }
    documented(Cli::command())
}

/// What is wrong with a command line, with a tip where clap has none that leads anywhere. `command` is the first argument
/// that is no option.
pub(crate) fn advised(mut error: clap::Error, command: Option<&str>) -> clap::Error {
    let named = |kind| match error.get(kind) {
        Some(ContextValue::String(name)) => Some(name.clone()),
        _ => None,
    };
    let tip = match error.kind() {
        // A misspelt command has a tip already.
        ErrorKind::InvalidSubcommand if error.get(ContextKind::SuggestedSubcommand).is_none() => {
            named(ContextKind::InvalidSubcommand).map(|room| format!("to chat: p2pt chat {}", quoted(&room)))
        }
        ErrorKind::UnknownArgument if command == Some("scrape") => named(ContextKind::InvalidArg)
            .filter(|option| option == "--tracker")
            .map(|_| "the URL goes first, without an option: p2pt scrape URL [IDENTIFIER]...".to_owned()),
        _ => None,
    };
    // What stands in the wrong place is shown, but not to all who see the screen or the log.
    if let Some(secret) = named(ContextKind::InvalidValue).and_then(|value| without_secret(&value)) {
        error.insert(ContextKind::InvalidValue, ContextValue::String(secret));
    }
    if let Some(tip) = tip {
        let tips = vec![StyledStr::from(tip)];
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(tips));
    }
    error
}

/// What is shown of a link to a room, without the key.
fn without_secret(value: &str) -> Option<String> {
    let (room, _) = value.split_once('#').filter(|_| is_link(value))?;
    Some(format!("{room}#…"))
}

pub(crate) fn completions(args: &CompletionsArgs) -> io::Result<()> {
    // Into memory first: the generator panics where a write fails.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "p2pt", &mut script);
    print(&script)
}

pub(crate) fn man(args: &ManArgs) -> io::Result<()> {
    let mut command = command().disable_help_subcommand(true);
    command.build();
    let Some(folder) = &args.folder else {
        let of = match &args.command {
            None => &command,
            // As the pages are called: `key-new` is a part of `key`.
            Some(name) => name
                .split('-')
                .try_fold(&command, |command, part| command.find_subcommand(part))
                .ok_or_else(|| io::Error::other(format!("there is no command {name:?}; p2pt --help lists them")))?,
        };
        let mut page = Vec::new();
        render(of, &mut page)?;
        return print(&page);
    };
    write_pages(&command, folder)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", folder.display())))
}

/// Writes the page of the program, and one for each command and what it is divided into.
fn write_pages(command: &Command, folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut file = File::create(folder.join(Man::new(command.clone()).get_filename()))?;
    render(command, &mut file)?;
    file.flush()?;
    let parts = command.get_subcommands().filter(|command| !command.is_hide_set());
    parts.into_iter().try_for_each(|part| write_pages(part, folder))
}

/// Renders a page, in the order that man-pages(7) recommends.
fn render(command: &Command, out: &mut dyn Write) -> io::Result<()> {
    let man = Man::new(command.clone());
    man.render_title(out)?;
    man.render_name_section(out)?;
    man.render_synopsis_section(out)?;
    man.render_description_section(out)?;
    man.render_options_section(out)?;
    if command.has_subcommands() {
        man.render_subcommands_section(out)?;
    }
    if let Some(page) = Page::of(command) {
        let mut roff = Roff::new();
        section(&mut roff, "EXIT STATUS", page.exit_status());
        let by_options = command.get_arguments().filter_map(|argument| {
            let option = argument.get_long()?;
            let name = match argument.get_env() {
                Some(name) => name.to_str()?,
                None if option == "secret" => SECRET_VARIABLE,
                None => return None,
            };
            Some((name.to_owned(), format!("What --{option} says, where it is not given.")))
        });
        let environment = ENVIRONMENT.iter().map(|(name, effect)| ((*name).to_owned(), (*effect).to_owned()));
        section(&mut roff, "ENVIRONMENT", environment.chain(by_options));
        section(&mut roff, "EXAMPLES", page.examples.iter().copied());
        roff.to_writer(out)?;
    }
    // Commands have none of their own.
    let has_version = command.get_version().or(command.get_long_version()).is_some();
    if has_version { man.render_version_section(out) } else { Ok(()) }
}

/// A section of terms with what each means.
fn section<T: Into<String>>(roff: &mut Roff, title: &str, terms: impl IntoIterator<Item = (T, T)>) {
    roff.control("SH", [title]);
    for (term, meaning) in terms {
        roff.control("TP", []);
        let (term, meaning): (Inline, Inline) = (bold(term), roman(meaning));
        roff.text([term]).text([meaning]);
    }
}

fn print(text: &[u8]) -> io::Result<()> {
    let mut out = io::stdout();
    out.write_all(text).and_then(|()| out.flush()).map_err(output_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_and_its_examples_are_command_lines() {
        for name in Cli::command().get_subcommands().map(Command::get_name).filter(|name| *name != "help") {
            assert!(PAGES.iter().any(|page| page.command == name), "{name}");
        }
        for (line, _) in PAGES.iter().flat_map(|page| page.examples) {
            let words = line.split(['|', '>']).find(|part| part.trim_start().starts_with("p2pt")).expect(line);
            let parsed = command().try_get_matches_from(words.split_whitespace());
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
        }
    }
}
