//! A sparse persistent array: cheap to copy, and changing a copy leaves the original alone.
//!
//! A tree over keys cut into digits of 6 bits. A node holds only the digits present, and stands
//! directly above those at which keys part, so that the tree is as high as its keys differ, however
//! large they are. Nodes are shared between copies and cloned on the first change, so capturing
//! costs one reference count and restoring one assignment.

use std::sync::Arc;

const DIGIT_BITS: u32 = 6;
const DIGIT_MASK: u64 = 63;

/// Values by 64-bit keys.
#[derive(Clone, Debug)]
pub(crate) struct Radix<T> {
    root: Option<Arc<Node<T>>>,
    len: u64,
}

/// All keys that share the digits above one.
#[derive(Clone, Debug)]
struct Node<T> {
    /// Position of that digit.
    shift: u32,
    /// The digits above it.
    prefix: u64,
    /// A bit for each digit present.
    present: u64,
    /// What stands for them, in order.
    slots: Slots<T>,
}

#[derive(Debug)]
enum Slots<T> {
    Nodes(Vec<Arc<Node<T>>>),
    Values(Vec<T>),
}

impl<T: Clone> Clone for Slots<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Nodes(nodes) => Self::Nodes(with_room(nodes)),
            Self::Values(values) => Self::Values(with_room(values)),
        }
    }
}

/// A copy with room for one more: nodes are cloned to be changed.
fn with_room<U: Clone>(list: &[U]) -> Vec<U> {
    let mut copy = Vec::with_capacity(list.len() + 1);
    copy.extend_from_slice(list);
    copy
}

impl<T> Default for Radix<T> {
    fn default() -> Self {
        Self { root: None, len: 0 }
    }
}

impl<T: Clone> Radix<T> {
    /// Returns how many keys have a value.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Returns whether both are the same copy, so that nothing differs.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (&self.root, &other.root) {
            (None, None) => true,
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }

    #[inline]
    pub(crate) fn get(&self, key: u64) -> Option<&T> {
        let mut node = self.root.as_deref()?;
        loop {
            let index = node.index_of(key)?;
            match &node.slots {
                Slots::Nodes(nodes) => node = nodes.get(index)?,
                Slots::Values(values) => return values.get(index),
            }
        }
    }

    /// Returns the value for changing; what is shared on the way is cloned.
    pub(crate) fn get_mut(&mut self, key: u64) -> Option<&mut T> {
        self.get(key)?;
        let mut node = Arc::make_mut(self.root.as_mut()?);
        loop {
            let index = node.index_of(key)?;
            match &mut node.slots {
                Slots::Nodes(nodes) => node = Arc::make_mut(nodes.get_mut(index)?),
                Slots::Values(values) => return values.get_mut(index),
            }
        }
    }

    /// Sets a value and returns the one before.
    pub(crate) fn insert(&mut self, key: u64, value: T) -> Option<T> {
        let old = match &mut self.root {
            Some(root) => Node::insert(root, key, value),
            root => {
                *root = Some(Arc::new(Node::leaf(key, value)));
                None
            }
        };
        self.len += u64::from(old.is_none());
        old
    }

    /// Removes a value and returns it.
    pub(crate) fn remove(&mut self, key: u64) -> Option<T> {
        self.get(key)?;
        let root = self.root.as_mut()?;
        let old = Node::remove(root, key);
        if root.present == 0 {
            self.root = None;
        }
        self.len -= u64::from(old.is_some());
        old
    }

    /// Returns the greatest key not above `key`, with its value.
    pub(crate) fn at_or_below(&self, key: u64) -> Option<(u64, &T)> {
        self.root.as_deref()?.at_or_below(key)
    }

    /// Returns the least key not below `key`, with its value.
    pub(crate) fn at_or_above(&self, key: u64) -> Option<(u64, &T)> {
        self.root.as_deref()?.at_or_above(key)
    }

    /// Appends the keys whose values differ to `out`, in order. `same` compares two values.
    pub(crate) fn differing(&self, other: &Self, same: fn(&T, &T) -> bool, out: &mut Vec<u64>) {
        differ(self.root.as_ref(), other.root.as_ref(), same, out);
    }
}

/// The bits of the digit at `shift` and of those below.
#[inline]
fn span(shift: u32) -> u64 {
    u64::MAX.checked_shl(shift + DIGIT_BITS).map_or(u64::MAX, |above| !above)
}

#[inline]
fn digit_of(key: u64, shift: u32) -> u64 {
    (key >> shift) & DIGIT_MASK
}

/// How many smaller digits are present.
#[inline]
fn rank(present: u64, digit: u64) -> usize {
    (present & ((1u64 << digit) - 1)).count_ones() as usize
}

/// Position of the highest digit in which two keys differ; 0 if in none.
fn parting(a: u64, b: u64) -> u32 {
    let bit = (a ^ b).checked_ilog2().unwrap_or(0);
    bit - bit % DIGIT_BITS
}

impl<T> Node<T> {
    fn leaf(key: u64, value: T) -> Self {
        let present = 1 << digit_of(key, 0);
        Self { shift: 0, prefix: key & !span(0), present, slots: Slots::Values(vec![value]) }
    }

    #[inline]
    fn covers(&self, key: u64) -> bool {
        key & !span(self.shift) == self.prefix
    }

    /// Where the key's slot is, if it has one.
    #[inline]
    fn index_of(&self, key: u64) -> Option<usize> {
        let digit = digit_of(key, self.shift);
        let is_present = self.covers(key) && self.present & (1 << digit) != 0;
        is_present.then(|| rank(self.present, digit))
    }
}

impl<T: Clone> Node<T> {
    fn insert(this: &mut Arc<Self>, key: u64, value: T) -> Option<T> {
        if !this.covers(key) {
            Self::join(this, Self::leaf(key, value));
            return None;
        }
        let Self { shift, present, slots, .. } = Arc::make_mut(this);
        let digit = digit_of(key, *shift);
        let index = rank(*present, digit);
        let is_present = *present & (1 << digit) != 0;
        *present |= 1 << digit;
        match slots {
            Slots::Values(values) => match values.get_mut(index).filter(|_| is_present) {
                Some(slot) => return Some(std::mem::replace(slot, value)),
                None => values.insert(index, value),
            },
            Slots::Nodes(nodes) => match nodes.get_mut(index).filter(|_| is_present) {
                Some(node) => return Self::insert(node, key, value),
                None => nodes.insert(index, Arc::new(Self::leaf(key, value))),
            },
        }
        None
    }

    /// Puts a node above this one and another that does not lie under it.
    fn join(this: &mut Arc<Self>, other: Self) {
        let shift = parting(this.prefix, other.prefix);
        let digits = [this.prefix, other.prefix].map(|prefix| digit_of(prefix, shift));
        let is_first = this.prefix < other.prefix;
        let prefix = other.prefix & !span(shift);
        let mut nodes = vec![Arc::clone(this), Arc::new(other)];
        if !is_first {
            nodes.reverse();
        }
        let present = digits.iter().fold(0, |present, digit| present | 1 << digit);
        *this = Arc::new(Self { shift, prefix, present, slots: Slots::Nodes(nodes) });
    }

    /// Removes a key that has a value. Nothing may be left; one node alone takes this one's place.
    fn remove(this: &mut Arc<Self>, key: u64) -> Option<T> {
        let index = this.index_of(key)?;
        let Self { shift, present, slots, .. } = Arc::make_mut(this);
        let bit = 1 << digit_of(key, *shift);
        match slots {
            Slots::Values(values) => {
                *present &= !bit;
                Some(values.remove(index))
            }
            Slots::Nodes(nodes) => {
                let node = nodes.get_mut(index)?;
                let old = Self::remove(node, key);
                if node.present == 0 {
                    nodes.remove(index);
                    *present &= !bit;
                }
                if let [only] = nodes.as_slice() {
                    *this = Arc::clone(only);
                }
                old
            }
        }
    }

    fn at_or_below(&self, key: u64) -> Option<(u64, &T)> {
        if key < self.prefix {
            return None;
        }
        let key = key.min(self.prefix | span(self.shift));
        let digit = digit_of(key, self.shift);
        let up_to_here = self.present & (u64::MAX >> (DIGIT_MASK - digit));
        match &self.slots {
            Slots::Values(values) => {
                let found = highest(up_to_here)?;
                Some((self.prefix | found, values.get(rank(self.present, found))?))
            }
            Slots::Nodes(_) => {
                let here = self.part(digit).and_then(|node| node.at_or_below(key));
                here.or_else(|| {
                    let before = self.part(highest(up_to_here & !(1 << digit))?)?;
                    before.at_or_below(key)
                })
            }
        }
    }

    fn at_or_above(&self, key: u64) -> Option<(u64, &T)> {
        if key > self.prefix | span(self.shift) {
            return None;
        }
        let key = key.max(self.prefix);
        let digit = digit_of(key, self.shift);
        let from_here = self.present & (u64::MAX << digit);
        match &self.slots {
            Slots::Values(values) => {
                let found = lowest(from_here)?;
                Some((self.prefix | found, values.get(rank(self.present, found))?))
            }
            Slots::Nodes(_) => {
                let here = self.part(digit).and_then(|node| node.at_or_above(key));
                here.or_else(|| {
                    let behind = self.part(lowest(from_here & !(1 << digit))?)?;
                    behind.at_or_above(key)
                })
            }
        }
    }

    fn part(&self, digit: u64) -> Option<&Arc<Self>> {
        let Slots::Nodes(nodes) = &self.slots else { return None };
        nodes.get(rank(self.present, digit)).filter(|_| self.present & (1 << digit) != 0)
    }

    fn value(&self, digit: u64) -> Option<&T> {
        let Slots::Values(values) = &self.slots else { return None };
        values.get(rank(self.present, digit)).filter(|_| self.present & (1 << digit) != 0)
    }
}

fn highest(bits: u64) -> Option<u64> {
    bits.checked_ilog2().map(u64::from)
}

fn lowest(bits: u64) -> Option<u64> {
    (bits != 0).then(|| u64::from(bits.trailing_zeros()))
}

fn differ<T: Clone>(
    a: Option<&Arc<Node<T>>>,
    b: Option<&Arc<Node<T>>>,
    same: fn(&T, &T) -> bool,
    out: &mut Vec<u64>,
) {
    // The digit at which both are parts of one node, be it only thought of.
    let (shift, prefix) = match (a, b) {
        (None, None) => return,
        (Some(node), None) | (None, Some(node)) => (node.shift, node.prefix),
        (Some(a), Some(b)) if Arc::ptr_eq(a, b) => return,
        (Some(a), Some(b)) => (a.shift.max(b.shift).max(parting(a.prefix, b.prefix)), a.prefix),
    };
    let mut digits = digits_at(a, shift) | digits_at(b, shift);
    while let Some(digit) = lowest(digits) {
        digits &= digits - 1;
        if shift > 0 {
            differ(part_at(a, shift, digit), part_at(b, shift, digit), same, out);
            continue;
        }
        let (x, y) = (a.and_then(|a| a.value(digit)), b.and_then(|b| b.value(digit)));
        let is_same = match (x, y) {
            (Some(x), Some(y)) => same(x, y),
            (None, None) => true,
            _ => false,
        };
        if !is_same {
            out.push(prefix | digit);
        }
    }
}

/// The digits at `shift` that keys under the node have.
fn digits_at<T: Clone>(node: Option<&Arc<Node<T>>>, shift: u32) -> u64 {
    node.map_or(0, |node| {
        if node.shift == shift { node.present } else { 1 << digit_of(node.prefix, shift) }
    })
}

/// The keys under the node that have this digit.
fn part_at<T: Clone>(node: Option<&Arc<Node<T>>>, shift: u32, digit: u64) -> Option<&Arc<Node<T>>> {
    let node = node?;
    if node.shift == shift {
        node.part(digit)
    } else {
        (digit_of(node.prefix, shift) == digit).then_some(node)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::Radix;

    /// Numbers that are the same in every run, of every size.
    fn keys() -> impl Iterator<Item = u64> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        std::iter::from_fn(move || {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            let random = state >> 8;
            Some(match random % 5 {
                0 => random % 100,
                1 => u64::MAX - random % 100,
                2 => 0xffff_f800_0000 + random % 300,
                3 => (random % 8) << (random / 8 % 64),
                _ => state,
            })
        })
    }

    fn all(radix: &Radix<u64>) -> Vec<(u64, u64)> {
        let mut next = Some(0);
        let each = std::iter::from_fn(|| {
            let (key, value) = radix.at_or_above(next?)?;
            next = key.checked_add(1);
            Some((key, *value))
        });
        each.collect()
    }

    #[test]
    fn does_what_a_map_does() {
        let (mut radix, mut map) = (Radix::default(), BTreeMap::new());
        let mut keys = keys();
        for round in 0..20_000_u64 {
            let key = keys.next().unwrap();
            match round % 7 {
                0..3 => assert_eq!(radix.insert(key, round), map.insert(key, round)),
                3 => assert_eq!(radix.remove(key), map.remove(&key)),
                4 => {
                    let there = map.range(key..).next().map(|(key, _)| *key);
                    let there = there.unwrap_or(key);
                    assert_eq!(radix.get_mut(there), map.get_mut(&there));
                    assert_eq!(radix.remove(there), map.remove(&there));
                }
                5 => {
                    assert_eq!(
                        radix.at_or_above(key),
                        map.range(key..).next().map(|(k, v)| (*k, v))
                    );
                }
                _ => {
                    let below = map.range(..=key).next_back().map(|(k, v)| (*k, v));
                    assert_eq!(radix.at_or_below(key), below);
                }
            }
            assert_eq!(radix.get(key), map.get(&key));
            assert_eq!(radix.len(), map.len() as u64);
        }
        assert_eq!(all(&radix), map.iter().map(|(k, v)| (*k, *v)).collect::<Vec<_>>());
        for key in map.keys() {
            assert!(radix.remove(*key).is_some());
        }
        assert!(radix.root.is_none() && radix.len() == 0);
    }

    #[test]
    fn a_copy_stays_as_it_was_and_tells_what_differs() {
        let mut radix = Radix::default();
        let mut keys = keys();
        let mut copies = vec![(radix.clone(), all(&radix))];
        for round in 0..400 {
            for _ in 0..round % 9 {
                radix.insert(keys.next().unwrap(), round);
                let key = keys.next().unwrap();
                if let Some((key, _)) = radix.at_or_below(key).map(|(key, value)| (key, *value)) {
                    radix.remove(key);
                }
            }
            copies.push((radix.clone(), all(&radix)));
        }
        for (copy, content) in &copies {
            assert_eq!(all(copy), *content);
            let mut differing = Vec::new();
            radix.differing(copy, u64::eq, &mut differing);
            let (ours, theirs) = (all(&radix), content);
            let mut expected: Vec<u64> = Vec::new();
            expected.extend(ours.iter().filter(|e| !theirs.contains(e)).map(|e| e.0));
            expected.extend(theirs.iter().filter(|e| !ours.contains(e)).map(|e| e.0));
            expected.sort_unstable();
            expected.dedup();
            assert_eq!(differing, expected);
        }
    }

    #[test]
    fn a_tree_is_as_high_as_its_keys_differ() {
        let mut radix = Radix::default();
        for key in 0xffff_f800_0000..0xffff_f800_0040_u64 {
            radix.insert(key, key);
        }
        assert_eq!(radix.root.as_ref().map(|root| root.shift), Some(0));
        radix.insert(1, 1);
        assert_eq!(radix.root.as_ref().map(|root| root.shift), Some(42));
        radix.remove(1);
        assert_eq!(radix.root.as_ref().map(|root| root.shift), Some(0));
    }
}
