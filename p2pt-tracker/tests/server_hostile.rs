//! Many hostile clients and a few good ones, over in-memory streams and under paused time.

#![cfg(feature = "server")]

mod server_support;

use std::time::Duration;

use futures_util::{SinkExt, StreamExt, stream::SplitSink};
use p2pt_proto::{
    Announce, AnnounceEvent, AnswerRequest, ClientMessage, ForwardedOffer, InfoHash, Offer, PeerId, TrackerMessage,
};
use p2pt_tracker::{ServerConfig, SwarmsStats, TrackerService};
use server_support::{Client, GUARD};
use tokio::{
    io::{AsyncWriteExt, DuplexStream, duplex},
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{self, Message},
};

const GOOD: usize = 20;
const HOSTILE: usize = 210;
const SIEGE: Duration = Duration::from_secs(15);
const BUFFER_BYTES: usize = 16 * 1024;
const MAX_MESSAGE_BYTES: usize = 16 * 1024;

type Stream = WebSocketStream<DuplexStream>;

fn stream(service: &TrackerService) -> DuplexStream {
    let (near, far) = duplex(BUFFER_BYTES);
    tokio::spawn(service.serve(far));
    near
}

async fn open(service: &TrackerService) -> Stream {
    Client::over(stream(service)).await.0
}

fn peer(number: usize) -> PeerId {
    let mut id = [0; 20];
    id[..8].copy_from_slice(&number.to_be_bytes());
    id.into()
}

/// Good and hostile clients meet in two swarms.
fn swarm(number: usize) -> InfoHash {
    InfoHash::from([number as u8 % 2; 20])
}

fn announce(swarm: InfoHash, peer: PeerId, offers: std::ops::Range<u64>) -> Message {
    let offer = |number: u64| {
        let mut offer_id = *peer.as_bytes();
        offer_id[12..].copy_from_slice(&number.to_be_bytes());
        Offer::new(offer_id.into(), "s".repeat(400))
    };
    let mut announce = Announce::new(swarm, peer);
    announce.offers = Some(offers.map(offer).collect());
    Message::text(ClientMessage::Announce(announce).encode())
}

/// Announces six times, answers every offer, and returns how many answers came to its own.
async fn behave(service: TrackerService, number: usize) -> u32 {
    let (swarm, me) = (swarm(number), peer(number));
    let (mut sink, mut source) = open(&service).await.split();
    let (write, mut queue) = mpsc::channel(64);
    let writing = tokio::spawn(async move {
        while let Some(message) = queue.recv().await {
            sink.send(message).await.expect("the tracker reads");
        }
        sink
    });
    let mut answers = 0;
    for round in 0..6 {
        let start = Instant::now();
        write.send(announce(swarm, me, round * 5..round * 5 + 5)).await.expect("the writer lives");
        let mut replied = false;
        while let Ok(message) = timeout_at(start + SIEGE / 6, source.next()).await {
            let message = message.expect("the tracker remains").expect("a frame");
            let Message::Text(text) = message else { continue };
            match TrackerMessage::decode(text.as_str()).expect("a tracker's message") {
                TrackerMessage::Announced(_) => {
                    replied = true;
                    // Nothing but waiting takes time here.
                    assert!(start.elapsed() < Duration::from_millis(100), "a reply took {:?}", start.elapsed());
                }
                TrackerMessage::Offer(ForwardedOffer { peer_id: to_peer_id, offer_id, .. }) => {
                    let sdp = "answer";
                    let answer = AnswerRequest::new(swarm, me, to_peer_id, offer_id, sdp);
                    write.try_send(Message::text(ClientMessage::Answer(answer).encode())).expect("no jam of answers");
                }
                TrackerMessage::Answer(_) => answers += 1,
                // The offerer has left in the meantime, or left and come back.
                TrackerMessage::Failure(failure) => {
                    let left = failure.reason.contains("has left") || failure.reason.contains("awaiting an answer");
                    assert!(left, "{failure:?}");
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(replied, "an announce got no reply");
    }
    drop(write);
    // The connection remains open.
    let sink = writing.await.expect("no panic");
    std::mem::forget((sink, source));
    answers
}

/// Misbehaves in one of seven ways until the connection ends.
async fn misbehave(service: &TrackerService, number: usize) {
    let kind = number % 7;
    if kind == 0 {
        let mut stream = stream(service);
        let mut head: &[u8] = b"GET / HTTP/1.1\r\nCookie: ";
        while stream.write_all(head).await.is_ok() {
            head = b"x";
            sleep(Duration::from_secs(1)).await;
        }
        return;
    }
    let Some(client) = timeout(GUARD, open(service)).await.ok() else { return };
    let (mut sink, mut source) = client.split();
    let flood = async {
        for round in 0.. {
            if send_one(&mut sink, kind, number, round).await.is_err() {
                break;
            }
        }
    };
    if kind == 1 {
        // Nothing is read.
        return flood.await;
    }
    tokio::select! {
        () = flood => {}
        () = async { while let Some(Ok(_)) = source.next().await {} } => {}
    }
}

async fn send_one(
    sink: &mut SplitSink<Stream, Message>,
    kind: usize,
    number: usize,
    round: u64,
) -> Result<(), tungstenite::Error> {
    let me = peer(number);
    sink.send(match kind {
        1 => announce(swarm(number), me, round * 5..round * 5 + 5),
        2 => Message::binary(vec![0xff; 40]),
        // A new swarm each time.
        3 => announce(InfoHash::from(*peer(number << 32 | round as usize).as_bytes()), me, 0..0),
        4 if round.is_multiple_of(2) => announce(swarm(number), me, round * 5..round * 5 + 10),
        // Leaving makes room for further offers.
        4 => {
            let mut stopped = Announce::new(swarm(number), me);
            stopped.event = Some(AnnounceEvent::Stopped);
            Message::text(ClientMessage::Announce(stopped).encode())
        }
        5 => Message::text(r#"{"action":"scrape"}"#),
        _ => Message::text("x".repeat(MAX_MESSAGE_BYTES + 1)),
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn good_clients_are_served_at_once_among_ten_times_as_many_hostile_ones() {
    let mut config = ServerConfig::default();
    config.seed = Some(1);
    config.max_message_bytes = MAX_MESSAGE_BYTES;
    // Less work for the test, in the same proportions.
    config.message_burst = 50;
    config.swarms.max_memberships_per_connection = 100;
    config.swarms.max_scraped_swarms = 50;
    let service = TrackerService::new(config);
    let mut hostile = JoinSet::new();
    for number in GOOD..GOOD + HOSTILE {
        let service = service.clone();
        hostile.spawn(async move {
            loop {
                misbehave(&service, number).await;
                sleep(Duration::from_millis(500)).await;
            }
        });
    }
    let mut good: JoinSet<u32> = (0..GOOD).map(|number| behave(service.clone(), number)).collect();
    let mut answers = 0;
    while let Some(client) = good.join_next().await {
        answers += client.expect("a good client is served");
    }
    // Most offers went to hostile members, which do not answer; but not all.
    assert!(answers > 0);
    let stats = service.stats();
    assert!(stats.slow_readers_dropped > 0, "{stats:?}");
    assert!(stats.swarms.connections <= GOOD + HOSTILE);
    // With the hostile ones everything goes that was theirs, once their time to hang up is over.
    hostile.shutdown().await;
    sleep(Duration::from_secs(20)).await;
    let SwarmsStats { connections, swarms, peers, .. } = service.stats().swarms;
    assert_eq!((connections, swarms, peers), (GOOD, 2, GOOD));
}
