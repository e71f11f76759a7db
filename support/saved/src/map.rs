//! A map that is kept by its entries.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt::{self, Debug},
    mem,
    ops::{Deref, DerefMut},
    sync::Arc,
};

use crate::Keep;

/// A map, and how it may differ from the copy that was captured or brought back last.
///
/// Looking is as in a [`BTreeMap`]. What changes one entry notes its key; any other change
/// notes them all.
pub struct SavedMap<K, V> {
    map: BTreeMap<K, V>,
    /// That copy; `None` if any entry may differ.
    base: Option<Arc<BTreeMap<K, V>>>,
    /// Keys whose entries may differ from it.
    changed: Vec<K>,
}

/// So many changes that copying everything is no dearer.
const MOST_CHANGED: usize = 1024;

impl<K: Ord + Copy, V> SavedMap<K, V> {
    /// Changes one entry.
    #[inline]
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.note(key);
        self.map.get_mut(key)
    }

    /// Changes, adds or removes one entry.
    #[inline]
    pub fn entry(&mut self, key: K) -> Entry<'_, K, V> {
        self.note(&key);
        self.map.entry(key)
    }

    /// Sets an entry and returns the value before.
    #[inline]
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.note(&key);
        self.map.insert(key, value)
    }

    /// Removes an entry and returns its value.
    #[inline]
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.note(key);
        self.map.remove(key)
    }

    #[inline]
    fn note(&mut self, key: &K) {
        if self.base.is_none() || self.changed.last() == Some(key) {
            return;
        }
        if self.changed.len() < MOST_CHANGED {
            self.changed.push(*key);
        } else {
            self.note_all();
        }
    }

    fn note_all(&mut self) {
        self.base = None;
        self.changed.clear();
    }
}

impl<K, V> Deref for SavedMap<K, V> {
    type Target = BTreeMap<K, V>;

    #[inline]
    fn deref(&self) -> &BTreeMap<K, V> {
        &self.map
    }
}

impl<K: Ord + Copy, V> DerefMut for SavedMap<K, V> {
    fn deref_mut(&mut self) -> &mut BTreeMap<K, V> {
        self.note_all();
        &mut self.map
    }
}

impl<K, V> Keep for SavedMap<K, V>
where
    K: Ord + Copy + Debug + Send + Sync,
    V: Clone + Debug + Send + Sync,
{
    type Copy = Arc<BTreeMap<K, V>>;

    fn capture(&mut self) -> Arc<BTreeMap<K, V>> {
        match &self.base {
            Some(base) if self.changed.is_empty() => Arc::clone(base),
            _ => {
                let copy = Arc::new(self.map.clone());
                self.changed.clear();
                self.base = Some(Arc::clone(&copy));
                copy
            }
        }
    }

    fn restore(&mut self, copy: &Arc<BTreeMap<K, V>>) {
        if !self.base.as_ref().is_some_and(|base| Arc::ptr_eq(base, copy)) {
            self.map.clone_from(copy);
            self.changed.clear();
            self.base = Some(Arc::clone(copy));
            return;
        }
        if self.changed.is_empty() {
            return;
        }
        let mut changed = mem::take(&mut self.changed);
        for key in changed.drain(..) {
            match (copy.get(&key), self.map.get_mut(&key)) {
                (Some(from), Some(to)) => to.clone_from(from),
                (Some(from), None) => drop(self.map.insert(key, from.clone())),
                (None, Some(_)) => drop(self.map.remove(&key)),
                (None, None) => {}
            }
        }
        self.changed = changed;
    }
}

impl<K: Clone, V: Clone> Clone for SavedMap<K, V> {
    /// A copy of the map, which no snapshot has.
    fn clone(&self) -> Self {
        Self { map: self.map.clone(), base: None, changed: Vec::new() }
    }
}

impl<K, V> Default for SavedMap<K, V> {
    fn default() -> Self {
        Self { map: BTreeMap::new(), base: None, changed: Vec::new() }
    }
}

impl<K: Debug, V: Debug> Debug for SavedMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.map.fmt(f)
    }
}

impl<'a, K, V> IntoIterator for &'a SavedMap<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = std::collections::btree_map::Iter<'a, K, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.map.iter()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use super::{MOST_CHANGED, SavedMap};
    use crate::Keep;

    fn map() -> SavedMap<u32, String> {
        let mut map = SavedMap::default();
        for key in 0..4 {
            map.insert(key, key.to_string());
        }
        map
    }

    /// Every way to change a map.
    const CHANGES: [fn(&mut SavedMap<u32, String>); 8] = [
        |m| m.get_mut(&1).into_iter().for_each(|value| value.push('!')),
        |m| drop(m.insert(2, "two".to_owned())),
        |m| drop(m.insert(9, "nine".to_owned())),
        |m| drop(m.remove(&3)),
        |m| m.entry(0).or_default().push('?'),
        |m| m.entry(7).or_default().push('?'),
        |m| m.values_mut().for_each(|value| value.push('.')),
        |m| m.retain(|key, _| *key != 1),
    ];

    #[test]
    fn every_change_comes_back() {
        for first in CHANGES {
            for second in CHANGES {
                let mut map = map();
                let before = map.capture();
                first(&mut map);
                let (between, content) = (map.capture(), map.deref_copy());
                second(&mut map);
                map.restore(&between);
                assert_eq!(*map, content);
                second(&mut map);
                map.restore(&before);
                assert_eq!(*map, *before);
                second(&mut map);
                first(&mut map);
                map.restore(&before);
                assert_eq!(*map, *before);
                map.restore(&between);
                assert_eq!(*map, content);
            }
        }
    }

    impl SavedMap<u32, String> {
        fn deref_copy(&self) -> BTreeMap<u32, String> {
            self.map.clone()
        }
    }

    #[test]
    fn what_did_not_change_is_copied_once() {
        let mut map = map();
        let first = map.capture();
        assert_eq!(map.get(&1).map(String::as_str), Some("1"));
        assert!(Arc::ptr_eq(&first, &map.capture()));
        map.remove(&1);
        map.restore(&first);
        assert!(Arc::ptr_eq(&first, &map.capture()));
    }

    #[test]
    fn notes_have_a_bound() {
        let mut map = SavedMap::default();
        let empty = map.capture();
        for key in 0..4 * u32::try_from(MOST_CHANGED).unwrap() {
            map.insert(key, ());
            assert!(map.changed.len() <= MOST_CHANGED);
        }
        map.restore(&empty);
        assert!(map.is_empty());
    }
}
