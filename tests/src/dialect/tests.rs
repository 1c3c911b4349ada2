//! What the dialects say to one frame, as the reference has it for the four servers.

use serde_json::json;
use tokio::io::DuplexStream;
use tokio_tungstenite::{WebSocketStream, client_async};

use super::*;

const HASH: &str = "hhhhhhhhhhhhhhhhhhhh";
const ONE: &str = "11111111111111111111";
const TWO: &str = "22222222222222222222";
const OFFER: &str = "oooooooooooooooooooo";

/// What a client hears within a second.
#[derive(Debug, PartialEq)]
enum Heard {
    Nothing,
    Closed,
    Reply,
    Failure,
    Offer,
    Answer,
}

struct Client(WebSocketStream<DuplexStream>);

impl Client {
    async fn new(tracker: &DialectTracker, family: Family) -> Self {
        let (near, far) = tokio::io::duplex(64 << 10);
        tokio::spawn(tracker.serve(far, family));
        Self(client_async("ws://tracker.test/", near).await.expect("a handshake").0)
    }

    async fn hear(&mut self) -> Heard {
        let Ok(message) = timeout(SECOND, self.0.next()).await else { return Heard::Nothing };
        let Some(Ok(Message::Text(text))) = message else { return Heard::Closed };
        let frame: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        match frame {
            _ if frame.get("failure reason").is_some() => Heard::Failure,
            _ if frame.get("offer").is_some() => Heard::Offer,
            _ if frame.get("answer").is_some() => Heard::Answer,
            _ => Heard::Reply,
        }
    }

    async fn say(&mut self, frame: &serde_json::Value) -> Heard {
        self.say_text(frame.to_string()).await
    }

    async fn say_text(&mut self, text: String) -> Heard {
        // A long message may be refused before all of it is written.
        match self.0.send(Message::text(text)).await {
            Ok(()) => self.hear().await,
            Err(_) => Heard::Closed,
        }
    }
}

fn announce(peer_id: &str, more: serde_json::Value) -> serde_json::Value {
    let mut frame = json!({"action": "announce", "info_hash": HASH, "peer_id": peer_id});
    for (field, value) in more.as_object().into_iter().flatten() {
        frame[field] = value.clone();
    }
    frame
}

fn offers() -> serde_json::Value {
    json!([{"offer_id": OFFER, "offer": {"type": "offer", "sdp": "v=0"}}])
}

fn answer(to: &str) -> serde_json::Value {
    let answer = json!({"type": "answer", "sdp": "v=0"});
    announce(TWO, json!({"to_peer_id": to, "offer_id": OFFER, "answer": answer}))
}

/// What each of the four says to the first frame of a connection.
async fn first(frame: &str) -> [Heard; 4] {
    let [a, b, c, d] = Dialect::all().map(|dialect| async {
        let tracker = DialectTracker::new(dialect, 1);
        Client::new(&tracker, Family::V4).await.say_text(frame.to_owned()).await
    });
    [a.await, b.await, c.await, d.await]
}

#[tokio::test(start_paused = true)]
async fn events_and_bad_input() {
    use Heard::{Closed, Failure, Nothing, Reply};
    let event = |event: serde_json::Value| announce(ONE, json!({ "event": event })).to_string();
    assert_eq!(first(&announce(ONE, json!({})).to_string()).await, [Reply, Reply, Reply, Reply]);
    assert_eq!(first(&event(json!("started"))).await, [Reply, Reply, Reply, Reply]);
    assert_eq!(first(&event(json!(""))).await, [Reply, Failure, Closed, Reply]);
    assert_eq!(first(&event(json!("update"))).await, [Reply, Failure, Closed, Closed]);
    assert_eq!(first(&event(json!("paused"))).await, [Reply, Failure, Closed, Closed]);
    assert_eq!(first(&event(json!("dance"))).await, [Failure, Failure, Closed, Closed]);
    assert_eq!(first(&event(json!(null))).await, [Failure, Failure, Closed, Closed]);
    assert_eq!(first(&event(json!("stopped"))).await, [Reply, Reply, Nothing, Nothing]);
    assert_eq!(first("{").await, [Failure, Failure, Closed, Closed]);
    assert_eq!(first(r#"{"action":"dance"}"#).await, [Failure, Failure, Closed, Closed]);
    let long = announce(ONE, json!({"pad": "x".repeat(17 << 10)})).to_string();
    assert_eq!(first(&long).await, [Reply, Closed, Reply, Reply]);
    let longer = announce(ONE, json!({"pad": "x".repeat(65 << 10)})).to_string();
    assert_eq!(first(&longer).await, [Reply, Closed, Closed, Closed]);
}

#[tokio::test(start_paused = true)]
async fn offers_and_answers() {
    for dialect in Dialect::all() {
        let name = dialect.name;
        let (numwant, same_id, stray) = (dialect.needs_numwant, dialect.same_id, dialect.stray_answer);
        let replies_to_answers = dialect.replies_to_answers;
        let tracker = DialectTracker::new(dialect, 1);
        let mut one = Client::new(&tracker, Family::V4).await;
        let mut two = Client::new(&tracker, Family::V4).await;
        assert_eq!(one.say(&announce(ONE, json!({}))).await, Heard::Reply, "{name}");
        assert_eq!(two.say(&announce(TWO, json!({}))).await, Heard::Reply, "{name}");
        assert_eq!(one.say(&announce(ONE, json!({"offers": offers()}))).await, Heard::Reply, "{name}");
        assert_eq!(two.hear().await == Heard::Nothing, numwant, "{name}");
        if numwant {
            assert_eq!(
                one.say(&announce(ONE, json!({"offers": offers(), "numwant": 1}))).await,
                Heard::Reply,
                "{name}"
            );
            assert_eq!(two.hear().await, Heard::Offer, "{name}");
        }
        let reply = if replies_to_answers { Heard::Reply } else { Heard::Nothing };
        assert_eq!(two.say(&answer(ONE)).await, reply, "{name}");
        assert_eq!(one.hear().await, Heard::Answer, "{name}");

        // A second connection under the same id, and where offers go then.
        let mut again = Client::new(&tracker, Family::V4).await;
        let ignored = again.say(&announce(ONE, json!({}))).await == Heard::Nothing;
        assert_eq!(ignored, same_id == SameId::Ignored, "{name}");
        assert_eq!(two.say(&announce(TWO, json!({"offers": offers(), "numwant": 1}))).await, Heard::Reply, "{name}");
        assert_eq!(again.hear().await == Heard::Offer, same_id == SameId::Evicts, "{name}");

        let heard = two.say(&answer("99999999999999999999")).await;
        let expected = match stray {
            StrayAnswer::Dropped => Heard::Nothing,
            StrayAnswer::Failure => Heard::Failure,
            StrayAnswer::Close => Heard::Closed,
        };
        assert_eq!(heard, expected, "{name}");
        drop((one, again));
        assert!(crate::sim::until(SECOND, || tracker.members() <= 1).await.is_some(), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn members_that_do_not_announce_are_forgotten_when_the_server_would() {
    let forgotten = Dialect::all().map(|dialect| async move {
        let tracker = DialectTracker::new(dialect, 1);
        let mut quiet = Client::new(&tracker, Family::V4).await;
        quiet.say(&announce(ONE, json!({}))).await;
        let mut other = Client::new(&tracker, Family::V4).await;
        let start = Instant::now();
        for _ in 0..150 {
            sleep(10 * SECOND).await;
            assert_eq!(other.say(&announce(TWO, json!({}))).await, Heard::Reply);
            if tracker.members() == 1 {
                return Some(start.elapsed().as_secs());
            }
        }
        None
    });
    let [bt, aquatic, wt, ow] = forgotten;
    assert!(bt.await.is_some_and(|after| (1200..=1280).contains(&after)));
    assert!(aquatic.await.is_some_and(|after| (170..=220).contains(&after)));
    assert!(wt.await.is_some_and(|after| (40..=70).contains(&after)));
    assert_eq!(ow.await, None);
}
