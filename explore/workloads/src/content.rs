//! What stands in the buffers of requests.

use system::{Content, FieldSpec, FieldValue};

/// Which values the marks have. The same script with another set differs in nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MarkSet {
    /// The values of a first run.
    #[default]
    First,
    /// The values of a confirming run.
    Second,
}

/// What a buffer is filled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filling {
    /// Nothing but zeros.
    Zeros,
    /// A mark in every four bytes.
    Marks,
    /// A mark like a physical address, then small numbers: address, unit, count.
    PhysicalRange,
    /// A mark like a physical address in every eight bytes.
    PhysicalAddresses,
    /// A mark like a kernel address in every eight bytes.
    KernelAddresses,
    /// Ones.
    SmallNumbers,
    /// A thread id, then small numbers, in four bytes each.
    ThreadId,
    /// A process id, then small numbers, in four bytes each.
    ProcessId,
    /// A handle in every eight bytes.
    Handles,
    /// A letter in every byte: a text without an end.
    Text,
    /// Addresses of the caller's memory.
    UserPointers,
}

impl Filling {
    /// Every filling, the most telling first.
    pub(crate) const ALL: [Self; 11] = [
        Self::Marks,
        Self::ThreadId,
        Self::PhysicalRange,
        Self::Zeros,
        Self::SmallNumbers,
        Self::UserPointers,
        Self::KernelAddresses,
        Self::ProcessId,
        Self::Handles,
        Self::PhysicalAddresses,
        Self::Text,
    ];

    /// The content of a buffer of this length.
    pub(crate) fn content(self, length_bytes: u32, marks: MarkSet) -> Content {
        // Structures of requests are small; what follows in a long buffer is data.
        let head_bytes = length_bytes.min(64);
        let each = |size_bytes: u8, value: &dyn Fn(u32) -> FieldValue| {
            let count = head_bytes / u32::from(size_bytes);
            let fields = (0..count).map(|index| FieldSpec {
                offset_bytes: index * u32::from(size_bytes),
                size_bytes,
                value: value(index),
            });
            Content::Fields(fields.collect())
        };
        let small = FieldValue::Number(1);
        match self {
            Self::Zeros => Content::Bytes(Vec::new()),
            Self::Text => Content::Bytes(vec![b'A'; length_bytes as usize]),
            Self::Marks if head_bytes < 4 => narrow_marks(head_bytes, marks),
            Self::Marks => each(4, &|i| FieldValue::Mark(u64::from(mark(marks, i)))),
            Self::PhysicalRange => physical_range(head_bytes, marks),
            Self::PhysicalAddresses => each(8, &|i| FieldValue::Mark(physical(marks, i))),
            Self::KernelAddresses => each(8, &|i| FieldValue::Mark(kernel(marks, i))),
            Self::SmallNumbers => each(4, &|_| small),
            Self::ThreadId => each(4, &|i| if i == 0 { FieldValue::CallerThreadId } else { ten() }),
            Self::ProcessId => {
                each(4, &|i| if i == 0 { FieldValue::CallerProcessId } else { ten() })
            }
            Self::Handles => each(8, &|_| FieldValue::CallerHandle),
            Self::UserPointers => each(8, &|_| FieldValue::UserPointer),
        }
    }
}

/// A number that is valid as a thread priority, a count and an index of most tables.
fn ten() -> FieldValue {
    FieldValue::Number(10)
}

/// A mark of four bytes. Its low half is a plausible port, and so is each byte but the top one,
/// which is zero; all of it is aligned to 8. The bytes at one place differ between the sets.
fn mark(set: MarkSet, index: u32) -> u32 {
    let base = match set {
        MarkSet::First => 0x00c5_4d08,
        MarkSet::Second => 0x00b6_3e80,
    };
    base + 0x0001_0108 * index
}

/// A mark like a physical address above 4 GiB that no RAM of a small machine has.
fn physical(set: MarkSet, index: u32) -> u64 {
    0x0000_000d_0000_0000 | u64::from(mark(set, index)) << 8
}

/// A mark like an address in the area of the firmware, the part of physical memory that even
/// careful tools offer: 0xC0000 to 0xFFFFF.
fn firmware(set: MarkSet) -> u64 {
    match set {
        MarkSet::First => 0xc_4d08,
        MarkSet::Second => 0xd_3e08,
    }
}

/// A mark like a kernel address: canonical, in the upper half, mapped nowhere.
fn kernel(set: MarkSet, index: u32) -> u64 {
    0xffff_c500_0000_0000 | u64::from(mark(set, index)) << 12
}

/// Marks for a buffer too short for one of four bytes.
fn narrow_marks(length_bytes: u32, set: MarkSet) -> Content {
    let sizes: &[u8] = match length_bytes {
        0 => &[],
        1 => &[1],
        2 => &[2],
        _ => &[2, 1],
    };
    let fields = (0..).zip([0, 2]).zip(sizes).map(|((index, offset_bytes), &size_bytes)| {
        let value = FieldValue::Mark(u64::from(mark(set, index)));
        FieldSpec { offset_bytes, size_bytes, value }
    });
    Content::Fields(fields.collect())
}

/// `{ PHYSICAL_ADDRESS address; ULONG unit, count, ... }`
fn physical_range(length_bytes: u32, set: MarkSet) -> Content {
    let mut fields =
        vec![FieldSpec { offset_bytes: 0, size_bytes: 8, value: FieldValue::Mark(firmware(set)) }];
    let mut offset_bytes = 8;
    while offset_bytes + 4 <= length_bytes {
        fields.push(FieldSpec { offset_bytes, size_bytes: 4, value: FieldValue::Number(1) });
        offset_bytes += 4;
    }
    Content::Fields(fields)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use system::{Content, FieldValue};

    use super::{Filling, MarkSet};

    fn marks(filling: Filling, length_bytes: u32, set: MarkSet) -> Vec<u64> {
        let Content::Fields(fields) = filling.content(length_bytes, set) else { return Vec::new() };
        fields
            .iter()
            .filter_map(|field| match field.value {
                FieldValue::Mark(value) => Some(value),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn marks_are_told_apart_by_their_low_half() {
        for filling in Filling::ALL {
            for length_bytes in [0, 1, 2, 3, 4, 16, 64, 4096] {
                let first = marks(filling, length_bytes, MarkSet::First);
                let second = marks(filling, length_bytes, MarkSet::Second);
                assert_eq!(first.len(), second.len());
                let all: BTreeSet<u64> = first.iter().chain(&second).copied().collect();
                assert_eq!(all.len(), 2 * first.len(), "{filling:?} {length_bytes}");
                if filling == Filling::Marks {
                    let low: BTreeSet<u64> = all.iter().map(|value| value & 0xffff).collect();
                    assert_eq!(low.len(), all.len());
                }
            }
        }
    }

    #[test]
    fn no_byte_of_a_mark_stays_in_the_other_set() {
        for length_bytes in [1, 2, 3, 4, 64] {
            let first = marks(Filling::Marks, length_bytes, MarkSet::First);
            let second = marks(Filling::Marks, length_bytes, MarkSet::Second);
            for (a, b) in first.iter().zip(second) {
                let (a, b) = (a.to_le_bytes(), b.to_le_bytes());
                assert!(a.iter().zip(b).take(3).all(|(a, b)| *a != b && *a != 0 && b != 0));
                assert_eq!(a[3..], [0; 5]);
            }
        }
    }

    #[test]
    fn fields_stay_inside_the_head() {
        for filling in Filling::ALL {
            if let Content::Fields(fields) = filling.content(20, MarkSet::First) {
                assert!(fields.iter().all(|f| f.offset_bytes + u32::from(f.size_bytes) <= 20));
            }
        }
    }
}
