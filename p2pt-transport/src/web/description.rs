//! What is read in a description, and changed in one, before the browser or the other side gets it.
//!
//! The browser understands descriptions. It also does whatever they ask for, and they come from unknown peers: what
//! a data channel has no need of is bounded here.

use std::borrow::Cow;

/// The largest description that is read, in bytes, as in the native backend. Browsers on machines with many addresses
/// stay under 16 KiB.
const MAX_SDP_BYTES: usize = 65_536;

/// How many candidates of a description count; those after them are left out, so that a description cannot have the
/// browser send checks all over a network. A host with 10 addresses, each with its own reflexive and relayed ones, has 30.
const MAX_CANDIDATES: usize = 32;

/// How many sections a description may have. The browser makes objects for each.
const MAX_SECTIONS: usize = 16;

/// What is sent at most, in bytes, when a description does not say otherwise (RFC 8841 section 6.1).
const DEFAULT_MAX_MESSAGE_BYTES: usize = 65_536;

const MAX_MESSAGE_SIZE: &str = "a=max-message-size:";
const CANDIDATE: &str = "a=candidate:";

/// A description of the other side as the browser gets it.
///
/// # Errors
/// Why it cannot be one of a data channel, for people.
pub(super) fn admit(sdp: &str) -> Result<Cow<'_, str>, &'static str> {
    if sdp.len() > MAX_SDP_BYTES {
        return Err("it is too long");
    }
    if sdp.lines().next() != Some("v=0") {
        return Err("it does not begin with v=0");
    }
    let sections = sdp.lines().filter(|line| line.starts_with("m=")).count();
    if sections > MAX_SECTIONS {
        return Err("it has too many sections");
    }
    if !sdp.lines().any(|line| line.starts_with("m=application ")) {
        return Err("it has no section of a data channel");
    }
    if sdp.lines().filter(|line| line.starts_with(CANDIDATE)).count() <= MAX_CANDIDATES {
        return Ok(Cow::Borrowed(sdp));
    }
    let mut candidates = 0;
    let kept = sdp.lines().filter(|line| {
        candidates += usize::from(line.starts_with(CANDIDATE));
        !line.starts_with(CANDIDATE) || candidates <= MAX_CANDIDATES
    });
    Ok(Cow::Owned(kept.map(|line| format!("{line}\r\n")).collect()))
}

/// A description of this side as the other side gets it: it announces that this side takes frames of up to so many bytes.
pub(super) fn announce(sdp: &str, max_frame_bytes: usize) -> String {
    let announcement = format!("{MAX_MESSAGE_SIZE}{max_frame_bytes}");
    let (mut announced, mut is_missing) = (String::with_capacity(sdp.len() + announcement.len()), true);
    let lines = sdp.lines().map(|line| match line.starts_with(MAX_MESSAGE_SIZE) {
        true => {
            is_missing = false;
            announcement.as_str()
        }
        false => line,
    });
    for line in lines {
        announced.push_str(line);
        announced.push_str("\r\n");
    }
    // Browsers have the line; where one does not, the section of the data channel is the only one, and so the last.
    if is_missing {
        announced.push_str(&announcement);
        announced.push_str("\r\n");
    }
    announced
}

/// The largest frame in bytes that the author of a description takes.
pub(super) fn max_message_bytes(sdp: &str) -> usize {
    let value = sdp.lines().find_map(|line| line.strip_prefix(MAX_MESSAGE_SIZE)?.trim().parse().ok());
    match value {
        Some(0) => usize::MAX,
        Some(bytes) => bytes,
        None => DEFAULT_MAX_MESSAGE_BYTES,
    }
}

/// Types of candidates, sorted: `host`, `prflx`, `relay`, `srflx`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct CandidateTypes(Vec<String>);

impl CandidateTypes {
    /// Those of a description.
    pub(super) fn of(sdp: &str) -> Self {
        let of_line = |line: &str| {
            let mut words = line.strip_prefix(CANDIDATE)?.split(' ');
            words.find(|word| *word == "typ")?;
            words.next().map(|word| word.trim().to_owned())
        };
        let mut types = Self::default();
        sdp.lines().filter_map(of_line).for_each(|name| types.insert(name));
        types
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds one that was found later.
    pub(super) fn insert(&mut self, name: String) {
        if let Err(at) = self.0.binary_search(&name) {
            self.0.insert(at, name);
        }
    }

    /// Adds others that were found later.
    pub(super) fn extend(&mut self, others: Self) {
        others.0.into_iter().for_each(|name| self.insert(name));
    }
}

impl std::fmt::Display for CandidateTypes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (index, name) in self.0.iter().enumerate() {
            write!(f, "{}{name}", if index == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";
    const SECTION: &str = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n";

    fn candidate(number: usize) -> String {
        format!("a=candidate:{number} 1 udp 2130706431 192.0.2.{number} 5000 typ host generation 0\r\n")
    }

    #[test]
    fn a_description_of_a_data_channel_stays_as_it_is() {
        let candidates: String = (0..32).map(candidate).collect();
        let sdp = format!("{HEAD}{SECTION}{candidates}a=sctp-port:5000\r\n");
        assert!(matches!(admit(&sdp), Ok(Cow::Borrowed(same)) if same == sdp));
    }

    #[test]
    fn candidates_beyond_the_limit_are_left_out() {
        let some = |count| (0..count).map(candidate).collect::<String>();
        let sdp = format!("{HEAD}{SECTION}{}a=sctp-port:5000\r\n", some(40));
        let expected = format!("{HEAD}{SECTION}{}a=sctp-port:5000\r\n", some(32));
        assert_eq!(admit(&sdp).unwrap(), expected);
    }

    #[test]
    fn what_is_no_description_of_a_data_channel_is_refused() {
        let audio = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n";
        let long = format!("{HEAD}{SECTION}{}", "a=x\r\n".repeat(MAX_SDP_BYTES / 5));
        let many = format!("{HEAD}{SECTION}{}", audio.repeat(MAX_SECTIONS));
        for bad in ["", "\0", "not an SDP", HEAD, SECTION, &format!("{HEAD}{audio}"), &long, &many] {
            assert!(admit(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_largest_frame_is_announced_once_and_read_again() {
        for sdp in [format!("{HEAD}{SECTION}"), format!("{HEAD}{SECTION}{MAX_MESSAGE_SIZE}262144\r\na=x\r\n")] {
            let announced = announce(&sdp, 98_304);
            assert_eq!(announced.matches(MAX_MESSAGE_SIZE).count(), 1);
            assert_eq!(max_message_bytes(&announced), 98_304);
            assert!(announced.ends_with("\r\n") && announced.starts_with(HEAD));
        }
        assert_eq!(max_message_bytes(HEAD), 65_536);
        assert_eq!(max_message_bytes("a=max-message-size:0\r\n"), usize::MAX);
        assert_eq!(max_message_bytes("a=max-message-size:many\r\n"), 65_536);
    }

    #[test]
    fn candidate_types_are_named_once() {
        let relay = "a=candidate:9 1 udp 1 192.0.2.9 7 typ relay raddr 0.0.0.0 rport 0\r\n";
        let mut types = CandidateTypes::of(&format!("{HEAD}{SECTION}{}{}{relay}", candidate(1), candidate(2)));
        assert_eq!(types.to_string(), "host relay");
        types.insert("prflx".to_owned());
        types.extend(CandidateTypes::of(relay));
        assert_eq!(types.to_string(), "host prflx relay");
        assert_eq!(CandidateTypes::of(HEAD).to_string(), "none");
        assert!(CandidateTypes::of(HEAD).is_empty());
    }
}
