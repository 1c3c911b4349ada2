//! What is a message as it is.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::Value;

use crate::{Json, Payload};

/// What can be sent as it is: strings, which travel as text; `Bytes`, `Vec<u8>` and `&[u8]`, which travel as bytes;
/// numbers, truth values, [`Json`] and `serde_json::Value`, which travel as JSON; and a [`Payload`], of which [`Payload::json`] makes one of every value that serde can write.
///
/// Floats that are no numbers (NaN and the infinities) become `null`, as in JavaScript's JSON.
///
/// What goes to many is written as JSON once, and sent as a `&Payload` or a clone:
///
/// ```
/// # fn send(message: impl p2pt_messaging::IntoPayload) { drop(message.into_payload()) }
/// # fn main() -> Result<(), p2pt_messaging::EncodeError> {
/// use p2pt_messaging::Payload;
///
/// let state = Payload::json(&[1, 2, 3])?;
/// for _ in 0..3 {
///     send(&state);
/// }
/// # Ok(())
/// # }
/// ```
///
/// A type that always travels in the same way may implement it:
///
/// ```
/// use p2pt_messaging::{IntoPayload, Payload};
///
/// struct Greeting {
///     name: String,
/// }
///
/// impl IntoPayload for Greeting {
///     fn into_payload(self) -> Payload {
///         format!("hello, {}", self.name).into()
///     }
/// }
/// ```
// Implemented type by type: behind an implementation for all that is `Into<Payload>`, the compiler would speak of
// `From<T> for Payload` instead of this.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a message as it is",
    label = "neither text, nor bytes, nor a number, nor JSON",
    note = "if it implements `serde::Serialize`, use the method whose name ends in `_json`: `send_json(&value)`, \
            `queue_json(&value)`, `request_json::<Answer>(&value)`, `respond_json(&value)`",
    note = "or send `Payload::json(&value)?`, or implement `IntoPayload` for it; what goes to many is written once: \
            `let payload = Payload::json(&value)?`, and `&payload` is a message"
)]
pub trait IntoPayload {
    /// The message.
    fn into_payload(self) -> Payload;
}

impl IntoPayload for Payload {
    fn into_payload(self) -> Payload {
        self
    }
}

impl IntoPayload for &Payload {
    fn into_payload(self) -> Payload {
        self.clone()
    }
}

macro_rules! text_payload {
    ($($kind:ty: $text:ident => $owned:expr;)*) => {$(
        impl From<$kind> for Payload {
            fn from($text: $kind) -> Self {
                Self::Text($owned)
            }
        }

        impl IntoPayload for $kind {
            fn into_payload(self) -> Payload {
                self.into()
            }
        }
    )*};
}

text_payload! {
    &str: text => text.to_owned();
    String: text => text;
    &String: text => text.clone();
    Cow<'_, str>: text => text.into_owned();
}

macro_rules! bytes_payload {
    ($($kind:ty: $bytes:ident => $owned:expr;)*) => {$(
        impl From<$kind> for Payload {
            fn from($bytes: $kind) -> Self {
                Self::Bytes($owned)
            }
        }

        impl IntoPayload for $kind {
            fn into_payload(self) -> Payload {
                self.into()
            }
        }
    )*};
}

bytes_payload! {
    Bytes: bytes => bytes;
    &Bytes: bytes => bytes.clone();
    Vec<u8>: bytes => bytes.into();
    &Vec<u8>: bytes => Bytes::copy_from_slice(bytes);
    &[u8]: bytes => Bytes::copy_from_slice(bytes);
}

/// Numbers and truth values travel as JSON, which a JavaScript peer reads as what they are. A float that is no number
/// is `null`, as in JavaScript.
macro_rules! json_payload {
    ($($kind:ty: $value:ident => $json:expr;)*) => {$(
        impl From<$kind> for Payload {
            fn from($value: $kind) -> Self {
                Self::Json($json)
            }
        }

        impl IntoPayload for $kind {
            fn into_payload(self) -> Payload {
                self.into()
            }
        }
    )*};
}

macro_rules! number_payload {
    ($($kind:ty)*) => {
        json_payload! { $($kind: value => Value::from(value).into();)* }
    };
}

json_payload! {
    Json: json => json;
    Value: value => value.into();
}

number_payload!(i8 i16 i32 i64 isize u8 u16 u32 u64 usize f32 f64 bool);

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(message: impl IntoPayload) -> Payload {
        message.into_payload()
    }

    #[test]
    fn what_people_type_is_a_payload() {
        let text = String::from("a");
        assert_eq!((payload(&text), payload(text.clone())), (payload("a"), payload(Cow::Borrowed("a"))));
        for (payload, json) in [
            (payload(-1), "-1"),
            (payload(u64::MAX), "18446744073709551615"),
            (payload(0.5), "0.5"),
            (payload(f64::NAN), "null"),
            (payload(f64::NEG_INFINITY), "null"),
            (Payload::json(&f64::INFINITY).unwrap(), "null"),
            (payload(true), "true"),
        ] {
            assert_eq!(payload.as_json().map(ToString::to_string).as_deref(), Some(json));
        }
        for made in
            [payload(vec![1, 2]), payload(&vec![1, 2]), payload(&[1, 2][..]), payload(Bytes::from_static(&[1, 2]))]
        {
            assert_eq!(made.as_bytes().map(|bytes| &bytes[..]), Some(&[1, 2][..]));
        }
        let made = Payload::from("a");
        assert_eq!(payload(&made), made);
        assert_eq!(payload(made), payload("a"));
        assert_eq!("[1]".parse::<Json>().unwrap().to_string(), "[1]");
        assert!("[1".parse::<Json>().is_err());
    }
}
