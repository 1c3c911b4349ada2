//! How what is said travels: as plain text, or as the P2Chat web app has it.

use p2pt::{IntoPayload, Payload};
use serde::{Deserialize, Serialize};

/// Longer names are cut. A peer names itself, and must not fill the screen by that.
const MAX_NAME_CHARS: usize = 30;

/// What other members understand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// A line is a text, and a name is said once, as the JSON `{"name": …}`. Pages also say `{"typing": true}` while a line
    /// is being written.
    Plain,
    /// Each line is a text that holds the JSON `{"username": …, "message": …}`.
    P2Chat,
}

/// What a message says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    Line {
        text: String,
        name: Option<String>,
    },
    Name(String),
    /// Whether a line is being written, which a terminal does not show.
    Typing,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Typing {
    #[serde(rename = "typing")]
    _is_typing: bool,
}

#[derive(Serialize, Deserialize)]
struct Line {
    username: String,
    message: String,
}

impl Dialect {
    /// The identifier of a room.
    pub(super) fn identifier(self, room: &str) -> String {
        match self {
            Self::Plain => room.to_owned(),
            Self::P2Chat => format!("p2chat{room}"),
        }
    }

    /// A line that the member of this name says.
    pub(super) fn line(self, name: Option<&str>, text: &str) -> Payload {
        match self {
            Self::Plain => text.into_payload(),
            Self::P2Chat => {
                let line = Line { username: name.unwrap_or_default().to_owned(), message: text.to_owned() };
                // Two texts are JSON always.
                serde_json::to_string(&line).unwrap_or_default().into_payload()
            }
        }
    }

    /// What tells a name to those who come; nothing, where each line says it.
    pub(super) fn name(self, name: &str) -> Option<Payload> {
        match self {
            Self::Plain => Payload::json(&Named { name: name.to_owned() }).ok(),
            Self::P2Chat => None,
        }
    }

    pub(super) fn read(self, payload: &Payload) -> Said {
        let text = || payload.as_str().map_or_else(|| format!("({} bytes)", payload.len()), str::to_owned);
        let as_it_is = || Said::Line { text: text(), name: None };
        match self {
            Self::Plain => match payload.as_json() {
                Some(json) => match (json.parse::<Named>(), json.parse::<Typing>()) {
                    (Ok(Named { name }), _) => Said::Name(short_name(&name)),
                    (_, Ok(_)) => Said::Typing,
                    _ => as_it_is(),
                },
                None => as_it_is(),
            },
            Self::P2Chat => match payload.text().map(serde_json::from_str::<Line>) {
                Some(Ok(Line { username, message })) => Said::Line { text: message, name: Some(short_name(&username)) },
                _ => as_it_is(),
            },
        }
    }
}

/// A name on one line, and not too long.
pub(super) fn short_name(name: &str) -> String {
    name.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(MAX_NAME_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_dialect_understands_itself() {
        for dialect in [Dialect::Plain, Dialect::P2Chat] {
            let name = (dialect == Dialect::P2Chat).then(|| "Ann".to_owned());
            let said = dialect.read(&dialect.line(Some("Ann"), "a \"line\""));
            assert_eq!(said, Said::Line { text: "a \"line\"".to_owned(), name });
        }
        let typing = Payload::json(&serde_json::json!({ "typing": true })).unwrap();
        assert_eq!(Dialect::Plain.read(&typing), Said::Typing);
        let told = Dialect::Plain.name("Ann").unwrap();
        assert_eq!(Dialect::Plain.read(&told), Said::Name("Ann".to_owned()));
        assert_eq!(Dialect::P2Chat.name("Ann"), None);
    }

    #[test]
    fn what_is_no_word_of_the_dialect_is_shown_as_it_is() {
        let json = Payload::json(&serde_json::json!({ "name": "Ann", "age": 7 })).unwrap();
        assert!(matches!(Dialect::Plain.read(&json), Said::Line { text, name: None } if text.contains("age")));
        let text = "no JSON".into_payload();
        assert!(matches!(Dialect::P2Chat.read(&text), Said::Line { text, name: None } if text == "no JSON"));
        let bytes = vec![0, 159, 146].into_payload();
        assert!(matches!(Dialect::Plain.read(&bytes), Said::Line { text, name: None } if text == "(3 bytes)"));
    }

    #[test]
    fn a_name_has_one_line_and_an_end() {
        assert_eq!(short_name("  Ann \n of  Cleves "), "Ann of Cleves");
        assert_eq!(short_name(&"x".repeat(1000)).len(), MAX_NAME_CHARS);
    }
}
