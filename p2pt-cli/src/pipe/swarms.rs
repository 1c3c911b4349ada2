//! The swarms that the pipe is in, and what waits for their peers.

use p2pt::trust::PublicKey;
use p2pt::{Events, Frame, InfoHash, NodeError, Peer, PeerId, PendingSend, Request, Swarm, Urgency};
use tokio::task::JoinSet;

use super::command::{Confirm, Farewell, OpenStream, Respond, SendFrame, SendMessage, To, WriteStream};
use super::confirm::Confirmations;
use super::event::Event;
use super::failure::Failure;
use super::follow::{Followed, Wish};
use super::known::{KnownConnection, KnownTracker};
use super::output::{EmitError, Output, SwarmOutput};
use super::report::{report, report_response};
use super::streams::Streams;
use super::who::Who;
use super::{MAX_PARTINGS, check};
use crate::trust::room::Room;

/// Swarms, in the order in which they were joined.
#[derive(Debug, Default)]
pub(super) struct Swarms {
    joined: Vec<Joined>,
    /// The one that the program was started with is no longer among them.
    first_left: bool,
}

impl Swarms {
    pub(super) fn push(&mut self, joined: Joined) {
        self.joined.push(joined);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Swarm> {
        self.joined.iter().map(|joined| &joined.swarm)
    }

    /// The swarm of this name; without one, that with which the program was started.
    pub(super) fn find(&mut self, name: Option<InfoHash>) -> Result<&mut Joined, String> {
        let index = self.index(name)?;
        Ok(&mut self.joined[index])
    }

    /// Takes out what [`find`](Self::find) finds.
    pub(super) fn take(&mut self, name: Option<InfoHash>) -> Result<Joined, String> {
        let index = self.index(name)?;
        self.first_left |= index == 0;
        Ok(self.joined.remove(index))
    }

    fn index(&self, name: Option<InfoHash>) -> Result<usize, String> {
        match name {
            Some(name) => {
                let is_meant = |joined: &Joined| joined.swarm.info_hash() == name;
                self.joined.iter().position(is_meant).ok_or_else(|| format!("swarm {name} is not joined"))
            }
            None if self.first_left => {
                Err("the first swarm was left: `swarm` must name the one that is meant".to_owned())
            }
            None => Ok(0),
        }
    }

    pub(super) fn into_joined(self) -> Vec<Joined> {
        self.joined
    }
}

/// A swarm, and the tasks that wait for its peers.
#[derive(Debug)]
pub(super) struct Joined {
    swarm: Swarm,
    output: SwarmOutput,
    /// Says what happens in the swarm, until it is left.
    reports: JoinSet<Result<(), EmitError>>,
    /// Responses that are awaited, and changes of the name that are to be said.
    asked: JoinSet<Result<(), EmitError>>,
    confirmations: Confirmations,
    followed: Followed,
    pub(super) streams: Streams,
    /// Closing the connections of those who are sent away.
    partings: JoinSet<()>,
}

impl Joined {
    /// Has the events of the swarm reported from now on.
    pub(super) fn new(swarm: Swarm, events: Events, output: &Output) -> Self {
        let output = SwarmOutput::new(output.clone(), swarm.info_hash());
        let mut reports = JoinSet::new();
        let streams = Streams::default();
        reports.spawn(report(output.clone(), streams.clone(), events));
        let (asked, partings) = (JoinSet::new(), JoinSet::new());
        let (confirmations, followed) = (Confirmations::default(), Followed::default());
        Self { swarm, output, reports, asked, confirmations, followed, streams, partings }
    }

    /// Says that a further swarm is joined, and has its events reported from then on.
    pub(super) async fn begin(
        swarm: Swarm,
        events: Events,
        output: &Output,
        identifier: &str,
    ) -> Result<Self, EmitError> {
        let named = SwarmOutput::new(output.clone(), swarm.info_hash());
        named.answer(&Event::Joined { identifier }).await?;
        Ok(Self::new(swarm, events, output))
    }

    pub(super) async fn send(&mut self, mut send: SendMessage) -> Result<(), EmitError> {
        let message = match send.content() {
            Ok(message) => message,
            Err(error) => return self.output.complain(send.tag, error).await,
        };
        let SendMessage { peer: to, tag, confirm, urgency, progress, wait, .. } = send;
        let is_acknowledged = confirm == Some(Confirm::Acknowledged);
        match (confirm, tag, wait) {
            (Some(_), None, _) => self.untagged().await,
            (None | Some(Confirm::Response), tag, _) if progress => self.no_progress(tag).await,
            (_, tag, false) if is_acknowledged || urgency.is_some() || progress => {
                let error = "what is sent without waiting has no urgency and no progress, and is not acknowledged";
                self.output.complain(tag, error.to_owned()).await
            }
            (Some(Confirm::Response) | None, Some(tag), true) if urgency.is_some() => {
                self.output.complain(Some(tag), "a request has no `urgency`".to_owned()).await
            }
            (Some(_), Some(tag), true) if is_acknowledged || urgency.is_some() || progress => {
                let wish = Wish { acknowledged: is_acknowledged, progress };
                let urgency = urgency.unwrap_or_default();
                self.follow(to, tag, wish, |peer| Ok(peer.message(message.clone()).urgency(urgency).queue()?)).await
            }
            (Some(Confirm::Response), tag, false) => {
                let error = "what is sent without waiting has no response: `wait` and `confirm` contradict each other";
                self.output.complain(tag, error.to_owned()).await
            }
            (Some(Confirm::Accepted | Confirm::Acknowledged), Some(tag), true) => {
                self.confirm(to, tag, |peer| Ok(Some(peer.queue_confirmed(message.clone())?))).await
            }
            (Some(Confirm::Accepted | Confirm::Acknowledged), Some(tag), false) => {
                self.confirm(to, tag, |peer| peer.try_send(message.clone()).map(|()| None).map_err(Failure::from)).await
            }
            (Some(Confirm::Response) | None, Some(tag), true) => {
                self.ask(to, tag, |peer| peer.request(message.clone())).await
            }
            (None, None, true) => {
                let urgency = urgency.unwrap_or_default();
                let queue = |peer: &Peer| match urgency {
                    Urgency::DEFAULT => peer.queue(message.clone()),
                    urgency => peer.message(message.clone()).urgency(urgency).queue().map(drop),
                };
                self.for_each(to, None, |_, peer| Ok(queue(peer)?)).await
            }
            (None, tag, false) => self.for_each(to, tag, |_, peer| Ok(peer.try_send(message.clone())?)).await,
        }
    }

    pub(super) async fn respond(&mut self, mut respond: Respond) -> Result<(), EmitError> {
        let message = match respond.content() {
            Ok(message) => message,
            Err(error) => return self.output.complain(respond.tag, error).await,
        };
        let Respond { peer, id, tag, confirm, progress, .. } = respond;
        let to = To::Peer(peer);
        match (confirm, tag) {
            (Some(_), None) => self.untagged().await,
            (None | Some(Confirm::Response), tag) if progress => self.no_progress(tag).await,
            (Some(confirm @ (Confirm::Accepted | Confirm::Acknowledged)), Some(tag)) => {
                let respond = |peer: &Peer| Ok(peer.queue_response_confirmed(id.clone(), message.clone())?);
                let wish = Wish { acknowledged: confirm == Confirm::Acknowledged, progress };
                if wish.acknowledged || wish.progress {
                    self.follow(to, tag, wish, respond).await
                } else {
                    self.confirm(to, tag, |peer| respond(peer).map(Some)).await
                }
            }
            (Some(Confirm::Response) | None, Some(tag)) => {
                self.ask(to, tag, |peer| peer.request_in_response_to(id.clone(), message.clone())).await
            }
            (None, None) => {
                let respond = |peer: &Peer| peer.queue_response_to(id.clone(), message.clone());
                self.for_each(to, None, |_, peer| Ok(respond(peer)?)).await
            }
        }
    }

    pub(super) async fn send_frame(&mut self, mut send: SendFrame) -> Result<(), EmitError> {
        let frame: Frame = match send.frame() {
            Ok(frame) => frame,
            Err(error) => return self.output.complain(send.tag, error).await,
        };
        match (send.confirm, send.tag) {
            (Some(_), None) => self.untagged().await,
            (Some(_), Some(tag)) => {
                self.confirm(send.peer, tag, |peer| Ok(Some(peer.queue_frame_confirmed(frame.clone())?))).await
            }
            (None, tag) => self.for_each(send.peer, tag, |_, peer| Ok(peer.queue_frame(frame.clone())?)).await,
        }
    }

    pub(super) async fn set_identifier(&mut self, room: Room) -> Result<(), EmitError> {
        self.tidy()?;
        let was = self.swarm.info_hash();
        match self.swarm.set_identifier(room.key()).await {
            Ok(()) => {
                let (output, name) = (self.output.clone(), self.swarm.info_hash());
                // Waits for what is being written, and commands wait for nothing.
                self.asked.spawn(async move { output.rename(name, &room.name).await });
                Ok(())
            }
            Err(error) => self.output.complain(None, format!("swarm {was}, {:?}: {error}", room.name)).await,
        }
    }

    pub(super) async fn trackers(&self) -> Result<(), EmitError> {
        let (stats, info_hash) = (self.swarm.node().tracker_stats(), self.swarm.info_hash());
        let trackers = stats.trackers.iter().map(|state| KnownTracker::new(state, &info_hash)).collect();
        self.output.answer(&Event::Trackers { connected: stats.connected, total: stats.total, trackers }).await
    }

    pub(super) async fn request_more_peers(&self) -> Result<(), EmitError> {
        match self.swarm.request_more_peers().await {
            Ok(()) => Ok(()),
            Err(error) => self.output.complain(None, error.to_string()).await,
        }
    }

    pub(super) async fn peers(&self) -> Result<(), EmitError> {
        let peers = self.swarm.peers().into_iter().map(Into::into).collect();
        self.output.answer(&Event::Peers { peers }).await
    }

    pub(super) async fn stats(&self, id: PeerId) -> Result<(), EmitError> {
        match self.swarm.peer(&id) {
            Some(peer) => {
                let connections = peer.connection_stats().await.into_iter().map(KnownConnection::from).collect();
                self.output.answer(&Event::Stats { peer: id, connections }).await
            }
            None => self.not_connected(None, id).await,
        }
    }

    /// Says who a peer is, beside the one that is pinned under a name if there is one.
    pub(super) async fn trust(&self, id: PeerId, name: Option<&str>) -> Result<(), EmitError> {
        match self.swarm.peer(&id) {
            Some(peer) => {
                let who = name.map_or_else(|| (&peer).into(), |name| Who::named(&peer, name));
                self.output.answer(&Event::Trust { peer: id, who }).await
            }
            None => self.not_connected(None, id).await,
        }
    }

    /// The key of a connected peer.
    pub(super) fn public_key(&self, id: PeerId) -> Result<PublicKey, String> {
        let peer = self.swarm.peer(&id).ok_or_else(|| format!("peer {id}: it is not connected"))?;
        peer.public_key().ok_or_else(|| format!("peer {id}: it has no key"))
    }

    pub(super) async fn disconnect(&mut self, farewell: Farewell) -> Result<(), EmitError> {
        let Farewell { peer: id, code, text, swarm: _ } = farewell;
        while self.partings.try_join_next().is_some() {}
        match self.swarm.peer(&id) {
            Some(_) if self.partings.len() >= MAX_PARTINGS => {
                let error = format!("{MAX_PARTINGS} others are being sent away");
                self.output.complain_of(id, None, error.into()).await
            }
            Some(peer) => {
                self.partings.spawn(async move { peer.leave(code, &text).await });
                Ok(())
            }
            None => self.not_connected(None, id).await,
        }
    }

    /// Takes back what bears a tag.
    pub(super) async fn cancel(&mut self, tag: &str) -> Result<(), EmitError> {
        self.tidy()?;
        match self.followed.cancel(tag) {
            true => Ok(()),
            // Without the tag, which this does not end.
            false => self.output.complain(None, format!("nothing that can be taken back bears the tag {tag:?}")).await,
        }
    }

    pub(super) async fn open_stream(&mut self, open: OpenStream) -> Result<(), EmitError> {
        self.tidy()?;
        let OpenStream { peer, metadata, urgency, tag, swarm: _ } = open;
        let metadata = metadata.map(|metadata| metadata.into_bytes().to_vec()).unwrap_or_default();
        let urgency = urgency.unwrap_or_default();
        self.for_each(To::Peer(peer), tag.clone(), |joined, peer| {
            joined.streams.open(&joined.output, peer, (metadata.clone(), urgency), tag.clone())
        })
        .await
    }

    pub(super) async fn write_stream(&mut self, mut write: WriteStream) -> Result<(), EmitError> {
        let written = match write.content() {
            Ok(bytes) => self.streams.write(write.stream, bytes, write.tag.clone()),
            Err(error) => Err(error.into()),
        };
        self.stream_result(write.tag, written).await
    }

    /// Says what a command about a stream has failed with.
    pub(super) async fn stream_result(
        &mut self,
        tag: Option<String>,
        result: Result<(), Failure>,
    ) -> Result<(), EmitError> {
        self.tidy()?;
        let Err(Failure { code, error }) = result else { return Ok(()) };
        self.output.answer(&Event::Error { tag, peer: None, code, error }).await
    }

    /// Leaves the swarm, after what was commanded before, and says so when everything about it is said.
    pub(super) async fn leave(self) -> Result<(), EmitError> {
        match self.swarm.leave().await {
            // The whole node stops meanwhile.
            Ok(()) | Err(NodeError::Stopped) => {}
            Err(error) => self.output.complain(None, error.to_string()).await?,
        }
        let output = self.output.clone();
        self.wind_up().await?;
        output.emit(&Event::Left {}).await
    }

    /// Waits until everything is said; the swarm must have been left, or its node stopped.
    pub(super) async fn wind_up(mut self) -> Result<(), EmitError> {
        // Every request has ended with its peer.
        while let Some(said) = self.asked.join_next().await {
            check(said)?;
        }
        while let Some(said) = self.reports.join_next().await {
            check(said)?;
        }
        self.streams.wind_up().await?;
        self.followed.finish().await?;
        self.confirmations.finish().await
    }

    fn tidy(&mut self) -> Result<(), EmitError> {
        while let Some(said) = self.asked.try_join_next() {
            check(said)?;
        }
        self.streams.tidy()?;
        self.followed.tidy()?;
        self.confirmations.tidy()
    }

    /// Queues a request for each peer that is meant, and has what comes of it reported.
    async fn ask(&mut self, to: To, tag: String, request: impl Fn(&Peer) -> Request) -> Result<(), EmitError> {
        self.tidy()?;
        let tagged = tag.clone();
        self.for_each(to, Some(tag), |joined, peer| {
            let response = request(peer).queue()?;
            joined.asked.spawn(report_response(joined.output.clone(), peer.id(), tagged.clone(), response));
            Ok(())
        })
        .await
    }

    /// Sends something to each peer that is meant, and has it said when a channel has taken it.
    async fn confirm(
        &mut self,
        to: To,
        tag: String,
        send: impl Fn(&Peer) -> Result<Option<PendingSend>, Failure>,
    ) -> Result<(), EmitError> {
        self.tidy()?;
        let tagged = tag.clone();
        self.for_each(to, Some(tag), |joined, peer| {
            joined.confirmations.confirm(peer, tagged.clone(), &joined.output, || send(peer))
        })
        .await
    }

    /// Sends something to each peer that is meant, and has it followed on its way.
    async fn follow(
        &mut self,
        to: To,
        tag: String,
        wish: Wish,
        send: impl Fn(&Peer) -> Result<PendingSend, Failure>,
    ) -> Result<(), EmitError> {
        self.tidy()?;
        let tagged = tag.clone();
        self.for_each(to, Some(tag), |joined, peer| {
            joined.followed.follow(peer, &tagged, wish, &joined.output, || send(peer))
        })
        .await
    }

    /// Does something for each peer that is meant; `tag` is what an error bears.
    async fn for_each(
        &mut self,
        to: To,
        tag: Option<String>,
        mut act: impl FnMut(&mut Self, &Peer) -> Result<(), Failure>,
    ) -> Result<(), EmitError> {
        let peers = match to {
            To::Everyone => self.swarm.peers(),
            To::Peer(id) => self.swarm.peer(&id).into_iter().collect(),
        };
        if peers.is_empty() {
            return match to {
                To::Peer(id) => self.not_connected(tag, id).await,
                // Nothing will come that ends the command.
                To::Everyone if tag.is_some() => self.output.complain(tag, "no peer is connected".to_owned()).await,
                To::Everyone => Ok(()),
            };
        }
        for peer in peers {
            if let Err(error) = act(self, &peer) {
                self.output.complain_of(peer.id(), tag.clone(), error).await?;
            }
        }
        Ok(())
    }

    async fn no_progress(&self, tag: Option<String>) -> Result<(), EmitError> {
        let error = "`progress` needs a `tag`, and `accepted` or `acknowledged` as its `confirm`";
        self.output.complain(tag, error.to_owned()).await
    }

    async fn untagged(&self) -> Result<(), EmitError> {
        self.output.complain(None, "`confirm` needs a `tag`, by which it is confirmed".to_owned()).await
    }

    async fn not_connected(&self, tag: Option<String>, peer: PeerId) -> Result<(), EmitError> {
        self.output.complain_of(peer, tag, Failure::new("not_connected", "it is not connected")).await
    }
}
