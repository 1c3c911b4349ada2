//! WebSockets to trackers, and how they are opened.

use std::fmt::{self, Debug};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use futures_util::{Sink as _, Stream as _};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig as TlsConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderMap, HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{
    Connector as TlsConnector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config, client_async_with_config,
};

use super::dial::dial;
use super::first_bytes::{FirstBytes, Watched};
use super::http_answer::{MAX_TARGET_CHARS, refusal, shown};
use super::tls::tls_config;
use crate::connector::{Connector, Incoming, Outgoing};
use crate::session::shorten;
use crate::{
    AnnounceUrl, CertificateError, ConnectError, Family, HeaderError, ProxyUrl, RedirectReason, Route, SocketEnd,
};

/// Larger messages end the socket. Offers and answers are below 64 KiB everywhere, but a scrape of all swarms of a
/// big tracker is long.
const MAX_MESSAGE_BYTES: usize = 1 << 20;
/// Redirects followed in one attempt to connect. One leads from `ws` to `wss` or adds a slash; more are rare.
const MAX_REDIRECTS: usize = 3;
/// Read buffer of one socket, allocated at once; most frames are below 4 KiB.
const READ_BUFFER_BYTES: usize = 8 << 10;

/// An open WebSocket to a tracker, over any byte stream.
pub struct Socket {
    stream: WebSocketStream<MaybeTlsStream<BoxedStream>>,
    /// A frame was handed to the stream and is not yet flushed.
    flushing: bool,
    pub(crate) route: Route,
}

impl Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").finish_non_exhaustive()
    }
}

/// The streams a socket can run over.
pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for S {}

pub(crate) type BoxedStream = Box<dyn ByteStream>;

impl Socket {
    /// Makes the WebSocket handshake over `stream`. For a `wss` URL the stream must be encrypted already.
    ///
    /// # Errors
    /// If the handshake fails.
    pub async fn handshake<S>(url: &AnnounceUrl, stream: S) -> Result<Self, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let first = FirstBytes::default();
        let stream = MaybeTlsStream::Plain(Box::new(Watched::new(stream, first.clone())) as BoxedStream);
        let (stream, _) = client_async_with_config(url.as_str(), stream, Some(web_socket_config()))
            .await
            .map_err(|error| handshake_failed(url, &first, error))?;
        Ok(Self { stream, flushing: false, route: Route::default() })
    }

    /// Says how the stream reaches the tracker.
    #[must_use]
    pub fn with_route(self, route: Route) -> Self {
        Self { route, ..self }
    }

    /// Writes `next`, if there is one. Ready when it has gone out.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        next: &mut Option<Outgoing>,
    ) -> Poll<Result<(), SocketEnd>> {
        let mut stream = Pin::new(&mut self.stream);
        if next.is_some() {
            ready!(stream.as_mut().poll_ready(cx)).map_err(end_by)?;
            if let Some(frame) = next.take() {
                let message = match frame {
                    Outgoing::Text(text) => Message::text(text),
                    Outgoing::Ping => Message::Ping(Vec::new().into()),
                    Outgoing::Close => Message::Close(None),
                };
                stream.as_mut().start_send(message).map_err(end_by)?;
                self.flushing = true;
            }
        }
        if !self.flushing {
            return Poll::Pending;
        }
        ready!(stream.as_mut().poll_flush(cx)).map_err(end_by)?;
        self.flushing = false;
        Poll::Ready(Ok(()))
    }

    /// The next thing that arrives.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        let incoming = match ready!(Pin::new(&mut self.stream).poll_next(cx)) {
            Some(Ok(Message::Text(text))) => Incoming::Frame(Vec::from(tungstenite::Bytes::from(text))),
            Some(Ok(Message::Binary(bytes))) => Incoming::Frame(Vec::from(bytes)),
            Some(Ok(Message::Close(frame))) => {
                // The reply is queued by now; if it does not fit into the stream at once, the tracker does without.
                let _ = Pin::new(&mut self.stream).poll_flush(cx);
                let (code, reason) = frame.map(|frame| (frame.code.into(), shorten(&frame.reason))).unzip();
                Incoming::End(SocketEnd::Closed { code, reason: reason.filter(|reason| !reason.is_empty()) })
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Incoming::Alive,
            Some(Err(error)) => Incoming::End(end_by(error)),
            None => Incoming::End(end_by(tungstenite::Error::ConnectionClosed)),
        };
        Poll::Ready(incoming)
    }
}

fn end_by(error: tungstenite::Error) -> SocketEnd {
    use tungstenite::Error;
    use tungstenite::error::ProtocolError;
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => SocketEnd::Closed { code: None, reason: None },
        Error::Capacity(_) => SocketEnd::Oversized,
        Error::Io(error) => SocketEnd::Broken(error.to_string()),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            SocketEnd::Broken("ended without a closing handshake".to_owned())
        }
        other => SocketEnd::Protocol(other.to_string()),
    }
}

fn web_socket_config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(MAX_MESSAGE_BYTES)
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES))
}

/// Not a `From`: the type would be in the public API then. `first` is how the answer began.
fn handshake_failed(url: &AnnounceUrl, first: &FirstBytes, error: tungstenite::Error) -> ConnectError {
    match error {
        // Behind TLS, TLS came as it had to.
        _ if !url.is_secure() && first.want_tls() => ConnectError::TlsPort,
        tungstenite::Error::Io(error) => error.into(),
        tungstenite::Error::Http(response) => {
            let header = |name: &str| response.headers().get(name).map(HeaderValue::as_bytes);
            let status = response.status().as_u16();
            match header("location").filter(|_| matches!(status, 301 | 302 | 303 | 307 | 308)) {
                Some(target) => {
                    let text = String::from_utf8_lossy(target);
                    let (target, reason) = match url.resolve(&text) {
                        Ok(target) => (target.to_string(), RedirectReason::NotAllowed),
                        Err(_) => (shown(&text, MAX_TARGET_CHARS), RedirectReason::NoUrl),
                    };
                    ConnectError::Redirect { status, target, reason }
                }
                None => ConnectError::Status(refusal(status, header, response.body().as_deref().unwrap_or_default())),
            }
        }
        other => ConnectError::Handshake(other.to_string()),
    }
}

/// The usual [`Connector`]: TCP, and TLS for `wss`, with the certificate authorities that Mozilla trusts.
#[derive(Debug, Clone)]
pub struct WebSocketConnector {
    roots: RootCertStore,
    /// Those that were given besides the usual roots.
    certificates: Vec<CertificateDer<'static>>,
    tls: Arc<TlsConfig>,
    headers: HeaderMap,
    proxy: Option<ProxyUrl>,
    follow_redirects: bool,
}

impl WebSocketConnector {
    /// Trusts the usual certificate authorities.
    pub fn new() -> Self {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let tls = tls_config(roots.clone(), Vec::new());
        Self { tls, roots, certificates: Vec::new(), headers: HeaderMap::new(), proxy: None, follow_redirects: false }
    }

    /// Trusts further certificate authorities or self-signed certificates: one in DER form, or all those in PEM form.
    ///
    /// A tracker that shows one of these very certificates as its own is trusted too, whatever the certificate says that
    /// it is for: `openssl req -x509` makes certificates of authorities. Its names and its dates are checked all the same.
    ///
    /// # Errors
    /// If the bytes are no such certificates.
    pub fn with_root_certificate(mut self, der_or_pem: &[u8]) -> Result<Self, CertificateError> {
        let mut certificates: Vec<CertificateDer<'_>> =
            CertificateDer::pem_slice_iter(der_or_pem).collect::<Result<_, _>>().map_err(|_| CertificateError)?;
        if certificates.is_empty() {
            certificates.push(der_or_pem.into());
        }
        for certificate in certificates {
            let certificate = certificate.into_owned();
            self.roots.add(certificate.clone()).map_err(|_| CertificateError)?;
            self.certificates.push(certificate);
        }
        self.tls = tls_config(self.roots.clone(), self.certificates.clone());
        Ok(self)
    }

    /// Sends a header with every handshake, such as `Origin`, without which some trackers refuse a client. A second one
    /// of the same name replaces the first.
    ///
    /// # Errors
    /// If the name or the value cannot stand in an HTTP header.
    pub fn with_header(mut self, name: &str, value: &str) -> Result<Self, HeaderError> {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| HeaderError::Name)?;
        let mut value = HeaderValue::from_str(value).map_err(|_| HeaderError::Value)?;
        // It may be a token; `Debug` does not show it then.
        value.set_sensitive(true);
        self.headers.insert(name, value);
        Ok(self)
    }

    /// Goes through a proxy to every tracker, which looks up their names. Only trackers: WebRTC goes its own way, and
    /// shows this host's addresses to peers unless it is relay-only. The proxy chooses the address family.
    #[must_use]
    pub fn with_proxy(self, proxy: ProxyUrl) -> Self {
        Self { proxy: Some(proxy), ..self }
    }

    /// Follows HTTP redirects (301, 302, 303, 307, 308) of a tracker, three for an attempt to connect, as long as they stay
    /// at its host name and do not lead from `wss` to `ws`; the port may be another one. Off by default, as in browsers:
    /// each attempt to connect costs the detour, and the URL that it leads to is in the error
    /// ([`ConnectError::Redirect`]).
    #[must_use]
    pub fn follow_redirects(self, follow: bool) -> Self {
        Self { follow_redirects: follow, ..self }
    }

    async fn connect_once(&self, url: &AnnounceUrl, family: Option<Family>) -> Result<Socket, ConnectError> {
        let (stream, route) = match &self.proxy {
            Some(proxy) => (proxy.tunnel(url.host(), url.port()).await?, Route::default()),
            None => dial(url.host(), url.port(), family).await?,
        };
        let first = FirstBytes::default();
        let failed = |error| handshake_failed(url, &first, error);
        let mut request = url.as_str().into_client_request().map_err(failed)?;
        request.headers_mut().extend(self.headers.clone());
        let stream: BoxedStream =
            if url.is_secure() { Box::new(stream) } else { Box::new(Watched::new(stream, first.clone())) };
        // Makes no TLS handshake for a `ws` URL.
        let tls = Some(TlsConnector::Rustls(self.tls.clone()));
        let (stream, _) =
            client_async_tls_with_config(request, stream, Some(web_socket_config()), tls).await.map_err(failed)?;
        Ok(Socket { stream, flushing: false, route })
    }
}

/// Where a redirect leads, if it may be followed.
fn redirected(from: &AnnounceUrl, target: &str, followed: usize) -> Result<AnnounceUrl, RedirectReason> {
    let target = AnnounceUrl::parse(target).map_err(|_| RedirectReason::NoUrl)?;
    if target.host() != from.host() {
        Err(RedirectReason::OtherHost)
    } else if from.is_secure() && !target.is_secure() {
        Err(RedirectReason::Downgrade)
    } else if followed == MAX_REDIRECTS {
        Err(RedirectReason::TooMany)
    } else {
        Ok(target)
    }
}

impl Default for WebSocketConnector {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Connector for WebSocketConnector {
    async fn connect(&self, url: &AnnounceUrl, family: Option<Family>) -> Result<Socket, ConnectError> {
        let (mut url, mut followed) = (url.clone(), 0);
        loop {
            match self.connect_once(&url, family).await {
                Err(ConnectError::Redirect { status, target, .. }) if self.follow_redirects => {
                    match redirected(&url, &target, followed) {
                        Ok(target) => {
                            tracing::debug!(status, %target, "redirected");
                            (url, followed) = (target, followed + 1);
                        }
                        Err(reason) => return Err(ConnectError::Redirect { status, target, reason }),
                    }
                }
                done => return done,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_stay_at_the_host_and_do_not_lose_encryption() {
        use RedirectReason::{Downgrade, NoUrl, OtherHost, TooMany};
        for (from, target, followed, expected) in [
            ("ws://a/", "wss://a/x", 0, Ok("wss://a/x")),
            ("wss://a/", "wss://a:8443/", 2, Ok("wss://a:8443")),
            ("ws://a/", "ws://a:81/", 0, Ok("ws://a:81")),
            ("wss://a/", "ws://a/", 0, Err(Downgrade)),
            ("wss://a/", "wss://b.a/", 0, Err(OtherHost)),
            ("wss://a/", "ws://b/", 0, Err(OtherHost)),
            ("wss://a/", "wss://a/x", 3, Err(TooMany)),
            ("wss://a/", "ftp://a", 0, Err(NoUrl)),
        ] {
            let url = redirected(&AnnounceUrl::parse(from).unwrap(), target, followed);
            assert_eq!(url.as_ref().map(AnnounceUrl::as_str).map_err(|reason| *reason), expected, "{from} to {target}");
        }
    }
}
