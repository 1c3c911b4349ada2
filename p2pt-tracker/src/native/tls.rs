//! Which certificates of trackers are trusted, and what is said of those that are not.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};
use thiserror::Error as ThisError;

use crate::ConnectError;

/// How many of the names that a certificate is for are listed.
const MAX_NAMES: usize = 8;
/// How long what is said of a certificate may be: its names are the remote's words.
const MAX_WORDS: usize = 600;

/// TLS with these certificate authorities, and with certificates that servers may show though no authority vouches for
/// them. The provider is named here, since asking for the process-wide default panics where another crate has set none.
pub(crate) fn tls_config(roots: RootCertStore, given: Vec<CertificateDer<'static>>) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(Verifier::new(roots, given, provider.clone()));
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has the cipher suites of TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Arc::new(config)
}

/// The verifier of webpki, with one exception: a certificate that was given as trusted and is the
/// server's own is trusted. webpki refuses it if it says that it is an authority's, as those of plain `openssl req -x509` do.
#[derive(Debug)]
struct Verifier {
    webpki: Arc<WebPkiServerVerifier>,
    given: Vec<CertificateDer<'static>>,
}

impl Verifier {
    fn new(roots: RootCertStore, given: Vec<CertificateDer<'static>>, provider: Arc<CryptoProvider>) -> Self {
        let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .expect("there are roots, and no revocation lists");
        Self { webpki, given }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let refused = match self.webpki.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Ok(verified) => return Ok(verified),
            Err(refused) => refused,
        };
        let Some(facts) = Facts::of(end_entity) else { return Err(refused) };
        if self.given.iter().any(|given| given == end_entity) {
            // It is the very certificate that was given, byte for byte, so who has signed it does not matter; that the
            // server has its key shows the signature of the handshake.
            facts.check_validity(now)?;
            verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            return Ok(ServerCertVerified::assertion());
        }
        let is_untrusted = matches!(refused, Error::InvalidCertificate(CertificateError::UnknownIssuer));
        let is_authority = refused.to_string().contains("CaUsedAsEndEntity");
        Err(match () {
            () if facts.issuer == facts.subject && (is_untrusted || is_authority) => Problem::SelfSigned.into(),
            () if is_authority => Problem::Authority.into(),
            () => refused,
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

/// What webpki has no words of its own for.
#[derive(Debug, Clone, Copy, ThisError)]
enum Problem {
    #[error(
        "the tracker's certificate is self-signed, so that no authority vouches for it; if it is the one that it should be, give \
         this certificate itself as a root certificate"
    )]
    SelfSigned,
    #[error(
        "the tracker shows a certificate that is for an authority and not for a server; its operator has to use one \
         that the authority has signed, or this certificate itself is given as a root certificate"
    )]
    Authority,
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        CertificateError::Other(OtherError(Arc::new(problem))).into()
    }
}

/// What tokio-rustls says when the other side hangs up in the handshake.
pub(crate) const HANDSHAKE_EOF: &str = "tls handshake eof";

/// The same, for people.
pub(crate) const CLOSED_IN_HANDSHAKE: &str = "the connection was closed in the handshake; a port that does not speak TLS may do so, \
                                              and its URL begins with ws://";

/// Says what is wrong, and what can be done about it, to people who do not know what TLS calls it.
pub(crate) fn explain(error: &Error) -> ConnectError {
    let words = match error {
        Error::InvalidMessage(_) => return ConnectError::PlainPort,
        Error::InvalidCertificate(problem) => explain_certificate(problem),
        Error::AlertReceived(alert) => format!("the tracker has ended the TLS handshake: {alert:?}"),
        Error::PeerIncompatible(reason) => {
            format!("the tracker speaks neither TLS 1.2 nor 1.3 as this library does: {reason:?}")
        }
        other => other.to_string(),
    };
    let words = super::http_answer::shown(&words, MAX_WORDS);
    if is_untrusted(error) { ConnectError::Untrusted(words) } else { ConnectError::Tls(words) }
}

/// Whether a root certificate that is given makes it good.
fn is_untrusted(error: &Error) -> bool {
    match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => true,
        Error::InvalidCertificate(CertificateError::Other(OtherError(problem))) => problem.is::<Problem>(),
        _ => false,
    }
}

fn explain_certificate(problem: &CertificateError) -> String {
    match problem {
        CertificateError::Expired => "the tracker's certificate has expired; its operator has to renew it".to_owned(),
        CertificateError::ExpiredContext { time, not_after } => format!(
            "the tracker's certificate has expired on {}; its operator has to renew it, unless the clock of this machine, \
             which says {}, is wrong",
            Day(*not_after),
            Day(*time)
        ),
        CertificateError::NotValidYet => "the tracker's certificate is not valid yet".to_owned(),
        CertificateError::NotValidYetContext { time, not_before } => format!(
            "the tracker's certificate is not valid before {}; most likely the clock of this machine, which says {}, is \
             wrong",
            Day(*not_before),
            Day(*time)
        ),
        CertificateError::UnknownIssuer => {
            "the tracker's certificate is signed by an authority that is not trusted here; if it is a private one, give the \
             authority's certificate as a root certificate"
                .to_owned()
        }
        CertificateError::NotValidForNameContext { expected, presented } if presented.is_empty() => format!(
            "the tracker's certificate names no host as certificates have to, in a subjectAltName; its operator has to make \
             one that is for {} (the common name, CN, does not count)",
            expected.to_str()
        ),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names = presented.iter().map(|name| plain_name(name)).take(MAX_NAMES).collect::<Vec<_>>().join(", ");
            let more = if presented.len() > MAX_NAMES { " and others" } else { "" };
            format!(
                "the tracker's certificate is for {names}{more} and not for {}; the tracker may have another URL",
                expected.to_str()
            )
        }
        CertificateError::BadSignature => {
            "a signature is wrong: the tracker has not the key of the certificate that it shows, or the certificate is not \
             signed as it says"
                .to_owned()
        }
        CertificateError::BadEncoding => "the tracker's certificate is broken; its operator has to make another".to_owned(),
        CertificateError::Revoked => "the tracker's certificate is revoked; its operator has to get another".to_owned(),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the tracker's certificate is not for servers; its operator has to get one that is".to_owned()
        }
        CertificateError::Other(OtherError(problem)) if problem.is::<Problem>() => problem.to_string(),
        other => format!("the tracker's certificate is refused: {other}"),
    }
}

/// webpki writes a name as `DnsName("a.example")`.
fn plain_name(name: &str) -> &str {
    let quoted = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    quoted.map_or(name, |quoted| quoted.trim_matches('"'))
}

/// A day of the common calendar, in UTC.
struct Day(UnixTime);

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Years that begin in March, so that a leap day is the last of its year; in 400 years are 146,097 days.
        let days = self.0.as_secs() / 86_400 + 719_468;
        let (era, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (year * 365 + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
        let year = era * 400 + year + u64::from(month <= 2);
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

/// What a certificate says of itself and webpki checks without handing it out (RFC 5280, 4.1).
#[derive(Debug, PartialEq, Eq)]
struct Facts<'a> {
    issuer: &'a [u8],
    not_before: UnixTime,
    not_after: UnixTime,
    subject: &'a [u8],
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xa0;

impl<'a> Facts<'a> {
    fn of(certificate: &'a [u8]) -> Option<Self> {
        let (mut certificate, _) = element(certificate, SEQUENCE)?;
        let mut body = take(&mut certificate, SEQUENCE)?;
        if body.first() == Some(&VERSION) {
            take(&mut body, VERSION)?;
        }
        take(&mut body, INTEGER)?;
        take(&mut body, SEQUENCE)?;
        let issuer = take(&mut body, SEQUENCE)?;
        let mut validity = take(&mut body, SEQUENCE)?;
        let (not_before, not_after) = (time(&mut validity)?, time(&mut validity)?);
        let subject = take(&mut body, SEQUENCE)?;
        Some(Self { issuer, not_before, not_after, subject })
    }

    fn check_validity(&self, now: UnixTime) -> Result<(), Error> {
        let &Self { not_before, not_after, .. } = self;
        if now < not_before {
            Err(CertificateError::NotValidYetContext { time: now, not_before }.into())
        } else if now > not_after {
            Err(CertificateError::ExpiredContext { time: now, not_after }.into())
        } else {
            Ok(())
        }
    }
}

/// The contents of the DER element of this type at the beginning, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        // The length is in the next one to four bytes.
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(length - 0x80))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    (first == tag).then(|| rest.split_at_checked(length))?
}

fn take<'a>(bytes: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let (contents, rest) = element(bytes, tag)?;
    *bytes = rest;
    Some(contents)
}

/// A time as certificates have it: two digits of the year until 2049, then four; in UTC, with seconds.
fn time(bytes: &mut &[u8]) -> Option<UnixTime> {
    let tag = *bytes.first().filter(|tag| matches!(**tag, UTC_TIME | GENERALIZED_TIME))?;
    let text = std::str::from_utf8(take(bytes, tag)?).ok()?.strip_suffix('Z')?;
    let (year, rest) = text.split_at_checked(if tag == UTC_TIME { 2 } else { 4 })?;
    if rest.len() != 10 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let year: u64 = year.parse().ok()?;
    let year = match tag {
        UTC_TIME if year < 50 => 2000 + year,
        UTC_TIME => 1900 + year,
        _ => year,
    };
    let mut two = (0..5).map(|index| rest[2 * index..2 * index + 2].parse::<u64>().ok());
    let mut next = || two.next()?;
    let date = [year, next()?, next()?, next()?, next()?, next()?];
    // What was valid before 1970 is so from its beginning.
    let seconds = if year < 1970 { 0 } else { super::http_answer::seconds_since_1970(date)? };
    Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rustls::pki_types::pem::PemObject as _;

    use super::*;

    fn made_by_openssl() -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(include_bytes!("../../tests/certificates/self-signed.pem")).unwrap()
    }

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    #[test]
    fn a_certificate_says_who_signed_it_and_when_it_is_valid() {
        let certificate = made_by_openssl();
        let facts = Facts::of(&certificate).unwrap();
        assert_eq!(facts.issuer, facts.subject);
        assert!(facts.subject.ends_with(b"localhost"));
        assert_eq!(
            (Day(facts.not_before).to_string(), Day(facts.not_after).to_string()),
            ("2020-01-01".into(), "2120-01-01".into())
        );
        let (from, until) = (facts.not_before.as_secs(), facts.not_after.as_secs());
        let valid = |seconds| facts.check_validity(at(seconds)).is_ok();
        assert_eq!([from - 1, from, until, until + 1].map(valid), [false, true, true, false]);
    }

    #[test]
    fn times_have_two_digits_of_the_year_or_four() {
        let read = |tag: u8, text: &str| {
            let bytes = [&[tag, text.len() as u8], text.as_bytes()].concat();
            time(&mut &bytes[..]).map(|time| (time.as_secs(), Day(time).to_string()))
        };
        for (tag, text, expected) in [
            (UTC_TIME, "941106084937Z", Some((784_111_777, "1994-11-06"))),
            (UTC_TIME, "491231235959Z", Some((2_524_607_999, "2049-12-31"))),
            (UTC_TIME, "500101000000Z", Some((0, "1970-01-01"))),
            (GENERALIZED_TIME, "20000229000000Z", Some((951_782_400, "2000-02-29"))),
            (GENERALIZED_TIME, "99991231235959Z", Some((253_402_300_799, "9999-12-31"))),
            (UTC_TIME, "9411060849Z", None),
            (UTC_TIME, "941306084937Z", None),
            (UTC_TIME, "941106084937", None),
            (GENERALIZED_TIME, "+0000229000000Z", None),
            (0x13, "941106084937Z", None),
        ] {
            assert_eq!(read(tag, text), expected.map(|(seconds, day)| (seconds, day.to_owned())), "{text}");
        }
    }

    #[test]
    fn names_are_listed_and_what_is_said_stays_short() {
        let names = |count: usize| CertificateError::NotValidForNameContext {
            expected: ServerName::try_from("a.example").unwrap(),
            presented: (0..count).map(|n| format!("DnsName(\"{n}.example\")")).collect(),
        };
        let words = |problem: CertificateError| match explain(&problem.into()) {
            ConnectError::Tls(words) => words,
            other => panic!("{other:?}"),
        };
        let two = words(names(2));
        assert!(
            two.starts_with("the tracker's certificate is for 0.example, 1.example and not for a.example"),
            "{two}"
        );
        assert!(words(names(100)).contains("7.example and others and not for"));
        let long = CertificateError::NotValidForNameContext {
            expected: ServerName::try_from("a.example").unwrap(),
            presented: vec!["x\n".repeat(10_000)],
        };
        let long = words(long);
        assert!(long.chars().count() <= MAX_WORDS + 1 && !long.contains(char::is_control));
    }

    proptest! {
        #[test]
        fn a_broken_certificate_is_no_danger(
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            cut: prop::sample::Index,
            bytes in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            let mut certificate = made_by_openssl().to_vec();
            for (index, byte) in damage {
                // Most of a certificate is its key and its signature.
                *index.get_mut(&mut certificate[..200]) = byte;
            }
            let _ = Facts::of(&certificate);
            let _ = Facts::of(&certificate[..cut.index(certificate.len())]);
            let _ = Facts::of(&bytes);
            let _ = time(&mut &bytes[..]);
        }
    }
}
