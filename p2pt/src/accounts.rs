//! What the peers of a node may make it hold together: one bound for what they send, one for what waits to be sent to
//! them.
//!
//! Half of a bound is shared out: each peer has a *share* of its own, which no other can take. The other half is for all,
//! and a peer *draws* on it when its share is used up. The sum never exceeds the bound. Where what is for all runs out,
//! the greediest peer pays, which is the one that has drawn most: of what it sends, an incomplete message is given up.
//! What is whole is not given up, since messages come in order or not at all; it waits for the application.
//!
//! [`Pool`] decides, and knows neither tasks nor locks. [`Memory`] is what the peers of a node have in common of it, and
//! [`Account`] is a peer's. Within its share, a peer touches its own account alone.
//!
//! Locks, in this order and never across an await: an account, the pool.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use p2pt_rt::Instant;

use tokio::sync::Notify;

use crate::counters::{Counters, Gauge, add};
use crate::queue::lock;
use crate::settings::PeerConfig;

/// How often it is logged as a warning that the greediest peer pays.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// Names an account of a [`Pool`].
type AccountId = u64;

/// Who has drawn how much on what is for all.
#[derive(Debug)]
pub(crate) struct Pool {
    /// What nothing was drawn of yet.
    free: usize,
    /// The bytes of a share.
    share: usize,
    /// Shares that no account has.
    shares_left: usize,
    drawn: BTreeMap<AccountId, usize>,
    next: AccountId,
}

impl Pool {
    /// Half of the bound is shares, for so many peers.
    pub(crate) fn new(bound: usize, peers: usize) -> Self {
        let share = bound / 2 / peers.max(1);
        Self { free: bound - share * peers, share, shares_left: peers, drawn: BTreeMap::new(), next: 0 }
    }

    /// Opens an account, and says how large its share is: nothing, if there are more accounts than shares.
    fn open(&mut self) -> (AccountId, usize) {
        let share = if self.shares_left > 0 { self.share } else { 0 };
        self.shares_left = self.shares_left.saturating_sub(1);
        (self.open_without_share(), share)
    }

    fn open_without_share(&mut self) -> AccountId {
        self.next += 1;
        self.drawn.insert(self.next, 0);
        self.next
    }

    /// An account has given its share back.
    fn take_share_back(&mut self) {
        self.shares_left += 1;
    }

    /// An account has ended; what it has drawn is free again.
    fn close(&mut self, id: AccountId) {
        self.free += self.drawn.remove(&id).unwrap_or(0);
    }

    /// Draws on what is for all, if there is as much.
    fn draw(&mut self, id: AccountId, bytes: usize) -> bool {
        match (self.free.checked_sub(bytes), self.drawn.get_mut(&id)) {
            (Some(free), Some(drawn)) => {
                self.free = free;
                *drawn += bytes;
                true
            }
            _ => false,
        }
    }

    fn give_back(&mut self, id: AccountId, bytes: usize) {
        if let Some(drawn) = self.drawn.get_mut(&id) {
            let bytes = bytes.min(*drawn);
            *drawn -= bytes;
            self.free += bytes;
        }
    }

    /// Which of the accounts that can pay has to when `asker` would draw so many bytes: the one that has drawn most, if
    /// that is more than the asker would have then; otherwise the asker itself. `None` if that is due and cannot pay.
    fn payer(&self, asker: AccountId, bytes: usize, can_pay: impl Iterator<Item = AccountId>) -> Option<AccountId> {
        let drawn = |id: AccountId| self.drawn.get(&id).copied().unwrap_or(0) + if id == asker { bytes } else { 0 };
        let greediest = can_pay.max_by_key(|&id| (drawn(id), id == asker))?;
        (greediest == asker || drawn(greediest) > drawn(asker)).then_some(greediest)
    }
}

/// What all peers of a node have in common: one of its two bounds.
#[derive(Debug)]
pub(crate) struct Memory {
    bound: usize,
    state: Mutex<State>,
    /// Tasks that wait for room.
    waiting: AtomicUsize,
    /// There is more room than before, or a payer has paid or cannot.
    room: Notify,
    counters: Arc<Counters>,
    gauge: Gauge,
}

#[derive(Debug)]
struct State {
    pool: Pool,
    /// The channels of all peers, with what each could give up.
    tabs: Vec<Arc<Claim>>,
    warned: Option<Instant>,
    left_out: u64,
}

/// What a channel holds that could be given up, and whether it is asked to.
#[derive(Debug)]
pub(crate) struct Claim {
    account: AccountId,
    bytes: AtomicUsize,
    is_asked: AtomicBool,
    asked: Notify,
}

impl Claim {
    /// Resolves when something is to be given up.
    pub(crate) fn asked(&self) -> tokio::sync::futures::Notified<'_> {
        self.asked.notified()
    }

    /// Asks the channel to give something up.
    fn ask(&self) {
        if !self.is_asked.swap(true, Ordering::AcqRel) {
            self.asked.notify_one();
        }
    }
}

/// Why bytes could not be taken.
#[derive(Debug)]
pub(crate) enum Short {
    /// The peer's incomplete messages hold as much as they may.
    Peer,
    /// What is for all is used up, and this is to be done about it.
    Node(Remedy),
}

/// What is to be done when what is for all is used up.
#[derive(Debug, Clone)]
pub(crate) enum Remedy {
    /// The channel that asks gives up an incomplete message.
    Pay,
    /// Another was asked to do so; wait for [`Memory::room`].
    Wait,
    /// Nothing that could be given up is to be: what is held waits for the application.
    Nothing,
}

impl Memory {
    /// A bound, half of which is shared out among so many peers. What it holds is counted in the gauge.
    pub(crate) fn new(bound: usize, peers: usize, counters: Arc<Counters>, gauge: Gauge) -> Self {
        let state = State { pool: Pool::new(bound, peers), tabs: Vec::new(), warned: None, left_out: 0 };
        Self { bound, state: Mutex::new(state), waiting: AtomicUsize::new(0), room: Notify::new(), counters, gauge }
    }

    /// All that may be held.
    pub(crate) fn bound(&self) -> usize {
        self.bound
    }

    /// The largest that a peer without a share can be sure to hold, when all else has gone.
    pub(crate) fn for_all(bound: usize, peers: usize) -> usize {
        Pool::new(bound, peers).free
    }

    /// Says, until the result is dropped, that something waits for [`room`](Self::room).
    pub(crate) fn waits(&self) -> Waits<'_> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        Waits(self)
    }

    /// Resolves when there may be more room than when this was first polled or enabled.
    pub(crate) fn room(&self) -> tokio::sync::futures::Notified<'_> {
        self.room.notified()
    }

    fn made_room(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.room.notify_waiters();
        }
    }

    fn count(&self, taken: usize) {
        add((self.gauge)(&self.counters), taken);
    }

    fn discount(&self, bytes: usize) {
        (self.gauge)(&self.counters).fetch_sub(bytes as u64, Ordering::Relaxed);
    }

    /// How many warnings were left out since the last, if another is due now.
    pub(crate) fn warn(&self, now: Instant) -> Option<u64> {
        let mut state = lock(&self.state);
        if state.warned.is_some_and(|at| now.saturating_duration_since(at) < WARNING_INTERVAL) {
            state.left_out += 1;
            return None;
        }
        state.warned = Some(now);
        Some(std::mem::take(&mut state.left_out))
    }
}

impl State {
    /// What is to be done so that an account may draw so many bytes; `own` is the channel that asks.
    fn remedy(&self, asker: AccountId, bytes: usize, own: Option<&Arc<Claim>>) -> Remedy {
        let can_pay = self.tabs.iter().filter(|tab| tab.bytes.load(Ordering::Relaxed) > 0);
        let Some(payer) = self.pool.payer(asker, bytes, can_pay.clone().map(|tab| tab.account)) else {
            return Remedy::Nothing;
        };
        let of_payer = can_pay.filter(|tab| tab.account == payer);
        match of_payer.max_by_key(|tab| tab.bytes.load(Ordering::Relaxed)) {
            Some(tab) if own.is_some_and(|own| Arc::ptr_eq(own, tab)) => Remedy::Pay,
            Some(tab) => {
                tab.ask();
                Remedy::Wait
            }
            None => Remedy::Nothing,
        }
    }
}

/// See [`Memory::waits`].
pub(crate) struct Waits<'a>(&'a Memory);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What one peer holds of a node's [`Memory`].
#[derive(Debug)]
pub(crate) struct Account {
    memory: Arc<Memory>,
    id: AccountId,
    /// The most that its incomplete messages may hold.
    max_incomplete: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    share: usize,
    bytes: usize,
    /// Bytes of incomplete messages among them.
    incomplete: usize,
    /// The peer is gone: the share goes back once nothing is held.
    retired: bool,
}

impl Held {
    /// How much of so many bytes is drawn on what is for all.
    fn beyond_share(&self, bytes: usize) -> usize {
        bytes.saturating_sub(self.share)
    }
}

impl Account {
    pub(crate) fn new(memory: Arc<Memory>, max_incomplete: usize) -> Arc<Self> {
        let (id, share) = lock(&memory.state).pool.open();
        let held = Held { share, ..Held::default() };
        Arc::new(Self { memory, id, max_incomplete, held: Mutex::new(held) })
    }

    /// An account for what belongs to no peer in particular.
    pub(crate) fn without_share(memory: Arc<Memory>) -> Arc<Self> {
        let id = lock(&memory.state).pool.open_without_share();
        Arc::new(Self { memory, id, max_incomplete: 0, held: Mutex::default() })
    }

    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Takes so many bytes for what is whole, without regard to who would have to pay.
    pub(crate) fn try_take(&self, bytes: usize) -> bool {
        let mut held = lock(&self.held);
        let more = held.beyond_share(held.bytes + bytes) - held.beyond_share(held.bytes);
        let taken = more == 0 || lock(&self.memory.state).pool.draw(self.id, more);
        if taken {
            held.bytes += bytes;
            self.memory.count(bytes);
        }
        taken
    }

    /// Takes so many bytes for what is whole, or says what is to be done; `own` is the channel that asks.
    pub(crate) fn take(&self, bytes: usize, own: &Tab) -> Result<(), Remedy> {
        let mut held = lock(&self.held);
        self.take_locked(&mut held, bytes, Some(own))
    }

    /// Takes so many bytes for incomplete messages, or says what is to be done; `own` is the channel that asks. Without
    /// it, nothing is done.
    pub(crate) fn take_incomplete(&self, bytes: usize, own: Option<&Tab>) -> Result<(), Short> {
        let mut held = lock(&self.held);
        if bytes > self.max_incomplete.saturating_sub(held.incomplete) {
            return Err(Short::Peer);
        }
        self.take_locked(&mut held, bytes, own).map_err(Short::Node)?;
        held.incomplete += bytes;
        Ok(())
    }

    fn take_locked(&self, held: &mut Held, bytes: usize, own: Option<&Tab>) -> Result<(), Remedy> {
        let more = held.beyond_share(held.bytes + bytes) - held.beyond_share(held.bytes);
        if more > 0 {
            let mut state = lock(&self.memory.state);
            if !state.pool.draw(self.id, more) {
                return Err(own.map_or(Remedy::Nothing, |own| state.remedy(self.id, more, Some(&own.tab))));
            }
        }
        held.bytes += bytes;
        self.memory.count(bytes);
        Ok(())
    }

    /// Incomplete messages hold so many bytes less: because they are whole, if `keeps`, or because they are gone.
    fn end_incomplete(&self, bytes: usize, keeps: bool) {
        {
            let mut held = lock(&self.held);
            held.incomplete = held.incomplete.saturating_sub(bytes);
        }
        if !keeps {
            self.give_back(bytes);
        }
    }

    /// Gives back so many bytes that were taken.
    pub(crate) fn give_back(&self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let mut held = lock(&self.held);
        let left = held.bytes.saturating_sub(bytes);
        let drawn = held.beyond_share(held.bytes) - held.beyond_share(left);
        self.memory.discount(held.bytes - left);
        held.bytes = left;
        self.settle(&mut held, drawn);
    }

    /// The peer is gone: what it still holds goes on to count, and then its share is free for another.
    pub(crate) fn retire(&self) {
        let mut held = lock(&self.held);
        held.retired = true;
        self.settle(&mut held, 0);
    }

    fn settle(&self, held: &mut Held, drawn: usize) {
        let returns_share = held.retired && held.bytes == 0 && held.share > 0;
        if drawn == 0 && !returns_share {
            return;
        }
        {
            let mut state = lock(&self.memory.state);
            state.pool.give_back(self.id, drawn);
            if returns_share {
                held.share = 0;
                state.pool.take_share_back();
            }
        }
        self.memory.made_room();
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let held = lock(&self.held);
        self.memory.discount(held.bytes);
        let mut state = lock(&self.memory.state);
        state.pool.close(self.id);
        if held.share > 0 {
            state.pool.take_share_back();
        }
        drop(state);
        self.memory.made_room();
    }
}

/// Bytes that count as held by a peer until this is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    account: Arc<Account>,
    bytes: usize,
}

impl Charge {
    /// For bytes that were [taken](Account::take).
    pub(crate) fn taken(account: &Arc<Account>, bytes: usize) -> Self {
        Self { account: account.clone(), bytes }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.account.give_back(self.bytes);
    }
}

/// What a channel's incomplete messages hold, until this is dropped; and where it learns that it has to pay.
#[derive(Debug)]
pub(crate) struct Tab {
    account: Arc<Account>,
    tab: Arc<Claim>,
    room: usize,
}

impl Tab {
    pub(crate) fn new(account: &Arc<Account>) -> Self {
        let tab = Arc::new(Claim {
            account: account.id,
            bytes: AtomicUsize::new(0),
            is_asked: AtomicBool::new(false),
            asked: Notify::new(),
        });
        lock(&account.memory.state).tabs.push(tab.clone());
        Self { account: account.clone(), tab, room: 0 }
    }

    /// What incomplete messages may hold now.
    pub(crate) fn room(&self) -> usize {
        self.room
    }

    /// Makes so much more room, or says what is to be done.
    pub(crate) fn make_room(&mut self, bytes: usize) -> Result<(), Short> {
        self.account.take_incomplete(bytes, Some(self))?;
        self.room += bytes;
        Ok(())
    }

    /// Makes so much more room if nothing has to be done for it.
    pub(crate) fn try_make_room(&mut self, bytes: usize) -> bool {
        let is_made = self.account.take_incomplete(bytes, None).is_ok();
        self.room += if is_made { bytes } else { 0 };
        is_made
    }

    /// So much of the room is a whole message from now on; `None` if there is not as much beside what is `held`.
    pub(crate) fn complete(&mut self, held: usize, bytes: usize) -> Option<Charge> {
        if bytes > self.room.saturating_sub(held) {
            return None;
        }
        self.room -= bytes;
        self.account.end_incomplete(bytes, true);
        Some(Charge::taken(&self.account, bytes))
    }

    /// Incomplete messages hold so much now; `gives_back` says that the room beyond is not needed.
    pub(crate) fn set_held(&mut self, held: usize, gives_back: bool) {
        self.tab.bytes.store(held, Ordering::Relaxed);
        if gives_back && self.room > held {
            let beyond = self.room - held;
            self.room = held;
            self.account.end_incomplete(beyond, false);
        }
    }

    /// So much is held now, of which so much is of incomplete messages and could be given up; room beyond is given back.
    pub(crate) fn settle(&mut self, held: usize, incomplete: usize) {
        self.set_held(held, true);
        self.tab.bytes.store(incomplete, Ordering::Relaxed);
    }

    /// Where it is learned that something is to be given up.
    pub(crate) fn claim(&self) -> Arc<Claim> {
        self.tab.clone()
    }

    /// Whether this channel is asked to give up an incomplete message.
    pub(crate) fn is_asked(&self) -> bool {
        self.tab.is_asked.load(Ordering::Acquire)
    }

    /// Whether it is, and its peer still holds more than its share.
    pub(crate) fn owes(&self) -> bool {
        let held = lock(&self.account.held);
        self.is_asked() && held.bytes > held.share
    }

    /// Resolves when it [is](Self::is_asked) asked.
    pub(crate) fn asked(&self) -> tokio::sync::futures::Notified<'_> {
        self.tab.asked()
    }

    /// It has given one up, or had none.
    pub(crate) fn paid(&self) {
        self.tab.is_asked.store(false, Ordering::Release);
        self.account.memory.made_room();
    }
}

impl Drop for Tab {
    fn drop(&mut self) {
        lock(&self.account.memory.state).tabs.retain(|tab| !Arc::ptr_eq(tab, &self.tab));
        self.account.end_incomplete(self.room, false);
        self.account.memory.made_room();
    }
}

/// The bounds that all peers of a node share.
#[derive(Debug)]
pub(crate) struct Accounts {
    pub(crate) received: Arc<Memory>,
    pub(crate) queued: Arc<Memory>,
    /// For what is queued for several peers at once.
    pub(crate) shared: Arc<Account>,
}

impl Accounts {
    pub(crate) fn new(config: &PeerConfig, max_peers: usize, counters: &Arc<Counters>) -> Self {
        let memory = |bytes, gauge: Gauge| Arc::new(Memory::new(bytes, max_peers, counters.clone(), gauge));
        let received = memory(config.receive_memory, |counters| &counters.held_bytes);
        let queued = memory(config.send_memory, |counters| &counters.queued_bytes);
        let shared = Account::without_share(queued.clone());
        Self { received, queued, shared }
    }
}

#[cfg(test)]
#[path = "accounts_tests.rs"]
mod tests;
