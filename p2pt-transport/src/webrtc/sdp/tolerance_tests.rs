//! Descriptions that others would write, and what becomes of them: each row changes one thing in a description of
//! libwebrtc.

use super::{
    tests::{LIBWEBRTC, at, parse},
    *,
};

const HEX: &str = "12:74:08:28:A8:48:D4:73:BC:58:59:4C:69:78:36:42:60:83:E3:30:30:C9:9B:AE:71:D7:A0:D5:A9:8A:8A:18";

/// `LIBWEBRTC` with `to` for `from`, which is in it.
fn changed(from: &str, to: &str) -> String {
    assert!(LIBWEBRTC.contains(from), "{from}");
    LIBWEBRTC.replace(from, to)
}

/// `count` bytes as a fingerprint has them.
fn hex(count: usize) -> String {
    vec!["a7"; count].join(":")
}

#[test]
fn what_makes_no_difference() {
    let expected = parse(LIBWEBRTC);
    let fingerprint = format!("a=fingerprint:sha-256 {HEX}\r\n");
    let moved = |line: &str| changed(line, "").replace("t=0 0\r\n", &format!("t=0 0\r\n{line}"));
    for (what, sdp) in [
        ("LF for CRLF", changed("\r\n", "\n")),
        ("space at the ends of lines", changed("\r\n", " \t\r\n")),
        ("an empty line at the end", format!("{LIBWEBRTC}\r\n")),
        ("empty lines within", changed("a=setup", "\r\n\r\na=setup")),
        ("no end of the last line", LIBWEBRTC.trim_end().to_owned()),
        ("a session id beyond 64 bits", changed("2571246730912675429", "257124673091267542900000")),
        ("no connection line", changed("c=IN IP4 192.0.2.2\r\n", "")),
        ("another port", changed("m=application 34413", "m=application 9")),
        ("a port that is none", changed("m=application 34413", "m=application 99999")),
        ("a count of ports", changed("m=application 34413", "m=application 9/2")),
        ("unknown lines", changed("a=setup", "b=AS:30\r\nk=clear:x\r\na=tls-id:1\r\na=x-odd\r\nodd\r\na=setup")),
        ("a lower-case fingerprint", changed(HEX, &HEX.to_lowercase())),
        ("a hash name in capitals", changed("sha-256", "SHA-256")),
        ("a setup in capitals", changed("actpass", "ACTPASS")),
        (
            "a weak fingerprint before",
            changed("a=fingerprint", &format!("a=fingerprint:sha-1 {}\r\na=fingerprint", hex(20))),
        ),
        ("a weak fingerprint after", format!("{LIBWEBRTC}a=fingerprint:md5 {}\r\n", hex(16))),
        ("a broken fingerprint before", changed("a=fingerprint", "a=fingerprint:sha-512 12\r\na=fingerprint")),
        ("a second fingerprint", format!("{LIBWEBRTC}a=fingerprint:sha-256 {}\r\n", hex(32))),
        (
            "a fingerprint of the session, too",
            changed("t=0 0\r\n", &format!("t=0 0\r\na=fingerprint:sha-512 {}\r\n", hex(64))),
        ),
        ("a fingerprint of the session only", moved(&fingerprint)),
        (
            "only a weak one in the section",
            changed("sha-256", "sha-1").replace("t=0 0\r\n", &format!("t=0 0\r\n{fingerprint}")),
        ),
        ("ufrag of the session", moved("a=ice-ufrag:Hilk\r\n")),
        ("pwd of the session", moved("a=ice-pwd:0ghBpcR9477oB0AKAH5IY67U\r\n")),
        ("setup of the session", moved("a=setup:actpass\r\n")),
        ("other credentials of the session", changed("t=0 0\r\n", "t=0 0\r\na=ice-ufrag:other\r\na=setup:active\r\n")),
        ("other options", changed("ice-options:trickle", "ice-options:ice2 renomination trickle")),
        ("end-of-candidates", format!("{LIBWEBRTC}a=end-of-candidates\r\n")),
        ("no SCTP port", changed("a=sctp-port:5000\r\n", "")),
        ("an SCTP port of 0", changed("a=sctp-port:5000", "a=sctp-port:0")),
        ("an SCTP port that is none", changed("a=sctp-port:5000", "a=sctp-port:70000")),
        ("two groups", changed("a=group:BUNDLE 0", "a=group:LS 0\r\na=group:BUNDLE 7 8\r\na=group:BUNDLE 0")),
        (
            "broken candidates",
            changed("a=candidate:842", "a=candidate:\r\na=candidate:1 1 udp x 10.0.0.1 9 typ host\r\na=candidate:842"),
        ),
        (
            "RTCP's candidates",
            changed("a=candidate:842", "a=candidate:1 2 udp 1 10.0.0.1 9 typ host\r\na=candidate:842"),
        ),
        (
            "a candidate twice",
            changed("a=candidate:842", "a=candidate:9 1 udp 1 192.0.2.2 34413 typ host\r\na=candidate:842"),
        ),
        (
            "candidates of nowhere",
            changed("a=candidate:842", "a=candidate:9 1 udp 1 0.0.0.0 1 typ host\r\na=candidate:842"),
        ),
        ("UDP in capitals", changed(" udp ", " UDP ")),
        ("kinds in capitals", changed("typ host", "typ HOST")),
        ("a scope", changed("fd00::2 ", "fd00::2%eth0 ")),
        ("two spaces", changed(" typ ", "  typ  ")),
        ("neither related address nor extensions", changed(" raddr 0.0.0.0 rport 0 generation 0 network-cost 999", "")),
        ("a broken related address", changed("raddr 0.0.0.0 rport 0", "raddr x rport y")),
    ] {
        assert_eq!(parse(&sdp), expected, "{what}");
    }
}

#[test]
fn what_makes_a_difference_of_one_field() {
    let with = |change: &dyn Fn(&mut Description)| {
        let mut expected = parse(LIBWEBRTC);
        change(&mut expected);
        expected
    };
    let fingerprint = |bits: &str, bytes: usize| format!("{LIBWEBRTC}a=fingerprint:sha-{bits} {}\r\n", hex(bytes));
    let old = "DTLS/SCTP 5000\r\na=sctpmap:5000 webrtc-datachannel 1024";
    for (what, sdp, expected) in [
        ("no group", changed("a=group:BUNDLE 0\r\n", ""), with(&|d| d.outline.bundle = false)),
        ("a group of others", changed("BUNDLE 0", "BUNDLE 1"), with(&|d| d.outline.bundle = false)),
        ("no mid", changed("a=mid:0\r\n", ""), with(&|d| (d.outline.mid, d.outline.bundle) = (None, false))),
        (
            "a mid that cannot be repeated",
            changed("a=mid:0", "a=mid:0 1"),
            with(&|d| (d.outline.mid, d.outline.bundle) = (None, false)),
        ),
        (
            "another mid",
            changed("a=mid:0", "a=mid:data{}").replace("BUNDLE 0", "BUNDLE data{}"),
            with(&|d| d.outline.mid = Some("data{}".to_owned())),
        ),
        ("active", changed("actpass", "active"), with(&|d| d.setup = Some(Setup::Active))),
        ("passive", changed("actpass", "passive"), with(&|d| d.setup = Some(Setup::Passive))),
        ("no setup", changed("a=setup:actpass\r\n", ""), with(&|d| d.setup = None)),
        ("an unknown setup", changed("actpass", "holdconn"), with(&|d| d.setup = None)),
        ("lite", changed("t=0 0", "t=0 0\r\na=ice-lite"), with(&|d| d.ice_lite = true)),
        ("SHA-384", fingerprint("384", 48), with(&|d| d.fingerprint = RemoteFingerprint::Sha384([0xa7; 48]))),
        ("SHA-512", fingerprint("512", 64), with(&|d| d.fingerprint = RemoteFingerprint::Sha512([0xa7; 64]))),
        (
            "of several the strongest",
            fingerprint("512", 64) + &format!("a=fingerprint:sha-384 {}\r\n", hex(48)),
            with(&|d| d.fingerprint = RemoteFingerprint::Sha512([0xa7; 64])),
        ),
        (
            "the old syntax",
            changed("UDP/DTLS/SCTP webrtc-datachannel", old).replace("a=sctp-port:5000\r\n", ""),
            with(&|d| (d.outline.protocol, d.outline.sctpmap) = (DataProtocol::Draft, true)),
        ),
        (
            "the old syntax without a=sctpmap",
            changed("UDP/DTLS/SCTP webrtc-datachannel", "DTLS/SCTP 4999").replace("a=sctp-port:5000\r\n", ""),
            with(&|d| {
                (d.outline.protocol, d.outline.sctpmap, d.sctp_port) = (DataProtocol::Draft, true, 4999);
            }),
        ),
        (
            "a=sctpmap with another port",
            changed("a=sctp-port:5000", "a=sctpmap:4998 webrtc-datachannel 256"),
            with(&|d| d.sctp_port = 4998),
        ),
        ("another SCTP port", changed("a=sctp-port:5000", "a=sctp-port:5001"), with(&|d| d.sctp_port = 5001)),
        ("TCP", changed("UDP/DTLS", "TCP/DTLS"), with(&|d| d.outline.protocol = DataProtocol::Tcp)),
        ("the draft's protocol", changed("UDP/DTLS", "DTLS"), with(&|d| d.outline.protocol = DataProtocol::Draft)),
        ("signs in a ufrag", changed("Hilk", "Hi-=#_"), with(&|d| d.ufrag = "Hi-=#_".to_owned())),
        (
            "a relayed candidate",
            changed("typ srflx", "typ relay"),
            with(&|d| {
                d.candidates[2].kind = crate::webrtc::candidate::CandidateKind::Relay;
                d.kinds = parse(&LIBWEBRTC.replace("typ srflx", "typ relay")).kinds;
            }),
        ),
    ] {
        assert_eq!(parse(&sdp), expected, "{what}");
    }
    assert_eq!(parse(&changed("actpass", "active")).answer_setup(), Setup::Passive);
    for client in ["actpass", "passive", "holdconn"] {
        assert_eq!(parse(&changed("actpass", client)).answer_setup(), Setup::Active, "{client}");
    }
    for (setup, is_client) in [("actpass", true), ("active", true), ("passive", false), ("holdconn", true)] {
        assert_eq!(parse(&changed("actpass", setup)).is_dtls_client(), is_client, "{setup}");
    }
}

#[test]
fn what_is_refused_names_its_line() {
    let pwd = "0ghBpcR9477oB0AKAH5IY67U";
    for (sdp, line, why) in [
        (String::new(), None, "it does not begin with v=0"),
        ("gAAAAABnX…".to_owned(), None, "it does not begin with v=0"),
        (changed("v=0", "v=01"), None, "it does not begin with v=0"),
        (format!("\r\n{LIBWEBRTC}"), None, "it does not begin with v=0"),
        ("v=0\r\n".to_owned(), None, "no data channel is offered"),
        ("v=0\r\n".repeat(20_000), None, "longer than 64 KiB"),
        (changed("m=application", "m=audio"), None, "no data channel is offered"),
        (changed("webrtc-datachannel", "*"), Some(8), "no data channel is offered"),
        (changed("UDP/DTLS/SCTP", "UDP/SCTP"), Some(8), "no data channel is offered"),
        (changed("m=application 34413", "m=application 0"), Some(8), "rejected"),
        (
            changed("m=application 34413", "m=application 0").replace("a=mid:0\r\n", "a=bundle-only\r\n"),
            Some(8),
            "rejected",
        ),
        (changed("a=ice-ufrag:Hilk\r\n", ""), Some(8), "no a=ice-ufrag"),
        (changed(&format!("a=ice-pwd:{pwd}\r\n"), ""), Some(8), "no a=ice-pwd"),
        (changed(&format!("a=fingerprint:sha-256 {HEX}\r\n"), ""), Some(8), "no a=fingerprint"),
        (changed("Hilk", "Hil"), Some(15), "an ice-ufrag has 4 to 256"),
        (changed("Hilk", &"H".repeat(257)), Some(15), "an ice-ufrag has 4 to 256"),
        (changed("Hilk", "Hi:lk"), Some(15), "an ice-ufrag has 4 to 256"),
        (changed("Hilk", "Hilk Hilk"), Some(15), "an ice-ufrag has 4 to 256"),
        (changed("Hilk", "Hilké"), Some(15), "an ice-ufrag has 4 to 256"),
        (changed("a=ice-ufrag:Hilk", "a=ice-ufrag"), Some(15), "an ice-ufrag has 4 to 256"),
        (changed(pwd, &pwd[..21]), Some(16), "an ice-pwd has 22 to 256"),
        (changed(pwd, &"p".repeat(257)), Some(16), "an ice-pwd has 22 to 256"),
        (changed("sha-256", "sha-1"), Some(18), "no other is trusted"),
        (changed("sha-256", "md5"), Some(18), "no other is trusted"),
        (changed("sha-256", "sha-224"), Some(18), "no other is trusted"),
        (changed("sha-256", "\u{202e}sha"), Some(18), "no other is trusted"),
        (changed("sha-256", "sha-384"), Some(18), "by sha-384 has 48 bytes"),
        (changed("12:74", "+2:74"), Some(18), "by sha-256 has 32 bytes"),
        (changed("12:74", "é:74"), Some(18), "by sha-256 has 32 bytes"),
        (changed("12:74", "1:74"), Some(18), "by sha-256 has 32 bytes"),
        (changed("12:74", "12:74:74"), Some(18), "by sha-256 has 32 bytes"),
        (changed("12:74", "12"), Some(18), "by sha-256 has 32 bytes"),
        (format!("{LIBWEBRTC}{}", "m=audio 9 RTP/AVP 0\r\n".repeat(16)), Some(38), "more than 16 m= lines"),
        (format!("{LIBWEBRTC}m=audio 9\r\n"), Some(23), "an answer could not repeat"),
        (format!("{LIBWEBRTC}m=audio 9 RTP/AVP {}\r\n", "9".repeat(65)), Some(23), "an answer could not repeat"),
    ] {
        let error = Description::parse(&sdp).expect_err(why);
        let text = error.to_string();
        assert!(text.contains(why), "{why}: {text}");
        assert_eq!(error.line(), line, "{text}");
        assert!(text.len() < 400 && !text.contains('\u{202e}') && !text.contains(&pwd[..21]), "{text}");
    }
    let error = Description::parse(&changed("sha-256", "sha-1")).unwrap_err().to_string();
    assert!(error.starts_with("line 18, \"a=fingerprint:sha-1 12:74:08:28:A8:48:D4:73:BC:5…\": no fing"), "{error}");
}

#[test]
fn sixteen_sections_are_read() {
    let sdp = format!("{LIBWEBRTC}{}", "m=audio 9 RTP/AVP 0\r\n".repeat(15));
    assert_eq!(parse(&sdp).outline.after.len(), 15);
}

#[test]
fn thirty_two_candidates_count_and_the_useless_cost_nothing() {
    let lines = |address: &dyn Fn(usize) -> String, count: usize| -> String {
        (0..count).map(|index| format!("a=candidate:1 1 udp 1 {} 9 typ host\r\n", address(index))).collect()
    };
    let useless = lines(&|index| format!("host{index}.local"), 100) + &lines(&|index| format!("224.0.0.{index}"), 100);
    let sdp = format!("{LIBWEBRTC}{useless}{}", lines(&|index| format!("10.0.0.{index}"), 100));
    let read = parse(&sdp);
    assert_eq!(read.candidates.len(), MAX_CANDIDATES);
    assert_eq!(read.candidates[3].address, at("10.0.0.0:9"));
    assert_eq!(read.candidates[31].address, at("10.0.0.28:9"));
}

/// Another section, with an attribute of each kind that could be mistaken for the data channel's.
fn other_section(mid: &str, ufrag: &str) -> String {
    format!(
        "m=audio 9 UDP/TLS/RTP/SAVPF 111 0\r\na=mid:{mid}\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:{}\r\n\
         a=fingerprint:sha-512 {}\r\na=setup:active\r\na=max-message-size:1\r\na=sctp-port:1\r\n\
         a=candidate:1 1 udp 1 198.51.100.1 9 typ relay\r\na=p2pt-window:1\r\na=p2pt-close:reset\r\n",
        "x".repeat(22),
        hex(64),
    )
}

/// `LIBWEBRTC` with another section before the data channel's, or after it.
fn beside(other: &str) -> [String; 2] {
    [changed("m=application", &format!("{other}m=application")), format!("{LIBWEBRTC}{other}")]
}

#[test]
fn other_sections_are_not_mistaken_for_the_data_channels() {
    let expected = parse(LIBWEBRTC);
    let rejected = other_section("7", "other").replace("m=audio 9", "m=application 0");
    let data = rejected.replace("UDP/TLS/RTP/SAVPF 111 0", "UDP/DTLS/SCTP webrtc-datachannel");
    for other in [other_section("7", "other"), rejected, data] {
        for sdp in beside(&other) {
            // In a group with other parameters, too: an offer has a transport for each section until it is answered.
            for group in ["BUNDLE 0", "BUNDLE 7", "BUNDLE 0 7", "BUNDLE 7 0"] {
                let sdp = sdp.replace("BUNDLE 0", group);
                let mut read = parse(&sdp);
                assert_eq!(read.outline.before.len() + read.outline.after.len(), 1);
                assert_eq!(read.outline.bundle, group != "BUNDLE 7");
                read.outline = expected.outline.clone();
                assert_eq!(read, expected, "{sdp}");
            }
        }
    }
}

#[test]
fn a_shared_transport_is_found_in_the_first_of_the_group() {
    let own = "a=ice-ufrag:Hilk\r\na=ice-pwd:0ghBpcR9477oB0AKAH5IY67U\r\n";
    for sdp in beside(&other_section("7", "Hilk")) {
        let read = parse(&sdp.replace("BUNDLE 0", "BUNDLE 7 0"));
        assert_eq!(read.candidates.len(), 4, "the same transport");
        assert_eq!((read.window, read.close_by_reset), (None, false), "which is all they share");
        assert_eq!(read.pwd, "0ghBpcR9477oB0AKAH5IY67U");
        let read = parse(&sdp.replace("BUNDLE 0", "BUNDLE 0 7"));
        assert_eq!(read.candidates.len(), 3, "the first is our own");
    }
    for sdp in beside(&other_section("7", "other")) {
        // As RFC 8829 writes sections that exist only in a group.
        let sdp = sdp.replace("m=application 34413", "m=application 0").replace(own, "a=bundle-only\r\n");
        let read = parse(&sdp.replace("BUNDLE 0", "BUNDLE 7 0"));
        assert_eq!((&*read.ufrag, read.pwd.len()), ("other", 22));
        assert_eq!((read.max_message_bytes, read.setup), (Some(262_144), Some(Setup::ActPass)), "of the data channel");
        assert_eq!(read.candidates.len(), 4);
        // The group is another's: then the section is without an address, and rejected.
        assert!(Description::parse(&sdp.replace("BUNDLE 0", "BUNDLE 7")).is_err());
    }
}
