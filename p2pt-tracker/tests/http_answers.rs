//! What answers a WebSocket handshake with HTTP: refusals, with or without a time to come back, and redirects.

#![allow(clippy::unwrap_used, reason = "the helpers here are part of the tests")]

mod http_support;

use std::sync::Arc;
use std::time::Duration;

use http_support::{listen, read_head};
use p2pt_proto::{InfoHash, PeerId};
use p2pt_tracker::{
    AnnounceUrl, ClientConfig, ConnectError, Connector as _, RedirectReason, Socket, TrackerClient, TrackerEvent,
    WebSocketConnector,
};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

const GUARD: Duration = Duration::from_secs(60);

/// Answers one request after the other with these, on a connection each, in which `PORT` is its own port; returns the
/// request lines.
async fn answering(answers: Vec<String>) -> (u16, JoinHandle<Vec<String>>) {
    let (listener, port) = listen().await;
    let requests = tokio::spawn(async move {
        let mut requests = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let head = read_head(&mut stream).await;
            requests.push(head.lines().next().unwrap().to_owned());
            stream.write_all(answer.replace("PORT", &port.to_string()).as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        }
        requests
    });
    (port, requests)
}

/// A tracker that opens one WebSocket, and says which path it was asked for.
async fn tracker() -> (u16, JoinHandle<String>) {
    let (listener, port) = listen().await;
    let path = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut head = vec![0; 100];
        stream.peek(&mut head).await.unwrap();
        let _socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        String::from_utf8(head).unwrap().split(' ').nth(1).unwrap().to_owned()
    });
    (port, path)
}

async fn connect(connector: &WebSocketConnector, url: &str) -> Result<Socket, ConnectError> {
    let url: AnnounceUrl = url.parse().unwrap();
    timeout(GUARD, connector.connect(&url, None)).await.expect("an end in time")
}

fn redirect(status: u16, location: &str) -> String {
    format!("HTTP/1.1 {status} Elsewhere\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n")
}

/// What this answer to the handshake is reported as.
async fn failed(answer: impl Into<String>) -> ConnectError {
    let (port, _) = answering(vec![answer.into()]).await;
    connect(&WebSocketConnector::new(), &format!("ws://127.0.0.1:{port}/a/b")).await.unwrap_err()
}

#[tokio::test]
async fn a_refusal_says_what_the_tracker_said() {
    let answer = "HTTP/1.1 403 Forbidden\r\nContent-Length: 30\r\n\r\nOrigin\x1b[1m not\r\nallowed <b>here</b>";
    let error = failed(answer).await;
    assert_eq!(error.to_string(), "HTTP status 403 (Origin [1m not allowed <b>here</b>)");
    assert_eq!(failed("HTTP/1.1 404 Not Found\r\n\r\n").await.to_string(), "HTTP status 404");
    let retry_after = async |header: &str| match failed(format!("HTTP/1.1 503 Unavailable\r\n{header}\r\n\r\n")).await {
        ConnectError::Status(refusal) => refusal.retry_after,
        other => panic!("{other:?}"),
    };
    assert_eq!(retry_after("Retry-After: 75").await, Some(Duration::from_secs(75)));
    let dates = "date: Sun, 06 Nov 1994 08:49:37 GMT\r\nretry-after: Sun, 06 Nov 1994 08:50:37 GMT";
    assert_eq!(retry_after(dates).await, Some(Duration::from_secs(60)));
    assert_eq!(retry_after("Retry-After: soon").await, None);
}

#[tokio::test]
async fn a_web_server_that_wants_tls_is_understood() {
    for (answer, understood) in [
        // As nginx, Go's servers (Caddy) and Apache have it.
        ("HTTP/1.1 400 Bad Request\r\n\r\n<title>400 The plain HTTP request was sent to HTTPS port</title>", true),
        ("HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n", true),
        ("HTTP/1.1 400 Bad Request\r\n\r\nYou're speaking plain HTTP to an SSL-enabled server port.", true),
        ("\x15\x03\x01\0\x02\x02\x46", true),
        ("HTTP/1.1 400 Bad Request\r\n\r\nno Upgrade header", false),
        ("HTTP/1.1 403 Forbidden\r\n\r\nplain HTTP request was sent to HTTPS port", false),
        ("?\x15\x03\x01\0\x02\x02\x46", false),
    ] {
        let error = failed(answer).await;
        assert_eq!(error == ConnectError::TlsPort, understood, "{answer:?}: {error}");
    }
}

#[tokio::test]
async fn a_name_that_is_not_known_is_said_to_be_so() {
    // RFC 6761 keeps `.invalid` free for ever.
    let error = connect(&WebSocketConnector::new(), "ws://tracker.exmaple.invalid").await.unwrap_err();
    assert!(error.to_string().contains("tracker.exmaple.invalid has no known address"), "{error}");
    assert!(error.advice().is_some_and(|advice| advice.contains("spelling")), "{error}");
}

#[tokio::test]
async fn a_redirect_is_named_with_its_target() {
    for (location, target, reason) in [
        ("https://new.example/announce", "wss://new.example/announce", RedirectReason::NotAllowed),
        ("//new.example:1", "ws://new.example:1", RedirectReason::NotAllowed),
        ("ftp://new.example/\u{1}", "ftp://new.example/\u{fffd}", RedirectReason::NoUrl),
    ] {
        for status in [301, 302, 303, 307, 308] {
            // Bytes that no header may have are not sent.
            let location = location.replace('\u{1}', "\u{fffd}");
            let error = failed(redirect(status, &location)).await;
            assert_eq!(error, ConnectError::Redirect { status, target: target.to_owned(), reason });
            assert!(error.to_string().contains(&format!("HTTP status {status}: redirected to {target}")), "{error}");
        }
    }
    // Without a target, or with a status that has none, it is a refusal.
    for answer in ["HTTP/1.1 301 Moved\r\n\r\n".to_owned(), redirect(300, "/x"), redirect(404, "/x")] {
        assert!(matches!(failed(answer).await, ConnectError::Status(_)));
    }
}

#[tokio::test]
async fn a_redirect_within_the_host_is_followed_where_that_is_asked_for() {
    let connector = WebSocketConnector::new().follow_redirects(true);
    let (port, path) = tracker().await;
    // Relative, then to another port.
    let answers = vec![redirect(308, "../moved?x"), redirect(302, &format!("http://127.0.0.1:{port}/new"))];
    let (first, requests) = answering(answers).await;
    connect(&connector, &format!("ws://127.0.0.1:{first}/a/b")).await.unwrap();
    assert_eq!(timeout(GUARD, requests).await.unwrap().unwrap(), ["GET /a/b HTTP/1.1", "GET /moved?x HTTP/1.1"]);
    assert_eq!(timeout(GUARD, path).await.unwrap().unwrap(), "/new");
}

#[tokio::test]
async fn redirects_to_another_host_and_in_circles_are_not_followed() {
    let connector = WebSocketConnector::new().follow_redirects(true);
    for (location, target) in [("ws://localhost:PORT/x", "ws://localhost:PORT/x"), ("ws://127.0.0.1./", "")] {
        let (port, _) = answering(vec![redirect(301, location)]).await;
        let error = connect(&connector, &format!("ws://127.0.0.1:{port}")).await.unwrap_err();
        let ConnectError::Redirect { status: 301, target: named, reason } = error else { panic!("{error:?}") };
        match target {
            "" => assert_eq!(reason, RedirectReason::NoUrl),
            target => {
                assert_eq!((named, reason), (target.replace("PORT", &port.to_string()), RedirectReason::OtherHost));
            }
        }
    }
    let (port, requests) = answering(vec![redirect(307, "/again"); 4]).await;
    let error = connect(&connector, &format!("ws://127.0.0.1:{port}")).await.unwrap_err();
    assert!(matches!(error, ConnectError::Redirect { reason: RedirectReason::TooMany, .. }), "{error:?}");
    assert_eq!(timeout(GUARD, requests).await.unwrap().unwrap().len(), 4, "the first and three redirects");
}

#[tokio::test]
async fn redirects_are_followed_through_a_proxy_too() {
    let (listener, port) = listen().await;
    let targets = tokio::spawn(async move {
        let mut targets = Vec::new();
        for answer in [Some(redirect(301, "ws://tracker.test:81/new")), None] {
            let (mut stream, _) = listener.accept().await.unwrap();
            targets.push(read_head(&mut stream).await.lines().next().unwrap().to_owned());
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            match answer {
                Some(answer) => {
                    read_head(&mut stream).await;
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
                None => drop(tokio_tungstenite::accept_async(stream).await.unwrap()),
            }
        }
        targets
    });
    let proxy = format!("http://127.0.0.1:{port}").parse().unwrap();
    let connector = WebSocketConnector::new().with_proxy(proxy).follow_redirects(true);
    connect(&connector, "ws://tracker.test/old").await.unwrap();
    let targets = timeout(GUARD, targets).await.unwrap().unwrap();
    assert_eq!(targets, ["CONNECT tracker.test:80 HTTP/1.1", "CONNECT tracker.test:81 HTTP/1.1"]);
}

/// The wait before the next attempt after this answer.
async fn wait_after(status: u16, retry_after: &str) -> Duration {
    let (port, _) = answering(vec![format!("HTTP/1.1 {status} No\r\nRetry-After: {retry_after}\r\n\r\n")]).await;
    let (events_tx, mut events) = mpsc::channel(16);
    let (id, config) = (PeerId::from([1; 20]), ClientConfig::default());
    let url = format!("ws://127.0.0.1:{port}").parse().unwrap();
    let client = TrackerClient::start(url, id, config, Arc::new(WebSocketConnector::new()), (), events_tx);
    client.join(InfoHash::of("swarm"));
    loop {
        match timeout(GUARD, events.recv()).await.expect("in time").expect("an event").1 {
            TrackerEvent::ConnectFailed { retry_in, .. } => return retry_in,
            TrackerEvent::OffersWanted { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_client_comes_back_when_the_tracker_says() {
    let secs = Duration::from_secs;
    assert_eq!(wait_after(429, "90").await, secs(90));
    assert_eq!(wait_after(503, "599").await, secs(599));
    assert_eq!(wait_after(503, "86400").await, secs(600), "no tracker is lost for a day by a number");
    for (status, retry_after) in [(429, "0"), (503, "-1"), (404, "90")] {
        let wait = wait_after(status, retry_after).await;
        assert!((secs(1)..=secs(2)).contains(&wait), "the ordinary wait, not {wait:?}");
    }
}
