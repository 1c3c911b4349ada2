//! Files that only their owner should read.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use p2pt::trust::{KeyError, NodeKey};
use zeroize::Zeroizing;

/// The longest secret file that is read: far more than the longest link or passphrase has.
const MAX_BYTES: u64 = 8 << 10;

/// Why a file with a secret cannot be used. None of it shows what is in the file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    /// There is no place for the program's configuration.
    #[error("there is no folder for your configuration: set XDG_CONFIG_HOME or HOME, or name a FILE")]
    NoConfiguration,
    #[error("{}: {error}", .path.display())]
    Io { path: PathBuf, error: io::Error },
    /// There is a key already.
    #[error("{}: there is a file already, and a key that is replaced is lost: name another FILE, or use --force", .0.display())]
    Exists(PathBuf),
    /// There is no key.
    #[error("{}: there is no key: p2pt key new makes one", .0.display())]
    NoKey(PathBuf),
    /// Others can read a key.
    #[error(
        "{}: others on this machine can read or change this key (mode {mode:04o}): chmod 600 it, and if somebody may have read \
         it, make another with p2pt key new",
        .path.display()
    )]
    Shared { path: PathBuf, mode: u32 },
    #[error("{}: this is no key: {error}", .path.display())]
    Key { path: PathBuf, error: KeyError },
    #[error("{}: longer than {MAX_BYTES} bytes, or not UTF-8", .0.display())]
    Text(PathBuf),
}

/// Where the key is unless another file is named.
pub(crate) fn default_key() -> Result<PathBuf, FileError> {
    Ok(configuration()?.join("key"))
}

/// Where the known peers are, where that is asked for.
pub(crate) fn default_known_peers() -> Result<PathBuf, FileError> {
    Ok(configuration()?.join("known-peers.json"))
}

/// The program's folder in the user's configuration.
fn configuration() -> Result<PathBuf, FileError> {
    // As the specification has it, what is no absolute path is as good as nothing.
    let folder = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let of_windows = || if cfg!(windows) { folder("APPDATA") } else { None };
    let of_home = || folder("HOME").map(|home| home.join(".config"));
    let configuration = folder("XDG_CONFIG_HOME").or_else(of_windows).or_else(of_home);
    configuration.map(|folder| folder.join("p2pt")).ok_or(FileError::NoConfiguration)
}

/// Makes the folder of a file, for its owner alone.
pub(crate) fn make_folder_of(path: &Path) -> Result<(), FileError> {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(|error| FileError::Io { path: folder.to_owned(), error })
}

/// Reads a key from a file that no other user of the machine can read.
pub(crate) fn read_key(path: &Path) -> Result<NodeKey, FileError> {
    let secret = match read(path) {
        Err(FileError::Io { error, .. }) if error.kind() == ErrorKind::NotFound => {
            return Err(FileError::NoKey(path.to_owned()));
        }
        read => read?,
    };
    if let Some(mode) = secret.shared_mode {
        return Err(FileError::Shared { path: path.to_owned(), mode });
    }
    NodeKey::from_text(&secret.text).map_err(|error| FileError::Key { path: path.to_owned(), error })
}

/// The text of a file, and its mode if others can read or change it.
#[derive(Debug)]
pub(crate) struct SecretText {
    pub(crate) text: Zeroizing<String>,
    pub(crate) shared_mode: Option<u32>,
}

/// Reads a file with a secret.
pub(crate) fn read(path: &Path) -> Result<SecretText, FileError> {
    let failed = |error| FileError::Io { path: path.to_owned(), error };
    let mut file = File::open(path).map_err(failed)?;
    let shared_mode = shared_mode(&file).map_err(failed)?;
    let text = read_text(&mut file).map_err(failed)?.ok_or_else(|| FileError::Text(path.to_owned()))?;
    Ok(SecretText { text, shared_mode })
}

/// Reads all there is; `None` if it is too long or no text.
fn read_text(from: &mut impl Read) -> io::Result<Option<Zeroizing<String>>> {
    // Made with its whole room, as one that grows leaves what it was behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_BYTES as usize + 1));
    from.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    let text = std::str::from_utf8(&bytes).ok().filter(|_| bytes.len() as u64 <= MAX_BYTES);
    Ok(text.map(|text| Zeroizing::new(text.to_owned())))
}

/// The mode of a file that others can read or change. What is no file, such as a shell's `<(…)`, is not kept.
fn shared_mode(file: &File) -> io::Result<Option<u32>> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let about = file.metadata()?;
        let mode = about.permissions().mode() & 0o777;
        Ok((about.is_file() && mode & 0o077 != 0).then_some(mode))
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        Ok(None)
    }
}

/// Writes a key into a file for its owner alone: whole or not at all, and over what is there only if that is asked for.
pub(crate) fn write_key(path: &Path, key: &NodeKey, replace: bool) -> Result<(), FileError> {
    let failed = |error: io::Error| match error.kind() {
        ErrorKind::AlreadyExists => FileError::Exists(path.to_owned()),
        _ => FileError::Io { path: path.to_owned(), error },
    };
    // Said before anything is made; what comes in between is noticed below.
    if !replace && path.symlink_metadata().is_ok() {
        return Err(FileError::Exists(path.to_owned()));
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.new", std::process::id()));
    let beside = PathBuf::from(beside);
    let written = write_new(&beside, key).and_then(|()| {
        // A second name is refused where the first one is taken, and a renamed file is not.
        if replace { fs::rename(&beside, path) } else { fs::hard_link(&beside, path) }
    });
    // Renamed, it is not there any more.
    let _ = fs::remove_file(&beside);
    written.map_err(failed)
}

fn write_new(path: &Path, key: &NodeKey) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    let mut text = Zeroizing::new(String::with_capacity(128));
    text.push_str(&key.reveal());
    text.push('\n');
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_or_no_text_is_no_secret() {
        let read = |bytes: &[u8]| read_text(&mut &*bytes).unwrap().map(|text| text.to_string());
        assert_eq!(read(b"five words\n").as_deref(), Some("five words\n"));
        assert_eq!(read(&[b'a'; MAX_BYTES as usize]).map(|text| text.len()), Some(MAX_BYTES as usize));
        assert_eq!(read(&[b'a'; MAX_BYTES as usize + 1]), None);
        assert_eq!(read(b"\xff"), None);
    }
}
