use super::*;
use crate::room::{RoomKey, RoomSecret};

fn key(byte: u8) -> NodeKey {
    NodeKey::from_bytes(&[byte; 32])
}

fn transcript(answer: &str) -> Transcript {
    Transcript::new(&SdpHash::of("offer"), &SdpHash::of(answer))
}

fn member(byte: u8) -> MemberKey {
    RoomSecret::from_key("room", &RoomKey::from([byte; 32])).member_key()
}

/// What the confirmation of key 1, as the offerer, in a room, with nonce 7, comes to.
fn verify(change: impl FnOnce(&mut Expectation)) -> Result<Nonce, ConfirmationError> {
    let mut expected = Expectation {
        key: key(1).public_key(),
        nonce: Nonce::from([7; 32]),
        role: Role::Offer,
        transcript: transcript("answer"),
        room: Some(member(1)),
        sent: Confirmation::new(&key(1), Role::Offer, &transcript("answer"), &Nonce::from([7; 32]), Some(&member(1))),
    };
    change(&mut expected);
    let Expectation { key, nonce, role, transcript, room, sent } = &expected;
    let commitment = nonce.commitment();
    let expected = Expected { key, commitment: &commitment, role: *role, transcript, room: room.as_ref() };
    Confirmation::decode(&sent.encode())?.verify(&expected)
}

struct Expectation {
    key: PublicKey,
    nonce: Nonce,
    role: Role,
    transcript: Transcript,
    room: Option<MemberKey>,
    sent: Confirmation,
}

#[test]
fn the_author_of_a_description_is_confirmed() {
    let key_1 = key(1).public_key();
    assert_eq!(verify(|_| ()), Ok(Nonce::from([7; 32])));
    assert_eq!(verify(|it| it.role = Role::Answer), Err(ConfirmationError::BadSignature { key: key_1 }));
    assert_eq!(verify(|it| it.transcript = transcript("other")), Err(ConfirmationError::BadSignature { key: key_1 }));
    let (other, key_2) = (Nonce::from([8; 32]), key(2).public_key());
    assert_eq!(verify(|it| it.nonce = other), Err(ConfirmationError::OtherNonce { key: key_1 }));
    assert_eq!(verify(|it| it.key = key_2), Err(ConfirmationError::BadSignature { key: key_2 }));
}

#[test]
fn the_order_of_descriptions_matters() {
    let (one, two) = (SdpHash::of("one"), SdpHash::of("two"));
    assert_ne!(Transcript::new(&one, &two), Transcript::new(&two, &one));
}

#[test]
fn members_prove_that_they_are() {
    let refused = Err(ConfirmationError::NotAMember { key: key(1).public_key() });
    assert_eq!(verify(|it| it.room = Some(member(2))), refused);
    // One who asks for no proof takes what has one.
    assert!(verify(|it| it.room = None).is_ok());
    let sent = |room: Option<&MemberKey>| {
        Confirmation::new(&key(1), Role::Offer, &transcript("answer"), &Nonce::from([7; 32]), room)
    };
    assert_eq!(verify(|it| it.sent = sent(None)), refused);
    assert_eq!(verify(|it| it.sent = sent(Some(&member(2)))), refused);
    // Nor is one side's proof the other's.
    let mut others = sent(Some(&member(1)));
    let answerer =
        Confirmation::new(&key(2), Role::Answer, &transcript("answer"), &Nonce::from([7; 32]), Some(&member(1)));
    others.membership = answerer.membership;
    assert_eq!(verify(|it| it.sent = others), refused);
}

#[test]
fn a_confirmation_has_one_of_two_lengths() {
    let whole = Confirmation::new(&key(1), Role::Offer, &transcript("answer"), &Nonce::from([7; 32]), Some(&member(1)));
    let bytes = whole.encode();
    assert_eq!(bytes.len(), 128);
    for length in 0..=bytes.len() + 1 {
        let cut: Vec<u8> = bytes.iter().copied().chain([0]).take(length).collect();
        match Confirmation::decode(&cut) {
            Ok(read) => assert!(length == 96 || length == 128 && read == whole, "{length}"),
            Err(error) => assert_eq!(error, ConfirmationError::Length { found: length }),
        }
    }
    assert_eq!(format!("{whole:?}"), "Confirmation { membership: true, .. }");
}
