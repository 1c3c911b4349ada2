use std::future::poll_fn;

use p2pt_proto::PeerId;
use p2pt_rt::sleep_until;
use p2pt_transport::memory::{Conditions, MemoryNetwork};
use p2pt_transport::{Channel, Transport};
use proptest::{collection::vec, prelude::*};

use super::*;
use crate::Peer;
use crate::queue::EventQueue;
use crate::reading::read;
use crate::settings::Settings;
use crate::{Event, InvalidFrame, QueueError, ReceiveError, SendError};

const STALL: Duration = Duration::from_secs(30);

async fn open(network: &MemoryNetwork) -> (Channel, Channel) {
    let (near, far) = (network.transport(), network.transport());
    let offer = near.offer().await.expect("an offer");
    let answer = far.answer(offer.sdp()).await.expect("an answer");
    let sdp = answer.sdp().to_owned();
    tokio::try_join!(offer.open(&sdp), answer.open()).expect("a channel")
}

fn peer() -> Peer {
    Peer::new(PeerId::from([1; 20]), None, Arc::new(Settings::alone(1 << 20)))
}

fn peer_channel(id: u64, near: &Channel) -> Arc<PeerChannel> {
    Arc::new(PeerChannel::new(ChannelId(id), near.sender.clone(), near.info.max_frame_bytes))
}

#[tokio::test(start_paused = true)]
async fn a_retired_channel_closes_when_it_is_quiet() {
    let (near, _far) = open(&MemoryNetwork::new(1)).await;
    let (channel, began) = (peer_channel(1, &near), crate::now());
    assert!(!channel.is_leaving());
    channel.retire().await;
    assert!(channel.is_leaving());
    assert_eq!(channel.ended().await, ChannelClosed::Local);
    assert_eq!(crate::now() - began, QUIET);
}

#[tokio::test(start_paused = true)]
async fn a_retired_channel_stays_while_the_other_side_sends() {
    let (near, far) = open(&MemoryNetwork::new(1)).await;
    let (channel, peer, queue) = (peer_channel(1, &near), peer(), EventQueue::new());
    let began = crate::now();
    let sending = async {
        for _ in 0..20 {
            sleep(QUIET / 2).await;
            far.sender.send(Frame::text("not over yet")).await.expect("the channel stays");
        }
    };
    tokio::join!(sending, channel.retire(), read(&channel, near.receiver, &peer, &queue, None));
    let after = crate::now() - began;
    assert!(after >= QUIET * 11 && after <= QUIET * 13, "closed after {after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_retired_channel_stays_while_a_message_is_on_its_way() {
    let network = MemoryNetwork::new(1);
    let (near, mut far) = open(&network).await;
    let channel = peer_channel(1, &near);
    // More than the channel's buffers hold, and the other side does not read.
    let payload = Payload::from("x".repeat(4 << 20));
    let id = MessageId::from(1);
    let reading = async {
        sleep(QUIET * 10).await;
        assert!(!channel.is_closed() && !channel.is_leaving());
        while far.receiver.recv().await.is_ok() {}
    };
    let sent = async { tokio::join!(channel.send_message(&id, &payload, STALL), reading).0 };
    let (sent, ()) = tokio::join!(sent, channel.retire());
    assert!(sent.is_ok(), "{sent:?}");
    assert!(channel.is_leaving());
}

#[tokio::test(start_paused = true)]
async fn a_retired_channel_closes_at_its_deadline_and_what_came_before_is_delivered() {
    let (near, far) = open(&MemoryNetwork::new(1)).await;
    let (channel, peer, queue) = (peer_channel(1, &near), peer(), EventQueue::new());
    queue.connect(&peer);
    let began = crate::now();
    let sending = async {
        let mut sent = 0;
        while far.sender.send(Frame::text("never over")).await.is_ok() {
            sent += 1;
            sleep(QUIET / 2).await;
            assert!(crate::now() - began < RETIRED_FOR * 2, "it is heard for as long as it sends");
        }
        sent
    };
    let retiring = async {
        channel.retire().await;
        crate::now() - began
    };
    let (sent, after, ()) = tokio::join!(sending, retiring, read(&channel, near.receiver, &peer, &queue, None));
    assert!(after >= RETIRED_FOR && after <= RETIRED_FOR + QUIET, "closed after {after:?}");
    queue.close(&peer, ChannelClosed::Remote, 0);
    queue.end();
    let mut received = 0;
    while let Some(event) = poll_fn(|cx| queue.poll_next(cx)).await {
        received += usize::from(matches!(event, Event::Data(_)));
    }
    assert!(sent >= 29 && (received == sent || received == sent - 1), "{received} of {sent} are delivered");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_a_retired_channel_does_not_take_in_time_is_sent_again_over_the_next() {
    let network = MemoryNetwork::new(1);
    let ((old, _old_far), (new, mut new_far)) = (open(&network).await, open(&network).await);
    let (peer, old, new) = (peer(), peer_channel(1, &old), peer_channel(2, &new));
    peer.shared().add_channel(old.clone(), None);
    peer.shared().add_channel(new.clone(), None);
    // More than the old channel's buffers hold, whose other side does not read.
    let large = "x".repeat(4 << 20);
    let began = crate::now();
    let (first, second) = (AtomicBool::new(false), AtomicBool::new(false));
    let sending = async {
        peer.send(large.clone()).await.expect("the next channel takes it");
        first.store(true, Ordering::Relaxed);
    };
    let waiting = async {
        sleep(RETIRED_FOR - RETIRING_ENDS / 2).await;
        let full = peer.try_send("late");
        assert!(matches!(full, Err(crate::TrySendError::Full(_))), "it would overtake what is under way: {full:?}");
        peer.send("late").await.expect("the next channel takes it");
        second.store(true, Ordering::Relaxed);
    };
    let reading = async {
        let (mut frames, mut bytes) = (0, 0);
        while !(first.load(Ordering::Relaxed) && second.load(Ordering::Relaxed)) || bytes < large.len() {
            bytes += new_far.receiver.recv().await.expect("the channel stays").len();
            frames += 1;
            assert!(crate::now() - began >= RETIRED_FOR - GLANCE, "nothing takes the next channel before");
        }
        frames
    };
    let frames = async { tokio::join!(sending, waiting, reading).2 };
    let frames = tokio::time::timeout(RETIRED_FOR * 2, async { tokio::join!(frames, old.retire()).0 });
    assert!(frames.await.expect("nothing waits for ever") > 2);
    assert!(crate::now() - began <= RETIRED_FOR + QUIET * 2, "{:?}", crate::now() - began);
}

/// Bulk that never pauses changes channels without a message that overtakes another.
#[tokio::test(start_paused = true)]
async fn messages_keep_their_order_when_a_busy_channel_reaches_its_deadline() {
    let network = MemoryNetwork::new(1);
    let set_latency =
        |ms| network.set_conditions(Conditions { latency: Duration::from_millis(ms), ..Conditions::default() });
    let ((old, mut old_far), (new, mut new_far)) = (open(&network).await, open(&network).await);
    let (peer, old, new) = (peer(), peer_channel(1, &old), peer_channel(2, &new));
    peer.shared().add_channel(old.clone(), None);
    peer.shared().add_channel(new.clone(), None);
    let (began, received) = (crate::now(), std::sync::Mutex::new(Vec::new()));
    let sending = async {
        let mut n = 0u32;
        while crate::now() - began < RETIRED_FOR + QUIET * 5 {
            // On another channel, all but each seventh message would overtake the one before.
            set_latency(30 - 3 * u64::from(n % 7));
            peer.send(format!("<{n}>")).await.expect("sent");
            n += 1;
            // Less than a way takes, so that something is always on its way.
            sleep(Duration::from_millis(2)).await;
        }
        new.close().await;
        n
    };
    let number = |frame: &Frame| -> u32 {
        let text = frame.to_text();
        let inner = text.split_once('<').and_then(|(_, rest)| rest.split_once('>')).expect("a number").0;
        inner.parse().expect("a number")
    };
    let reading = async |receiver: &mut Box<dyn p2pt_transport::FrameReceiver>| {
        let mut count = 0;
        while let Ok(frame) = receiver.recv().await {
            received.lock().expect("not poisoned").push(number(&frame));
            count += 1;
        }
        count
    };
    let (sent, by_old, by_new, ()) =
        tokio::join!(sending, reading(&mut old_far.receiver), reading(&mut new_far.receiver), old.retire());
    assert!(by_old > 10_000 && by_new > 1_000, "{by_old} and {by_new}");
    assert_eq!(received.into_inner().expect("not poisoned"), Vec::from_iter(0..sent));
}

#[tokio::test(start_paused = true)]
async fn a_retired_channel_that_ends_by_itself_is_waited_for_no_longer() {
    let network = MemoryNetwork::new(1);
    let (near, far) = open(&network).await;
    let channel = peer_channel(1, &near);
    far.sender.close().await;
    assert_eq!(channel.ended().await, ChannelClosed::Remote);
    let began = crate::now();
    channel.retire().await;
    assert!(crate::now() - began < QUIET);
}

#[tokio::test(start_paused = true)]
async fn messages_go_on_over_a_retiring_channel_until_all_has_arrived() {
    let network = MemoryNetwork::new(1);
    let ((old, mut old_far), (new, mut new_far)) = (open(&network).await, open(&network).await);
    let (peer, old, new) = (peer(), peer_channel(1, &old), peer_channel(2, &new));
    peer.shared().add_channel(old.clone(), None);
    peer.shared().add_channel(new.clone(), None);
    peer.send("first").await.expect("sent");
    let switching = async {
        // Nothing was acknowledged yet.
        peer.send("second").await.expect("sent");
        sleep(QUIET / 2).await;
        peer.send("third").await.expect("sent");
    };
    tokio::join!(old.retire(), switching);
    let mut received = Vec::new();
    while let Ok(frame) = old_far.receiver.recv().await {
        received.push(frame.to_text().contains("first") || frame.to_text().contains("second"));
    }
    assert_eq!(received, [true, true]);
    assert!(new_far.receiver.recv().await.expect("a frame").to_text().contains("third"));
}

/// The ids of messages that were given up, each with the second, while these chunks came.
async fn given_up(chunks: &[(u64, &'static str)]) -> Vec<(u64, String)> {
    let (near, far) = open(&MemoryNetwork::new(1)).await;
    let (channel, peer, queue) = (peer_channel(1, &near), peer(), EventQueue::new());
    let began = crate::now();
    queue.connect(&peer);
    let sending = async {
        for (second, chunk) in chunks {
            sleep_until(began + Duration::from_secs(*second)).await;
            far.sender.send(Frame::text(*chunk)).await.expect("the channel stays");
        }
        sleep(Duration::from_secs(100)).await;
        far.sender.close().await;
        queue.close(&peer, ChannelClosed::Remote, 0);
        queue.end();
    };
    let hearing = async {
        let mut given_up = Vec::new();
        while let Some(event) = poll_fn(|cx| queue.poll_next(cx)).await {
            let Event::InvalidFrame(InvalidFrame { error: ReceiveError::Incomplete { id, .. }, .. }) = event else {
                continue;
            };
            given_up.push(((crate::now() - began).as_secs(), id.to_string()));
        }
        given_up
    };
    tokio::join!(hearing, sending, read(&channel, near.receiver, &peer, &queue, None)).0
}

#[tokio::test(start_paused = true)]
async fn messages_are_given_up_when_none_of_their_chunks_has_come_for_the_time() {
    let (one, next) = (r#"^{"id":1,"msg":"a","c":0}"#, r#"^{"id":1,"msg":"b","c":1}"#);
    let (other, whole) = (r#"^{"id":2,"msg":"a","c":0}"#, r#"^{"id":3,"msg":"a","c":0,"last":true}"#);
    assert_eq!(given_up(&[(0, one)]).await, [(30, "1".to_owned())]);
    // Chunks put it off, whole messages do not, and one message's time is not that of another.
    let chunks = [(0, one), (20, next), (25, other), (45, whole), (49, whole)];
    assert_eq!(given_up(&chunks).await, [(50, "1".to_owned()), (55, "2".to_owned())]);
    // Its time is taken anew after one that was completed, and after one that was given up.
    let last = r#"^{"id":1,"msg":"b","c":1,"last":true}"#;
    let chunks = [(0, one), (10, last), (20, one), (100, other)];
    assert_eq!(given_up(&chunks).await, [(50, "1".to_owned()), (130, "2".to_owned())]);
}

/// A frame as a peer may send it: anything, or something like a chunk.
fn any_frame() -> impl Strategy<Value = Frame> {
    let id = prop_oneof![(0u8..3).prop_map(|id| id.to_string()), Just(format!("\"{}\"", "i".repeat(300)))];
    let index = prop_oneof![3 => (0u8..3).prop_map(|index| index.to_string()), 1 => "-1|1\\.0|\"0\"|null"];
    let field = |name: &'static str| move |value: String| format!("\"{name}\":{value}");
    let chunk = (id.prop_map(field("id")), "\"[a-z]{0,3}\"|7".prop_map(field("msg")), index.prop_map(field("c")));
    let chunk = (chunk, any::<bool>(), 0usize..8).prop_map(|((id, msg, c), last, left_out)| {
        let mut fields = vec![id, msg, c];
        if left_out < fields.len() {
            fields.remove(left_out);
        }
        fields.extend(last.then(|| "\"last\":true".to_owned()));
        format!("^{{{}}}", fields.join(","))
    });
    let text = prop_oneof![2 => chunk.clone(), 1 => "\\^?[{}\"a-z:0-9]{0,8}"].prop_map(Frame::text);
    let bytes =
        prop_oneof![2 => chunk.prop_map(String::into_bytes), 1 => vec(any::<u8>(), 0..8)].prop_map(Frame::binary);
    prop_oneof![2 => text, 1 => bytes]
}

/// What a text frame is, said another way than the codec does: `None` for the application's own.
fn as_chunk(text: &str) -> Option<serde_json::Map<String, serde_json::Value>> {
    let serde_json::Value::Object(chunk) = serde_json::from_str(text.strip_prefix('^')?).ok()? else { return None };
    let is_chunk = chunk.contains_key("id") && chunk.get("msg")?.is_string() && chunk.get("c")?.is_u64();
    is_chunk.then_some(chunk)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Each is data as it came, an invalid frame or a part of a message, in order; binary frames are always data.
    #[test]
    fn no_frame_is_lost(frames in vec(any_frame(), 1..12)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        runtime.block_on(async {
            let (near, far) = open(&MemoryNetwork::new(1)).await;
            let (channel, peer, queue) = (peer_channel(1, &near), peer(), EventQueue::new());
            queue.connect(&peer);
            let events = async {
                for frame in &frames {
                    far.sender.send(frame.clone()).await.expect("the channel stays");
                }
                far.sender.close().await;
            };
            tokio::join!(events, read(&channel, near.receiver, &peer, &queue, None));
            let next = || match queue.poll_next(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
                std::task::Poll::Ready(event) => event,
                std::task::Poll::Pending => None,
            };
            assert!(matches!(next(), Some(Event::PeerConnected(_))));
            let mut parts = std::collections::BTreeMap::<String, std::collections::BTreeSet<u64>>::new();
            let mut ends = std::collections::BTreeMap::<String, u64>::new();
            for frame in &frames {
                let chunk = if let Frame::Text(_) = frame { as_chunk(&frame.to_text()) } else { None };
                let Some(chunk) = chunk else {
                    let Some(Event::Data(data)) = next() else { panic!("{frame:?} was no data") };
                    assert_eq!(&data.frame, frame);
                    continue;
                };
                let (id, index, last) = (chunk["id"].to_string(), chunk["c"].as_u64().expect("a number"), chunk.contains_key("last"));
                if id.len() > MessageId::MAX_BYTES {
                    assert!(matches!(next(), Some(Event::InvalidFrame(_))), "{frame:?}");
                    continue;
                }
                if ends.get(&id).is_some_and(|end| index > *end) {
                    // What follows is rejected until its end, which is the codec's concern.
                    assert!(matches!(next(), Some(Event::InvalidFrame(_))), "{frame:?}");
                    return;
                }
                if last {
                    ends.insert(id.clone(), index);
                    parts.entry(id.clone()).or_default().retain(|other| *other < index);
                }
                let held = parts.entry(id.clone()).or_default();
                held.insert(index);
                if ends.get(&id).is_some_and(|end| held.len() as u64 == end + 1) {
                    let Some(Event::Message(message)) = next() else { panic!("{frame:?} completed no message") };
                    assert_eq!(message.id().to_string(), id);
                    parts.remove(&id);
                    ends.remove(&id);
                }
            }
            assert!(next().is_none(), "more came than was sent");
        });
    }
}

#[tokio::test(start_paused = true)]
async fn a_binary_frame_is_data_whatever_is_in_it() {
    let (near, far) = open(&MemoryNetwork::new(1)).await;
    let (channel, peer, queue) = (peer_channel(1, &near), peer(), EventQueue::new());
    queue.connect(&peer);
    let frames = ["^", "^garbage", r#"^{"id":1,"msg":"a","c":0,"last":true}"#].map(Frame::binary);
    let sending = async {
        for frame in &frames {
            far.sender.send(frame.clone()).await.expect("the channel stays");
        }
        far.sender.close().await;
        queue.close(&peer, ChannelClosed::Remote, 0);
        queue.end();
    };
    tokio::join!(sending, read(&channel, near.receiver, &peer, &queue, None));
    let mut data = Vec::new();
    while let Some(event) = poll_fn(|cx| queue.poll_next(cx)).await {
        if let Event::Data(event) = event {
            data.push(event.frame);
        }
    }
    assert_eq!(data, frames);
}

#[tokio::test(start_paused = true)]
async fn a_text_frame_that_may_be_taken_for_a_part_of_a_message_is_not_sent() {
    let (near, mut far) = open(&MemoryNetwork::new(1)).await;
    let peer = peer();
    peer.shared().add_channel(peer_channel(1, &near), None);
    for text in ["^{}", r#"^{"id":1,"msg":"a","c":0,"last":true}"#, r#"^ {"any":"object"}"#] {
        assert_eq!(peer.send_frame(Frame::text(text)).await, Err(SendError::LooksLikeMessage));
        assert_eq!(peer.queue_frame(Frame::text(text)), Err(QueueError::LooksLikeMessage(Frame::text(text))));
        peer.send_frame(Frame::binary(text)).await.expect("it is no text");
        assert_eq!(far.receiver.recv().await.expect("a frame"), Frame::binary(text));
    }
    peer.send_frame(Frame::text("^garbage")).await.expect("it is no JSON");
    assert_eq!(far.receiver.recv().await.expect("a frame"), Frame::text("^garbage"));
}
