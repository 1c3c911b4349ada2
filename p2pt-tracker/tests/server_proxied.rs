//! The tracker behind proxies: whose address counts.

#![cfg(feature = "server")]

mod server_support;

use std::time::Duration;

use p2pt_tracker::{ForwardedHeader, RefusalStats, ServerConfig, TrackerListener, TrackerServer};
use server_support::{Client, GUARD, announce, raw};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::{
    client_async,
    tungstenite::{Error, client::IntoClientRequest, http::HeaderValue},
};

/// Each address may have one socket. The test is the proxy, and so are those of 10.0.0.0/8.
fn config() -> ServerConfig {
    let proxies = ["127.0.0.1", "10.0.0.0/8"].map(|network| network.parse().expect("a network"));
    ServerConfig::default().max_connections_per_address(1).trusted_proxies(proxies.to_vec())
}

async fn start(config: ServerConfig) -> TrackerServer {
    TrackerServer::bind("127.0.0.1:0", config).await.expect("a free port")
}

/// A tracker whose port expects the PROXY protocol.
async fn start_proxied(config: ServerConfig) -> TrackerServer {
    let listener = TrackerListener::bind("127.0.0.1:0").await.expect("a free port");
    TrackerServer::start([listener.proxy_protocol()], config).expect("a listener")
}

async fn socket(server: &TrackerServer) -> TcpStream {
    TcpStream::connect(server.local_addr()).await.expect("the server listens")
}

/// A WebSocket over a socket that begins with these bytes, with one header field in its request; or the HTTP status.
async fn connect(
    server: &TrackerServer,
    begin: &[u8],
    field: Option<(&'static str, &str)>,
) -> Result<Client<TcpStream>, u16> {
    let mut stream = socket(server).await;
    stream.write_all(begin).await.expect("the server reads");
    let mut request = "ws://tracker/announce".into_client_request().expect("a request");
    if let Some((name, value)) = field {
        request.headers_mut().insert(name, HeaderValue::from_str(value).expect("a header field"));
    }
    match client_async(request, stream).await {
        Ok((socket, _)) => Ok(Client(socket)),
        Err(Error::Http(response)) => Err(response.status().as_u16()),
        // Closed without a word.
        Err(_) => Err(0),
    }
}

async fn assert_served(mut client: Client<TcpStream>) {
    client.announce(announce(1)).await;
    client.reply().await;
}

#[tokio::test]
async fn the_address_in_a_trusted_proxys_header_counts_in_place_of_its_own() {
    for (header, name, one, other) in [
        (ForwardedHeader::XForwardedFor, "X-Forwarded-For", "9.9.9.9, 192.0.2.1, 10.0.0.9", "192.0.2.1, 192.0.2.2"),
        (ForwardedHeader::Forwarded, "Forwarded", "for=9.9.9.9, for=192.0.2.1;proto=https", "for=\"192.0.2.2:80\""),
    ] {
        let server = start(config().forwarded_header(header)).await;
        let first = connect(&server, b"", Some((name, one))).await.expect("room for one");
        assert_eq!(connect(&server, b"", Some((name, one))).await.err(), Some(429), "{name}");
        let second = connect(&server, b"", Some((name, other))).await.expect("room for another address");
        // Without the field it counts for the proxy, which has none so far.
        let third = connect(&server, b"", None).await.expect("room for the proxy itself");
        assert_eq!(connect(&server, b"", None).await.err(), Some(429), "{name}");
        assert_eq!(server.stats().refused.per_address, 2);
        // A plain request is of its client too.
        for (client, status) in [(other.to_owned(), 429), (other.replace("192.0.2.2", "192.0.2.3"), 200)] {
            let request = format!("GET /stats.json HTTP/1.0\r\n{name}: {client}\r\n\r\n");
            let response = raw(socket(&server).await, request).await;
            assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{client}: {response}");
        }
        for client in [first, second, third] {
            assert_served(client).await;
        }
    }
}

#[tokio::test]
async fn only_the_configured_header_of_a_configured_proxy_is_read() {
    // A proxy that writes the one header passes on the other as the client wrote it.
    let server = start(config()).await;
    let _first = connect(&server, b"", Some(("Forwarded", "for=192.0.2.1"))).await.expect("room for the proxy");
    assert_eq!(connect(&server, b"", Some(("Forwarded", "for=192.0.2.2"))).await.err(), Some(429));

    let server = start(config().trusted_proxies(vec!["10.0.0.0/8".parse().expect("a network")])).await;
    let _first = connect(&server, b"", Some(("X-Forwarded-For", "192.0.2.1"))).await.expect("room for one");
    assert_eq!(connect(&server, b"", Some(("X-Forwarded-For", "192.0.2.2"))).await.err(), Some(0));
    assert_eq!(server.stats().refused.per_address, 1);
}

#[tokio::test]
async fn a_proxys_header_that_names_no_address_is_refused() {
    let server = start(config()).await;
    assert_eq!(connect(&server, b"", Some(("X-Forwarded-For", "192.0.2.1, me"))).await.err(), Some(400));
    let response = raw(socket(&server).await, "GET /health HTTP/1.1\r\nX-Forwarded-For: me\r\n\r\n").await;
    assert!(
        response.starts_with("HTTP/1.1 400 ") && response.contains("X-Forwarded-For names no client"),
        "{response}"
    );
    let mut refused = RefusalStats::default();
    refused.proxy = 2;
    assert_eq!((server.stats().refused, server.stats().connections_opened), (refused, 0));
}

/// A header of version 2 from an IPv4 client, with an extension.
fn binary(client: [u8; 4]) -> Vec<u8> {
    let addresses = [&client[..], &[10, 0, 0, 1, 0x12, 0x34, 0, 80]].concat();
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x10", &addresses[..], &[0x04, 0, 1, 0]].concat()
}

#[tokio::test]
async fn the_address_in_a_proxy_protocol_header_counts() {
    let server = start_proxied(config()).await;
    let line = b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\r\n";
    let first = connect(&server, line, None).await.expect("room for one");
    assert_eq!(connect(&server, line, None).await.err(), Some(0));
    assert_eq!(connect(&server, &binary([192, 0, 2, 1]), None).await.err(), Some(0));
    let second = connect(&server, &binary([192, 0, 2, 2]), None).await.expect("room for another address");
    let third = connect(&server, b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n", None).await.expect("room for another address");
    // The proxy itself, as it checks whether the tracker lives.
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    let fourth = connect(&server, local, None).await.expect("room for the proxy");
    assert_eq!(connect(&server, b"PROXY UNKNOWN\r\n", None).await.err(), Some(0));
    assert_eq!(server.stats().refused.per_address, 3);
    for client in [first, second, third, fourth] {
        assert_served(client).await;
    }
}

#[tokio::test]
async fn what_a_client_writes_behind_a_proxy_header_is_not_taken_for_the_proxys_word() {
    let server = start_proxied(config()).await;
    let field = |value| Some(("X-Forwarded-For", value));
    let line = b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\r\n";
    let _first = connect(&server, line, field("192.0.2.7")).await.expect("room for one");
    assert_eq!(connect(&server, line, field("192.0.2.8")).await.err(), Some(0));
    let _second = connect(&server, b"PROXY UNKNOWN\r\n", field("192.0.2.7")).await.expect("room for the proxy");
    assert_eq!(connect(&server, b"PROXY UNKNOWN\r\n", field("192.0.2.8")).await.err(), Some(0));
    // A second proxy, between the first one and the client, is one whose word is taken.
    let line = b"PROXY TCP4 10.0.0.2 10.0.0.1 4711 80\r\n";
    let _third = connect(&server, line, field("192.0.2.7")).await.expect("room for its client");
    assert_eq!(connect(&server, line, field("192.0.2.7")).await.err(), Some(429));
    let _fourth = connect(&server, line, field("192.0.2.8")).await.expect("room for another client of its");
}

#[tokio::test]
async fn sockets_without_a_proxy_header_or_from_elsewhere_are_closed_without_a_word() {
    let server = start_proxied(config()).await;
    for begin in ["GET /health HTTP/1.1\r\n\r\n", "PROXY TCP4 192.0.2.1\r\n", "\r\n\r\n\0\r\nQUIT\n\u{11}..."] {
        let mut stream = socket(&server).await;
        stream.write_all(begin.as_bytes()).await.expect("the server reads");
        let mut response = Vec::new();
        // Reset, if more was written than the server has read.
        let _ = timeout(GUARD, stream.read_to_end(&mut response)).await.expect("an end");
        assert_eq!(response, b"", "{begin:?}");
    }
    assert_eq!(server.stats().refused.proxy, 3);

    let server = start_proxied(config().trusted_proxies(vec!["10.0.0.0/8".parse().expect("a network")])).await;
    assert_eq!(connect(&server, b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\r\n", None).await.err(), Some(0));
    assert_eq!(server.stats().refused.proxy, 1);

    let listener = TrackerListener::bind("127.0.0.1:0").await.expect("a free port");
    let error = TrackerServer::start([listener.proxy_protocol()], ServerConfig::default()).expect_err("no proxy");
    assert!(error.to_string().contains("no proxy is trusted"), "{error}");
}

#[tokio::test]
async fn a_proxy_header_has_the_time_of_the_handshake() {
    let server = start_proxied(config().handshake_timeout(Duration::from_millis(50))).await;
    for begin in ["", "PROXY TCP4 192.0.2.1 10", "PROXY TCP4 192.0.2.1 10.0.0.1 1 2\r\nGET /"] {
        assert_eq!(raw(socket(&server).await, begin).await, "", "{begin:?}");
    }
    assert_eq!(server.stats().refused.timeouts, 3);
}
