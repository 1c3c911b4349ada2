//! What a transport decides, behind one lock: connections, what their channels hold, and what is learned from servers.
//! Sans-I/O: datagrams and frames come and go as values.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{
    WebRtcConfig,
    datagram::Datagram,
    endpoint::{Endpoint, Key},
    link::{Link, NEAR_WINDOW, Opening},
    peer::{self, Peer, PeerEvent},
};
use crate::{ChannelClosed, LinkStats};

/// What a path holds, in bytes for each second of its round trip, but for the first millisecond, in which a busy machine is
/// as likely: more than peers take that do not say what their sockets hold.
const FAR_WINDOW_RATE: f64 = 30e6;

/// How often that is looked at.
const WINDOW_AGE: Duration = Duration::from_secs(1);

/// Datagrams that wait for a socket, beyond which connections wait too: four windows.
const MAX_OUT: usize = 4096;

/// The part of a channel that is served here.
struct Served {
    link: Arc<Link>,
    /// When it was last looked how much may be on its way.
    window_at: Option<Instant>,
}

/// Everything a transport decides.
pub(super) struct Core {
    pub(super) endpoint: Endpoint,
    links: HashMap<Key, Served>,
    /// To be sent.
    pub(super) out: VecDeque<Datagram>,
    silence: Duration,
}

impl Core {
    pub(super) fn new(endpoint: Endpoint, config: &WebRtcConfig) -> Self {
        Self { endpoint, links: HashMap::new(), out: VecDeque::new(), silence: config.silence_timeout }
    }

    /// Serves a connection's channel through `link` from now on.
    pub(super) fn attach(&mut self, key: Key, link: Arc<Link>) {
        self.links.insert(key, Served { link, window_at: None });
        self.endpoint.list(key);
    }

    pub(super) fn links(&self) -> impl Iterator<Item = &Arc<Link>> {
        self.links.values().map(|served| &served.link)
    }

    /// The connection of a link, while there is one.
    pub(super) fn peer_of(&mut self, link: &Arc<Link>) -> Option<&mut Peer> {
        self.links.get(&link.key).filter(|served| Arc::ptr_eq(&served.link, link))?;
        self.endpoint.peer(link.key)
    }

    /// Takes a received datagram.
    pub(super) fn receive(&mut self, datagram: Datagram) {
        self.endpoint.receive(datagram);
    }

    /// A half of a channel has something to do.
    pub(super) fn touched(&mut self, key: Key) {
        if let Some(served) = self.links.get(&key) {
            served.link.is_listed.store(false, Ordering::Release);
            self.endpoint.list(key);
        }
    }

    /// Does what is due, for at most `most` received datagrams. Whether something is left to do.
    pub(super) fn turn(&mut self, now: Instant, most: usize) -> bool {
        let mut more = self.endpoint.process(now, most);
        self.endpoint.handle_timeout(now);
        while self.out.len() < MAX_OUT
            && let Some(key) = self.endpoint.poll_listed()
        {
            self.serve(now, key);
            if !self.endpoint.transmit(now, key, &mut self.out) {
                self.remove(key);
            }
        }
        more |= self.endpoint.next_timeout().is_some_and(|at| at <= now);
        more
    }

    /// When there is something to do again.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.endpoint.next_timeout()
    }

    /// Moves events, received and accepted frames of a connection.
    fn serve(&mut self, now: Instant, key: Key) {
        let Some(served) = self.links.get_mut(&key) else { return };
        let Some(peer) = self.endpoint.peer(key) else { return };
        let link = &*served.link;
        if link.close.load(Ordering::Acquire) {
            peer.set_unsent(now, link.outbox.unsent_bytes());
            peer.close(now);
        }
        report(now, peer, link, self.silence);
        if !peer.is_open() {
            return;
        }
        if peer.is_done() {
            let _ = link.last_stats.set(stats(peer));
        }
        while !link.end.is_said() && !link.inbox.is_full() {
            let Some(frame) = peer.receive(now) else { break };
            link.inbox.push(frame);
        }
        if link.inbox.is_flooded() {
            peer.fail(now, "nobody reads its flood of tiny frames".to_owned());
            report(now, peer, link, self.silence);
        }
        if link.outbox.is_pressed() || link.end.is_said() {
            link.outbox.settle(peer.outstanding());
            if !link.window_is_known.load(Ordering::Relaxed) && served.window_at.is_none_or(|at| now >= at + WINDOW_AGE)
            {
                served.window_at = Some(now);
                link.outbox.set_window(NEAR_WINDOW + far(peer.round_trip()));
            }
        }
        while let Some(frame) = link.outbox.take() {
            if let Err(frame) = peer.send(now, frame) {
                link.outbox.put_back(frame);
                break;
            }
        }
        peer.set_unsent(now, link.outbox.unsent_bytes());
    }

    /// Ends everything at once: there is no driver any more.
    pub(super) fn abandon(&mut self) {
        for key in self.endpoint.keys() {
            if let Some(served) = self.links.get(&key) {
                served.link.end_with(ChannelClosed::Failed("its driver is gone".to_owned()));
            }
            self.endpoint.remove(key);
            self.remove(key);
        }
        self.out.clear();
    }

    fn remove(&mut self, key: Key) {
        if let Some(served) = self.links.remove(&key) {
            served.link.end_with(served.link.local_reason());
            served.link.opening.send_if_modified(|opening| {
                let was_pending = *opening == Opening::Pending;
                if was_pending {
                    *opening = Opening::Failed(peer::Stage::Waiting, peer::End::Local);
                }
                was_pending
            });
            served.link.finished.cancel();
        }
    }
}

/// What the path holds beyond the near, in bytes.
fn far(round_trip: Option<Duration>) -> usize {
    let beyond = round_trip.unwrap_or_default().saturating_sub(Duration::from_millis(1));
    (beyond.as_secs_f64() * FAR_WINDOW_RATE) as usize
}

/// Tells the halves, or the opening, what has happened to a connection.
fn report(now: Instant, peer: &mut Peer, link: &Link, silence: Duration) {
    while let Some(event) = peer.poll_event() {
        match event {
            PeerEvent::Open { label } => {
                link.opening.send_replace(Opening::Open(label));
            }
            PeerEvent::Ended { stage: peer::Stage::Open, end } => {
                let reason = match end {
                    peer::End::Local => {
                        // What it had accepted is still sent.
                        link.end_with(link.local_reason());
                        continue;
                    }
                    peer::End::Remote => ChannelClosed::Remote,
                    peer::End::Silent | peer::End::TimedOut => ChannelClosed::Silent(silence),
                    peer::End::Failed(why) => ChannelClosed::Failed(why),
                };
                while let Some(frame) = peer.receive(now) {
                    link.inbox.push(frame);
                }
                link.outbox.settle(peer.outstanding());
                link.end_with(reason);
            }
            PeerEvent::Ended { stage, end } => {
                link.opening.send_replace(Opening::Failed(stage, end));
            }
        }
    }
}

/// The numbers of a connection.
pub(super) fn stats(peer: &Peer) -> LinkStats {
    let mut stats = LinkStats { round_trip: peer.round_trip(), ..LinkStats::default() };
    if let Some((local, remote)) = peer.selected_kinds() {
        stats.local_candidate = Some(local.name().to_owned());
        stats.remote_candidate = Some(remote.name().to_owned());
    }
    stats
}
