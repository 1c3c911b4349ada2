//! The lines of a description, and the sections they make up.

use super::{
    DataProtocol, MAX_MID_BYTES, MAX_SECTIONS, RejectedSection,
    error::{Problem, SdpError},
};

/// The longest word of an m= line that an answer repeats, in bytes. The longest in use, `UDP/TLS/RTP/SAVPF` and
/// `webrtc-datachannel`, have 18.
const MAX_WORD_BYTES: usize = 64;

/// One line without its end and the space around it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'a> {
    /// Counted from 1.
    pub(super) number: usize,
    pub(super) text: &'a str,
}

impl<'a> Line<'a> {
    /// The name and the value of an attribute, `a=name:value`; empty where there is none.
    fn parts(self) -> (&'a str, &'a str) {
        let attribute = self.text.strip_prefix("a=").unwrap_or_default();
        let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
        (name.trim(), value.trim())
    }

    pub(super) fn name(self) -> &'a str {
        self.parts().0
    }

    pub(super) fn value(self) -> &'a str {
        self.parts().1
    }
}

/// A part of a description: all before the first m= line, or an m= line and what follows up to the next.
#[derive(Debug, Clone, Copy)]
pub(super) struct Section<'a> {
    /// The number of its first line.
    number: usize,
    text: &'a str,
}

impl<'a> Section<'a> {
    fn lines(self) -> impl Iterator<Item = Line<'a>> {
        let numbered = self.text.lines().zip(self.number..);
        numbered.map(|(text, number)| Line { number, text: text.trim() })
    }

    /// All attributes of that name.
    pub(super) fn attributes(self, name: &'static str) -> impl Iterator<Item = Line<'a>> {
        self.lines().filter(move |line| line.name() == name)
    }

    /// The first attribute of that name.
    pub(super) fn attribute(self, name: &'static str) -> Option<Line<'a>> {
        self.attributes(name).next()
    }

    /// Its first line: in a section of media the m= line.
    pub(super) fn first_line(self) -> Line<'a> {
        self.lines().next().unwrap_or(Line { number: self.number, text: "" })
    }

    /// What its m= line says.
    pub(super) fn media(self) -> Media<'a> {
        let line = self.first_line();
        let mut words = line.text.strip_prefix("m=").unwrap_or_default().split_ascii_whitespace();
        let mut word = || words.next().unwrap_or_default();
        Media { line, kind: word(), port: word(), protocol: word(), format: word() }
    }

    /// Its identifier, if an answer can repeat that; a section may have none.
    pub(super) fn mid(self) -> Option<&'a str> {
        let mid = self.attribute("mid")?.value();
        is_word(mid, MAX_MID_BYTES).then_some(mid)
    }
}

/// Whether `text` can stand in a line that is written: one word of visible ASCII.
fn is_word(text: &str, max_bytes: usize) -> bool {
    (1..=max_bytes).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// An m= line: `m=application 9 UDP/DTLS/SCTP webrtc-datachannel`. Words that are missing are empty.
#[derive(Debug, Clone, Copy)]
pub(super) struct Media<'a> {
    line: Line<'a>,
    pub(super) kind: &'a str,
    port: &'a str,
    protocol: &'a str,
    /// The first format. In the syntax that RFC 8841 replaced, the SCTP port.
    pub(super) format: &'a str,
}

impl Media<'_> {
    /// The port, which says nothing but that a section is rejected, if it is 0: addresses are ICE's.
    pub(super) fn port(self) -> Option<u16> {
        self.port.parse().ok()
    }

    /// How it names DTLS and SCTP.
    pub(super) fn data_protocol(self) -> Option<DataProtocol> {
        DataProtocol::ALL.into_iter().find(|protocol| self.protocol.eq_ignore_ascii_case(protocol.name()))
    }

    /// Whether it has an SCTP port where `webrtc-datachannel` stands today.
    pub(super) fn is_sctpmap(self) -> bool {
        self.format.parse::<u16>().is_ok()
    }

    /// Whether it is that of a data channel, in today's syntax or in the one before.
    pub(super) fn is_data_channel(self) -> bool {
        let has_format = self.format.eq_ignore_ascii_case("webrtc-datachannel") || self.is_sctpmap();
        self.kind == "application" && self.data_protocol().is_some() && has_format
    }

    /// How an answer repeats it in order to reject it.
    pub(super) fn rejected(self, mid: Option<&str>) -> Result<RejectedSection, SdpError> {
        let words = [self.kind, self.protocol, self.format];
        if !words.into_iter().all(|word| is_word(word, MAX_WORD_BYTES)) {
            return Err(Problem::Unrepeatable.at(self.line));
        }
        let [kind, protocol, format] = words.map(str::to_owned);
        Ok(RejectedSection { kind, protocol, format, mid: mid.map(str::to_owned) })
    }
}

/// Cuts a description into what is before the first m= line, and its sections.
pub(super) fn sections(sdp: &str) -> Result<(Section<'_>, Vec<Section<'_>>), SdpError> {
    let mut starts = vec![(0, 1)];
    let mut offset = 0;
    for (text, number) in sdp.split_inclusive('\n').zip(1..) {
        let line = Line { number, text: text.trim() };
        if line.text.starts_with("m=") {
            if starts.len() > MAX_SECTIONS {
                return Err(Problem::TooManySections.at(line));
            }
            starts.push((offset, number));
        }
        offset += text.len();
    }
    let ends = starts.iter().skip(1).map(|(start, _)| *start).chain([sdp.len()]);
    let mut sections =
        starts.iter().zip(ends).map(|((start, number), end)| Section { number: *number, text: &sdp[*start..end] });
    let session = sections.next().unwrap_or(Section { number: 1, text: "" });
    Ok((session, sections.collect()))
}
