//! What a tracker should not do, and a hostile one may.

use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use std::time::Duration;

use super::swarms::random_id;

/// How a tracker misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Misbehaviour {
    /// Replies name intervals that are negative, zero, endless or no numbers.
    Intervals,
    /// Replies say that the swarm has billions of members.
    Crowds,
    /// Replies are for other info hashes, as are further offers.
    ForeignHashes,
    /// Each offer is answered several times, by peers that do not exist, by its own maker, and nonsensically.
    ForgedAnswers,
    /// Hundreds of offers of peers that do not exist follow each announce.
    OfferFlood,
    /// A message of two MiB follows each announce.
    Oversized,
    /// Frames that mean nothing follow each announce.
    Garbage,
    /// Every announce is refused.
    Refusal,
    /// The socket opens, and then nothing ever comes, though pings are answered.
    Silence,
    /// The socket opens, and then nothing is read or written.
    Deafness,
    /// The stream opens, and the WebSocket handshake never ends.
    NoHandshake,
    /// The first message ends the socket.
    HangUp,
    /// Each message takes [`SLOWNESS`](Self::SLOWNESS).
    Slowness,
}

impl Misbehaviour {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Intervals,
        Self::Crowds,
        Self::ForeignHashes,
        Self::ForgedAnswers,
        Self::OfferFlood,
        Self::Oversized,
        Self::Garbage,
        Self::Refusal,
        Self::Silence,
        Self::Deafness,
        Self::NoHandshake,
        Self::HangUp,
        Self::Slowness,
    ];

    /// How long a slow tracker takes over each message.
    pub const SLOWNESS: Duration = Duration::from_secs(8);

    /// Changes the reply to an announce.
    pub(super) fn twist(self, rng: &mut StdRng, reply: &mut Value) {
        match self {
            Self::Intervals => {
                let absurd = [
                    json!(0),
                    json!(-1),
                    json!(0.001),
                    json!(1e300),
                    json!(u64::MAX),
                    json!("soon"),
                    json!([120]),
                    Value::Null,
                ];
                for field in ["interval", "min interval"] {
                    reply[field] = absurd[rng.random_range(0..absurd.len())].clone();
                }
            }
            Self::Crowds => {
                reply["complete"] = json!(u32::MAX);
                reply["incomplete"] = json!(u32::MAX);
            }
            Self::ForeignHashes => reply["info_hash"] = json!(random_id(rng)),
            _ => {}
        }
    }

    /// What is sent besides the reply to an announce.
    pub(super) fn extra(
        self,
        rng: &mut StdRng,
        info_hash: &str,
        peer_id: &str,
        offers: &[(String, Value)],
    ) -> Vec<String> {
        // What they offered themselves is the most plausible nonsense there is.
        let sdp = offers.first().and_then(|(_, offer)| offer["sdp"].as_str()).unwrap_or("v=0\r\n").to_owned();
        match self {
            Self::ForeignHashes => (0..5)
                .map(|_| {
                    let (hash, from, offer) = (random_id(rng), random_id(rng), random_id(rng));
                    offer_frame(&hash, &from, &offer, &sdp)
                })
                .collect(),
            Self::OfferFlood => (0..300)
                .map(|n| {
                    let (from, offer) = (random_id(rng), random_id(rng));
                    offer_frame(info_hash, &from, &offer, if n % 3 == 0 { "v=0\r\n" } else { &sdp })
                })
                .collect(),
            Self::ForgedAnswers => {
                // An answer by the transport's rules, of a peer that does not exist.
                let plausible = sdp.replace("actpass", "active");
                let (absent, unknown) = (random_id(rng), random_id(rng));
                let mut frames = vec![answer_frame(info_hash, &absent, &unknown, &plausible)];
                for (offer_id, _) in offers {
                    let (first, second) = (random_id(rng), random_id(rng));
                    frames.push(answer_frame(info_hash, peer_id, offer_id, &plausible));
                    frames.push(answer_frame(info_hash, &first, offer_id, &plausible));
                    frames.push(answer_frame(info_hash, &second, offer_id, "v=0\r\n"));
                }
                frames
            }
            Self::Oversized => vec![json!({"action": "announce", "pad": "x".repeat(2 << 20)}).to_string()],
            Self::Garbage => {
                let frames = [
                    "",
                    "null",
                    "[]",
                    "{}",
                    "{",
                    "\u{1}",
                    "1e999",
                    r#"{"action":1}"#,
                    r#"{"action":"dance"}"#,
                    r#"{"action":"announce"}"#,
                    r#"{"action":"announce","info_hash":null,"peer_id":null}"#,
                    r#"{"action":"scrape","files":[]}"#,
                    r#"{"failure reason":{"deep":[[[[]]]]}}"#,
                ];
                let mut frames: Vec<_> = frames.map(str::to_owned).into();
                frames.push("[".repeat(10_000));
                frames.push(json!({"failure reason": "x".repeat(10_000)}).to_string());
                frames
            }
            _ => Vec::new(),
        }
    }
}

fn offer_frame(info_hash: &str, from: &str, offer_id: &str, sdp: &str) -> String {
    let offer = json!({"type": "offer", "sdp": sdp});
    json!({"action": "announce", "info_hash": info_hash, "peer_id": from, "offer_id": offer_id, "offer": offer})
        .to_string()
}

fn answer_frame(info_hash: &str, from: &str, offer_id: &str, sdp: &str) -> String {
    let answer = json!({"type": "answer", "sdp": sdp});
    json!({
        "action": "announce", "info_hash": info_hash, "peer_id": from, "offer_id": offer_id, "answer": answer,
        "interval": 0.001, "failure reason": "forged",
    })
    .to_string()
}
