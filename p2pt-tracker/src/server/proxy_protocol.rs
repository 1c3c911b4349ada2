//! The PROXY protocol, versions 1 and 2, with which a proxy that passes on bytes says from where they come
//! (<https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>).

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest line of version 1, with its end.
const MAX_LINE_BYTES: usize = 107;

/// The shortest line of version 1: `PROXY UNKNOWN` with its end.
const MIN_LINE_BYTES: usize = 15;

/// The longest header of version 2 that is taken: what the specification wants to fit into the first segment of every
/// TCP connection. Addresses take 52 bytes of it, the others are for extensions, which are passed over.
const MAX_HEADER_BYTES: usize = 536;

const LINE_START: &[u8] = b"PROXY ";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The signature, a byte with version and command, one with the kinds of address and protocol, and a length.
const FIXED_BYTES: usize = 16;

/// From where a proxied connection comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// From a client with this address.
    Client(IpAddr),
    /// From the proxy itself, which checks whether the server lives, or from a client whose address it does not know.
    Proxy,
}

/// Why the first bytes of a connection are no header of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct ProxyProtocolError(&'static str);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// At least so many bytes more are of the header.
    Needs(usize),
    Complete(Source),
}

/// Reads a header and nothing behind it, however slowly it comes: the deadline is the caller's.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Result<Source, ProxyProtocolError>> {
    let mut header = Vec::with_capacity(MAX_LINE_BYTES);
    loop {
        let needed = match parse(&header) {
            Ok(Progress::Complete(source)) => return Ok(Ok(source)),
            Ok(Progress::Needs(needed)) => needed,
            Err(error) => return Ok(Err(error)),
        };
        let limit = u64::try_from(needed).unwrap_or(u64::MAX);
        if (&mut *stream).take(limit).read_buf(&mut header).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Reads what has come of a header, and not more than that.
pub(super) fn parse(bytes: &[u8]) -> Result<Progress, ProxyProtocolError> {
    let begins = |start: &[u8]| bytes.starts_with(start) || start.starts_with(bytes);
    if begins(LINE_START) {
        parse_line(bytes)
    } else if begins(SIGNATURE) {
        parse_binary(bytes)
    } else {
        Err(ProxyProtocolError("the connection does not begin with a header of the PROXY protocol"))
    }
}

/// Version 1: a line of text.
fn parse_line(bytes: &[u8]) -> Result<Progress, ProxyProtocolError> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n");
    let Some(end) = end else {
        // The end alone is two bytes, of which one may be here.
        let end_bytes = if bytes.ends_with(b"\r") { 1 } else { 2 };
        if bytes.len() + end_bytes > MAX_LINE_BYTES || bytes.contains(&b'\n') {
            return Err(ProxyProtocolError("the PROXY line does not end where it should"));
        }
        return Ok(Progress::Needs(MIN_LINE_BYTES.saturating_sub(bytes.len()).max(end_bytes)));
    };
    if end + 2 > MAX_LINE_BYTES {
        return Err(ProxyProtocolError("the PROXY line is too long"));
    }
    let malformed = ProxyProtocolError("the PROXY line does not have two addresses and two ports");
    let line = bytes.get(LINE_START.len()..end).and_then(|line| str::from_utf8(line).ok()).ok_or(malformed)?;
    let words: Vec<&str> = line.split(' ').collect();
    let client = match words[..] {
        // What follows is to be ignored.
        ["UNKNOWN", ..] => return Ok(Progress::Complete(Source::Proxy)),
        ["TCP4", from, to, from_port, to_port] => {
            to.parse::<Ipv4Addr>().map_err(|_| malformed)?;
            ports(from_port, to_port).ok_or(malformed)?;
            IpAddr::V4(from.parse().map_err(|_| malformed)?)
        }
        ["TCP6", from, to, from_port, to_port] => {
            to.parse::<Ipv6Addr>().map_err(|_| malformed)?;
            ports(from_port, to_port).ok_or(malformed)?;
            IpAddr::V6(from.parse().map_err(|_| malformed)?)
        }
        _ => return Err(malformed),
    };
    Ok(Progress::Complete(Source::Client(client.to_canonical())))
}

/// Two port numbers, without signs, which `parse` would take.
fn ports(from: &str, to: &str) -> Option<(u16, u16)> {
    let port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?;
    Some((port(from)?, port(to)?))
}

/// Version 2: a fixed part, addresses, and extensions.
fn parse_binary(bytes: &[u8]) -> Result<Progress, ProxyProtocolError> {
    let Some(fixed) = bytes.first_chunk::<FIXED_BYTES>() else {
        return Ok(Progress::Needs(FIXED_BYTES - bytes.len()));
    };
    let [.., version_and_command, kind, high, low] = *fixed;
    let size = FIXED_BYTES + usize::from(u16::from_be_bytes([high, low]));
    if size > MAX_HEADER_BYTES {
        return Err(ProxyProtocolError("the PROXY header is longer than 536 bytes"));
    }
    if bytes.len() < size {
        return Ok(Progress::Needs(size - bytes.len()));
    }
    let short = ProxyProtocolError("the PROXY header is shorter than its addresses");
    let addresses = &bytes[FIXED_BYTES..size];
    let source = match (version_and_command, kind) {
        (LOCAL, _) => Source::Proxy,
        (PROXY, TCP4) => {
            let addresses = addresses.first_chunk::<12>().ok_or(short)?;
            Source::Client(Ipv4Addr::from(*addresses.first_chunk::<4>().ok_or(short)?).into())
        }
        (PROXY, TCP6) => {
            let addresses = addresses.first_chunk::<36>().ok_or(short)?;
            let client = Ipv6Addr::from(*addresses.first_chunk::<16>().ok_or(short)?);
            Source::Client(IpAddr::from(client).to_canonical())
        }
        // An unspecified protocol, or sockets of the proxy's machine, which have no address.
        (PROXY, UNSPECIFIED | UNIX) => Source::Proxy,
        (PROXY, _) => return Err(ProxyProtocolError("the PROXY header is of another protocol than TCP")),
        _ => return Err(ProxyProtocolError("the PROXY header has an unknown version or command")),
    };
    Ok(Progress::Complete(source))
}

// The upper half is the version.
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
// The upper half is the kind of address, the lower one that of the protocol.
const UNSPECIFIED: u8 = 0x00;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
const UNIX: u8 = 0x31;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::model::fed, *};

    fn ip(text: &str) -> Source {
        Source::Client(text.parse().unwrap())
    }

    /// A header of version 2.
    fn binary(version_and_command: u8, kind: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[version_and_command, kind], &length, rest].concat()
    }

    fn v4(client: [u8; 4], extensions: &[u8]) -> Vec<u8> {
        binary(PROXY, TCP4, &[&client[..], &[10, 0, 0, 1, 0x12, 0x34, 0, 80], extensions].concat())
    }

    /// What a header says, and how many bytes it has taken.
    fn read_whole(bytes: &[u8]) -> (Result<Source, ProxyProtocolError>, usize) {
        let (read, taken) = fed(bytes, usize::MAX);
        (read.expect("more is asked for than there is"), taken)
    }

    #[test]
    fn headers_of_both_versions_are_read_to_their_end() {
        let v6 = [&Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).octets()[..], &[0; 20]].concat();
        for (header, expected) in [
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 80\r\n".to_vec(), ip("192.0.2.1")),
            (b"PROXY TCP6 2001:db8::1 2001:db8::2 65535 0\r\n".to_vec(), ip("2001:db8::1")),
            (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n".to_vec(), ip("192.0.2.1")),
            (b"PROXY UNKNOWN\r\n".to_vec(), Source::Proxy),
            (b"PROXY UNKNOWN whatever is here\r\n".to_vec(), Source::Proxy),
            ([&b"PROXY UNKNOWN "[..], &[b'x'; MAX_LINE_BYTES - 16], b"\r\n"].concat(), Source::Proxy),
            (v4([192, 0, 2, 1], b""), ip("192.0.2.1")),
            (v4([192, 0, 2, 1], &[0x03, 0, 4, 1, 2, 3, 4]), ip("192.0.2.1")),
            (v4([192, 0, 2, 1], &[0; MAX_HEADER_BYTES - FIXED_BYTES - 12]), ip("192.0.2.1")),
            (binary(PROXY, TCP6, &v6), ip("2001:db8::1")),
            (binary(PROXY, UNIX, &[0; 216]), Source::Proxy),
            (binary(PROXY, UNSPECIFIED, b""), Source::Proxy),
            (binary(LOCAL, UNSPECIFIED, b""), Source::Proxy),
            (binary(LOCAL, TCP4, &[192, 0, 2, 1, 10, 0, 0, 1, 0, 1, 0, 2]), Source::Proxy),
        ] {
            assert_eq!(read_whole(&header), (Ok(expected), header.len()), "{:?}", String::from_utf8_lossy(&header));
        }
    }

    #[test]
    fn what_is_no_header_is_said_to_be_none_as_soon_as_that_is_known() {
        for (bytes, word) in [
            (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "does not begin"),
            (b"\r\n\r\nGET /".to_vec(), "does not begin"),
            (b"proxy TCP4 192.0.2.1 10.0.0.1 1 2\r\n".to_vec(), "does not begin"),
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 1\r\n".to_vec(), "two addresses"),
            (b"PROXY TCP4 192.0.2.1  10.0.0.1 1 2\r\n".to_vec(), "two addresses"),
            (b"PROXY TCP4 ::1 ::1 1 2\r\n\r\n\r\n".to_vec(), "two addresses"),
            (b"PROXY TCP6 192.0.2.1 10.0.0.1 1 2\r\n".to_vec(), "two addresses"),
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 +1 2\r\n".to_vec(), "two addresses"),
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 1 65536\r\n".to_vec(), "two addresses"),
            (b"PROXY UDP4 192.0.2.1 10.0.0.1 1 2\r\n".to_vec(), "two addresses"),
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 1 2\nGET /".to_vec(), "should"),
            ([&b"PROXY UNKNOWN "[..], &[b'x'; 200]].concat(), "should"),
            // One byte more than the longest line has.
            ([&b"PROXY UNKNOWN "[..], &[b'x'; MAX_LINE_BYTES - 15], b"\r\n"].concat(), "should"),
            (binary(0x11, TCP4, &[0; 12]), "version or command"),
            (binary(0x22, TCP4, &[0; 12]), "version or command"),
            (binary(PROXY, 0x12, &[0; 12]), "other"),
            (binary(PROXY, TCP4, &[0; 11]), "shorter"),
            (binary(PROXY, TCP6, &[0; 35]), "shorter"),
            (v4([192, 0, 2, 1], &[0; MAX_HEADER_BYTES - FIXED_BYTES - 11]), "536"),
        ] {
            let error = read_whole(&bytes).0.unwrap_err().to_string();
            assert!(error.contains(word), "{:?}: {error}", String::from_utf8_lossy(&bytes));
        }
    }

    proptest! {
        #[test]
        fn every_address_arrives_and_nothing_behind_the_header_is_taken(
            client: [u8; 4],
            wide: [u8; 16],
            port: u16,
            extensions in proptest::collection::vec(any::<u8>(), 0..100),
            rest in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let (v4_client, v6_client) = (Ipv4Addr::from(client), Ipv6Addr::from(wide));
            for (header, expected) in [
                (format!("PROXY TCP4 {v4_client} 10.0.0.1 {port} 80\r\n").into_bytes(), v4_client.into()),
                (format!("PROXY TCP6 {v6_client} ::1 {port} 80\r\n").into_bytes(), v6_client.into()),
                (v4(client, &extensions), v4_client.into()),
                (binary(PROXY, TCP6, &[&wide[..], &[0; 20], &extensions].concat()), IpAddr::from(v6_client)),
            ] {
                let (source, taken) = read_whole(&[&header[..], &rest].concat());
                prop_assert_eq!((source, taken), (Ok(Source::Client(expected.to_canonical())), header.len()));
                prop_assert_eq!(parse(&header), Ok(Progress::Complete(Source::Client(expected.to_canonical()))));
            }
        }

        #[test]
        fn whatever_comes_is_no_reason_to_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..600),
            text in "[A-Z0-9.: \r\n]{0,120}",
            start in 0usize..3,
        ) {
            let start = [&b""[..], b"PROXY ", SIGNATURE][start];
            for rest in [&bytes[..], text.as_bytes()] {
                let bytes = [start, rest].concat();
                if let Ok(Progress::Needs(more)) = parse(&bytes) {
                    prop_assert!(more > 0 && bytes.len() + more <= MAX_HEADER_BYTES);
                }
            }
        }
    }
}
