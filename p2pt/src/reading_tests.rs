use std::collections::BTreeMap;
use std::future::poll_fn;
use std::time::Duration;

use p2pt_mesh::mesh::ChannelId;
use p2pt_messaging::{Chunks, MessageId, Payload};
use p2pt_proto::PeerId;
use p2pt_transport::memory::MemoryNetwork;
use p2pt_transport::{Channel, ChannelClosed, Transport};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::{sleep, timeout};

use super::*;
use crate::settings::{PeerConfig, Settings};
use crate::{Event, InvalidFrame, RequestError};

/// A guard against hanging, in virtual time.
const DEADLINE: Duration = Duration::from_secs(3600);

async fn open(network: &MemoryNetwork) -> (Channel, Channel) {
    let (near, far) = (network.transport(), network.transport());
    let offer = near.offer().await.expect("an offer");
    let answer = far.answer(offer.sdp()).await.expect("an answer");
    let sdp = answer.sdp().to_owned();
    tokio::try_join!(offer.open(&sdp), answer.open()).expect("a channel")
}

fn peer(number: u8, settings: &Arc<Settings>) -> Peer {
    Peer::new(PeerId::from([number; 20]), None, settings.clone())
}

fn peer_channel(id: u64, near: &Channel) -> PeerChannel {
    PeerChannel::new(ChannelId(id), near.sender.clone(), near.info.max_frame_bytes)
}

fn held(settings: &Settings) -> u64 {
    settings.counters.held_bytes.load(std::sync::atomic::Ordering::Relaxed)
}

/// What a peer does: each message in frames of 1 KB, some never ended, some frames outside the format.
async fn speak(far: Channel, mut rng: StdRng) -> BTreeMap<&'static str, usize> {
    let mut said = BTreeMap::new();
    for number in 0..40 {
        let id = MessageId::from(number);
        let payload = Payload::from("x".repeat(rng.random_range(0..30_000)));
        let mut frames: Vec<String> = Chunks::new(&id, &payload, 1024).expect("a budget").collect();
        let kind = match rng.random_range(0..4) {
            0 if frames.len() > 1 => {
                frames.pop();
                "endless"
            }
            1 => {
                frames = vec!["y".repeat(rng.random_range(0..9_000))];
                "data"
            }
            _ => "message",
        };
        *said.entry(kind).or_default() += 1;
        for frame in frames {
            far.sender.send(Frame::text(frame)).await.expect("the channel stays");
        }
    }
    far.sender.close().await;
    said
}

/// What becomes of each thing that was said.
async fn listen(queue: &EventQueue, mut rng: StdRng) -> BTreeMap<&'static str, usize> {
    let (mut heard, mut latest) = (BTreeMap::new(), None);
    while let Some(event) = poll_fn(|cx| queue.poll_next(cx)).await {
        let what = match event {
            Event::Message(message) => {
                let id: u64 = message.id().to_string().parse().expect("a number");
                assert!(latest < Some(id), "{id} after {latest:?}");
                latest = Some(id);
                "message"
            }
            Event::Data(_) => "data",
            Event::InvalidFrame(InvalidFrame { error: ReceiveError::NodeFull { limit, .. }, .. }) => {
                assert_eq!(limit, 100_000);
                "given up"
            }
            Event::InvalidFrame(InvalidFrame { error: ReceiveError::Incomplete { .. }, .. }) => "expired",
            Event::InvalidFrame(_) => "rejected",
            _ => continue,
        };
        *heard.entry(what).or_default() += 1;
        if rng.random_ratio(1, 4) {
            sleep(Duration::from_millis(rng.random_range(0..500))).await;
        }
    }
    heard
}

#[tokio::test(start_paused = true)]
async fn whatever_peers_send_and_however_slowly_it_is_read_nothing_hangs_or_is_lost_untold() {
    let mut given_up = 0;
    for seed in 0..12 {
        let config = PeerConfig { receive_memory: 100_000, inbox_bytes: 10_000, ..PeerConfig::default() };
        // More peers than shares, and together they want ten times what there is.
        let (network, settings) = (MemoryNetwork::new(seed), Arc::new(Settings::sharing(config, 10)));
        let mut rng = StdRng::seed_from_u64(seed);
        let mut peers = tokio::task::JoinSet::new();
        for number in 0..12 {
            let (near, far) = open(&network).await;
            let (peer, queue) = (peer(number, &settings), EventQueue::new());
            let (speaking, listening) = (StdRng::from_rng(&mut rng), StdRng::from_rng(&mut rng));
            peers.spawn(async move {
                queue.connect(&peer);
                let channel = peer_channel(1, &near);
                let reading = async {
                    let said = tokio::join!(speak(far, speaking), read(&channel, near.receiver, &peer, &queue, None)).0;
                    queue.close(&peer, ChannelClosed::Remote, 0);
                    queue.end();
                    said
                };
                tokio::join!(reading, listen(&queue, listening))
            });
        }
        let watched = async {
            while let Some(ended) = peers.join_next().await {
                let (said, heard) = ended.expect("no panic");
                let count = |of: &BTreeMap<_, usize>, what| of.get(what).copied().unwrap_or(0);
                assert_eq!(count(&said, "data"), count(&heard, "data"), "{said:?} {heard:?}");
                let told = count(&heard, "message") + count(&heard, "given up");
                assert!(told >= count(&said, "message"), "{said:?} {heard:?}");
                assert!(count(&heard, "message") <= count(&said, "message"), "{said:?} {heard:?}");
                given_up += count(&heard, "given up");
            }
        };
        let bounded = async {
            loop {
                assert!(held(&settings) <= 100_000, "{} bytes", held(&settings));
                sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            ended = timeout(DEADLINE, watched) => ended.expect("nothing hangs"),
            () = bounded => {}
        }
        assert_eq!(held(&settings), 0);
    }
    assert!(given_up > 0, "the bound was never reached");
}

#[tokio::test(start_paused = true)]
async fn the_greediest_peer_pays_and_the_application_is_told() {
    let config = PeerConfig { receive_memory: 100_000, ..PeerConfig::default() };
    let (network, settings) = (MemoryNetwork::new(1), Arc::new(Settings::sharing(config, 2)));
    let (greedy, modest) = (peer(1, &settings), peer(2, &settings));
    let (queue, [greedy_pipe, modest_pipe]) = (EventQueue::new(), [open(&network).await, open(&network).await]);
    let chunk = |id: u64, index: usize, last: &str| {
        Frame::text(format!("^{{\"id\":{id},\"msg\":\"{}\",\"c\":{index}{last}}}", "x".repeat(10_000)))
    };
    queue.connect(&greedy);
    queue.connect(&modest);
    let received = || settings.counters.messages_received.load(std::sync::atomic::Ordering::Relaxed);
    let saying = async {
        for index in 0..6 {
            greedy_pipe.1.sender.send(chunk(1, index, "")).await.expect("the channel stays");
        }
        sleep(Duration::from_secs(1)).await;
        // 25,000 bytes are its share, and the greedy one has drawn nearly all of the rest.
        for index in 0..4 {
            modest_pipe
                .1
                .sender
                .send(chunk(2, index, if index == 3 { ",\"last\":true" } else { "" }))
                .await
                .expect("it stays");
        }
        // The greedy one pays while it says nothing.
        sleep(Duration::from_secs(1)).await;
        assert_eq!(received(), 1, "the modest one's message");
        // The id is free again when the message has ended.
        greedy_pipe.1.sender.send(chunk(1, 6, ",\"last\":true")).await.expect("the channel stays");
        greedy_pipe.1.sender.send(chunk(1, 0, ",\"last\":true")).await.expect("the channel stays");
        sleep(Duration::from_secs(1)).await;
        greedy_pipe.1.sender.close().await;
        modest_pipe.1.sender.close().await;
    };
    let (one, two) = (peer_channel(1, &greedy_pipe.0), peer_channel(2, &modest_pipe.0));
    tokio::join!(
        saying,
        read(&one, greedy_pipe.0.receiver, &greedy, &queue, None),
        read(&two, modest_pipe.0.receiver, &modest, &queue, None)
    );
    queue.end();
    queue.close(&greedy, ChannelClosed::Remote, 0);
    queue.close(&modest, ChannelClosed::Remote, 0);
    let mut heard = Vec::new();
    while let Some(event) = poll_fn(|cx| queue.poll_next(cx)).await {
        match event {
            Event::Message(message) => heard.push((message.peer().clone(), format!("message {}", message.id()))),
            Event::InvalidFrame(InvalidFrame { peer, error: ReceiveError::NodeFull { id, bytes, limit } }) => {
                assert!(bytes > 60_000 && limit == 100_000, "{bytes} of {limit}");
                heard.push((peer, format!("{id} given up")));
            }
            Event::InvalidFrame(InvalidFrame { peer, .. }) => heard.push((peer, "rejected".to_owned())),
            _ => {}
        }
    }
    let of = |peer: &Peer| -> Vec<String> {
        heard.iter().filter(|(of, _)| of == peer).map(|(_, what)| what.clone()).collect()
    };
    assert_eq!(of(&modest), ["message 2"]);
    assert_eq!(of(&greedy), ["1 given up", "rejected", "message 1"]);
    let counters = &settings.counters;
    assert_eq!(counters.messages_given_up.load(std::sync::atomic::Ordering::Relaxed), 1);
    assert_eq!((counters.invalid_frames.load(std::sync::atomic::Ordering::Relaxed), held(&settings)), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn responses_that_are_not_awaited_end_the_requests_behind_them() {
    let (settings, network, queue) = (Arc::new(Settings::alone(1000)), MemoryNetwork::new(1), EventQueue::new());
    let (peer, (near, far)) = (peer(1, &settings), open(&network).await);
    queue.connect(&peer);
    let channel = Arc::new(peer_channel(1, &near));
    peer.shared().add_channel(channel.clone(), None);
    let asking = async {
        let (mut asked, mut awaited) = (Vec::new(), Vec::new());
        for number in 0..3 {
            let id = MessageId::from(number);
            asked.push(peer.request_in_response_to(id.clone(), "?").send().await.expect("sent"));
            let response = Payload::from("x".repeat(600));
            for frame in Chunks::new(&id, &response, 1024).expect("a budget") {
                far.sender.send(Frame::text(frame)).await.expect("the channel stays");
            }
        }
        // The first has come and is not awaited, which holds up the others.
        let first = asked.remove(0);
        for pending in asked {
            awaited
                .push(timeout(Duration::from_secs(10), pending).await.expect("it ends soon").expect_err("held back"));
        }
        assert_eq!(awaited, [RequestError::InboxFull, RequestError::InboxFull]);
        assert_eq!(first.await.expect("it was there all the time").text().map(str::len), Some(600));
    };
    tokio::select! {
        () = asking => {}
        () = read(&channel, near.receiver, &peer, &queue, None) => panic!("the channel stays"),
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_item_holds_besides_its_text_counts() {
    let settings = Arc::new(Settings::alone(10_000));
    let (peer, queue) = (peer(1, &settings), EventQueue::new());
    queue.connect(&peer);
    let id: MessageId = format!("\"{}\"", "i".repeat(254)).parse().expect("an id");
    let message = || Inbound::Message(Message { id: id.clone(), payload: "".into() });
    let fits = (0..1000).take_while(|_| queue.try_push(&peer, message()).is_ok()).count();
    assert_eq!(fits, 10_000 / (128 + 256));

    let other = self::peer(2, &settings);
    queue.connect(&other);
    let invalid = || Inbound::Invalid(ReceiveError::Incomplete { id: id.clone(), chunks: 1 });
    let fits = (0..1000).take_while(|_| queue.try_push(&other, invalid()).is_ok()).count();
    assert_eq!(fits, 10_000 / (128 + 256));
}
