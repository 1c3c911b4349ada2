//! WebSockets to trackers, and how they are opened.

use std::fmt::{self, Debug};
use std::sync::Arc;

use async_trait::async_trait;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig as TlsConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderMap, HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{
    Connector as TlsConnector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config, client_async_with_config,
};

use crate::dial::dial;
use crate::{AnnounceUrl, CertificateError, ConnectError, Family, HeaderError, ProxyUrl, Route};

/// Larger messages end the socket. Offers and answers are below 64 KiB everywhere, but a scrape of all swarms of a
/// big tracker is long.
const MAX_MESSAGE_BYTES: usize = 1 << 20;
/// Read buffer of one socket, allocated at once; most frames are below 4 KiB.
const READ_BUFFER_BYTES: usize = 8 << 10;

/// Opens sockets to trackers. [`WebSocketConnector`] does it over TCP and TLS; another one may use a proxy, or
/// in-memory streams in tests.
#[async_trait]
pub trait Connector: Debug + Send + Sync {
    /// Opens a socket to `url`, over the given address family or, without one, over whichever connects first. The
    /// socket says which way it took and whether there is another ([`Socket::with_route`]), or nothing, and then no
    /// family is ever asked for. Dropping the future gives the attempt up; the caller sets the deadline.
    ///
    /// # Errors
    /// Says what went wrong; the caller tries again later in any case.
    async fn connect(&self, url: &AnnounceUrl, family: Option<Family>) -> Result<Socket, ConnectError>;
}

/// An open WebSocket to a tracker, over any byte stream.
pub struct Socket {
    pub(crate) stream: WebSocketStream<MaybeTlsStream<BoxedStream>>,
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
        let stream = MaybeTlsStream::Plain(Box::new(stream) as BoxedStream);
        let (stream, _) = client_async_with_config(url.as_str(), stream, Some(web_socket_config()))
            .await
            .map_err(handshake_failed)?;
        Ok(Self { stream, route: Route::default() })
    }

    /// Says how the stream reaches the tracker.
    #[must_use]
    pub fn with_route(self, route: Route) -> Self {
        Self { route, ..self }
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

/// Not a `From`: the type would be in the public API then.
fn handshake_failed(error: tungstenite::Error) -> ConnectError {
    match error {
        tungstenite::Error::Io(error) => error.into(),
        tungstenite::Error::Http(response) => ConnectError::Status(response.status().as_u16()),
        other => ConnectError::Handshake(other.to_string()),
    }
}

/// The usual [`Connector`]: TCP, and TLS for `wss`, with the certificate authorities that Mozilla trusts.
#[derive(Debug, Clone)]
pub struct WebSocketConnector {
    roots: RootCertStore,
    tls: Arc<TlsConfig>,
    headers: HeaderMap,
    proxy: Option<ProxyUrl>,
}

impl WebSocketConnector {
    /// Trusts the usual certificate authorities.
    pub fn new() -> Self {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        Self { tls: tls_config(roots.clone()), roots, headers: HeaderMap::new(), proxy: None }
    }

    /// Trusts further certificate authorities or self-signed certificates: one in DER form, or all those in PEM form.
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
            self.roots.add(certificate).map_err(|_| CertificateError)?;
        }
        self.tls = tls_config(self.roots.clone());
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
}

impl Default for WebSocketConnector {
    fn default() -> Self {
        Self::new()
    }
}

/// The provider is named here, since asking for the process-wide default panics where another crate has set none.
fn tls_config(roots: RootCertStore) -> Arc<TlsConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = TlsConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has the cipher suites of TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

#[async_trait]
impl Connector for WebSocketConnector {
    async fn connect(&self, url: &AnnounceUrl, family: Option<Family>) -> Result<Socket, ConnectError> {
        let (stream, route) = match &self.proxy {
            Some(proxy) => (proxy.tunnel(url.host(), url.port()).await?, Route::default()),
            None => dial(url.host(), url.port(), family).await?,
        };
        let mut request = url.as_str().into_client_request().map_err(handshake_failed)?;
        request.headers_mut().extend(self.headers.clone());
        let stream = Box::new(stream) as BoxedStream;
        // Makes no TLS handshake for a `ws` URL.
        let tls = Some(TlsConnector::Rustls(self.tls.clone()));
        let (stream, _) = client_async_tls_with_config(request, stream, Some(web_socket_config()), tls)
            .await
            .map_err(handshake_failed)?;
        Ok(Socket { stream, route })
    }
}
