//! The swarms that the pipe is in, and what waits for their peers.

use p2pt::trust::PublicKey;
use p2pt::{Events, Frame, InfoHash, NodeError, Peer, PeerId, PendingSend, Request, RequestError, Swarm};
use tokio::task::JoinSet;

use super::command::{Confirm, Respond, SendFrame, SendMessage, To};
use super::confirm::Confirmations;
use super::event::Event;
use super::known::{KnownConnection, KnownTracker};
use super::output::{EmitError, Output, SwarmOutput};
use super::report::{report, report_response};
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
    /// Closing the connections of those who are sent away.
    partings: JoinSet<()>,
}

impl Joined {
    /// Has the events of the swarm reported from now on.
    pub(super) fn new(swarm: Swarm, events: Events, output: &Output) -> Self {
        let output = SwarmOutput::new(output.clone(), swarm.info_hash());
        let mut reports = JoinSet::new();
        reports.spawn(report(output.clone(), events));
        let (asked, partings) = (JoinSet::new(), JoinSet::new());
        Self { swarm, output, reports, asked, confirmations: Confirmations::default(), partings }
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

    pub(super) async fn send(&mut self, send: SendMessage) -> Result<(), EmitError> {
        let SendMessage { peer: to, message, tag, confirm, wait, swarm: _ } = send;
        match (confirm, tag, wait) {
            (Some(_), None, _) => self.untagged().await,
            (Some(Confirm::Response), tag, false) => {
                let error = "what is sent without waiting has no response: `wait` and `confirm` contradict each other";
                self.output.complain(tag, error.to_owned()).await
            }
            (Some(Confirm::Accepted), Some(tag), true) => {
                self.confirm(to, tag, |peer| peer.queue_confirmed(message.clone()).map(Some).map_err(text)).await
            }
            (Some(Confirm::Accepted), Some(tag), false) => {
                self.confirm(to, tag, |peer| peer.try_send(message.clone()).map(|()| None).map_err(text)).await
            }
            (Some(Confirm::Response) | None, Some(tag), true) => {
                self.ask(to, tag, |peer| peer.request(message.clone())).await
            }
            (None, None, true) => self.for_each(to, None, |_, peer| peer.queue(message.clone()).map_err(text)).await,
            (None, tag, false) => self.for_each(to, tag, |_, peer| peer.try_send(message.clone()).map_err(text)).await,
        }
    }

    pub(super) async fn respond(&mut self, respond: Respond) -> Result<(), EmitError> {
        let Respond { peer, id, message, tag, confirm, swarm: _ } = respond;
        let to = To::Peer(peer);
        match (confirm, tag) {
            (Some(_), None) => self.untagged().await,
            (Some(Confirm::Accepted), Some(tag)) => {
                let respond = |peer: &Peer| peer.queue_response_confirmed(id.clone(), message.clone());
                self.confirm(to, tag, |peer| respond(peer).map(Some).map_err(text)).await
            }
            (Some(Confirm::Response) | None, Some(tag)) => {
                self.ask(to, tag, |peer| peer.request_in_response_to(id.clone(), message.clone())).await
            }
            (None, None) => {
                let respond = |peer: &Peer| peer.queue_response_to(id.clone(), message.clone());
                self.for_each(to, None, |_, peer| respond(peer).map_err(text)).await
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
                self.confirm(send.peer, tag, |peer| peer.queue_frame_confirmed(frame.clone()).map(Some).map_err(text))
                    .await
            }
            (None, tag) => self.for_each(send.peer, tag, |_, peer| peer.queue_frame(frame.clone()).map_err(text)).await,
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

    pub(super) async fn disconnect(&mut self, id: PeerId) -> Result<(), EmitError> {
        while self.partings.try_join_next().is_some() {}
        match self.swarm.peer(&id) {
            Some(_) if self.partings.len() >= MAX_PARTINGS => {
                self.output.complain_of(id, None, &format!("{MAX_PARTINGS} others are being sent away")).await
            }
            Some(peer) => {
                self.partings.spawn(async move { peer.disconnect().await });
                Ok(())
            }
            None => self.not_connected(None, id).await,
        }
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
        self.confirmations.finish().await
    }

    fn tidy(&mut self) -> Result<(), EmitError> {
        while let Some(said) = self.asked.try_join_next() {
            check(said)?;
        }
        self.confirmations.tidy()
    }

    /// Queues a request for each peer that is meant, and has what comes of it reported.
    async fn ask(&mut self, to: To, tag: String, request: impl Fn(&Peer) -> Request) -> Result<(), EmitError> {
        self.tidy()?;
        let tagged = tag.clone();
        self.for_each(to, Some(tag), |joined, peer| {
            let response = request(peer).queue().map_err(text::<RequestError>)?;
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
        send: impl Fn(&Peer) -> Result<Option<PendingSend>, String>,
    ) -> Result<(), EmitError> {
        self.tidy()?;
        let tagged = tag.clone();
        self.for_each(to, Some(tag), |joined, peer| {
            joined.confirmations.confirm(peer, tagged.clone(), &joined.output, || send(peer))
        })
        .await
    }

    /// Does something for each peer that is meant; `tag` is what an error bears.
    async fn for_each(
        &mut self,
        to: To,
        tag: Option<String>,
        mut act: impl FnMut(&mut Self, &Peer) -> Result<(), String>,
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
                self.output.complain_of(peer.id(), tag.clone(), &error).await?;
            }
        }
        Ok(())
    }

    async fn untagged(&self) -> Result<(), EmitError> {
        self.output.complain(None, "`confirm` needs a `tag`, by which it is confirmed".to_owned()).await
    }

    async fn not_connected(&self, tag: Option<String>, peer: PeerId) -> Result<(), EmitError> {
        self.output.complain_of(peer, tag, "it is not connected").await
    }
}

fn text<E: std::error::Error>(error: E) -> String {
    error.to_string()
}
