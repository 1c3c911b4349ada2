//! One peer: its channels, and the offers of it that are kept.

use std::time::Duration;

use super::{ChannelId, Identity, JS_SETTLE, Library, RemoteOffer};
use crate::Instant;

#[derive(Debug)]
pub(super) struct Channel {
    pub(super) id: ChannelId,
    pub(super) label: String,
    pub(super) opened: Instant,
    pub(super) retiring: bool,
}

#[derive(Debug)]
pub(super) struct Entry<O> {
    pub(super) channels: Vec<Channel>,
    /// Until when further channels are sought, once there is one.
    pub(super) sought_until: Option<Instant>,
    /// What was last reported of that.
    pub(super) reported_sought: Option<bool>,
    /// By each tracker the newest offer that may still be answered, and until when.
    pub(super) held: Vec<(Instant, RemoteOffer<O>)>,
    /// That of the peer, which its first channel has shown, while there is a channel.
    identity: Option<Identity>,
}

impl<O> Entry<O> {
    pub(super) fn new() -> Self {
        let (channels, held) = (Vec::new(), Vec::new());
        Self { channels, sought_until: None, reported_sought: None, held, identity: None }
    }

    /// Who is connected, if any peer is.
    pub(super) fn identity(&self) -> Option<Identity> {
        self.identity.filter(|_| self.is_connected())
    }

    /// Adds a channel. The first one says who the peer is.
    pub(super) fn open(&mut self, channel: Channel, identity: Identity) {
        if !self.is_connected() {
            self.identity = Some(identity);
        }
        self.channels.push(channel);
    }

    /// Whether a peer is connected that has proven a key.
    pub(super) fn has_key(&self) -> bool {
        self.identity().is_some_and(|identity| identity.key.is_some())
    }

    /// Forgets the channels, which another peer under this id had.
    pub(super) fn displace(&mut self) {
        self.channels.clear();
        (self.sought_until, self.reported_sought, self.identity) = (None, None, None);
    }

    /// Whether a description that claims this may be of the peer that is connected, or none is connected.
    pub(super) fn may_be(&self, claimed: &Identity) -> bool {
        self.identity().is_none_or(|identity| claimed.may_be(&identity))
    }

    fn is_ours(&self) -> bool {
        self.identity().is_none_or(|identity| identity.library == Library::Ours)
    }

    pub(super) fn is_connected(&self) -> bool {
        !self.channels.is_empty()
    }

    /// How many channels may carry new messages.
    pub(super) fn live(&self) -> usize {
        self.channels.iter().filter(|channel| !channel.retiring).count()
    }

    /// Whether one of the channels in use has been open for so long.
    pub(super) fn has_lasted(&self, now: Instant, time: Duration) -> bool {
        self.channels.iter().any(|channel| !channel.retiring && now >= channel.opened + time)
    }

    /// Until when further channels are sought to a peer that has fewer than `wanted`.
    pub(super) fn sought_until(&self, wanted: usize) -> Option<Instant> {
        self.sought_until.filter(|_| self.is_connected() && self.live() < wanted)
    }

    /// Whether further channels are sought; `None` if there is none yet.
    pub(super) fn is_sought(&self, now: Instant, wanted: usize) -> Option<bool> {
        self.is_connected().then(|| self.sought_until(wanted).is_some_and(|until| now < until))
    }

    /// Keeps an offer in place of an older one by the same tracker, and hands that out.
    pub(super) fn hold(&mut self, until: Instant, offer: RemoteOffer<O>) -> Option<RemoteOffer<O>> {
        let index = self.held.iter().position(|(_, older)| older.tracker == offer.tracker);
        let older = index.map(|index| self.held.remove(index).1);
        self.held.push((until, offer));
        older
    }

    /// When the next channel to a JavaScript peer becomes surplus.
    pub(super) fn settled_at(&self, wanted: usize) -> Option<Instant> {
        if self.is_ours() || self.live() <= wanted {
            return None;
        }
        // Channels are in the order in which they opened; the first surplus one settles first.
        self.channels.iter().filter(|channel| !channel.retiring).nth(wanted).map(|channel| channel.opened + JS_SETTLE)
    }

    /// Marks the channels that are too many, and names them.
    pub(super) fn retire_surplus(&mut self, now: Instant, wanted: usize) -> Vec<ChannelId> {
        let is_ours = self.is_ours();
        let mut live: Vec<&mut Channel> = self.channels.iter_mut().filter(|channel| !channel.retiring).collect();
        if is_ours {
            live.sort_unstable_by(|a, b| a.label.cmp(&b.label));
        }
        let surplus = live.into_iter().skip(wanted);
        let retired = surplus.filter(|channel| is_ours || now >= channel.opened + JS_SETTLE);
        retired
            .map(|channel| {
                channel.retiring = true;
                channel.id
            })
            .collect()
    }
}
