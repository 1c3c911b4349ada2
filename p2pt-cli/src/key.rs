//! `p2pt key`: the key by which others know this user from run to run.

use std::io::{self, Write};

use p2pt::trust::NodeKey;

use crate::Failure;
use crate::args::{KeyArgs, KeyCommand};
use crate::terminal::Terminal;
use crate::trust::files;

pub(crate) fn run(args: KeyArgs) -> Result<(), Failure> {
    let mut terminal = Terminal::stdout();
    match args.command {
        KeyCommand::New { file, force } => {
            let is_default = file.is_none();
            let path = file.map_or_else(files::default_key, Ok)?;
            if is_default {
                files::make_folder_of(&path)?;
            }
            let key = NodeKey::random();
            files::write_key(&path, &key, force)?;
            // Programs read the public key; what people are told stands beside it.
            terminal.line(key.public_key())?;
            let option = if is_default { "default".to_owned() } else { crate::args::quoted(&path.to_string_lossy()) };
            let note = format!(
                "This is your public key, for others to know you by. The secret one is in {}, which nobody else should read. \
                 Use it with: p2pt chat --key {option}",
                path.display()
            );
            // That it is not read makes the key no worse.
            let _ = writeln!(io::stderr(), "{}", crate::terminal::clean(&note));
        }
        KeyCommand::Show { file } => {
            let path = file.map_or_else(files::default_key, Ok)?;
            terminal.line(files::read_key(&path)?.public_key())?;
        }
        KeyCommand::File => terminal.line(files::default_key()?.display())?,
    }
    Ok(())
}
