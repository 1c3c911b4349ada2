//! One incomplete message.

use std::collections::BTreeMap;

use crate::{Instant, InvalidMessage, Limits, MessageId, text::RawText};

/// Memory of a chunk kept by itself besides its bytes: its share of half-full tree nodes and the allocator's header.
const CHUNK_OVERHEAD: usize = 96;

/// Memory of a message besides its chunks: a table of messages may be more than half empty.
const MESSAGE_OVERHEAD: usize = 3 * size_of::<(MessageId, Partial)>();

/// Why a chunk was not added.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotAdded {
    /// The message is of no more use.
    Invalid(InvalidMessage),
    /// So many bytes of memory are missing. Nothing has changed.
    Short(usize),
}

impl From<InvalidMessage> for NotAdded {
    fn from(reason: InvalidMessage) -> Self {
        Self::Invalid(reason)
    }
}

/// The chunks of a message that have come so far, as WTF-8.
///
/// Chunks that come in their turn, and on a data channel all do, are joined at once; one that comes early is kept by
/// itself until the message is complete.
#[derive(Debug)]
pub(crate) struct Partial {
    /// Chunks `0..ends.len()`, joined.
    joined: Vec<u8>,
    /// Where in `joined` each chunk ends: one that comes again is replaced.
    ends: Vec<usize>,
    /// Chunks by themselves, all behind the joined ones.
    apart: BTreeMap<u32, Vec<u8>>,
    /// Bytes of all chunks in `apart`.
    apart_bytes: usize,
    /// Index of the last chunk, once it has come, and whether that marked the message as JSON.
    last: Option<(u32, bool)>,
    /// Memory of the id, which the table of messages and the callers' clones share.
    id_bytes: usize,
    /// When the latest chunk came.
    pub(crate) latest: Instant,
}

/// What it takes to remove a chunk out of the joined ones.
#[derive(Debug)]
struct Split {
    /// Chunks behind it, which are kept by themselves afterwards.
    behind: usize,
    behind_bytes: usize,
    /// Whether memory of the joined ones is given back, and how much.
    shrinks: bool,
    freed: usize,
}

impl Partial {
    pub(crate) fn new(id: &MessageId, now: Instant) -> Self {
        Self {
            joined: Vec::new(),
            ends: Vec::new(),
            apart: BTreeMap::new(),
            apart_bytes: 0,
            last: None,
            id_bytes: id.heap_bytes(),
            latest: now,
        }
    }

    /// Chunks held.
    pub(crate) fn chunks(&self) -> usize {
        self.ends.len() + self.apart.len()
    }

    /// Memory taken, in bytes.
    pub(crate) fn memory(&self) -> usize {
        let ends = self.ends.capacity() * size_of::<usize>();
        let apart = self.apart_bytes + self.apart.len() * CHUNK_OVERHEAD;
        MESSAGE_OVERHEAD + self.id_bytes + self.joined.capacity() + ends + apart
    }

    /// Adds a chunk in the place of one of the same index, keeping [`memory`](Self::memory) within `max_memory`.
    /// `last` says that it is the last one, and whether the message is JSON; any behind it are dropped, as they can
    /// only stem from an abandoned message of the same id.
    pub(crate) fn insert(
        &mut self,
        index: u32,
        msg: &RawText<'_>,
        last: Option<bool>,
        limits: &Limits,
        max_memory: usize,
    ) -> Result<(), NotAdded> {
        if self.last.is_some_and(|(last, _)| index > last) {
            return Err(InvalidMessage::ChunkAfterLast.into());
        }
        let too_large = InvalidMessage::TooLarge { limit: limits.max_message_bytes };
        let adds = last.is_none() && index as usize >= self.ends.len() && !self.apart.contains_key(&index);
        if adds && !self.may_have(msg.decoded_len(), limits) {
            // No room is asked for in vain.
            return Err(too_large.into());
        }
        let memory = self.memory() + self.needed(index, msg.decoded_len());
        if memory > max_memory {
            return Err(NotAdded::Short(memory - max_memory));
        }
        if let Some(is_json) = last {
            self.last = Some((index, is_json));
            self.cut(index);
        }
        self.remove(index);
        if !self.may_have(msg.decoded_len(), limits) {
            return Err(too_large.into());
        }
        if index as usize == self.ends.len() {
            self.reserve(msg.decoded_len(), limits.max_message_bytes, max_memory);
            msg.decode_into(&mut self.joined);
            self.ends.push(self.joined.len());
        } else {
            self.apart_bytes += msg.decoded_len();
            self.apart.insert(index, msg.decode());
        }
        Ok(())
    }

    /// Whether the message may have so many bytes more.
    fn may_have(&self, bytes: usize, limits: &Limits) -> bool {
        bytes <= limits.max_message_bytes.saturating_sub(self.joined.len() + self.apart_bytes)
    }

    /// The most memory that adding a chunk of this size takes, besides what is taken now.
    fn needed(&self, index: u32, bytes: usize) -> usize {
        let first = index as usize;
        let replaced = self.apart.get(&index).map_or(0, |chunk| chunk.len() + CHUNK_OVERHEAD);
        match self.split(first) {
            Some(Split { behind, behind_bytes, freed, .. }) => {
                let spare = if freed > 0 { 0 } else { self.joined.capacity() - self.start_of(first) };
                let apart = behind_bytes + behind * CHUNK_OVERHEAD;
                (apart + bytes.saturating_sub(spare)).saturating_sub(freed)
            }
            None if first == self.ends.len() => {
                let ends = self.more_ends() * size_of::<usize>();
                let joined = bytes.saturating_sub(self.joined.capacity() - self.joined.len());
                (ends + joined).saturating_sub(replaced)
            }
            None => (bytes + CHUNK_OVERHEAD).saturating_sub(replaced),
        }
    }

    /// Whether no chunk is missing any more.
    pub(crate) fn is_complete(&self) -> bool {
        self.last.is_some_and(|(last, _)| self.chunks() == last as usize + 1)
    }

    /// The text of all chunks, and whether it is JSON.
    pub(crate) fn join(mut self) -> (Vec<u8>, bool) {
        self.joined.reserve_exact(self.apart_bytes);
        while let Some((_, chunk)) = self.apart.pop_first() {
            self.joined.extend_from_slice(&chunk);
        }
        self.joined.shrink_to_fit();
        (self.joined, self.last.is_some_and(|(_, is_json)| is_json))
    }

    /// Drops the chunk `first` and all behind it.
    fn cut(&mut self, first: u32) {
        self.cut_joined(first as usize);
        let cut = self.apart.split_off(&first);
        self.apart_bytes -= cut.values().map(Vec::len).sum::<usize>();
    }

    fn cut_joined(&mut self, first: usize) {
        self.ends.truncate(first);
        self.joined.truncate(self.ends.last().copied().unwrap_or(0));
    }

    /// Where the joined chunk `index` begins.
    fn start_of(&self, index: usize) -> usize {
        index.checked_sub(1).map_or(0, |before| self.ends[before])
    }

    /// What removing the joined chunk `first` comes to, if it is one.
    fn split(&self, first: usize) -> Option<Split> {
        let &end = self.ends.get(first)?;
        let (start, behind) = (self.start_of(first), self.ends.len() - first - 1);
        // Memory is given back when it halves, so that the bytes in front are not moved for every chunk.
        let shrinks = behind > 0 && start <= self.joined.capacity() / 2;
        let freed = if shrinks { self.joined.capacity() - start } else { 0 };
        Some(Split { behind, behind_bytes: self.joined.len() - end, shrinks, freed })
    }

    /// Drops one chunk, if it is there. The joined ones behind it are kept by themselves from then on, until they come
    /// again: so no order of chunks makes more work than they are long.
    fn remove(&mut self, index: u32) {
        if let Some(chunk) = self.apart.remove(&index) {
            self.apart_bytes -= chunk.len();
            return;
        }
        let first = index as usize;
        let Some(split) = self.split(first) else { return };
        for (index, bounds) in (index + 1..).zip(self.ends[first..].windows(2)) {
            self.apart.insert(index, self.joined[bounds[0]..bounds[1]].to_vec());
        }
        self.apart_bytes += split.behind_bytes;
        self.cut_joined(first);
        if split.shrinks {
            self.joined.shrink_to_fit();
        }
    }

    /// How many more places of chunks are to be made for the next one.
    fn more_ends(&self) -> usize {
        if self.ends.len() == self.ends.capacity() { self.ends.len().max(4) } else { 0 }
    }

    /// Makes room for a chunk at the end of `joined`. Room doubles, so that bytes are moved a few times only, but not
    /// beyond what the message or the memory may be.
    fn reserve(&mut self, chunk: usize, max_message: usize, max_memory: usize) {
        self.ends.reserve_exact(self.more_ends());
        let capacity = self.joined.capacity();
        let needed = self.joined.len() + chunk;
        if needed > capacity {
            let most = capacity + max_memory.saturating_sub(self.memory());
            let target = (2 * capacity).min(max_message).min(most).max(needed);
            self.joined.reserve_exact(target - self.joined.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[allow(clippy::disallowed_methods)] // some instant; these tests are not about time
    fn partial() -> Partial {
        Partial::new(&MessageId::from(1), Instant::now())
    }

    fn insert(partial: &mut Partial, index: u32, len: usize, last: bool, limits: &Limits) -> Result<(), NotAdded> {
        let quoted = "x".repeat(len) + "\"";
        let (msg, _) = RawText::read(quoted.as_bytes()).expect("a string");
        partial.insert(index, &msg, last.then_some(false), limits, limits.max_held_bytes)
    }

    fn limits(max_message_bytes: usize, max_held_bytes: usize) -> Limits {
        Limits { max_message_bytes, max_held_bytes, ..Limits::default() }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_books_are_exact(
            chunks in vec((0u32..12, 0usize..300, prop::bool::weighted(0.1)), 1..60), in_order: bool,
            max_message in 0usize..3000, max_held in 1000usize..4000,
        ) {
            let limits = limits(max_message, max_held);
            let mut partial = partial();
            for (turn, (index, len, last)) in (0..).zip(chunks) {
                let index = if in_order && turn < 20 { turn } else { index };
                if insert(&mut partial, index, len, last, &limits).is_err() {
                    break;
                }
                prop_assert_eq!(partial.apart_bytes, partial.apart.values().map(Vec::len).sum::<usize>());
                prop_assert_eq!(partial.apart_bytes, partial.apart.values().map(Vec::capacity).sum::<usize>());
                prop_assert_eq!(partial.joined.len(), partial.ends.last().copied().unwrap_or(0));
                prop_assert!(partial.ends.is_sorted());
                prop_assert!(partial.apart.keys().all(|&index| index as usize >= partial.ends.len()));
                prop_assert!(partial.joined.len() + partial.apart_bytes <= max_message);
                prop_assert!(partial.joined.capacity() <= max_message);
                prop_assert!(partial.memory() <= max_held);
            }
        }
    }

    #[test]
    fn a_large_message_can_begin_again_within_its_own_memory() {
        let limits = limits(100_000, 110_000);
        let mut partial = partial();
        for index in 0..10 {
            insert(&mut partial, index, 10_000, false, &limits).unwrap();
        }
        insert(&mut partial, 0, 10_000, false, &limits).unwrap();
        assert_eq!((partial.joined.len(), partial.apart_bytes), (10_000, 90_000));
        // Chunks in their turn are joined again.
        insert(&mut partial, 1, 10_000, false, &limits).unwrap();
        assert_eq!((partial.joined.len(), partial.apart_bytes), (20_000, 80_000));
    }

    #[test]
    fn chunks_too_small_to_be_kept_by_themselves_are_rejected() {
        let limits = limits(1000, 3000);
        // From the front, where memory is given back, and from behind the middle, where it is not.
        for again in [0, 70] {
            let mut partial = partial();
            for index in 0..100 {
                insert(&mut partial, index, 1, false, &limits).unwrap();
            }
            let added = insert(&mut partial, again, 1, false, &limits);
            assert!(matches!(added, Err(NotAdded::Short(_))), "{added:?}");
        }
    }

    #[test]
    fn one_message_may_use_nearly_all_the_memory() {
        let limits = limits(1_000_000, 100_000);
        let mut partial = partial();
        let taken = (0..).take_while(|&index| insert(&mut partial, index, 10_000, false, &limits).is_ok()).count();
        assert_eq!(taken, 9);
    }
}
