//! From JSON to fields and back.
//!
//! A frame is read in one pass, before it is known what kind of frame it is: the key that decides may come last. So a
//! field of the wrong type must not end the reading. It becomes [`Field::Invalid`], and matters only if the kind of
//! frame needs that field.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::{Error as _, Serialize, Serializer};

use crate::error::{DecodeError, DecodeErrorKind, Fault, FieldProblem, shortened};
use crate::id::{InfoHash, OfferId, PeerId};

/// What a frame says about one field.
#[derive(Debug, Default)]
pub(crate) enum Field<T> {
    #[default]
    Absent,
    Null,
    Valid(T),
    /// Boxed, as it is rare and would triple the size of most fields.
    Invalid(Box<Fault>),
}

impl<T: FromField> Field<T> {
    /// The value, if it has to be there.
    pub(crate) fn value(self) -> Result<T, Fault> {
        match self {
            Self::Absent => Err(Fault::new(FieldProblem::Missing)),
            Self::Null => Err(wrong_type::<T>("null")),
            Self::Valid(value) => Ok(value),
            Self::Invalid(fault) => Err(*fault),
        }
    }

    /// The value of the field `name` that has to be there.
    pub(crate) fn required(self, name: &'static str) -> Result<T, Fault> {
        self.value().map_err(|fault| fault.inside(name))
    }

    /// The value of the field `name` that may be left out or `null`.
    pub(crate) fn optional(self, name: &'static str) -> Result<Option<T>, Fault> {
        match self {
            Self::Absent | Self::Null => Ok(None),
            Self::Valid(value) => Ok(Some(value)),
            Self::Invalid(fault) => Err(fault.inside(name)),
        }
    }

    /// The value, if there is a usable one.
    pub(crate) fn valid(self) -> Option<T> {
        match self {
            Self::Valid(value) => Some(value),
            _ => None,
        }
    }

    /// Whether the key occurs in the frame, with any value or `null`.
    pub(crate) fn is_present(&self) -> bool {
        !matches!(self, Self::Absent)
    }

    /// Whether the key occurs in the frame with a value other than `null`.
    pub(crate) fn is_given(&self) -> bool {
        !matches!(self, Self::Absent | Self::Null)
    }
}

/// A JSON number.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Number {
    Whole(u64),
    Negative(i64),
    Float(f64),
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(number) => number.fmt(f),
            Self::Negative(number) => number.fmt(f),
            Self::Float(number) => number.fmt(f),
        }
    }
}

/// A value that a field can hold, made from the JSON types it accepts. The types it does not accept are consumed.
pub(crate) trait FromField: Sized {
    /// What the field should hold, with its article.
    const EXPECTED: &'static str;

    #[inline]
    fn from_text(_: &str) -> Result<Self, Fault> {
        Err(wrong_type::<Self>("a string"))
    }

    #[inline]
    fn from_number(_: Number) -> Result<Self, Fault> {
        Err(wrong_type::<Self>("a number"))
    }

    #[inline]
    fn from_bool(_: bool) -> Result<Self, Fault> {
        Err(wrong_type::<Self>("a boolean"))
    }

    fn from_list<'de, A: SeqAccess<'de>>(mut list: A) -> Result<Result<Self, Fault>, A::Error> {
        skip_list(&mut list)?;
        Ok(Err(wrong_type::<Self>("an array")))
    }

    fn from_object<'de, A: MapAccess<'de>>(mut object: A) -> Result<Result<Self, Fault>, A::Error> {
        skip_object(&mut object)?;
        Ok(Err(wrong_type::<Self>("an object")))
    }
}

pub(crate) fn wrong_type<T: FromField>(found: &'static str) -> Fault {
    Fault::new(FieldProblem::Type { expected: T::EXPECTED, found })
}

pub(crate) fn skip_list<'de, A: SeqAccess<'de>>(list: &mut A) -> Result<(), A::Error> {
    while list.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

pub(crate) fn skip_object<'de, A: MapAccess<'de>>(object: &mut A) -> Result<(), A::Error> {
    while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(())
}

/// Converts the elements of an array up to the first unusable one; what follows that is skipped, not stored.
pub(crate) fn collect<'de, A, R, T>(
    mut list: A,
    convert: impl Fn(R) -> Result<T, Fault>,
) -> Result<Result<Vec<T>, Fault>, A::Error>
where
    A: SeqAccess<'de>,
    R: FromField,
{
    let mut values = Vec::new();
    while let Some(element) = list.next_element::<Field<R>>()? {
        match element.value().and_then(&convert) {
            Ok(value) => values.push(value),
            Err(fault) => {
                skip_list(&mut list)?;
                return Ok(Err(fault.inside(format_args!("[{}]", values.len()))));
            }
        }
    }
    Ok(Ok(values))
}

impl<'de, T: FromField> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor(PhantomData))
    }
}

struct FieldVisitor<T>(PhantomData<T>);

impl<'de, T: FromField> Visitor<'de> for FieldVisitor<T> {
    type Value = Field<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Field<T>, E> {
        Ok(Field::Null)
    }

    fn visit_bool<E>(self, boolean: bool) -> Result<Field<T>, E> {
        Ok(T::from_bool(boolean).into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Field<T>, E> {
        Ok(T::from_number(Number::Whole(number)).into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Field<T>, E> {
        Ok(T::from_number(Number::Negative(number)).into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Field<T>, E> {
        Ok(T::from_number(Number::Float(number)).into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Field<T>, E> {
        Ok(T::from_text(text).into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Field<T>, A::Error> {
        T::from_list(list).map(Field::from)
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Field<T>, A::Error> {
        T::from_object(object).map(Field::from)
    }
}

impl<T> From<Result<T, Fault>> for Field<T> {
    fn from(result: Result<T, Fault>) -> Self {
        match result {
            Ok(value) => Self::Valid(value),
            Err(fault) => Self::Invalid(Box::new(fault)),
        }
    }
}

/// Lets a struct with derived `Deserialize` be a field. (Alone it would also accept an array, field by field.)
macro_rules! object_field {
    ($name:ident) => {
        impl crate::wire::FromField for $name {
            const EXPECTED: &'static str = "an object";

            fn from_object<'de, A: serde::de::MapAccess<'de>>(object: A) -> Result<Result<Self, Fault>, A::Error> {
                <Self as serde::Deserialize>::deserialize(serde::de::value::MapAccessDeserializer::new(object)).map(Ok)
            }
        }
    };
}
pub(crate) use object_field;

/// Reads the one object that a frame is.
pub(crate) fn parse<T: FromField>(frame: &[u8]) -> Result<T, DecodeError> {
    match serde_json::from_slice::<Field<T>>(frame).map_err(|error| DecodeError::new(DecodeErrorKind::json(error)))? {
        Field::Valid(object) => Ok(object),
        Field::Invalid(fault) => Err(DecodeError::new(*fault)),
        Field::Absent | Field::Null => Err(DecodeError::new(wrong_type::<T>("null"))),
    }
}

/// Writes a frame.
pub(crate) fn print(frame: &impl Serialize) -> String {
    print_with(frame, [])
}

/// Writes a frame that carries these descriptions. They are nearly all of it: with room for them, nothing is moved as it
/// grows.
pub(crate) fn print_with<'a>(frame: &impl Serialize, sdps: impl IntoIterator<Item = &'a str>) -> String {
    // Some 95 bytes are around each, and each end of a line in it is escaped by two bytes more.
    let room = sdps.into_iter().map(|sdp| 100 + sdp.len() + sdp.len() / 8).sum::<usize>();
    // Frames come and go; allocators are quicker with sizes that recur.
    let mut text = Vec::with_capacity((256 + room).next_power_of_two());
    serde_json::to_writer(&mut text, frame).expect("strings, numbers and objects keyed by strings always serialise");
    String::from_utf8(text).expect("JSON is UTF-8")
}

impl FromField for String {
    const EXPECTED: &'static str = "a string";

    #[inline]
    fn from_text(text: &str) -> Result<Self, Fault> {
        Ok(text.to_owned())
    }
}

impl FromField for u64 {
    const EXPECTED: &'static str = "a number";

    #[inline]
    fn from_number(number: Number) -> Result<Self, Fault> {
        let found = match number {
            Number::Whole(count) => return Ok(count),
            // The cast saturates, as it should.
            Number::Float(count) if count >= 0.0 && count.fract() == 0.0 => return Ok(count as u64),
            Number::Float(count) => count.to_string(),
            Number::Negative(count) => count.to_string(),
        };
        Err(Fault::new(FieldProblem::Count { found: shortened(&found) }))
    }
}

impl FromField for u32 {
    const EXPECTED: &'static str = u64::EXPECTED;

    #[inline]
    fn from_number(number: Number) -> Result<Self, Fault> {
        u64::from_number(number).map(|count| u32::try_from(count).unwrap_or(u32::MAX))
    }
}

macro_rules! id_field {
    ($($name:ident)*) => {$(
        impl FromField for $name {
            const EXPECTED: &'static str = "a string of 20 code points";

            fn from_text(text: &str) -> Result<Self, Fault> {
                Self::from_wire(text).map_err(Fault::new)
            }
        }

        impl Serialize for BinaryString<$name> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serialize_binary(self.0.as_bytes(), serializer)
            }
        }
    )*};
}
id_field!(InfoHash PeerId OfferId);

/// An id on its way into a frame.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BinaryString<T>(pub(crate) T);

/// Writes each byte as one code point, without the allocation of `to_wire`.
fn serialize_binary<S: Serializer>(bytes: &[u8; 20], serializer: S) -> Result<S::Ok, S::Error> {
    let mut buffer = [0; 40];
    let mut length = 0;
    for byte in bytes {
        length += char::from(*byte).encode_utf8(&mut buffer[length..]).len();
    }
    serializer.serialize_str(std::str::from_utf8(&buffer[..length]).map_err(S::Error::custom)?)
}

/// A time span in seconds. One that is too long decodes as the longest that a [`Duration`] can hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seconds(pub(crate) Duration);

impl FromField for Seconds {
    const EXPECTED: &'static str = "a number of seconds";

    #[inline]
    fn from_number(number: Number) -> Result<Self, Fault> {
        match number {
            Number::Whole(seconds) => Ok(Self(Duration::from_secs(seconds))),
            Number::Float(seconds) if seconds >= 0.0 => {
                Ok(Self(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)))
            }
            Number::Float(_) | Number::Negative(_) => {
                Err(Fault::new(FieldProblem::Negative { found: shortened(&number.to_string()) }))
            }
        }
    }
}

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.subsec_nanos() {
            0 => serializer.serialize_u64(self.0.as_secs()),
            _ => serializer.serialize_f64(self.0.as_secs_f64()),
        }
    }
}

/// What a frame is about.
#[derive(Debug)]
pub(crate) enum Action {
    Announce,
    Scrape,
    Other(String),
}

impl Action {
    pub(crate) const ANNOUNCE: &str = "announce";
    pub(crate) const SCRAPE: &str = "scrape";

    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Announce => Self::ANNOUNCE,
            Self::Scrape => Self::SCRAPE,
            Self::Other(name) => name,
        }
    }
}

impl FromField for Action {
    const EXPECTED: &'static str = "a string";

    #[inline]
    fn from_text(text: &str) -> Result<Self, Fault> {
        Ok(match text {
            Self::ANNOUNCE => Self::Announce,
            Self::SCRAPE => Self::Scrape,
            other => Self::Other(other.to_owned()),
        })
    }
}

/// The two session descriptions that trackers relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SdpType {
    Offer,
    Answer,
}

impl SdpType {
    fn as_str(self) -> &'static str {
        match self {
            Self::Offer => "offer",
            Self::Answer => "answer",
        }
    }
}

impl FromField for SdpType {
    const EXPECTED: &'static str = "\"offer\" or \"answer\"";

    #[inline]
    fn from_text(text: &str) -> Result<Self, Fault> {
        match text {
            "offer" => Ok(Self::Offer),
            "answer" => Ok(Self::Answer),
            other => Err(Fault::unexpected(Self::EXPECTED, other)),
        }
    }
}

/// `{type, sdp}` as received.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(crate) struct RawDescription {
    r#type: Field<SdpType>,
    sdp: Field<String>,
}
object_field!(RawDescription);

impl Field<RawDescription> {
    /// The SDP of a field that has to hold a description of this type; the field has the type's name.
    pub(crate) fn sdp(self, expected: SdpType) -> Result<String, Fault> {
        let name = expected.as_str();
        let raw = self.required(name)?;
        let found = raw.r#type.required("type").map_err(|fault| fault.inside(name))?;
        if found != expected {
            return Err(Fault::unexpected(name, found.as_str()).inside("type").inside(name));
        }
        raw.sdp.required("sdp").map_err(|fault| fault.inside(name))
    }
}

/// `{type, sdp}` to be sent.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Description<'a> {
    r#type: &'static str,
    sdp: &'a str,
}

impl<'a> Description<'a> {
    pub(crate) fn new(sdp_type: SdpType, sdp: &'a str) -> Self {
        Self { r#type: sdp_type.as_str(), sdp }
    }
}
