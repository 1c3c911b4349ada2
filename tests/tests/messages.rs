//! What is sent and asked between peers, in simulated swarms: messages of the application's own types, one request to
//! many, and a request that is awaited where events are read.

use std::collections::BTreeMap;
use std::time::Duration;

use p2pt::{Event, Message, Peer, RequestError, SendError, TypedError};
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
    assert!(error.to_string().contains("Answer") && std::error::Error::source(&error).is_some(), "{error}");

    // It does not answer, and then it is gone.
    let short = to_two.request_json::<Answer>("?").timeout(Duration::from_secs(1));
    let error = short.await.expect_err("there is no answer");
    assert!(matches!(error, TypedError::Request(RequestError::Timeout { .. })), "{error:?}");
    two.p2pt.shutdown().await;
    while !matches!(next(&mut one).await, Event::PeerClosed(_)) {}
    let error = to_two.send_json("?").await.expect_err("it is gone");
    assert!(matches!(error, TypedError::Send(SendError::PeerGone(_))), "{error:?}");
}
