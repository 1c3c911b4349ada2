//! What the tracker says to HTTP requests, byte by byte over real sockets.

#![cfg(feature = "server")]

mod server_support;

use p2pt_tracker::{ServerConfig, TrackerServer};
use server_support::GUARD;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// The header fields of a WebSocket handshake, with the key of RFC 6455.
const HANDSHAKE: &str = "Host: tracker\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// A close frame of a client, so that the tracker ends a connection that it has accepted.
const CLOSE: &[u8] = &[0x88, 0x80, 0, 0, 0, 0];

async fn start() -> TrackerServer {
    TrackerServer::bind("127.0.0.1:0", ServerConfig::default()).await.expect("a free port")
}

/// A response: its status line, its header lines and its body.
#[derive(Debug)]
struct Response {
    status: String,
    lines: Vec<String>,
    body: String,
}

impl Response {
    fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.lines.iter().filter_map(|line| line.split_once(": "));
        values.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

async fn ask(server: &TrackerServer, request: impl AsRef<[u8]>) -> Response {
    let mut stream = TcpStream::connect(server.local_addr()).await.expect("the server listens");
    stream.write_all(request.as_ref()).await.expect("the server reads");
    let mut response = Vec::new();
    timeout(GUARD, stream.read_to_end(&mut response)).await.expect("an end").expect("no reset");
    // What follows the acceptance of a WebSocket is no text.
    let response = String::from_utf8_lossy(&response);
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no response: {response:?}"));
    let mut lines = head.split("\r\n").map(str::to_owned);
    let status = lines.next().expect("a status line");
    Response { status, lines: lines.collect(), body: body.to_owned() }
}

#[tokio::test]
async fn a_head_may_be_as_long_as_in_node() {
    let server = start().await;
    let around = "GET /health HTTP/1.1\r\nCookie: \r\n\r\n".len();
    let with_cookie = |bytes: usize| format!("GET /health HTTP/1.1\r\nCookie: {}\r\n\r\n", "x".repeat(bytes));
    assert_eq!(ask(&server, with_cookie(16 * 1024 - around)).await.status, "HTTP/1.1 200 OK");
    let refused = ask(&server, with_cookie(16 * 1024 - around + 1)).await;
    assert!(refused.status.starts_with("HTTP/1.1 431 "), "{refused:?}");
    let many = format!("GET /health HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(200));
    let refused = ask(&server, many).await;
    assert!(refused.status.starts_with("HTTP/1.1 431 ") && refused.body.contains("124"), "{refused:?}");
}

#[tokio::test]
async fn health_checks_of_load_balancers_are_answered() {
    let server = start().await;
    for (request, body) in [
        ("GET /health HTTP/1.1\r\nHost: tracker\r\n\r\n", "ok\n"),
        ("GET /health HTTP/1.0\r\n\r\n", "ok\n"),
        ("GET /health?from=balancer HTTP/1.0\r\n\r\n", "ok\n"),
        ("GET http://tracker/health HTTP/1.1\r\nHost: tracker\r\n\r\n", "ok\n"),
        ("GET / HTTP/1.0\r\n\r\n", "WebTorrent tracker"),
        ("GET / HTTP/1.1\r\nHost: tracker\r\n\r\n", "WebTorrent tracker"),
        ("GET /stats.json HTTP/1.0\r\n\r\n", "{\"activeTorrents\":0"),
        // curl asks for HTTP/2 in this way, and takes HTTP/1.1 too.
        (
            "GET /health HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
            "ok\n",
        ),
        ("GET /health HTTP/1.1\r\nContent-Length: 0\r\n\r\n", "ok\n"),
    ] {
        let response = ask(&server, request).await;
        assert_eq!(response.status, "HTTP/1.1 200 OK", "{request:?}");
        assert!(response.body.contains(body), "{request:?}: {response:?}");
        assert_eq!(response.field("Content-Length"), Some(response.body.len().to_string().as_str()), "{request:?}");
        assert_eq!(response.field("Connection"), Some("close"));
        assert_eq!(response.field("Access-Control-Allow-Origin"), Some("*"));
    }
}

#[tokio::test]
async fn head_is_answered_with_the_length_and_without_the_body() {
    let server = start().await;
    for (path, status) in [("/", 200), ("/health", 200), ("/stats.json", 200), ("/announce", 426), ("/no", 404)] {
        for version in ["1.0", "1.1"] {
            let got = ask(&server, format!("GET {path} HTTP/{version}\r\n\r\n")).await;
            let head = ask(&server, format!("HEAD {path} HTTP/{version}\r\n\r\n")).await;
            assert!(head.status.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {head:?}");
            assert_eq!((&head.status, head.body.as_str()), (&got.status, ""), "{path}");
            assert_eq!(head.lines, got.lines, "{path}");
        }
    }
    // So is one that is refused before it is known what it is for.
    let refused = ask(&server, "HEAD / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    assert!(refused.status.starts_with("HTTP/1.1 400 ") && refused.body.is_empty(), "{refused:?}");
}

#[tokio::test]
async fn options_says_what_a_web_page_may_ask() {
    let server = start().await;
    for request in [
        "OPTIONS /stats.json HTTP/1.1\r\nHost: tracker\r\nOrigin: https://elsewhere.example\r\n\
         Access-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: x-requested-with\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: tracker\r\n\r\n",
        // HAProxy's `option httpchk`.
        "OPTIONS / HTTP/1.0\r\n\r\n",
    ] {
        let response = ask(&server, request).await;
        assert_eq!((response.status.as_str(), response.body.as_str()), ("HTTP/1.1 204 No Content", ""), "{request:?}");
        assert_eq!(response.field("Content-Length"), None, "a response 204 has none");
        assert_eq!(response.field("Access-Control-Allow-Origin"), Some("*"));
        for field in ["Allow", "Access-Control-Allow-Methods"] {
            assert_eq!(response.field(field), Some("GET, HEAD, OPTIONS"));
        }
        assert_eq!(response.field("Access-Control-Allow-Headers"), Some("*"));
    }
}

#[tokio::test]
async fn requests_that_a_proxy_could_read_otherwise_are_refused() {
    let server = start().await;
    for (fields, word) in [
        ("Content-Length: 5", "body"),
        ("Content-Length: 0\r\nContent-Length: 5", "body"),
        ("Content-Length: +0", "body"),
        ("Content-Length: x", "body"),
        ("Content-Length: 0, 5", "body"),
        ("Transfer-Encoding: chunked", "body"),
        ("Transfer-Encoding: identity\r\nContent-Length: 0", "body"),
        ("Host: a\r\nHost: a", "host"),
        ("X: y\r\n folded", ""),
        ("Transfer-Encoding : chunked", ""),
        ("X\0: y", ""),
    ] {
        for request in ["GET /stats.json", "GET /announce", "HEAD /", "OPTIONS /", "POST /"] {
            let response = ask(&server, format!("{request} HTTP/1.1\r\n{fields}\r\n\r\nhello")).await;
            assert!(response.status.starts_with("HTTP/1.1 400 "), "{request} with {fields:?}: {response:?}");
            assert!(request.starts_with("HEAD") || response.body.contains(word), "{fields:?}: {response:?}");
        }
        let upgrade = format!("GET / HTTP/1.1\r\n{HANDSHAKE}{}\r\n\r\n", fields.replace("Host: a\r\n", ""));
        let response = ask(&server, upgrade).await;
        assert!(response.status.starts_with("HTTP/1.1 400 "), "a WebSocket with {fields:?}: {response:?}");
    }
    assert_eq!(server.stats().connections_opened, 0);
}

#[tokio::test]
async fn a_websocket_handshake_is_accepted_as_it_should_be_and_no_other() {
    let server = start().await;
    let handshake = |first: &str, from: &str, to: &str| format!("{first}\r\n{}\r\n", HANDSHAKE.replace(from, to));
    let get = "GET /announce HTTP/1.1";
    for (request, status, word) in [
        (handshake(get, "", ""), "101 Switching Protocols", ""),
        (handshake(get, "Upgrade: websocket", "Upgrade: WebSocket"), "101 Switching Protocols", ""),
        (handshake(get, ": 13", ": 8"), "426 Upgrade Required", "version 13"),
        (handshake(get, "Sec-WebSocket-Version: 13\r\n", ""), "400 Bad Request", "Sec-WebSocket-Version"),
        (handshake(get, "dGhl", "dG"), "400 Bad Request", ""),
        (handshake(get, "Host: tracker", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), "400 Bad Request", "once"),
        (handshake("GET /announce HTTP/1.0", "", ""), "426 Upgrade Required", "proxy_http_version 1.1"),
        (handshake("POST /announce HTTP/1.1", "", ""), "405 Method Not Allowed", "POST"),
        (handshake("HEAD / HTTP/1.1", "", ""), "200 OK", ""),
    ] {
        let response = ask(&server, [request.as_bytes(), CLOSE].concat()).await;
        assert_eq!(response.status, format!("HTTP/1.1 {status}"), "{request}");
        if status.starts_with("101") {
            assert_eq!(response.field("Sec-WebSocket-Accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{request}");
        }
        if status.starts_with("426") {
            assert_eq!(response.field("Sec-WebSocket-Version"), Some("13"), "{request}");
        }
        assert!(response.body.contains(word), "{request}: {response:?}");
    }
    assert_eq!(server.stats().connections_opened, 2);
}
