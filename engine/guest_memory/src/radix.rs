//! A sparse persistent array: cheap to copy, and changing a copy leaves the original alone.
//!
//! Keys are cut into digits of 6 bits, most significant first; a node holds only the digits
//! present. Nodes are shared between copies and cloned on the first change, so capturing costs one
//! reference count and restoring one assignment. The tree is as high as its largest key ever
//! needed, so small keys are found in few steps.

use std::sync::Arc;

const DIGIT_BITS: u32 = 6;
const DIGIT_MASK: u64 = 63;

/// Values by 64-bit keys.
#[derive(Clone, Debug)]
pub(crate) struct Radix<T> {
    root: Option<Arc<Node<T>>>,
    /// Position of the root's digit.
    shift: u32,
    len: u64,
}

/// What a node holds for the digits present, in order; `present` has a bit for each.
#[derive(Debug)]
enum Node<T> {
    Inner { present: u64, children: Vec<Arc<Node<T>>> },
    Leaf { present: u64, values: Vec<T> },
}

impl<T: Clone> Clone for Node<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Inner { present, children } => {
                Self::Inner { present: *present, children: with_room(children) }
            }
            Self::Leaf { present, values } => {
                Self::Leaf { present: *present, values: with_room(values) }
            }
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
        Self { root: None, shift: 0, len: 0 }
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
        let mut shift = self.shift;
        if !covers(shift, key) {
            return None;
        }
        loop {
            let digit = (key >> shift) & DIGIT_MASK;
            match node {
                Node::Inner { present, children } => {
                    node = child_at(*present, children, digit)?;
                }
                Node::Leaf { present, values } => return values.get(index_of(*present, digit)?),
            }
            shift -= DIGIT_BITS;
        }
    }

    /// Returns the value for changing; what is shared on the way is cloned.
    pub(crate) fn get_mut(&mut self, key: u64) -> Option<&mut T> {
        self.get(key)?;
        let mut node = Arc::make_mut(self.root.as_mut()?);
        let mut shift = self.shift;
        loop {
            let digit = (key >> shift) & DIGIT_MASK;
            match node {
                Node::Inner { present, children } => {
                    node = Arc::make_mut(children.get_mut(index_of(*present, digit)?)?);
                }
                Node::Leaf { present, values } => {
                    return values.get_mut(index_of(*present, digit)?);
                }
            }
            shift -= DIGIT_BITS;
        }
    }

    /// Sets a value and returns the one before.
    pub(crate) fn insert(&mut self, key: u64, value: T) -> Option<T> {
        while !covers(self.shift, key) {
            self.shift += DIGIT_BITS;
            if let Some(root) = self.root.take() {
                self.root = Some(Arc::new(Node::above(root)));
            }
        }
        let shift = self.shift;
        let root = self.root.get_or_insert_with(|| Arc::new(Node::empty(shift)));
        let old = Node::insert(Arc::make_mut(root), shift, key, value);
        self.len += u64::from(old.is_none());
        old
    }

    /// Removes a value and returns it.
    pub(crate) fn remove(&mut self, key: u64) -> Option<T> {
        self.get(key)?;
        let root = self.root.as_mut()?;
        let (old, is_empty) = Node::remove(Arc::make_mut(root), self.shift, key);
        if is_empty {
            self.root = None;
        }
        self.len -= u64::from(old.is_some());
        old
    }

    /// Returns the greatest key not above `key`, with its value.
    pub(crate) fn at_or_below(&self, key: u64) -> Option<(u64, &T)> {
        let key = if covers(self.shift, key) { key } else { u64::MAX };
        self.root.as_deref()?.at_or_below(self.shift, key, 0)
    }

    /// Returns the least key not below `key`, with its value.
    pub(crate) fn at_or_above(&self, key: u64) -> Option<(u64, &T)> {
        let root = self.root.as_deref().filter(|_| covers(self.shift, key))?;
        root.at_or_above(self.shift, key, 0)
    }

    /// Appends the keys whose values differ to `out`, in order. `same` compares two values.
    pub(crate) fn differing(&self, other: &Self, same: fn(&T, &T) -> bool, out: &mut Vec<u64>) {
        let a = self.root.as_ref().map(|root| (root, self.shift));
        let b = other.root.as_ref().map(|root| (root, other.shift));
        differ(a, b, 0, same, out);
    }
}

/// Whether a root with its digit at `shift` has a place for the key.
#[inline]
fn covers(shift: u32, key: u64) -> bool {
    shift + DIGIT_BITS >= u64::BITS || key >> (shift + DIGIT_BITS) == 0
}

/// Position of a digit among those present.
#[inline]
fn index_of(present: u64, digit: u64) -> Option<usize> {
    let bit = 1u64 << digit;
    (present & bit != 0).then(|| rank(present, digit))
}

#[inline]
fn child_at<T>(present: u64, children: &[Arc<Node<T>>], digit: u64) -> Option<&Arc<Node<T>>> {
    children.get(index_of(present, digit)?)
}

/// How many smaller digits are present.
#[inline]
fn rank(present: u64, digit: u64) -> usize {
    (present & ((1u64 << digit) - 1)).count_ones() as usize
}

impl<T: Clone> Node<T> {
    fn empty(shift: u32) -> Self {
        if shift == 0 {
            Self::Leaf { present: 0, values: Vec::new() }
        } else {
            Self::Inner { present: 0, children: Vec::new() }
        }
    }

    /// A node one digit higher, with this one for digit 0.
    fn above(node: Arc<Self>) -> Self {
        Self::Inner { present: 1, children: vec![node] }
    }

    fn insert(&mut self, shift: u32, key: u64, value: T) -> Option<T> {
        let digit = (key >> shift) & DIGIT_MASK;
        match self {
            Self::Leaf { present, values } => {
                let at = rank(*present, digit);
                if *present & (1 << digit) != 0
                    && let Some(slot) = values.get_mut(at)
                {
                    return Some(std::mem::replace(slot, value));
                }
                *present |= 1 << digit;
                values.insert(at, value);
                None
            }
            Self::Inner { present, children } => {
                let below = shift - DIGIT_BITS;
                let at = rank(*present, digit);
                if *present & (1 << digit) == 0 {
                    *present |= 1 << digit;
                    children.insert(at, Arc::new(Self::empty(below)));
                }
                let child = children.get_mut(at).expect("a digit that is present has a child");
                Self::insert(Arc::make_mut(child), below, key, value)
            }
        }
    }

    fn remove(&mut self, shift: u32, key: u64) -> (Option<T>, bool) {
        let digit = (key >> shift) & DIGIT_MASK;
        match self {
            Self::Leaf { present, values } => {
                let Some(at) = index_of(*present, digit) else { return (None, false) };
                *present &= !(1 << digit);
                (Some(values.remove(at)), *present == 0)
            }
            Self::Inner { present, children } => {
                let at = index_of(*present, digit);
                let Some((at, child)) = at.and_then(|at| Some((at, children.get_mut(at)?))) else {
                    return (None, false);
                };
                let (old, is_empty) = Self::remove(Arc::make_mut(child), shift - DIGIT_BITS, key);
                if is_empty {
                    children.remove(at);
                    *present &= !(1 << digit);
                }
                (old, *present == 0)
            }
        }
    }

    fn at_or_below(&self, shift: u32, key: u64, prefix: u64) -> Option<(u64, &T)> {
        let digit = (key >> shift) & DIGIT_MASK;
        match self {
            Self::Leaf { present, values } => {
                let found = highest(*present & (u64::MAX >> (63 - digit)))?;
                Some((prefix | found, values.get(rank(*present, found))?))
            }
            Self::Inner { present, children } => {
                if let Some(child) = child_at(*present, children, digit) {
                    let prefix = prefix | digit << shift;
                    let found = child.at_or_below(shift - DIGIT_BITS, key, prefix);
                    if found.is_some() {
                        return found;
                    }
                }
                let digit = highest(*present & ((1 << digit) - 1))?;
                let child = child_at(*present, children, digit)?;
                child.at_or_below(shift - DIGIT_BITS, u64::MAX, prefix | digit << shift)
            }
        }
    }

    fn at_or_above(&self, shift: u32, key: u64, prefix: u64) -> Option<(u64, &T)> {
        let digit = (key >> shift) & DIGIT_MASK;
        let from_here = u64::MAX << digit;
        match self {
            Self::Leaf { present, values } => {
                let found = lowest(*present & from_here)?;
                Some((prefix | found, values.get(rank(*present, found))?))
            }
            Self::Inner { present, children } => {
                if let Some(child) = child_at(*present, children, digit) {
                    let prefix = prefix | digit << shift;
                    let found = child.at_or_above(shift - DIGIT_BITS, key, prefix);
                    if found.is_some() {
                        return found;
                    }
                }
                let digit = lowest(*present & from_here & !(1 << digit))?;
                let child = child_at(*present, children, digit)?;
                child.at_or_above(shift - DIGIT_BITS, 0, prefix | digit << shift)
            }
        }
    }

    fn present(&self) -> u64 {
        match self {
            Self::Inner { present, .. } | Self::Leaf { present, .. } => *present,
        }
    }

    fn child(&self, digit: u64) -> Option<&Arc<Self>> {
        match self {
            Self::Inner { present, children } => child_at(*present, children, digit),
            Self::Leaf { .. } => None,
        }
    }

    fn value(&self, digit: u64) -> Option<&T> {
        match self {
            Self::Leaf { present, values } => values.get(index_of(*present, digit)?),
            Self::Inner { .. } => None,
        }
    }
}

fn highest(bits: u64) -> Option<u64> {
    (bits != 0).then(|| 63 - u64::from(bits.leading_zeros()))
}

fn lowest(bits: u64) -> Option<u64> {
    (bits != 0).then(|| u64::from(bits.trailing_zeros()))
}

/// A subtree and the position of its digit.
type Subtree<'a, T> = Option<(&'a Arc<Node<T>>, u32)>;

fn differ<T: Clone>(
    a: Subtree<'_, T>,
    b: Subtree<'_, T>,
    prefix: u64,
    same: fn(&T, &T) -> bool,
    out: &mut Vec<u64>,
) {
    if let (Some((a, a_shift)), Some((b, b_shift))) = (a, b)
        && Arc::ptr_eq(a, b)
        && a_shift == b_shift
    {
        return;
    }
    let Some(shift) = a.map(|a| a.1).max(b.map(|b| b.1)) else { return };
    let mut digits = present_at(a, shift) | present_at(b, shift);
    while let Some(digit) = lowest(digits) {
        digits &= digits - 1;
        let prefix = prefix | digit << shift;
        if shift == 0 {
            let (x, y) = (a.and_then(|n| n.0.value(digit)), b.and_then(|n| n.0.value(digit)));
            let is_same = match (x, y) {
                (Some(x), Some(y)) => same(x, y),
                (None, None) => true,
                _ => false,
            };
            if !is_same {
                out.push(prefix);
            }
        } else {
            differ(below(a, shift, digit), below(b, shift, digit), prefix, same, out);
        }
    }
}

/// The digits present at `shift`; a lower tree is digit 0 of a higher one.
fn present_at<T: Clone>(tree: Subtree<'_, T>, shift: u32) -> u64 {
    match tree {
        Some((node, own)) if own == shift => node.present(),
        Some(_) => 1,
        None => 0,
    }
}

fn below<T: Clone>(tree: Subtree<'_, T>, shift: u32, digit: u64) -> Subtree<'_, T> {
    let (node, own) = tree?;
    if own == shift {
        node.child(digit).map(|child| (child, shift - DIGIT_BITS))
    } else {
        tree.filter(|_| digit == 0)
    }
}
