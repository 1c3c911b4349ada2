//! Fingerprints of remote certificates.

use std::fmt;

use super::{
    error::{Problem, SdpError},
    lines::{Line, Section},
};
use crate::Fingerprint;

/// The hash of a remote certificate, by one of the functions that are trusted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum RemoteFingerprint {
    /// By SHA-256, which every implementation writes.
    Sha256([u8; 32]),
    /// By SHA-384.
    Sha384([u8; 48]),
    /// By SHA-512.
    Sha512([u8; 64]),
}

impl RemoteFingerprint {
    /// Its hash function as descriptions write it: `sha-256`.
    pub(crate) fn hash(&self) -> &'static str {
        match self {
            Self::Sha256(_) => "sha-256",
            Self::Sha384(_) => "sha-384",
            Self::Sha512(_) => "sha-512",
        }
    }

    /// The hash.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Sha256(bytes) => bytes,
            Self::Sha384(bytes) => bytes,
            Self::Sha512(bytes) => bytes,
        }
    }

    /// The same as the fingerprint applications see, which is always by SHA-256.
    pub(crate) fn sha256(&self) -> Option<Fingerprint> {
        match self {
            Self::Sha256(bytes) => Some(Fingerprint(*bytes)),
            Self::Sha384(_) | Self::Sha512(_) => None,
        }
    }

    /// Reads the value of an `a=fingerprint` line: `sha-256 AB:CD:…`, the letters in either case.
    fn parse(value: &str) -> Result<Self, Problem> {
        let mut words = value.split_ascii_whitespace();
        let (hash, hex) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let is = |name: &str| hash.eq_ignore_ascii_case(name);
        if is("sha-256") {
            digits(hex).map(Self::Sha256).ok_or(Problem::Fingerprint { hash: "sha-256", bytes: 32 })
        } else if is("sha-384") {
            digits(hex).map(Self::Sha384).ok_or(Problem::Fingerprint { hash: "sha-384", bytes: 48 })
        } else if is("sha-512") {
            digits(hex).map(Self::Sha512).ok_or(Problem::Fingerprint { hash: "sha-512", bytes: 64 })
        } else {
            Err(Problem::UntrustedHash)
        }
    }
}

impl fmt::Display for RemoteFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.hash())?;
        for (index, byte) in self.bytes().iter().enumerate() {
            write!(f, "{}{byte:02X}", if index == 0 { ' ' } else { ':' })?;
        }
        Ok(())
    }
}

impl fmt::Debug for RemoteFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteFingerprint({self})")
    }
}

/// Reads `N` bytes of two hexadecimal digits each, with colons between them.
fn digits<const N: usize>(hex: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let mut parts = hex.split(':');
    for byte in &mut bytes {
        let part = parts.next()?;
        // A sign is no digit, though the parser takes one.
        if part.len() != 2 || !part.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(bytes)
}

/// The fingerprint in the first of `places` that has a usable one; of several there the first by the strongest hash
/// function. Those that cannot be used are passed over where there is another. `section` is to blame when there is none.
pub(super) fn find(places: &[&Section<'_>], section: Line<'_>) -> Result<RemoteFingerprint, SdpError> {
    let mut error = None;
    for place in places {
        let mut strongest: Option<RemoteFingerprint> = None;
        for line in place.attributes("fingerprint") {
            match RemoteFingerprint::parse(line.value()) {
                Ok(found) if strongest.is_none_or(|other| found.bytes().len() > other.bytes().len()) => {
                    strongest = Some(found);
                }
                Ok(_) => (),
                Err(problem) => error = error.or(Some((problem, line))),
            }
        }
        if let Some(fingerprint) = strongest {
            return Ok(fingerprint);
        }
    }
    let (problem, line) = error.unwrap_or((Problem::Missing("fingerprint"), section));
    Err(problem.at(line))
}
