//! What a peer says it can do.

use std::collections::BTreeSet;
use std::fmt;

/// Most characters of a feature's name.
const MAX_NAME: usize = 16;

/// Most features that are read from one description.
const MAX_FEATURES: usize = 16;

/// What a peer says that it can do: an open set of names.
///
/// A name that is not known is kept and ignored, so that new features need no new version. Something is spoken between
/// two peers only if both list it, see [`common`](Self::common).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Features(BTreeSet<String>);

impl Features {
    /// Signed descriptions and the confirmation of them.
    pub const AUTH: &'static str = "auth";
    /// The multiplexed wire of p2pt/2.
    pub const MUX: &'static str = "mux";

    /// The features with these names. What is no name (1 to 16 of `a` to `z`, `0` to `9` and `-`), or more than 16, is left
    /// out.
    pub fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let names = names.into_iter().filter(|name| is_name(name)).map(str::to_owned);
        Self(names.take(MAX_FEATURES).collect())
    }

    /// Whether this feature is among them.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    /// What both list.
    pub fn common(&self, other: &Self) -> Self {
        Self(self.0.intersection(&other.0).cloned().collect())
    }

    /// The names, in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Reads a list with commas. Others may list what they like: what is no name is left out, too.
    pub(crate) fn parse(list: &str) -> Self {
        Self::of(list.split(','))
    }
}

fn is_name(name: &str) -> bool {
    let is_fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(is_fine)
}

/// The names with commas between them, as in a description.
impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, name) in self.iter().enumerate() {
            write!(f, "{}{name}", if place == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_both_list_is_spoken() {
        let ours = Features::of([Features::AUTH, Features::MUX]);
        let theirs = Features::parse("mux,later-thing,,BAD,with space,abcdefghijklmnopq");
        assert_eq!(theirs.to_string(), "later-thing,mux");
        assert_eq!(ours.common(&theirs).iter().collect::<Vec<_>>(), ["mux"]);
        assert!(ours.contains("auth") && !theirs.contains("auth"));
        assert_eq!(Features::parse(""), Features::default());
        let many: Vec<String> = (0..40).map(|number| number.to_string()).collect();
        assert_eq!(Features::parse(&many.join(",")).iter().count(), MAX_FEATURES);
    }
}
