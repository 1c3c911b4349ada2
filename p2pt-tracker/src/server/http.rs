//! The HTTP request that each socket begins with, and the responses to those that are no WebSocket handshake.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_tungstenite::tungstenite::{
    Error,
    error::ProtocolError,
    handshake::{
        machine::TryParse,
        server::{Request as HttpRequest, create_response, write_response},
    },
    http::{StatusCode, header},
};

/// The longest request head taken. Browsers send about 600 bytes, with many cookies 4 KiB.
const MAX_HEAD_BYTES: usize = 8 * 1024;

/// What a client wants of the tracker's port.
#[derive(Debug)]
pub(super) enum Request {
    /// A WebSocket handshake, to be accepted with `response`; `rest` came after the request.
    Upgrade { response: Vec<u8>, rest: Vec<u8> },
    /// `GET /stats.json`.
    Stats,
    /// Anything else, and what to say about it.
    Refused(StatusCode, String),
}

impl Request {
    /// Reads a request head, however slowly it comes: the deadline is the caller's.
    pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Self> {
        let mut head = Vec::with_capacity(1024);
        loop {
            if stream.read_buf(&mut head).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match HttpRequest::try_parse(&head) {
                Ok(Some((size, request))) => return Ok(Self::route(&request, head.split_off(size))),
                Ok(None) if head.len() < MAX_HEAD_BYTES => {}
                Ok(None) => {
                    let text = format!("the request head is longer than {MAX_HEAD_BYTES} bytes");
                    return Ok(Self::Refused(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, text));
                }
                Err(error) => {
                    let status = match error {
                        Error::Protocol(ProtocolError::WrongHttpMethod) => StatusCode::METHOD_NOT_ALLOWED,
                        Error::Protocol(ProtocolError::WrongHttpVersion) => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
                        _ => StatusCode::BAD_REQUEST,
                    };
                    return Ok(Self::Refused(status, error.to_string()));
                }
            }
        }
    }

    /// Any path and any origin will do for a WebSocket: announce URLs differ, and web pages are meant to come.
    fn route(request: &HttpRequest, rest: Vec<u8>) -> Self {
        if request.headers().contains_key(header::UPGRADE) {
            let mut response = Vec::new();
            let accepted = create_response(request).and_then(|accepted| write_response(&mut response, &accepted));
            return match accepted {
                Ok(()) => Self::Upgrade { response, rest },
                Err(error) => Self::Refused(StatusCode::BAD_REQUEST, error.to_string()),
            };
        }
        match request.uri().path() {
            "/stats.json" => Self::Stats,
            "/" | "/announce" => Self::Refused(
                StatusCode::UPGRADE_REQUIRED,
                "this is a WebTorrent tracker: connect with a WebSocket; statistics are at /stats.json".into(),
            ),
            _ => Self::Refused(StatusCode::NOT_FOUND, "nothing here; statistics are at /stats.json".into()),
        }
    }
}

/// A whole HTTP response; the connection ends with it.
pub(super) fn response(status: StatusCode, content_type: &str, body: &str) -> Vec<u8> {
    let extra = match status {
        StatusCode::UPGRADE_REQUIRED => "Upgrade: websocket\r\n",
        StatusCode::METHOD_NOT_ALLOWED => "Allow: GET\r\n",
        // Statistics are for every web page; failures tell it nothing.
        StatusCode::OK => "Access-Control-Allow-Origin: *\r\n",
        _ => "",
    };
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n{extra}Connection: close\r\n\r\n{body}"
    )
    .into_bytes()
}
