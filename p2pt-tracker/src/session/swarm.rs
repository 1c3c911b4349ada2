//! One swarm at one tracker: when its next announce is due, and which offers go with it.

use std::time::Duration;

use web_time::Instant;

use p2pt_proto::{Announce, ClientMessage, InfoHash, Offer, OfferId, PeerId};

use super::families::Company;
use super::{FIRST_OFFERS, MAX_FRAME_BYTES, MAX_OFFERS_PER_ANNOUNCE};
use crate::offer_pool::OfferPool;
use crate::tally::{Tally, Verdict};
use crate::{ClientConfig, SwarmState};

/// How long an announce waits for the reply to the one before. Two announces of a new info hash at once make
/// bittorrent-tracker's server create two swarms, and replies could not be distinguished.
const REPLY_PATIENCE: Duration = Duration::from_secs(5);
/// A request for offers that brought none is not repeated sooner only because the socket has opened.
const REQUEST_VALID: Duration = Duration::from_secs(5);
/// A reply that takes longer is reported as slow.
const SLOW: Duration = Duration::from_secs(5);
/// The interval where a reply names none.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(120);

#[derive(Debug)]
pub(super) struct Swarm {
    pub(super) pool: OfferPool,
    wanted: usize,
    offers_request: OffersRequest,
    plan: Plan,
    /// The last announce on the present socket.
    announced: Option<Announced>,
    /// The last announce went without offers that had been asked for; when they come, they are announced at once.
    short: bool,
    interval: Duration,
    complete: Option<u32>,
    incomplete: Option<u32>,
    company: Company,
    /// The tracker may still know us by a socket that broke.
    displaced: bool,
    /// Since when announces have got no reply.
    silent_since: Option<Instant>,
    silence_reported: bool,
    reply_time: Option<Duration>,
    /// Offers of other peers.
    incoming: Tally,
}

/// Whether offers have been asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OffersRequest {
    /// They have, at that time.
    Waiting(Instant),
    /// What there was to be had came at that time.
    Settled(Instant),
}

/// The next announce. Offers are asked for at `ask_at`; it goes out with whatever there is at `until`, and from
/// `from` on as soon as the offers are there.
#[derive(Debug, Clone, Copy)]
struct Plan {
    ask_at: Instant,
    asked: bool,
    from: Instant,
    until: Instant,
    /// A regular announce, which a reply may put off; not one that was asked for.
    regular: bool,
}

#[derive(Debug)]
struct Announced {
    at: Instant,
    replied: bool,
    /// In the order in which trackers forward them.
    offers: Vec<OfferId>,
}

/// The parts of a reply to an announce that matter here.
pub(super) struct Reply {
    pub(super) interval: Option<Duration>,
    pub(super) complete: Option<u32>,
    pub(super) incomplete: Option<u32>,
    /// It cannot be the reply to something else.
    pub(super) certain: bool,
}

impl Swarm {
    pub(super) fn new(now: Instant, config: &ClientConfig) -> Self {
        Self {
            pool: OfferPool::new(config),
            wanted: FIRST_OFFERS,
            offers_request: OffersRequest::Settled(now),
            plan: Plan::urgent(now, now, config),
            announced: None,
            short: false,
            interval: DEFAULT_INTERVAL.clamp(config.interval_min, config.interval_max),
            complete: None,
            incomplete: None,
            company: Company::Unknown,
            displaced: false,
            silent_since: None,
            silence_reported: false,
            reply_time: None,
            incoming: Tally::new(now, config.max_incoming_offers_per_minute),
        }
    }

    pub(super) fn state(&self) -> SwarmState {
        SwarmState {
            announced: self.announced.as_ref().is_some_and(|announced| announced.replied),
            complete: self.complete,
            incomplete: self.incomplete,
            offers: self.pool.len(),
            reply_time: self.reply_time,
        }
    }

    /// Whether an announce was sent on the present socket, so that leaving takes `stopped`.
    pub(super) fn is_known_to_tracker(&self) -> bool {
        self.announced.is_some()
    }

    /// When the last announce on the present socket was sent.
    pub(super) fn announced_at(&self) -> Option<Instant> {
        self.announced.as_ref().map(|announced| announced.at)
    }

    /// The socket is gone; `broken` if the tracker may not know that.
    pub(super) fn on_disconnected(&mut self, now: Instant, broken: bool) {
        self.displaced |= broken && self.announced.is_some();
        self.announced = None;
        self.short = false;
        self.company = Company::Unknown;
        self.on_failure();
        self.plan = Plan { ask_at: now, asked: false, from: now, until: now, regular: false };
    }

    /// Whether our record at the tracker has to be made anew, which is done once.
    pub(super) fn take_displaced(&mut self) -> bool {
        std::mem::take(&mut self.displaced)
    }

    /// Whether the swarm has other members, as far as the present socket knows.
    pub(super) fn company(&self) -> Company {
        self.company
    }

    /// The swarm has another member.
    pub(super) fn meet(&mut self) {
        self.company = Company::Present;
    }

    /// Whether an announce waits for its reply.
    pub(super) fn is_silent(&self) -> bool {
        self.silent_since.is_some()
    }

    /// The tracker does not reply for a reason that is known, so its silence is forgotten.
    pub(super) fn on_failure(&mut self) {
        (self.silent_since, self.silence_reported) = (None, false);
    }

    /// How long the tracker has been silent, if that is too long and news.
    pub(super) fn silence(&mut self, now: Instant, config: &ClientConfig) -> Option<Duration> {
        let waited = now.saturating_duration_since(self.silent_since?);
        let is_news = waited >= config.retry_interval && !std::mem::replace(&mut self.silence_reported, true);
        is_news.then_some(waited)
    }

    /// Whether the last reply took long.
    pub(super) fn is_slow(&self) -> bool {
        self.reply_time.is_some_and(|took| took > SLOW)
    }

    /// The socket has just opened: the announce goes out once the offers asked for meanwhile are there.
    pub(super) fn plan_first_announce(&mut self, now: Instant, config: &ClientConfig) {
        self.announced = None;
        let asked = match self.offers_request {
            OffersRequest::Waiting(_) => self.plan.asked,
            // What came long before may have expired in the meantime.
            OffersRequest::Settled(at) => self.plan.asked && (self.pool.ready_len(now) > 0 || now < at + REQUEST_VALID),
        };
        let waits_since = match self.offers_request {
            OffersRequest::Waiting(since) if asked => since,
            _ => now,
        };
        let until = now.max(waits_since + config.offer_wait);
        self.plan = Plan { ask_at: now, asked, from: now, until, regular: false };
    }

    /// An announce soon is asked for.
    pub(super) fn request(&mut self, now: Instant, config: &ClientConfig) {
        if self.plan.regular {
            let from = self.announced_at().map_or(now, |at| now.max(at + config.request_spacing));
            self.plan = Plan::urgent(now, from, config);
        }
    }

    fn is_waiting(&self) -> bool {
        matches!(self.offers_request, OffersRequest::Waiting(_))
    }

    /// How many offers an announce should carry.
    fn target(&self) -> usize {
        self.wanted.min(MAX_OFFERS_PER_ANNOUNCE)
    }

    /// Whether it is time to ask for offers.
    pub(super) fn is_ask_due(&self, now: Instant) -> bool {
        !self.plan.asked && self.plan.ask_at <= now
    }

    /// Notes that offers are asked for now, and says how many.
    pub(super) fn ask(&mut self, now: Instant) -> Option<usize> {
        self.plan.asked = true;
        let count = self.target().saturating_sub(self.pool.ready_len(self.plan.from.max(now))).min(self.pool.room());
        self.offers_request = if count == 0 { OffersRequest::Settled(now) } else { OffersRequest::Waiting(now) };
        (count > 0).then_some(count)
    }

    /// What was to be had does not count: offers are asked for once there is a socket.
    pub(super) fn ask_again(&mut self) {
        self.plan.asked = false;
    }

    pub(super) fn has_asked(&self) -> bool {
        self.plan.asked
    }

    /// How many more peers would be welcome.
    pub(super) fn set_wanted(&mut self, now: Instant, wanted: usize) {
        if wanted == 0 {
            // None need be waited for.
            self.offers_request = OffersRequest::Settled(now);
        } else if self.wanted == 0 {
            self.plan.asked = false;
        }
        self.wanted = wanted;
    }

    /// The reply to `OffersWanted` has come.
    pub(super) fn offers_arrived(&mut self, now: Instant, config: &ClientConfig) {
        let late = self.short && self.is_waiting() && self.pool.ready_len(now) > 0;
        self.offers_request = OffersRequest::Settled(now);
        if late {
            self.plan = Plan { asked: true, ..Plan::urgent(now, now, config) };
            self.short = false;
        }
    }

    /// When the next announce may be written, seen from `now`; if that is not later than `now`, it is due.
    pub(super) fn announce_at(&self, now: Instant) -> Instant {
        let complete = self.plan.asked && !self.is_waiting() || self.pool.ready_len(now) >= self.target();
        let planned = if complete { self.plan.from } else { self.plan.until.max(self.plan.from) };
        match &self.announced {
            Some(last) if !last.replied => planned.max(last.at + REPLY_PATIENCE),
            _ => planned,
        }
    }

    /// When to ask for offers, unless that is done.
    pub(super) fn ask_at(&self) -> Option<Instant> {
        (!self.plan.asked).then_some(self.plan.ask_at)
    }

    /// Writes the announce and plans the next. The offers in it are not announced again, unless they prove surplus.
    pub(super) fn announce(
        &mut self,
        now: Instant,
        info_hash: InfoHash,
        peer_id: PeerId,
        config: &ClientConfig,
    ) -> (String, usize) {
        let target = self.target();
        let mut offers = self.pool.ready(now);
        offers.truncate(target);
        let ready = offers.len();
        let text = loop {
            let text = encode(info_hash, peer_id, &offers);
            // Each offer fits by itself: others were refused when they came in.
            if text.len() <= MAX_FRAME_BYTES || offers.pop().is_none() {
                break text;
            }
        };
        let ids: Vec<_> = offers.iter().map(|offer| offer.offer_id).collect();
        let count = ids.len();
        self.pool.mark_announced(&ids);
        self.announced = Some(Announced { at: now, replied: false, offers: ids });
        self.silent_since.get_or_insert(now);
        self.short = ready < target && self.is_waiting();
        self.plan = if count < ready {
            // The rest goes with another announce.
            Plan { ask_at: now, asked: true, from: now, until: now, regular: false }
        } else {
            Plan::regular(now + config.retry_interval, config)
        };
        (text, count)
    }

    /// Takes the reply to an announce on the present socket and returns the interval that counts.
    pub(super) fn on_reply(&mut self, now: Instant, reply: &Reply, config: &ClientConfig) -> Duration {
        (self.complete, self.incomplete) = (reply.complete, reply.incomplete);
        self.interval = reply.interval.unwrap_or(DEFAULT_INTERVAL).clamp(config.interval_min, config.interval_max);
        self.company = match self.state().members() {
            Some(0 | 1) => Company::Alone,
            Some(_) => Company::Present,
            None => Company::Unknown,
        };
        if let Some(last) = &mut self.announced {
            if !last.replied {
                let first = self.silent_since.unwrap_or(last.at);
                self.reply_time = Some(now.saturating_duration_since(first));
            }
            (self.silent_since, self.silence_reported) = (None, false);
            if !last.replied
                && reply.certain
                && let (Some(complete), Some(incomplete)) = (reply.complete, reply.incomplete)
            {
                // Trackers forward the first n offers, where n is the number of other members.
                let others = (complete as usize).saturating_add(incomplete as usize).saturating_sub(1);
                self.pool.mark_surplus(last.offers.get(others..).unwrap_or_default());
            }
            last.replied = true;
            if self.plan.regular {
                let plan = Plan::regular(now.max(last.at + self.interval), config);
                // Offers asked for too early would be old by then.
                self.plan = Plan { asked: self.plan.asked && plan.ask_at <= now, ..plan };
            }
        }
        self.interval
    }

    /// Counts another peer's offer that has just come in.
    pub(super) fn admit(&mut self, now: Instant, is_sound: bool) -> Verdict {
        let verdict = if is_sound { self.incoming.add(now) } else { Verdict::Beyond };
        if verdict == Verdict::Within {
            self.meet();
        }
        verdict
    }
}

impl Plan {
    /// An announce that goes out at `at`, with what there is then.
    fn regular(at: Instant, config: &ClientConfig) -> Self {
        let ask_at = at.checked_sub(config.offer_wait).unwrap_or(at);
        Self { ask_at, asked: false, from: at, until: at, regular: true }
    }

    /// An announce that goes out from `from` on, as soon as there are offers.
    fn urgent(now: Instant, from: Instant, config: &ClientConfig) -> Self {
        Self { ask_at: now, asked: false, from, until: from.max(now + config.offer_wait), regular: false }
    }
}

/// An announce; `numwant` goes with it always: some trackers forward no offers without it.
pub(super) fn encode(info_hash: InfoHash, peer_id: PeerId, offers: &[Offer]) -> String {
    let mut announce = Announce::new(info_hash, peer_id);
    announce.numwant = Some(u32::try_from(offers.len()).unwrap_or(u32::MAX));
    announce.offers = Some(offers.to_vec());
    ClientMessage::Announce(announce).encode()
}

/// Whether an announce with this offer alone is one that trackers take.
pub(super) fn fits_announce(info_hash: InfoHash, peer_id: PeerId, offer: &Offer) -> bool {
    offer.sdp.len() < MAX_FRAME_BYTES
        && encode(info_hash, peer_id, std::slice::from_ref(offer)).len() <= MAX_FRAME_BYTES
}
