//! Meeting a partner.

use std::fmt;
use std::time::Duration;

use p2pt::{Event, Events, Peer, RequestError, Swarm};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::BenchError;
use super::protocol::{self, BadAnswer, Hello, Request, VERSION};
use crate::args::NetworkArgs;
use crate::terminal::{explained, short};

/// Why there is no partner.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MeetError {
    #[error("no partner was met under {identifier:?} within {deadline:?}{trouble}")]
    NotMet { identifier: String, deadline: Duration, trouble: Trouble },
    #[error(
        "the partner, {name:?}, speaks version {version} of the bench protocol, and this program version {VERSION}"
    )]
    Version { name: String, version: u32 },
    #[error("this node has stopped")]
    Stopped,
}

/// What may be why no partner is met: the last thing that went wrong.
#[derive(Debug, Default)]
pub(crate) struct Trouble(Option<String>);

impl Trouble {
    fn is(&mut self, what: String) {
        self.0 = Some(what);
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(what) => write!(f, "; {what}"),
            None => Ok(()),
        }
    }
}

/// A node, and the partner it has met.
#[derive(Debug)]
pub(super) struct Met {
    pub(super) swarm: Swarm,
    pub(super) events: Events,
    pub(super) peer: Peer,
    /// What the partner calls itself.
    pub(super) name: String,
    /// From the start of the node to the partner's first answer.
    pub(super) took: Duration,
}

/// Starts a node, and waits until a partner has answered it. `stop` ends that early.
pub(super) async fn meet(
    identifier: &str,
    network: &NetworkArgs,
    deadline: Duration,
    stop: impl Future<Output = ()>,
) -> Result<Met, BenchError> {
    // The deadline of a test is to decide.
    let builder = network.builder()?.request_timeout(deadline).send_timeout(deadline);
    let began = Instant::now();
    let (swarm, mut events) = builder.join(identifier).await?;
    let mut trouble = Trouble::default();
    let found = tokio::select! {
        found = timeout(deadline, find(&mut events, &mut trouble)) => match found {
            Ok(found) => found.map_err(BenchError::from),
            Err(_) => Err(MeetError::NotMet { identifier: identifier.to_owned(), deadline, trouble }.into()),
        },
        () = stop => Err(BenchError::Interrupted),
    };
    match found {
        Ok((peer, name)) => Ok(Met { swarm, events, peer, name, took: began.elapsed() }),
        Err(error) => {
            swarm.shutdown().await;
            Err(error)
        }
    }
}

/// Greets every peer that comes, and returns the first that answers as a partner does, with its name.
async fn find(events: &mut Events, trouble: &mut Trouble) -> Result<(Peer, String), MeetError> {
    let mut greetings = JoinSet::new();
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Event::PeerConnected(peer)) => {
                    trouble.is(format!("{} was met, but answers nothing", short(peer.id())));
                    greetings.spawn(greet(peer));
                }
                Some(Event::TrackerWarning { tracker, warning, .. }) => trouble.is(format!("{tracker}: {warning}")),
                Some(Event::ConnectionFailed(failed)) => {
                    trouble.is(format!("no connection to {}: {}", short(failed.peer_id), explained(&failed.error)));
                }
                Some(Event::OfferFailed(error)) => trouble.is(format!("no peer can be invited: {}", explained(&error))),
                Some(_) => {}
                None => return Err(MeetError::Stopped),
            },
            Some(greeted) = greetings.join_next() => match greeted {
                Ok((peer, Ok(Hello { version: VERSION, name, .. }))) => return Ok((peer, name)),
                Ok((_, Ok(Hello { version, name, .. }))) => return Err(MeetError::Version { name, version }),
                // It was met and answers nothing, as is said already; on a busy machine this is seen before the deadline that
                // is due at the same time.
                Ok((_, Err(GreetError::Request(RequestError::Timeout { .. })))) => {}
                // Others may be here for other reasons.
                Ok((peer, Err(error))) => trouble.is(format!("{} is no partner: {error}", short(peer.id()))),
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            },
        }
    }
}

/// Why a peer is no partner.
#[derive(Debug, thiserror::Error)]
enum GreetError {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(transparent)]
    Answer(#[from] BadAnswer),
}

async fn greet(peer: Peer) -> (Peer, Result<Hello, GreetError>) {
    let hello = match peer.request(Request::Hello.payload()).await {
        Ok(response) => protocol::answer(response.payload()).map_err(Into::into),
        Err(error) => Err(error.into()),
    };
    (peer, hello)
}
