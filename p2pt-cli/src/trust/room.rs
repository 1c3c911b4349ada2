//! Which swarm is joined: that of an identifier, or a room with a secret.

use std::env::{self, VarError};
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use p2pt::SwarmKey;
use p2pt::trust::{LinkError, Passphrase, PassphraseError, RoomLink, RoomSecret, StretchError};
use tokio::task::{JoinError, spawn_blocking};
use zeroize::Zeroizing;

use super::files::{self, FileError};
use crate::args::{SECRET_VARIABLE, Secret, TrustArgs, is_link};

/// The most that is read of the line with a secret.
const MAX_LINE: u64 = 8 << 10;

/// Why a room cannot be joined. None of it shows a secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RoomError {
    #[error("the link to the room: {0}")]
    Link(#[from] LinkError),
    #[error("the secret of the room: {0}")]
    Passphrase(#[from] PassphraseError),
    #[error(transparent)]
    Stretch(#[from] StretchError),
    /// The secret is a passphrase, and there is no identifier.
    #[error("a passphrase needs the name of its room, as all who meet there call it: give an IDENTIFIER")]
    NoName,
    /// The secret is a link, and the identifier is not its room's.
    #[error("the link is to the room {linked:?}, and IDENTIFIER is {given:?}: leave one of them out")]
    OtherRoom { linked: String, given: String },
    /// The identifier is a link, which has a key, and there is a secret besides.
    #[error(
        "IDENTIFIER is a link, which has its key, and there is a secret too: leave out --secret and --secret-file, and unset \
         P2PT_SECRET"
    )]
    TwoSecrets,
    /// `--hidden-name` without a secret.
    #[error("--hidden-name hides a name with a secret, and there is none: --secret-file, P2PT_SECRET, or a link")]
    NothingToHide,
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{SECRET_VARIABLE} is not UTF-8")]
    Variable,
    #[error("standard input: {0}")]
    Input(io::Error),
    /// Ctrl-C while the secret was asked for.
    #[error("interrupted")]
    Interrupted,
    #[error("the secret could not be read: {0}")]
    Thread(#[from] JoinError),
}

/// A swarm to join.
#[derive(Debug)]
pub(crate) struct Room {
    /// What people call it.
    pub(crate) name: String,
    pub(crate) entry: Entry,
}

/// What it takes to be in a swarm.
#[derive(Debug)]
pub(crate) enum Entry {
    /// The name.
    Open,
    /// The link that one was given.
    Link(SwarmKey),
    /// The name and a passphrase.
    Passphrase(SwarmKey),
}

impl Room {
    pub(crate) fn open(name: String) -> Self {
        Self { name, entry: Entry::Open }
    }

    /// What is joined.
    pub(crate) fn key(&self) -> SwarmKey {
        match &self.entry {
            Entry::Open => (&self.name).into(),
            Entry::Link(key) | Entry::Passphrase(key) => key.clone(),
        }
    }

    /// The room with this name, or to which it is a link, and with this secret, if there is one. The time it takes to
    /// stretch a passphrase is spent on another thread.
    pub(crate) async fn find(name: Option<String>, secret: Option<Secret>, is_hidden: bool) -> Result<Self, RoomError> {
        let key = move |secret: &RoomSecret| if is_hidden { SwarmKey::hidden(secret) } else { secret.into() };
        let by_link = |link: RoomLink| Self { entry: Entry::Link(key(&link.secret())), name: link.identifier };
        match (name, secret) {
            (Some(link), None) if is_link(&link) => Ok(by_link(RoomLink::parse(&Zeroizing::new(link))?)),
            (Some(link), Some(_)) if is_link(&link) => Err(RoomError::TwoSecrets),
            (name, Some(Secret(secret))) if is_link(secret.trim_start()) => {
                let link = RoomLink::parse(&secret)?;
                match name {
                    Some(given) if given != link.identifier => {
                        Err(RoomError::OtherRoom { linked: link.identifier, given })
                    }
                    _ => Ok(by_link(link)),
                }
            }
            (None, _) => Err(RoomError::NoName),
            (Some(name), Some(Secret(secret))) => {
                let passphrase = Passphrase::new(&secret)?;
                let (name, secret) = spawn_blocking(move || {
                    RoomSecret::from_passphrase(&name, &passphrase).map(|secret| (name, secret))
                })
                .await??;
                Ok(Self { name, entry: Entry::Passphrase(key(&secret)) })
            }
            (Some(_), None) if is_hidden => Err(RoomError::NothingToHide),
            (Some(name), None) => Ok(Self::open(name)),
        }
    }
}

impl TrustArgs {
    /// The swarm that the options and the identifier name, or `None` if they name none.
    pub(crate) async fn room(&self, identifier: Option<String>) -> Result<Option<Room>, RoomError> {
        let secret = match (&self.secret_file, &self.secret) {
            (Some(file), _) => Some(read_secret(file.clone()).await?),
            (None, Some(secret)) => Some(secret.clone()),
            // A variable that is empty is a secret that is too short, and not a way into an open room.
            (None, None) => match env::var(SECRET_VARIABLE) {
                Ok(secret) => Some(Secret(Zeroizing::new(secret))),
                Err(VarError::NotPresent) => None,
                Err(VarError::NotUnicode(_)) => return Err(RoomError::Variable),
            },
        };
        match (identifier, secret) {
            (None, None) if self.hidden_name => Err(RoomError::NothingToHide),
            (None, None) => Ok(None),
            (identifier, secret) => Room::find(identifier, secret, self.hidden_name).await.map(Some),
        }
    }
}

/// Reads a secret from a file, or from standard input.
async fn read_secret(file: PathBuf) -> Result<Secret, RoomError> {
    if file == Path::new("-") {
        let _silence = Silence::at_a_terminal();
        // The thread may stay in its read; the program ends all the same.
        return tokio::select! {
            line = spawn_blocking(read_line) => Ok(Secret(line?.map_err(RoomError::Input)?)),
            _ = tokio::signal::ctrl_c() => Err(RoomError::Interrupted),
        };
    }
    let secret = files::read(&file)?;
    if let Some(mode) = secret.shared_mode {
        let file = file.display();
        let warning =
            format!("{file}: others on this machine can read or change this secret (mode {mode:04o}): chmod 600");
        // Where nothing can be written, there is nobody to warn.
        let _ = writeln!(io::stderr(), "p2pt: {}", crate::terminal::clean(&warning));
    }
    Ok(Secret(secret.text))
}

/// The first line of standard input. What follows stays there to be read.
fn read_line() -> io::Result<Zeroizing<String>> {
    use std::io::Read as _;
    let mut line = Zeroizing::new(String::with_capacity(MAX_LINE as usize));
    io::stdin().lock().take(MAX_LINE).read_line(&mut line)?;
    if line.len() as u64 >= MAX_LINE {
        return Err(io::Error::other(format!("the first line has {MAX_LINE} bytes or more, and is no secret")));
    }
    Ok(line)
}

/// While it lives, a terminal does not show what is typed.
struct Silence {
    #[cfg(unix)]
    saved: rustix::termios::Termios,
}

impl Silence {
    /// Asks for the secret, if there is a terminal to type it at.
    fn at_a_terminal() -> Option<Self> {
        if !io::stdin().is_terminal() {
            return None;
        }
        // Without the question one is still free to type.
        let _ = write!(io::stderr(), "The link to the room or its passphrase: ").and_then(|()| io::stderr().flush());
        #[cfg(unix)]
        {
            use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
            let saved = tcgetattr(io::stdin()).ok()?;
            let mut silent = saved.clone();
            silent.local_modes.remove(LocalModes::ECHO);
            tcsetattr(io::stdin(), OptionalActions::Now, &silent).ok()?;
            Some(Self { saved })
        }
        #[cfg(not(unix))]
        None
    }
}

#[cfg(unix)]
impl Drop for Silence {
    fn drop(&mut self) {
        // A terminal that is gone needs neither.
        let _ = rustix::termios::tcsetattr(io::stdin(), rustix::termios::OptionalActions::Now, &self.saved);
        let _ = writeln!(io::stderr());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn find(name: Option<&str>, secret: Option<&str>) -> Result<Room, RoomError> {
        let secret = secret.map(|text| Secret(Zeroizing::new(text.to_owned())));
        Room::find(name.map(str::to_owned), secret, false).await
    }

    fn link() -> RoomLink {
        RoomLink { identifier: "our table".to_owned(), key: [7; 32].into() }
    }

    #[tokio::test]
    async fn a_link_is_a_room_wherever_it_stands() {
        let text = link().reveal();
        let expected = SwarmKey::from(link().secret());
        for (name, secret) in
            [(Some(&**text), None), (None, Some(&**text)), (Some("our table"), Some(&*format!(" {}\n", &**text)))]
        {
            let room = find(name, secret).await.unwrap();
            assert_eq!((room.name.as_str(), room.key()), ("our table", expected.clone()));
            assert!(matches!(room.entry, Entry::Link(_)));
        }
        let hidden = Room::find(Some(text.to_string()), None, true).await.unwrap();
        assert_eq!((hidden.key().is_sealed(), expected.is_sealed()), (false, true));
    }

    #[tokio::test]
    async fn a_passphrase_makes_a_room_of_a_name() {
        let room = find(Some("table"), Some(" chance-lemon-bridge-otter-violin\n")).await.unwrap();
        let passphrase = Passphrase::new("chance-lemon-bridge-otter-violin").unwrap();
        assert_eq!(room.key(), RoomSecret::from_passphrase("table", &passphrase).unwrap().into());
        assert!(room.key().is_sealed() && matches!(room.entry, Entry::Passphrase(_)));
        let open = find(Some("table"), None).await.unwrap();
        assert_eq!(open.key(), "table".into());
    }

    #[tokio::test]
    async fn what_names_no_room_is_explained_without_showing_a_secret() {
        let text = link().reveal();
        let cut = &text[..text.len() - 1];
        for (name, secret, complaint) in [
            (Some("room"), Some("s3cret"), "11 characters at least"),
            (None, Some("chance-lemon-bridge-otter-violin"), "give an IDENTIFIER"),
            (Some("room"), Some(&**text), "the link is to the room \"our table\", and IDENTIFIER is \"room\""),
            (Some(&**text), Some("chance-lemon-bridge-otter-violin"), "unset P2PT_SECRET"),
            (Some(cut), None, "part of the link may be missing"),
            (None, Some(cut), "part of the link may be missing"),
            // Never an open room under the text that is left of a link.
            (Some("p2pt:our-table"), None, "the link has no key"),
            (Some("P2PT:our-table#"), None, "begins with \"p2pt:\""),
        ] {
            let error = find(name, secret).await.unwrap_err().to_string();
            assert!(error.contains(complaint), "{name:?} {secret:?}: {error}");
            for part in ["s3cret", "chance-lemon", &cut[cut.len() - 10..]] {
                assert!(!error.contains(part), "{error}");
            }
        }
    }
}
