//! Optional fields of trackers' frames, read as JavaScript would read them: what is odd is converted or passed over, and
//! noted, so that it costs the field at most and never the frame.

use std::fmt;

use serde::de::{MapAccess, SeqAccess};

use crate::error::{Fault, FieldProblem};
use crate::wire::{self, Field, FromField, Number, Seconds, wrong_type};

/// So many odd fields of one frame are noted; a frame with more is as odd without them.
const MAX_ODD_FIELDS: usize = 8;

/// An optional field of a tracker's frame that does not hold what it should, and what was made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OddField {
    /// The path of the field, such as `interval` or `files[3].complete`; empty if the frame as a whole is odd.
    pub field: String,
    /// What is odd about it.
    pub oddity: Oddity,
}

/// What is odd about an optional field, and what was made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Oddity {
    /// It holds something else than it should, which was converted as JavaScript does it.
    Converted(FieldProblem),
    /// It holds something that cannot be converted, so it counts as absent.
    PassedOver(FieldProblem),
    /// Its key is given more than once, and the last one counts, as in JavaScript's `JSON.parse`.
    Repeated,
    /// The frame begins with a byte order mark, which JSON must not; it was passed over.
    ByteOrderMark,
}

impl fmt::Display for OddField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, oddity } = self;
        match oddity {
            Oddity::Converted(problem) => write!(f, "{field}: {problem}, which was converted"),
            Oddity::PassedOver(problem) => write!(f, "{field}: {problem}, which was passed over"),
            Oddity::Repeated => write!(f, "{field}: given more than once, and the last one counts"),
            Oddity::ByteOrderMark => f.write_str("the frame begins with a byte order mark, which was passed over"),
        }
    }
}

/// The odd fields of a frame, the first few of them.
#[derive(Debug, Default)]
pub(crate) struct OddFields(Vec<OddField>);

impl OddFields {
    pub(crate) fn push(&mut self, field: impl Into<String>, oddity: Oddity) {
        let odd = OddField { field: field.into(), oddity };
        if self.0.len() < MAX_ODD_FIELDS && !self.0.contains(&odd) {
            self.0.push(odd);
        }
    }

    pub(crate) fn append(&mut self, others: Self) {
        if self.0.is_empty() {
            *self = others;
            return;
        }
        for OddField { field, oddity } in others.0 {
            self.push(field, oddity);
        }
    }

    /// Adds the odd fields of a value that is held as `field`: a name, or a name with an index.
    #[inline]
    pub(crate) fn extend_inside(&mut self, field: impl fmt::Display, inner: Self) {
        for OddField { field: path, oddity } in inner.0 {
            self.push(format!("{field}.{path}"), oddity);
        }
    }

    /// The value of the optional field `name`, if there is a usable one.
    pub(crate) fn tolerate<T>(&mut self, name: &str, field: Field<T>) -> Option<T> {
        match field {
            Field::Absent | Field::Null => None,
            Field::Valid(value) => Some(value),
            Field::Invalid(fault) => {
                let (path, problem) = fault.inside(name).into_parts();
                self.push(path, Oddity::PassedOver(problem));
                None
            }
        }
    }

    /// The value of the optional field `name`, if there is one or what is there can be converted.
    #[inline]
    pub(crate) fn convert<T>(&mut self, name: &str, field: Field<Lenient<T>>) -> Option<T> {
        match field {
            Field::Absent | Field::Null => None,
            Field::Valid(Lenient::Plain(value)) => Some(value),
            odd => self.convert_odd(name, odd),
        }
    }

    #[cold]
    fn convert_odd<T>(&mut self, name: &str, field: Field<Lenient<T>>) -> Option<T> {
        match self.tolerate(name, field)? {
            Lenient::Plain(value) => Some(value),
            Lenient::Odd(odd) => {
                let (value, problem) = *odd;
                let oddity = if value.is_some() { Oddity::Converted } else { Oddity::PassedOver };
                self.push(name, oddity(problem));
                value
            }
        }
    }

    pub(crate) fn into_vec(self) -> Vec<OddField> {
        self.0
    }
}

/// A value of an optional field, or what JavaScript would make of another value that is there.
#[derive(Debug)]
pub(crate) enum Lenient<T> {
    Plain(T),
    /// What was made of it, and what is odd. Boxed, as it is rare.
    Odd(Box<(Option<T>, FieldProblem)>),
}

/// What JavaScript makes of a value where it expects another type, if that is of use.
pub(crate) trait Convert: FromField {
    fn convert_text(_: &str) -> Option<Self> {
        None
    }

    fn convert_number(_: Number) -> Option<Self> {
        None
    }

    fn convert_bool(_: bool) -> Option<Self> {
        None
    }

    /// What an array or an object stands for.
    fn convert_compound() -> Option<Self> {
        None
    }
}

impl<T: Convert> Lenient<T> {
    #[inline]
    fn new(read: Result<T, Fault>, convert: impl FnOnce() -> Option<T>) -> Self {
        match read {
            Ok(value) => Self::Plain(value),
            Err(fault) => Self::Odd(Box::new((convert(), fault.into_parts().1))),
        }
    }
}

impl<T: Convert> FromField for Lenient<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    #[inline]
    fn from_text(text: &str) -> Result<Self, Fault> {
        Ok(Self::new(T::from_text(text), || T::convert_text(text)))
    }

    #[inline]
    fn from_number(number: Number) -> Result<Self, Fault> {
        Ok(Self::new(T::from_number(number), || T::convert_number(number)))
    }

    #[inline]
    fn from_bool(boolean: bool) -> Result<Self, Fault> {
        Ok(Self::new(T::from_bool(boolean), || T::convert_bool(boolean)))
    }

    fn from_list<'de, A: SeqAccess<'de>>(mut list: A) -> Result<Result<Self, Fault>, A::Error> {
        wire::skip_list(&mut list)?;
        Ok(Ok(Self::new(Err(wrong_type::<T>("an array")), T::convert_compound)))
    }

    fn from_object<'de, A: MapAccess<'de>>(mut object: A) -> Result<Result<Self, Fault>, A::Error> {
        wire::skip_object(&mut object)?;
        Ok(Ok(Self::new(Err(wrong_type::<T>("an object")), T::convert_compound)))
    }
}

/// The number that a text stands for in JavaScript: whole ones in decimal notation, others as JSON writes them. JSON's reader
/// of floats is there anyway, and a second one, that of `str::parse`, would bring a page 12 KB, compressed.
fn number_in(text: &str) -> Option<Number> {
    let text = text.trim();
    let whole = text.parse().map(Number::Whole);
    let negative = whole.or_else(|_| text.parse().map(Number::Negative));
    negative.ok().or_else(|| serde_json::from_slice(text.as_bytes()).ok().map(Number::Float))
}

impl Convert for Seconds {
    fn convert_text(text: &str) -> Option<Self> {
        let number = number_in(text)?;
        Self::from_number(number).ok().or_else(|| Self::convert_number(number))
    }

    /// What is below zero is as soon as can be.
    fn convert_number(_: Number) -> Option<Self> {
        Some(Self(std::time::Duration::ZERO))
    }
}

impl Convert for u32 {
    fn convert_text(text: &str) -> Option<Self> {
        let number = number_in(text)?;
        Self::from_number(number).ok().or_else(|| Self::convert_number(number))
    }

    fn convert_number(number: Number) -> Option<Self> {
        match number {
            // The cast drops the fraction, and saturates.
            Number::Float(count) if count >= 0.0 => Some(count as u32),
            _ => None,
        }
    }
}

/// JavaScript takes a text that is empty, zero or false for none.
impl Convert for String {
    fn convert_number(number: Number) -> Option<Self> {
        match number {
            Number::Whole(0) => None,
            Number::Float(0.0) => None,
            number => Some(number.to_string()),
        }
    }

    fn convert_bool(boolean: bool) -> Option<Self> {
        boolean.then(|| boolean.to_string())
    }
}

/// Why a tracker refuses something: any value but those that JavaScript takes for none.
#[derive(Debug)]
pub(crate) struct Reason(pub(crate) String);

impl FromField for Reason {
    const EXPECTED: &'static str = String::EXPECTED;

    #[inline]
    fn from_text(text: &str) -> Result<Self, Fault> {
        String::from_text(text).map(Self)
    }
}

impl Convert for Reason {
    fn convert_number(number: Number) -> Option<Self> {
        String::convert_number(number).map(Self)
    }

    fn convert_bool(boolean: bool) -> Option<Self> {
        String::convert_bool(boolean).map(Self)
    }

    fn convert_compound() -> Option<Self> {
        Some(Self("no reason that is a text".to_owned()))
    }
}

/// Defines an object of a frame, each field for itself, with keys that may be repeated: of those marked `last` the last
/// one counts and the repetition is noted in `odd`, those marked `once` are unusable then.
macro_rules! lenient_object {
    ($(#[$attribute:meta])* struct $name:ident { $($repeats:ident $field:ident: $type:ty = $key:literal,)+ }) => {
        $(#[$attribute])*
        #[derive(Debug, Default)]
        struct $name {
            $($field: crate::wire::Field<$type>,)+
            odd: crate::lenient::OddFields,
        }

        const _: () = {
            #[allow(non_camel_case_types, reason = "named as the fields are")]
            enum Key { $($field,)+ other_ }

            impl<'de> serde::Deserialize<'de> for Key {
                fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    struct KeyVisitor;
                    impl serde::de::Visitor<'_> for KeyVisitor {
                        type Value = Key;

                        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                            f.write_str("a key")
                        }

                        fn visit_str<E>(self, key: &str) -> Result<Key, E> {
                            Ok(match key {
                                $($key => Key::$field,)+
                                _ => Key::other_,
                            })
                        }
                    }
                    deserializer.deserialize_identifier(KeyVisitor)
                }
            }

            impl crate::wire::FromField for $name {
                const EXPECTED: &'static str = "an object";

                fn from_object<'de, A: serde::de::MapAccess<'de>>(
                    mut object: A,
                ) -> Result<Result<Self, crate::error::Fault>, A::Error> {
                    $(let mut $field: crate::wire::Field<$type> = crate::wire::Field::Absent;)+
                    let mut odd = crate::lenient::OddFields::default();
                    while let Some(key) = object.next_key()? {
                        match key {
                            $(Key::$field => {
                                crate::lenient::lenient_object!(@$repeats odd, object, $field, $key);
                            })+
                            Key::other_ => {
                                object.next_value::<serde::de::IgnoredAny>()?;
                            }
                        }
                    }
                    Ok(Ok(Self { $($field,)+ odd }))
                }
            }
        };
    };
    (@last $odd:ident, $object:ident, $field:ident, $key:literal) => {
        if $field.is_present() {
            $odd.push($key, crate::lenient::Oddity::Repeated);
        }
        $field = $object.next_value()?;
    };
    (@once $odd:ident, $object:ident, $field:ident, $key:literal) => {
        let value = $object.next_value()?;
        $field = if $field.is_present() {
            crate::wire::Field::Invalid(Box::new(crate::error::Fault::new(crate::error::FieldProblem::Duplicate)))
        } else {
            value
        };
    };
}
pub(crate) use lenient_object;
