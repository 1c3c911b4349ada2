//! Properties of encoding and decoding over generated messages, bytes and JSON.

use std::time::Duration;

use p2pt_proto::{
    Announce, AnnounceEvent, AnnounceReply, AnswerRequest, ClientMessage, Failure, ForwardedAnswer, ForwardedOffer,
    InfoHash, Offer, OfferId, PeerId, ScrapeReply, ScrapeRequest, ScrapeStats, TrackerMessage,
};
use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;

fn id<T: From<[u8; 20]> + std::fmt::Debug>() -> impl Strategy<Value = T> {
    any::<[u8; 20]>().prop_map(T::from)
}

/// A text with everything that JSON escapes and everything that it does not.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "(?s)[\\x00-\\x20\"\\\\é😀\u{2028}]{0,12}", "v=0\r\n[a-z=:0-9 \r\n]{0,200}"]
}

/// Whole seconds of any size, or fractions where a double still tells nanoseconds apart.
fn interval() -> impl Strategy<Value = Duration> {
    prop_oneof![
        any::<u64>().prop_map(Duration::from_secs),
        (0..1_u64 << 20, 0..1_000_000_000_u32).prop_map(|(seconds, nanos)| Duration::new(seconds, nanos)),
        Just(Duration::MAX),
    ]
}

fn event() -> impl Strategy<Value = AnnounceEvent> {
    use AnnounceEvent::*;
    select(vec![Started, Stopped, Completed, Update, Paused])
}

fn offer() -> impl Strategy<Value = Offer> {
    (id(), text()).prop_map(|(offer_id, sdp)| Offer::new(offer_id, sdp))
}

fn announce() -> impl Strategy<Value = Announce> {
    let counts = (of(any::<u32>()), of(any::<u64>()), of(any::<u64>()), of(any::<u64>()));
    (id(), id(), of(event()), counts, of(text()), of(vec(offer(), 0..4))).prop_map(
        |(info_hash, peer_id, event, (numwant, uploaded, downloaded, left), tracker_id, offers)| {
            let mut announce = Announce::new(info_hash, peer_id);
            (announce.event, announce.tracker_id, announce.offers) = (event, tracker_id, offers);
            (announce.numwant, announce.uploaded) = (numwant, uploaded);
            (announce.downloaded, announce.left) = (downloaded, left);
            announce
        },
    )
}

fn client_message() -> impl Strategy<Value = ClientMessage> {
    let answer = (id(), id(), id(), id(), text()).prop_map(|(info_hash, peer_id, to_peer_id, offer_id, sdp)| {
        ClientMessage::Answer(AnswerRequest::new(info_hash, peer_id, to_peer_id, offer_id, sdp))
    });
    let scrape = vec(id(), 0..4).prop_map(|info_hashes| ClientMessage::Scrape(ScrapeRequest::new(info_hashes)));
    prop_oneof![announce().prop_map(ClientMessage::Announce), answer, scrape]
}

fn announce_reply() -> impl Strategy<Value = AnnounceReply> {
    let counts = (of(any::<u32>()), of(any::<u32>()));
    (id(), of(interval()), of(interval()), of(text()), counts, of(text())).prop_map(
        |(info_hash, interval, min_interval, tracker_id, (complete, incomplete), warning)| {
            let mut reply = AnnounceReply::new(info_hash);
            (reply.interval, reply.min_interval, reply.tracker_id) = (interval, min_interval, tracker_id);
            (reply.complete, reply.incomplete, reply.warning) = (complete, incomplete, warning);
            reply
        },
    )
}

fn scrape_reply() -> impl Strategy<Value = ScrapeReply> {
    let stats = any::<(u32, u32, u32)>()
        .prop_map(|(complete, incomplete, downloaded)| ScrapeStats::new(complete, incomplete, downloaded));
    (btree_map(id(), stats, 0..4), of(interval())).prop_map(|(files, min_request_interval)| {
        let mut reply = ScrapeReply::new(files);
        reply.min_request_interval = min_request_interval;
        reply
    })
}

/// Any JSON value, its numbers and its nesting included.
fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((text(), inner), 0..4).prop_map(|entries| entries.into_iter().collect()),
        ]
    })
}

/// An object that is none of the known messages.
fn unknown() -> impl Strategy<Value = Value> {
    vec(("x-[a-z]{0,5}", json()), 0..4).prop_map(|mut entries| {
        entries.push(("action".into(), "dance".into()));
        Value::from_iter(entries)
    })
}

fn tracker_message() -> impl Strategy<Value = TrackerMessage> {
    let signal = || (id::<InfoHash>(), id::<PeerId>(), id::<OfferId>(), text());
    prop_oneof![
        announce_reply().prop_map(TrackerMessage::Announced),
        signal().prop_map(|(info_hash, peer_id, offer_id, sdp)| {
            TrackerMessage::Offer(ForwardedOffer::new(info_hash, peer_id, offer_id, sdp))
        }),
        signal().prop_map(|(info_hash, peer_id, offer_id, sdp)| {
            TrackerMessage::Answer(ForwardedAnswer::new(info_hash, peer_id, offer_id, sdp))
        }),
        scrape_reply().prop_map(TrackerMessage::Scrape),
        (text(), of(text()), of(id())).prop_map(|(reason, action, info_hash)| {
            let mut failure = Failure::new(reason);
            (failure.action, failure.info_hash) = (action, info_hash);
            TrackerMessage::Failure(failure)
        }),
        unknown().prop_map(TrackerMessage::Unknown),
    ]
}

fn wire_id() -> impl Strategy<Value = Value> {
    id::<PeerId>().prop_map(|id| id.to_wire().into())
}

fn description(kinds: &[&'static str]) -> impl Strategy<Value = Value> {
    (select(kinds.to_vec()), text())
        .prop_map(|(kind, sdp)| Value::from_iter([("type", kind.into()), ("sdp", Value::from(sdp))]))
}

fn offers() -> impl Strategy<Value = Value> {
    let offer = (wire_id(), description(&["offer"]))
        .prop_map(|(id, description)| Value::from_iter([("offer_id", id), ("offer", description)]));
    vec(offer, 0..3).prop_map(Value::from)
}

fn files() -> impl Strategy<Value = Value> {
    let stats = any::<(u32, u64)>()
        .prop_map(|(count, more)| Value::from_iter([("complete", Value::from(count)), ("incomplete", more.into())]));
    vec((id::<InfoHash>(), stats), 0..3)
        .prop_map(|files| files.into_iter().map(|(info_hash, stats)| (info_hash.to_wire(), stats)).collect())
}

fn number() -> impl Strategy<Value = Value> {
    prop_oneof![any::<f64>(), -10.0..1e7, any::<u64>().prop_map(|whole| whole as f64)].prop_map(Value::from)
}

/// A key of the protocol with a value that suits it, mostly.
fn field() -> impl Strategy<Value = (&'static str, Value)> {
    let numbers = ["numwant", "uploaded", "downloaded", "left", "interval", "min interval", "complete", "incomplete"];
    let texts = ["trackerid", "tracker id", "warning message", "event", "x"];
    let all = [
        &numbers[..],
        &texts,
        &["offers", "to_peer_id", "offer_id", "answer", "offer", "failure reason", "files", "flags"],
        &["info_hash", "peer_id", "action"],
    ];
    prop_oneof![
        4 => (select(numbers.to_vec()), prop_oneof![number(), any::<u32>().prop_map(Value::from)]),
        2 => (select(texts.to_vec()), text().prop_map(Value::from)),
        1 => (Just("event"), event().prop_map(|event| event.as_str().into())),
        1 => (Just("offers"), offers()),
        1 => (Just("answer"), description(&["answer", "offer"])),
        1 => (Just("offer"), description(&["offer", "pranswer"])),
        2 => (Just("files"), files()),
        1 => (Just("flags"), number().prop_map(|number| Value::from_iter([("min_request_interval", number)]))),
        1 => (Just("failure reason"), text().prop_map(Value::from)),
        1 => (Just("info_hash"), vec(wire_id(), 0..3).prop_map(Value::from)),
        1 => (select(all.concat()), json()),
    ]
}

/// A frame with keys of the protocol, often enough the right ones with the right values.
fn frame() -> impl Strategy<Value = Value> {
    let action = select(vec!["announce", "scrape"]);
    (action, wire_id(), of(wire_id()), of(wire_id()), of(wire_id()), vec(field(), 0..5)).prop_map(
        |(action, info_hash, peer_id, to_peer_id, offer_id, fields)| {
            let ids = [("peer_id", peer_id), ("to_peer_id", to_peer_id), ("offer_id", offer_id)];
            let ids = ids.into_iter().filter_map(|(key, id)| Some((key, id?)));
            [("action", action.into()), ("info_hash", info_hash)].into_iter().chain(ids).chain(fields).collect()
        },
    )
}

const OPTIONAL_FIELDS: [&str; 7] =
    ["interval", "min interval", "tracker id", "complete", "incomplete", "warning message", "downloaded"];

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(values) => values.iter().any(has_null),
        Value::Object(entries) => entries.values().any(has_null),
        _ => false,
    }
}

fn check_client(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(message) = ClientMessage::decode(bytes) {
        prop_assert_eq!(ClientMessage::decode(message.encode()).expect("it was just encoded"), message);
    }
    Ok(())
}

fn check_tracker(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(message) = TrackerMessage::decode(bytes) {
        prop_assert_eq!(TrackerMessage::decode(message.encode()).expect("it was just encoded"), message);
    }
    Ok(())
}

proptest! {
    #[test]
    fn client_messages_survive(message in client_message()) {
        let frame = message.encode();
        prop_assert!(!has_null(&serde_json::from_str(&frame).unwrap()));
        prop_assert_eq!(ClientMessage::decode(&frame).unwrap(), message);
    }

    #[test]
    fn tracker_messages_survive(message in tracker_message()) {
        let frame = message.encode();
        let data = matches!(message, TrackerMessage::Unknown(_));
        prop_assert!(data || !has_null(&serde_json::from_str(&frame).unwrap()));
        prop_assert_eq!(TrackerMessage::decode(&frame).unwrap(), message);
    }

    #[test]
    fn what_decodes_is_stable(frame in frame()) {
        let bytes = frame.to_string();
        check_client(bytes.as_bytes())?;
        check_tracker(bytes.as_bytes())?;
    }

    #[test]
    fn any_json_is_a_message_or_an_error(value in json()) {
        let bytes = value.to_string();
        check_client(bytes.as_bytes())?;
        check_tracker(bytes.as_bytes())?;
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in vec(any::<u8>(), 0..200)) {
        check_client(&bytes)?;
        check_tracker(&bytes)?;
    }

    /// Bytes that are almost a frame reach deeper than random ones.
    #[test]
    fn damaged_frames_are_messages_or_errors(
        message in client_message(),
        reply in tracker_message(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in of(any::<prop::sample::Index>()),
    ) {
        for mut bytes in [message.encode().into_bytes(), reply.encode().into_bytes()] {
            for (index, byte) in &damage {
                let index = index.index(bytes.len());
                bytes[index] = *byte;
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            check_client(&bytes)?;
            check_tracker(&bytes)?;
        }
    }

    #[test]
    fn an_optional_field_never_costs_the_reply(
        info_hash in id::<InfoHash>(),
        fields in vec((select(OPTIONAL_FIELDS.to_vec()), json()), 1..6),
        bom: bool,
    ) {
        let wire = Value::from(info_hash.to_wire());
        let fields: Vec<_> = fields.iter().map(|(key, value)| format!(",\"{key}\":{value}")).collect();
        let fields = fields.concat();
        let bom = if bom { "\u{feff}" } else { "" };
        let reply = format!("{bom}{{\"action\":\"announce\",\"info_hash\":{wire}{fields}}}");
        let (message, odd) = TrackerMessage::decode_noting(&reply).unwrap();
        prop_assert!(matches!(&message, TrackerMessage::Announced(reply) if reply.info_hash == info_hash));
        prop_assert!(odd.len() <= 8 && odd.iter().all(|odd| odd.to_string().len() < 300), "{:?}", odd);
        prop_assert_eq!(TrackerMessage::decode(message.encode()).unwrap(), message);
        let scrape = format!("{{\"action\":\"scrape\",\"files\":{{{wire}:{{\"x\":0{fields}}}}},\"flags\":0}}");
        prop_assert!(matches!(
            TrackerMessage::decode(scrape).unwrap(),
            TrackerMessage::Scrape(reply) if reply.files.contains_key(&info_hash)
        ));
    }

    #[test]
    fn a_frame_with_a_signal_is_nothing_else(frame in frame(), key in select(vec!["offer", "answer"]), (_, value) in field()) {
        let mut frame = frame;
        frame[key] = value;
        match TrackerMessage::decode(frame.to_string()) {
            Ok(TrackerMessage::Offer(_) | TrackerMessage::Answer(_)) | Err(_) => {}
            Ok(other) => prop_assert!(false, "{:?}", other),
        }
    }
}

#[cfg(feature = "serde")]
proptest! {
    #[test]
    fn an_id_is_hexadecimal_in_json(peer in id::<PeerId>(), swarm in id::<InfoHash>(), offer in id::<OfferId>()) {
        let text = serde_json::to_string(&(peer, swarm, offer)).unwrap();
        prop_assert_eq!(&text, &format!("[\"{peer}\",\"{swarm}\",\"{offer}\"]"));
        prop_assert_eq!(serde_json::from_str::<(PeerId, InfoHash, OfferId)>(&text).unwrap(), (peer, swarm, offer));
    }

    #[test]
    fn an_id_of_another_length_is_an_error_that_says_so(digits in "[0-9a-f]{0,80}") {
        prop_assume!(digits.len() != 40);
        let error = serde_json::from_str::<PeerId>(&format!("\"{digits}\"")).unwrap_err().to_string();
        prop_assert!(error.contains(&format!("expected 40 hexadecimal digits, found {}", digits.len())), "{}", error);
    }
}
