//! What happens in a swarm and what comes of requests, as events of the pipe.

use p2pt::{Events, PeerId, PendingResponse};

use super::event::{Event, LeftWith};
use super::output::{EmitError, SwarmOutput};
use super::streams::Streams;
use super::who::code;
use crate::terminal::explained;

/// Writes what peers and trackers say, until there is no more to come.
pub(super) async fn report(output: SwarmOutput, streams: Streams, mut events: Events) -> Result<(), EmitError> {
    while let Some(event) = events.next().await {
        let event = match event {
            p2pt::Event::Stream(stream) => {
                streams.accept(&output, stream).await?;
                continue;
            }
            event => event,
        };
        let event = match &event {
            p2pt::Event::PeerConnected(peer) => Event::PeerConnected { peer: peer.id(), who: peer.into() },
            p2pt::Event::TrustChanged(changed) => Event::TrustChanged {
                peer: changed.peer.id(),
                was: changed.was.clone().into(),
                now: changed.now.clone().into(),
            },
            p2pt::Event::PeerClosed(closed) => Event::PeerClosed {
                peer: closed.peer.id(),
                reason: closed.reason.to_string(),
                unacknowledged_bytes: closed.unacknowledged_bytes,
                unsent_messages: closed.unsent_messages,
                unsent_bytes: closed.unsent_bytes,
                left: closed.left.as_ref().map(|(code, text)| LeftWith { code: *code, text }),
                returned: closed.returned.iter().map(Into::into).collect(),
            },
            p2pt::Event::SendFailed(failed) => Event::failed(failed.peer.id(), None, failed.error.clone().into()),
            p2pt::Event::Message(message) => {
                Event::Message { peer: message.peer().id(), id: message.id(), content: message.payload().into() }
            }
            p2pt::Event::Data(data) => Event::Data { peer: data.peer.id(), frame: (&data.frame).into() },
            p2pt::Event::InvalidFrame(refused) => Event::Error {
                tag: None,
                peer: Some(refused.peer.id()),
                code: None,
                error: format!("from peer {}: {}", refused.peer.id(), refused.error),
            },
            p2pt::Event::TrackerConnected(tracker) => Event::TrackerConnected {
                tracker: &tracker.tracker,
                connected: tracker.connected,
                total: tracker.total,
            },
            p2pt::Event::TrackerWarning { tracker, warning, missed } => {
                Event::TrackerWarning { tracker, error: warning.to_string(), missed: *missed }
            }
            p2pt::Event::ConnectionFailed(failed) => Event::ConnectionFailed {
                peer: failed.peer_id,
                tracker: &failed.tracker,
                role: failed.role.into(),
                error: failed.error.to_string(),
                advice: failed.advice(),
                missed: failed.missed,
            },
            p2pt::Event::ServerWarning(warning) => Event::ServerWarning {
                server: &warning.url,
                error: warning.problem.to_string(),
                advice: warning.advice(),
            },
            p2pt::Event::ConnectionRejected(refused) => Event::ConnectionRejected {
                peer: refused.peer_id,
                tracker: &refused.tracker,
                role: refused.role.into(),
                reason: refused.reason.to_string(),
                code: code(refused.reason),
                forgery: refused.reason.is_forgery(),
                missed: refused.missed,
            },
            p2pt::Event::OfferFailed(error) => Event::Error {
                tag: None,
                peer: None,
                code: None,
                error: format!("no offer could be made: {}", explained(error)),
            },
            _ => continue,
        };
        output.emit(&event).await?;
    }
    Ok(())
}

/// Writes what came of a request.
pub(super) async fn report_response(
    output: SwarmOutput,
    peer: PeerId,
    tag: String,
    response: PendingResponse,
) -> Result<(), EmitError> {
    match response.await {
        Ok(message) => {
            let (id, content) = (message.id(), message.payload().into());
            output.emit(&Event::Response { peer, id, tag: &tag, content }).await
        }
        Err(error) => output.emit(&Event::failed(peer, Some(tag), error.into())).await,
    }
}
