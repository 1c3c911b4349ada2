use p2pt_proto::{InfoHash, PeerId};

use super::*;
use crate::context::SdpHash;
use crate::room::{RoomKey, RoomSecret};

fn key(byte: u8) -> SealKey {
    RoomSecret::from_key("room", &RoomKey::from([byte; 32])).seal_key()
}

fn peer(byte: u8) -> PeerId {
    PeerId::from([byte; 20])
}

fn answer() -> Context {
    Context::answer(InfoHash::of("room"), peer(1), SdpHash::of("offer"), peer(2))
}

fn sealed(sdp: &str) -> String {
    seal(sdp, &answer(), &key(1), &mut rand::rng()).unwrap()
}

#[test]
fn what_is_sealed_opens_in_its_place_only() {
    let sealed = sealed("v=0\r\n");
    assert!(is_sealed(&sealed));
    assert_eq!(open(&sealed, &answer(), &key(1)).as_deref(), Ok("v=0\r\n"));
    let swarm = InfoHash::of("room");
    for elsewhere in [
        Context::offer(swarm, peer(1)),
        Context::answer(InfoHash::of("other"), peer(1), SdpHash::of("offer"), peer(2)),
        Context::answer(swarm, peer(3), SdpHash::of("offer"), peer(2)),
        Context::answer(swarm, peer(1), SdpHash::of("other"), peer(2)),
        Context::answer(swarm, peer(1), SdpHash::of("offer"), peer(3)),
    ] {
        assert_eq!(open(&sealed, &elsewhere, &key(1)), Err(OpenError::WrongKey), "{elsewhere:?}");
    }
    assert_eq!(open(&sealed, &answer(), &key(2)), Err(OpenError::WrongKey));
}

#[test]
fn a_change_anywhere_is_noticed() {
    let sealed = sealed("v=0\r\n");
    for at in PREFIX.len()..sealed.len() {
        let mut bytes = sealed.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        let opened = open(&changed, &answer(), &key(1));
        assert!(matches!(opened, Err(OpenError::WrongKey | OpenError::Malformed)), "{at}: {opened:?}");
    }
}

#[test]
fn lengths_are_hidden_within_256_bytes() {
    let length = |bytes: usize| sealed(&"x".repeat(bytes)).len();
    assert_eq!(length(0), PREFIX.len() + Letters::Base64.count(24 + 256 + 16));
    assert_eq!(length(0), length(254));
    assert_eq!(length(255), length(510));
    assert!(length(254) < length(255));
    // One text is never sealed twice alike.
    assert_ne!(sealed("x"), sealed("x"));
    for bytes in [0, 1, 253, 254, 255, 256, 510, 511, MAX_SEALED_SDP] {
        let text = "é".repeat(bytes / 2) + &"x".repeat(bytes % 2);
        assert_eq!(open(&sealed(&text), &answer(), &key(1)), Ok(text));
    }
    let long = "x".repeat(MAX_SEALED_SDP + 1);
    let refused = seal(&long, &answer(), &key(1), &mut rand::rng());
    assert_eq!(refused, Err(SealError { found: MAX_SEALED_SDP + 1 }));
}

#[test]
fn what_is_not_sealed_says_so() {
    let error = |text: &str| open(text, &answer(), &key(1)).expect_err(text);
    assert_eq!(error("v=0\r\n"), OpenError::NotSealed);
    assert_eq!(error("p2pt:seen:1:"), OpenError::NotSealed);
    assert_eq!(error("p2pt:e2:AAAA"), OpenError::Version);
    for text in ["", "A", "AAAA", "====", &"A".repeat(100_000)] {
        assert_eq!(error(&format!("{PREFIX}{text}")), OpenError::Malformed, "{text}");
    }
}

#[test]
fn padding_is_of_zeros_and_shortest() {
    let padded = |length: u16, text: &[u8], total: usize| {
        let mut bytes = [&length.to_be_bytes()[..], text].concat();
        bytes.resize(total, 0);
        unpad(bytes)
    };
    assert_eq!(padded(3, b"abc", 256).as_deref(), Some("abc"));
    assert_eq!(padded(254, &[b'x'; 254], 256), Some("x".repeat(254)));
    assert_eq!(padded(3, b"abc", 512), None);
    assert_eq!(padded(2, b"abc", 256), None);
    assert_eq!(padded(255, b"abc", 256), None);
    assert_eq!(padded(1, b"\xff", 256), None);
    assert_eq!(unpad(vec![0]), None);
}

/// Aquatic closes the socket of a larger announce than 16 KiB.
#[test]
fn ten_sealed_offers_fit_into_an_announce() {
    let announce = |count: u8, bytes: usize| {
        let sdp = "x".repeat(bytes);
        let offers = (0..count).map(|number| p2pt_proto::Offer::new([number | 0xe0; 20].into(), sealed(&sdp)));
        let announce = p2pt_proto::Announce::new(InfoHash::of("room"), peer(0xff)).numwant(10).offers(offers);
        p2pt_proto::ClientMessage::Announce(announce).encode().len()
    };
    // A native node's with three candidates, 704 bytes, and the two lines of its signature; and one with six.
    assert!(announce(10, 704 + 233) <= 15 * 1024, "{}", announce(10, 704 + 233));
    assert!(announce(8, 937 + 233) <= 15 * 1024, "{}", announce(8, 937 + 233));
    // As much as four blocks hold takes no more.
    assert_eq!(sealed(&"x".repeat(1022)).len(), 1427);
}
