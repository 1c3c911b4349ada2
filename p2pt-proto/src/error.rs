//! What can be wrong with a frame, and where.

use std::fmt;

use crate::id::InfoHash;
use crate::wire::Action;

/// The longest part of a remote string, in characters, that an error repeats.
const QUOTED_CHARS: usize = 40;

/// A text that is not an id in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdParseError {
    /// The text is not 40 characters long.
    #[error("expected 40 hexadecimal digits, found {found} characters")]
    Length {
        /// Characters found.
        found: usize,
    },
    /// A character is not a hexadecimal digit.
    #[error("{found:?} at position {position} is not a hexadecimal digit")]
    Digit {
        /// The offending character.
        found: char,
        /// Its position, in characters from 0.
        position: usize,
    },
}

/// A string that is not an id as it travels in a frame: 20 code points, each standing for one byte.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdWireError {
    /// The string is not 20 code points long.
    #[error("expected 20 code points, found {found}")]
    Length {
        /// Code points found.
        found: usize,
    },
    /// A code point stands for no byte.
    #[error("code point U+{:04X} at position {position} is above U+00FF", u32::from(*found))]
    CodePoint {
        /// The offending code point.
        found: char,
        /// Its position, in code points from 0.
        position: usize,
    },
}

/// A frame that could not be decoded.
///
/// Where the frame was readable enough, its action and info hash are kept, so that a server can answer with them.
#[derive(Debug, thiserror::Error)]
#[error("{kind}")]
pub struct DecodeError {
    kind: DecodeErrorKind,
    action: Option<String>,
    info_hash: Option<InfoHash>,
}

impl DecodeError {
    pub(crate) fn new(kind: impl Into<DecodeErrorKind>) -> Self {
        Self { kind: kind.into(), action: None, info_hash: None }
    }

    pub(crate) fn with_context(mut self, action: Option<Action>, info_hash: Option<InfoHash>) -> Self {
        self.action = action.map(|action| action.name().to_owned());
        self.info_hash = info_hash;
        self
    }

    /// What is wrong.
    pub fn kind(&self) -> &DecodeErrorKind {
        &self.kind
    }

    /// The path of the field that is wrong, such as `offers[2].offer.sdp`; none if the frame as a whole is, or its JSON.
    ///
    /// The entries of an object that is keyed by info hash count from 0, as in `files[3].complete`.
    pub fn field(&self) -> Option<&str> {
        match &self.kind {
            DecodeErrorKind::Field { path, .. } => Some(path),
            DecodeErrorKind::UnknownAction { .. } => Some("action"),
            _ => None,
        }
    }

    /// The frame's action, if it could be read; any text a remote chose, of any length.
    pub fn action(&self) -> Option<&str> {
        self.action.as_deref()
    }

    /// The frame's info hash, if it has a valid one.
    pub fn info_hash(&self) -> Option<InfoHash> {
        self.info_hash
    }
}

/// What is wrong with a frame.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// The bytes are not one JSON value: broken syntax, invalid UTF-8, a lone surrogate, something after the end, too
    /// deep nesting, or a key of the protocol given twice.
    #[error("bad JSON: {0}")]
    Json(#[source] JsonError),
    /// The bytes are a JSON value other than an object.
    #[error("expected an object, found {found}")]
    NotAnObject {
        /// The type of the value.
        found: &'static str,
    },
    /// A field is missing or unusable.
    #[error("{path}: {problem}")]
    Field {
        /// The path of the field, such as `offers[2].offer.sdp`.
        path: String,
        /// What is wrong with it.
        problem: FieldProblem,
    },
    /// A peer asks a tracker for something this protocol does not have.
    #[error("action: unknown action {found:?}")]
    UnknownAction {
        /// The action, shortened if it is long.
        found: String,
    },
}

/// Where and why a frame is not JSON. The text says so with line and column.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct JsonError(serde_json::Error);

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FieldProblem {
    /// The field is required and absent.
    #[error("missing")]
    Missing,
    /// The field holds a value of another type.
    #[error("expected {expected}, found {found}")]
    Type {
        /// What the field should hold.
        expected: &'static str,
        /// The type of the value it holds.
        found: &'static str,
    },
    /// The field holds a text that is not one of those it may hold.
    #[error("expected {expected}, found {found:?}")]
    Value {
        /// What the field should hold.
        expected: &'static str,
        /// The text, shortened if it is long.
        found: String,
    },
    /// A count is negative or has a fraction.
    #[error("expected a whole number not below zero, found {found}")]
    Count {
        /// The number as a text.
        found: String,
    },
    /// A time span is negative.
    #[error("expected a number not below zero, found {found}")]
    Negative {
        /// The number as a text.
        found: String,
    },
    /// The field is not an id.
    #[error(transparent)]
    Id(#[from] IdWireError),
    /// A key occurs twice whose values decide what the frame means, or an info hash occurs twice as a key.
    #[error("given twice")]
    Duplicate,
    /// A list that must name something is empty.
    #[error("the list is empty")]
    Empty,
}

/// A problem and the path to it, relative to the value being decoded.
#[derive(Debug)]
pub(crate) struct Fault {
    path: String,
    problem: FieldProblem,
}

impl Fault {
    pub(crate) fn new(problem: impl Into<FieldProblem>) -> Self {
        Self { path: String::new(), problem: problem.into() }
    }

    pub(crate) fn unexpected(expected: &'static str, found: &str) -> Self {
        Self::new(FieldProblem::Value { expected, found: shortened(found) })
    }

    /// The path and the problem.
    pub(crate) fn into_parts(self) -> (String, FieldProblem) {
        (self.path, self.problem)
    }

    /// This problem as seen from the value that holds this one as `field`: a name, or an index in brackets.
    pub(crate) fn inside(mut self, field: impl fmt::Display) -> Self {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{field}{dot}{}", self.path);
        self
    }
}

impl DecodeErrorKind {
    pub(crate) fn json(error: serde_json::Error) -> Self {
        Self::Json(JsonError(error))
    }
}

/// A type that is wrong at no path is that of the frame.
impl From<Fault> for DecodeErrorKind {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault { path, problem: FieldProblem::Type { found, .. } } if path.is_empty() => Self::NotAnObject { found },
            Fault { path, problem } => Self::Field { path, problem },
        }
    }
}

/// The beginning of a text that a remote chose the length of.
pub(crate) fn shortened(text: &str) -> String {
    match text.char_indices().nth(QUOTED_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
