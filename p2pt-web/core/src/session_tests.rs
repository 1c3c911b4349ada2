//! What two nodes have that both speak p2pt/2.

use super::*;
use crate::{Progress, Stream};

/// A node that was given its id has no key, and speaks p2pt/1.
const UNSIGNED: &str = r#"{"peerId":"aa00000000000000000000000000000000000000"}"#;

async fn pair(seed: u64) -> (World, Member, Member, u32) {
    let world = World::new(seed);
    let (alice, bob) = (Member::join(&world, "{}").await, Member::join(&world, "{}").await);
    let peer = alice.meet().await;
    (world, alice, bob, peer)
}

fn bytes(bytes: &[u8]) -> Content {
    Content::Bytes(bytes.to_vec().into())
}

impl Member {
    async fn stream(&self) -> Stream {
        self.until(|item| match item {
            Item::Stream { stream, .. } => Some(stream),
            _ => None,
        })
        .await
    }
}

async fn opened(node: &Node, peer: u32, metadata: &'static str) -> Result<Stream, Fault> {
    soon(node.open_stream(peer, metadata.into(), None, None)).await
}

async fn read_all(stream: &Stream) -> Result<Vec<u8>, Fault> {
    let mut all = Vec::new();
    while let Some(bytes) = soon(stream.read()).await? {
        all.extend_from_slice(&bytes);
    }
    Ok(all)
}

#[tokio::test(start_paused = true)]
async fn bytes_are_messages_requests_and_responses() {
    let (_world, alice, bob, peer) = pair(20).await;
    soon(alice.node.send(peer, bytes(&[0, 255]), None).expect("room")).await.expect("sent");
    assert_eq!(bob.message().await.1.content, bytes(&[0, 255]));
    assert_eq!(alice.swarm.broadcast(bytes(&[])).as_deref(), Ok("[]"));
    assert_eq!(bob.message().await.1.content, bytes(&[]));
    let asking = alice.node.request(peer, bytes(&[1]), None, None, None);
    let answering = async {
        let (from, question) = bob.message().await;
        assert_eq!(question.content, bytes(&[1]));
        soon(bob.node.send(from, bytes(&[2]), Some(&question.id)).expect("room")).await.expect("sent");
    };
    assert_eq!(tokio::join!(soon(asking), answering).0.expect("a response").content, bytes(&[2]));
}

#[tokio::test(start_paused = true)]
async fn a_message_is_acknowledged_and_says_how_far_it_is() {
    let (_world, alice, bob, peer) = pair(21).await;
    let large = said(&"x".repeat(3_000_000));
    let outgoing = alice.node.post(peer, large, None, Some(7), true).expect("room");
    let begun = outgoing.progress();
    assert!(begun.sent < 3_000_000 && begun.acknowledged == 0 && begun.total == 3_000_000, "{begun:?}");
    let reading = async {
        let (from, message) = bob.message().await;
        // The least urgent is overtaken.
        assert_eq!(words(&message), "now");
        let (_, large) = bob.message().await;
        assert_eq!(large.content.len(), 3_000_000);
        bob.node.post(from, said("back"), Some(&large.id), None, true).expect("room").done().await
    };
    let urgent = alice.node.post(peer, said("now"), None, Some(0), true).expect("room");
    let (sent, overtook, responded, answer) =
        soon(async { tokio::join!(outgoing.done(), urgent.done(), reading, alice.message()) }).await;
    assert_eq!((sent, overtook, responded), (Ok(()), Ok(()), Ok(())));
    assert_eq!(answer.1.content, said("back"));
    assert_eq!(outgoing.progress(), Progress { sent: 3_000_000, acknowledged: 3_000_000, total: 3_000_000 });
    assert!(!outgoing.cancel(), "it is too late for that");
    assert_eq!(alice.node.buffered(peer), 0);
    assert_eq!(code(alice.node.post(peer, said(""), None, Some(8), false)), "invalid_option");
}

#[tokio::test(start_paused = true)]
async fn a_message_is_taken_back() {
    let (_world, alice, bob, peer) = pair(22).await;
    let first = alice.node.send(peer, said(&"x".repeat(1 << 20)), None).expect("room");
    let outgoing = alice.node.post(peer, said("regretted"), None, None, true).expect("room");
    assert!(outgoing.cancel());
    let last = alice.node.send(peer, said("last"), None).expect("room");
    assert_eq!(code(soon(outgoing.done()).await), "cancelled");
    soon(async { tokio::join!(first, last) }).await.1.expect("sent");
    assert_eq!(bob.message().await.1.content.len(), 1 << 20);
    assert_eq!(bob.message().await.1.content, said("last"));
    assert_eq!(alice.node.buffered(peer), 0);
}

#[tokio::test(start_paused = true)]
async fn streams_carry_bytes_both_ways_and_end() {
    let (_world, alice, bob, peer) = pair(23).await;
    let (ours, theirs) = tokio::join!(opened(&alice.node, peer, "numbers"), bob.stream());
    let ours = ours.expect("a stream");
    assert_eq!((theirs.metadata().as_ref(), theirs.urgency()), (b"numbers".as_slice(), 3));
    let large: Vec<u8> = (0..=255).cycle().take(2_000_000).collect();
    let writing = async {
        ours.write(large.clone().into()).await?;
        ours.close().await
    };
    let echoing = async {
        let all = read_all(&theirs).await?;
        theirs.write(all.into()).await?;
        theirs.close().await
    };
    let (written, echoed, came) = soon(async { tokio::join!(writing, echoing, read_all(&ours)) }).await;
    assert_eq!((written, echoed), (Ok(()), Ok(())));
    assert!(came.expect("it comes back") == large);
    assert_eq!(code(ours.write("more".into()).await), "stream_ended");
    assert_eq!(code(ours.read().await), "stream_ended");
}

#[tokio::test(start_paused = true)]
async fn either_side_ends_a_half_with_a_code() {
    let (_world, alice, bob, peer) = pair(24).await;
    let (ours, theirs) = tokio::join!(opened(&alice.node, peer, ""), bob.stream());
    let ours = ours.expect("a stream");
    ours.reset(7.0);
    let fault = soon(theirs.read()).await.expect_err("it was reset");
    assert!(fault.to_string().starts_with("stream_reset(7): "), "{fault}");
    // More than the other side lets in unread: it waits, until it is told that nothing reads.
    let writing = theirs.write(vec![0; 64 << 20].into());
    let stopping = async { ours.stop(9_007_199_254_740_991.0) };
    let fault = soon(async { tokio::join!(writing, stopping) }).await.0.expect_err("it was stopped");
    assert!(fault.to_string().starts_with("stream_stopped(9007199254740991): "), "{fault}");
}

#[tokio::test(start_paused = true)]
async fn what_waits_on_a_stream_ends_with_the_half() {
    let (_world, alice, bob, peer) = pair(25).await;
    let (ours, _theirs) = tokio::join!(opened(&alice.node, peer, ""), bob.stream());
    let ours = ours.expect("a stream");
    let (written, read, ()) = soon(async {
        tokio::join!(ours.write(vec![0; 64 << 20].into()), ours.read(), async {
            ours.reset(0.0);
            ours.stop(0.0);
        })
    })
    .await;
    assert_eq!((code(written), code(read)), ("stream_ended", "stream_ended"));
}

/// JavaScript's garbage collector may come late.
#[tokio::test(start_paused = true)]
async fn a_stream_that_is_over_makes_room_though_it_is_kept() {
    let (_world, alice, bob, peer) = pair(26).await;
    let mut kept = Vec::new();
    for _ in 0..300 {
        let (ours, theirs) = tokio::join!(opened(&alice.node, peer, ""), bob.stream());
        let ours = ours.expect("there is room");
        let ends = async { tokio::join!(ours.close(), theirs.close(), ours.read(), theirs.read()) };
        assert_eq!(soon(ends).await, (Ok(()), Ok(()), Ok(None), Ok(None)));
        kept.push((ours, theirs));
    }
    assert_eq!(kept.len(), 300);
}

#[tokio::test(start_paused = true)]
async fn a_peer_without_a_key_has_none_of_it() {
    let world = World::new(27);
    let (alice, _bob) = (Member::join(&world, "{}").await, Member::join(&world, UNSIGNED).await);
    let peer = alice.meet().await;
    assert_eq!(code(soon(alice.node.send(peer, bytes(&[1]), None).expect("room")).await), "no_bytes");
    let outgoing = alice.node.post(peer, said("x"), None, None, true).expect("room");
    assert_eq!(code(soon(outgoing.done()).await), "no_acknowledgements");
    assert_eq!(code(opened(&alice.node, peer, "").await), "no_streams");
}

#[tokio::test(start_paused = true)]
async fn a_peer_says_why_it_leaves() {
    let (_world, alice, bob, peer) = pair(28).await;
    soon(alice.node.leave(peer, 4001.0, text("to bed"))).await;
    let closed = bob.event("peerClosed").await;
    assert_eq!(closed["left"], json!({"code": 4001, "text": "to bed"}));
    assert_eq!(alice.event("peerClosed").await["left"], json!(null));
}

#[tokio::test(start_paused = true)]
async fn what_was_not_acknowledged_is_returned() {
    let (world, alice, bob, peer) = pair(29).await;
    world.kill(&bob.swarm.swarm);
    let lost = alice.node.post(peer, bytes(&[1, 2]), None, None, true).expect("room");
    let waiting = soon(lost.done());
    let closing = alice.until(|item| match item {
        Item::Closed { line, returned } => Some((line, returned)),
        _ => None,
    });
    let (fault, (line, returned)) = tokio::join!(waiting, closing);
    assert_eq!(code(fault), "peer_gone");
    assert!(line.contains(r#""type":"peerClosed""#), "{line}");
    let messages: Vec<_> = returned.messages().into_iter().map(|message| message.content).collect();
    assert_eq!(messages, [bytes(&[1, 2])]);
}
