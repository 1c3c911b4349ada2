use super::*;

/// The first test of RFC 8032, section 7.1.
const SEED: [u8; 32] = [
    0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4, 0x44, 0x49, 0xc5,
    0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
];

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_key_is_that_of_rfc_8032() {
    let key = NodeKey::from_bytes(&SEED);
    let public = key.public_key();
    assert_eq!(hex(public.as_bytes()), "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
    let signature = key.sign(b"");
    assert_eq!(hex(&signature[..8]), "e5564300c360ac72");
    assert!(public.verifies(b"", &signature));
    assert!(!public.verifies(b" ", &signature));
}

#[test]
fn a_public_key_is_52_letters() {
    let public = NodeKey::from_bytes(&SEED).public_key();
    let text = public.to_string();
    assert_eq!(text, "25njqamcweflpvkl73j4szahhihoc4xt3ktcgjnpaingr5yhkena");
    assert_eq!(text.parse(), Ok(public));
    assert_eq!(text.to_uppercase().parse(), Ok(public));
    assert_eq!(format!("{public:?}"), "PublicKey(25njqamc…)");
    let read = |text: &str| text.parse::<PublicKey>();
    assert_eq!(read(&text[1..]), Err(KeyError::Length { found: 51 }));
    assert_eq!(read(&text.replace('2', "1")), Err(KeyError::Alphabet));
    // The last letter has one bit of the key.
    assert_eq!(read(&format!("{}b", &text[..51])), Err(KeyError::Alphabet));
    assert_eq!(read(&NodeKey::from_bytes(&SEED).reveal()), Err(KeyError::Secret));
}

#[test]
fn keys_that_nobody_can_have_are_none() {
    // The neutral point, under which a signature of nothing verifies for every message.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    assert_eq!(PublicKey::from_bytes(neutral), Err(KeyError::NoKey));
    // Two is the coordinate of no point.
    neutral[0] = 2;
    assert_eq!(PublicKey::from_bytes(neutral), Err(KeyError::NoKey));
    // Each small coordinate that is a point's is refused in its second spelling, the prime and itself.
    let mut points = 0;
    for small in 0..19 {
        let mut second = [0xff; 32];
        (second[0], second[31]) = (0xed + small, 0x7f);
        points += usize::from(VerifyingKey::from_bytes(&second).is_ok());
        assert_eq!(PublicKey::from_bytes(second), Err(KeyError::NoKey), "{small}");
    }
    assert!(points > 4, "{points}");
}

#[test]
fn a_secret_is_shown_where_it_is_asked_for_only() {
    let key = NodeKey::from_bytes(&SEED);
    let text = key.reveal();
    assert!(text.starts_with("p2pt-secret-tvq3dhpp7v"), "{}", *text);
    assert_eq!(NodeKey::from_text(&format!(" {}\n", *text)), Ok(key.clone()));
    assert_eq!(NodeKey::from_text(&key.public_key().to_string()), Err(KeyError::NoSecret));
    assert_eq!(NodeKey::from_text("p2pt-secret-tvq3"), Err(KeyError::NoSecret));
    assert_eq!(format!("{key:?}"), "NodeKey(PublicKey(25njqamc…))");
    let identity = NodeIdentity::with_salt(key.clone(), Salt::from([1; 16]));
    let shown = format!("{identity:?}");
    assert!(!shown.contains(&text[12..20]) && !shown.contains("157, 97") && !shown.contains("9d61"), "{shown}");
    assert_ne!(key, NodeKey::random());
}

#[test]
fn an_id_follows_from_key_and_salt() {
    let key = NodeKey::from_bytes(&SEED);
    let one = NodeIdentity::with_salt(key.clone(), Salt::from([1; 16]));
    assert_eq!(one.peer_id(), key.public_key().peer_id(&Salt::from([1; 16])));
    assert_ne!(one.peer_id(), NodeIdentity::new(key.clone(), &mut rand::rng()).peer_id());
    let other = NodeIdentity::with_salt(NodeKey::random(), Salt::from([1; 16]));
    assert_ne!(one.peer_id(), other.peer_id());
}

#[cfg(feature = "serde")]
#[test]
fn serde_takes_the_letters() {
    let public = NodeKey::from_bytes(&SEED).public_key();
    let json = serde_json::to_string(&public).unwrap();
    assert_eq!(json, format!("\"{public}\""));
    assert_eq!(serde_json::from_str::<PublicKey>(&json).unwrap(), public);
    assert!(serde_json::from_str::<PublicKey>("\"25nj\"").is_err());
}
