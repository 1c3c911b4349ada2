//! What a message says.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{EncodeError, InvalidMessage, JsonError, MessageId, json, text};

/// Well-formed JSON text.
///
/// Lone surrogates in it, which Rust's strings cannot hold and serde cannot read, have become U+FFFD. Equality is
/// that of the texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json(String);

impl Json {
    /// Writes a value as JSON.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, EncodeError> {
        serde_json::to_string(value).map(Self).map_err(EncodeError)
    }

    /// Takes text that is JSON already.
    pub fn from_text(text: impl Into<String>) -> Result<Self, JsonError> {
        let mut bytes = text.into().into_bytes();
        json::mend_escapes(&mut bytes);
        let text = String::from_utf8(bytes).expect("mending writes ASCII over ASCII");
        json::check(&text).map_err(JsonError::syntax)?;
        Ok(Self(text))
    }

    /// Reads the value. Fails if it has another shape, lies deeper than serde_json goes (128 levels), or holds a
    /// number out of range.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, JsonError> {
        serde_json::from_str(&self.0).map_err(JsonError::shape)
    }

    /// Reads the value whatever its shape; fails as [`parse`](Self::parse) does.
    pub fn to_value(&self) -> Result<Value, JsonError> {
        self.parse()
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, owned.
    pub fn into_string(self) -> String {
        self.0
    }
}

impl std::fmt::Display for Json {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for Json {
    type Err = JsonError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::from_text(text)
    }
}

impl From<Value> for Json {
    fn from(value: Value) -> Self {
        Self(value.to_string())
    }
}

/// The content of a message: text, or JSON, which the wire distinguishes.
///
/// A JavaScript peer gets text as a string and JSON parsed. It sends strings as text, and objects, arrays and `null`
/// as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// A string.
    Text(String),
    /// A JSON value.
    Json(Json),
}

impl Payload {
    /// A value as JSON.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, EncodeError> {
        Json::of(value).map(Self::Json)
    }

    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Json(_) => None,
        }
    }

    /// The JSON, if it is that.
    pub fn as_json(&self) -> Option<&Json> {
        match self {
            Self::Text(_) => None,
            Self::Json(json) => Some(json),
        }
    }

    /// Reads the content into a type of the application's; a text is read as a JSON string.
    ///
    /// # Errors
    /// If the content does not fit the type.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, JsonError> {
        match self {
            Self::Text(text) => T::deserialize(serde::de::value::StrDeserializer::new(text)).map_err(JsonError::shape),
            Self::Json(json) => json.parse(),
        }
    }

    /// What travels: the text itself, or the JSON text.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Json(json) => json.as_str(),
        }
    }

    /// Makes a payload of a message's joined WTF-8.
    pub(crate) fn from_wire(mut bytes: Vec<u8>, is_json: bool) -> Result<Self, InvalidMessage> {
        if !is_json {
            return Ok(Self::Text(text::into_text(bytes).ok_or(InvalidMessage::NotUtf8)?));
        }
        json::mend_escapes(&mut bytes);
        let text = text::into_text(bytes).ok_or(InvalidMessage::NotUtf8)?;
        json::check(&text).map_err(|error| InvalidMessage::NotJson(error.to_string()))?;
        Ok(Self::Json(Json(text)))
    }
}

impl From<&str> for Payload {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Payload {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&String> for Payload {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl From<std::borrow::Cow<'_, str>> for Payload {
    fn from(text: std::borrow::Cow<'_, str>) -> Self {
        Self::Text(text.into_owned())
    }
}

/// Numbers and truth values travel as JSON, which a JavaScript peer reads as what they are. A float that is no number is
/// `null`, as in JavaScript.
macro_rules! json_payload {
    ($($kind:ty)*) => {$(
        impl From<$kind> for Payload {
            fn from(value: $kind) -> Self {
                Value::from(value).into()
            }
        }
    )*};
}

json_payload!(i8 i16 i32 i64 isize u8 u16 u32 u64 usize f32 f64 bool);

impl From<Value> for Payload {
    fn from(value: Value) -> Self {
        Self::Json(value.into())
    }
}

impl From<Json> for Payload {
    fn from(json: Json) -> Self {
        Self::Json(json)
    }
}

/// A message received whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its id, which a response bears too.
    pub id: MessageId,
    /// Its content.
    pub payload: Payload,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_is_read_as_any_type_and_mended() {
        assert_eq!(Json::of("a\"é").unwrap().as_str(), r#""a\"é""#);
        assert_eq!(Json::of(&[Some(1), None]).unwrap().parse::<Vec<Option<u8>>>().unwrap(), [Some(1), None]);
        assert_eq!(Json::from(json!({ "a": [1] })).to_value().unwrap(), json!({ "a": [1] }));
        assert!(Json::from_text("{").is_err());
        assert!(Json::from_text("1e999").unwrap().to_value().is_err());
        let mended = Json::from_text(r#" ["\ud83d", "\ude00\ud83d\ude00", "\\ud83d"] "#).unwrap();
        assert_eq!(mended.as_str(), r#" ["\ufffd", "\ufffd\ud83d\ude00", "\\ud83d"] "#);
        assert_eq!(mended.to_value().unwrap(), json!(["\u{fffd}", "\u{fffd}😀", "\\ud83d"]));
    }

    #[test]
    fn what_people_type_is_a_payload() {
        let text = String::from("a");
        assert_eq!((Payload::from(&text), Payload::from(text.clone())), (Payload::from("a"), Payload::from("a")));
        for (payload, json) in [
            (Payload::from(-1), "-1"),
            (Payload::from(u64::MAX), "18446744073709551615"),
            (Payload::from(0.5), "0.5"),
            (Payload::from(f64::NAN), "null"),
            (Payload::from(true), "true"),
        ] {
            assert_eq!(payload.as_json().map(ToString::to_string).as_deref(), Some(json));
        }
        assert_eq!("[1]".parse::<Json>().unwrap().to_string(), "[1]");
        assert!("[1".parse::<Json>().is_err());
    }

    #[test]
    fn a_value_that_is_no_json_is_an_error() {
        let map = std::collections::BTreeMap::from([((1, 2), 3)]);
        assert!(Payload::json(&map).is_err());
    }

    #[test]
    fn text_and_json_stay_apart() {
        assert_eq!(Payload::from("1").text(), Some("1"));
        assert_eq!(Payload::from("1").as_json(), None);
        assert_eq!(Payload::from(json!("1")).text(), None);
        assert_eq!(Payload::from(json!("1")).as_str(), "\"1\"");
        assert_ne!(Payload::from("1"), Payload::from(json!(1)));
    }
}
