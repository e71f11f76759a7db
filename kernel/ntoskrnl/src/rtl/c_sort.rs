//! C runtime: `qsort` and `bsearch`, which call a comparison routine of the driver.
//!
//! The documentation leaves open which order equal elements get and in which order elements are
//! compared; this is a heap sort in place, whose number of comparisons no comparison routine can
//! raise. The routine gets addresses inside the array, as documented.

#![expect(non_camel_case_types, reason = "exports keep the spelling of the C runtime")]

use guest_memory::{AccessKind, Accessor, GuestAddr};
use nt_macros::export;

use crate::{CallResult, Flow, GuestCall, Kernel, exports, frame};

exports![qsort, bsearch];

/// Sorts an array.
#[export(irql = .., ddi = "c-runtime-library/reference/qsort")]
fn qsort(
    k: &mut Kernel,
    base: GuestAddr,
    count: u64,
    width_bytes: u64,
    compare: GuestAddr,
) -> CallResult<Flow> {
    let array = Array { base, width_bytes, compare };
    if count < 2 || width_bytes == 0 {
        return Ok(Flow::Return(0));
    }
    // Every element is moved sooner or later.
    k.allow(AccessKind::Write, base, array.size_bytes(count))?;
    Sort { array, unsifted: count / 2, end: count, root: count, child: 0, is_sibling: false }
        .advance(k)
}

/// Finds an element of a sorted array.
#[export(irql = .., ddi = "c-runtime-library/reference/bsearch")]
fn bsearch(
    k: &mut Kernel,
    key: GuestAddr,
    base: GuestAddr,
    count: u64,
    width_bytes: u64,
    compare: GuestAddr,
) -> CallResult<Flow> {
    let array = Array { base, width_bytes, compare };
    Search { array, key, low: 0, high: count }.advance(k)
}

/// An array and the routine that compares its elements.
#[derive(Clone, Copy, Debug)]
struct Array {
    base: GuestAddr,
    width_bytes: u64,
    compare: GuestAddr,
}

impl Array {
    fn size_bytes(&self, count: u64) -> u64 {
        count.saturating_mul(self.width_bytes)
    }

    fn at(&self, index: u64) -> GuestAddr {
        self.base.add(index.wrapping_mul(self.width_bytes))
    }

    fn compare(&self, a: GuestAddr, b: GuestAddr) -> GuestCall {
        GuestCall::helper(self.compare, vec![a.0, b.0])
    }

    /// Exchanges two elements; undefined bits stay undefined.
    fn swap(&self, k: &mut Kernel, a: u64, b: u64) -> CallResult<()> {
        let (a, b) = (self.at(a), self.at(b));
        for done in (0..self.width_bytes).step_by(PIECE_BYTES) {
            let size_bytes = (self.width_bytes - done).min(PIECE_BYTES as u64);
            let [first, second] = [a.add(done), b.add(done)];
            let (x, y) = (Piece::load(k, first, size_bytes)?, Piece::load(k, second, size_bytes)?);
            x.store(k, second)?;
            y.store(k, first)?;
        }
        Ok(())
    }
}

/// What memory moves at once.
const PIECE_BYTES: usize = 64;

/// Part of an element.
struct Piece {
    bytes: [u8; PIECE_BYTES],
    undefined: [u8; PIECE_BYTES],
    length: usize,
}

impl Piece {
    fn load(k: &mut Kernel, at: GuestAddr, size_bytes: u64) -> CallResult<Self> {
        k.allow(AccessKind::Write, at, size_bytes)?;
        let length = usize::try_from(size_bytes).map_or(PIECE_BYTES, |size| size.min(PIECE_BYTES));
        let mut piece = Self { bytes: [0; PIECE_BYTES], undefined: [0; PIECE_BYTES], length };
        let (bytes, _) = piece.bytes.split_at_mut(length);
        let (undefined, _) = piece.undefined.split_at_mut(length);
        let loaded = k.memory.load_slow(Accessor::Machine, at, bytes, undefined, true);
        loaded.map_err(|objection| k.fault(&objection))?;
        Ok(piece)
    }

    fn store(&self, k: &mut Kernel, at: GuestAddr) -> CallResult<()> {
        let (bytes, _) = self.bytes.split_at(self.length);
        let (undefined, _) = self.undefined.split_at(self.length);
        let stored = k.memory.store_slow(Accessor::Machine, at, bytes, undefined, true);
        stored.map_err(|objection| k.fault(&objection))
    }
}

/// What a comparison routine said: the sign of an `int`.
fn sign(value: u64) -> i32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    i32::from_le_bytes([a, b, c, d]).signum()
}

/// A heap sort between two comparisons.
#[derive(Clone, Debug)]
struct Sort {
    array: Array,
    /// Elements before this one are not in the heap yet.
    unsifted: u64,
    /// The heap ends here; what follows is sorted.
    end: u64,
    /// The element that sinks.
    root: u64,
    /// The larger of its children, as far as is known.
    child: u64,
    /// The comparison is between the two children, not with the sinking element.
    is_sibling: bool,
}

frame!(Sort, Sort::compared);

impl Sort {
    /// Goes on to the next comparison, or to the end.
    fn advance(mut self, k: &mut Kernel) -> CallResult<Flow> {
        loop {
            let child = self.root.saturating_mul(2).saturating_add(1);
            if child < self.end {
                self.child = child;
                self.is_sibling = child + 1 < self.end;
                let other = if self.is_sibling { child + 1 } else { self.root };
                return Ok(self.ask(other));
            }
            if self.unsifted > 0 {
                self.unsifted -= 1;
                self.root = self.unsifted;
            } else if self.end > 1 {
                self.end -= 1;
                self.array.swap(k, 0, self.end)?;
                self.root = 0;
            } else {
                return Ok(Flow::Return(0));
            }
        }
    }

    /// Asks whether the child is less than a sibling or the sinking element.
    fn ask(self, other: u64) -> Flow {
        let call = self.array.compare(self.array.at(self.child), self.array.at(other));
        Flow::call(call, self)
    }

    fn compared(mut self, k: &mut Kernel, value: u64) -> CallResult<Flow> {
        let is_less = sign(value) < 0;
        if self.is_sibling {
            self.child += u64::from(is_less);
            self.is_sibling = false;
            let root = self.root;
            return Ok(self.ask(root));
        }
        if is_less {
            // It has sunk.
            self.root = self.end;
        } else {
            self.array.swap(k, self.root, self.child)?;
            self.root = self.child;
        }
        self.advance(k)
    }
}

/// A search between two comparisons: the element is in `low..high`, if anywhere.
#[derive(Clone, Debug)]
struct Search {
    array: Array,
    key: GuestAddr,
    low: u64,
    high: u64,
}

frame!(Search, Search::compared);

impl Search {
    fn middle(&self) -> u64 {
        self.low + (self.high - self.low) / 2
    }

    fn advance(self, _: &mut Kernel) -> CallResult<Flow> {
        if self.low >= self.high {
            return Ok(Flow::Return(0));
        }
        let call = self.array.compare(self.key, self.array.at(self.middle()));
        Ok(Flow::call(call, self))
    }

    fn compared(mut self, k: &mut Kernel, value: u64) -> CallResult<Flow> {
        let middle = self.middle();
        match sign(value) {
            0 => return Ok(Flow::Return(self.array.at(middle).0)),
            -1 => self.high = middle,
            _ => self.low = middle + 1,
        }
        self.advance(k)
    }
}

#[cfg(test)]
mod tests {
    use guest_memory::{Accessor, ByteState, GuestAddr};

    use crate::{GuestCall, Kernel, testing};

    const COMPARE: u64 = 0x1000;

    fn word(k: &Kernel, at: u64) -> u32 {
        let mut bytes = [0; 4];
        k.memory.read(Accessor::Machine, GuestAddr(at), &mut bytes).unwrap();
        u32::from_le_bytes(bytes)
    }

    /// Compares by the first four bytes, as an `int` whose upper half is not part of it.
    fn by_word(k: &mut Kernel, call: &GuestCall) -> u64 {
        assert_eq!(call.target, GuestAddr(COMPARE));
        let [a, b] = [call.arguments[0], call.arguments[1]].map(|at| word(k, at));
        let order = i32::from(a > b) - i32::from(a < b);
        u64::from(order.cast_unsigned()) | 0x5555_5555 << 32
    }

    fn array(k: &mut Kernel, words: &[u32], width_bytes: usize) -> u64 {
        let element = |(index, word): (u8, &u32)| {
            let mut bytes = word.to_le_bytes().to_vec();
            bytes.resize(width_bytes, index);
            bytes
        };
        let bytes: Vec<u8> = (0..).zip(words).flat_map(element).collect();
        testing::block(k, &bytes)
    }

    #[test]
    fn arrays_of_any_length_and_width_are_sorted() {
        let numbers = [9, 3, 3, 0xffff_ffff, 0, 7, 8, 1, 6, 2, 5, 4, 3];
        for width_bytes in [4, 12, 100] {
            for count in 0..=numbers.len() {
                let mut k = testing::kernel();
                let words = &numbers[..count];
                let at = if count == 0 { 0 } else { array(&mut k, words, width_bytes) };
                let arguments = [at, count as u64, width_bytes as u64, COMPARE];
                let mut calls = 0;
                let mut guest = |k: &mut Kernel, call: &GuestCall| {
                    calls += 1;
                    let inside = |a: &u64| (at..at + (count * width_bytes) as u64).contains(a);
                    assert!(call.arguments.iter().all(inside));
                    by_word(k, call)
                };
                testing::drive(&mut k, "qsort", &arguments, &mut guest).unwrap();
                assert_eq!(calls > 0, count > 1);
                let places = (0..count).map(|i| at + (i * width_bytes) as u64);
                let found: Vec<u32> = places.clone().map(|at| word(&k, at)).collect();
                let mut expected = words.to_vec();
                expected.sort_unstable();
                assert_eq!(found, expected);
                // What stands behind a number moved with it.
                if width_bytes > 4 {
                    for place in places {
                        let index = word(&k, place + width_bytes as u64 - 4) & 0xff;
                        assert_eq!(words[index as usize], word(&k, place));
                    }
                }
            }
        }
    }

    #[test]
    fn undefined_bytes_of_elements_stay_undefined() {
        let mut k = testing::kernel();
        let at = array(&mut k, &[2, 1], 8);
        // The padding of the first element.
        k.memory.set_state(GuestAddr(at + 4), 4, ByteState::UNDEFINED, None);
        testing::drive(&mut k, "qsort", &[at, 2, 8, COMPARE], &mut by_word).unwrap();
        assert_eq!((word(&k, at), word(&k, at + 8)), (1, 2));
        assert_eq!(k.memory.undefined(GuestAddr(at), 8), None);
        assert_eq!(k.memory.undefined(GuestAddr(at + 8), 8).map(|(_, count)| count), Some(4));
    }

    #[test]
    fn a_routine_that_contradicts_itself_ends_too() {
        for answer in [0, 1, u64::from(u32::MAX)] {
            let mut k = testing::kernel();
            let words: Vec<u32> = (0..100).collect();
            let at = array(&mut k, &words, 4);
            let mut calls = 0;
            let mut guest = |_: &mut Kernel, _: &GuestCall| {
                calls += 1;
                answer
            };
            testing::drive(&mut k, "qsort", &[at, 100, 4, COMPARE], &mut guest).unwrap();
            assert!(calls < 2 * 100 * 8, "{calls}");
            let mut found: Vec<u32> = (0..100).map(|i| word(&k, at + 4 * i)).collect();
            found.sort_unstable();
            assert_eq!(found, words);
        }
    }

    #[test]
    fn searches_find_elements_and_nothing_else() {
        let mut k = testing::kernel();
        let words = [1, 3, 5, 7, 9, 11, 13];
        let at = array(&mut k, &words, 12);
        for wanted in 0..15 {
            let key = testing::block(&mut k, &u32::to_le_bytes(wanted));
            for count in 0..=words.len() {
                let arguments = [key, at, count as u64, 12, COMPARE];
                let mut guest = |k: &mut Kernel, call: &GuestCall| {
                    // The key comes first.
                    assert_eq!(call.arguments[0], key);
                    by_word(k, call)
                };
                let found = testing::drive(&mut k, "bsearch", &arguments, &mut guest).unwrap();
                let index = words[..count].iter().position(|word| *word == wanted);
                assert_eq!(found, index.map_or(0, |index| at + 12 * index as u64));
            }
        }
    }
}
