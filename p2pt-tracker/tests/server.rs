//! The tracker over real loopback sockets.

#![cfg(feature = "server")]

mod server_support;

use std::{collections::HashMap, fs, time::Duration};

use p2pt_proto::{ClientMessage, TrackerMessage};
use p2pt_tracker::{ServerConfig, TrackerServer};
use server_support::{Client, announce, answer, offer_id, peer, raw, swarm, with_offers};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::{
    client_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue, protocol::frame::coding::CloseCode},
};

async fn start(change: impl FnOnce(&mut ServerConfig)) -> TrackerServer {
    let mut config = ServerConfig::default();
    config.seed = Some(1);
    change(&mut config);
    TrackerServer::bind("127.0.0.1:0", config).await.expect("a free port")
}

async fn get(server: &TrackerServer, request: impl AsRef<[u8]>) -> String {
    raw(TcpStream::connect(server.local_addr()).await.expect("the server listens"), request).await
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("JSON")
}

/// What the JavaScript p2pt sent through bittorrent-tracker brings the same frames here.
#[tokio::test]
async fn a_javascript_session_is_served_as_by_bittorrent_tracker() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../p2pt-proto/tests/vectors/tracker-session.jsonl");
    let session = fs::read_to_string(path).expect("the recorded session of p2pt-proto");
    let server = start(|_| {}).await;
    let mut clients = HashMap::new();
    let mut compared = 0;
    for line in session.lines() {
        let event = json(line);
        let peer = event["peer"].as_u64();
        match (event["dir"].as_str(), peer) {
            (Some("open"), Some(peer)) => {
                clients.insert(peer, Client::connect(server.local_addr()).await);
            }
            (Some("c2s"), Some(peer)) => {
                let frame = event["raw"].as_str().expect("a text frame").to_owned();
                clients.get_mut(&peer).expect("an open socket").send(frame).await;
            }
            (Some("s2c"), Some(peer)) => {
                let expected = json(event["raw"].as_str().expect("a text frame"));
                let text = clients.get_mut(&peer).expect("an open socket").text().await;
                assert_eq!(json(&text), expected);
                compared += 1;
            }
            (Some("close"), Some(peer)) => clients.remove(&peer).expect("an open socket").close().await,
            _ => {}
        }
    }
    assert!(compared >= 10, "the session has {compared} frames from the tracker");
    assert_eq!(server.stats().swarms.peers, 0);
    assert_eq!(server.stats().swarms.failures, 0);
}

#[tokio::test]
async fn two_peers_exchange_an_offer_and_an_answer() {
    let server = start(|_| {}).await;
    let mut one = Client::connect(server.local_addr()).await;
    let mut two = Client::connect(server.local_addr()).await;
    two.announce(announce(2)).await;
    assert_eq!(two.reply().await, (0, 1));
    one.announce(with_offers(1, [5], 10)).await;
    assert_eq!(one.reply().await, (0, 2));
    let TrackerMessage::Offer(offer) = two.message().await else { panic!("no offer") };
    assert_eq!((offer.peer_id, offer.offer_id), (peer(1), offer_id(5)));
    two.send(answer(2, 1, 5)).await;
    let TrackerMessage::Answer(forwarded) = one.message().await else { panic!("no answer") };
    assert_eq!((forwarded.peer_id, forwarded.offer_id), (peer(2), offer_id(5)));
    two.send(answer(2, 1, 5)).await;
    assert!(two.failure().await.reason.contains("answered before"));

    let stats = server.stats();
    let swarms = &stats.swarms;
    assert_eq!((swarms.connections, swarms.swarms, swarms.peers), (2, 1, 2));
    assert_eq!((swarms.announces, swarms.offers_forwarded, swarms.answers_forwarded, swarms.failures), (2, 1, 1, 1));
    assert_eq!(stats.connections_opened, 2);
}

#[tokio::test]
async fn any_path_any_origin_and_binary_messages_will_do() {
    let server = start(|_| {}).await;
    let mut request = format!("{}/some/path?x=1", server.url()).into_client_request().expect("a request");
    request.headers_mut().insert("Origin", HeaderValue::from_static("https://elsewhere.example"));
    let stream = TcpStream::connect(server.local_addr()).await.expect("the server listens");
    let (socket, _) = client_async(request, stream).await.expect("a handshake");
    let mut client = Client(socket);
    client.send(Message::binary(ClientMessage::Announce(announce(1)).encode().into_bytes())).await;
    assert_eq!(client.reply().await, (0, 1));
}

#[tokio::test]
async fn a_message_may_come_together_with_the_handshake() {
    let server = start(|_| {}).await;
    let announce = ClientMessage::Announce(announce(1)).encode();
    // A masked text frame with a 16-bit length and an all-zero mask, then a close frame.
    let mut request = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x81\xfe"
        .to_vec();
    request.extend(u16::try_from(announce.len()).expect("a short announce").to_be_bytes());
    request.extend([0; 4]);
    request.extend(announce.as_bytes());
    request.extend([0x88, 0x80, 0, 0, 0, 0]);
    let mut stream = TcpStream::connect(server.local_addr()).await.expect("the server listens");
    stream.write_all(&request).await.expect("the server reads");
    let mut response = Vec::new();
    stream.read_to_end(&mut response).await.expect("an end");
    let response = String::from_utf8_lossy(&response);
    // The accept value for this key is that of RFC 6455, section 1.3.
    assert!(response.contains(": s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{response}");
    assert!(response.contains("\"incomplete\":1"), "{response}");
}

#[tokio::test]
async fn statistics_are_json() {
    let server = start(|_| {}).await;
    let mut client = Client::connect(server.local_addr()).await;
    client.announce(announce(1)).await;
    client.reply().await;
    let response = get(&server, "GET /stats.json HTTP/1.1\r\nHost: tracker\r\n\r\n").await;
    let (head, body) = response.split_once("\r\n\r\n").expect("a response");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("Content-Type: application/json"), "{head}");
    assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
    let stats = json(body);
    for (name, value) in [("torrents", 1), ("peersAll", 1), ("connections", 1), ("announces", 1), ("failures", 0)] {
        assert_eq!(stats[name], value, "{name}");
    }
}

#[tokio::test]
async fn other_requests_are_told_what_is_wrong() {
    let server = start(|_| {}).await;
    let key = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (request, status, text) in [
        ("GET /announce?info_hash=x HTTP/1.1\r\n\r\n".to_owned(), "426 Upgrade Required", "connect with a WebSocket"),
        ("GET /favicon.ico HTTP/1.1\r\n\r\n".to_owned(), "404 Not Found", "/stats.json"),
        ("POST / HTTP/1.1\r\n\r\n".to_owned(), "405 Method Not Allowed", "GET"),
        ("GET / HTTP/2.0\r\n\r\n".to_owned(), "505 HTTP Version Not Supported", "1.1"),
        ("\x16\x03\x01\x02\x00\x01\x00".to_owned(), "400 Bad Request", "not TLS"),
        (format!("GET / HTTP/1.1\r\n{key}\r\n"), "400 Bad Request", "Sec-WebSocket-Version"),
        (
            format!("GET / HTTP/1.1\r\nCookie: {}\r\n\r\n", "x".repeat(16384)),
            "431 Request Header Fields",
            "16384 bytes",
        ),
    ] {
        let response = get(&server, &request).await;
        let (head, body) = response.split_once("\r\n\r\n").expect("a response");
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{request:.60}: {head}");
        assert!(body.contains(text), "{request:.60}: {body:?} does not say {text:?}");
    }
    assert_eq!(server.stats().connections_opened, 0);
}

#[tokio::test]
async fn garbage_is_answered_until_it_is_too_much() {
    let server = start(|config| config.swarms.max_bad_frames = 3).await;
    let mut client = Client::connect(server.local_addr()).await;
    client.send("{").await;
    assert!(client.failure().await.reason.contains("bad JSON"));
    client.send(format!(r#"{{"action":"announce","info_hash":{:?}}}"#, "short")).await;
    let failure = client.failure().await;
    assert!(failure.reason.contains("info_hash"), "{failure:?}");
    assert_eq!(failure.action.as_deref(), Some("announce"));
    client.announce(announce(1)).await;
    assert_eq!(client.reply().await, (0, 1));
    for _ in 0..3 {
        client.send(Message::binary(vec![0xff, 0])).await;
    }
    assert_eq!(client.close_frame().await.code, CloseCode::Policy);
    assert_eq!(server.stats().swarms.connections, 0);
}

#[tokio::test]
async fn a_message_too_large_closes_the_connection_with_a_reason() {
    let server = start(|config| config.close_timeout = Duration::from_secs(60)).await;
    let limit = ServerConfig::default().max_message_bytes;
    let mut client = Client::connect(server.local_addr()).await;
    client.send("x".repeat(limit)).await;
    assert!(client.failure().await.reason.contains("bad JSON"), "the largest message is read");
    // The second is more than sockets buffer: the client must get to read the close frame all the same.
    for too_many in [limit + 1, 16 * 1024 * 1024] {
        let mut client = Client::connect(server.local_addr()).await;
        client.send("x".repeat(too_many)).await;
        let frame = client.close_frame().await;
        assert_eq!(frame.code, CloseCode::Size);
        assert!(frame.reason.contains("131072 bytes"), "{}", frame.reason);
    }
}

#[tokio::test]
async fn bytes_that_are_no_websocket_frame_close_the_connection_with_a_reason() {
    let server = start(|_| {}).await;
    let mut client = Client::connect(server.local_addr()).await;
    // An unmasked frame, which clients must not send.
    client.0.get_mut().write_all(&[0x81, 0x01, b'x']).await.expect("the server reads");
    assert_eq!(client.close_frame().await.code, CloseCode::Protocol);
}

#[tokio::test]
async fn beyond_the_limit_of_connections_clients_are_sent_away() {
    let server = start(|config| config.swarms.max_connections = 1).await;
    let first = Client::connect(server.local_addr()).await;
    let stream = TcpStream::connect(server.local_addr()).await.expect("the server listens");
    let refusal = client_async("ws://tracker/", stream).await.expect_err("the server is full").to_string();
    assert!(refusal.contains("503"), "{refusal}");
    let stats = get(&server, "GET /stats.json HTTP/1.1\r\n\r\n").await;
    assert!(stats.contains("\"connectionsRefused\":1"), "statistics are served all the same: {stats}");
    first.close().await;
    let mut next = Client::connect(server.local_addr()).await;
    next.announce(announce(1)).await;
    assert_eq!(next.reply().await, (0, 1));
}

#[tokio::test]
async fn an_address_has_so_many_sockets_and_no_more() {
    let server = start(|config| config.max_connections_per_address = 2).await;
    let first = Client::connect(server.local_addr()).await;
    // One that has not even sent its request counts too.
    let mut half_open = TcpStream::connect(server.local_addr()).await.expect("the server listens");
    let mut third = TcpStream::connect(server.local_addr()).await.expect("the server listens");
    // Closed without a word, or reset, which depends on what has arrived.
    let _ = third.write_all(b"GET / HTTP/1.1\r\n").await;
    assert!(matches!(third.read(&mut [0]).await, Ok(0) | Err(_)));
    assert_eq!(server.stats().connections_refused, 1);
    first.close().await;
    // Its task ends a moment after its socket.
    let again = async {
        loop {
            let stream = TcpStream::connect(server.local_addr()).await.expect("the server listens");
            if let Ok((socket, _)) = client_async("ws://tracker/announce", stream).await {
                return Client(socket);
            }
        }
    };
    let mut fourth = timeout(Duration::from_secs(30), again).await.expect("there is room again");
    fourth.announce(announce(1)).await;
    assert_eq!(fourth.reply().await, (0, 1));
    half_open.write_all(b"GET /stats.json HTTP/1.1\r\n\r\n").await.expect("the server reads");
    let mut response = String::new();
    half_open.read_to_string(&mut response).await.expect("a response");
    assert!(response.contains("\"peersAll\":1"), "{response}");
}

#[tokio::test]
async fn closing_a_socket_ends_its_memberships() {
    let server = start(|_| {}).await;
    let mut one = Client::connect(server.local_addr()).await;
    let mut two = Client::connect(server.local_addr()).await;
    one.announce(announce(1)).await;
    one.reply().await;
    one.close().await;
    // The same peer comes back at once, over another socket.
    two.announce(announce(1)).await;
    assert_eq!(two.reply().await, (0, 1));
    // One that dies without a word.
    drop(two);
    let mut three = Client::connect(server.local_addr()).await;
    three.announce(announce(1)).await;
    assert_eq!(three.reply().await, (0, 1), "the reset connection made way");
}

#[tokio::test]
async fn scrape_is_answered() {
    let server = start(|_| {}).await;
    let mut client = Client::connect(server.local_addr()).await;
    client.announce(announce(1)).await;
    client.reply().await;
    client.send(r#"{"action":"scrape"}"#).await;
    let reply = json(&client.text().await);
    assert_eq!(reply["action"], "scrape");
    assert_eq!(reply["files"][swarm().to_wire()]["incomplete"], 1);
    assert_eq!(reply["flags"]["min_request_interval"], 600);
}

#[tokio::test]
async fn shutdown_closes_every_socket_and_the_port() {
    let server = start(|_| {}).await;
    let addr = server.local_addr();
    let mut clients = vec![Client::connect(addr).await, Client::connect(addr).await];
    let stalled = TcpStream::connect(addr).await.expect("the server listens");
    clients[0].announce(announce(1)).await;
    clients[0].reply().await;
    let ended = async {
        for client in &mut clients {
            let frame = client.close_frame().await;
            assert_eq!((frame.code, frame.reason.as_str()), (CloseCode::Away, "this tracker is stopping"));
        }
    };
    tokio::join!(server.shutdown(), ended);
    assert_eq!(raw(stalled, "").await, "", "a socket that has sent nothing is closed too");
    assert!(TcpStream::connect(addr).await.is_err(), "nothing listens any more");
}

#[tokio::test]
async fn dropping_the_server_stops_it() {
    let server = start(|_| {}).await;
    let mut client = Client::connect(server.local_addr()).await;
    drop(server);
    assert_eq!(client.close_frame().await.code, CloseCode::Away);
}
