use proptest::prelude::*;

use super::*;
use crate::{
    Fingerprint,
    webrtc::{candidate::CandidateKind, fuzzing::check_description},
};

/// An offer of libwebrtc, as simple-peer sends it when it does not trickle.
pub(super) const LIBWEBRTC: &str = "v=0\r\no=- 2571246730912675429 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
    a=group:BUNDLE 0\r\na=extmap-allow-mixed\r\na=msid-semantic: WMS\r\n\
    m=application 34413 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 192.0.2.2\r\n\
    a=candidate:3077952869 1 udp 2122265343 fd00::2 43876 typ host generation 0 network-id 2\r\n\
    a=candidate:3229573512 1 udp 2122194687 192.0.2.2 34413 typ host generation 0 network-id 1\r\n\
    a=candidate:1510613869 1 udp 2122063615 6d1f2b6c-0c1e-4d2a-9b54-3c3c0c6a7f10.local 39438 typ host generation 0\r\n\
    a=candidate:842163049 1 udp 1677729535 203.0.113.4 34413 typ srflx raddr 0.0.0.0 rport 0 generation 0 network-cost 999\r\n\
    a=candidate:2398920056 1 tcp 1518214911 192.0.2.2 9 typ host tcptype active generation 0 network-id 1\r\n\
    a=ice-ufrag:Hilk\r\na=ice-pwd:0ghBpcR9477oB0AKAH5IY67U\r\na=ice-options:trickle\r\n\
    a=fingerprint:sha-256 12:74:08:28:A8:48:D4:73:BC:58:59:4C:69:78:36:42:60:83:E3:30:30:C9:9B:AE:71:D7:A0:D5:A9:8A:8A:18\r\n\
    a=setup:actpass\r\na=mid:0\r\na=sctp-port:5000\r\na=max-message-size:262144\r\n";

/// An answer of libdatachannel.
pub(super) const LIBDATACHANNEL: &str = "v=0\r\no=rtc 2081672909 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
    a=group:BUNDLE 0\r\na=msid-semantic:WMS *\r\na=ice-options:ice2,trickle\r\n\
    a=fingerprint:sha-256 03:00:59:F6:02:78:FE:F3:03:4B:BA:44:39:1A:CC:C2:5F:35:CF:BE:51:B5:6F:F8:DC:C6:A9:66:56:09:76:B7\r\n\
    m=application 48716 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 192.0.2.2\r\na=mid:0\r\na=sendrecv\r\n\
    a=sctp-port:5000\r\na=max-message-size:262144\r\na=setup:active\r\na=ice-ufrag:AdmA\r\n\
    a=ice-pwd:0YXtsydiByJIdyjCPijO+E\r\na=candidate:2 1 UDP 2116026111 fd00::2 48716 typ host\r\n\
    a=candidate:1 1 UDP 2114977791 192.0.2.2 48716 typ host\r\na=end-of-candidates\r\n";

/// An offer of Firefox, which has its fingerprint in the session, and candidates of RTCP's component.
const FIREFOX: &str = "v=0\r\no=mozilla...THIS_IS_SDPARTA-99.0 4302074344857151712 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n\
    a=fingerprint:sha-256 54:E5:3D:62:21:CF:05:BD:F3:71:20:6E:2B:E1:8B:7B:7B:17:0D:7F:5F:F7:1D:76:44:E8:1A:79:F6:2F:70:15\r\n\
    a=group:BUNDLE 0\r\na=ice-options:trickle\r\na=msid-semantic:WMS *\r\n\
    m=application 38291 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 203.0.113.4\r\n\
    a=candidate:0 1 UDP 2122187007 8c6376bb-9248-4f80-8fe1-ba45ab03916b.local 38291 typ host\r\n\
    a=candidate:2 1 TCP 2105458943 8c6376bb-9248-4f80-8fe1-ba45ab03916b.local 9 typ host tcptype active\r\n\
    a=candidate:4 1 UDP 1685987327 203.0.113.4 38291 typ srflx raddr 0.0.0.0 rport 0\r\n\
    a=candidate:4 2 UDP 1685987326 203.0.113.4 59841 typ srflx raddr 0.0.0.0 rport 0\r\n\
    a=sendrecv\r\na=end-of-candidates\r\na=ice-pwd:6ee83bd239c62f09a2beed17f970f380\r\na=ice-ufrag:b5686773\r\n\
    a=mid:0\r\na=setup:actpass\r\na=sctp-port:5000\r\na=max-message-size:1073741823\r\n";

pub(super) fn at(address: &str) -> SocketAddr {
    address.parse().expect("an address")
}

pub(super) fn parse(sdp: &str) -> Description {
    Description::parse(sdp).unwrap_or_else(|error| panic!("{error}:\n{sdp}"))
}

fn addresses(description: &Description) -> Vec<SocketAddr> {
    description.candidates.iter().map(|candidate| candidate.address).collect()
}

#[test]
fn an_offer_of_libwebrtc_is_read() {
    let read = parse(LIBWEBRTC);
    assert_eq!((&*read.ufrag, &*read.pwd), ("Hilk", "0ghBpcR9477oB0AKAH5IY67U"));
    assert!(read.fingerprint.to_string().starts_with("sha-256 12:74:08:"), "{:?}", read.fingerprint);
    assert!(LIBWEBRTC.contains(&read.fingerprint.sha256().unwrap().to_string()));
    assert_eq!((read.setup, read.answer_setup()), (Some(Setup::ActPass), Setup::Active));
    assert_eq!((read.sctp_port, read.max_message_bytes), (5000, Some(262_144)));
    assert_eq!(addresses(&read), [at("[fd00::2]:43876"), at("192.0.2.2:34413"), at("203.0.113.4:34413")]);
    assert_eq!(read.candidates[2].kind, CandidateKind::ServerReflexive);
    assert_eq!(read.candidates[2].priority, 1_677_729_535);
    assert_eq!(read.kinds.to_string(), "host mdns srflx tcp");
    assert_eq!(read.outline, Outline::default());
    assert_eq!((read.window, read.close_by_reset, read.ice_lite), (None, false, false));
}

#[test]
fn an_answer_of_libdatachannel_is_read() {
    let read = parse(LIBDATACHANNEL);
    assert_eq!((&*read.ufrag, &*read.pwd), ("AdmA", "0YXtsydiByJIdyjCPijO+E"));
    assert!(read.fingerprint.to_string().starts_with("sha-256 03:00:59:"), "of the session");
    assert!(read.is_dtls_client());
    assert_eq!(addresses(&read), [at("[fd00::2]:48716"), at("192.0.2.2:48716")]);
    assert_eq!(read.kinds.to_string(), "host");
}

#[test]
fn an_offer_of_firefox_is_read() {
    let read = parse(FIREFOX);
    assert_eq!((&*read.ufrag, &*read.pwd), ("b5686773", "6ee83bd239c62f09a2beed17f970f380"));
    assert!(read.fingerprint.to_string().starts_with("sha-256 54:E5:3D:"), "of the session");
    assert_eq!(addresses(&read), [at("203.0.113.4:38291")]);
    assert_eq!(read.kinds.to_string(), "mdns srflx tcp");
    assert_eq!((read.max_message_bytes, read.outline), (Some(1_073_741_823), Outline::default()));
}

#[test]
fn the_limit_of_messages_has_its_default() {
    let ours = 262_144;
    let limit = |line: &str| parse(&LIBWEBRTC.replace("a=max-message-size:262144\r\n", line)).max_frame_bytes(ours);
    assert_eq!(limit(""), 65_536);
    for (value, bytes) in [
        ("1000", 1000),
        ("0", ours),
        ("1073741823", ours),
        ("18446744073709551615", ours),
        ("99999999999999999999", 65_536),
        ("much", 65_536),
        ("-1", 65_536),
        ("", 65_536),
    ] {
        assert_eq!(limit(&format!("a=max-message-size:{value}\r\n")), bytes, "{value}");
    }
}

#[test]
fn our_own_lines_are_read() {
    let read = |line: &str| parse(&format!("{LIBWEBRTC}{line}\r\n"));
    assert_eq!(read("a=p2pt-window:1310720").window, Some(1_310_720));
    for nothing in ["a=p2pt-window:0", "a=p2pt-window:much", "a=p2pt-window", "a=p2pt-window:99999999999999999999999"] {
        assert_eq!(read(nothing).window, None, "{nothing}");
    }
    assert!(read("a=p2pt-close:reset").close_by_reset);
    assert!(!read("a=p2pt-close:other").close_by_reset);
    assert!(read("m=audio 0 RTP/AVP 0\r\na=p2pt-close:reset").window.is_none());
    assert!(!read("m=audio 0 RTP/AVP 0\r\na=p2pt-close:reset").close_by_reset, "of another section");
}

/// A description of this side with everything in it.
fn local<'a>(outline: &'a Outline, candidates: &'a [Candidate]) -> LocalDescription<'a> {
    LocalDescription {
        session_id: u64::MAX,
        outline,
        ufrag: "uFrA",
        pwd: "0ghBpcR9477oB0AKAH5IY6",
        fingerprint: Fingerprint([0xab; 32]),
        setup: Setup::ActPass,
        max_message_bytes: 262_144,
        candidates,
        window: 1_310_720,
    }
}

#[test]
fn what_is_written_is_small_and_hides_base_addresses() {
    let candidate =
        |address: &str, kind: CandidateKind| Candidate { address: at(address), kind, priority: kind.priority(0) };
    let candidates = [
        candidate("192.0.2.2:5000", CandidateKind::Host),
        candidate("203.0.113.4:5001", CandidateKind::ServerReflexive),
        candidate("[2001:db8::1]:5002", CandidateKind::Relay),
    ];
    let hex = Fingerprint([0xab; 32]).to_string();
    let expected = format!(
        "v=0\r\no=- 9223372036854775807 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
         a=p2pt-window:1310720\r\na=p2pt-close:reset\r\n\
         m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=sctp-port:5000\r\na=mid:0\r\n\
         a=ice-ufrag:uFrA\r\na=ice-pwd:0ghBpcR9477oB0AKAH5IY6\r\na=fingerprint:sha-256 {hex}\r\na=setup:actpass\r\n\
         a=max-message-size:262144\r\na=candidate:1 1 udp 2130706431 192.0.2.2 5000 typ host\r\n\
         a=candidate:2 1 udp 1694498815 203.0.113.4 5001 typ srflx raddr 0.0.0.0 rport 0\r\n\
         a=candidate:3 1 udp 16777215 2001:db8::1 5002 typ relay raddr :: rport 0\r\n\
         a=end-of-candidates\r\n"
    );
    assert_eq!(local(&Outline::default(), &candidates).to_string(), expected);
}

#[test]
fn an_answer_is_laid_out_as_its_offer() {
    let offer = LIBWEBRTC.replace("a=mid:0", "a=mid:data").replace(
        "m=application",
        "m=audio 0 UDP/TLS/RTP/SAVPF 111 63\r\na=mid:a\r\nm=application 9 TCP/BFCP *\r\nm=application",
    ) + "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:v\r\n";
    let offered = parse(&offer.replace("BUNDLE 0", "BUNDLE a data v"));
    let answer = local(&offered.outline, &[]).to_string();
    let media: Vec<&str> = answer
        .lines()
        .filter(|line| ["m=", "a=mid", "a=group", "a=inactive", "c="].iter().any(|start| line.starts_with(start)))
        .collect();
    assert_eq!(
        media,
        [
            "a=group:BUNDLE data",
            "m=audio 0 UDP/TLS/RTP/SAVPF 111",
            "c=IN IP4 0.0.0.0",
            "a=inactive",
            "a=mid:a",
            "m=application 0 TCP/BFCP *",
            "c=IN IP4 0.0.0.0",
            "a=inactive",
            "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
            "c=IN IP4 0.0.0.0",
            "a=mid:data",
            "m=video 0 UDP/TLS/RTP/SAVPF 96",
            "c=IN IP4 0.0.0.0",
            "a=inactive",
            "a=mid:v",
        ]
    );
    assert_eq!(parse(&answer).outline, offered.outline, "other than ports");

    // No group and no identifier where the offer has none, nor where its group is of others.
    let plain = parse(&LIBWEBRTC.replace("a=group:BUNDLE 0\r\n", "").replace("a=mid:0\r\n", ""));
    let answer = local(&plain.outline, &[]).to_string();
    assert!(!answer.contains("a=mid") && !answer.contains("a=group"), "{answer}");
    let answer = local(&parse(&LIBWEBRTC.replace("BUNDLE 0", "BUNDLE 1 2")).outline, &[]).to_string();
    assert!(answer.contains("a=mid:0") && !answer.contains("a=group"), "{answer}");

    // The syntax before RFC 8841.
    let old = LIBWEBRTC.replace("UDP/DTLS/SCTP webrtc-datachannel", "DTLS/SCTP 5000");
    let answer = local(&parse(&old).outline, &[]).to_string();
    assert!(answer.contains("m=application 9 DTLS/SCTP 5000\r\n"), "{answer}");
    assert!(answer.contains("a=sctpmap:5000 webrtc-datachannel 1024\r\n") && !answer.contains("sctp-port"), "{answer}");
}

#[test]
fn candidates_come_one_by_one_too() {
    let line = "candidate:842163049 1 udp 1677729535 203.0.113.4 34413 typ srflx raddr 10.0.0.1 rport 5 generation 0";
    let expected =
        Candidate { address: at("203.0.113.4:34413"), kind: CandidateKind::ServerReflexive, priority: 1_677_729_535 };
    for form in [line.to_owned(), format!("a={line}"), format!(" a={line} ufrag Hilk network-id 1\r\n")] {
        assert_eq!(parse_candidate_line(&form), Ok(expected), "{form}");
    }
    use UnusableCandidate::*;
    for (line, why) in [
        ("", End),
        ("a=end-of-candidates", End),
        ("a=mid:0", Malformed("name")),
        ("candidate:", Malformed("foundation")),
        ("candidate:1", Malformed("component")),
        ("candidate:1 1", Malformed("transport")),
        ("candidate:1 1 udp", Malformed("priority")),
        ("candidate:1 1 udp 4294967296 10.0.0.1 9 typ host", Malformed("priority")),
        ("candidate:1 1 udp 1", Malformed("address")),
        ("candidate:1 1 udp 1 10.0.0.1", Malformed("port")),
        ("candidate:1 1 udp 1 10.0.0.1 65536 typ host", Malformed("port")),
        ("candidate:1 1 udp 1 10.0.0.1 9 host", Malformed("type")),
        ("candidate:1 1 udp 1 10.0.0.1 9 typ", Malformed("type")),
        ("candidate:1 1 udp 1 10.0.0.1 9 typ token", Malformed("type")),
        ("candidate:1 1 tcp 1 10.0.0.1 9 typ host tcptype active", NotUdp),
        ("candidate:1 2 udp 1 10.0.0.1 9 typ host", OtherComponent),
        ("candidate:1 1 udp 1 a.local 9 typ host", HostName { local: true }),
        ("candidate:1 1 udp 1 example.org 9 typ host", HostName { local: false }),
        ("candidate:1 1 udp 1 10.0.0.1 0 typ host", Unreachable),
        ("candidate:1 1 udp 1 0.0.0.0 9 typ host", Unreachable),
        ("candidate:1 1 udp 1 ff02::fb 5353 typ host", Unreachable),
    ] {
        assert_eq!(parse_candidate_line(line), Err(why), "{line}");
    }
}

#[test]
fn kinds_are_named_for_people() {
    assert_eq!(CandidateKinds::default().to_string(), "none");
    let kinds: CandidateKinds =
        [CandidateKind::ServerReflexive, CandidateKind::Host, CandidateKind::Host].into_iter().collect();
    assert_eq!(kinds.to_string(), "host srflx");
}

/// Any candidate an endpoint could have.
fn any_candidate() -> impl Strategy<Value = Candidate> {
    let ip = prop_oneof![
        any::<u32>().prop_map(|ip| std::net::IpAddr::V4(ip.into())),
        any::<u128>().prop_map(|ip| std::net::IpAddr::V6(ip.into())),
    ];
    let kind = prop::sample::select(vec![
        CandidateKind::Host,
        CandidateKind::PeerReflexive,
        CandidateKind::ServerReflexive,
        CandidateKind::Relay,
    ]);
    (ip, any::<u16>(), kind, any::<u32>())
        .prop_map(|(ip, port, kind, priority)| Candidate { address: SocketAddr::new(ip, port), kind, priority })
        .prop_filter("reachable", |candidate| crate::webrtc::candidate::is_reachable(candidate.address))
}

fn any_outline() -> impl Strategy<Value = Outline> {
    let section =
        ("(audio|video|application|x)", "[A-Z/]{1,20}", "[!-~]{1,64}", prop::option::of("[a-z]{1,9}")).prop_map(
            |(kind, protocol, format, mid)| RejectedSection { kind, protocol: format!("X{protocol}"), format, mid },
        );
    let sections = || prop::collection::vec(section.clone(), 0..8);
    let protocol = prop::sample::select(DataProtocol::ALL.to_vec());
    (prop::option::of("[0-9A-Z!-+~]{1,64}"), any::<bool>(), protocol, any::<bool>(), sections(), sections()).prop_map(
        |(mid, bundle, protocol, sctpmap, before, after)| Outline {
            bundle: bundle && mid.is_some(),
            mid,
            protocol,
            sctpmap,
            before,
            after,
        },
    )
}

/// Lines that mean something, and such that nearly do.
fn any_line() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "a=candidate:",
        "a=candidate:1 1 udp 1 ",
        "a=ice-ufrag:",
        "a=ice-pwd:",
        "a=fingerprint:",
        "a=fingerprint:sha-512 ",
        "a=setup:",
        "a=mid:",
        "a=group:BUNDLE ",
        "a=sctp-port:",
        "a=sctpmap:",
        "a=max-message-size:",
        "a=p2pt-window:",
        "a=bundle-only",
        "m=",
        "m=audio 0 RTP/AVP 0",
        "m=application 9 DTLS/SCTP ",
        "m=application 9 UDP/DTLS/SCTP ",
        "a=",
        "",
    ]);
    let value = prop_oneof![
        "\\PC{0,40}",
        any::<u64>().prop_map(|number| number.to_string()),
        "[0-9a-f:. ]{0,60}",
        "webrtc-datachannel",
    ];
    let end = prop::sample::select(vec!["\r\n", "\n", " \r\n", "\r", ""]);
    (name, value, end).prop_map(|(name, value, end)| format!("{name}{value}{end}"))
}

#[test]
fn every_cut_is_survived() {
    for sdp in [LIBWEBRTC, LIBDATACHANNEL, FIREFOX] {
        for end in 0..=sdp.len() {
            check_description(&sdp[..end]);
            check_description(&format!("v=0\r\n{}", &sdp[end..]));
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        outline in any_outline(),
        ufrag in "[0-9A-Za-z+/]{4,256}",
        pwd in "[0-9A-Za-z+/]{22,256}",
        fingerprint in any::<[u8; 32]>(),
        setup in prop::sample::select(vec![Setup::ActPass, Setup::Active, Setup::Passive]),
        candidates in prop::collection::vec(any_candidate(), 0..MAX_CANDIDATES),
        (session_id, max_message_bytes, window) in any::<(u64, usize, u32)>(),
    ) {
        let fingerprint = Fingerprint(fingerprint);
        let written = LocalDescription {
            session_id, outline: &outline, ufrag: &ufrag, pwd: &pwd, fingerprint, setup, max_message_bytes,
            candidates: &candidates, window,
        };
        let read = parse(&written.to_string());
        prop_assert_eq!(&read.outline, &outline);
        prop_assert_eq!((read.ufrag, read.pwd), (ufrag, pwd));
        prop_assert_eq!(read.fingerprint.sha256(), Some(fingerprint));
        prop_assert_eq!(read.setup, Some(setup));
        prop_assert_eq!(read.max_message_bytes, Some(max_message_bytes as u64));
        prop_assert_eq!(read.window, Some(window as usize).filter(|window| *window > 0));
        prop_assert_eq!(read.kinds, candidates.iter().map(|candidate| candidate.kind).collect());
        prop_assert_eq!(read.candidates, candidates);
        prop_assert!(read.close_by_reset && !read.ice_lite && read.sctp_port == 5000);
    }

    #[test]
    fn any_lines_are_survived(
        lines in prop::collection::vec(any_line(), 0..20),
        place in any::<prop::sample::Index>(),
        whole in any::<bool>(),
    ) {
        let lines = lines.concat();
        let mut sdp: Vec<&str> = if whole { LIBWEBRTC.split_inclusive('\n').collect() } else { vec!["v=0\r\n"] };
        sdp.insert(1 + place.index(sdp.len()), &lines);
        check_description(&sdp.concat());
    }

    #[test]
    fn any_text_is_survived(text in ".{0,300}") {
        check_description(&text);
        check_description(&format!("v=0\r\n{text}"));
        check_description(&format!("candidate:{text}"));
    }
}
