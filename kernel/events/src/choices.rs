//! The free choices of a run that both the kernel and the explorer name.
//!
//! The kernel asks them from the tape; the explorer writes deviations for them. The friendly answer
//! is always 0.

use choice_tape::{Chance, ChoiceKind, Deviation, Priorities, Tape};

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

/// Does another processor or thread go on at this kernel call? Options: as many as could run now,
/// the one that runs first; 1 is the fair next. Asked before each call that driver code makes,
/// after it, and after it changes its IRQL inline, while anybody else could run;
/// `Preemption::ordinal` is the question's number.
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

/// After how many instructions of what runs does a processor take an interrupt that was raised?
/// Options: [`INTERRUPT_DELAYS`]; 0 is at once. Asked once for each interrupt that could interrupt
/// guest code.
///
/// Source: "Introduction to Interrupt Service Routines", "Managing Hardware Priorities": an
/// interrupt comes between any two instructions, and its handling may be delayed.
pub const INTERRUPT_DELAY: ChoiceKind = ChoiceKind { number: 21, name: "interrupt_delay" };
/// Its number of options.
pub const INTERRUPT_DELAYS: u32 = 1 + 4096;

/// Which processor takes an interrupt? Options: as many as its affinity allows; 0 is the lowest.
/// Asked for each interrupt that more than one could take.
///
/// Source: "Interrupt Affinity and Priority": the set of processors on which a device's interrupts
/// can occur.
pub const INTERRUPT_PROCESSOR: ChoiceKind = ChoiceKind { number: 22, name: "interrupt_processor" };

/// How much of what runs comes before a time at which a device raises an interrupt? Options:
/// [`INTERRUPT_TIMES`]; 0: as much as runs in that time, n: the processors stand still from n - 1
/// events on until then. Asked for each interrupt of a device that is to come.
///
/// Source: "Scheduling, Thread Context, and IRQL", "Timer Accuracy": nothing promises how much code
/// runs in a given time.
pub const INTERRUPT_TIME: ChoiceKind = ChoiceKind { number: 23, name: "interrupt_time" };
/// Its number of options.
pub const INTERRUPT_TIMES: u32 = 1 + 1024;

/// Does another device raise a shared interrupt here? Options: 2. Asked after each kernel call of
/// driver code while an interrupt is connected that may be shared.
///
/// Source: "IoConnectInterrupt": from its return on, the routine can be called if `ShareVector` is
/// TRUE.
pub const SHARED_INTERRUPT: ChoiceKind = ChoiceKind { number: 24, name: "shared_interrupt" };

/// Does another processor or thread go on when this instruction is about to run for the n-th time?
/// The ordinal is its offset in the first driver's image, the answer is n. Never asked: a tape that
/// names such points sets them, and [`NO_SWITCH`] sets one only so that it is reported.
///
/// An instruction that reads, changes and writes memory without a lock is split there: it goes on
/// with what it has read. Source: as for [`PREEMPTION`]; "Interlocked Operations": other
/// processors may access the memory between the read and the write of a plain increment.
pub const SWITCH_POINT: ChoiceKind = ChoiceKind { number: 40, name: "switch_point" };
/// The same, but the instruction is not split: all of it runs when its processor goes on.
pub const SWITCH_BEFORE: ChoiceKind = ChoiceKind { number: 30, name: "switch_before" };
/// The same just after the instruction has run for the n-th time.
pub const SWITCH_AFTER: ChoiceKind = ChoiceKind { number: 31, name: "switch_after" };
/// The answer that reports a point and switches nowhere.
pub const NO_SWITCH: u32 = u32::MAX;

/// Does the caller cancel the request that it waits for, here? Options: 2. Asked around each call
/// that driver code makes, and before the dispatch routine, while a request of user mode that has
/// not been cancelled is neither completed nor about to open or close its file.
///
/// Source: "Canceling IRPs": "drivers should be prepared for an IRP to be canceled at any time";
/// "Introduction to Cancel Routines"; `CancelIoEx`: requests of any thread of the process.
pub const CANCEL_HERE: ChoiceKind = ChoiceKind { number: 80, name: "cancel_here" };

/// Has this timer just expired? Options: 2, or 3 where the caller may go on on another processor
/// while the timer's DPC runs. Asked when a timer that is set is cancelled or set anew.
///
/// Source: "KeCancelTimer": "the DPC might be running when the routine returns"; "KeSetTimer":
/// expiry is up to the system clock, and a thread may be kept from running for any time.
pub const TIMER_EXPIRES: ChoiceKind = ChoiceKind { number: 81, name: "timer_expires" };

/// Does the time out of this wait pass before the object is signalled? Options: 2. Asked for each
/// wait with a time out that cannot be satisfied at once.
///
/// Source: "KeWaitForSingleObject", "KeWaitForMultipleObjects": `STATUS_TIMEOUT`, "a time-out
/// occurred before the specified set of wait conditions was met".
pub const WAIT_TIMES_OUT: ChoiceKind = ChoiceKind { number: 82, name: "wait_times_out" };

/// Has somebody else an object of this name already? Options: 2. Asked for each device and link
/// whose name is free.
///
/// Source: "IoCreateDevice", "NamedDeviceObjects": names are shared by all drivers of the system;
/// `STATUS_OBJECT_NAME_COLLISION`.
pub const NAME_TAKEN: ChoiceKind = ChoiceKind { number: 83, name: "name_taken" };

/// Is the caller's buffer in pages that it may only read? Options: 2. Asked for each request whose
/// buffer the driver itself locks or touches, or that is locked for it to read.
///
/// Source: "Using Neither Buffered Nor Direct I/O": a driver must check the access of a user
/// buffer for what it does with it; "MmProbeAndLockPages" raises if the pages do not permit the
/// operation.
pub const READ_ONLY_BUFFER: ChoiceKind = ChoiceKind { number: 84, name: "read_only_buffer" };
/// Is a filter of another driver attached above this device? Options: 2. Asked for each open by
/// user mode of a device without one. The filter passes on, from a system worker thread at
/// `PASSIVE_LEVEL`, what does not depend on its caller's address space: reads and writes of devices
/// with buffered or direct I/O, device controls but for `METHOD_NEITHER`. All else it passes on at
/// once, in its caller's thread.
///
/// Source: "Dispatch Routines and IRQLs": only "any highest-level driver's dispatch routines are
/// called in the context of the thread that originated the I/O request"; "Using Neither Buffered
/// Nor Direct I/O": "if a higher-level driver is layered over" a driver, its routines "are unlikely
/// to be called in the context of the requesting thread". A filter that raises the level is none:
/// the first page promises `PASSIVE_LEVEL` outside of the paging path.
pub const FILTER_ABOVE: ChoiceKind = ChoiceKind { number: 60, name: "filter_above" };

/// Is there another driver between the device that the driver attaches to, or asks for by name, and
/// the driver? Options: [`LOWER_DRIVERS`]: no; one that marks every request pending and completes
/// it later, from a DPC; one that marks it pending and completes it at `DISPATCH_LEVEL` before
/// `IoCallDriver` returns.
///
/// Source: `wdm/nf-wdm-ioattachdevicetodevicestack`: the device attached to may be another than the
/// target; `wdm/nc-wdm-io_completion_routine`: called "in an arbitrary thread or DPC context, and
/// at an IRQL that is less than or equal to `DISPATCH_LEVEL`"; "IoMarkIrpPending": the next-lower
/// driver may return `STATUS_PENDING` for any request.
pub const LOWER_DRIVER: ChoiceKind = ChoiceKind { number: 61, name: "lower_driver" };
/// Its number of options.
pub const LOWER_DRIVERS: u32 = 3;

/// Does another process close the last handle? Options: 2. Asked for each handle that the caller
/// closes; the other process got a duplicate before.
///
/// Source: "DispatchCleanup Routines": the routine is called in the context of "the process that
/// closed the final handle; this process might be different from the process that initially opened
/// the handle", as another process may have duplicated it.
pub const HANDLE_ELSEWHERE: ChoiceKind = ChoiceKind { number: 62, name: "handle_elsewhere" };

/// Does this request come from another process, by a duplicate of the handle? Options: 2. Asked for
/// each read, write and device control that comes alone. The buffers are those of that process.
///
/// Source: "File Handles": a duplicated or inherited handle refers to "a single, shared file
/// object"; "DispatchCleanup Routines" as for [`HANDLE_ELSEWHERE`].
pub const REQUEST_ELSEWHERE: ChoiceKind = ChoiceKind { number: 63, name: "request_elsewhere" };

/// What only the strict profile tries: neighbours that may be there, although today they are not.
pub const NEIGHBOURS: &[ChoiceKind] =
    &[FILTER_ABOVE, LOWER_DRIVER, HANDLE_ELSEWHERE, REQUEST_ELSEWHERE];

/// A whole schedule by priority, instead of fair turns. The ordinal is the number of steps among
/// which it changes priorities; the answer is 8 times a seed, plus the depth. Never asked.
pub const PRIORITY_SCHEDULE: ChoiceKind = ChoiceKind { number: 41, name: "priority_schedule" };

/// A whole random schedule, instead of fair turns. The answer is its seed. Never asked.
pub const RANDOM_SCHEDULE: ChoiceKind = ChoiceKind { number: 42, name: "random_schedule" };

/// A schedule in which all lanes go on in step, instead of fair turns: whoever has waited longest
/// takes the next step. The answer is a seed that says who comes first. Never asked.
///
/// Source: as for [`PREEMPTION`]: nothing promises that one of two threads is ahead of the other.
pub const LOCK_STEP: ChoiceKind = ChoiceKind { number: 110, name: "lock_step" };

/// Makes this instruction a free moment, at which [`PREEMPTION`] and [`STANDSTILL`] are asked. The
/// ordinal is its offset in the first driver's image. Never asked: a tape sets such points.
///
/// Source: as for [`PREEMPTION`].
pub const FREE_INSTRUCTION: ChoiceKind = ChoiceKind { number: 111, name: "free_instruction" };

/// Which of several callers that act at once begins? Options: as many as there are; the others
/// follow in their order, from the first again behind the last. Asked by each such command.
///
/// Source: as for [`PREEMPTION`]: nothing promises that one of two callers is ahead of the other.
pub const FIRST_CALLER: ChoiceKind = ChoiceKind { number: 121, name: "first_caller" };

/// Reports what this instruction compares each time it is reached. The ordinal is its offset in
/// the first driver's image. Never asked, and it changes nothing: a tape sets such points while
/// the requests of a driver are learned.
pub const COMPARISON: ChoiceKind = ChoiceKind { number: 120, name: "comparison" };

/// Which of the ready threads of highest priority goes on? Options: as many as there are, in the
/// order in which they became ready. Asked when a processor takes one and there are several.
///
/// Source: "Scheduling, Thread Context, and IRQL", `KeSetEvent`: nothing promises which of several
/// threads of one priority runs first.
pub const NEXT_THREAD: ChoiceKind = ChoiceKind { number: 43, name: "next_thread" };

/// Does the thread stand still here until the next timer is due? Options: 2. Asked where
/// [`PREEMPTION`] is, below `DISPATCH_LEVEL`, while nobody else could run and a timer is set;
/// `Preemption::ordinal` is the question's number.
///
/// Source: as for [`PREEMPTION`]; "Timer Objects and DPCs": a timer expires whatever a thread of
/// the driver is doing.
pub const STANDSTILL: ChoiceKind = ChoiceKind { number: 44, name: "standstill" };

/// On which idle processor does a call of the outside world begin? Options: as many as there are;
/// 0 is the first. Asked when there are several.
///
/// Source: as for [`PREEMPTION`]: a thread without an affinity of its own runs on any processor.
pub const START_PROCESSOR: ChoiceKind = ChoiceKind { number: 46, name: "start_processor" };

/// Reports every question of [`PREEMPTION`] and [`STANDSTILL`], not only those that were answered
/// with a switch. Never asked.
pub const LIST_PREEMPTIONS: ChoiceKind = ChoiceKind { number: 45, name: "list_preemptions" };

/// Random schedules: who runs when is left to chance.
pub fn random_schedule(seed: u64) -> Chance {
    const PER_MILLE: &[(ChoiceKind, u32)] = &[
        (PREEMPTION, 150),
        (TURN_LENGTH, 300),
        (NEXT_PROCESSOR, 400),
        (NEXT_THREAD, 300),
        (START_PROCESSOR, 500),
        (SUSPENSION, 20),
        (STANDSTILL, 20),
        (INTERRUPT_DELAY, 500),
        (INTERRUPT_PROCESSOR, 500),
        (INTERRUPT_TIME, 500),
        (SHARED_INTERRUPT, 50),
    ];
    Chance { seed, per_mille: PER_MILLE }
}

/// The deviation that stands for a schedule by priority.
pub fn priority_schedule(seed: u32, depth: u32, length: u32) -> Deviation {
    let depth = depth.clamp(1, Priorities::MOST_DEPTH);
    let answer = (seed % (1 << 29)) * 8 + depth;
    Deviation { kind: PRIORITY_SCHEDULE.number, ordinal: length, answer }
}

/// The tape of a run: its deviations, some of which may stand for whole schedules. A seed other
/// than 0 is a random schedule for runs that name none.
pub fn tape_of(deviations: &[Deviation], seed: u64) -> Tape {
    let tape = Tape::new(deviations.iter().copied());
    let schedule = |kind: ChoiceKind| deviations.iter().find(|d| d.kind == kind.number);
    if let Some(by_priority) = schedule(PRIORITY_SCHEDULE) {
        let (seed, depth) = (by_priority.answer / 8, by_priority.answer % 8);
        return tape.with_priorities(Priorities::new(seed, depth, by_priority.ordinal));
    }
    if let Some(in_step) = schedule(LOCK_STEP) {
        return tape.with_priorities(Priorities::in_step(in_step.answer));
    }
    let random = schedule(RANDOM_SCHEDULE).map(|random| RANDOM_RUN | u64::from(random.answer));
    match random.unwrap_or(seed) {
        0 => tape,
        seed => tape.with_chance(random_schedule(seed)),
    }
}

/// Seeds of single runs are none of those that a user is likely to type.
const RANDOM_RUN: u64 = 1 << 63;

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
    INTERRUPT_DELAY,
    INTERRUPT_PROCESSOR,
    INTERRUPT_TIME,
    SHARED_INTERRUPT,
    SWITCH_BEFORE,
    SWITCH_AFTER,
    SWITCH_POINT,
    CANCEL_HERE,
    TIMER_EXPIRES,
    WAIT_TIMES_OUT,
    NAME_TAKEN,
    READ_ONLY_BUFFER,
    FILTER_ABOVE,
    LOWER_DRIVER,
    HANDLE_ELSEWHERE,
    REQUEST_ELSEWHERE,
    PRIORITY_SCHEDULE,
    RANDOM_SCHEDULE,
    NEXT_THREAD,
    STANDSTILL,
    LIST_PREEMPTIONS,
    START_PROCESSOR,
    LOCK_STEP,
    FREE_INSTRUCTION,
    COMPARISON,
    FIRST_CALLER,
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
    use choice_tape::{Switch, Tape};

    use super::{
        NewBytes, PREEMPTION, RANDOM_SCHEDULE, UserBytesChange, priority_schedule, tape_of,
    };

    #[test]
    fn a_deviation_may_stand_for_a_whole_schedule() {
        let answers = |mut tape: Tape| {
            (0..200).map(|_| tape.ask_who(PREEMPTION, Switch::Step, &[1, 2])).collect::<Vec<_>>()
        };
        let random =
            |answer| choice_tape::Deviation { kind: RANDOM_SCHEDULE.number, ordinal: 0, answer };
        assert!(answers(tape_of(&[], 0)).iter().all(|&answer| answer == 0));
        assert_ne!(answers(tape_of(&[random(1)], 0)), answers(tape_of(&[random(2)], 0)));
        assert_ne!(answers(tape_of(&[random(1)], 0)), answers(tape_of(&[], 1)));
        assert_eq!(answers(tape_of(&[random(1)], 9)), answers(tape_of(&[random(1)], 0)));
        for seed in 1..50 {
            let one = answers(tape_of(&[priority_schedule(seed, 1, 200)], 7));
            assert!(one.windows(2).all(|pair| pair[0] == pair[1]), "depth 1 changes nothing");
        }
    }

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
