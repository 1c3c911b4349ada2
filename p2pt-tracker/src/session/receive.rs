//! What frames from the tracker mean.

use std::ops::RangeInclusive;
use std::time::Duration;

use web_time::Instant;

use p2pt_proto::{AnnounceReply, Failure, ForwardedAnswer, ForwardedOffer, InfoHash, TrackerMessage};

use super::scrape::Answered;
use super::swarm::Reply;
use super::{Session, SocketId, SocketState};
use crate::tally::{Tally, Verdict};
use crate::{TrackerEvent, TrackerWarning};

/// A peer's offer or answer beyond this is not passed on. Real ones are below 15 KiB.
const MAX_SDP_BYTES: usize = 64 * 1024;
/// What a tracker says is shortened to this before people see it.
const MAX_TEXT_CHARS: usize = 256;

/// Frames that come too late, for a swarm that was just left or an offer that has just ended, may be so many in a minute.
const LATE_FRAMES: u32 = 8;
/// Intervals that an operator may have meant.
const SANE_INTERVALS: RangeInclusive<Duration> = Duration::from_secs(5)..=Duration::from_secs(24 * 60 * 60);

/// How often the tracker has sent what it should not.
#[derive(Debug)]
pub(super) struct Suspicions {
    foreign: Tally,
    strays: Tally,
}

impl Suspicions {
    pub(super) fn new(now: Instant) -> Self {
        let [foreign, strays] = [LATE_FRAMES; 2].map(|limit| Tally::new(now, limit));
        Self { foreign, strays }
    }
}

impl Session {
    pub(super) fn on_received(&mut self, socket: SocketId, frame: &[u8]) {
        if !matches!(&self.socket, SocketState::Open(open) if open.id == socket) {
            return;
        }
        tracing::trace!(bytes = frame.len(), "frame received");
        self.on_alive(socket);
        self.counters.frames_received += 1;
        if self.stop_by.is_some() {
            return;
        }
        let message = TrackerMessage::decode_noting(frame).map(|(message, odd)| {
            if !odd.is_empty() {
                self.warn(TrackerWarning::OddFields { fields: odd });
            }
            message
        });
        let used = match message {
            Ok(TrackerMessage::Announced(reply)) => self.on_reply(reply),
            Ok(TrackerMessage::Offer(offer)) => self.on_offer(offer),
            Ok(TrackerMessage::Answer(answer)) => self.on_answer(answer),
            Ok(TrackerMessage::Scrape(reply)) => match self.scrapes.take_reply(reply.files) {
                Some(Answered::Silence(info_hash)) => {
                    self.on_silence(info_hash);
                    true
                }
                Some(Answered::Request(files)) => {
                    self.events.push_back(TrackerEvent::Scraped { files });
                    true
                }
                None => false,
            },
            Ok(TrackerMessage::Failure(failure)) => {
                self.on_failure(failure);
                true
            }
            Ok(_) => false,
            Err(error) => {
                self.warn(TrackerWarning::BadFrame { reason: shorten(&error.to_string()) });
                false
            }
        };
        if !used {
            self.counters.frames_ignored += 1;
        }
    }

    fn on_reply(&mut self, reply: AnnounceReply) -> bool {
        let info_hash = reply.info_hash;
        let SocketState::Open(open) = &self.socket else { return false };
        let Some(swarm) = self.swarms.get_mut(&info_hash) else { return self.on_foreign(info_hash) };
        // Without an announce before, it is the reply to the `stopped` of an earlier membership.
        let Some(announced_at) = swarm.announced_at() else { return false };
        let (complete, incomplete) = (reply.complete, reply.incomplete);
        let named = reply.interval.max(reply.min_interval);
        let certain = open.is_reply_certain(info_hash, announced_at);
        let was_slow = swarm.is_slow();
        let reply_ = Reply { interval: named, complete, incomplete, certain };
        let interval = swarm.on_reply(self.now, &reply_, &self.config);
        if let Some(took) = swarm.state().reply_time.filter(|_| swarm.is_slow() && !was_slow) {
            self.warn(TrackerWarning::Slow { info_hash, took });
        }
        if let Some(named) = named.filter(|named| !SANE_INTERVALS.contains(named)) {
            self.warn(TrackerWarning::AbsurdInterval { named, used: interval });
        }
        if let Some(message) = reply.warning {
            self.warn(TrackerWarning::Message { message: shorten(&message), info_hash });
        }
        tracing::debug!(swarm = %info_hash, complete, incomplete, ?interval, "announce replied to");
        self.events.push_back(TrackerEvent::Announced { info_hash, complete, incomplete, interval });
        true
    }

    fn on_offer(&mut self, offer: ForwardedOffer) -> bool {
        let ForwardedOffer { info_hash, peer_id: from, offer_id, sdp, .. } = offer;
        if from == self.peer_id {
            self.on_own_offer(info_hash, offer_id, &sdp);
            return false;
        }
        let Some(swarm) = self.swarms.get_mut(&info_hash) else { return self.on_foreign(info_hash) };
        match swarm.admit(self.now, sdp.len() <= MAX_SDP_BYTES) {
            Verdict::Within => {
                self.counters.offers_received += 1;
                tracing::debug!(swarm = %info_hash, peer = %from, offer = %offer_id, "offer received");
                self.events.push_back(TrackerEvent::Offer { info_hash, from, offer_id, sdp });
                true
            }
            Verdict::Beyond => {
                tracing::debug!(swarm = %info_hash, peer = %from, offer = %offer_id, "offer declined");
                self.warn(TrackerWarning::OfferFlood { info_hash });
                false
            }
        }
    }

    fn on_answer(&mut self, answer: ForwardedAnswer) -> bool {
        let ForwardedAnswer { info_hash, peer_id: from, offer_id, sdp, .. } = answer;
        let Some(swarm) = self.swarms.get_mut(&info_hash) else { return self.on_foreign(info_hash) };
        if from == self.peer_id || sdp.len() > MAX_SDP_BYTES || !swarm.pool.answer(offer_id) {
            if self.suspicions.strays.add(self.now) == Verdict::Beyond {
                self.warn(TrackerWarning::StrayAnswers { info_hash });
            }
            self.on_stray_answer(info_hash, from, offer_id);
            return false;
        }
        swarm.meet();
        self.counters.answers_received += 1;
        tracing::debug!(swarm = %info_hash, peer = %from, offer = %offer_id, "answer received");
        self.events.push_back(TrackerEvent::Answer { info_hash, from, offer_id, sdp });
        true
    }

    /// A frame is for a swarm that was not joined, or was left.
    fn on_foreign(&mut self, info_hash: InfoHash) -> bool {
        if self.suspicions.foreign.add(self.now) == Verdict::Beyond {
            self.warn(TrackerWarning::ForeignSwarm { info_hash });
        }
        false
    }

    fn on_failure(&mut self, failure: Failure) {
        let Failure { reason, action, info_hash, .. } = failure;
        if let Some(info_hash) = info_hash {
            self.on_refusal(info_hash, &reason);
        }
        for (joined, swarm) in &mut self.swarms {
            if info_hash.is_none_or(|info_hash| info_hash == *joined) {
                swarm.on_failure();
            }
        }
        self.warn(TrackerWarning::Failure { reason: shorten(&reason), info_hash });
        if action.as_deref() == Some("scrape")
            && let Some(info_hashes) = self.scrapes.fail_sent()
        {
            self.scrape_failed(info_hashes);
        }
    }
}

/// Without control characters, which terminals would obey.
pub(crate) fn shorten(text: &str) -> String {
    text.chars().take(MAX_TEXT_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
