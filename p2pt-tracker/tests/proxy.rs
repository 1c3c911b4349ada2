//! Trackers reached through real little proxies, and proxies that fail in every way they have.

#![allow(clippy::unwrap_used, reason = "the helpers here are part of the tests")]

mod http_support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_support::{listen, read_head};
use p2pt_proto::{InfoHash, PeerId};
use p2pt_tracker::{
    AnnounceUrl, ClientConfig, ConnectError, Connector, HttpRefusal, ProxyError, ProxyUrl, ServerConfig, Socket,
    TrackerClient, TrackerEvent, TrackerServer, TrackerStatus, TrackerWarning, WebSocketConnector,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

const GUARD: Duration = Duration::from_secs(30);

/// A name that only the proxies know.
const TRACKER: &str = "tracker.test";

async fn relay(mut near: TcpStream, tracker: SocketAddr) {
    let mut far = TcpStream::connect(tracker).await.unwrap();
    let _ = copy_bidirectional(&mut near, &mut far).await;
}

/// An HTTP proxy for one connection that asks for `me` and `a:b` and leads to the tracker; returns its port.
async fn http_proxy(tracker: SocketAddr) -> u16 {
    let (listener, port) = listen().await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = read_head(&mut stream).await;
        assert!(head.starts_with(&format!("CONNECT {TRACKER}:8000 HTTP/1.1\r\n")), "{head}");
        // `me:a:b`
        if head.contains("Proxy-Authorization: Basic bWU6YTpi\r\n") {
            stream.write_all(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n").await.unwrap();
            relay(stream, tracker).await;
        } else {
            stream.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await.unwrap();
        }
    });
    port
}

/// A proxy that speaks SOCKS5.
async fn socks_proxy(tracker: SocketAddr) -> u16 {
    let (listener, port) = listen().await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut methods = vec![0; 2];
        stream.read_exact(&mut methods).await.unwrap();
        methods.resize(methods[1].into(), 0);
        stream.read_exact(&mut methods).await.unwrap();
        if !methods.contains(&2) {
            stream.write_all(&[5, 0xff]).await.unwrap();
            return;
        }
        stream.write_all(&[5, 2]).await.unwrap();
        let mut login = [0; 8];
        stream.read_exact(&mut login).await.unwrap();
        if login != *b"\x01\x02me\x03a:b" {
            stream.write_all(&[1, 1]).await.unwrap();
            return;
        }
        stream.write_all(&[1, 0]).await.unwrap();
        let mut request = [0; 7 + TRACKER.len()];
        stream.read_exact(&mut request).await.unwrap();
        let name = [&[5, 1, 0, 3, 12], TRACKER.as_bytes(), &8000u16.to_be_bytes()].concat();
        assert_eq!(request[..], name, "the proxy is given the name");
        stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
        relay(stream, tracker).await;
    });
    port
}

/// What a proxy that says this, and nothing else, leads to; `closes` says whether it hangs up then.
async fn fails(scheme: &str, answer: Vec<u8>, closes: bool) -> ProxyError {
    let (listener, port) = listen().await;
    let proxy = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        // A client that is refused half-way reads no more.
        let _ = stream.write_all(&answer).await;
        if closes {
            // Not before it has been read: a reset would take the answer along.
            let _ = stream.shutdown().await;
        }
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    });
    let error = connect(&format!("{scheme}://127.0.0.1:{port}")).await.unwrap_err();
    timeout(GUARD, proxy).await.expect("the connection ends").unwrap();
    match error {
        ConnectError::Proxy(error) => error,
        other => panic!("{other:?}"),
    }
}

async fn connect(proxy: &str) -> Result<Socket, ConnectError> {
    let connector = WebSocketConnector::new().with_proxy(proxy.parse::<ProxyUrl>().unwrap());
    let url = AnnounceUrl::parse(&format!("ws://{TRACKER}:8000/announce")).unwrap();
    timeout(GUARD, connector.connect(&url, None)).await.expect("an end in time")
}

#[tokio::test]
async fn a_client_announces_through_either_kind_of_proxy() {
    let tracker = TrackerServer::bind("127.0.0.1:0", ServerConfig::default()).await.unwrap();
    let address = tracker.local_addr();
    for proxy in [
        format!("http://me:a%3Ab@127.0.0.1:{}", http_proxy(address).await),
        format!("socks5://me:a%3Ab@127.0.0.1:{}", socks_proxy(address).await),
    ] {
        let connector = WebSocketConnector::new().with_proxy(proxy.parse().unwrap());
        assert!(!format!("{connector:?}").contains("a:b"), "{connector:?}");
        let (events_tx, mut events) = mpsc::channel(16);
        let url = AnnounceUrl::parse(&format!("ws://{TRACKER}:8000")).unwrap();
        let (id, config) = (PeerId::from([1; 20]), ClientConfig::default());
        let client = TrackerClient::start(url, id, config, Arc::new(connector), (), events_tx);
        client.join(InfoHash::of("room"));
        client.offers(InfoHash::of("room"), vec![]);
        loop {
            match timeout(GUARD, events.recv()).await.expect("an event in time").unwrap().1 {
                TrackerEvent::Announced { .. } => break,
                TrackerEvent::Warning { warning, .. } => panic!("{proxy}: {warning}"),
                _ => {}
            }
        }
        let state = client.state();
        assert_eq!((state.status, state.family), (TrackerStatus::Connected, None), "no family is tried");
        client.stop().await;
    }
}

#[tokio::test]
async fn a_wrong_password_is_reported_and_not_shown() {
    let tracker = ([127, 0, 0, 1], 1).into();
    for proxy in [
        format!("http://127.0.0.1:{}", http_proxy(tracker).await),
        format!("http://me:secret@127.0.0.1:{}", http_proxy(tracker).await),
        format!("socks5://127.0.0.1:{}", socks_proxy(tracker).await),
        format!("socks5://me:bad@127.0.0.1:{}", socks_proxy(tracker).await),
    ] {
        let error = connect(&proxy).await.unwrap_err();
        assert_eq!(error, ConnectError::Proxy(ProxyError::Login), "{proxy}");
        let warning = TrackerWarning::ConnectFailed { error, retry_in: Duration::ZERO };
        assert!(!format!("{warning} {warning:?}").contains("secret"));
    }
}

#[tokio::test]
async fn a_proxy_that_is_down_is_told_from_a_tracker_that_is() {
    // Bound and dropped: nothing listens there now.
    let (_, port) = listen().await;
    for scheme in ["http", "socks5"] {
        let error = connect(&format!("{scheme}://127.0.0.1:{port}")).await.unwrap_err();
        assert!(matches!(&error, ConnectError::Proxy(ProxyError::Unreachable(_))), "{error:?}");
    }
}

#[tokio::test]
async fn http_proxies_that_refuse_or_talk_nonsense() {
    let refused = fails("http", b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n".into(), false).await;
    assert_eq!(refused, ProxyError::Status(HttpRefusal::new(502)));
    let busy = b"HTTP/1.1 503 Unavailable\r\nretry-after: 90\r\nContent-Length: 5\r\n\r\nBusy\n";
    let ProxyError::Status(refused) = fails("http", busy.into(), false).await else { panic!("another error") };
    assert_eq!((refused.status, refused.body.as_deref()), (503, Some("Busy")));
    assert_eq!(refused.retry_after, Some(Duration::from_secs(90)));
    assert_eq!(fails("http", b"HTTP/1.1 200".into(), true).await, ProxyError::Closed);
    assert_eq!(fails("http", vec![], true).await, ProxyError::Closed);
    for nonsense in [&b"SSH-2.0-OpenSSH\r\n"[..], b"\x05\x00\x00\x01", b"HTTP/1.1 200 OK\r\n\r\nHello"] {
        let error = fails("http", nonsense.into(), false).await;
        assert!(matches!(error, ProxyError::Protocol(_)), "{error:?}");
    }
    let long = [b"HTTP/1.1 200 OK\r\nA: ".to_vec(), vec![b'a'; 1 << 20]].concat();
    assert_eq!(fails("http", long, false).await, ProxyError::HeadTooLong);
    let many = [b"HTTP/1.1 200 OK\r\n".to_vec(), b"A: b\r\n".repeat(100), b"\r\n".to_vec()].concat();
    assert_eq!(fails("http", many, false).await, ProxyError::HeadTooLong);
}

#[tokio::test]
async fn socks_proxies_that_refuse_or_talk_nonsense() {
    let refused = [&[5, 0][..], &[5, 5, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    assert!(matches!(fails("socks5", refused, false).await, ProxyError::Refused(why) if why.contains("refused")));
    for half in [&[][..], &[5], &[5, 0], &[5, 0, 5, 0, 0]] {
        assert_eq!(fails("socks5", half.into(), true).await, ProxyError::Closed, "{half:?}");
    }
    for nonsense in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], &[5, 7], &[5, 0, 4, 0, 0, 1], &[5, 0, 5, 0, 0, 9]] {
        let error = fails("socks5", nonsense.into(), false).await;
        assert!(matches!(error, ProxyError::Protocol(_)), "{nonsense:?}: {error:?}");
    }
}
