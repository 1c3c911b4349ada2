//! Scrapes: one at a time, since replies do not say what they reply to.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use web_time::Instant;

use p2pt_proto::{ClientMessage, InfoHash, ScrapeRequest, ScrapeStats};

/// A frame with so many info hashes is below 8 KiB even if each byte is escaped; aquatic drops what is beyond 255.
const MAX_PER_REQUEST: usize = 64;
/// Requests waiting for their turn.
const MAX_QUEUED: usize = 64;

#[derive(Debug)]
pub(super) struct Scrapes {
    timeout: Duration,
    queue: VecDeque<Scrape>,
    sent: Option<Scrape>,
}

#[derive(Debug)]
struct Scrape {
    /// Empty for all.
    info_hashes: Vec<InfoHash>,
    deadline: Instant,
    /// Nothing but the tracker's silence has asked for it, so its end is of no interest.
    in_silence: bool,
}

impl Scrape {
    /// What is reported if it fails.
    fn failed(self) -> Option<Vec<InfoHash>> {
        (!self.in_silence).then_some(self.info_hashes)
    }
}

/// What a scrape was for that is replied to.
#[derive(Debug, PartialEq)]
pub(super) enum Answered {
    /// These numbers were asked for.
    Request(BTreeMap<InfoHash, ScrapeStats>),
    /// The tracker does not reply to announces of this swarm.
    Silence(InfoHash),
}

impl Scrapes {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout, queue: VecDeque::new(), sent: None }
    }

    /// Queues the request in parts; returns the parts there is no room for.
    pub(super) fn request(&mut self, now: Instant, info_hashes: Vec<InfoHash>) -> Vec<Vec<InfoHash>> {
        let deadline = now + self.timeout;
        let parts = if info_hashes.is_empty() {
            vec![info_hashes]
        } else {
            info_hashes.chunks(MAX_PER_REQUEST).map(<[_]>::to_vec).collect()
        };
        let mut refused = Vec::new();
        for info_hashes in parts {
            if self.queue.len() < MAX_QUEUED {
                self.queue.push_back(Scrape { info_hashes, deadline, in_silence: false });
            } else {
                refused.push(info_hashes);
            }
        }
        refused
    }

    /// Sees whether a tracker that does not reply to announces replies to anything, unless there is much to ask already.
    pub(super) fn ask_in_silence(&mut self, now: Instant, info_hash: InfoHash) {
        if self.queue.len() < MAX_QUEUED / 2 {
            let (info_hashes, deadline) = (vec![info_hash], now + self.timeout);
            self.queue.push_back(Scrape { info_hashes, deadline, in_silence: true });
        }
    }

    pub(super) fn is_busy(&self) -> bool {
        self.sent.is_some() || !self.queue.is_empty()
    }

    /// The next request to send, if none is unanswered.
    pub(super) fn next_frame(&mut self) -> Option<String> {
        if self.sent.is_some() {
            return None;
        }
        let scrape = self.queue.pop_front()?;
        let info_hashes = scrape.info_hashes.clone();
        self.sent = Some(scrape);
        Some(ClientMessage::Scrape(ScrapeRequest::new(info_hashes)).encode())
    }

    /// What of a reply was asked for. `None` if the reply is not to the present request, but, say, to one that has
    /// been given up.
    pub(super) fn take_reply(&mut self, mut files: BTreeMap<InfoHash, ScrapeStats>) -> Option<Answered> {
        let asked = &self.sent.as_ref()?.info_hashes;
        if !asked.is_empty() {
            let had_files = !files.is_empty();
            files.retain(|info_hash, _| asked.contains(info_hash));
            if had_files && files.is_empty() {
                return None;
            }
        }
        let Scrape { info_hashes, in_silence, .. } = self.sent.take()?;
        Some(match info_hashes[..] {
            [info_hash] if in_silence => Answered::Silence(info_hash),
            _ => Answered::Request(files),
        })
    }

    /// Gives the unanswered request up and returns it.
    pub(super) fn fail_sent(&mut self) -> Option<Vec<InfoHash>> {
        self.sent.take().and_then(Scrape::failed)
    }

    /// Gives up the requests whose time is over and returns them.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Vec<InfoHash>> {
        let mut expired: Vec<_> = self.sent.take_if(|scrape| scrape.deadline <= now).into_iter().collect();
        let waiting = self.queue.iter().take_while(|scrape| scrape.deadline <= now).count();
        expired.extend(self.queue.drain(..waiting));
        expired.into_iter().filter_map(Scrape::failed).collect()
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.sent.iter().chain(self.queue.front()).map(|scrape| scrape.deadline).min()
    }

    pub(super) fn clear(&mut self) {
        self.queue.clear();
        self.sent = None;
    }
}
