//! The test vectors of `docs/trust-vectors.json`, by which others can check what they write.
//!
//! They are computed here from the inputs below, and have to be what is in the file. After a change of a format, which
//! needs a new label or version, `P2PT_WRITE_VECTORS=1 cargo test -p p2pt-trust vectors` writes them anew.

use std::convert::Infallible;
use std::path::Path;

use data_encoding::HEXLOWER;
use p2pt_proto::{InfoHash, PeerId};
use rand::{TryCryptoRng, TryRng};
use serde_json::{Value, json};

use crate::encoding::{fields, hash};
use crate::pake::{Pake, Side};
use crate::words::word;
use crate::*;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/trust-vectors.json");

/// An SDP as short as one can be that shows where the lines go.
const SDP: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
    m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sctp-port:5000\r\n";

/// A source of "randomness" that counts, so that vectors can be computed anew.
struct Counting(u8);

impl TryRng for Counting {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for byte in bytes {
            *byte = self.0;
            self.0 = self.0.wrapping_add(1);
        }
        Ok(())
    }
}

impl TryCryptoRng for Counting {}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    HEXLOWER.encode(bytes.as_ref())
}

fn identity(byte: u8) -> NodeIdentity {
    NodeIdentity::with_salt(NodeKey::from_bytes(&[byte; 32]), Salt::from([byte + 16; 16]))
}

fn nonce(byte: u8) -> Nonce {
    Nonce::from([byte + 32; 32])
}

fn swarm() -> InfoHash {
    InfoHash::of("vectors")
}

fn offer_place() -> Context {
    Context::offer(swarm(), identity(1).peer_id())
}

fn answer_place(offer: &str) -> Context {
    Context::answer(swarm(), identity(2).peer_id(), SdpHash::of(offer), identity(1).peer_id())
}

fn sign(place: &Context, byte: u8, features: &[&'static str]) -> String {
    let features = Features::of(features.iter().copied());
    sign_description(SDP, place, &identity(byte), &features, &nonce(byte).commitment()).expect("signed")
}

/// Node 1 offers and node 2 answers.
fn descriptions() -> (String, String) {
    let offer = sign(&offer_place(), 1, &[Features::AUTH]);
    let answer = sign(&answer_place(&offer), 2, &[Features::AUTH, Features::MUX]);
    (offer, answer)
}

fn transcript() -> Transcript {
    let (offer, answer) = descriptions();
    Transcript::new(&SdpHash::of(&offer), &SdpHash::of(&answer))
}

fn place_json(place: &Context) -> Value {
    let mut json = json!({ "swarm": hex(place.swarm.as_bytes()), "author": hex(place.author.as_bytes()) });
    if let Some((offer, offerer)) = place.answered() {
        json["offer_hash"] = hex(offer.as_bytes()).into();
        json["offerer"] = hex(offerer.as_bytes()).into();
    }
    json
}

fn keys_json() -> Value {
    let one = |byte: u8| {
        let identity = identity(byte);
        json!({
            "seed": hex(*identity.key().to_bytes()),
            "secret_text": &*identity.key().reveal(),
            "public_key": hex(identity.public_key().as_bytes()),
            "public_text": identity.public_key().to_string(),
            "salt": hex(identity.salt().as_bytes()),
            "peer_id": hex(identity.peer_id().as_bytes()),
        })
    };
    json!([one(1), one(2)])
}

fn descriptions_json() -> Value {
    let (offer, answer) = descriptions();
    let one = |byte: u8, place: &Context, signed: &str, features: &str| {
        json!({
            "key": byte - 1,
            "place": place_json(place),
            "features": features,
            "nonce": hex(*nonce(byte).0),
            "commitment": hex(nonce(byte).commitment().as_bytes()),
            "sdp": SDP,
            "signed": signed,
            "sdp_hash": hex(SdpHash::of(signed).as_bytes()),
        })
    };
    json!([one(1, &offer_place(), &offer, "auth"), one(2, &answer_place(&offer), &answer, "auth,mux"),])
}

/// Texts under the place of the offer, and what is wrong with each.
fn refused_json() -> Value {
    let (offer, answer) = descriptions();
    let lines: Vec<&str> = offer.split_inclusive("\r\n").collect();
    let pick = |start: &str| *lines.iter().find(|line| line.starts_with(start)).expect("a line");
    let (mark, signature) = (pick("a=p2pt:"), pick("a=p2pt-sig:"));
    let two_fingerprints = offer.replace("a=mid:0\r\n", "a=mid:0\r\na=fingerprint:sha-256 00\r\n");
    let cases = [
        ("two marks", offer.replace(mark, &format!("{mark}{mark}"))),
        ("two signatures", format!("{offer}{signature}")),
        ("no signature", offer.replace(signature, "")),
        ("no key", offer.replace(mark, "")),
        ("signature elsewhere", format!("{}{signature}", offer.replace(signature, ""))),
        ("a line behind the signature", offer.replace(signature, &format!("{signature}a=x\r\n"))),
        ("malformed signature", offer.replace(signature, "a=p2pt-sig:AAAA\r\n")),
        ("two keys", offer.replace(" k=", " k=AAAA k=")),
        ("no salt", offer.replace(" s=", " x=")),
        ("signed by another peer", answer),
        ("changed text", two_fingerprints),
    ];
    cases
        .map(|(what, sdp)| {
            let error = verify_description(&sdp, &offer_place()).expect_err(what).to_string();
            json!({ "what": what, "sdp": sdp, "error": error })
        })
        .into()
}

fn room_json(identifier: &str, secret: &RoomSecret, more: Value) -> Value {
    let mut json = json!({
        "identifier": identifier,
        "root": hex(*secret.root),
        "hidden_identifier": secret.hidden_identifier(),
        "seal_key": hex(*secret.seal_key().0),
        "member_key": hex(*secret.member_key().0),
    });
    json.as_object_mut().expect("an object").extend(more.as_object().cloned().expect("an object"));
    json
}

fn link() -> RoomLink {
    RoomLink { identifier: "a room/é".into(), key: RoomKey::from([3; 32]) }
}

fn rooms_json() -> Value {
    let text = "apple-garden-lemon-orbit-zebra";
    let passphrase = Passphrase::new(text).expect("long enough");
    let stretched = RoomSecret::from_passphrase("a room/é", &passphrase).expect("memory");
    json!([
        room_json("a room/é", &stretched, json!({ "passphrase": text })),
        room_json("a room/é", &link().secret(), json!({ "key": hex([3; 32]), "link": &*link().reveal() })),
    ])
}

fn sealed_json() -> Value {
    let (offer, answer) = descriptions();
    let key = link().secret().seal_key();
    let one = |sdp: &str, place: &Context| {
        let sealed = seal(sdp, place, &key, &mut Counting(100)).expect("short");
        json!({ "room": 1, "place": place_json(place), "sdp": sdp, "sealed": sealed })
    };
    json!([one(&offer, &offer_place()), one(&answer, &answer_place(&offer))])
}

fn confirmations_json() -> Value {
    let member = link().secret().member_key();
    let one = |byte: u8, role: Role, room: Option<&MemberKey>| {
        let frame = Confirmation::new(identity(byte).key(), role, &transcript(), &nonce(byte), room).encode();
        json!({ "key": byte - 1, "room": room.map(|_| 1), "frame": hex(frame) })
    };
    json!({
        "transcript": hex(transcript().as_bytes()),
        "frames": [one(1, Role::Offer, None), one(2, Role::Answer, Some(&member))],
    })
}

fn safety_json() -> Value {
    let code = SafetyCode::new(&transcript(), &nonce(1), &nonce(2));
    json!({ "words": code.to_string(), "emoji": code.emoji().map(|emoji| emoji.name) })
}

fn sighting_place() -> SightingContext {
    let tracker = TrackerHost::of("Tracker.Example.");
    SightingContext::of_answer(&answer_place(&descriptions().0), tracker).expect("an answer")
}

fn sighting_json() -> Value {
    json!({
        "key": 1,
        "host": "tracker.example",
        "host_hash": hex(sighting_place().tracker.as_bytes()),
        "place": place_json(&answer_place(&descriptions().0)),
        "sighting": sight(&sighting_place(), &identity(2)),
    })
}

#[allow(clippy::disallowed_methods, reason = "a state machine only adds to it; which one it is does not matter")]
fn now() -> Instant {
    Instant::now()
}

fn code() -> Code {
    Code::parse("apple-garden-lemon-orbit").expect("a code")
}

/// Both sides, and what they say, in turn.
fn exchange() -> [Vec<u8>; 4] {
    let side = |side, byte: u8| CodeExchange::new(side, code(), identity(byte).key().clone(), now());
    let (mut shows, mut types) = (side(Side::Shows, 1), side(Side::Types, 2));
    let element = shows.begin(now(), &transcript(), &mut Counting(1)).expect("begun").expect("an element");
    types.begin(now(), &transcript(), &mut Counting(2)).expect("begun");
    let sent = |output| match output {
        Some(ExchangeOutput::Send(bytes) | ExchangeOutput::Finished { last: Some(bytes), .. }) => bytes,
        other => panic!("{other:?}"),
    };
    let reply = sent(types.receive(now(), &element));
    let proof = sent(shows.receive(now(), &reply));
    let last = sent(types.receive(now(), &proof));
    let finished = ExchangeOutput::Finished { key: identity(2).public_key(), last: None };
    assert_eq!(shows.receive(now(), &last), Some(finished));
    [element, reply, proof, last]
}

fn code_json() -> Value {
    let [element, reply, proof, last] = exchange();
    let (pake, _) = Pake::start(Side::Shows, &code(), &transcript(), &mut Counting(1));
    let keys = pake.finish(reply[2..35].try_into().expect("33 bytes")).expect("an element");
    let scalar = |first: u8| hex((0..64).map(|byte| first + byte).collect::<Vec<u8>>());
    json!({
        "code": &*code().reveal(),
        "hidden_identifier": code().hidden_identifier(),
        "password": hex(code().secret().as_slice()),
        "transcript": hex(transcript().as_bytes()),
        "shows": { "key": 0, "scalar_mod_order": scalar(1), "seal_key": hex(*keys.seal(Side::Shows)) },
        "types": { "key": 1, "scalar_mod_order": scalar(2), "seal_key": hex(*keys.seal(Side::Types)) },
        "session": hex(*keys.session()),
        "messages": [hex(element), hex(reply), hex(proof), hex(last)],
    })
}

fn computed() -> Value {
    let example: [&[u8]; 2] = [b"", b"\x00\xff"];
    json!({
        "fields": {
            "label": "example",
            "fields": example.map(hex),
            "bytes": hex(fields("example", &example)),
            "sha256": hex(hash("example", &example)),
        },
        "keys": keys_json(),
        "descriptions": descriptions_json(),
        "refused_descriptions": refused_json(),
        "confirmations": confirmations_json(),
        "safety_code": safety_json(),
        "rooms": rooms_json(),
        "sealed": sealed_json(),
        "sighting": sighting_json(),
        "code": code_json(),
        "words": (0..1024).map(word).collect::<Vec<_>>(),
        "emoji": safety::EMOJI.map(|(symbol, name)| json!([symbol.to_string(), name])).to_vec(),
    })
}

fn file() -> Value {
    let text = std::fs::read_to_string(FILE).unwrap_or_else(|error| panic!("{FILE}: {error}"));
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn vectors_are_what_is_computed() {
    let computed = computed();
    if std::env::var_os("P2PT_WRITE_VECTORS").is_some() {
        std::fs::write(Path::new(FILE), format!("{computed:#}\n")).expect("written");
    }
    let file = file();
    for (name, value) in computed.as_object().expect("an object") {
        assert_eq!(&file[name], value, "{name}");
    }
    assert_eq!(file.as_object().map(|file| file.len()), computed.as_object().map(|computed| computed.len()));
}

/// What others have written is read, with nothing but what stands in the file.
#[test]
fn vectors_are_read() {
    let file = file();
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned();
    let bytes = |value: &Value| HEXLOWER.decode(text(value).as_bytes()).expect("hexadecimal digits");
    let array = |value: &Value| <[u8; 32]>::try_from(bytes(value)).expect("32 bytes");
    let peer = |value: &Value| text(value).parse::<PeerId>().expect("a peer id");
    let place = |value: &Value| {
        let (swarm, author) = (text(&value["swarm"]).parse().expect("an info hash"), peer(&value["author"]));
        match value.get("offer_hash") {
            Some(offer) => Context::answer(swarm, author, SdpHash::from(array(offer)), peer(&value["offerer"])),
            None => Context::offer(swarm, author),
        }
    };
    let list = |value: &Value| value.as_array().expect("a list").clone();
    let key = |number: &Value| {
        let number = usize::try_from(number.as_u64().expect("a number")).expect("small");
        text(&file["keys"][number]["public_text"]).parse::<PublicKey>().expect("a key")
    };

    let mut commitments = Vec::new();
    for description in list(&file["descriptions"]) {
        let described = verify_description(&text(&description["signed"]), &place(&description["place"]));
        let Ok(Described::Signed(signed)) = described else { panic!("{described:?}") };
        assert_eq!(signed.key, key(&description["key"]));
        assert_eq!(signed.features.to_string(), text(&description["features"]));
        commitments.push(signed.commitment);
    }
    for refused in list(&file["refused_descriptions"]) {
        let error = verify_description(&text(&refused["sdp"]), &place(&file["descriptions"][0]["place"])).unwrap_err();
        assert_eq!(error.to_string(), text(&refused["error"]));
    }
    let secret = RoomLink::parse(&text(&file["rooms"][1]["link"])).expect("a link").secret();
    for sealed in list(&file["sealed"]) {
        let opened = open(&text(&sealed["sealed"]), &place(&sealed["place"]), &secret.seal_key());
        assert_eq!(opened, Ok(text(&sealed["sdp"])));
    }
    let transcript = Transcript(array(&file["confirmations"]["transcript"]));
    let member = secret.member_key();
    let mut nonces = Vec::new();
    for (number, frame) in list(&file["confirmations"]["frames"]).into_iter().enumerate() {
        let expected = Expected {
            key: &key(&frame["key"]),
            commitment: &commitments[number],
            role: [Role::Offer, Role::Answer][number],
            transcript: &transcript,
            room: frame["room"].is_number().then_some(&member),
        };
        let confirmation = Confirmation::decode(&bytes(&frame["frame"])).expect("a confirmation");
        nonces.push(confirmation.verify(&expected).expect("confirmed"));
    }
    let code = SafetyCode::new(&transcript, &nonces[0], &nonces[1]);
    assert_eq!(code.to_string(), text(&file["safety_code"]["words"]));
    let sighting = &file["sighting"];
    let seen_at = TrackerHost::of(&text(&sighting["host"]));
    let context = SightingContext::of_answer(&place(&sighting["place"]), seen_at).expect("an answer");
    assert_eq!(verify_sighting(&text(&sighting["sighting"]), &context), Ok(key(&sighting["key"])));
}
