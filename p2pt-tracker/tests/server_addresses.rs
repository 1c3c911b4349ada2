//! Many sockets of one address, beside those of others, over in-memory streams and under paused time.

#![cfg(feature = "server")]

mod server_support;

use std::{net::IpAddr, time::Duration};

use p2pt_proto::{Announce, ClientMessage, InfoHash};
use p2pt_tracker::{ServerConfig, TrackerService};
use server_support::{Client, announce, peer};
use tokio::{
    io::{DuplexStream, duplex},
    task::JoinSet,
    time::{Instant, sleep},
};

const HOSTILE: [u8; 4] = [192, 0, 2, 1];

async fn open(service: &TrackerService, address: impl Into<IpAddr>) -> Client<DuplexStream> {
    let (near, far) = duplex(16 * 1024);
    tokio::spawn(service.serve_from(address.into(), far));
    Client::over(near).await
}

/// A tracker on which an address may cause a hundred messages a second and two hundred at once.
fn service() -> TrackerService {
    let mut config = ServerConfig::default();
    config.seed = Some(1);
    config.messages_per_second_per_address = 100;
    config.message_burst_per_address = 200;
    config.message_burst = 200;
    TrackerService::new(config)
}

/// Opens so many sockets, each of which announces new swarms as fast as it may.
async fn flood(service: &TrackerService, sockets: u32) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for socket in 0..sockets {
        let mut client = open(service, HOSTILE).await;
        tasks.spawn(async move {
            for n in 0u32.. {
                let mut hash = [0; 20];
                hash[..4].copy_from_slice(&socket.to_be_bytes());
                hash[4..8].copy_from_slice(&n.to_be_bytes());
                client.announce(Announce::new(InfoHash::from(hash), peer(1))).await;
                client.message().await;
            }
        });
    }
    tasks
}

#[tokio::test(start_paused = true)]
async fn sockets_of_one_address_share_its_rate_and_burst() {
    let service = service();
    let hostile = flood(&service, 50).await;
    let begun = Instant::now();
    sleep(Duration::from_secs(10)).await;
    // On their own each may cause 200 at once and 50 a second, which is 35,000.
    let announces = service.stats().swarms.announces;
    assert!((1000..=2300).contains(&announces), "{announces} announces in {:?}", begun.elapsed());

    // A client of another address does not notice, and one of the same address waits for a moment.
    for (address, longest) in [([192, 0, 2, 9], Duration::ZERO), (HOSTILE, Duration::from_secs(3))] {
        let mut good = open(&service, address).await;
        for n in 0..3 {
            let asked = Instant::now();
            good.announce(announce(100 + n)).await;
            good.reply().await;
            assert!(asked.elapsed() <= longest, "a reply to {address:?} took {:?}", asked.elapsed());
        }
        good.close().await;
    }
    drop(hostile);
}

#[tokio::test(start_paused = true)]
async fn without_shares_each_socket_has_its_own_rate_and_burst() {
    let mut config = ServerConfig::default();
    config.messages_per_second_per_address = 50;
    config.message_burst_per_address = 200;
    config.message_burst = 200;
    config.swarms.address_share = 1;
    let service = TrackerService::new(config);
    let hostile = flood(&service, 10).await;
    sleep(Duration::from_secs(1)).await;
    let announces = service.stats().swarms.announces;
    assert!((2000..=2600).contains(&announces), "{announces} announces");
    drop(hostile);
}

#[tokio::test(start_paused = true)]
async fn closing_and_opening_again_brings_no_further_burst() {
    let service = service();
    let begun = Instant::now();
    let text = ClientMessage::Announce(announce(1)).encode();
    for _ in 0..5 {
        let mut client = open(&service, HOSTILE).await;
        for _ in 0..199 {
            client.send(text.clone()).await;
            client.reply().await;
        }
        client.close().await;
    }
    // The first burst is free, the other four cost two seconds each.
    assert!(begun.elapsed() >= Duration::from_millis(7900), "it took {:?}", begun.elapsed());

    // Nor does a socket for each message: it costs as much as another message.
    let begun = Instant::now();
    for _ in 0..300 {
        let mut client = open(&service, HOSTILE).await;
        client.send(text.clone()).await;
        client.reply().await;
        client.close().await;
    }
    assert!(begun.elapsed() >= Duration::from_millis(5900), "it took {:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_its_address_holds_up_is_not_taken_for_dead() {
    let mut config = ServerConfig::default();
    config.messages_per_second = 1;
    config.message_burst = 1;
    config.messages_per_second_per_address = 1;
    config.message_burst_per_address = 1;
    config.idle_timeout = Duration::from_secs(10);
    config.ping_interval = Duration::from_secs(4);
    let service = TrackerService::new(config);
    let mut clients = Vec::new();
    for n in 0..30 {
        let mut client = open(&service, HOSTILE).await;
        client.announce(announce(n)).await;
        clients.push(client);
    }
    // Each waits for its turn, the last for half a minute; pongs cannot be read meanwhile.
    for mut client in clients {
        client.reply().await;
    }
    assert_eq!(service.stats().swarms.announces, 30);
}
