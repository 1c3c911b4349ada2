//! Who is here, by name where there is one.

use std::collections::BTreeMap;

use p2pt::PeerId;

/// Longer names are cut. A peer names itself, and must not fill the page by that.
const MAX_NAME_CHARS: usize = 30;

/// Colours of names that `index.html` has.
const COLOURS: usize = 6;

/// The names that members have given themselves.
#[derive(Debug, Default)]
pub(crate) struct Members {
    names: BTreeMap<PeerId, String>,
}

impl Members {
    /// Notes a name, and says whether it is another than before.
    pub(crate) fn rename(&mut self, id: PeerId, name: &str) -> bool {
        let name = one_line(name);
        !name.is_empty() && self.names.insert(id, name.clone()).is_none_or(|before| before != name)
    }

    pub(crate) fn forget(&mut self, id: PeerId) {
        self.names.remove(&id);
    }

    /// The name of a member, if it has said one.
    pub(crate) fn name(&self, id: PeerId) -> Option<&str> {
        self.names.get(&id).map(String::as_str)
    }

    /// How a member is shown: a name is a claim, and the id beside it tells those apart who claim the same.
    pub(crate) fn shown(&self, id: PeerId, own_name: &str) -> String {
        let Some(name) = self.name(id) else { return short(id) };
        let is_taken = name == own_name || self.names.iter().any(|(other, same)| *other != id && same == name);
        if is_taken { format!("{name} ({})", short(id)) } else { name.to_owned() }
    }
}

/// A name on one line, and not too long.
pub(crate) fn one_line(name: &str) -> String {
    name.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(MAX_NAME_CHARS).collect()
}

/// The first eight digits of an id, as `p2pt chat` shows it.
pub(crate) fn short(id: PeerId) -> String {
    id.to_string()[..8].to_owned()
}

/// The class of the colour in which a member is shown.
pub(crate) fn colour(id: PeerId) -> String {
    format!("colour-{}", usize::from(id.as_bytes()[19]) % COLOURS)
}
