//! Where the pages come from.

use std::borrow::Cow;
use std::fs;
use std::io;
use std::path::Path;

/// Files by their paths, which begin with `/`.
pub(super) type Files = Vec<(String, Cow<'static, [u8]>)>;

/// Bytes that a folder may have: all of it is held in memory, and a folder that has more was not meant. The pages have
/// 1.2 MB.
const MAX_BYTES: u64 = 64 << 20;

/// Files that a folder may have, for the same reason.
const MAX_FILES: usize = 1000;

include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// The pages that this program was built with.
///
/// # Errors
/// If it was built with none, with what to do.
pub(super) fn embedded() -> io::Result<Files> {
    if PAGES.is_empty() {
        return Err(io::Error::other(
            "this program was built without its pages. In the repository, with Node 20 or later, `examples/web/build` makes \
             them; then `p2pt web --pages examples/web/dist`, or build the program with P2PT_WEB_PAGES naming that folder in \
             full",
        ));
    }
    Ok(PAGES.iter().map(|(path, contents)| ((*path).to_owned(), Cow::Borrowed(*contents))).collect())
}

/// The files in a folder and those below it.
///
/// # Errors
/// In words with the path in them.
pub(super) fn in_folder(folder: &Path) -> io::Result<Files> {
    let mut files = Files::new();
    let mut bytes = 0;
    collect(folder, "", &mut files, &mut bytes)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", folder.display())))?;
    if !files.iter().any(|(path, _)| path == "/index.html") {
        let text = format!("{}: there is no index.html; examples/web/build makes the pages", folder.display());
        return Err(io::Error::other(text));
    }
    Ok(files)
}

/// Collects files; what is no file and no folder, such as a link, which could lead anywhere, is left out.
fn collect(folder: &Path, below: &str, files: &mut Files, bytes: &mut u64) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // A name that is not UTF-8 is in no URL.
        let Ok(name) = entry.file_name().into_string() else { continue };
        let kind = entry.file_type()?;
        let path = format!("{below}/{name}");
        if kind.is_dir() {
            collect(&entry.path(), &path, files, bytes)?;
        } else if kind.is_file() {
            *bytes += entry.metadata()?.len();
            if *bytes > MAX_BYTES || files.len() == MAX_FILES {
                let text = format!("more than {MAX_FILES} files or {} MiB are no folder of pages", MAX_BYTES >> 20);
                return Err(io::Error::other(text));
            }
            files.push((path, Cow::Owned(fs::read(entry.path())?)));
        }
    }
    Ok(())
}
