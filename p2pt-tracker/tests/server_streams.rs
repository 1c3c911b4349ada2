//! The tracker over in-memory streams and under paused time: whatever takes seconds.

#![cfg(feature = "server")]

mod server_support;

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use p2pt_proto::TrackerMessage;
use p2pt_tracker::{ServerConfig, TrackerService};
use server_support::{Client, announce, offer_id, raw, with_offers};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        protocol::{Role, frame::coding::CloseCode},
    },
};

/// What the streams hold on to in each direction.
const BUFFER_BYTES: usize = 16 * 1024;

fn service(change: impl FnOnce(&mut ServerConfig)) -> TrackerService {
    let mut config = ServerConfig::default();
    config.seed = Some(1);
    change(&mut config);
    TrackerService::new(config)
}

fn stream(service: &TrackerService) -> (DuplexStream, JoinHandle<()>) {
    let (near, far) = duplex(BUFFER_BYTES);
    (near, tokio::spawn(service.serve(far)))
}

async fn connect(service: &TrackerService) -> (Client<DuplexStream>, JoinHandle<()>) {
    let (near, served) = stream(service);
    (Client::over(near).await, served)
}

/// The close frame to a client that reads nothing any more gave this reason.
async fn assert_was_told(mut client: Client<DuplexStream>, reason: &str) {
    let mut unread = Vec::new();
    client.0.get_mut().read_to_end(&mut unread).await.expect("the stream has ended");
    let unread = String::from_utf8_lossy(&unread);
    assert!(unread.contains(reason), "{unread}");
}

#[tokio::test(start_paused = true)]
async fn a_handshake_has_ten_seconds() {
    let service = service(|_| {});
    for begun in ["", "GET / HTTP/1.1\r\nUpgr"] {
        let (near, served) = stream(&service);
        let start = Instant::now();
        assert_eq!(raw(near, begun).await, "");
        assert_eq!(start.elapsed().as_secs(), 10, "after {begun:?}");
        served.await.expect("no panic");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handshake_in_pieces_is_a_handshake() {
    let service = service(|_| {});
    let (mut near, _served) = stream(&service);
    let request = "GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    for byte in request.as_bytes() {
        near.write_all(&[*byte]).await.expect("the server reads");
        sleep(Duration::from_millis(1)).await;
    }
    let mut response = vec![0; 32];
    near.read_exact(&mut response).await.expect("a response");
    assert!(response.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&response));
}

#[tokio::test(start_paused = true)]
async fn an_idle_client_is_pinged_and_a_silent_one_closed() {
    let service = service(|_| {});
    let (mut client, served) = connect(&service).await;
    let start = Instant::now();
    // As long as it answers, nothing happens: an hour of pings.
    for n in 1..=120 {
        assert!(matches!(client.0.next().await, Some(Ok(Message::Ping(_)))));
        assert_eq!(start.elapsed().as_secs(), 30 * n);
        client.0.flush().await.expect("the pong leaves");
    }
    // Then it receives nothing more and sends nothing more.
    served.await.expect("no panic");
    assert_eq!(start.elapsed().as_secs(), 3600 + 75 + 2, "75 s idle, 2 s for its close frame");
    assert_eq!(service.stats().swarms.connections, 0);
    assert_was_told(client, "no sign of life").await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_comes_back_after_an_unclean_drop() {
    let service = service(|_| {});
    let (mut other, _) = connect(&service).await;
    other.announce(announce(2)).await;
    other.reply().await;
    let (mut lost, lost_served) = connect(&service).await;
    lost.announce(announce(1)).await;
    lost.reply().await;
    // `lost` is not read any more, as if the network were gone. The peer connects anew.
    let (mut back, _) = connect(&service).await;
    let start = Instant::now();
    back.announce(with_offers(1, [9], 10)).await;
    assert_eq!(back.reply().await, (0, 2));
    assert_eq!(start.elapsed().as_secs(), 5);
    let TrackerMessage::Offer(offer) = other.message().await else { panic!("no offer") };
    assert_eq!(offer.offer_id, offer_id(9));
    assert_eq!(service.stats().swarms.connections_evicted, 1);
    lost_served.await.expect("no panic");
    assert_was_told(lost, "another connection announced the same peer_id").await;
}

#[tokio::test(start_paused = true)]
async fn a_living_peer_keeps_its_id() {
    let service = service(|_| {});
    let (mut holder, _) = connect(&service).await;
    holder.announce(announce(1)).await;
    holder.reply().await;
    // The holder only answers pings.
    let holder = tokio::spawn(async move { holder.next().await });
    let (mut thief, _) = connect(&service).await;
    let start = Instant::now();
    thief.announce(announce(1)).await;
    assert!(thief.failure().await.reason.contains("in use"));
    assert_eq!(start.elapsed().as_secs(), 0);
    assert_eq!(service.stats().swarms.connections_evicted, 0);
    assert!(!holder.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_has_to_wait_is_not_taken_for_dead() {
    let service = service(|config| {
        (config.messages_per_second, config.message_burst) = (1, 1);
    });
    let (mut holder, _) = connect(&service).await;
    // It costs seven messages, so that nothing is read for seven seconds, which is longer than a claim waits.
    holder.announce(with_offers(1, [1], 25 * 1024)).await;
    holder.reply().await;
    let holder = tokio::spawn(async move { holder.next().await });
    let (mut thief, _) = connect(&service).await;
    let start = Instant::now();
    thief.announce(announce(1)).await;
    assert!(thief.failure().await.reason.contains("in use"));
    assert!((6..=8).contains(&start.elapsed().as_secs()), "when its pong is read: {:?}", start.elapsed());
    assert_eq!(service.stats().swarms.connections_evicted, 0);
    assert!(!holder.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_dropped_after_the_write_deadline() {
    let service = service(|_| {});
    let (mut lazy, lazy_served) = connect(&service).await;
    lazy.announce(announce(2)).await;
    lazy.reply().await;
    let (mut busy, _) = connect(&service).await;
    let start = Instant::now();
    // Two messages that the stream has no room for together, within the bounds of the queue.
    for id in 0..2 {
        busy.announce(with_offers(1, [id], 10 * 1024)).await;
        assert_eq!(busy.reply().await, (0, 2));
    }
    lazy_served.await.expect("no panic");
    assert_eq!(start.elapsed().as_secs(), 10);
    assert_eq!(service.stats().slow_readers_dropped, 1);
    busy.announce(announce(1)).await;
    assert_eq!(busy.reply().await, (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_dropped_when_its_queue_is_full() {
    for by_bytes in [false, true] {
        let service = service(|config| {
            config.max_queued_messages = if by_bytes { 1000 } else { 5 };
            config.max_queued_bytes = if by_bytes { 50 * 1024 } else { 1024 * 1024 };
        });
        let (mut lazy, lazy_served) = connect(&service).await;
        lazy.announce(announce(2)).await;
        lazy.reply().await;
        let (mut busy, _) = connect(&service).await;
        let start = Instant::now();
        let mut announces = 0;
        loop {
            busy.announce(with_offers(1, [announces], 10 * 1024)).await;
            announces += 1;
            if busy.reply().await == (0, 1) {
                break;
            }
            assert!(announces < 20, "more is queued than may be");
        }
        lazy_served.await.expect("no panic");
        assert_eq!(start.elapsed().as_secs(), 0, "long before the write deadline");
        assert_eq!(service.stats().slow_readers_dropped, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_pings_and_does_not_read_is_dropped() {
    let service = service(|_| {});
    let (mut client, served) = connect(&service).await;
    let start = Instant::now();
    // Each is answered with a pong, for which there is no room before long.
    let ping: Vec<u8> = [&[0x89, 0xfd, 0, 0, 0, 0][..], &[b'p'; 125]].concat();
    while client.0.get_mut().write_all(&ping).await.is_ok() {}
    served.await.expect("no panic");
    assert_eq!(start.elapsed().as_secs(), 10, "a pong has as long as any message");
}

#[tokio::test(start_paused = true)]
async fn a_flood_is_slowed_down_and_loses_nothing() {
    let service = service(|config| {
        config.messages_per_second = 10;
        config.message_burst = 20;
    });
    let (client, _) = connect(&service).await;
    let start = Instant::now();
    let (mut writing, mut reading) = client.0.split();
    let flood = async {
        for _ in 0..120 {
            writing.send(Message::text(r#"{"action":"scrape"}"#)).await.expect("the server reads");
        }
    };
    let replies = async {
        for _ in 0..120 {
            assert!(matches!(reading.next().await, Some(Ok(Message::Text(_)))));
        }
    };
    tokio::join!(flood, replies);
    assert_eq!(start.elapsed().as_secs(), 10, "20 at once, then 100 at 10 a second");
}

#[tokio::test(start_paused = true)]
async fn stopping_waits_for_no_one_longer_than_it_says() {
    let service = service(|_| {});
    let (mut polite, polite_served) = connect(&service).await;
    let (_deaf, deaf_served) = connect(&service).await;
    let (half, half_served) = stream(&service);
    let start = Instant::now();
    service.stop();
    assert_eq!(polite.close_frame().await.code, CloseCode::Away);
    polite_served.await.expect("no panic");
    half_served.await.expect("no panic");
    assert_eq!(start.elapsed().as_secs(), 0);
    assert_eq!(service.stats().swarms.connections, 0, "a client that has yet to hang up is no member any more");
    deaf_served.await.expect("no panic");
    assert_eq!(start.elapsed().as_secs(), 2);
    drop(half);
    let (near, served) = stream(&service);
    assert_eq!(raw(near, "").await, "", "no new streams are served");
    served.await.expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_stops_the_tracker() {
    let service = service(|_| {});
    let (mut client, served) = connect(&service).await;
    let clone = service.clone();
    drop(service);
    client.announce(announce(1)).await;
    assert_eq!(client.reply().await, (0, 1));
    drop(clone);
    assert_eq!(client.close_frame().await.code, CloseCode::Away);
    served.await.expect("no panic");
}

/// A client whose HTTP request something else has answered, at this address.
async fn upgraded(service: &TrackerService, address: [u8; 4]) -> (Client<DuplexStream>, JoinHandle<()>) {
    let (near, far) = duplex(BUFFER_BYTES);
    let served = tokio::spawn(service.serve_upgraded(far, Some(address.into())));
    (Client(WebSocketStream::from_raw_socket(near, Role::Client, None).await), served)
}

#[tokio::test(start_paused = true)]
async fn an_upgraded_stream_is_served_like_any_other() {
    let service = service(|config| config.max_message_bytes = 4096);
    let (mut one, served) = upgraded(&service, [192, 0, 2, 1]).await;
    let (mut two, _) = connect(&service).await;
    two.announce(announce(2)).await;
    two.reply().await;
    one.announce(with_offers(1, [5], 10)).await;
    assert_eq!(one.reply().await, (0, 2));
    let TrackerMessage::Offer(offer) = two.message().await else { panic!("no offer") };
    assert_eq!(offer.offer_id, offer_id(5));
    one.send("x".repeat(4097)).await;
    assert_eq!(one.close_frame().await.code, CloseCode::Size);
    drop(one);
    served.await.expect("no panic");

    let (silent, served) = upgraded(&service, [192, 0, 2, 1]).await;
    let start = Instant::now();
    served.await.expect("no panic");
    assert_eq!(start.elapsed().as_secs(), 75 + 2, "75 s idle, 2 s for its close frame");
    assert_was_told(silent, "no sign of life").await;
}

#[tokio::test(start_paused = true)]
async fn upgraded_streams_beyond_a_limit_are_told_to_come_back_later() {
    let service = service(|config| {
        config.swarms.max_connections = 2;
        config.max_connections_per_address = 1;
    });
    let (mut first, first_served) = upgraded(&service, [192, 0, 2, 1]).await;
    let (mut same, _) = upgraded(&service, [192, 0, 2, 1]).await;
    assert_eq!(same.close_frame().await.code, CloseCode::Again, "the address has its one socket");
    let (_second, _) = upgraded(&service, [192, 0, 2, 2]).await;
    let (mut third, _) = upgraded(&service, [192, 0, 2, 3]).await;
    assert_eq!(third.close_frame().await.code, CloseCode::Again, "the tracker is full");
    let refused = service.stats().refused;
    assert_eq!((refused.per_address, refused.full, service.stats().connections_opened), (1, 1, 2));

    // One that does not answer the close frame is given up.
    let (_deaf, deaf_served) = upgraded(&service, [192, 0, 2, 4]).await;
    let start = Instant::now();
    deaf_served.await.expect("no panic");
    assert_eq!(start.elapsed().as_secs(), 2);

    first.announce(announce(1)).await;
    first.reply().await;
    first.close().await;
    first_served.await.expect("no panic");
    let (mut again, again_served) = upgraded(&service, [192, 0, 2, 1]).await;
    again.announce(announce(1)).await;
    assert_eq!(again.reply().await, (0, 1), "there is room again");
    service.stop();
    assert_eq!(again.close_frame().await.code, CloseCode::Away);
    again_served.await.expect("no panic");
    let (mut late, _) = upgraded(&service, [192, 0, 2, 1]).await;
    assert_eq!(late.close_frame().await.code, CloseCode::Away, "none is served by a tracker that has stopped");
}
