//! STUN and TURN servers that are of no use.

use std::fmt;

/// A STUN or TURN server of the configuration is of no use. Connections are made without it, and it is asked again; of each
/// server there is one such warning in the life of a transport.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerWarning {
    /// Its URL, as configured.
    pub url: String,
    /// What is wrong with it.
    pub problem: ServerProblem,
}

/// Why a server is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServerProblem {
    /// Its name has no address, or cannot be looked up.
    #[error("its name has no known address")]
    NoAddress,
    /// It does not answer, at any of its addresses that this machine can ask.
    #[error("it does not answer")]
    Silent,
    /// It answers with an error.
    #[error("it refuses with the code {code}")]
    Refused {
        /// As in RFC 8489, section 14.8, and RFC 8656, section 19: 401 is a wrong user name or password.
        code: u16,
    },
    /// It answers, but names no address that could be used.
    #[error("it names no address that can be used")]
    Useless,
}

impl ServerWarning {
    /// That this is wrong with the server of this URL.
    pub fn new(url: impl Into<String>, problem: ServerProblem) -> Self {
        Self { url: url.into(), problem }
    }

    /// What people can do about it, in a sentence without a capital or a full stop, to be shown behind the warning.
    pub fn advice(&self) -> &'static str {
        match self.problem {
            ServerProblem::NoAddress => "check the spelling of its name, and the name server of this machine",
            ServerProblem::Silent => "check its name and port, and that this network lets UDP out; or use another one",
            ServerProblem::Refused { code: 401 | 403 | 441 } => {
                "check the user name and the password, or use another server"
            }
            ServerProblem::Refused { .. } | ServerProblem::Useless => "use another server",
        }
    }
}

impl fmt::Display for ServerWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is of no use: {}", self.url, self.problem)
    }
}
