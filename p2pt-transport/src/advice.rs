//! What to do about a connection that could not be prepared or opened: the one place that says so, for the log, events and
//! programs alike.

use crate::TransportError;

impl TransportError {
    /// What people can do about it, in a sentence without a capital or a full stop, to be shown behind the error; `None`
    /// where there is nothing but to try again, as the facade does by itself.
    ///
    /// For [`IceFailed`](Self::IceFailed) it follows from the candidate types of both sides: a side that has only `host`
    /// has reached no STUN server, and where both sides have `srflx` and neither has `relay`, a TURN server is needed.
    pub fn advice(&self) -> Option<&'static str> {
        match self {
            Self::IceFailed { local, remote } => Some(no_path(Side::of(local), Side::of(remote))),
            Self::NoCandidate => Some(
                "connect this machine to a network; where only relays may be used, check that the TURN server runs and takes \
                 the user name and the password",
            ),
            Self::Bind { .. } => {
                Some("use another port, of which the seven after it are free too, or let free ones be taken")
            }
            Self::TooManyConnections { .. } => Some("close connections, or allow the transport more"),
            Self::ShutDown
            | Self::InvalidSdp(_)
            | Self::Timeout { .. }
            | Self::SessionFailed
            | Self::ClosedEarly
            | Self::Backend(_) => None,
        }
    }
}

/// How far the candidates of a side reach, by the best of their types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    /// It named no address at all.
    None,
    /// `host` only: within a network.
    Host,
    /// `srflx`: as far as the address translation lets packets in.
    Reflexive,
    /// `relay`: everywhere.
    Relay,
}

impl Side {
    /// Reads types such as `host srflx`.
    fn of(types: &str) -> Self {
        let has = |wanted| types.split_whitespace().any(|kind| kind == wanted);
        match () {
            () if has("relay") => Self::Relay,
            () if has("srflx") || has("prflx") => Self::Reflexive,
            () if has("host") => Self::Host,
            () => Self::None,
        }
    }
}

fn no_path(local: Side, remote: Side) -> &'static str {
    match (local, remote) {
        (Side::Relay, _) | (_, Side::Relay) => {
            "not even the TURN server has helped: UDP may be blocked on the way to it, or from it to the other side"
        }
        (Side::None, _) => "this side has named no address: connect this machine to a network",
        (_, Side::None) => "the other side has named no address, or none that can be used",
        (Side::Host, Side::Host) => {
            "both sides have `host` candidates only, which do not reach beyond a network: each needs a STUN server that it \
             reaches"
        }
        (Side::Host, Side::Reflexive) => {
            "this side has `host` candidates only: its STUN server was not reached, or it has none; check that UDP may leave \
             this network"
        }
        (Side::Reflexive, Side::Host) => {
            "the other side has `host` candidates only: its STUN server was not reached, or it has none"
        }
        (Side::Reflexive, Side::Reflexive) => {
            "the address translation on both sides lets nothing in: one of the two needs a TURN server"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advice(local: &str, remote: &str) -> &'static str {
        let [local, remote] = [local, remote].map(str::to_owned);
        TransportError::IceFailed { local, remote }.advice().expect("there is some")
    }

    #[test]
    fn candidate_types_tell_what_is_missing_and_where() {
        for (local, remote, words) in [
            ("host", "host", "both sides have `host` candidates only"),
            ("host", "host srflx", "this side has `host` candidates only: its STUN server was not reached"),
            ("host srflx", "host", "the other side has `host` candidates only: its STUN server was not reached"),
            ("host srflx", "srflx", "needs a TURN server"),
            ("host srflx", "host srflx relay", "not even the TURN server"),
            ("relay", "host", "not even the TURN server"),
            ("none", "host srflx", "this side has named no address"),
            ("host", "", "the other side has named no address"),
        ] {
            assert!(advice(local, remote).contains(words), "{local} and {remote}: {}", advice(local, remote));
        }
    }

    #[test]
    fn there_is_advice_where_people_can_do_something() {
        assert!(TransportError::NoCandidate.advice().is_some_and(|advice| advice.contains("TURN")));
        let source = std::io::ErrorKind::AddrInUse.into();
        let bind = TransportError::Bind { address: ([0; 4], 80).into(), source };
        assert!(bind.advice().is_some_and(|advice| advice.contains("another port")));
        assert_eq!(TransportError::ClosedEarly.advice(), None);
    }
}
