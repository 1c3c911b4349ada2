//! What is sent and asked between peers, in simulated swarms: messages of the application's own types, one request to
//! many, and a request that is awaited where events are read.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{Stream as _, StreamExt as _};
use p2pt::{Event, Message, NodeError, Peer, RequestError, SendError, TryNextError, TypedError};
use p2pt_tests::sim::{Sim, SimNode};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

const A: &str = "ws://a.test/announce";

/// A guard against hanging, in virtual time.
const DEADLINE: Duration = Duration::from_secs(60);

async fn next(node: &mut SimNode) -> Event {
    timeout(DEADLINE, node.events.next()).await.expect("an event in time").expect("the stream goes on")
}

async fn connected(node: &mut SimNode) -> Peer {
    loop {
        if let Event::PeerConnected(peer) = next(node).await {
            return peer;
        }
    }
}

async fn message(node: &mut SimNode) -> Message {
    loop {
        if let Event::Message(message) = next(node).await {
            return message;
        }
    }
}

/// Two nodes that have met, each with its handle of the other.
async fn pair(sim: &Sim) -> (SimNode, Peer, SimNode, Peer) {
    sim.start_tracker(A);
    let (mut one, mut two) = (sim.start("room", &[A]).await, sim.start("room", &[A]).await);
    let (to_two, to_one) = (connected(&mut one).await, connected(&mut two).await);
    (one, to_two, two, to_one)
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Question {
    city: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Answer {
    degrees: f64,
}

/// A map that JSON cannot hold, because its keys are no strings.
fn no_json() -> BTreeMap<(u8, u8), u8> {
    BTreeMap::from([((1, 2), 3)])
}

#[tokio::test(start_paused = true)]
async fn values_are_sent_asked_and_answered_as_what_they_are() {
    let sim = Sim::new(1);
    let (_one, to_two, mut two, _) = pair(&sim).await;
    let ghent = Question { city: "Ghent".into() };
    to_two.send_json(&ghent).await.expect("sent");
    to_two.queue_json(&ghent).expect("queued");
    for _ in 0..2 {
        let received = message(&mut two).await;
        assert_eq!(received.json::<Question>().expect("a question"), ghent);
        assert_eq!(received.as_json().map(ToString::to_string).as_deref(), Some(r#"{"city":"Ghent"}"#));
    }

    let asking = {
        let to_two = to_two.clone();
        tokio::spawn(async move {
            let one = to_two.request_json::<Answer>(&ghent).await?;
            let two = to_two.request_json::<Answer>(&ghent).send().await?.await?;
            let three = to_two.request_json::<Answer>(&ghent).queue()?.await?;
            Ok::<_, TypedError>([one, two, three].map(|answer| answer.degrees))
        })
    };
    let first = message(&mut two).await;
    first.respond_json(&Answer { degrees: 1.0 }).await.expect("sent");
    message(&mut two).await.queue_response_json(&Answer { degrees: 2.0 }).expect("queued");
    message(&mut two).await.respond_json(&Answer { degrees: 3.0 }).await.expect("sent");
    assert_eq!(asking.await.expect("no panic").expect("three answers"), [1.0, 2.0, 3.0]);

    // A chain, and text where a string is wanted.
    let asking = tokio::spawn(async move { to_two.request("how warm?").await?.request_json::<String>(&[1, 2]).await });
    let question = message(&mut two).await;
    let numbers = question.request_json::<Vec<u8>>("which numbers?").await.expect("an answer");
    assert_eq!(numbers, [1, 2]);
    // The last of the chain has the same id.
    two.p2pt.peers()[0].respond_to(question.id().clone(), "thanks").await.expect("sent");
    assert_eq!(asking.await.expect("no panic").expect("text is a string"), "thanks");
}

#[tokio::test(start_paused = true)]
async fn the_error_says_whose_fault_it_is_and_nothing_unwritable_is_sent() {
    let sim = Sim::new(2);
    let (mut one, to_two, mut two, _) = pair(&sim).await;
    let no_json = no_json();
    let is_encode = |error: &TypedError| matches!(error, TypedError::Encode(_));
    assert!(to_two.send_json(&no_json).await.is_err_and(|error| is_encode(&error)));
    assert!(to_two.queue_json(&no_json).is_err_and(|error| is_encode(&error)));
    assert!(to_two.request_json::<Answer>(&no_json).await.is_err_and(|error| is_encode(&error)));
    assert!(to_two.request_json::<Answer>(&no_json).send().await.is_err_and(|error| is_encode(&error)));
    assert!(to_two.request_json::<Answer>(&no_json).queue().is_err_and(|error| is_encode(&error)));
    to_two.send("first").await.expect("sent");
    let first = message(&mut two).await;
    assert_eq!(first.text(), Some("first"), "nothing came before it");
    assert!(first.respond_json(&no_json).await.is_err_and(|error| is_encode(&error)));

    // It answers something else.
    let asking = tokio::spawn({
        let to_two = to_two.clone();
        async move { to_two.request_json::<Answer>("?").await }
    });
    message(&mut two).await.respond("secret words").await.expect("sent");
    let error = asking.await.expect("no panic").expect_err("it is no answer");
    assert!(matches!(error, TypedError::Decode(_)), "{error:?}");
    assert!(
        error.to_string().contains("the message is not of the type") && error.to_string().contains("Answer"),
        "{error}"
    );

    // It does not answer, and then it is gone.
    let short = to_two.request_json::<Answer>("?").timeout(Duration::from_secs(1));
    let error = short.await.expect_err("there is no answer");
    assert!(matches!(error, TypedError::Request(RequestError::Timeout { .. })), "{error:?}");
    two.p2pt.shutdown().await;
    while !matches!(next(&mut one).await, Event::PeerClosed(_)) {}
    let error = to_two.send_json("?").await.expect_err("it is gone");
    assert!(matches!(error, TypedError::Send(SendError::PeerGone(_))), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_request_to_many_has_each_response_as_it_comes() {
    let sim = Sim::new(3);
    let (mut one, to_two, mut two, _) = pair(&sim).await;
    let mut three = sim.start("room", &[A]).await;
    let to_three = connected(&mut one).await;
    let mut responses = one.p2pt.request_many("?");
    assert_eq!(responses.size_hint(), (2, Some(2)));
    let answering = async {
        // The later one is first, and what comes before the first response is asked for is nothing of it.
        to_two.send("not yet").await.expect("sent");
        assert_eq!(message(&mut two).await.text(), Some("not yet"));
        message(&mut three).await.respond("three").await.expect("sent");
        let question = message(&mut two).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        question.respond("two").await.expect("sent");
    };
    let asking = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut got = Vec::new();
        while let Some((peer, response)) = responses.next().await {
            got.push((peer, response.expect("a response").text().expect("text").to_owned()));
        }
        got
    };
    let (got, ()) = tokio::join!(asking, answering);
    assert_eq!(got, [(to_three.clone(), "three".to_owned()), (to_two.clone(), "two".to_owned())]);

    // One goes, one does not answer.
    let responses = one.p2pt.request_many("?").timeout(Duration::from_secs(5));
    let leaving = async {
        message(&mut three).await;
        three.p2pt.shutdown().await;
    };
    let (failures, ()) = tokio::join!(responses.collect::<Vec<_>>(), leaving);
    assert!(matches!(&failures[0], (peer, Err(RequestError::PeerGone(_))) if *peer == to_three), "{failures:?}");
    let (peer, Err(RequestError::Timeout { after, .. })) = &failures[1] else { panic!("{failures:?}") };
    assert_eq!((peer, *after), (&to_two, Duration::from_secs(5)));
    assert_eq!(failures.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_request_to_many_that_is_dropped_asks_no_more() {
    let sim = Sim::new(4);
    let (one, to_two, mut two, _) = pair(&sim).await;
    message_after(&mut two, &to_two, "first").await;
    let mut responses = one.p2pt.request_many("?");
    assert!(timeout(Duration::from_secs(1), responses.next()).await.is_err(), "it is not answered yet");
    drop(responses);
    let question = message(&mut two).await;
    question.respond("too late").await.expect("sent");
    let late = async {
        while to_two.late_responses() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(DEADLINE, late).await.expect("the response finds no request");
    let alone = sim.start("another room", &[A]).await;
    assert!(alone.p2pt.request_many("?").next().await.is_none(), "no peer, no response");
}

async fn message_after(node: &mut SimNode, sender: &Peer, text: &str) {
    sender.send(text).await.expect("sent");
    assert_eq!(message(node).await.text(), Some(text));
}

#[tokio::test(start_paused = true)]
async fn a_peer_can_be_waited_for_beside_the_events() {
    let sim = Sim::new(5);
    sim.start_tracker(A);
    let mut one = sim.start("room", &[A]).await;
    let waiting = tokio::spawn({
        let swarm = one.p2pt.clone();
        async move { swarm.wait_for_peer().await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!waiting.is_finished(), "it is alone");
    let two = sim.start("room", &[A]).await;
    let met = timeout(DEADLINE, waiting).await.expect("in time").expect("no panic").expect("a peer");
    assert_eq!(met.id(), two.p2pt.peer_id());
    assert_eq!(one.p2pt.wait_for_peer().await.expect("at once"), met);
    assert_eq!(connected(&mut one).await, met, "the event came all the same");

    two.p2pt.shutdown().await;
    while !matches!(next(&mut one).await, Event::PeerClosed(_)) {}
    let swarm = one.p2pt.clone();
    let (waited, left) = tokio::join!(timeout(DEADLINE, swarm.wait_for_peer()), one.p2pt.leave());
    left.expect("left");
    assert!(matches!(waited.expect("the wait ends"), Err(NodeError::Stopped)));
    assert!(matches!(swarm.wait_for_peer().await, Err(NodeError::Stopped)));
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_does_not_wait_takes_events_and_sees_their_end() {
    let sim = Sim::new(6);
    sim.start_tracker(A);
    let (mut one, two) = (sim.start("room", &[A]).await, sim.start("room", &[A]).await);
    let to_one = timeout(DEADLINE, two.p2pt.wait_for_peer()).await.expect("in time").expect("met");
    to_one.send("hello").await.expect("sent");
    let (began, mut lines) = (tokio::time::Instant::now(), Vec::new());
    let hello = loop {
        assert!(began.elapsed() < DEADLINE, "the message does not come: {lines:?}");
        match one.events.try_next() {
            Ok(Event::Message(message)) => break message,
            Ok(event) => lines.push(event.to_string()),
            Err(error) => {
                assert_eq!(error, TryNextError::Empty);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    };
    assert_eq!(hello.text(), Some("hello"));
    assert_eq!(one.events.try_next().expect_err("it was the last"), TryNextError::Empty);
    let met = format!("peer {} connected", two.p2pt.peer_id());
    assert_eq!(lines, [format!("tracker {A} reached; 1 of 1 are"), met]);
    one.p2pt.shutdown().await;
    let mut events = one.events;
    // Outside the runtime, too.
    let last = std::thread::spawn(move || {
        let mut taken = Vec::new();
        loop {
            match events.try_next() {
                Ok(event) => taken.push(event),
                Err(error) => return (taken, error),
            }
        }
    });
    let (taken, error) = last.join().expect("no panic");
    assert!(matches!(taken.last(), Some(Event::PeerClosed(closed)) if closed.peer == *hello.peer()), "{taken:?}");
    assert_eq!(error, TryNextError::Ended);
}

/// A request is awaited where events are read. While it is, another peer's message comes in, what was queued for that
/// one leaves, and no channel closes.
async fn awaited_in_the_loop(flood: usize) -> RequestError {
    const INBOX: usize = 10_000;
    let sim = Sim::new(7);
    sim.start_tracker(A);
    let mut one = sim.start_with("room", &[A], |node| node.inbox_bytes(INBOX)).await;
    let mut two = sim.start("room", &[A]).await;
    let (to_two, to_one) = (connected(&mut one).await, connected(&mut two).await);
    let mut three = sim.start("room", &[A]).await;
    let to_three = connected(&mut one).await;
    for _ in 0..flood {
        to_one.queue("x".repeat(INBOX)).expect("queued");
    }

    to_three.queue("queued").expect("queued");
    let request = async {
        let error = to_two.request("?").timeout(DEADLINE / 2).await.expect_err("there is no response");
        (error, tokio::time::Instant::now())
    };
    let others = async {
        let queued = message(&mut three).await;
        assert_eq!(queued.text(), Some("queued"));
        queued.respond("from another peer").await.expect("sent");
        to_three.queue("more").expect("queued");
        assert_eq!(message(&mut three).await.text(), Some("more"));
        tokio::time::Instant::now()
    };
    let ((error, ended), left) = tokio::join!(request, others);
    assert!(left < ended, "what was queued has left while the request waited");
    // What has arrived is taken without giving anything else a turn.
    let mut arrived = Vec::new();
    while let Ok(event) = one.events.try_next() {
        if let Event::Message(message) = event {
            arrived.push((message.peer().clone(), message.text().expect("text").to_owned()));
        }
    }
    assert!(arrived.contains(&(to_three.clone(), "from another peer".to_owned())), "{} messages", arrived.len());
    assert_eq!((to_two.connection_count(), to_three.connection_count()), (1, 1));
    error
}

#[tokio::test(start_paused = true)]
async fn a_request_awaited_where_events_are_read_stalls_no_other_peer_and_ends() {
    let error = awaited_in_the_loop(10).await;
    assert_eq!(error, RequestError::InboxFull);
    let error = awaited_in_the_loop(0).await;
    assert!(matches!(error, RequestError::Timeout { .. }), "{error:?}");
}
