//! Files that a tracker serves beside itself.

#![cfg(feature = "server")]

mod server_support;

use std::time::Duration;

use p2pt_tracker::{ServerConfig, StaticFiles, TrackerListener, TrackerServer, TrackerService};
use server_support::{Client, GUARD};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

const PAGE: &str = "<!doctype html><title>an app</title>";

fn files() -> StaticFiles {
    StaticFiles::new()
        .content_security_policy("default-src 'self'")
        .file("/index.html", PAGE.as_bytes())
        .file("/app/index.html", PAGE.as_bytes())
        .file("/app/main.wasm", vec![0, 0x61, 0x73, 0x6d])
        .file("/health", &b"not this"[..])
}

async fn ask(server: &TrackerServer, listener: usize, request: &str) -> String {
    let mut stream = TcpStream::connect(server.local_addrs()[listener]).await.expect("the server listens");
    stream.write_all(request.as_bytes()).await.expect("the server reads");
    let mut response = Vec::new();
    timeout(GUARD, stream.read_to_end(&mut response)).await.expect("an end").expect("no reset");
    String::from_utf8(response).expect("text")
}

#[tokio::test]
async fn browsers_get_files_and_peers_get_the_tracker() {
    let mut listeners = Vec::new();
    for _ in 0..2 {
        listeners.push(TrackerListener::bind("127.0.0.1:0").await.unwrap());
    }
    let operator = listeners.pop().unwrap().metrics();
    listeners.push(operator);
    let server = TrackerServer::start(listeners, ServerConfig::default().files(files())).unwrap();

    let page = ask(&server, 0, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(page.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n"), "{page}");
    assert!(page.ends_with(&format!("\r\n\r\n{PAGE}")), "{page}");
    for line in
        ["Content-Security-Policy: default-src 'self'", "X-Content-Type-Options: nosniff", "Cache-Control: no-cache"]
    {
        assert!(page.contains(&format!("\r\n{line}\r\n")), "{page}");
    }
    let tag = page.lines().find_map(|line| line.strip_prefix("ETag: ")).unwrap().to_owned();
    let again = ask(&server, 0, &format!("GET /?again HTTP/1.1\r\nHost: a\r\nIf-None-Match: {tag}\r\n\r\n")).await;
    assert!(again.starts_with("HTTP/1.1 304 Not Modified\r\n") && again.ends_with("\r\n\r\n"), "{again}");
    let head = ask(&server, 0, "HEAD /app/main.wasm HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(head.contains("\r\nContent-Type: application/wasm\r\nContent-Length: 4\r\n"), "{head}");
    assert!(head.ends_with("\r\n\r\n"), "{head}");
    let folder = ask(&server, 0, "GET /app HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(folder.starts_with("HTTP/1.1 308 ") && folder.contains("\r\nLocation: /app/\r\n"), "{folder}");

    for (request, status) in [
        ("GET /../Cargo.toml HTTP/1.1\r\nHost: a\r\n\r\n", "404"),
        ("GET /app/../index.html HTTP/1.1\r\nHost: a\r\n\r\n", "404"),
        ("GET /%2e%2e/Cargo.toml HTTP/1.1\r\nHost: a\r\n\r\n", "404"),
        ("GET //etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n", "404"),
        ("POST / HTTP/1.1\r\nHost: a\r\n\r\n", "405"),
        ("PUT /app/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", "400"),
        ("GET /announce HTTP/1.1\r\nHost: a\r\n\r\n", "426"),
    ] {
        let refused = ask(&server, 0, request).await;
        assert!(refused.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?}: {refused}");
    }
    // What the tracker has itself comes first, and the operator's port has nothing else.
    assert!(ask(&server, 0, "GET /health HTTP/1.1\r\nHost: a\r\n\r\n").await.ends_with("\r\n\r\nok\n"));
    assert!(ask(&server, 1, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.contains("this is a WebTorrent tracker"));
    assert!(ask(&server, 1, "GET /app/ HTTP/1.1\r\nHost: a\r\n\r\n").await.starts_with("HTTP/1.1 404 "));
    drop(Client::connect(server.local_addr()).await);
    server.shutdown().await;
}

/// A file of a megabyte for a client that reads it over a stream which holds little.
fn large() -> (TrackerService, ServerConfig) {
    let config = ServerConfig::default().files(StaticFiles::new().file("/large", vec![b'x'; 1 << 20]));
    (TrackerService::new(config.clone()), config)
}

#[tokio::test(start_paused = true)]
async fn a_slow_client_gets_all_of_a_file() {
    let (service, config) = large();
    let (mut client, stream) = duplex(16 * 1024);
    let served = tokio::spawn(service.serve(stream));
    client.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let begun = Instant::now();
    let (mut received, mut part) = (0, vec![0; 16 * 1024]);
    while received < 1 << 20 {
        sleep(Duration::from_secs(2)).await;
        received += client.read(&mut part).await.unwrap();
    }
    assert!(begun.elapsed() > 2 * config.handshake_timeout, "{:?} is not slow", begun.elapsed());
    drop(client);
    timeout(GUARD, served).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_given_up() {
    let (service, config) = large();
    let (mut client, stream) = duplex(16 * 1024);
    let served = tokio::spawn(service.serve(stream));
    client.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let begun = Instant::now();
    timeout(GUARD, served).await.unwrap().unwrap();
    assert!(begun.elapsed() <= config.handshake_timeout + 2 * config.write_timeout, "{:?}", begun.elapsed());
    // One that reads and never hangs up, either.
    let (mut client, stream) = duplex(4 << 20);
    let served = tokio::spawn(service.serve(stream));
    client.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    timeout(GUARD, served).await.unwrap().unwrap();
}
