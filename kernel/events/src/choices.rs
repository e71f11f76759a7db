//! The free choices of a run that both the kernel and the explorer name.
//!
//! The kernel asks them from the tape; the explorer writes deviations for them. The friendly answer
//! is always 0.

use choice_tape::{Chance, ChoiceKind};

/// Has another thread of the caller unmapped the page just before this touch? Options: 2. Asked for
/// each `UserFetch`; the question's number is `UserFetch::ordinal`.
///
/// Source: "Using Neither Buffered Nor Direct I/O": the caller may free the buffer at any time.
pub const USER_PAGE_GONE: ChoiceKind = ChoiceKind { number: 1, name: "user_page_gone" };

/// Has another thread of the caller changed the bytes just before this touch? Options:
/// [`UserBytesChange::OPTIONS`]. Asked for each `UserFetch` right after [`USER_PAGE_GONE`], so both
/// count alike.
///
/// Source: "Using Neither Buffered Nor Direct I/O": another thread may change the buffer's contents
/// at any time.
pub const USER_BYTES_CHANGE: ChoiceKind = ChoiceKind { number: 2, name: "user_bytes_change" };

/// Fail this pool request? Options: 2. Asked for each allocation that may fail.
pub const POOL_FAILURE: ChoiceKind = ChoiceKind { number: 3, name: "pool_failure" };

/// What do the undefined bytes of the system buffer behind the input hold? Options: 3, the fill
/// byte, its complement, and 0, which is what most comparisons are with. Asked for each buffered
/// device control whose output is longer than its input; `IrpDispatch::tail` is the question's
/// number.
///
/// Source: "Buffer Descriptions for I/O Control Codes": only the input bytes are copied in.
pub const SYSTEM_BUFFER_TAIL: ChoiceKind = ChoiceKind { number: 4, name: "system_buffer_tail" };
/// Its number of options.
pub const SYSTEM_BUFFER_TAILS: u32 = 3;

/// Fail this mapping into system address space? Options: 2. Asked for each mapping that may fail.
///
/// Source: "MmMapLockedPagesSpecifyCache", "MmMapIoSpace": NULL when there are not enough page
/// table entries.
pub const MAPPING_FAILURE: ChoiceKind = ChoiceKind { number: 5, name: "mapping_failure" };

/// Fail to create this object? Options: 2. Asked for each device, link, thread, work item or IRP
/// that a driver asks for.
///
/// Source: "IoCreateDevice", "IoCreateSymbolicLink", "PsCreateSystemThread": an error status;
/// "IoAllocateWorkItem", "IoAllocateIrp", "IoBuildDeviceIoControlRequest": NULL when resources are
/// insufficient.
pub const CREATION_FAILURE: ChoiceKind = ChoiceKind { number: 9, name: "creation_failure" };

/// Does another processor or thread go on at this kernel call? Options: 2. Asked before each call
/// that driver code makes and after it, while anybody else could run.
///
/// Source: "Introduction to Spin Locks", "Scheduling, Thread Context, and IRQL": other processors
/// run at any time, and a thread may be preempted at any point below `DISPATCH_LEVEL`.
pub const PREEMPTION: ChoiceKind = ChoiceKind { number: 6, name: "preemption" };

/// After how many instructions does this turn of a processor end? Options: [`TURN_LENGTHS`]; 0 is a
/// fair length. Asked at the start of each turn while anybody else could run.
///
/// Source: as for [`PREEMPTION`].
pub const TURN_LENGTH: ChoiceKind = ChoiceKind { number: 7, name: "turn_length" };
/// Its number of options.
pub const TURN_LENGTHS: u32 = 1 + 4096;

/// Which processor goes on? Options: as many as can run, in rotation; 0 is the next. Asked at the
/// start of each turn while more than one can.
///
/// Source: as for [`PREEMPTION`].
pub const NEXT_PROCESSOR: ChoiceKind = ChoiceKind { number: 8, name: "next_processor" };

/// Does user mode suspend the thread here? Options: 2. Asked after each kernel call of driver code
/// in a thread of user mode at which it could get a normal kernel APC, while anybody else could
/// run. It is resumed when nothing else can run.
///
/// Source: "Types of APCs", "Disabling APCs": a normal kernel APC interrupts a thread at
/// `PASSIVE_LEVEL` outside of critical and guarded regions; `SuspendThread` is one.
pub const SUSPENSION: ChoiceKind = ChoiceKind { number: 20, name: "suspension" };

/// Does another processor or thread go on when this instruction is about to run for the n-th time?
/// The ordinal is its offset in the first driver's image, the answer is n. Never asked: a tape that
/// names such points sets them, and [`NO_SWITCH`] sets one only so that it is reported.
///
/// An instruction that reads, changes and writes memory without a lock is split there: it goes on
/// with what it has read. Source: as for [`PREEMPTION`]; "Interlocked Operations": other
/// processors may access the memory between the read and the write of a plain increment.
pub const SWITCH_POINT: ChoiceKind = ChoiceKind { number: 40, name: "switch_point" };
/// The answer that reports a point and switches nowhere.
pub const NO_SWITCH: u32 = u32::MAX;

/// Random schedules: who runs when is left to chance.
pub fn random_schedule(seed: u64) -> Chance {
    const PER_MILLE: &[(ChoiceKind, u32)] =
        &[(PREEMPTION, 150), (TURN_LENGTH, 300), (NEXT_PROCESSOR, 400), (SUSPENSION, 20)];
    Chance { seed, per_mille: PER_MILLE }
}

/// Every kind, for replay tokens and reports.
pub const CHOICE_KINDS: &[ChoiceKind] = &[
    USER_PAGE_GONE,
    USER_BYTES_CHANGE,
    POOL_FAILURE,
    SYSTEM_BUFFER_TAIL,
    MAPPING_FAILURE,
    CREATION_FAILURE,
    PREEMPTION,
    TURN_LENGTH,
    NEXT_PROCESSOR,
    SUSPENSION,
    SWITCH_POINT,
];

/// How bytes of user memory change before a touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserBytesChange {
    /// First byte changed, from the start of the touch.
    pub offset_bytes: u32,
    /// How many: 1, 2, 4 or 8.
    pub size_bytes: u32,
    /// What becomes of them.
    pub to: NewBytes,
}

/// What becomes of the bytes, taken as a little-endian number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewBytes {
    /// The lowest bit flips.
    LowBitFlipped,
    /// All ones.
    AllOnes,
    /// All zeros.
    AllZeros,
    /// 0x1000 more, wrapping; one byte: 0x10 more.
    Larger,
}

impl NewBytes {
    /// Every one, in order of its number.
    pub const ALL: [Self; 4] = [Self::LowBitFlipped, Self::AllOnes, Self::AllZeros, Self::Larger];
}

const SIZES: [u32; 4] = [1, 2, 4, 8];

/// Touches are longer than this only in bulk copies; changes go to the first bytes of those.
const MAX_OFFSET_BYTES: u32 = 4096;

impl UserBytesChange {
    /// The number of answers: none, or one of the changes.
    pub const OPTIONS: u32 = 1 + 16 * MAX_OFFSET_BYTES;

    /// Returns the answer that means this change; `None` if it has none.
    pub fn answer(self) -> Option<u32> {
        let size = SIZES.iter().position(|s| *s == self.size_bytes)?;
        let to = NewBytes::ALL.iter().position(|t| *t == self.to)?;
        let small = u32::try_from(size * 4 + to).ok()?;
        (self.offset_bytes < MAX_OFFSET_BYTES).then_some(1 + self.offset_bytes * 16 + small)
    }

    /// Reads an answer back; 0 is no change.
    pub fn from_answer(answer: u32) -> Option<Self> {
        let number = answer.checked_sub(1)?;
        let size_bytes = *SIZES.get((number / 4 % 4) as usize)?;
        let to = *NewBytes::ALL.get((number % 4) as usize)?;
        let offset_bytes = number / 16;
        (offset_bytes < MAX_OFFSET_BYTES).then_some(Self { offset_bytes, size_bytes, to })
    }

    /// Returns the changed bytes of a touch; bytes outside it are left alone.
    pub fn apply(self, touched: &mut [u8]) {
        let start = self.offset_bytes as usize;
        let end = (start + self.size_bytes as usize).min(touched.len());
        let Some(bytes) = touched.get_mut(start..end) else { return };
        match self.to {
            NewBytes::LowBitFlipped => {
                if let Some(low) = bytes.first_mut() {
                    *low ^= 1;
                }
            }
            NewBytes::AllOnes => bytes.fill(0xff),
            NewBytes::AllZeros => bytes.fill(0),
            NewBytes::Larger => {
                if let [only] = bytes {
                    *only = only.wrapping_add(0x10);
                } else if let Some(second) = bytes.get_mut(1) {
                    // The carry into higher bytes does not matter: it is a larger number or a
                    // wrapped one.
                    *second = second.wrapping_add(0x10);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{NewBytes, UserBytesChange};

    #[test]
    fn answers_read_back() {
        for offset_bytes in [0, 1, 8, 4095] {
            for size_bytes in [1, 2, 4, 8] {
                for to in NewBytes::ALL {
                    let change = UserBytesChange { offset_bytes, size_bytes, to };
                    let answer = change.answer().expect("it is in range");
                    assert!(answer < UserBytesChange::OPTIONS);
                    assert_eq!(UserBytesChange::from_answer(answer), Some(change));
                }
            }
        }
        assert_eq!(UserBytesChange::from_answer(0), None);
    }

    #[test]
    fn changes_stay_inside_the_touch() {
        let change = UserBytesChange { offset_bytes: 2, size_bytes: 8, to: NewBytes::AllOnes };
        let mut bytes = [0; 4];
        change.apply(&mut bytes);
        assert_eq!(bytes, [0, 0, 0xff, 0xff]);
        change.apply(&mut []);
    }
}
