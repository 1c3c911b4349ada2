use hmac::Mac;

use super::*;

fn mac(key: &MemberKey) -> Vec<u8> {
    key.mac().finalize().into_bytes().to_vec()
}

#[test]
fn identifier_and_secret_both_matter() {
    let room = |identifier, byte| RoomSecret::from_key(identifier, &RoomKey::from([byte; 32]));
    let one = room("room", 1);
    assert_eq!(one.hidden_identifier(), room("room", 1).hidden_identifier());
    assert_eq!(one.hidden_identifier().len(), 6 + 43);
    for other in [room("room", 2), room("other", 1)] {
        assert_ne!(one.hidden_identifier(), other.hidden_identifier());
        assert_ne!(*one.seal_key().0, *other.seal_key().0);
        assert_ne!(mac(&one.member_key()), mac(&other.member_key()));
    }
    // What is shown to trackers is no key.
    assert_ne!(one.hidden_identifier()[6..], to_base64(&*one.seal_key().0));
    assert_ne!(*one.seal_key().0, *one.member_key().0);
}

#[test]
fn a_passphrase_is_stretched() {
    let passphrase = |text| Passphrase::new(text).unwrap();
    let room = |identifier, text| RoomSecret::from_passphrase(identifier, &passphrase(text)).unwrap();
    let one = room("room", "correct horse battery");
    assert_eq!(one.hidden_identifier(), room("room", " correct  horse battery").hidden_identifier());
    assert_ne!(one.hidden_identifier(), room("room", "correct horse batterx").hidden_identifier());
    assert_ne!(one.hidden_identifier(), room("Room", "correct horse battery").hidden_identifier());
}

#[test]
fn nothing_secret_is_shown() {
    let link = RoomLink { identifier: "room".into(), key: RoomKey::from([1; 32]) };
    assert_eq!(format!("{link:?}"), "RoomLink { identifier: \"room\", key: RoomKey(…) }");
    let secret = link.secret();
    let shown = format!("{secret:?} {:?} {:?}", secret.seal_key(), secret.member_key());
    assert_eq!(shown, "RoomSecret(…) SealKey(…) MemberKey(…)");
}

#[test]
fn a_link_is_read_as_it_is_written() {
    for identifier in ["room", "a b#c%d/é", "🌍", &"x".repeat(1024)] {
        let link = RoomLink::draw(identifier, &mut rand::rng());
        let text = link.reveal();
        assert!(text.is_ascii() && !text.contains(' '), "{}", *text);
        assert_eq!(RoomLink::parse(&format!("\n{} ", *text)), Ok(link), "{}", *text);
    }
    let link = RoomLink { identifier: "a b".into(), key: RoomKey::from([255; 32]) };
    assert_eq!(*link.reveal(), format!("p2pt:a%20b#{}8", "_".repeat(42)));
}

#[test]
fn what_is_no_link_says_why() {
    let key = "A".repeat(43);
    let error = |text: &str| RoomLink::parse(text).expect_err(text);
    assert_eq!(error("https://room"), LinkError::Scheme);
    assert_eq!(error("p2pt:room"), LinkError::NoKey);
    assert_eq!(error("p2pt:room#abc"), LinkError::Key);
    assert_eq!(error(&format!("p2pt:room#{key}A")), LinkError::Key);
    for identifier in ["", "%", "%4", "%zz", "%ff", "%+1", &"x".repeat(1025)] {
        assert_eq!(error(&format!("p2pt:{identifier}#{key}")), LinkError::Identifier, "{identifier}");
    }
}
