use p2pt_proto::InfoHash;

use super::*;
use crate::confirmation::Nonce;
use crate::context::SdpHash;
use crate::key::NodeKey;

const SDP: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
    m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:0\r\na=fingerprint:sha-256 AA:BB\r\n\
    a=candidate:1 1 udp 1 192.0.2.1 4000 typ host\r\n";

fn identity(byte: u8) -> NodeIdentity {
    NodeIdentity::with_salt(NodeKey::from_bytes(&[byte; 32]), Salt::from([byte; 16]))
}

fn offer(byte: u8) -> Context {
    Context::offer(InfoHash::of("room"), identity(byte).peer_id())
}

fn answer(byte: u8) -> Context {
    Context::answer(InfoHash::of("room"), identity(byte).peer_id(), SdpHash::of("offer"), identity(9).peer_id())
}

fn commitment() -> Commitment {
    Nonce::from([7; 32]).commitment()
}

fn features() -> Features {
    Features::of([Features::AUTH, Features::MUX])
}

fn sign(sdp: &str, context: &Context, byte: u8) -> String {
    sign_description(sdp, context, &identity(byte), &features(), &commitment()).expect("signed")
}

#[test]
fn what_is_signed_says_who_made_it() {
    for context in [offer(1), answer(1)] {
        let signed = sign(SDP, &context, 1);
        let described = verify_description(&signed, &context);
        let is = Signed {
            key: identity(1).public_key(),
            salt: *identity(1).salt(),
            commitment: commitment(),
            features: features(),
            version: 2,
        };
        assert_eq!(described, Ok(Described::Signed(is)));
    }
}

#[test]
fn the_two_lines_end_the_session() {
    let signed = sign(SDP, &offer(1), 1);
    let lines: Vec<&str> = signed.split("\r\n").collect();
    let media = lines.iter().position(|line| line.starts_with("m=")).unwrap();
    assert!(lines[media - 2].starts_with("a=p2pt:2 f=auth,mux k="), "{signed}");
    assert!(lines[media - 1].starts_with("a=p2pt-sig:"), "{signed}");
    let without: Vec<&str> = lines.iter().filter(|line| !line.starts_with("a=p2pt")).copied().collect();
    assert_eq!(without.join("\r\n"), SDP);
    assert_eq!(signed.len() - SDP.len(), 237);
    // Where there is no media, and no end of the last line.
    assert!(verify_description(&sign("v=0", &offer(1), 1), &offer(1)).is_ok());
    assert!(verify_description(&sign("", &offer(1), 1), &offer(1)).is_ok());
}

#[test]
fn a_change_anywhere_is_noticed() {
    let signed = sign(SDP, &offer(1), 1);
    for at in 0..signed.len() {
        for change in [b'x', b'\n', b'A'] {
            let mut bytes = signed.clone().into_bytes();
            if bytes[at] == change {
                continue;
            }
            bytes[at] = change;
            let changed = String::from_utf8(bytes).unwrap();
            let described = verify_description(&changed, &offer(1));
            assert!(described.is_err(), "{at}: {changed}");
        }
    }
    for at in (0..=signed.len()).filter(|at| signed.is_char_boundary(*at)) {
        for added in ["a", "\r\n", "a=fingerprint:sha-256 CC\r\n"] {
            let changed = format!("{}{added}{}", &signed[..at], &signed[at..]);
            let described = verify_description(&changed, &offer(1));
            assert!(!matches!(described, Ok(Described::Signed(_))), "{at}: {changed}");
        }
    }
}

#[test]
fn it_holds_in_its_place_only() {
    let signed = sign(SDP, &answer(1), 1);
    let key = identity(1).public_key();
    let (swarm, author) = (InfoHash::of("room"), identity(1).peer_id());
    let (hash, offerer) = (SdpHash::of("offer"), identity(9).peer_id());
    for elsewhere in [
        offer(1),
        Context::answer(InfoHash::of("other"), author, hash, offerer),
        Context::answer(swarm, author, SdpHash::of("another offer"), offerer),
        Context::answer(swarm, author, hash, identity(8).peer_id()),
    ] {
        assert_eq!(verify_description(&signed, &elsewhere), Err(DescriptionError::BadSignature { key }));
    }
    let wrong = DescriptionError::WrongId { claimed: identity(2).peer_id(), key };
    assert_eq!(verify_description(&signed, &answer(2)), Err(wrong));
}

#[test]
fn another_key_cannot_sign_under_an_id() {
    // The salt is public, and the id is a hash of both.
    let thief = NodeIdentity::with_salt(NodeKey::from_bytes(&[2; 32]), *identity(1).salt());
    let context = offer(1);
    let refused = sign_description(SDP, &context, &thief, &features(), &commitment());
    assert_eq!(refused, Err(SignError::OtherAuthor { author: identity(1).peer_id() }));
    let own = Context::offer(InfoHash::of("room"), thief.peer_id());
    let signed = sign_description(SDP, &own, &thief, &features(), &commitment()).unwrap();
    let wrong = DescriptionError::WrongId { claimed: identity(1).peer_id(), key: thief.public_key() };
    assert_eq!(verify_description(&signed, &context), Err(wrong));
}

#[test]
fn what_is_not_signed_is_said_to_be_unsigned() {
    let unsigned = |sdp: &str| match verify_description(sdp, &offer(1)) {
        Ok(Described::Unsigned { mark }) => mark.map(|mark| (mark.version, mark.features.to_string())),
        other => panic!("{other:?}"),
    };
    assert_eq!(unsigned(SDP), None);
    assert_eq!(unsigned(""), None);
    let marked = |mark: &str| SDP.replacen("m=", &format!("{mark}\r\nm="), 1);
    assert_eq!(unsigned(&marked("a=p2pt:1")), Some((1, String::new())));
    assert_eq!(unsigned(&marked("a=p2pt:2 f=mux")), Some((2, "mux".into())));
    assert_eq!(unsigned(&marked("a=p2pt:12 f=later x=y")), Some((12, "later".into())));
    // A version that signs nothing means nothing by k.
    assert_eq!(unsigned(&marked("a=p2pt:1 k=abc")), Some((1, String::new())));
    for no_mark in ["a=p2pt:", "a=p2pt:x", "a=p2pt", "a=p2pt: 2", "a=p2pt:+2"] {
        assert_eq!(unsigned(&marked(no_mark)), None, "{no_mark}");
    }
    // An answer that repeats what it does not know of a section has not signed it.
    let signed = sign(SDP, &offer(1), 1);
    let ours: String = lines(&signed).map(|(_, line)| line).filter(|line| line.starts_with("a=p2pt")).collect();
    assert_eq!(unsigned(&format!("{SDP}{ours}")), None);
}

#[test]
fn later_versions_sign_in_the_same_way() {
    let (before, media) = split_session(SDP);
    let [key, salt, bound] =
        [&identity(1).public_key().as_bytes()[..], identity(1).salt().as_bytes(), &commitment().0].map(to_base64);
    let marked = format!("{before}a=p2pt:3 new=1 c={bound} s={salt} k={key}\r\n");
    let signature = identity(1).key().sign(&signed_bytes(&offer(1), &marked, media));
    let signed = format!("{marked}{SIGNATURE}{}\r\n{media}", to_base64(&signature));
    let Ok(Described::Signed(read)) = verify_description(&signed, &offer(1)) else { panic!("{signed}") };
    assert_eq!((read.version, read.features), (3, Features::default()));
}

#[test]
fn each_fault_has_its_name() {
    let signed = sign(SDP, &offer(1), 1);
    let error = |sdp: &str| verify_description(sdp, &offer(1)).expect_err(sdp);
    let pick = |start: &str| lines(&signed).map(|(_, line)| line).find(|line| line.starts_with(start)).unwrap();
    let (mark, signature) = (pick(MARK), pick(SIGNATURE));

    assert_eq!(error(&signed.replace(mark, &format!("{mark}{mark}"))), DescriptionError::TwoMarks);
    assert_eq!(error(&signed.replace(signature, "")), DescriptionError::SignatureMissing);
    assert_eq!(error(&format!("{signed}{signature}")), DescriptionError::TwoSignatures);
    let moved = format!("{}{signature}", signed.replace(signature, ""));
    assert_eq!(error(&moved), DescriptionError::SignatureMisplaced);
    let followed = signed.replace(signature, &format!("{signature}a=more\r\n"));
    assert_eq!(error(&followed), DescriptionError::SignatureMisplaced);
    assert_eq!(error(&signed.replace(mark, "")), DescriptionError::KeyMissing);
    assert_eq!(error(&signed.replace(mark, "a=p2pt:2 f=auth\r\n")), DescriptionError::KeyMissing);
    let short = signed.replace(signature, &signature.replace("\r\n", "\n"));
    assert_eq!(error(&short), DescriptionError::SignatureMalformed);
    for field in ['k', 's', 'c', 'f'] {
        let begin = format!(" {field}=");
        let doubled = signed.replace(&begin, &format!(" {field}=x{begin}"));
        assert_eq!(error(&doubled), DescriptionError::Field { field });
    }
    for field in ['s', 'c'] {
        let renamed = signed.replace(&format!(" {field}="), " z=");
        assert_eq!(error(&renamed), DescriptionError::Field { field });
    }
    // The neutral point is no key.
    let neutral = to_base64(&[&[1][..], &[0; 31]].concat());
    let key = to_base64(identity(1).public_key().as_bytes());
    assert_eq!(error(&signed.replace(&key, &neutral)), DescriptionError::Field { field: 'k' });

    for marked in [&signed, &SDP.replacen("m=", "a=p2pt:1\r\nm=", 1), &format!("{SDP}{SIGNATURE}\r\n")] {
        let again = sign_description(marked, &offer(1), &identity(1), &features(), &commitment());
        assert_eq!(again, Err(SignError::Marked), "{marked}");
    }
}

#[test]
fn a_node_that_does_not_sign_is_known_all_the_same() {
    let sdp = "v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:0\r\n";
    assert_eq!(mark_description(sdp), sdp.replace("m=", "a=p2pt:1\r\nm="));
    assert_eq!(mark_description("v=0"), "v=0\r\na=p2pt:1\r\n");
    let described =
        verify_description(&mark_description(sdp), &Context::offer(InfoHash::of("room"), PeerId::from([1; 20])));
    assert!(matches!(described, Ok(Described::Unsigned { mark: Some(Mark { version: 1, .. }) })), "{described:?}");
}
