//! Which rule a memory fault belongs to: exactly one.

use events::{BlockKind, ExceptionEscape, MemoryFault};
use guest_memory::{AccessKind, ByteState, GuestAddr, Near, Perms, Reason};
use nt_abi::NtStatus;

use crate::Moment;

/// What kind of mistake a faulting access is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultClass {
    /// A block of a request that was completed.
    AfterCompletion,
    /// A block that was given back.
    AfterFree,
    /// The system buffer of the current request, read beyond its end.
    InputBeyondEnd,
    /// Before or behind a block.
    OutOfBounds,
    /// The first 64 KiB.
    NullDereference,
    /// The stack's guard.
    StackOverflow,
    /// A store to memory that may not be written.
    WriteToReadOnly,
    /// An instruction fetch from data.
    ExecuteData,
    /// Pageable memory while it may be out.
    PageableTooHigh,
    /// User memory that the caller passed: its own rules judge that.
    CallersBuffer,
    /// A kernel address that stood in the caller's input, used for a store.
    WriteToCallersAddress,
    /// A kernel address that stood in the caller's input, used for a load.
    ReadFromCallersAddress,
    /// Anything else.
    Wild,
}

/// Windows never maps the first 64 KiB of user space.
const NULL_REGION_BYTES: u64 = 0x1_0000;

impl FaultClass {
    /// Classifies a fault. The order matters: the most telling fact wins.
    pub fn of(fault: &MemoryFault, at: Moment<'_>) -> Self {
        let objection = &fault.objection;
        if fault.is_stack_guard {
            return Self::StackOverflow;
        }
        if objection.reason == Reason::Pageable {
            return Self::PageableTooHigh;
        }
        if objection.kind == AccessKind::Execute {
            // Code in a pageable section is code: only its memory may be out.
            let is_code = objection.reason == Reason::Pageable;
            return if is_code { Self::PageableTooHigh } else { Self::ExecuteData };
        }
        if fault.mark.is_some() {
            return match objection.kind {
                AccessKind::Write => Self::WriteToCallersAddress,
                _ => Self::ReadFromCallersAddress,
            };
        }
        // A pointer of the driver's that is null may look like one that the caller passed. Other
        // requests show it where it is the caller's.
        if objection.at < GuestAddr(NULL_REGION_BYTES) {
            return Self::NullDereference;
        }
        if fault.is_callers_buffer {
            return Self::CallersBuffer;
        }
        if let Some(near) = &fault.near
            && let Some(class) = Self::of_block(fault, near, at)
        {
            return class;
        }
        match objection.reason {
            Reason::NotPermitted { perms } if is_read_only(perms, objection.kind) => {
                Self::WriteToReadOnly
            }
            Reason::OutsideBounds => Self::OutOfBounds,
            _ => Self::Wild,
        }
    }

    /// Classifies an exception that left the driver; `None` if it is no access violation, or one
    /// that a routine raised as it promises.
    pub fn of_escape(escape: &ExceptionEscape, at: Moment<'_>) -> Option<Self> {
        let (address, _) = escape.access?;
        let is_touch = at.ledgers.latest_fault(at.origin.thread) == Some(address);
        if !is_touch || escape.code != NtStatus::STATUS_ACCESS_VIOLATION {
            return None;
        }
        Some(if address < GuestAddr(NULL_REGION_BYTES) {
            Self::NullDereference
        } else if escape.is_callers_buffer || escape.is_provoked {
            Self::CallersBuffer
        } else {
            Self::Wild
        })
    }

    fn of_block(fault: &MemoryFault, near: &Near, at: Moment<'_>) -> Option<Self> {
        let untouchable = match fault.objection.reason {
            Reason::Untouchable { state } => Some(state),
            Reason::OutsideBounds | Reason::NotMapped { .. } => None,
            _ => return None,
        };
        let (Near::Inside { block, .. } | Near::Before { block, .. } | Near::After { block, .. }) =
            near;
        let kind = BlockKind::from_u16(block.allocated.kind);
        let is_inside = matches!(near, Near::Inside { .. });
        if block.freed.is_some() {
            // Only the block's own bytes: a red zone stays a red zone.
            if !is_inside && untouchable != Some(ByteState::FREED) {
                return Some(Self::OutOfBounds);
            }
            let belongs_to_request = match kind {
                Some(BlockKind::SystemBuffer) => true,
                Some(BlockKind::Irp | BlockKind::Mdl) => at.ledgers.was_freed_by_completion(block),
                _ => false,
            };
            return Some(if belongs_to_request { Self::AfterCompletion } else { Self::AfterFree });
        }
        if is_inside && untouchable.is_none() {
            return None;
        }
        let is_behind = matches!(near, Near::After { .. });
        let is_read = fault.objection.kind == AccessKind::Read;
        if kind == Some(BlockKind::SystemBuffer) && is_behind && is_read {
            return Some(Self::InputBeyondEnd);
        }
        Some(Self::OutOfBounds)
    }
}

fn is_read_only(perms: Perms, kind: AccessKind) -> bool {
    kind == AccessKind::Write && perms.contains(Perms::READ) && !perms.contains(Perms::WRITE)
}
