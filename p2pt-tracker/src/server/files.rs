//! Files that browsers get on the ports of a tracker, beside the tracker itself.

use std::{
    borrow::Cow,
    collections::HashMap,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    time::timeout,
};
use tokio_tungstenite::tungstenite::http::{HeaderMap, header};

use super::connection::hang_up;

/// How much of a file a client has to take within the [time for it](super::ServerConfig::write_timeout): what a
/// connection of 50 kbit/s takes in ten seconds.
const PART_BYTES: usize = 64 * 1024;

/// Files that a tracker serves to browsers on its ports, for plain HTTP: the pages of an application whose peers meet
/// there, say. None unless some are [added](Self::file).
///
/// They are held in memory, and their paths are compared as they are, so that no request reaches anything else. A path that
/// ends in `/` means the `index.html` there. What the tracker has itself comes first: `/announce`, `/health` and
/// `/stats.json`, and WebSockets everywhere. Browsers keep the files and ask each time whether they have changed. A file may
/// take as long as its client goes on reading it.
///
/// ```
/// use p2pt_tracker::{ServerConfig, StaticFiles};
///
/// let files = StaticFiles::new()
///     .content_security_policy("default-src 'self'")
///     .file("/index.html", "<!doctype html><title>my app</title>".as_bytes());
/// let config = ServerConfig::default().files(files);
/// # let _ = config;
/// ```
#[derive(Clone, Default)]
pub struct StaticFiles(Arc<Inner>);

#[derive(Clone, Default)]
struct Inner {
    files: HashMap<String, Arc<File>>,
    policy: String,
}

struct File {
    content_type: &'static str,
    contents: Cow<'static, [u8]>,
    /// What the contents are told apart by, in quotation marks.
    tag: String,
}

impl fmt::Debug for StaticFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticFiles").field("count", &self.len()).finish_non_exhaustive()
    }
}

impl StaticFiles {
    /// No files.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file under a path, such as `/app/index.html`, in place of one that is there. The end of the path says what it
    /// is: HTML, scripts, styles, JSON, WebAssembly, text, SVG, PNG and icons are known, and browsers save what else there
    /// is.
    #[must_use]
    pub fn file(mut self, path: impl Into<String>, contents: impl Into<Cow<'static, [u8]>>) -> Self {
        let (path, contents) = (path.into(), contents.into());
        // Not secret, and the same in each run of one build, which is all that is asked of it.
        let mut hasher = DefaultHasher::new();
        contents.hash(&mut hasher);
        let file = File {
            content_type: content_type(&path),
            tag: format!("\"{:016x}-{:x}\"", hasher.finish(), contents.len()),
            contents,
        };
        Arc::make_mut(&mut self.0).files.insert(path, Arc::new(file));
        self
    }

    /// Sets the [content security policy](https://www.w3.org/TR/CSP3/) that goes with each file. Characters that no header
    /// field has are left out.
    #[must_use]
    pub fn content_security_policy(mut self, policy: &str) -> Self {
        Arc::make_mut(&mut self.0).policy = policy.chars().filter(|c| matches!(c, ' '..='~')).collect();
        self
    }

    /// How many files there are.
    pub fn len(&self) -> usize {
        self.0.files.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.files.is_empty()
    }

    /// What is to be said to a request for this path, if there is anything.
    pub(super) fn answer(&self, path: &str, headers: &HeaderMap, head_only: bool) -> Option<Answer> {
        let Inner { files, policy } = &*self.0;
        let index = |folder: &str| files.get(&format!("{folder}index.html"));
        let found = if path.ends_with('/') { index(path) } else { files.get(path) };
        let Some(file) = found else {
            // A link without its slash, in which those of the page would lead elsewhere.
            index(&format!("{path}/")).filter(|_| path.starts_with('/'))?;
            let text = format!(
                "HTTP/1.1 308 Permanent Redirect\r\nLocation: {path}/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            return Some(Answer { head: text, file: None });
        };
        let File { content_type, contents, tag } = &**file;
        let policy = if policy.is_empty() { String::new() } else { format!("Content-Security-Policy: {policy}\r\n") };
        let common = format!(
            "ETag: {tag}\r\nCache-Control: no-cache\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n\
             Cross-Origin-Opener-Policy: same-origin\r\n{policy}Connection: close\r\n\r\n"
        );
        if is_known(headers, tag) {
            return Some(Answer { head: format!("HTTP/1.1 304 Not Modified\r\n{common}"), file: None });
        }
        let length = contents.len();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n{common}");
        Some(Answer { head, file: (!head_only).then(|| Arc::clone(file)) })
    }
}

/// Whether the client says that it has the file already.
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let values = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = values.flat_map(|value| value.split(','));
    tags.any(|known| matches!(known.trim(), known if known == "*" || known.trim_start_matches("W/") == tag))
}

fn content_type(path: &str) -> &'static str {
    let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
    match extension.to_ascii_lowercase().as_str() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "wasm" => "application/wasm",
        "txt" => "text/plain; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/vnd.microsoft.icon",
        _ => "application/octet-stream",
    }
}

/// The response to a request for a file.
pub(super) struct Answer {
    head: String,
    /// What follows the head.
    file: Option<Arc<File>>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("has_body", &self.file.is_some()).finish_non_exhaustive()
    }
}

impl Answer {
    /// Writes it, for as long as the client takes a part of it within this time, and hangs up.
    pub(super) async fn write<S>(self, stream: &mut S, patience: Duration) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let body = self.file.as_ref().map_or(&[][..], |file| &*file.contents);
        for part in [self.head.as_bytes()].into_iter().chain(body.chunks(PART_BYTES)) {
            timeout(patience, stream.write_all(part)).await??;
        }
        timeout(patience, hang_up(stream)).await?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(files: &StaticFiles, path: &str) -> Option<String> {
        let answer = files.answer(path, &HeaderMap::new(), false)?;
        Some(answer.head.split("\r\n").next().unwrap_or_default().to_owned())
    }

    #[test]
    fn paths_are_compared_as_they_are() {
        let files =
            StaticFiles::new().file("/index.html", &b"one"[..]).file("/a/index.html", vec![1]).file("/a/b.js", vec![2]);
        assert_eq!(files.len(), 3);
        for path in ["/", "/index.html", "/a/", "/a/b.js"] {
            assert_eq!(status(&files, path).as_deref(), Some("HTTP/1.1 200 OK"), "{path}");
        }
        assert_eq!(status(&files, "/a").as_deref(), Some("HTTP/1.1 308 Permanent Redirect"));
        for path in ["", "/b", "/a/b", "/a/b.js/", "/a/../index.html", "//", "/a/b.js%00", "/%61/b.js", "/A/b.js", "*"]
        {
            assert_eq!(status(&files, path), None, "{path}");
        }
        assert_eq!(status(&StaticFiles::new(), "/"), None);
    }

    #[test]
    fn a_file_that_has_changed_is_another() {
        let tag = |contents: &'static str| {
            let files = StaticFiles::new().file("/a", contents.as_bytes());
            files.0.files["/a"].tag.clone()
        };
        assert_eq!(tag("one"), tag("one"));
        assert_ne!(tag("one"), tag("two"));
        let known = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, value.parse().unwrap());
            is_known(&headers, &tag("one"))
        };
        assert!(known(&tag("one")) && known(&format!("\"x\", W/{}", tag("one"))) && known("*"));
        assert!(!known(&tag("two")) && !known(""));
    }

    #[test]
    fn nothing_breaks_out_of_the_policy() {
        let files = StaticFiles::new().file("/a", &b""[..]).content_security_policy("default-src 'self'\r\nX: y\u{e9}");
        let answer = files.answer("/a", &HeaderMap::new(), false).unwrap();
        assert!(answer.head.contains("\r\nContent-Security-Policy: default-src 'self'X: y\r\n"), "{}", answer.head);
    }
}
