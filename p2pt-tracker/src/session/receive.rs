//! What frames from the tracker mean.

use p2pt_proto::{AnnounceReply, Failure, ForwardedAnswer, ForwardedOffer, TrackerMessage};

use super::swarm::{Admission, Reply};
use super::{Session, SocketId, SocketState};
use crate::{TrackerEvent, TrackerWarning};

/// A stranger's offer or answer beyond this is not passed on. Real ones are below 15 KiB.
const MAX_SDP_BYTES: usize = 64 * 1024;
/// What a tracker says is shortened to this before people see it.
const MAX_TEXT_CHARS: usize = 256;

impl Session {
    pub(super) fn on_received(&mut self, socket: SocketId, frame: &[u8]) {
        if !matches!(&self.socket, SocketState::Open(open) if open.id == socket) {
            return;
        }
        self.on_heard(socket);
        if self.stop_by.is_some() {
            return;
        }
        let used = match TrackerMessage::decode(frame) {
            Ok(TrackerMessage::Announced(reply)) => self.on_reply(reply),
            Ok(TrackerMessage::Offer(offer)) => self.on_offer(offer),
            Ok(TrackerMessage::Answer(answer)) => self.on_answer(answer),
            Ok(TrackerMessage::Scrape(reply)) => match self.scrapes.take_reply(reply.files) {
                Some(files) => {
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
        let Some(swarm) = self.swarms.get_mut(&info_hash) else { return false };
        // Without an announce before, it is the reply to the `stopped` of an earlier membership.
        let Some(announced_at) = swarm.announced_at() else { return false };
        let (complete, incomplete) = (reply.complete, reply.incomplete);
        let interval = reply.interval.max(reply.min_interval);
        let certain = open.is_reply_certain(info_hash, announced_at);
        let reply_ = Reply { interval, complete, incomplete, certain };
        let interval = swarm.on_reply(self.now, &reply_, &self.config);
        if let Some(message) = reply.warning {
            self.warn(TrackerWarning::Message { message: shorten(&message), info_hash });
        }
        self.events.push_back(TrackerEvent::Announced { info_hash, complete, incomplete, interval });
        true
    }

    fn on_offer(&mut self, offer: ForwardedOffer) -> bool {
        let ForwardedOffer { info_hash, peer_id: from, offer_id, sdp } = offer;
        if from == self.peer_id {
            return false;
        }
        let Some(swarm) = self.swarms.get_mut(&info_hash) else { return false };
        match swarm.admit(self.now, sdp.len() <= MAX_SDP_BYTES, &self.config) {
            Admission::Admitted => {
                self.counters.offers_received += 1;
                self.events.push_back(TrackerEvent::Offer { info_hash, from, offer_id, sdp });
                true
            }
            Admission::Warn => {
                self.warn(TrackerWarning::OfferFlood { info_hash });
                false
            }
            Admission::Refused => false,
        }
    }

    fn on_answer(&mut self, answer: ForwardedAnswer) -> bool {
        let ForwardedAnswer { info_hash, peer_id: from, offer_id, sdp } = answer;
        let Some(swarm) = self.swarms.get_mut(&info_hash) else { return false };
        if from == self.peer_id || sdp.len() > MAX_SDP_BYTES || !swarm.pool.answer(offer_id) {
            return false;
        }
        self.counters.answers_received += 1;
        self.events.push_back(TrackerEvent::Answer { info_hash, from, offer_id, sdp });
        true
    }

    fn on_failure(&mut self, failure: Failure) {
        let Failure { reason, action, info_hash } = failure;
        self.warn(TrackerWarning::Failure { reason: shorten(&reason), info_hash });
        if action.as_deref() == Some("scrape")
            && let Some(info_hashes) = self.scrapes.fail_sent()
        {
            self.warn(TrackerWarning::ScrapeFailed { info_hashes });
        }
    }
}

/// Without control characters, which terminals would obey.
fn shorten(text: &str) -> String {
    text.chars().take(MAX_TEXT_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
