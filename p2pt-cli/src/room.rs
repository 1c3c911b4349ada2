//! `p2pt room`: links to rooms that only those find and join who have the link.

use std::fmt::Write as _;
use std::io::{self, IsTerminal};

use p2pt::trust::RoomLink;
use qrcode::{Color, EcLevel, QrCode};

use crate::Failure;
use crate::args::{RoomArgs, RoomCommand, quoted};
use crate::chat::draw_room;
use crate::terminal::{Terminal, colours_wanted};

/// Light modules around a code, on each side: what a reader needs, by the standard.
const QUIET: usize = 4;

/// Columns that any terminal has. A code that is broken into lines is none.
const COLUMNS: usize = 80;

pub(crate) fn run(args: RoomArgs) -> Result<(), Failure> {
    let RoomCommand::New { name, qr } = args.command;
    let link = RoomLink::draw(&name.unwrap_or_else(draw_room), &mut rand::rng()).reveal();
    let mut terminal = Terminal::stdout();
    let is_read_by_people = io::stdout().is_terminal();
    // A name that is too long makes a link that leads nowhere.
    RoomLink::parse(&link)?;
    // Programs, and a file for --secret-file, take the link alone.
    terminal.line(&*link)?;
    // With the least redundancy, since a screen has no stains.
    let code = QrCode::with_error_correction_level(link.as_bytes(), EcLevel::L);
    match code {
        Err(error) if qr => return Err(error.into()),
        Ok(code) if qr || (is_read_by_people && colours_wanted() && code.width() + 2 * QUIET <= COLUMNS) => {
            terminal.line(format_args!("\n{}", blocks(&code)))?;
        }
        _ => {}
    }
    if is_read_by_people {
        terminal.line(format_args!("Others join with: p2pt chat {}", quoted(&link)))?;
        terminal.line("Whoever has the link can join and read along: give it to those alone who may.")?;
        terminal
            .line("To keep it off the command line, which all who use a machine can see: p2pt chat --secret-file -")?;
    }
    Ok(())
}

/// Two rows of modules in each line. Both colours are set, black on white, since a code drawn in those of the terminal is
/// inverted on a dark one, and many readers do not see it then.
fn blocks(code: &QrCode) -> String {
    let width = code.width() + 2 * QUIET;
    let is_dark = |x: usize, y: usize| {
        let inside = |at: usize| at.checked_sub(QUIET).filter(|at| *at < code.width());
        matches!((inside(x), inside(y)), (Some(x), Some(y)) if code[(x, y)] == Color::Dark)
    };
    let mut lines = String::new();
    for y in (0..width).step_by(2) {
        lines.push_str("\x1b[38;5;16;48;5;231m");
        for x in 0..width {
            lines.push(match (is_dark(x, y), is_dark(x, y + 1)) {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => ' ',
            });
        }
        // A string takes all that is written.
        let _ = writeln!(lines, "\x1b[0m");
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_black_on_white_with_a_quiet_zone() {
        let code = QrCode::new(b"p2pt:room#abc").unwrap();
        let drawn = blocks(&code);
        let rows: Vec<&str> = drawn.lines().collect();
        let width = code.width() + 2 * QUIET;
        assert_eq!(rows.len(), width.div_ceil(2));
        let mut modules = Vec::new();
        for row in rows {
            let inner = row.strip_prefix("\x1b[38;5;16;48;5;231m").and_then(|row| row.strip_suffix("\x1b[0m")).unwrap();
            assert_eq!(inner.chars().count(), width);
            modules.push(inner.chars().map(|c| matches!(c, '█' | '▀')).collect::<Vec<_>>());
            modules.push(inner.chars().map(|c| matches!(c, '█' | '▄')).collect::<Vec<_>>());
        }
        for (y, row) in modules.iter().take(width).enumerate() {
            for (x, dark) in row.iter().enumerate() {
                let inside = (QUIET..width - QUIET).contains(&x) && (QUIET..width - QUIET).contains(&y);
                let expected = inside && code[(x - QUIET, y - QUIET)] == Color::Dark;
                assert_eq!(*dark, expected, "{x} {y}");
            }
        }
    }
}
