//! Who is here, by name where there is one, in a colour of each one's own.

use std::collections::HashMap;

use p2pt::{Peer, PeerId, Swarm};

use crate::terminal::{Colour, clean, short};

const COLOURS: [Colour; 6] =
    [Colour::Cyan, Colour::Green, Colour::Magenta, Colour::Blue, Colour::BrightCyan, Colour::BrightMagenta];

/// The names that members have given themselves.
#[derive(Debug, Default)]
pub(super) struct Members {
    names: HashMap<PeerId, String>,
}

impl Members {
    /// Notes a name, and says whether it is another than before.
    pub(super) fn rename(&mut self, id: PeerId, name: String) -> bool {
        !name.is_empty() && self.names.insert(id, name.clone()).is_none_or(|before| before != name)
    }

    pub(super) fn forget(&mut self, id: PeerId) {
        self.names.remove(&id);
    }

    /// How a member is shown: a name is a claim, and the id beside it tells those apart who claim the same.
    pub(super) fn shown(&self, id: PeerId) -> String {
        match self.names.get(&id) {
            Some(name) if self.names.iter().any(|(other, same)| *other != id && same == name) => {
                format!("{} ({})", clean(name), short(id))
            }
            Some(name) => clean(name).into_owned(),
            None => short(id),
        }
    }

    pub(super) fn colour(id: PeerId) -> Colour {
        COLOURS[usize::from(id.as_bytes()[19]) % COLOURS.len()]
    }

    /// The one connected peer of this name, or whose id begins so.
    pub(super) fn find(&self, swarm: &Swarm, wanted: &str) -> Result<Peer, String> {
        let prefix = wanted.to_ascii_lowercase();
        let is_meant = |peer: &Peer| {
            self.names.get(&peer.id()).is_some_and(|name| name.eq_ignore_ascii_case(wanted))
                || peer.id().to_string().starts_with(&prefix)
        };
        let mut found = swarm.peers().into_iter().filter(is_meant);
        match (found.next(), found.next()) {
            (Some(peer), None) => Ok(peer),
            (Some(_), Some(_)) => Err(format!("{wanted} may be several: give more of the id")),
            (None, _) => Err(format!("nobody's name is {wanted}, and no peer's id begins with it")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_of_the_same_name_are_told_apart() {
        let (one, two) = (PeerId::from([1; 20]), PeerId::from([2; 20]));
        let mut members = Members::default();
        assert_eq!(members.shown(one), "01010101");
        assert!(members.rename(one, "Ann".to_owned()));
        assert!(!members.rename(one, "Ann".to_owned()));
        assert_eq!(members.shown(one), "Ann");
        members.rename(two, "Ann".to_owned());
        assert_eq!(members.shown(one), "Ann (01010101)");
        members.forget(two);
        assert_eq!(members.shown(one), "Ann");
    }
}
