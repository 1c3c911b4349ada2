//! Arguments about who this peer is, and whom it meets.

use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand};
use zeroize::Zeroizing;

use super::identifier;

/// What stands above these options in the help.
const HEADING: &str = "Who you are, and whom you meet";

/// The environment variable that holds the secret of a room. It gives way to options, which `clap` would take for a conflict.
pub(crate) const SECRET_VARIABLE: &str = "P2PT_SECRET";

/// Who this peer is, and whom it meets.
#[derive(Debug, Args)]
pub(crate) struct TrustArgs {
    /// Be known by the key in this file, from run to run; `p2pt key new` makes one. The word "default" stands for the file
    /// in your configuration, which `p2pt key file` names [default: a key that is drawn for this run]
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    pub(crate) key: Option<PathBuf>,
    /// Meet in a room that only those find and join who have this secret too: a link p2pt:ROOM#KEY, or a passphrase of five
    /// random words. On the command line, all who use this machine can see it: leave it in the environment, as P2PT_SECRET,
    /// or in a --secret-file
    #[arg(long, value_name = "LINK-OR-PASSPHRASE", conflicts_with = "secret_file", help_heading = HEADING)]
    pub(crate) secret: Option<Secret>,
    /// Read the secret from this file; "-" is the first line of standard input, which is asked for at a terminal
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    pub(crate) secret_file: Option<PathBuf>,
    /// With a secret, hide the name of the room from trackers and nothing else, so that JavaScript peers can join it, by
    /// an identifier that `chat` says at the start, and `pipe` in its event `swarms`
    #[arg(long, help_heading = HEADING)]
    pub(crate) hidden_name: bool,
    /// Meet peers with a key only; JavaScript peers have none
    #[arg(long, conflicts_with = "only", help_heading = HEADING)]
    pub(crate) signed: bool,
    /// Meet these peers only, by their public keys or by the names under which --known-peers has them
    #[arg(long, value_name = "KEY-OR-NAME", value_delimiter = ',', help_heading = HEADING)]
    pub(crate) only: Vec<String>,
    /// Let a peer in only when so many trackers, on different hosts, show its key. This finds out a tracker that shows
    /// another peer than the others do; a stranger who announces at all of them it does not
    #[arg(long, value_name = "K", default_value_t = 1, hide_default_value = true, help_heading = HEADING)]
    pub(crate) require_agreement: usize,
    /// Keep the keys of peers that you have recognised in this file, by the names you pin them under. The word "default"
    /// stands for known-peers.json in your configuration [default: they are kept for this run]
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    pub(crate) known_peers: Option<PathBuf>,
}

/// The text of a secret, which `Debug` does not show and which is erased.
#[derive(Clone)]
pub(crate) struct Secret(pub(crate) Zeroizing<String>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl FromStr for Secret {
    type Err = Infallible;

    /// Any text: what is wrong with a secret is said later, since a complaint about the command line would show it.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(Zeroizing::new(text.to_owned())))
    }
}

#[derive(Debug, Args)]
#[command(disable_help_subcommand = true)]
pub(crate) struct KeyArgs {
    #[command(subcommand)]
    pub(crate) command: KeyCommand,
}

/// What `p2pt key` does. FILE is, unless given, `p2pt/key` in `$XDG_CONFIG_HOME`, which is `~/.config` unless set, and on
/// Windows in `%APPDATA%`.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key in a file that only you can read, and print its public key
    New {
        /// The file [default: $XDG_CONFIG_HOME/p2pt/key, which is ~/.config/p2pt/key unless that is set]
        file: Option<PathBuf>,
        /// Replace the key that is there, which is lost: peers that know it take you for another
        #[arg(long)]
        force: bool,
    },
    /// Print the public key, which is what others may know
    Show {
        /// The file [default: $XDG_CONFIG_HOME/p2pt/key, which is ~/.config/p2pt/key unless that is set]
        file: Option<PathBuf>,
    },
    /// Print the name of the file that is used unless another is given, and that --key default means
    File,
}

#[derive(Debug, Args)]
#[command(disable_help_subcommand = true)]
pub(crate) struct RoomArgs {
    #[command(subcommand)]
    pub(crate) command: RoomCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RoomCommand {
    /// Draw a key for a room, and print the link with which it is joined: at a terminal as a QR code too, which a camera reads
    New {
        /// What the room is called, among those who have the link [default: a name that is drawn]
        #[arg(value_parser = identifier)]
        name: Option<String>,
        /// Print the QR code where the output is no terminal too
        #[arg(long)]
        qr: bool,
    },
}
