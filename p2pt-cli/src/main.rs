//! The `p2pt` program: the library at the command line.

mod above;
mod args;
mod bench;
mod chat;
mod demo;
mod descriptors;
mod doctor;
mod key;
mod lines;
mod pages;
mod pipe;
mod progress;
mod reader;
mod room;
mod scrape;
mod signals;
mod terminal;
mod tracker;
mod trust;
mod web;

use std::env;
use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::FromArgMatches as _;
use tracing::warn;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::args::{Cli, Command};

fn main() -> ExitCode {
    let parsed = pages::command().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(answer) => {
            let command = env::args().skip(1).find(|argument| !argument.starts_with('-'));
            return print(&pages::advised(answer, command.as_deref()));
        }
    };
    let shows_warnings = cli.command.as_ref().is_some_and(Command::shows_warnings);
    let rust_log = env::var(EnvFilter::DEFAULT_ENV).ok();
    let (filter, unusable) = filter(cli.verbose, rust_log.as_deref(), shows_warnings);
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        // Where the log cannot be written, the complaint about that cannot either, and would panic.
        .log_internal_errors(false)
        .with_ansi(io::stderr().is_terminal() && terminal::colours_wanted())
        .init();
    if let Some(error) = unusable {
        warn!(%error, "RUST_LOG cannot be used, and is ignored");
    }
    if let Err(error) = p2pt::tracker::raise_descriptor_limit() {
        warn!(%error, "the limit of open files cannot be raised");
    }
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&*error),
    }
}

/// Says why the program failed.
fn fail(error: &dyn Error) -> ExitCode {
    // Where standard error cannot be written either, the exit code says it alone.
    let _ = writeln!(io::stderr(), "p2pt: {}", terminal::clean(&error.to_string()));
    ExitCode::FAILURE
}

/// Prints the help or the version, which were asked for, or what is wrong with the command line.
fn print(answer: &clap::Error) -> ExitCode {
    match answer.print() {
        Ok(()) => ExitCode::from(u8::try_from(answer.exit_code()).unwrap_or(u8::MAX)),
        Err(error) => fail(&terminal::output_error(error)),
    }
}

fn run(command: Option<Command>) -> Result<(), Failure> {
    descriptors::check()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("the runtime cannot be started: {error}"))?;
    // As a task: what runs in `block_on` itself is woken across threads by everything it waits for.
    let result = runtime.block_on(runtime.spawn(async {
        match command.unwrap_or_default() {
            Command::Demo(args) => demo::run(args).await.map_err(Into::into),
            Command::Chat(args) => chat::run(args).await,
            Command::Tracker(args) => tracker::run(args).await,
            Command::Web(args) => web::run(args).await,
            Command::Scrape(args) => scrape::run(args).await,
            Command::Completions(args) => pages::completions(&args).map_err(Into::into),
            Command::Man(args) => pages::man(&args).map_err(Into::into),
            Command::Key(args) => key::run(args),
            Command::Room(args) => room::run(args),
            Command::Doctor(args) => doctor::run(args).await,
            Command::Bench(args) => bench::run(args).await.map_err(Into::into),
            Command::Pipe(args) => pipe::run(args).await.map_err(Into::into),
        }
    }));
    // A thread may be stuck in a read of standard input or a write to standard output; the program ends all the same.
    runtime.shutdown_background();
    result?
}

/// Why a command failed.
type Failure = Box<dyn Error + Send + Sync>;

/// What is logged: what `RUST_LOG` says, unless it is empty; else warnings, and more of p2pt's crates with `-v`. A command
/// that shows warnings in its own way logs errors alone. Beside it what is wrong with a `RUST_LOG` that cannot be used.
fn filter(verbose: u8, rust_log: Option<&str>, shows_warnings: bool) -> (EnvFilter, Option<ParseError>) {
    // Targets are compared by their beginnings, so `p2pt` is `p2pt_tracker` and all its other crates, too.
    let by_flags = || {
        EnvFilter::new(match verbose {
            0 if shows_warnings => "error",
            0 => "warn",
            1 => "warn,p2pt=debug",
            _ => "warn,p2pt=trace",
        })
    };
    match rust_log.filter(|filter| !filter.is_empty()).map(EnvFilter::try_new) {
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (by_flags(), Some(error)),
        None => (by_flags(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(verbose: u8, rust_log: Option<&str>) -> String {
        filter(verbose, rust_log, false).0.to_string()
    }

    #[test]
    fn more_flags_mean_more_of_p2pt_and_no_more_of_others() {
        let flags = [0, 1, 2, 9].map(|verbose| chosen(verbose, None));
        assert_eq!(flags, ["warn", "p2pt=debug,warn", "p2pt=trace,warn", "p2pt=trace,warn"]);
    }

    #[test]
    fn rust_log_comes_before_flags_if_it_can_be_used() {
        assert_eq!(chosen(2, Some("p2pt_mesh=info")), "p2pt_mesh=info");
        assert_eq!(chosen(1, Some("")), "p2pt=debug,warn");
        assert_eq!(chosen(1, Some("p2pt=very")), "p2pt=debug,warn");
        assert!(filter(1, Some("p2pt=very"), false).1.is_some() && filter(1, Some("warn"), false).1.is_none());
    }

    #[test]
    fn what_a_command_shows_is_not_logged_beside_it() {
        let quiet = |verbose, rust_log| filter(verbose, rust_log, true).0.to_string();
        assert_eq!([quiet(0, None), quiet(0, Some("warn"))], ["error", "warn"]);
        assert_eq!(quiet(1, None), "p2pt=debug,warn");
    }
}
