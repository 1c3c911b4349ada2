//! How what the other side says begins: enough to know a port that speaks TLS where it was asked without.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How an alert of TLS begins: its type and the major version, which is the same in all versions (RFC 8446, 5.1). A server
/// that gets no TLS answers with one.
const TLS_ALERT: [u8; 2] = [0x15, 0x03];

/// What servers say in HTTP on a port that speaks TLS: nginx (`The plain HTTP request was sent to HTTPS port`), those
/// written in Go (`Client sent an HTTP request to an HTTPS server.`) and Apache (`speaking plain HTTP to an SSL-enabled
/// server port`).
const WORDS: [&str; 3] = ["HTTPS port", "HTTPS server", "SSL-enabled"];

/// So many bytes are remembered: the status line, the headers and the beginning of the body of such an answer.
const REMEMBERED: usize = 512;

/// The first bytes that came.
#[derive(Debug, Clone, Default)]
pub(crate) struct FirstBytes(Arc<Mutex<Vec<u8>>>);

impl FirstBytes {
    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the port speaks TLS, or says so: a refusal in HTTP may be of the version 1.0, which no WebSocket begins
    /// with.
    pub(crate) fn want_tls(&self) -> bool {
        let first = self.lock();
        if first.starts_with(&TLS_ALERT) {
            return true;
        }
        let answer = String::from_utf8_lossy(&first);
        let is_refusal = ["HTTP/1.0 400", "HTTP/1.1 400"].iter().any(|status| answer.starts_with(status));
        is_refusal && WORDS.iter().any(|words| answer.contains(words))
    }
}

/// A stream of which the first bytes are remembered.
#[derive(Debug)]
pub(crate) struct Watched<S> {
    stream: S,
    first: Option<FirstBytes>,
}

impl<S> Watched<S> {
    pub(crate) fn new(stream: S, first: FirstBytes) -> Self {
        Self { stream, first: Some(first) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Some(first) = &self.first {
            let mut bytes = first.lock();
            let room = REMEMBERED - bytes.len();
            bytes.extend(buf.filled()[before..].iter().take(room));
            let is_full = bytes.len() == REMEMBERED;
            drop(bytes);
            if is_full {
                self.first = None;
            }
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn an_alert_of_tls_is_known_however_it_comes() {
        for (parts, expected) in [
            (&[&b"\x15"[..], b"\x03", b"\x01\0"][..], true),
            (&[b"\x15\x03\x03\0\x02\x02\x46"], true),
            (&[b"\x15"], false),
            (&[b"HTTP/1.1 400\r\n", b"\x15\x03"], false),
            (&[], false),
        ] {
            let (near, mut far) = duplex(64);
            let first = FirstBytes::default();
            let mut watched = Watched::new(near, first.clone());
            for part in parts {
                far.write_all(part).await.unwrap();
                let mut read = vec![0; part.len()];
                watched.read_exact(&mut read).await.unwrap();
                assert_eq!(read, *part, "what comes is passed on");
            }
            assert_eq!(first.want_tls(), expected, "{parts:?}");
        }
    }
}
