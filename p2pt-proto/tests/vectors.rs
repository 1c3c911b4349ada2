//! Every frame of a captured session between two JavaScript peers and `bittorrent-tracker` decodes, to what it is, and
//! encodes to the same JSON value again.

use std::collections::BTreeMap;
use std::time::Duration;

use p2pt_proto::{ClientMessage, InfoHash, PeerId, TrackerMessage};
use serde_json::Value;

const SESSION: &str = include_str!("vectors/tracker-session.jsonl");

fn value(json: &str) -> Value {
    serde_json::from_str(json).expect("the session holds JSON")
}

#[test]
fn the_captured_session_survives_both_ways() {
    let mut seen = BTreeMap::<&str, usize>::new();
    let mut info_hash = InfoHash::of("");
    let mut peers = Vec::<PeerId>::new();
    for line in SESSION.lines() {
        let entry = value(line);
        if entry["mark"] == "ids" {
            info_hash = entry["infoHash"].as_str().unwrap().parse().unwrap();
            assert_eq!(InfoHash::of(entry["identifier"].as_str().unwrap()), info_hash);
            peers = ["peer1", "peer2"].map(|peer| entry[peer].as_str().unwrap().parse().unwrap()).into();
        }
        let Some(raw) = entry["raw"].as_str() else { continue };
        assert_eq!(entry["bytes"], raw.len());
        let (kind, encoded) = match entry["dir"].as_str() {
            Some("c2s") => {
                let message = ClientMessage::decode(raw).unwrap();
                let kind = match &message {
                    ClientMessage::Announce(announce) => {
                        assert_eq!((announce.info_hash, announce.numwant), (info_hash, Some(5)));
                        assert!(peers.contains(&announce.peer_id));
                        assert_eq!(announce.offers.as_ref().map(Vec::len), Some(5));
                        assert!(announce.offers.iter().flatten().all(|offer| offer.sdp.starts_with("v=0\r\n")));
                        "announce"
                    }
                    ClientMessage::Answer(answer) => {
                        assert_eq!(answer.info_hash, info_hash);
                        assert!(peers.contains(&answer.peer_id) && peers.contains(&answer.to_peer_id));
                        "answer"
                    }
                    other => panic!("not in this session: {other:?}"),
                };
                (kind, message.encode())
            }
            Some("s2c") => {
                let message = TrackerMessage::decode(raw).unwrap();
                let kind = match &message {
                    TrackerMessage::Announced(reply) => {
                        assert_eq!((reply.info_hash, reply.interval), (info_hash, Some(Duration::from_secs(120))));
                        assert_eq!(reply.complete, Some(0));
                        "reply"
                    }
                    TrackerMessage::Offer(offer) => {
                        assert!(offer.info_hash == info_hash && peers.contains(&offer.peer_id));
                        "forwarded offer"
                    }
                    TrackerMessage::Answer(answer) => {
                        assert!(answer.info_hash == info_hash && peers.contains(&answer.peer_id));
                        "forwarded answer"
                    }
                    other => panic!("not in this session: {other:?}"),
                };
                (kind, message.encode())
            }
            other => panic!("a frame in direction {other:?}"),
        };
        assert_eq!(value(&encoded), value(raw));
        *seen.entry(kind).or_default() += 1;
    }
    let expected = [("announce", 4), ("answer", 3), ("forwarded answer", 3), ("forwarded offer", 3), ("reply", 4)];
    assert_eq!(seen, BTreeMap::from(expected), "17 frames in all");
}
