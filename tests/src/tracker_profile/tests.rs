//! What the profiles say to one frame, as the reference has it for the four servers.

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::io::DuplexStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
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
    async fn new(tracker: &ProfiledTracker, family: Family) -> Self {
        let (near, far) = tokio::io::duplex(64 << 10);
        tokio::spawn(tracker.serve(far, family));
        Self(client_async("ws://tracker.test/", near).await.expect("a handshake").0)
    }

    async fn hear(&mut self) -> Heard {
        self.hear_frame().await.0
    }

    async fn hear_frame(&mut self) -> (Heard, serde_json::Value) {
        let nothing = serde_json::Value::Null;
        let message = async {
            loop {
                match self.0.next().await {
                    Some(Ok(Message::Pong(_))) => {}
                    message => return message,
                }
            }
        };
        let Ok(message) = timeout(SECOND, message).await else { return (Heard::Nothing, nothing) };
        let text = match message {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(other)) => panic!("not the abrupt end that clients meet: {other:?}"),
            Some(Err(_)) | None => return (Heard::Closed, nothing),
        };
        let frame: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let heard = match frame {
            _ if frame.get("failure reason").is_some() => Heard::Failure,
            _ if frame.get("offer").is_some() => Heard::Offer,
            _ if frame.get("answer").is_some() => Heard::Answer,
            _ => Heard::Reply,
        };
        (heard, frame)
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
    let [a, b, c, d] = TrackerProfile::all().map(|profile| async {
        let tracker = ProfiledTracker::new(profile, 1);
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
    for profile in TrackerProfile::all() {
        let name = profile.name;
        let (numwant, same_id, stray) = (profile.needs_numwant, profile.same_id, profile.stray_answer);
        let replies_to_answers = profile.replies_to_answers;
        let tracker = ProfiledTracker::new(profile, 1);
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
    let forgotten = TrackerProfile::all().map(|profile| async move {
        let tracker = ProfiledTracker::new(profile, 1);
        let mut quiet = Client::new(&tracker, Family::V4).await;
        quiet.say(&announce(ONE, json!({}))).await;
        let mut other = Client::new(&tracker, Family::V4).await;
        let start = Instant::now();
        for _ in 0..150 {
            sleep(10 * SECOND).await;
            assert_eq!(other.say(&announce(TWO, json!({}))).await, Heard::Reply);
            // Not idle, but not announcing. It may be closed by now.
            let _ = quiet.0.send(Message::Ping(Default::default())).await;
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

fn id(number: usize) -> String {
    format!("{number:020}")
}

#[tokio::test(start_paused = true)]
async fn no_more_offers_are_forwarded_than_the_server_would() {
    let mut forwarded = Vec::new();
    for profile in TrackerProfile::all() {
        let tracker = ProfiledTracker::new(profile, 1);
        let mut members = Vec::new();
        for n in 0..100 {
            let mut member = Client::new(&tracker, Family::V4).await;
            member.say(&announce(&id(n), json!({}))).await;
            members.push(member);
        }
        let mut most = Vec::new();
        for numwant in [3, 100] {
            let offers: Vec<_> = (0..100)
                .map(|n| json!({"offer_id": id(numwant * 1000 + n), "offer": {"type": "offer", "sdp": "v=0"}}))
                .collect();
            let before = tracker.log().offers_forwarded;
            // Aquatic takes no more than 16 KiB.
            for offers in offers.chunks(100) {
                members[0].say(&announce(&id(0), json!({"offers": offers, "numwant": numwant}))).await;
            }
            most.push(tracker.log().offers_forwarded - before);
        }
        assert_eq!(tracker.log().offers_repeated, 0);
        forwarded.push(most);
    }
    assert_eq!(forwarded, [[82, 82], [10, 10], [3, 20], [3, 20]]);
}

#[tokio::test(start_paused = true)]
async fn idle_connections_are_closed_when_the_server_would() {
    let (mut silent, mut pinging) = (Vec::new(), Vec::new());
    for profile in TrackerProfile::all() {
        for pings in [false, true] {
            let tracker = ProfiledTracker::new(profile.clone(), 1);
            let mut client = Client::new(&tracker, Family::V4).await;
            let mut lasted = None;
            for seconds in 0..=300 {
                if client.hear().await == Heard::Closed {
                    lasted = Some(seconds);
                    break;
                }
                if pings && seconds % 30 == 0 {
                    client.0.send(Message::Ping(Default::default())).await.expect("open");
                }
            }
            if pings { &mut pinging } else { &mut silent }.push(lasted);
        }
    }
    assert_eq!(silent, [None, Some(180), Some(240), Some(240)]);
    assert_eq!(pinging, [None, Some(180), None, None]);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_client_that_does_not_read_is_bounded() {
    let mut dropped = Vec::new();
    for profile in TrackerProfile::all() {
        let tracker = ProfiledTracker::new(profile, 1);
        let mut deaf = Client::new(&tracker, Family::V4).await;
        deaf.0.send(Message::text(announce(ONE, json!({})).to_string())).await.expect("sent");
        let mut other = Client::new(&tracker, Family::V4).await;
        for n in 0..100 {
            let sdp = "x".repeat(10_000);
            let offers = json!([{"offer_id": id(n), "offer": {"type": "offer", "sdp": sdp}}]);
            other
                .0
                .send(Message::text(announce(TWO, json!({"offers": offers, "numwant": 1})).to_string()))
                .await
                .expect("sent");
            assert_ne!(other.hear().await, Heard::Closed);
        }
        // About six fit into the stream, then one is being written and sixteen wait.
        dropped.push((70..=80).contains(&tracker.log().dropped));
        sleep(11 * SECOND).await;
        assert_eq!(tracker.members(), 1, "one that reads nothing for ten seconds is let go");
    }
    assert_eq!(dropped, [false, true, false, false]);
}

#[tokio::test(start_paused = true)]
async fn a_second_id_and_an_id_twice() {
    let mut second = Vec::new();
    for profile in TrackerProfile::all() {
        let (name, same_id) = (profile.name, profile.same_id);
        let tracker = ProfiledTracker::new(profile, 1);
        let mut old = Client::new(&tracker, Family::V4).await;
        let elsewhere = json!({"info_hash": TWO});
        old.say(&announce(ONE, json!({}))).await;
        old.say(&announce(ONE, elsewhere.clone())).await;
        assert_eq!(tracker.members(), 2, "{name}");
        // Another connection takes the id in one of the two swarms.
        let mut new = Client::new(&tracker, Family::V4).await;
        new.say(&announce(ONE, json!({}))).await;
        assert_eq!(tracker.members(), if same_id == SameId::Evicts { 1 } else { 2 }, "{name}");
        drop(old);
        sleep(SECOND).await;
        assert_eq!(tracker.members(), usize::from(same_id == SameId::Evicts), "{name}");
        assert_eq!(new.say(&announce(ONE, json!({}))).await, Heard::Reply, "{name}");
        assert_eq!(tracker.members(), 1, "{name}");

        let here = new.say(&announce(TWO, json!({}))).await;
        let mut fresh = Client::new(&tracker, Family::V4).await;
        fresh.say(&announce("33333333333333333333", json!({}))).await;
        let there = fresh.say(&announce("44444444444444444444", elsewhere)).await;
        second.push((here, there));
        drop((new, fresh));
        sleep(SECOND).await;
        // bittorrent-tracker has forgotten whose the second ids were.
        assert_eq!(tracker.members(), if name == "bittorrent-tracker" { 2 } else { 0 }, "{name}");
    }
    use Heard::{Closed, Reply};
    assert_eq!(second, [(Reply, Reply), (Closed, Reply), (Reply, Reply), (Closed, Closed)]);
}

#[tokio::test(start_paused = true)]
async fn answers_across_swarms_with_extra_fields_twice_and_late() {
    let [mut across, mut extra, mut twice, mut late] = [(); 4].map(|()| Vec::new());
    for profile in TrackerProfile::all() {
        let tracker = ProfiledTracker::new(profile, 1);
        let mut one = Client::new(&tracker, Family::V4).await;
        let mut two = Client::new(&tracker, Family::V4).await;
        one.say(&announce(ONE, json!({}))).await;
        two.say(&announce(TWO, json!({}))).await;
        let mut invitation = announce(ONE, json!({"offers": offers(), "numwant": 1}));
        invitation["offers"][0]["offer"]["more"] = json!(1);
        one.say(&invitation).await;
        let (heard, offer) = two.hear_frame().await;
        assert_eq!((heard, offer["offer"]["more"].is_null()), (Heard::Offer, !tracker.profile().verbatim_offers));
        let mut reply = answer(ONE);
        (reply["interval"], reply["peer_id"]) = (json!(0.001), json!(TWO));
        two.say(&reply).await;
        extra.push(one.hear_frame().await.1["interval"].is_number());
        two.say(&answer(ONE)).await;
        twice.push(one.hear().await == Heard::Answer);

        one.say(&invitation).await;
        two.hear().await;
        for _ in 0..5 {
            sleep(30 * SECOND).await;
            one.say(&announce(ONE, json!({}))).await;
            two.say(&announce(TWO, json!({}))).await;
        }
        two.say(&answer(ONE)).await;
        late.push(one.hear().await == Heard::Answer);
        let mut foreign = answer(ONE);
        foreign["info_hash"] = json!(TWO);
        two.say(&foreign).await;
        across.push(one.hear().await == Heard::Answer);
    }
    assert_eq!(extra, [false, false, true, true]);
    assert_eq!(twice, [true, false, true, true]);
    assert_eq!(late, [true, false, true, true]);
    assert_eq!(across, [false, false, true, true]);
}

#[tokio::test(start_paused = true)]
async fn families_and_crowds() {
    let (mut apart, mut crowded) = (Vec::new(), Vec::new());
    for profile in TrackerProfile::all() {
        let tracker = ProfiledTracker::new(profile, 1);
        let mut six = Client::new(&tracker, Family::V6).await;
        let mut four = Client::new(&tracker, Family::V4).await;
        six.say(&announce(ONE, json!({}))).await;
        four.say(&announce(TWO, json!({"offers": offers(), "numwant": 1}))).await;
        apart.push(six.hear().await == Heard::Nothing);
        if tracker.profile().ids != Ids::Any && tracker.profile().ids != Ids::FirstGoes {
            continue;
        }
        for n in 0..1100 {
            four.say(&announce(&id(n), json!({}))).await;
            sleep(SECOND / 100).await;
        }
        crowded.push(tracker.members());
    }
    assert_eq!(apart, [false, true, false, false]);
    assert_eq!(crowded, [1000, 1102]);
}

#[tokio::test(start_paused = true)]
async fn scrapes() {
    let mut heard = Vec::new();
    for profile in TrackerProfile::all() {
        let tracker = ProfiledTracker::new(profile, 1);
        let mut client = Client::new(&tracker, Family::V4).await;
        client.say(&announce(ONE, json!({"left": 0}))).await;
        let mut row = Vec::new();
        let many: Vec<_> = (0..300).map(|n| if n == 0 { HASH.to_owned() } else { id(n) }).collect();
        for info_hash in [json!(HASH), json!([HASH, TWO]), json!(many), json!([]), json!(7)] {
            let heard = match client.say(&json!({"action": "scrape", "info_hash": info_hash})).await {
                Heard::Closed => {
                    client = Client::new(&tracker, Family::V4).await;
                    client.say(&announce(ONE, json!({"left": 0}))).await;
                    "closed".to_owned()
                }
                heard => format!("{heard:?}"),
            };
            row.push(heard);
        }
        client.0.send(Message::text(r#"{"action":"scrape"}"#)).await.expect("sent");
        let (all, reply) = client.hear_frame().await;
        row.push(format!("{all:?} {}", reply["files"]));
        client
            .0
            .send(Message::text(json!({"action": "scrape", "info_hash": [HASH, TWO]}).to_string()))
            .await
            .expect("sent");
        row.push(client.hear_frame().await.1["files"].to_string());
        heard.push(row);
    }
    let known = |downloaded: u8| format!(r#""{HASH}":{{"complete":1,"downloaded":{downloaded},"incomplete":0}}"#);
    let unknown = format!(r#""{TWO}":{{"complete":0,"downloaded":0,"incomplete":0}}"#);
    let all = |end: &str| {
        let start = ["Reply", "Reply", "Reply", "Reply", end].map(str::to_owned).into_iter();
        start.chain([format!("Reply {{{}}}", known(1)), format!("{{{unknown},{}}}", known(1))]).collect::<Vec<_>>()
    };
    let aquatic = ["Reply", "Reply", "Reply", "Nothing", "Failure", "Failure null"].map(str::to_owned).into_iter();
    let aquatic: Vec<_> = aquatic.chain([format!("{{{}}}", known(0))]).collect();
    assert_eq!(heard, [all("Failure"), aquatic, all("closed"), all("closed")]);
}
