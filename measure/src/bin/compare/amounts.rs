//! How much of everything is measured, for each pair and place.

use crate::pairs::{Pair, Place};

/// How much of everything is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Amounts {
    /// Connections.
    pub(crate) connects: usize,
    /// Round trips, messages and texts; none where only the bulk is of interest.
    pub(crate) talk: Option<Talk>,
    /// Megabytes in raw frames.
    pub(crate) megabytes: usize,
}

/// How much is said in messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Talk {
    pub(crate) round_trips: usize,
    pub(crate) messages: usize,
    pub(crate) texts: usize,
}

impl Amounts {
    pub(crate) fn of(pair: Pair, place: Place, quick: bool) -> Self {
        let near = matches!(place, Place::Near | Place::Pages);
        let connects = match pair {
            // Each takes ten seconds.
            Pair::Ndc if near => 3,
            Pair::Ndc => 1,
            _ if near => 15,
            _ => 5,
        };
        // JavaScript takes as long for these as Rust for ten times as many.
        let messages = if matches!(pair, Pair::Rust | Pair::Bare | Pair::Shipped) { 200_000 } else { 20_000 };
        let talk = (near || place == Place::Stock).then_some(Talk { round_trips: 2000, messages, texts: 20 });
        let megabytes = match place {
            Place::Near | Place::Stock => 200,
            // A tenth of the speed.
            Place::Pages => 60,
            Place::Far => 100,
            // Of a long path, half a percent of loss leaves one megabyte a second.
            Place::Lossy => 10,
        };
        let all = Self { connects, talk, megabytes };
        if quick { all.few() } else { all }
    }

    fn few(self) -> Self {
        Self {
            connects: self.connects.min(2),
            talk: self.talk.map(|talk| Talk { round_trips: 200, messages: talk.messages / 10, texts: 4 }),
            megabytes: self.megabytes / 5,
        }
    }

    /// As arguments of `p2pt bench` and of the JavaScript measurer.
    pub(crate) fn arguments(self) -> Vec<String> {
        let mut arguments = named(&[("connects", self.connects), ("megabytes", self.megabytes)]);
        match self.talk {
            Some(Talk { round_trips, messages, texts }) => {
                arguments.extend(named(&[("round-trips", round_trips), ("messages", messages), ("texts", texts)]));
            }
            None => arguments.extend(["--only".to_owned(), "connect,raw".to_owned()]),
        }
        arguments
    }

    /// As arguments of the example `bare`.
    pub(crate) fn bare_arguments(self) -> Vec<String> {
        let (round_trips, messages) = self.talk.map_or((0, 0), |talk| (talk.round_trips, talk.messages));
        named(&[
            ("connects", self.connects),
            ("megabytes", self.megabytes),
            ("round-trips", round_trips),
            ("messages", messages),
        ])
    }
}

fn named(values: &[(&str, usize)]) -> Vec<String> {
    values.iter().flat_map(|(name, value)| [format!("--{name}"), value.to_string()]).collect()
}
