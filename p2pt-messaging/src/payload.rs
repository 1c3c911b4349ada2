//! What a message says.

use bytes::Bytes;
use serde::de::value::{BytesDeserializer, StrDeserializer};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{DecodeError, EncodeError, InvalidMessage, JsonError, MessageId, json, text};

/// Well-formed JSON text.
///
/// Lone surrogates in it, which Rust's strings cannot hold and serde cannot read, have become U+FFFD. Equality is
/// that of the texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json(String);

impl Json {
    /// Writes a value as JSON.
    ///
    /// # Errors
    /// Its `Serialize` fails, or it has a map key that JSON cannot hold.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, EncodeError> {
        serde_json::to_string(value).map(Self).map_err(EncodeError)
    }

    /// Takes text that is JSON already.
    ///
    /// # Errors
    /// The text is not one JSON value.
    pub fn from_text(text: impl Into<String>) -> Result<Self, JsonError> {
        let mut bytes = text.into().into_bytes();
        json::mend_escapes(&mut bytes);
        let text = String::from_utf8(bytes).expect("mending writes ASCII over ASCII");
        json::check(&text).map_err(JsonError)?;
        Ok(Self(text))
    }

    /// Reads the value.
    ///
    /// # Errors
    /// It has another shape, lies deeper than serde_json goes (128 levels), or holds a number out of range.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        serde_json::from_str(&self.0).map_err(DecodeError::of::<T>)
    }

    /// Reads the value whatever its shape.
    ///
    /// # Errors
    /// It lies too deep or holds a number out of range, see [`parse`](Self::parse).
    pub fn to_value(&self) -> Result<Value, DecodeError> {
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

/// The content of a message: text, JSON or bytes, which the wire distinguishes.
///
/// A JavaScript peer gets text as a string and JSON parsed. It sends strings as text, and objects, arrays and `null`
/// as JSON. Bytes travel between peers that both speak p2pt/2 alone.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Payload {
    /// A string.
    Text(String),
    /// A JSON value.
    Json(Json),
    /// Bytes, shared and not copied by a clone.
    Bytes(Bytes),
}

impl Payload {
    /// A value as JSON.
    ///
    /// # Errors
    /// See [`Json::of`].
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, EncodeError> {
        Json::of(value).map(Self::Json)
    }

    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The JSON, if it is that.
    pub fn as_json(&self) -> Option<&Json> {
        match self {
            Self::Json(json) => Some(json),
            _ => None,
        }
    }

    /// The bytes, if it is that: what was sent as bytes, and neither text nor JSON.
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Reads it into a type of the application's; text is taken as a JSON string, and bytes are no such type.
    ///
    /// # Errors
    /// See [`Json::parse`].
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        match self {
            Self::Text(text) => T::deserialize(StrDeserializer::new(text)).map_err(DecodeError::of::<T>),
            Self::Json(json) => json.parse(),
            Self::Bytes(bytes) => T::deserialize(BytesDeserializer::new(bytes)).map_err(DecodeError::of::<T>),
        }
    }

    /// What travels, if it is text or JSON: the text itself, or the JSON text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Json(json) => Some(json.as_str()),
            Self::Bytes(_) => None,
        }
    }

    /// The size in bytes of what travels.
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Json(json) => json.as_str().len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }

    /// Whether what travels is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What travels; text and JSON are taken over without a copy.
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Text(text) => text.into(),
            Self::Json(json) => json.into_string().into(),
            Self::Bytes(bytes) => bytes,
        }
    }

    /// Text that came as UTF-8; taken over without a copy where nothing else shares it.
    ///
    /// # Errors
    /// [`InvalidMessage::NotUtf8`].
    pub fn of_text(bytes: Bytes) -> Result<Self, InvalidMessage> {
        Self::from_wire(bytes.into(), false)
    }

    /// JSON that came as UTF-8; taken over without a copy where nothing else shares it.
    ///
    /// # Errors
    /// [`InvalidMessage::NotUtf8`], [`InvalidMessage::NotJson`].
    pub fn of_json(bytes: Bytes) -> Result<Self, InvalidMessage> {
        Self::from_wire(bytes.into(), true)
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
    fn a_value_that_is_no_json_is_an_error() {
        let map = std::collections::BTreeMap::from([((1, 2), 3)]);
        assert!(Payload::json(&map).is_err());
    }

    #[test]
    fn what_is_read_is_of_the_type_or_an_error_that_names_it_and_quotes_little() {
        assert_eq!(Payload::json(&[1, 2]).unwrap().parse::<Vec<u8>>().unwrap(), [1, 2]);
        assert_eq!(Payload::from("text").parse::<String>().unwrap(), "text", "JavaScript sends strings as text");
        let long = Payload::json(&"secret".repeat(10_000)).unwrap();
        for error in
            [long.parse::<u8>().unwrap_err(), Payload::from(long.as_str().expect("JSON")).parse::<u8>().unwrap_err()]
        {
            let texts = [error.to_string(), format!("{error:?}")];
            assert!(texts.iter().all(|text| text.contains("u8") && text.len() < 400), "{texts:?}");
            assert!(std::error::Error::source(&error).is_none(), "its text says it already, within bounds");
            assert!(error.serde_error().is_data() && error.serde_error().to_string().len() > 60_000);
        }
    }

    #[test]
    fn text_and_json_stay_apart() {
        assert_eq!(Payload::from("1").text(), Some("1"));
        assert_eq!(Payload::from("1").as_json(), None);
        assert_eq!(Payload::from(json!("1")).text(), None);
        assert_eq!(Payload::from(json!("1")).as_str(), Some("\"1\""));
        assert_ne!(Payload::from("1"), Payload::from(json!(1)));
    }
}
