//! What is promised of all that is read of a socket before its WebSocket, for any bytes.

use std::net::{IpAddr, Ipv4Addr};

use futures_util::FutureExt as _;
use tokio_tungstenite::tungstenite::http::{HeaderMap, HeaderValue};

pub use super::websocket::model::frames;
use super::{
    files::StaticFiles,
    forwarded::ForwardedHeader,
    http::{self, Audience, Head, Request},
    network::Network,
    proxy_protocol::{self, Progress, ProxyProtocolError, Source},
};

/// The longest headers of the PROXY protocol that are taken: the line of version 1, and what version 2 may have.
const MAX_PROXY_BYTES: [usize; 2] = [107, 536];

/// Where requests come from: a trusted proxy.
const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

/// The client of which that proxy says that the request is its.
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// Reads bytes as an HTTP request that a proxy passes on. The first two bytes are how many of the others come first.
///
/// # Panics
/// When a promise is broken.
pub fn heads(data: &[u8]) {
    let Some((cut, bytes)) = data.split_first_chunk() else { return };
    let cut = usize::from(u16::from_be_bytes(*cut)).min(bytes.len());
    let (begun, whole) = (http::parse(&bytes[..cut]), http::parse(bytes));
    match (begun, &whole) {
        (Ok(None), Ok(Some((size, _)))) => assert!(*size > cut, "a whole head was not taken for one"),
        (Ok(None), _) | (Err(_), Err(_)) => {}
        (Ok(Some((before, _))), Ok(Some((after, _)))) => assert_eq!(before, *after, "a head ends elsewhere"),
        (begun, whole) => panic!("{begun:?} becomes {whole:?}"),
    }
    match whole {
        Ok(Some((size, request))) => {
            let head = Head::new(request, bytes[size..].to_vec());
            route(&head);
            forwarded(head.headers());
        }
        Ok(None) => {}
        Err(refusal) => {
            assert_response(&refusal.response(true), true);
            assert_response(&refusal.response(false), false);
        }
    }
}

/// Whatever is asked for, the answer is one response, and the operator's port has no WebSockets.
fn route(head: &Head) {
    let files = StaticFiles::new().file("/index.html", &b"a page"[..]);
    for audience in [Audience::Public, Audience::Operator] {
        match head.route(audience, &files) {
            Request::Upgrade { response } => {
                assert_eq!(audience, Audience::Public);
                let text = String::from_utf8(response).expect("a response is text");
                assert!(text.starts_with("HTTP/1.1 101 "), "{text}");
                assert_eq!(text.find("\r\n\r\n"), Some(text.len() - 4), "{text}");
            }
            Request::Options => assert!(http::options().ends_with(b"\r\n\r\n")),
            Request::Refused(refusal) => assert_response(&refusal.response(head.head_only()), head.head_only()),
            Request::File(_) => assert_eq!(audience, Audience::Public),
            Request::Page(_) => {}
        }
    }
}

/// A response is as long as it says, so that nothing of a request can be taken for another one.
fn assert_response(response: &[u8], head_only: bool) {
    let text = std::str::from_utf8(response).expect("a response is text");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 4") || head.starts_with("HTTP/1.1 5"), "{text}");
    let lengths: Vec<&str> = head.lines().filter_map(|line| line.strip_prefix("Content-Length: ")).collect();
    let [length] = lengths[..] else { panic!("{text}") };
    let length: usize = length.parse().expect("a length");
    assert_eq!(body.len(), if head_only { 0 } else { length }, "{text}");
}

/// Whatever a client writes, what the proxy appends decides, or the request is refused.
fn forwarded(headers: &HeaderMap) {
    let trusted: Network = "10.0.0.0/8".parse().expect("a network");
    for (header, appended) in [
        (ForwardedHeader::XForwardedFor, "192.0.2.1"),
        (ForwardedHeader::Forwarded, "for=192.0.2.1"),
        (ForwardedHeader::Forwarded, "proto=https;for=\"192.0.2.1:4711\""),
    ] {
        let client = |headers: &HeaderMap| header.client(headers, PROXY, &[trusted]).ok();
        if !headers.contains_key(header.field()) {
            assert_eq!(client(headers), Some(PROXY));
        }
        // One address is not counted as two because it is written in two ways.
        assert!(client(headers).is_none_or(|address| address.to_canonical() == address));

        let mut with_line = headers.clone();
        with_line.append(header.field(), HeaderValue::from_static(appended));
        assert_eq!(client(&with_line), Some(CLIENT), "{with_line:?}");
        // Behind proxies that say nothing else, too.
        let ours = if header == ForwardedHeader::Forwarded { "for=10.0.0.2" } else { "10.0.0.2" };
        with_line.append(header.field(), HeaderValue::from_static(ours));
        assert_eq!(client(&with_line), Some(CLIENT), "{with_line:?}");

        let mut joined = headers.clone();
        let line = headers.get_all(header.field()).iter().next_back().map_or(&b""[..], HeaderValue::as_bytes);
        let line = [line, b", ", appended.as_bytes()].concat();
        joined.insert(header.field(), HeaderValue::from_bytes(&line).expect("a field's value"));
        assert!(client(&joined).is_none_or(|address| address == CLIENT), "{joined:?}");
    }
}

/// Reads bytes as a header of the PROXY protocol.
///
/// # Panics
/// When a promise is broken.
pub fn proxy_headers(data: &[u8]) {
    let asked = fed(data, usize::MAX);
    // Byte by byte it is the same header, and nothing that is wrong is found only by chance.
    let (by_bytes, taken) = fed(data, 1);
    assert_eq!(by_bytes.as_ref().map(Result::is_ok), asked.0.as_ref().map(Result::is_ok));
    if let Some(Ok(source)) = asked.0 {
        assert_eq!((by_bytes, taken), asked);
        assert_eq!(proxy_protocol::parse(data), Ok(Progress::Complete(source)), "what is behind it plays a part");
    }
    // As it is read of a stream.
    let mut stream = data;
    let read = proxy_protocol::read(&mut stream).now_or_never().expect("all of it is there");
    assert_eq!(read.ok(), asked.0);
    assert_eq!(data.len() - stream.len(), asked.1);
}

/// What a header says that is fed by as many bytes as it asks for, or `at_once` if it asks for more; `None` if that is
/// more than there is. And how many it has taken.
pub(super) fn fed(bytes: &[u8], at_once: usize) -> (Option<Result<Source, ProxyProtocolError>>, usize) {
    let [line, binary] = MAX_PROXY_BYTES;
    let most = if bytes.starts_with(b"P") { line } else { binary };
    let mut given = 0;
    loop {
        match proxy_protocol::parse(&bytes[..given]) {
            Ok(Progress::Needs(more)) => {
                assert!(more > 0 && given + more <= most, "{more} more than {given} are asked for");
                if given == bytes.len() {
                    return (None, given);
                }
                given = bytes.len().min(given + more.min(at_once));
            }
            Ok(Progress::Complete(source)) => return (Some(Ok(source)), given),
            Err(error) => return (Some(Err(error)), given),
        }
    }
}
