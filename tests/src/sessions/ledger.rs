//! What was sent, and what became of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use p2pt::{Payload, PeerClosed, RequestError, SendError, Urgency};
use tokio::time::Instant;

use super::{Faults, Plan, RECEIVE_MEMORY, SEND_MEMORY};

/// At most so many violations are told.
const TOLD: usize = 20;

/// What a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Message,
    Request,
    /// To the request of this number.
    Response(usize),
}

/// How a message looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Text(usize),
    Json(usize),
    Bytes(usize),
}

impl Shape {
    /// The message of a number, which says its number; without any room for that it is empty.
    pub(super) fn payload(self, number: usize) -> Payload {
        match self {
            Self::Text(0) => Payload::from(String::new()),
            Self::Text(bytes) => Payload::from(format!("{number}:{}", "x".repeat(bytes))),
            Self::Json(bytes) => Payload::json(&(number, "x".repeat(bytes))).expect("JSON"),
            Self::Bytes(0) => Payload::from(Vec::new()),
            Self::Bytes(bytes) => {
                let mut content = (number as u64).to_be_bytes().to_vec();
                content.resize(8 + bytes, number as u8);
                Payload::Bytes(Bytes::from(content))
            }
        }
    }

    fn is_empty(self) -> bool {
        matches!(self, Self::Text(0) | Self::Bytes(0))
    }
}

/// The number that a message says.
fn number_of(payload: &Payload) -> Option<usize> {
    if let Some(bytes) = payload.as_bytes() {
        let number = u64::from_be_bytes(bytes.get(..8)?.try_into().ok()?);
        return usize::try_from(number).ok();
    }
    let text = payload.as_str()?;
    let digits = text.trim_start_matches('[').split([':', ',']).next()?;
    digits.parse().ok()
}

/// What the sender knows.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Outcome {
    /// Nothing yet.
    Open,
    /// A channel has taken all of it, and more was not asked for.
    Taken,
    Acknowledged,
    /// Of a request.
    Answered,
    /// It was taken back.
    Cancelled,
    /// Its future was dropped: it was taken back or not.
    Dropped,
    /// There was no room for it in the first place.
    NotQueued,
    Refused,
    /// The peer is gone.
    Gone,
    /// Of a request: its response is held up.
    HeldUp,
}

#[derive(Debug)]
struct Entry {
    from: usize,
    to: usize,
    class: Class,
    shape: Shape,
    delivered: u32,
    returned: u32,
    outcome: Outcome,
    began: Instant,
}

/// A direction of a stream.
#[derive(Debug, Default)]
pub(super) struct Flow {
    /// All was written, and is acknowledged.
    pub(super) acknowledged: bool,
    /// All was read, to the end.
    pub(super) read: bool,
    /// It ended otherwise, as it was to.
    pub(super) cut: bool,
    /// A side saw the peer go.
    pub(super) gone: bool,
}

impl Flow {
    fn is_over(&self) -> bool {
        self.read || self.cut || self.gone
    }
}

/// What came of one plan or several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Messages given to nodes, requests and responses among them.
    pub sent: usize,
    /// Those that came.
    pub delivered: usize,
    /// Those that came back.
    pub returned: usize,
    /// Those that came and came back, too.
    pub both: usize,
    /// Those whose arrival the sender knows.
    pub acknowledged: usize,
    /// Those that were taken back.
    pub cancelled: usize,
    /// Those that the other side had no room for.
    pub refused: usize,
    /// Directions of streams.
    pub flows: usize,
    /// Those that were read to the end.
    pub read: usize,
    /// Faults.
    pub faults: usize,
    /// Peers reported as closed.
    pub closed: usize,
    /// The most bytes that a node held of what came.
    pub held: u64,
    /// The most bytes queued at a node.
    pub queued: u64,
}

impl std::ops::AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.sent += other.sent;
        self.delivered += other.delivered;
        self.returned += other.returned;
        self.both += other.both;
        self.acknowledged += other.acknowledged;
        self.cancelled += other.cancelled;
        self.refused += other.refused;
        self.flows += other.flows;
        self.read += other.read;
        self.faults += other.faults;
        self.closed += other.closed;
        self.held = self.held.max(other.held);
        self.queued = self.queued.max(other.queued);
    }
}

#[derive(Debug, Default)]
struct State {
    entries: Vec<Entry>,
    /// Entries before this one have come to their end.
    settled: usize,
    /// The last message delivered of each sender, receiver and urgency.
    latest: BTreeMap<(usize, usize, u8), usize>,
    urgencies: Vec<u8>,
    /// Empty messages delivered and returned, by sender and receiver.
    empty: BTreeMap<(usize, usize), (usize, usize)>,
    /// Failures of messages that their senders had done with.
    anonymous: usize,
    /// Nodes that were killed.
    killed: BTreeSet<usize>,
    /// Streams by number and direction.
    flows: Vec<[Flow; 2]>,
    accepted: BTreeSet<usize>,
    /// Tasks that use a stream.
    using: usize,
    totals: Totals,
    violations: Vec<String>,
    /// Faults and what applications saw of them, with the time.
    trace: Vec<(Duration, String)>,
}

/// The account of a run.
#[derive(Debug)]
pub(super) struct Ledger {
    began: Instant,
    state: Mutex<State>,
}

impl Ledger {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something is as it must not be.
    pub(super) fn violation(&self, what: String) {
        self.state().violations.push(what);
    }

    /// A message is about to be given to the sender's node. Its number says its place among all of them.
    pub(super) fn begins(&self, (from, to): (usize, usize), class: Class, shape: Shape, urgency: Urgency) -> usize {
        let mut state = self.state();
        state.entries.push(Entry {
            from,
            to,
            class,
            shape,
            delivered: 0,
            returned: 0,
            outcome: Outcome::Open,
            began: Instant::now(),
        });
        state.urgencies.push(urgency.get());
        state.entries.len() - 1
    }

    /// What its sender learns.
    pub(super) fn ends(&self, number: usize, outcome: Outcome) {
        let entry = &mut self.state().entries[number];
        // What a peer is not given any more, since it is going to close, its sender keeps.
        let is_at_once = outcome == Outcome::Gone && entry.began == Instant::now();
        entry.outcome = if is_at_once { Outcome::Dropped } else { outcome };
    }

    /// What its sender learns of a send.
    pub(super) fn ends_with(&self, number: usize, result: Result<(), SendError>, of_success: Outcome) {
        let outcome = match result {
            Ok(()) => of_success,
            Err(SendError::PeerGone(_)) => Outcome::Gone,
            Err(SendError::Refused) => Outcome::Refused,
            Err(SendError::Cancelled) => Outcome::Cancelled,
            Err(error) => return self.violation(format!("message {number} failed: {error}")),
        };
        self.ends(number, outcome);
    }

    /// What its sender learns of a request that has no response.
    pub(super) fn request_fails(&self, number: usize, error: &RequestError) {
        let outcome = match error {
            RequestError::PeerGone(_) | RequestError::Send(SendError::PeerGone(_)) => Outcome::Gone,
            RequestError::Send(SendError::Refused) => Outcome::Refused,
            RequestError::InboxFull => Outcome::HeldUp,
            error => return self.violation(format!("request {number} failed: {error}")),
        };
        self.ends(number, outcome);
    }

    /// A message has come. Says its number.
    pub(super) fn delivered(&self, (from, to): (usize, usize), payload: &Payload) -> Option<usize> {
        let mut state = self.state();
        if payload.is_empty() {
            state.empty.entry((from, to)).or_default().0 += 1;
            return None;
        }
        let number = state.identified((from, to), payload, "came")?;
        let entry = &mut state.entries[number];
        entry.delivered += 1;
        if entry.delivered > 1 {
            state.violations.push(format!("message {number} came twice"));
        } else if !matches!(entry.class, Class::Response(_)) {
            let lane = (from, to, state.urgencies[number]);
            if let Some(before) = state.latest.insert(lane, number).filter(|before| *before > number) {
                let both = [before, number].map(|number| (number, &state.entries[number]));
                let violation = format!("of urgency {} came in another order: {both:?}", lane.2);
                state.violations.push(violation);
            }
        }
        Some(number)
    }

    pub(super) fn is_request(&self, number: usize) -> bool {
        self.state().entries[number].class == Class::Request
    }

    /// Whether a message responds to that request.
    pub(super) fn is_response(&self, number: usize, request: usize) -> bool {
        self.state().entries[number].class == Class::Response(request)
    }

    /// A peer has closed, and this comes back.
    pub(super) fn returned(&self, (from, to): (usize, usize), payload: &Payload) {
        let mut state = self.state();
        if payload.is_empty() {
            state.empty.entry((from, to)).or_default().1 += 1;
            return;
        }
        let Some(number) = state.identified((from, to), payload, "came back") else { return };
        let entry = &mut state.entries[number];
        entry.returned += 1;
        if entry.returned > 1 {
            state.violations.push(format!("message {number} came back twice"));
        } else if entry.class == Class::Request {
            state.violations.push(format!("request {number} came back"));
        }
    }

    /// An application sees a peer close.
    pub(super) fn peer_closed(&self, (at, peer): (usize, usize), closed: &PeerClosed) {
        self.state().totals.closed += 1;
        self.note(format!("at node {at}: peer {peer}: {closed}"));
    }

    pub(super) fn fault(&self, what: String) {
        self.state().totals.faults += 1;
        self.note(what);
    }

    /// Something that is told with violations.
    pub(super) fn note(&self, what: String) {
        self.state().trace.push((self.began.elapsed(), what));
    }

    pub(super) fn failed(&self, messages: usize) {
        self.state().anonymous += messages;
    }

    pub(super) fn killed(&self, node: usize) {
        self.state().killed.insert(node);
    }

    pub(super) fn is_dead(&self, node: usize) -> bool {
        self.state().killed.contains(&node)
    }

    pub(super) fn holds(&self, held: u64, queued: u64) {
        let totals = &mut self.state().totals;
        totals.held = totals.held.max(held);
        totals.queued = totals.queued.max(queued);
    }

    /// A stream is about to be opened. Says its number.
    pub(super) fn opens(&self) -> usize {
        let mut state = self.state();
        state.flows.push(Default::default());
        state.flows.len() - 1
    }

    pub(super) fn accepted(&self, stream: usize) {
        let mut state = self.state();
        if !state.accepted.insert(stream) {
            state.violations.push(format!("stream {stream} came twice"));
        }
    }

    /// Notes what has become of a direction of a stream.
    pub(super) fn flow(&self, (stream, direction): (usize, usize), note: impl FnOnce(&mut Flow)) {
        note(&mut self.state().flows[stream][direction]);
    }

    /// A task uses a stream, or does so no longer.
    pub(super) fn uses(&self, begins: bool) {
        let using = &mut self.state().using;
        *using = if begins { *using + 1 } else { *using - 1 };
    }

    /// Whether everything has come to its end.
    pub(super) fn is_settled(&self) -> bool {
        let mut state = self.state();
        while state.settled < state.entries.len() && state.is_settled(state.settled) {
            state.settled += 1;
        }
        state.settled == state.entries.len() && state.using == 0
    }

    /// Checks what must hold at the end.
    pub(super) fn check(&self, plan: Plan, reports: impl Iterator<Item = &'static str>) -> Totals {
        let mut state = self.state();
        let state = &mut *state;
        state.violations.extend(reports.map(str::to_owned));
        if state.using > 0 {
            let open: Vec<_> = state
                .flows
                .iter()
                .enumerate()
                .filter(|(_, flows)| !flows.iter().all(|flow| flow.acknowledged || flow.cut))
                .collect();
            let violation = format!("{} tasks still use a stream, of {open:?}", state.using);
            state.violations.push(violation);
        }
        for number in 0..state.entries.len() {
            if !state.is_settled(number) {
                let unsettled = format!("message {number} has not come to its end: {:?}", state.entries[number]);
                state.violations.push(unsettled);
            }
            state.check_entry(number);
        }
        state.check_empty();
        state.check_flows(plan);
        let totals = &mut state.totals;
        totals.sent = state.entries.len();
        totals.flows = 2 * state.flows.len();
        totals.read = state.flows.iter().flatten().filter(|flow| flow.read).count();
        if totals.held > RECEIVE_MEMORY as u64 || totals.queued > SEND_MEMORY as u64 {
            state.violations.push(format!("held {} bytes, queued {}", totals.held, totals.queued));
        }
        if plan.faults != Faults::Any && totals.closed > 0 {
            state.violations.push(format!("{} peers closed", totals.closed));
        }
        let (all, told) = (state.violations.len(), state.violations.iter().take(TOLD));
        let told: Vec<_> = told.map(String::as_str).collect();
        let trace = &state.trace[state.trace.len().saturating_sub(TOLD)..];
        assert!(all == 0, "{plan:?}: {all} violations:\n{}\n{totals:?}\n{trace:#?}", told.join("\n"));
        *totals
    }
}

impl State {
    fn identified(&mut self, way: (usize, usize), payload: &Payload, what: &str) -> Option<usize> {
        let number = number_of(payload).filter(|number| *number < self.entries.len());
        let Some(number) = number else {
            self.violations.push(format!("something of {} bytes {what} that no node sent", payload.len()));
            return None;
        };
        let entry = &self.entries[number];
        if (entry.from, entry.to) != way || entry.shape.payload(number) != *payload {
            self.violations.push(format!("message {number} {what} on {way:?} as another: {entry:?}"));
        }
        Some(number)
    }

    /// Whether a message has come to its end, as far as its sender and its receiver can tell.
    fn is_settled(&self, number: usize) -> bool {
        let entry = &self.entries[number];
        match entry.outcome {
            _ if self.killed.contains(&entry.from) => true,
            Outcome::Open => false,
            // It comes back when that is reported.
            Outcome::Gone => true,
            _ => self.is_accounted(entry),
        }
    }

    /// Whether it is known where a message has remained.
    fn is_accounted(&self, entry: &Entry) -> bool {
        let was_answered_to_nothing = match entry.class {
            Class::Response(request) => !matches!(self.entries[request].outcome, Outcome::Answered | Outcome::Open),
            _ => false,
        };
        match entry.outcome {
            Outcome::Open => false,
            Outcome::Cancelled | Outcome::NotQueued | Outcome::Refused | Outcome::Dropped => true,
            _ if entry.class == Class::Request => true,
            _ if entry.shape.is_empty() || was_answered_to_nothing => true,
            Outcome::Acknowledged | Outcome::Taken if self.killed.contains(&entry.to) => true,
            _ => entry.delivered + entry.returned > 0,
        }
    }

    fn check_entry(&mut self, number: usize) {
        let entry = &self.entries[number];
        let totals = &mut self.totals;
        totals.delivered += (entry.delivered > 0) as usize;
        totals.returned += (entry.returned > 0) as usize;
        totals.both += (entry.delivered > 0 && entry.returned > 0) as usize;
        totals.acknowledged += matches!(entry.outcome, Outcome::Acknowledged | Outcome::Answered) as usize;
        totals.cancelled += (entry.outcome == Outcome::Cancelled) as usize;
        totals.refused += (entry.outcome == Outcome::Refused) as usize;
        let entry = &self.entries[number];
        if self.killed.contains(&entry.from) {
            return;
        }
        let wrong = match entry.outcome {
            _ if !self.is_accounted(entry) => {
                // A send that was done when it was refused: its node has said so.
                if entry.outcome == Outcome::Taken && self.anonymous > 0 {
                    self.anonymous -= 1;
                    return;
                }
                "was lost"
            }
            Outcome::Cancelled | Outcome::NotQueued | Outcome::Refused if entry.delivered + entry.returned > 0 => {
                "came, or came back, though it was not sent"
            }
            Outcome::Acknowledged if entry.returned > 0 => "came back though it was acknowledged",
            Outcome::Gone if entry.class != Class::Request && !entry.shape.is_empty() && entry.returned == 0 => {
                "was not acknowledged, and did not come back"
            }
            Outcome::Answered if entry.delivered == 0 && !entry.shape.is_empty() => "was answered without having come",
            _ => return,
        };
        let text = format!("message {number} {wrong}: {entry:?}");
        self.violations.push(text);
    }

    /// Empty messages say no number, so that they are counted.
    fn check_empty(&mut self) {
        let mut sent: BTreeMap<_, (usize, usize)> = BTreeMap::new();
        for entry in self.entries.iter().filter(|entry| entry.shape.is_empty()) {
            let (all, certain) = sent.entry((entry.from, entry.to)).or_default();
            let is_due = matches!(entry.outcome, Outcome::Acknowledged | Outcome::Taken | Outcome::Gone);
            *all += (entry.outcome != Outcome::NotQueued) as usize;
            *certain += is_due as usize;
        }
        for (way, (all, certain)) in sent {
            let (delivered, returned) = self.empty.get(&way).copied().unwrap_or_default();
            let is_certain = !self.killed.contains(&way.0) && !self.killed.contains(&way.1);
            if delivered > all || is_certain && delivered + returned < certain {
                let text = format!(
                    "of {all} empty messages on {way:?}, {certain} due, {delivered} came, {returned} came back"
                );
                self.violations.push(text);
            }
        }
    }

    fn check_flows(&mut self, plan: Plan) {
        for (stream, flows) in self.flows.iter().enumerate() {
            for (direction, flow) in flows.iter().enumerate() {
                let is_lost = !flow.is_over();
                if is_lost && plan.faults != Faults::Any || flow.read && flow.cut {
                    self.violations.push(format!("stream {stream}, direction {direction}: {flow:?}"));
                }
            }
            if plan.faults != Faults::Any && !self.accepted.contains(&stream) {
                self.violations.push(format!("stream {stream} never came"));
            }
        }
    }
}
