//! What p2pt/2 gives two nodes that both speak it, in a world of nodes under virtual time.

use std::time::Duration;

use p2pt::testing::World;
use p2pt::{Event, Events, Message, Payload, Peer, PeerStream, SendError, Swarm, Urgency};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Two nodes that have met, and what each has of the other.
struct Pair {
    world: World,
    alice: Swarm,
    to_bob: Peer,
    alice_events: Events,
    bob: Swarm,
    to_alice: Peer,
    bob_events: Events,
}

async fn pair(seed: u64) -> Pair {
    let world = World::new(seed);
    let (alice, alice_events) = world.join("room").await;
    let (bob, bob_events) = world.join("room").await;
    let to_bob = alice.wait_for_peer().await.expect("they meet");
    let to_alice = bob.wait_for_peer().await.expect("they meet");
    Pair { world, alice, to_bob, alice_events, bob, to_alice, bob_events }
}

async fn message(events: &mut Events) -> Message {
    loop {
        match events.next().await.expect("there is more") {
            Event::Message(message) => return message,
            Event::PeerClosed(closed) => panic!("{closed}"),
            _ => {}
        }
    }
}

async fn stream(events: &mut Events) -> PeerStream {
    loop {
        match events.next().await.expect("there is more") {
            Event::Stream(stream) => return stream,
            Event::PeerClosed(closed) => panic!("{closed}"),
            _ => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_text_and_json_arrive_as_what_they_are() -> Outcome {
    let pair = pair(1).await;
    let Pair { to_bob, mut bob_events, .. } = pair;
    let bytes: Vec<u8> = (0..=255).cycle().take(1_000_000).collect();
    to_bob.send(bytes.clone()).await?;
    to_bob.send("text").await?;
    to_bob.send_json(&[1, 2]).await?;
    to_bob.send(Vec::new()).await?;
    assert_eq!(message(&mut bob_events).await.into_payload(), Payload::from(bytes));
    assert_eq!(message(&mut bob_events).await.text(), Some("text"));
    assert_eq!(message(&mut bob_events).await.json::<Vec<u8>>()?, [1, 2]);
    assert_eq!(message(&mut bob_events).await.bytes().map(|bytes| bytes.len()), Some(0));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_is_acknowledged_has_arrived() -> Outcome {
    let pair = pair(2).await;
    let Pair { to_bob, mut bob_events, .. } = pair;
    to_bob.message("one").acknowledged().await?;
    let pending = to_bob.queue_confirmed("two")?;
    pending.acknowledged().await?;
    assert_eq!(message(&mut bob_events).await.text(), Some("one"));
    assert_eq!(message(&mut bob_events).await.text(), Some("two"));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn requests_carry_bytes_both_ways() -> Outcome {
    let pair = pair(3).await;
    let Pair { alice, to_bob, mut bob_events, .. } = pair;
    tokio::spawn(async move {
        loop {
            let question = message(&mut bob_events).await;
            let answer: Vec<u8> = question.bytes().expect("bytes").iter().rev().copied().collect();
            question.respond(answer).await.expect("it is sent");
        }
    });
    let answer = to_bob.request(vec![1, 2, 3]).await?;
    assert_eq!(answer.bytes().map(|bytes| &bytes[..]), Some(&[3, 2, 1][..]));
    let mut answers = alice.request_many(vec![4, 5]);
    let (_, answer) = answers.next().await.expect("one peer");
    assert_eq!(answer?.bytes().map(|bytes| &bytes[..]), Some(&[5, 4][..]));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_urgent_message_overtakes_a_large_one() -> Outcome {
    let pair = pair(4).await;
    let Pair { to_bob, mut bob_events, .. } = pair;
    let large = to_bob.message(vec![7; 16_000_000]).queue()?;
    let urgent = to_bob.message("stop").urgency(Urgency::URGENT).queue()?;
    assert_eq!(message(&mut bob_events).await.text(), Some("stop"));
    assert_eq!(message(&mut bob_events).await.payload().len(), 16_000_000);
    urgent.await?;
    large.acknowledged().await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_message_is_taken_back_half_way() -> Outcome {
    let pair = pair(5).await;
    let Pair { to_bob, mut bob_events, .. } = pair;
    let large = to_bob.message(vec![7; 30_000_000]).queue()?;
    let is_begun = || large.progress().is_some_and(|progress| progress.acknowledged > 0);
    pair.world.until(Duration::from_secs(1), is_begun).await.expect("it is on its way");
    let progress = large.progress().expect("it is on its way");
    assert!(progress.acknowledged <= progress.sent && progress.sent < progress.total, "{progress:?}");
    assert_eq!(large.cancel().map(|payload| payload.len()), Some(30_000_000));
    assert_eq!(large.await, Err(SendError::Cancelled));
    to_bob.send("after").await?;
    assert_eq!(message(&mut bob_events).await.text(), Some("after"));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_stream_goes_both_ways_and_ends_each_way() -> Outcome {
    let pair = pair(6).await;
    let Pair { to_bob, mut bob_events, .. } = pair;
    let mut near = to_bob.open_stream("echo").await?;
    near.write_all(b"hello").await?;
    near.shutdown().await?;
    let mut far = stream(&mut bob_events).await;
    assert_eq!(far.metadata()[..], *b"echo");
    let mut text = Vec::new();
    far.read_to_end(&mut text).await?;
    assert_eq!(text, b"hello");
    far.write_all(b"goodbye").await?;
    drop(far);
    let mut text = Vec::new();
    // What was not finished is reset.
    let error = near.read_to_end(&mut text).await.expect_err("it was reset");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_stream_whose_end_ends_it_is_acknowledged() -> Outcome {
    let pair = pair(12).await;
    let Pair { to_bob, mut bob_events, .. } = pair;
    let (mut reader, mut writer) = to_bob.open_stream("").await?.into_split();
    let (mut far_reader, mut far_writer) = stream(&mut bob_events).await.into_split();
    far_writer.finish();
    assert_eq!(reader.chunk().await?, None);
    writer.write_bytes("the last").await?;
    writer.finish();
    // With the acknowledgement nothing of the stream is left. It takes a round trip of 20 ms.
    let before = tokio::time::Instant::now();
    tokio::time::timeout(Duration::from_secs(5), writer.acknowledged()).await??;
    assert!(before.elapsed() < Duration::from_secs(1), "{:?}", before.elapsed());
    assert_eq!(far_reader.chunk().await?.as_deref(), Some(&b"the last"[..]));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_not_read_holds_back_itself_alone() -> Outcome {
    let pair = pair(7).await;
    let Pair { to_bob, mut bob_events, .. } = pair;
    let mut stalled = to_bob.open_stream("stalled").await?;
    let writes = tokio::spawn(async move { stalled.write_all(&vec![1; 32 << 20]).await });
    let kept = stream(&mut bob_events).await;
    let mut other = to_bob.open_stream("other").await?;
    let writing = async {
        other.write_all(&vec![2; 8 << 20]).await?;
        other.shutdown().await
    };
    let mut read = Vec::new();
    let reading = async { stream(&mut bob_events).await.read_to_end(&mut read).await };
    let (wrote, _) = tokio::join!(writing, reading);
    wrote?;
    assert_eq!(read.len(), 8 << 20);
    to_bob.message("and messages").acknowledged().await?;
    assert!(!writes.is_finished());
    drop(kept);
    let error = writes.await?.expect_err("it was stopped");
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn thousands_of_short_streams() -> Outcome {
    let pair = pair(8).await;
    let Pair { to_bob, mut bob_events, .. } = pair;
    tokio::spawn(async move {
        loop {
            let mut stream = stream(&mut bob_events).await;
            tokio::spawn(async move {
                let mut text = Vec::new();
                stream.read_to_end(&mut text).await.expect("it ends");
                stream.write_all(&text).await.expect("it is taken");
                stream.shutdown().await.expect("it ends");
            });
        }
    });
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..3000_u32 {
        let peer = to_bob.clone();
        tasks.spawn(async move {
            let mut stream = peer.open_stream("").await.expect("it opens");
            stream.write_all(&number.to_be_bytes()).await.expect("it is taken");
            stream.shutdown().await.expect("it ends");
            let mut back = Vec::new();
            stream.read_to_end(&mut back).await.expect("it comes back");
            assert_eq!(back, number.to_be_bytes());
        });
    }
    assert_eq!(tasks.join_all().await.len(), 3000);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn words_are_left_with() -> Outcome {
    let pair = pair(9).await;
    let Pair { alice_events: mut events, to_alice, .. } = pair;
    to_alice.queue("last")?;
    to_alice.leave(7, "good night").await;
    let mut last = None;
    let closed = loop {
        match events.next().await.expect("there is more") {
            Event::Message(message) => last = message.text().map(str::to_owned),
            Event::PeerClosed(closed) => break closed,
            _ => {}
        }
    };
    assert_eq!(last.as_deref(), Some("last"));
    assert_eq!(closed.left, Some((7, "good night".to_owned())));
    assert!(closed.returned.is_empty());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_was_not_acknowledged_comes_back() -> Outcome {
    let pair = pair(10).await;
    let Pair { world, to_bob, mut alice_events, bob, bob_events, .. } = pair;
    to_bob.message("arrived").acknowledged().await?;
    // Bob reads nothing, so that the window fills, and then he is cut off.
    let sent: Vec<Payload> = (0..40_u8).map(|number| Payload::from(vec![number; 100_000])).collect();
    for payload in &sent {
        to_bob.queue(payload)?;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    world.kill(&bob);
    let closed = loop {
        if let Event::PeerClosed(closed) = alice_events.next().await.expect("there is more") {
            break closed;
        }
    };
    drop(bob_events);
    let returned: Vec<Payload> = closed.returned.iter().map(|returned| returned.payload.clone()).collect();
    assert!(!returned.is_empty() && returned[..] == sent[sent.len() - returned.len()..], "{closed:?}");
    Ok(())
}
