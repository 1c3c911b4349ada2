//! A map of a few entries.

/// A map that keeps its entries in one vector, sorted by key: for what there is little of, as trackers and attempts.
///
/// It iterates in the order of the keys, as a `BTreeMap` does, so that the same inputs lead to the same outputs. An entry is
/// found by bisection; to enter or remove one moves those behind it. A `BTreeMap` would bring some 7 KB of code for each pair
/// of types, which a page would load.
#[derive(Debug, Clone)]
pub struct FewMap<K, V>(Vec<(K, V)>);

impl<K, V> Default for FewMap<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Copy + Ord, V> FewMap<K, V> {
    /// A map without entries.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn place(&self, key: &K) -> Result<usize, usize> {
        self.0.binary_search_by_key(key, |(key, _)| *key)
    }

    /// The value of this key.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&V> {
        self.place(key).ok().map(|at| &self.0[at].1)
    }

    /// The value of this key, to be changed.
    #[must_use]
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.place(key).ok().map(|at| &mut self.0[at].1)
    }

    /// The value of this key, which is entered as `new` makes it where there is none.
    pub fn get_or_insert_with(&mut self, key: K, new: impl FnOnce() -> V) -> &mut V {
        let at = self.place(&key).unwrap_or_else(|at| {
            self.0.insert(at, (key, new()));
            at
        });
        &mut self.0[at].1
    }

    /// Enters a value, and returns the one that the key had before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.place(&key) {
            Ok(at) => Some(std::mem::replace(&mut self.0[at].1, value)),
            Err(at) => {
                self.0.insert(at, (key, value));
                None
            }
        }
    }

    /// Removes the value of this key, and returns it.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.place(key).ok().map(|at| self.0.remove(at).1)
    }

    /// Keeps the entries of which `keep` is true.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        self.0.retain_mut(|(key, value)| keep(key, value));
    }

    /// All entries, by key.
    pub fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        self.0.iter().map(|(key, value)| (*key, value))
    }

    /// All entries, by key, with values to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (K, &mut V)> {
        self.0.iter_mut().map(|(key, value)| (*key, value))
    }

    /// All values, by key.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
    }

    /// All values, by key, to be changed.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.0.iter_mut().map(|(_, value)| value)
    }

    /// Removes all entries, and returns their values, by key.
    pub fn take_values(&mut self) -> impl Iterator<Item = V> + use<K, V> {
        std::mem::take(&mut self.0).into_iter().map(|(_, value)| value)
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Operation {
        Insert(u8, u16),
        OrInsert(u8, u16),
        Change(u8, u16),
        Remove(u8),
        Retain(u16),
    }

    fn operation() -> impl Strategy<Value = Operation> {
        let (key, value) = (0..12_u8, 0..100_u16);
        prop_oneof![
            (key.clone(), value.clone()).prop_map(|(key, value)| Operation::Insert(key, value)),
            (key.clone(), value.clone()).prop_map(|(key, value)| Operation::OrInsert(key, value)),
            (key.clone(), value.clone()).prop_map(|(key, value)| Operation::Change(key, value)),
            key.prop_map(Operation::Remove),
            value.prop_map(Operation::Retain),
        ]
    }

    proptest! {
        #[test]
        fn it_holds_what_a_btreemap_holds_in_the_same_order(operations in prop::collection::vec(operation(), 0..60)) {
            let (mut few, mut model) = (FewMap::new(), BTreeMap::new());
            for operation in operations {
                match operation {
                    Operation::Insert(key, value) => prop_assert_eq!(few.insert(key, value), model.insert(key, value)),
                    Operation::OrInsert(key, value) => {
                        prop_assert_eq!(few.get_or_insert_with(key, || value), model.entry(key).or_insert(value));
                    }
                    Operation::Change(key, value) => {
                        let (of_few, of_model) = (few.get_mut(&key), model.get_mut(&key));
                        prop_assert_eq!(&of_few, &of_model);
                        of_few.into_iter().chain(of_model).for_each(|changed| *changed = value);
                        few.iter_mut().filter(|(at, _)| *at == key).for_each(|(_, changed)| *changed += 1);
                        few.values_mut().for_each(|changed| *changed %= 90);
                        model.iter_mut().filter(|(at, _)| **at == key).for_each(|(_, changed)| *changed += 1);
                        model.values_mut().for_each(|changed| *changed %= 90);
                    }
                    Operation::Remove(key) => prop_assert_eq!(few.remove(&key), model.remove(&key)),
                    Operation::Retain(least) => {
                        few.retain(|_, value| *value >= least);
                        model.retain(|_, value| *value >= least);
                    }
                }
                prop_assert!(few.iter().eq(model.iter().map(|(key, value)| (*key, value))));
                prop_assert!(few.values().eq(model.values()));
                prop_assert!((0..12).all(|key| few.get(&key) == model.get(&key)));
                prop_assert_eq!((few.len(), few.is_empty()), (model.len(), model.is_empty()));
            }
            prop_assert!(few.take_values().eq(model.into_values()));
            prop_assert!(few.is_empty());
        }
    }
}
