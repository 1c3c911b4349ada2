//! The HTTP request that each socket begins with, and the responses to those that are no WebSocket handshake.
//!
//! The head is read with `httparse` rather than by tungstenite, which takes only `GET` of HTTP/1.1: load balancers ask with
//! `HEAD`, `OPTIONS` and HTTP/1.0 whether a server lives.

use std::{fmt, io};

use httparse::{EMPTY_HEADER, Status};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_tungstenite::tungstenite::{
    handshake::{
        headers::MAX_HEADERS,
        server::{create_response, write_response},
    },
    http::{HeaderMap, HeaderName, HeaderValue, Method, Request as HttpRequest, StatusCode, Uri, Version, header},
};

use super::{
    ServerStats,
    files::{Answer, StaticFiles},
    prometheus,
};

/// The longest request head taken, as in Node. Browsers send about 600 bytes, with many cookies 4 KiB, and a reverse
/// proxy adds what it knows of the client.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// What requests may be: the methods of a server that only shows something.
const METHODS: &str = "GET, HEAD, OPTIONS";

/// How long a browser need not ask again what it may request: a day, of which browsers believe two hours or more.
const PREFLIGHT_SECONDS: &str = "86400";

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// What a client wants of the tracker's port.
#[derive(Debug)]
pub(super) enum Request {
    /// A WebSocket handshake, to be accepted with this response.
    Upgrade { response: Vec<u8> },
    /// Something to look at.
    Page(Page),
    /// A file of the program's own.
    File(Answer),
    /// Which requests may be made, by `OPTIONS`: browsers ask so before a request of another origin.
    Options,
    /// Anything else, and what to say about it.
    Refused(Refusal),
}

/// Whom a port is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Audience {
    /// Peers, and everyone else who reaches it.
    #[default]
    Public,
    /// The operator of the tracker.
    Operator,
}

/// What there is to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Page {
    /// `/`, for people.
    Welcome,
    /// `/health`, for load balancers.
    Health,
    /// `/stats.json`.
    Stats,
    /// `/metrics`, for Prometheus.
    Metrics,
}

/// Why a request gets an error, in words for the author of the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) text: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, text: impl fmt::Display) -> Self {
        Self { status, text: text.to_string() }
    }

    fn bad(text: impl fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    pub(super) fn response(&self, head_only: bool) -> Vec<u8> {
        let extra = match self.status {
            StatusCode::UPGRADE_REQUIRED => "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n".to_owned(),
            StatusCode::METHOD_NOT_ALLOWED => format!("Allow: {METHODS}\r\n"),
            _ => String::new(),
        };
        response(self.status, TEXT, &extra, &self.text, head_only)
    }
}

/// A request's head, and what came after it.
#[derive(Debug)]
pub(super) struct Head {
    request: HttpRequest<()>,
    pub(super) rest: Vec<u8>,
}

impl Head {
    /// Reads a request head, however slowly it comes: the deadline is the caller's. For one that cannot be taken, the
    /// response.
    pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Result<Self, Vec<u8>>> {
        let mut bytes = Vec::with_capacity(1024);
        loop {
            if stream.read_buf(&mut bytes).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match parse(&bytes) {
                Ok(Some((size, request))) => return Ok(Ok(Self { request, rest: bytes.split_off(size) })),
                Ok(None) => {}
                Err(refusal) => return Ok(Err(refusal.response(bytes.starts_with(b"HEAD ")))),
            }
        }
    }

    /// A head that was read elsewhere.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn new(request: HttpRequest<()>, rest: Vec<u8>) -> Self {
        Self { request, rest }
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        self.request.headers()
    }

    /// Whether the response is to end before its body.
    pub(super) fn head_only(&self) -> bool {
        self.request.method() == Method::HEAD
    }

    /// Any path and any origin will do for a WebSocket: announce URLs differ, and web pages are meant to come.
    pub(super) fn route(&self, audience: Audience, files: &StaticFiles) -> Request {
        let (method, version) = (self.request.method(), self.request.version());
        let websocket = names_websocket(self.headers());
        let operator = audience == Audience::Operator;
        if *method == Method::GET && version == Version::HTTP_11 && websocket {
            if operator {
                let text = "this port is for the tracker's operator: /metrics is here, WebSockets are elsewhere";
                return Request::Refused(Refusal::new(StatusCode::NOT_FOUND, text));
            }
            return upgrade(&self.request).map_or_else(Request::Refused, |response| Request::Upgrade { response });
        }
        if *method == Method::OPTIONS {
            return Request::Options;
        }
        if *method != Method::GET && *method != Method::HEAD {
            let text = format!("{method} is not served here, only {METHODS}");
            return Request::Refused(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, text));
        }
        let path = self.request.uri().path();
        let file = if operator { None } else { files.answer(path, self.headers(), self.head_only()) };
        let page = match path {
            "/health" => Page::Health,
            "/stats.json" => Page::Stats,
            "/metrics" if operator => Page::Metrics,
            // HTTP/1.0 has no upgrades, so the header says nothing there, but what is wrong should be known.
            _ if websocket && version == Version::HTTP_10 => {
                let text =
                    "a WebSocket needs HTTP/1.1, and this request is HTTP/1.0: nginx needs `proxy_http_version 1.1`";
                return Request::Refused(Refusal::new(StatusCode::UPGRADE_REQUIRED, text));
            }
            "/" if file.is_none() => Page::Welcome,
            "/announce" => {
                return Request::Refused(Refusal::new(StatusCode::UPGRADE_REQUIRED, WELCOME.trim_end()));
            }
            _ => {
                if let Some(file) = file {
                    return Request::File(file);
                }
                let text = "nothing here; statistics are at /stats.json";
                return Request::Refused(Refusal::new(StatusCode::NOT_FOUND, text));
            }
        };
        Request::Page(page)
    }
}

const WELCOME: &str = "this is a WebTorrent tracker: connect with a WebSocket; statistics are at /stats.json\n";

impl Page {
    /// The whole response; `stats` are asked for where they are to be seen only.
    pub(super) fn response(self, head_only: bool, stats: impl FnOnce() -> ServerStats) -> Vec<u8> {
        let (content_type, body) = match self {
            Self::Welcome => (TEXT, WELCOME.to_owned()),
            Self::Health => (TEXT, "ok\n".to_owned()),
            Self::Stats => (JSON, stats().to_json()),
            Self::Metrics => (prometheus::CONTENT_TYPE, stats().to_prometheus()),
        };
        // For every web page.
        let extra = "Access-Control-Allow-Origin: *\r\nCache-Control: no-store\r\n";
        response(StatusCode::OK, content_type, extra, &body, head_only)
    }
}

/// The response to `OPTIONS`: a web page of any origin may ask for what is here, with whatever headers.
pub(super) fn options() -> Vec<u8> {
    format!(
        "HTTP/1.1 {}\r\nAllow: {METHODS}\r\nAccess-Control-Allow-Origin: *\r\n\
         Access-Control-Allow-Methods: {METHODS}\r\nAccess-Control-Allow-Headers: *\r\n\
         Access-Control-Max-Age: {PREFLIGHT_SECONDS}\r\nConnection: close\r\n\r\n",
        StatusCode::NO_CONTENT
    )
    .into_bytes()
}

/// A whole response; the connection ends with it. `extra` are header lines. The response to `HEAD` names the length of
/// the body and ends before it.
fn response(status: StatusCode, content_type: &str, extra: &str, body: &str, head_only: bool) -> Vec<u8> {
    let length = body.len();
    let body = if head_only { "" } else { body };
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n{extra}Connection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Reads what has come of a request head: how long it is and what it says once it is complete, and until then `None`.
///
/// A request that a proxy before this server could read otherwise is refused, since what one of them takes for the
/// request of one client, the other may take for that of the next: a body, however it is announced, several hosts, and
/// folded lines, which `httparse` refuses.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(usize, HttpRequest<()>)>, Refusal> {
    if bytes.first() == Some(&TLS_HANDSHAKE) {
        return Err(Refusal::bad("this port speaks plain HTTP, not TLS: connect with ws:// or http://"));
    }
    let mut fields = [EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut fields);
    let size = match parsed.parse(bytes) {
        Ok(Status::Complete(size)) if size <= MAX_HEAD_BYTES => size,
        Ok(Status::Partial) if bytes.len() < MAX_HEAD_BYTES => return Ok(None),
        Ok(_) => {
            let text = format!("the request head is longer than {MAX_HEAD_BYTES} bytes");
            return Err(Refusal::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, text));
        }
        Err(httparse::Error::Version) => {
            return Err(Refusal::new(StatusCode::HTTP_VERSION_NOT_SUPPORTED, "HTTP/1.0 and HTTP/1.1 are served here"));
        }
        Err(httparse::Error::TooManyHeaders) => {
            let text = format!("the request has more than {MAX_HEADERS} header fields");
            return Err(Refusal::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, text));
        }
        Err(error) => return Err(Refusal::bad(format_args!("this is no HTTP request: {error}"))),
    };
    Ok(Some((size, checked(&parsed)?)))
}

/// The first byte of a TLS connection (a record of type handshake), and of no HTTP request.
const TLS_HANDSHAKE: u8 = 0x16;

/// A complete head as the types of the crate `http`, if nothing in it is ambiguous.
fn checked(parsed: &httparse::Request<'_, '_>) -> Result<HttpRequest<()>, Refusal> {
    let mut headers = HeaderMap::with_capacity(parsed.headers.len());
    for field in parsed.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(Refusal::bad)?;
        let value = HeaderValue::from_bytes(field.value).map_err(Refusal::bad)?;
        headers.append(name, value);
    }
    for once in [header::HOST, header::SEC_WEBSOCKET_KEY, header::SEC_WEBSOCKET_VERSION] {
        if headers.get_all(&once).iter().count() > 1 {
            return Err(Refusal::bad(format_args!("the header field {once} is there more than once")));
        }
    }
    let empty = |length: &HeaderValue| length.as_bytes() == b"0";
    if headers.contains_key(header::TRANSFER_ENCODING) || !headers.get_all(header::CONTENT_LENGTH).iter().all(empty) {
        return Err(Refusal::bad("no request to this server has a body"));
    }
    let mut request = HttpRequest::new(());
    *request.method_mut() = parsed.method.unwrap_or_default().parse().map_err(Refusal::bad)?;
    *request.uri_mut() = parsed.path.unwrap_or_default().parse::<Uri>().map_err(Refusal::bad)?;
    *request.version_mut() = if parsed.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    *request.headers_mut() = headers;
    Ok(request)
}

/// Whether `Upgrade` asks for a WebSocket; other protocols, such as the HTTP/2 that curl offers, are passed over.
fn names_websocket(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::UPGRADE).iter();
    let mut names = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    names.any(|name| name.trim_ascii().eq_ignore_ascii_case(b"websocket"))
}

/// The response that accepts a WebSocket handshake.
fn upgrade(request: &HttpRequest<()>) -> Result<Vec<u8>, Refusal> {
    if let Some(version) = request.headers().get(header::SEC_WEBSOCKET_VERSION)
        && version != "13"
    {
        let text = "WebSockets of version 13 are served here (RFC 6455)";
        return Err(Refusal::new(StatusCode::UPGRADE_REQUIRED, text));
    }
    let mut response = Vec::new();
    let accepted = create_response(request).and_then(|accepted| write_response(&mut response, &accepted));
    accepted.map_err(Refusal::bad)?;
    Ok(response)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However a head is cut, it says the same, and no beginning of it is taken for all of it.
        #[test]
        fn a_head_is_complete_at_its_end_only(cut in 0usize..60) {
            let head = b"GET /health HTTP/1.0\r\nHost: tracker\r\nX: y\r\n\r\n";
            let cut = cut.min(head.len() - 1);
            prop_assert!(matches!(parse(&head[..cut]), Ok(None)));
            let (size, request) = parse(&[&head[..], b"rest"].concat()).unwrap().unwrap();
            prop_assert_eq!((size, request.uri().path()), (head.len(), "/health"));
        }

        #[test]
        fn whatever_comes_is_no_reason_to_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), line in "[ -~\r\n]{0,200}") {
            for bytes in [bytes, line.into_bytes(), b"GET / HTTP/1.1\r\n".to_vec()] {
                if let Ok(Some((size, request))) = parse(&bytes) {
                    let _ = Head::new(request, bytes[size..].to_vec()).route(Audience::Public, &StaticFiles::new());
                }
            }
        }
    }
}
