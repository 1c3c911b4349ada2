//! `p2pt completions` and `p2pt man`: what a package of the program installs beside it.

use std::io::{self, Write};

use clap::CommandFactory;

use crate::args::{Cli, CompletionsArgs, ManArgs};
use crate::terminal::output_error;

pub(crate) fn completions(args: &CompletionsArgs) -> io::Result<()> {
    // Into memory first: the generator panics where a write fails.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "p2pt", &mut script);
    print(&script)
}

pub(crate) fn man(args: &ManArgs) -> io::Result<()> {
    match &args.folder {
        Some(folder) => {
            let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", folder.display()));
            std::fs::create_dir_all(folder).map_err(named)?;
            clap_mangen::generate_to(Cli::command(), folder).map_err(named)
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page)?;
            print(&page)
        }
    }
}

fn print(text: &[u8]) -> io::Result<()> {
    let mut out = io::stdout();
    out.write_all(text).and_then(|()| out.flush()).map_err(output_error)
}
