use std::future::poll_fn;
use std::time::Duration;

use p2pt_mesh::mesh::ChannelId;
use p2pt_proto::PeerId;
use p2pt_transport::memory::MemoryNetwork;
use p2pt_transport::{Channel, ChannelClosed, Transport};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::*;
use crate::SendFailed;
use crate::channel::PeerChannel;
use crate::queue::EventQueue;
use crate::settings::{PeerConfig, Settings};
use crate::{Event, QueueError, RequestError, TrySendError};

/// A guard against hanging, not a measurement.
const DEADLINE: Duration = Duration::from_secs(600);

const MEGABYTE: usize = 1 << 20;

/// A peer, its events, and what its node would run.
struct Bench {
    network: MemoryNetwork,
    peer: Peer,
    events: Arc<EventQueue>,
    channels: u64,
}

impl Bench {
    fn new(change: impl FnOnce(&mut PeerConfig)) -> Self {
        let mut settings = Settings::alone(MEGABYTE);
        change(&mut settings.config);
        let (network, events) = (MemoryNetwork::new(1), Arc::new(EventQueue::new()));
        let peer =
            events.entry((PeerId::from([1; 20]), None), || Peer::new(PeerId::from([1; 20]), None, Arc::new(settings)));
        Self { network, peer, events, channels: 0 }
    }

    /// Opens a channel to the peer and runs its task; returns the other side of it, and the end of the task.
    async fn open(&mut self) -> (Channel, JoinHandle<()>) {
        let (near, far) = (self.network.transport(), self.network.transport());
        let offer = near.offer().await.expect("an offer");
        let answer = far.answer(offer.sdp()).await.expect("an answer");
        let sdp = answer.sdp().to_owned();
        let (near, far) = tokio::try_join!(offer.open(&sdp), answer.open()).expect("a channel");
        self.channels += 1;
        let channel = Arc::new(PeerChannel::new(ChannelId(self.channels), near.sender, near.info.good_frame_bytes));
        self.peer.shared().add_channel(channel.clone(), None);
        self.events.connect(&self.peer);
        let (peer, events) = (self.peer.clone(), self.events.clone());
        let task = tokio::spawn(async move {
            let watch = async {
                let reason = channel.ended().await;
                peer.shared().remove_channel(channel.id, reason);
            };
            tokio::join!(
                crate::reading::read(&channel, near.receiver, &peer, &events, None),
                drain(&channel, &peer, &events),
                watch
            );
        });
        (far, task)
    }

    async fn event(&self) -> Event {
        let next = poll_fn(|cx| self.events.poll_next(cx));
        timeout(DEADLINE, next).await.expect("in time").expect("the stream goes on")
    }
}

/// The first letters of the messages that come.
async fn received(far: &mut Channel, count: usize) -> String {
    let mut reassembler = p2pt_messaging::Reassembler::new(p2pt_messaging::Limits::default());
    let mut texts = String::new();
    while texts.len() < count {
        let frame = timeout(DEADLINE, far.receiver.recv()).await.expect("in time").expect("the channel is open");
        match reassembler.push(crate::now(), frame.bytes()).expect("a frame of ours") {
            p2pt_messaging::Progress::Complete(message) => {
                texts.push_str(&message.payload.as_str().expect("text")[..1])
            }
            p2pt_messaging::Progress::Foreign(_) => texts.push_str(&frame.to_text()[..1]),
            _ => {}
        }
    }
    texts
}

fn large(letter: &str, megabytes: usize) -> String {
    letter.repeat(megabytes * MEGABYTE)
}

#[tokio::test(start_paused = true)]
async fn what_is_queued_leaves_in_order_and_sends_take_their_turn() {
    let mut bench = Bench::new(|_| {});
    let (mut far, _task) = bench.open().await;
    let peer = &bench.peer;
    peer.queue(large("a", 5)).expect("room");
    peer.queue("b").expect("room");
    assert!(matches!(peer.try_send("x"), Err(TrySendError::Full(_))), "it would overtake them");
    let sending = async {
        peer.send("c").await.expect("sent");
        peer.queue_frame(Frame::text("d")).expect("room");
        peer.queue_response_to(MessageId::from(7), "e").expect("room");
        peer.send_frame(Frame::text("f")).await.expect("sent");
    };
    let (texts, ()) = tokio::join!(received(&mut far, 6), sending);
    assert_eq!(texts, "abcdef");
}

#[tokio::test(start_paused = true)]
async fn what_is_queued_behind_a_send_that_waits_does_not_overtake_it() {
    let mut bench = Bench::new(|_| {});
    let (mut far, _task) = bench.open().await;
    let peer = &bench.peer;
    peer.queue(large("a", 5)).expect("room");
    peer.queue(large("b", 2)).expect("room");
    let (mut c, mut e) = (Box::pin(peer.send("c")), Box::pin(peer.send_frame(Frame::text("e"))));
    assert!(futures_util::poll!(c.as_mut()).is_pending());
    peer.queue("d").expect("room");
    assert!(futures_util::poll!(e.as_mut()).is_pending());
    let mut gone = Box::pin(peer.send("gone"));
    assert!(futures_util::poll!(gone.as_mut()).is_pending());
    drop(gone);
    peer.queue("f").expect("room");
    assert!(matches!(peer.try_send("x"), Err(TrySendError::Full(_))), "it would overtake them");
    // Nor does one that is not polled hold up what is behind it.
    assert_eq!(received(&mut far, 6).await, "abcdef");
    c.await.expect("sent");
    e.await.expect("sent");
}

#[tokio::test(start_paused = true)]
async fn a_send_that_waits_ends_with_the_channel_and_takes_no_room_of_the_queue() {
    let mut bench = Bench::new(|config| config.send_queue_bytes = MEGABYTE);
    let (far, task) = bench.open().await;
    bench.peer.queue(large("a", 5)).expect("it is alone");
    let mut waiting = Box::pin(bench.peer.send(large("b", 1)));
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    assert_eq!(bench.peer.shared().send_queue.weight(), 5 * MEGABYTE + ITEM_OVERHEAD);
    drop(far);
    timeout(DEADLINE, task).await.expect("a task ends with its channel").expect("no panic");
    assert!(matches!(waiting.await, Err(SendError::PeerGone(_))));
    assert!(matches!(bench.event().await, Event::PeerConnected(_)));
    bench.events.close(&bench.peer, ChannelClosed::Remote, 0);
    let Event::PeerClosed(closed) = bench.event().await else { panic!("not its end") };
    assert_eq!((closed.unsent_messages, closed.unsent_bytes), (1, 5 * MEGABYTE as u64));
}

#[tokio::test(start_paused = true)]
async fn a_queue_is_bounded_and_one_message_larger_than_it_waits_alone() {
    let bench = Bench::new(|config| {
        config.send_queue_bytes = 1000;
        config.limits.max_message_bytes = 5000;
    });
    let error = bench.peer.queue("x".repeat(5001)).expect_err("too large");
    assert_eq!(error, QueueError::TooLarge { bytes: 5001, max: 5000 });
    bench.peer.queue("x".repeat(5000)).expect("it is alone");
    let back = bench.peer.queue("y").expect_err("there is no room");
    assert_eq!(back, QueueError::Full("y".into()));
    assert!(matches!(bench.peer.queue_frame(Frame::text("z")), Err(QueueError::Full(_))));

    let bench = Bench::new(|config| config.send_queue_bytes = 1000);
    let room = 1000 / ITEM_OVERHEAD;
    assert_eq!((0..100).take_while(|_| bench.peer.queue("").is_ok()).count(), room, "empty ones take room too");
}

#[tokio::test(start_paused = true)]
async fn a_message_whose_channel_fails_half_way_starts_again_on_the_next() {
    let mut bench = Bench::new(|_| {});
    let (mut far, task) = bench.open().await;
    bench.peer.queue(large("a", 5)).expect("room");
    bench.peer.queue("b").expect("room");
    // Some of it has come.
    timeout(DEADLINE, far.receiver.recv()).await.expect("in time").expect("a frame");
    drop(far);
    timeout(DEADLINE, task).await.expect("a task ends with its channel").expect("no panic");
    assert!(!bench.peer.is_connected() && !bench.peer.shared().send_queue.is_empty());
    let (mut far, _task) = bench.open().await;
    assert_eq!(received(&mut far, 2).await, "ab");
}

#[tokio::test(start_paused = true)]
async fn the_close_says_what_was_never_handed_over_and_what_comes_later_is_dropped() {
    let mut bench = Bench::new(|_| {});
    let (far, task) = bench.open().await;
    bench.peer.queue(large("a", 5)).expect("room");
    bench.peer.queue("bc").expect("room");
    let asked = bench.peer.request("d").queue().expect("room");
    drop(far);
    timeout(DEADLINE, task).await.expect("a task ends with its channel").expect("no panic");
    assert!(matches!(bench.event().await, Event::PeerConnected(_)));
    bench.events.close(&bench.peer, ChannelClosed::Remote, 0);
    bench.peer.shared().waiters.fail_all(crate::now(), &ChannelClosed::Remote);
    let Event::PeerClosed(closed) = bench.event().await else { panic!("not its end") };
    assert_eq!((closed.unsent_messages, closed.unsent_bytes), (3, 5 * MEGABYTE as u64 + 3));
    assert_eq!(asked.await.expect_err("gone"), RequestError::PeerGone(ChannelClosed::Remote));
    bench.peer.queue("late").expect("its end was reported, which is all there is to say");
    assert!(bench.peer.shared().send_queue.is_empty());
    assert!(matches!(bench.peer.request("late").queue(), Err(RequestError::Send(SendError::PeerGone(_)))));
}

#[tokio::test(start_paused = true)]
async fn what_fails_while_the_peer_is_there_is_an_event_or_its_requests_error() {
    let mut bench = Bench::new(|_| {});
    let (mut far, _task) = bench.open().await;
    assert!(matches!(bench.event().await, Event::PeerConnected(_)));
    let began = crate::now();
    let patient = Duration::from_secs(300);
    // The other side takes nothing: the send buffer fills with the first of them.
    bench.peer.queue_response_to(MessageId::from(7), large("a", 4)).expect("room");
    let asked = bench.peer.request(large("b", 1)).timeout(patient).queue().expect("room");
    bench.peer.queue_frame(Frame::text("c")).expect("room");
    let Event::SendFailed(failed) = bench.event().await else { panic!("not what failed") };
    assert_eq!((failed.peer, failed.id), (bench.peer.clone(), Some(MessageId::from(7))));
    assert_eq!(failed.error, SendError::Timeout(Duration::from_secs(30)));
    assert!(crate::now() - began >= Duration::from_secs(30));
    let error = asked.await.expect_err("it was not sent");
    assert_eq!(error, RequestError::Send(SendError::Timeout(Duration::from_secs(30))));
    // It goes on when the other side takes something again.
    let frames = async {
        loop {
            let frame = timeout(DEADLINE, far.receiver.recv()).await.expect("in time").expect("the channel is open");
            if frame.to_text() == "c" {
                break;
            }
        }
    };
    frames.await;
}

#[tokio::test(start_paused = true)]
async fn what_is_to_be_confirmed_keeps_its_place_and_is_confirmed_when_a_channel_has_it() {
    let mut bench = Bench::new(|_| {});
    let (mut far, _task) = bench.open().await;
    let peer = bench.peer.clone();
    // More than the channel takes at once.
    let first = peer.queue_confirmed(large("a", 4)).expect("room");
    peer.queue("b").expect("room");
    let third = peer.queue_response_confirmed(MessageId::from(7), "c").expect("room");
    let fourth = peer.queue_frame_confirmed(Frame::text("d")).expect("room");
    peer.queue("e").expect("room");
    assert!(timeout(Duration::from_secs(1), fourth).await.is_err(), "nothing takes it yet");
    let (mut first, mut third) = (first, third);
    assert!(timeout(Duration::ZERO, &mut first).await.is_err(), "the other side takes nothing");
    let confirmed = async {
        assert_eq!((&mut first).await, Ok(()));
        assert_eq!((&mut third).await, Ok(()));
    };
    let (texts, ()) = tokio::join!(received(&mut far, 5), timeout(DEADLINE, confirmed).map_ok());
    assert_eq!(texts, "abcde");
}

#[tokio::test(start_paused = true)]
async fn what_is_to_be_confirmed_is_taken_at_once_where_nothing_is_ahead_of_it() {
    let mut bench = Bench::new(|_| {});
    let (mut far, _task) = bench.open().await;
    let peer = bench.peer.clone();
    // No task has run meanwhile.
    let message = peer.queue_confirmed("a").expect("room");
    let response = peer.queue_response_confirmed(MessageId::from(7), "b").expect("room");
    let frame = peer.queue_frame_confirmed(Frame::text("c")).expect("room");
    assert!([&message, &response, &frame].iter().all(|pending| pending.is_taken_at_once()));
    // Behind what is queued nothing is, and not what is large.
    let large = peer.queue_confirmed(large("d", 1)).expect("room");
    let (behind, frame_behind) =
        (peer.queue_confirmed("e").expect("room"), peer.queue_frame_confirmed(Frame::text("f")));
    let frame_behind = frame_behind.expect("room");
    assert!(![&large, &behind, &frame_behind].iter().any(|pending| pending.is_taken_at_once()));
    let confirmed =
        async { (message.await, response.await, frame.await, large.await, behind.await, frame_behind.await) };
    let (texts, confirmed) = tokio::join!(received(&mut far, 6), timeout(DEADLINE, confirmed));
    assert_eq!(texts, "abcdef");
    assert_eq!(confirmed, Ok((Ok(()), Ok(()), Ok(()), Ok(()), Ok(()), Ok(()))));
}

#[tokio::test(start_paused = true)]
async fn what_is_to_be_confirmed_and_is_not_sent_says_why() {
    let mut bench = Bench::new(|_| {});
    let (far, task) = bench.open().await;
    assert!(matches!(bench.event().await, Event::PeerConnected(_)));
    let timed_out = SendError::Timeout(Duration::from_secs(30));
    // The other side takes nothing: the send buffer fills with the first of them.
    let heard = bench.peer.queue_confirmed(large("a", 4)).expect("room");
    let unheard = bench.peer.queue_confirmed(large("b", 3)).expect("room");
    assert_eq!(timeout(DEADLINE, heard).await, Ok(Err(timed_out.clone())));
    drop(unheard);
    // The first one was no event, and of the second nothing else would tell.
    let Event::SendFailed(failed) = bench.event().await else { panic!("not what failed") };
    assert_eq!((failed.error, failed.missed), (timed_out, 0));

    let waits = bench.peer.queue_confirmed(large("c", 4)).expect("room");
    drop(far);
    timeout(DEADLINE, task).await.expect("a task ends with its channel").expect("no panic");
    bench.events.close(&bench.peer, ChannelClosed::Remote, 0);
    assert!(matches!(bench.event().await, Event::PeerClosed(_)));
    let gone = Err(SendError::PeerGone(ChannelClosed::Remote));
    assert_eq!(timeout(DEADLINE, waits).await.expect("in time"), gone);
    assert_eq!(bench.peer.queue_confirmed("late").expect("a future").await, gone);
}

#[tokio::test(start_paused = true)]
async fn a_queued_request_that_ends_is_not_sent_any_more() {
    let mut bench = Bench::new(|_| {});
    let (mut far, _task) = bench.open().await;
    bench.peer.queue(large("a", 4)).expect("room");
    // The first is in flight.
    sleep(Duration::from_secs(1)).await;
    let dropped = bench.peer.request("b").queue().expect("room");
    bench.peer.queue("c").expect("room");
    drop(dropped);
    assert_eq!(received(&mut far, 2).await, "ac");
}

#[tokio::test(start_paused = true)]
async fn a_queued_request_is_answered() {
    let mut bench = Bench::new(|_| {});
    let (mut far, _task) = bench.open().await;
    let asked = bench.peer.request("a").queue().expect("room");
    let frame = timeout(DEADLINE, far.receiver.recv()).await.expect("in time").expect("a frame");
    // The wire names the id, and a response has the same.
    far.sender.send(Frame::text(frame.to_text().replace(r#""msg":"a""#, r#""msg":"b""#))).await.expect("sent");
    assert_eq!(asked.await.expect("answered").text(), Some("b"));
}

#[tokio::test(start_paused = true)]
async fn a_flush_ends_when_all_has_left_and_when_the_peer_is_gone() {
    let mut bench = Bench::new(|_| {});
    let (mut far, _task) = bench.open().await;
    bench.peer.queue(large("a", 5)).expect("room");
    bench.peer.queue("b").expect("room");
    let flushed = async {
        bench.peer.flush().await;
        assert!(bench.peer.shared().send_queue.is_empty());
        bench.peer.queue(large("c", 5)).expect("room");
    };
    let (texts, ()) = tokio::join!(received(&mut far, 2), timeout(DEADLINE, flushed).map_ok());
    assert_eq!(texts, "ab");
    let leaving = async {
        sleep(Duration::from_secs(1)).await;
        drop(far);
    };
    tokio::join!(timeout(DEADLINE, bench.peer.flush()).map_ok(), leaving);
    assert!(!bench.peer.shared().send_queue.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_send_behind_a_queue_that_does_not_move_ends_like_any_other() {
    let mut bench = Bench::new(|_| {});
    let (far, _task) = bench.open().await;
    bench.peer.queue(large("a", 3)).expect("room");
    bench.peer.queue(large("b", 3)).expect("room");
    // The channel has taken what it can.
    sleep(Duration::from_secs(1)).await;
    let began = crate::now();
    assert_eq!(bench.peer.send("c").await, Err(SendError::Timeout(Duration::from_secs(30))));
    // However many are queued that will each be given up.
    assert!(crate::now() - began < Duration::from_secs(31));
    drop(far);
}

#[test]
fn failures_that_are_not_read_are_counted() {
    let bench = Bench::new(|_| {});
    bench.events.connect(&bench.peer);
    for _ in 0..100 {
        let error = SendError::Timeout(Duration::from_secs(1));
        bench.events.send_failed(&bench.peer, SendFailed { peer: bench.peer.clone(), id: None, error, missed: 0 });
    }
    let next = || match bench.events.poll_next(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
        std::task::Poll::Ready(event) => event,
        std::task::Poll::Pending => None,
    };
    assert!(matches!(next(), Some(Event::PeerConnected(_))));
    let missed: Vec<u64> = std::iter::from_fn(next)
        .map(|event| match event {
            Event::SendFailed(failed) => failed.missed,
            other => panic!("not a failure: {other:?}"),
        })
        .collect();
    assert_eq!((missed.len(), missed.iter().sum::<u64>(), missed[31]), (32, 68, 68));
}

/// A wait that must end in time.
trait MapOk {
    fn map_ok(self) -> impl Future<Output = ()>;
}

impl<F: Future> MapOk for tokio::time::Timeout<F> {
    async fn map_ok(self) {
        self.await.expect("in time");
    }
}

#[test]
fn a_request_that_ended_in_flight_is_not_sent_again_when_its_channel_fails() {
    for cancelled in [false, true] {
        let bench = Bench::new(|_| {});
        let queue = &bench.peer.shared().send_queue;
        let asked = Awaited::Response(Asked { number: 7, id: 1.into(), handed_over: Arc::default() });
        let content = Content::Message(p2pt_messaging::MessageId::from(1), Outgoing::alone("question".into()));
        assert!(matches!(queue.push(content, Some(asked)), Pushed::Queued));
        let in_flight = queue.take().expect("it is queued");
        if cancelled {
            queue.cancel(7);
        }
        assert!(!queue.is_empty(), "it is in flight");
        drop(in_flight);
        assert_eq!((queue.is_empty(), queue.weight() == 0), (cancelled, cancelled));
    }
}
