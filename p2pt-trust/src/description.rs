//! Descriptions that say who made them.
//!
//! Two lines are added to an SDP: `a=p2pt:2 …`, which has the key, and `a=p2pt-sig:…`, which signs all other text. They are
//! the last two lines of the session, before the first `m=`: libdatachannel's answers repeat what they do not know of a
//! media section, and an offerer would find its own signature in the answer of a peer that signs nothing.

use std::borrow::Cow;

use p2pt_proto::PeerId;

use crate::confirmation::Commitment;
use crate::context::Context;
use crate::encoding::{fields, from_base64, sha256, to_base64};
use crate::features::Features;
use crate::key::{NodeIdentity, PublicKey, SIGNATURE_BYTES, Salt};

/// The line by which peers of this library know each other; the version of the wire follows.
const MARK: &str = "a=p2pt:";

/// The line with the signature.
const SIGNATURE: &str = "a=p2pt-sig:";

/// The version that is written, and the first in which descriptions are signed.
const VERSION: u32 = 2;

/// Characters of the signature's line, with its end.
const SIGNATURE_LINE: usize = SIGNATURE.len() + 86 + 2;

/// A description could not be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The text has a mark or a signature already, which are to be added last and once.
    #[error("the description has a line of p2pt or a signature already")]
    Marked,
    /// The context is another peer's, whose id does not follow from this key and salt.
    #[error("the peer id {author} is not that of the key that is to sign")]
    OtherAuthor {
        /// The id in the context.
        author: PeerId,
    },
}

/// A description says who made it, and that does not hold: it was changed on its way, or it is not meant for
/// here.
///
/// Its author is not to be spoken to on the strength of it, and not to be taken for an unsigned peer either, for that is
/// what an attacker would want.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DescriptionError {
    /// The session has more than one line of p2pt.
    #[error("the description has two lines of p2pt, of which one should be")]
    TwoMarks,
    /// There is more than one signature.
    #[error("the description has two signatures, of which one should be")]
    TwoSignatures,
    /// A key is named, and the description is not signed.
    #[error("the description names a key and is not signed with it")]
    SignatureMissing,
    /// The session is signed, and names no key: the line of p2pt is gone, or was cut.
    #[error("the description is signed, and does not name the key: its line of p2pt is gone, or was cut")]
    KeyMissing,
    /// The signature does not end the session, right behind the line of p2pt.
    #[error("the signature of the description is not the last line of the session, behind the line of p2pt")]
    SignatureMisplaced,
    /// The signature is no base64 of 64 bytes and an end of line.
    #[error("the signature of the description is not 86 letters of base64 and the end of a line")]
    SignatureMalformed,
    /// A field of the line of p2pt is not there, is there twice or is no such thing.
    #[error("the field \"{field}\" of the description's line of p2pt is missing, doubled or malformed")]
    Field {
        /// `k` (the key), `s` (the salt), `c` (the commitment) or `f` (features).
        field: char,
    },
    /// The peer id under which the description came is not that of its key: the key is of another peer, who has signed
    /// under an id that it cannot have.
    #[error(
        "the description came under the peer id {claimed}, which is not that of its key {key}: another peer signed it"
    )]
    WrongId {
        /// The id under which it came.
        claimed: PeerId,
        /// The key in it.
        key: PublicKey,
    },
    /// The signature is not one of the named key under this text in this place: the text was changed, or was made for
    /// another swarm or another offer.
    #[error(
        "the signature of the description, by the key {key}, does not hold: it was changed, or is not for this place"
    )]
    BadSignature {
        /// The key in the description.
        key: PublicKey,
    },
}

/// What a description says of its author, once verified.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Described {
    /// Nothing is proven: a JavaScript peer, a peer of version 1, or one whose lines a tracker has taken away.
    Unsigned {
        /// What the line of p2pt says, if there is one. JavaScript peers have none.
        mark: Option<Mark>,
    },
    /// The author has this key, and made the description as it is for this place.
    ///
    /// That the *other end of the channel* is the author is known only once its
    /// [`Confirmation`](crate::Confirmation) is verified.
    Signed(Signed),
}

/// What an unsigned line of p2pt says. A tracker may have written it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The version of the wire.
    pub version: u32,
    /// Features listed.
    pub features: Features,
}

/// What a signed description says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The author's key.
    pub key: PublicKey,
    /// What makes the author's peer id of its key.
    pub salt: Salt,
    /// Of the nonce that the author's confirmation will reveal.
    pub commitment: Commitment,
    /// Features listed.
    pub features: Features,
    /// The version of the wire, 2 or later.
    pub version: u32,
}

/// Marks the description of a node of this library that does not sign: by the line `a=p2pt:1` its peers know which wire it
/// speaks, and that it is no JavaScript.
pub fn mark_description(sdp: &str) -> String {
    let (before, media) = split_session(sdp);
    format!("{before}{MARK}1\r\n{media}")
}

/// Marks and signs a description.
///
/// The nonce behind the commitment is drawn anew for each description and revealed by its confirmation. Whatever is to be
/// changed in the text is changed before.
pub fn sign_description(
    sdp: &str,
    context: &Context,
    identity: &NodeIdentity,
    features: &Features,
    commitment: &Commitment,
) -> Result<String, SignError> {
    if context.author() != identity.peer_id() {
        return Err(SignError::OtherAuthor { author: context.author() });
    }
    if lines(sdp).any(|(_, line)| line.starts_with(SIGNATURE)) || session(sdp).any(|(_, line)| line.starts_with(MARK)) {
        return Err(SignError::Marked);
    }
    let (before, media) = split_session(sdp);
    let [key, salt, commitment] =
        [&identity.public_key().as_bytes()[..], identity.salt().as_bytes(), &commitment.0].map(to_base64);
    let marked = format!("{before}{MARK}{VERSION} f={features} k={key} s={salt} c={commitment}\r\n");
    let signature = identity.key().sign(&signed_bytes(context, &marked, media));
    Ok(format!("{marked}{SIGNATURE}{}\r\n{media}", to_base64(&signature)))
}

/// What the signature signs: the place, and all text before and behind it.
fn signed_bytes(context: &Context, before: &str, behind: &str) -> Vec<u8> {
    let text = sha256(&[before.as_bytes(), behind.as_bytes()]);
    let mut all = context.fields();
    all.push(&text);
    fields("p2pt/sdp/1", &all)
}

/// Reads who made a description, and verifies it.
///
/// `sdp` is the text as it came, opened if it was sealed, and before anything in it is changed; `context` is what the frame
/// says in which it came. What is unsigned is so in the result; what is signed and does not hold is an error.
pub fn verify_description(sdp: &str, context: &Context) -> Result<Described, DescriptionError> {
    let mut marks = session(sdp).filter_map(|(at, line)| Some((at, line, read_mark(line)?)));
    let Some((at, line, (version, words))) = marks.next() else { return unsigned(sdp, None) };
    if marks.next().is_some() {
        return Err(DescriptionError::TwoMarks);
    }
    let features = field(words, 'f')?.map(Features::parse).unwrap_or_default();
    let is_signed = version >= VERSION && words.split(' ').any(|word| word.starts_with("k="));
    if !is_signed {
        return unsigned(sdp, Some(Mark { version, features }));
    }
    let bad = |field: char| DescriptionError::Field { field };
    let key = field(words, 'k')?.and_then(from_base64).ok_or(bad('k'))?;
    let key = PublicKey::from_bytes(key).map_err(|_| bad('k'))?;
    let salt = Salt(field(words, 's')?.and_then(from_base64).ok_or(bad('s'))?);
    let commitment = Commitment(field(words, 'c')?.and_then(from_base64).ok_or(bad('c'))?);

    let (before, after) = sdp.split_at(at + line.len());
    let (signature, media) = split_signature(sdp, before, after)?;
    if key.peer_id(&salt) != context.author() {
        return Err(DescriptionError::WrongId { claimed: context.author(), key });
    }
    if !key.verifies(&signed_bytes(context, before, media), &signature) {
        return Err(DescriptionError::BadSignature { key });
    }
    Ok(Described::Signed(Signed { key, salt, commitment, features, version }))
}

/// What names no key is unsigned, unless its session has a signature: no peer writes that, and what has taken the key away
/// is not to pass for one that has none.
fn unsigned(sdp: &str, mark: Option<Mark>) -> Result<Described, DescriptionError> {
    let is_cut = session(sdp).any(|(_, line)| line.starts_with(SIGNATURE));
    if is_cut { Err(DescriptionError::KeyMissing) } else { Ok(Described::Unsigned { mark }) }
}

/// The signature that stands at the beginning of `after`, and what follows it.
fn split_signature<'a>(
    sdp: &str,
    before: &str,
    after: &'a str,
) -> Result<([u8; SIGNATURE_BYTES], &'a str), DescriptionError> {
    match lines(sdp).filter(|(_, line)| line.starts_with(SIGNATURE)).count() {
        0 => return Err(DescriptionError::SignatureMissing),
        1 => {}
        _ => return Err(DescriptionError::TwoSignatures),
    }
    if !before.ends_with('\n') || !after.starts_with(SIGNATURE) {
        return Err(DescriptionError::SignatureMisplaced);
    }
    let line = after.get(..SIGNATURE_LINE).and_then(|line| line.strip_suffix("\r\n"));
    let text = line.and_then(|line| line.strip_prefix(SIGNATURE)).ok_or(DescriptionError::SignatureMalformed)?;
    let signature = from_base64(text).ok_or(DescriptionError::SignatureMalformed)?;
    let media = &after[SIGNATURE_LINE..];
    if media.is_empty() || media.starts_with("m=") {
        Ok((signature, media))
    } else {
        Err(DescriptionError::SignatureMisplaced)
    }
}

/// The version and the words behind it, of a line of p2pt.
fn read_mark(line: &str) -> Option<(u32, &str)> {
    let rest = line.strip_prefix(MARK)?.trim_end_matches(['\r', '\n']);
    let (version, words) = rest.split_once(' ').unwrap_or((rest, ""));
    // A sign is no digit, though numbers are read with one.
    let is_number = version.bytes().all(|byte| byte.is_ascii_digit());
    Some((version.parse().ok().filter(|_| is_number)?, words))
}

/// What stands behind `name=`, once at most.
fn field(words: &str, name: char) -> Result<Option<&str>, DescriptionError> {
    let mut found = words.split(' ').filter_map(|word| word.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')));
    let first = found.next();
    if found.next().is_some() { Err(DescriptionError::Field { field: name }) } else { Ok(first) }
}

/// Each line with its end, and where it begins.
fn lines(sdp: &str) -> impl Iterator<Item = (usize, &str)> {
    sdp.split_inclusive('\n').scan(0, |at, line| {
        let begin = *at;
        *at += line.len();
        Some((begin, line))
    })
}

/// The lines before the first media section.
fn session(sdp: &str) -> impl Iterator<Item = (usize, &str)> {
    lines(sdp).take_while(|(_, line)| !line.starts_with("m="))
}

/// The session, which ends with a line, and the media sections.
fn split_session(sdp: &str) -> (Cow<'_, str>, &str) {
    let (before, media) = sdp.split_at(session(sdp).map(|(_, line)| line.len()).sum());
    let is_whole = before.is_empty() || before.ends_with('\n');
    (if is_whole { before.into() } else { format!("{before}\r\n").into() }, media)
}

#[cfg(test)]
#[path = "description_tests.rs"]
mod tests;
