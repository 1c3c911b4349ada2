//! The `p2pt` program: the library at the command line.

mod args;
mod bench;
mod chat;
mod demo;
mod lines;
mod pipe;
mod scrape;
mod signals;
mod terminal;
mod tracker;

use std::error::Error;
use std::io::{self, IsTerminal};
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::args::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_env_filter(filter(cli.verbose))
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal() && terminal::colours_wanted())
        .init();
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("p2pt: {}", terminal::clean(&error.to_string()));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Option<Command>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    // As a task: what runs in `block_on` itself is woken across threads by everything it waits for.
    let result = runtime.block_on(runtime.spawn(async {
        match command.unwrap_or_default() {
            Command::Demo(args) => demo::run(args).await.map_err(Into::into),
            Command::Chat(args) => chat::run(args).await,
            Command::Tracker(args) => tracker::run(args).await.map_err(Into::into),
            Command::Scrape(args) => scrape::run(args).await,
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

/// What is logged: `-v` says it, else `RUST_LOG`, else warnings.
fn filter(verbose: u8) -> EnvFilter {
    let ours = |level| EnvFilter::new(format!("info,p2pt={level},p2pt_tracker={level},p2pt_transport={level}"));
    match verbose {
        0 => EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn")),
        1 => ours("debug"),
        _ => ours("trace"),
    }
}
