//! Events of the I/O manager.

use guest_memory::GuestAddr;
use nt_abi::{Irql, NtStatus};

use crate::Seq;

/// An IRP, numbered from 1 in order of creation; its address may be reused, its number is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct IrpId(pub u32);

/// A routine of the driver that the kernel calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryPoint {
    DriverEntry,
    Unload,
    AddDevice,
    /// A dispatch routine for this major function.
    Dispatch {
        major: u8,
        irp: IrpId,
    },
    CompletionRoutine {
        irp: IrpId,
    },
    CancelRoutine {
        irp: IrpId,
    },
    Dpc,
    WorkItem,
    SystemThread,
    ExceptionFilter,
    TerminationHandler,
    /// Any other callback, named as in the documentation.
    Callback(&'static str),
}

/// A driver's routine returned to the kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EntryReturn {
    /// Which.
    pub entry: EntryPoint,
    /// Its return value.
    pub value: u64,
    /// IRQL when it was called.
    pub irql_before: Irql,
    /// IRQL when it returned.
    pub irql_after: Irql,
    /// Where the IRQL was changed last.
    pub changed: Option<Seq>,
}

/// An IRP was created.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IrpCreate {
    pub irp: IrpId,
    /// Where it is.
    pub address: GuestAddr,
    pub major: u8,
}

/// An IRP arrives at a dispatch routine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IrpDispatch {
    pub irp: IrpId,
    pub major: u8,
    /// The control code of a device control, else 0.
    pub control_code: u32,
    pub device: GuestAddr,
    /// Number of the question `SYSTEM_BUFFER_TAIL` that was asked for this request, if any.
    pub tail: Option<u32>,
}

/// A dispatch routine returned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IrpReturn {
    pub irp: IrpId,
    pub major: u8,
    /// What it returned.
    pub returned: NtStatus,
    /// `IoMarkIrpPending` was called for its stack location.
    pub is_marked_pending: bool,
    /// `Some(status)` if the IRP was completed before the routine returned.
    pub completed_with: Option<NtStatus>,
    /// The event of that completion.
    pub completed: Option<Seq>,
    /// The routine passed the IRP down, so the answer is the lower driver's.
    pub was_forwarded: bool,
}

/// On the way up an IRP leaves a stack location without the pending mark, whose dispatch routine
/// passed it down and returned `STATUS_PENDING`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PendingLost {
    pub irp: IrpId,
    /// When that routine returned.
    pub returned: Seq,
}

/// `IoCompleteRequest`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IrpComplete {
    pub irp: Option<IrpId>,
    pub address: GuestAddr,
    pub status: NtStatus,
    pub information: u64,
    /// The event of an earlier completion of the same IRP that was not taken back by
    /// `STATUS_MORE_PROCESSING_REQUIRED`.
    pub earlier: Option<Seq>,
    /// A cancel routine is still set.
    pub has_cancel_routine: bool,
}

/// A request that nothing completes any more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IrpStuck {
    pub irp: IrpId,
    pub major: u8,
    pub control_code: u32,
    /// When the driver returned `STATUS_PENDING`, or completed nothing.
    pub returned: Option<Seq>,
    /// It was cancelled before its cancel routine was set, and nobody looked: only a second cancel
    /// would reach the routine, and no caller makes one.
    pub is_cancel_missed: bool,
}

/// How a request's data travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferMethod {
    Buffered,
    InDirect,
    OutDirect,
    Neither,
}

/// Results go to the caller.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TransferOut {
    pub irp: IrpId,
    pub major: u8,
    pub control_code: u32,
    pub method: TransferMethod,
    pub status: NtStatus,
    /// `IoStatus.Information`.
    pub information: u64,
    /// Length of the caller's output buffer.
    pub output_bytes: u64,
    /// Undefined bytes among those that would be copied: how many, and the offset of the first.
    pub undefined: Option<(u64, u64)>,
    /// The completion.
    pub completed: Seq,
}

/// What a driver must give back before it is unloaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// A device object; its name, if it has one.
    Device(String),
    SymbolicLink(String),
    /// A handle; what it refers to.
    Handle(String),
    /// A reference to an object by pointer; what it refers to.
    Reference(String),
    /// A pool block: length and tag.
    Pool {
        size_bytes: u64,
        tag: u32,
    },
    /// A work item that was allocated.
    WorkItem,
    /// A completion routine that runs.
    CompletionRoutine,
    /// A timer or DPC that is queued, a work item, a thread.
    Running(&'static str),
    /// An interrupt that is connected; its vector.
    Interrupt(u32),
    /// A registered callback: of which kind.
    Callback(&'static str),
}

/// A driver took a resource: a device object, a symbolic link, a handle, a reference. Pool has its
/// own event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceTaken {
    /// What.
    pub resource: Resource,
}

/// A work item is given back by a routine that is not for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkItemFault {
    /// True if the kernel allocated it, false if it is in memory of the driver's own.
    pub is_allocated: bool,
    /// When it was made.
    pub made: Seq,
}

/// A resource still there when the driver is gone.
#[derive(Clone, Debug, PartialEq)]
pub struct LeftBehind {
    pub resource: Resource,
    /// When the driver took it: its `ResourceTaken` or `PoolAllocate`.
    pub taken: Option<Seq>,
    /// False if DriverEntry failed and Unload was never called.
    pub is_after_unload: bool,
}
