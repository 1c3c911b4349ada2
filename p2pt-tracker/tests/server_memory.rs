//! What a connection that is idle takes of the heap, counted by an allocator. The system's buffers are not counted, nor is
//! what an allocator wastes.

#![cfg(feature = "server")]

mod server_support;

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use allocation_counter::measure;
use p2pt_proto::{Announce, ClientMessage, InfoHash, Offer, TrackerMessage};
use p2pt_tracker::{ServerConfig, TrackerServer};
use server_support::{GUARD, offer_id, peer};
use tokio::time::timeout;

/// Few enough for 256 descriptors, which some systems allow: each has both ends here.
const CONNECTIONS: u32 = 100;

const HANDSHAKE: &[u8] = b"GET /announce HTTP/1.1\r\nHost: tracker\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A client's text frame, with a mask of zeros.
fn frame(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("a short text");
    let mut frame = vec![0x81, 0x80 | 126];
    frame.extend(length.to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(text.as_bytes());
    frame
}

/// An announce with five offers, as long as a browser's.
fn announce(n: u32) -> Vec<u8> {
    let mut hash = [0; 20];
    hash[..4].copy_from_slice(&n.to_be_bytes());
    let mut announce = Announce::new(InfoHash::from(hash), peer(1));
    announce.offers = Some((0..5).map(|id| Offer::new(offer_id(id), "v=0\r\n".repeat(200))).collect());
    frame(&ClientMessage::Announce(announce).encode())
}

/// Lets the tracker work until the count is reached.
async fn until(server: &TrackerServer, reached: impl Fn(&TrackerServer) -> bool) {
    let reached = async {
        while !reached(server) {
            tokio::task::yield_now().await;
        }
        // What is left to be done for the last one.
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
    };
    timeout(GUARD, reached).await.expect("the tracker works");
}

#[test]
fn an_idle_connection_takes_at_most_4_kib() {
    // On this thread alone, for which the allocator counts; the clients are plain sockets, which take nothing.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let server = runtime.block_on(TrackerServer::bind("127.0.0.1:0", ServerConfig::default())).expect("a free port");
    let addr = server.local_addr();
    let mut clients: Vec<TcpStream> = Vec::with_capacity(CONNECTIONS as usize);
    let announces: Vec<Vec<u8>> = (0..CONNECTIONS).map(announce).collect();
    let each = |bytes: i64| bytes / i64::from(CONNECTIONS);

    let opened = measure(|| {
        for n in 1..=CONNECTIONS as usize {
            let mut client = TcpStream::connect(addr).expect("the server listens");
            client.write_all(HANDSHAKE).expect("room");
            clients.push(client);
            runtime.block_on(until(&server, |server| server.stats().swarms.connections == n));
        }
    });
    let announced = measure(|| {
        for (n, (client, announce)) in (1..).zip(clients.iter_mut().zip(&announces)) {
            client.write_all(announce).expect("room");
            runtime.block_on(until(&server, |server| server.stats().swarms.announces == n));
        }
    });
    // All was answered.
    let mut received = [0; 1024];
    for client in &mut clients {
        client.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket");
        let bytes = client.read(&mut received).expect("an answer");
        let frame = received[..bytes].iter().rposition(|byte| *byte == b'{').map(|at| &received[at..bytes]);
        assert!(matches!(frame.map(TrackerMessage::decode), Some(Ok(TrackerMessage::Announced(_)))), "{received:?}");
    }
    let (opened, announced) = (each(opened.bytes_current), each(announced.bytes_current));
    println!("{opened} bytes for an open connection, {announced} more for a member of a swarm of its own");
    assert!(opened + announced <= 4096, "{opened} bytes for a connection and {announced} more for a member");
}
