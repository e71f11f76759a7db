//! IRPs: the ledger, allocation and release.

use events::{BlockKind, Event, IrpCreate, IrpId, Seq, ThreadId, TransferMethod};
use guest_memory::{AccessKind, GuestAddr, SpaceId};
use nt_abi::{
    NtStatus,
    constants::io::IO_TYPE_IRP,
    structures::{
        LIST_ENTRY,
        io::{IO_STACK_LOCATION, IRP},
    },
};
use nt_macros::export;

use crate::{CallResult, Kernel, Stop, exports, mm, ob::PreviousMode};

exports![IoAllocateIrp, IoAllocateIrpEx, IoFreeIrp, IoReuseIrp, IoInitializeIrp, IoSizeOfIrp];

/// Where an IRP comes from, and so who disposes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IrpKind {
    /// A request of the I/O manager: completed, it is delivered and freed.
    Request,
    /// `IoBuildDeviceIoControlRequest`, `IoBuildSynchronousFsdRequest`: likewise.
    Threaded,
    /// `IoBuildAsynchronousFsdRequest`: delivered like those, but in no thread's list; the driver
    /// may take it back in a completion routine and free it.
    Asynchronous,
    /// `IoMakeAssociatedIrp`: completed, it is freed and counts for its master.
    Associated,
    /// `IoAllocateIrp`: the driver takes it back in a completion routine and frees it.
    Driver,
    /// In the driver's own memory, `IoInitializeIrp`.
    Initialized,
}

/// What the ledger knows of an IRP.
#[derive(Clone, Debug)]
pub struct Irp {
    /// Its number.
    pub id: IrpId,
    /// Where it is or was.
    pub address: GuestAddr,
    /// Where it comes from.
    pub kind: IrpKind,
    /// Its first major function, or [`NO_MAJOR`].
    pub major: u8,
    /// The control code of its first dispatch, else 0.
    pub control_code: u32,
    /// The thread that asked; nobody once it ended without it.
    pub thread: Option<ThreadId>,
    /// Its file object, which it references; null without one.
    pub file: GuestAddr,
    /// Its memory was not freed.
    pub is_live: bool,
    /// The `IoCompleteRequest` that was not taken back.
    pub completed: Option<Seq>,
    /// Status and information of the finished request.
    pub result: Option<(NtStatus, u64)>,
    /// When the last dispatch routine returned without having completed it.
    pub returned: Option<Seq>,
    /// Stack locations whose dispatch routine passed it on and returned `STATUS_PENDING` while it
    /// was on its way, and when.
    pub(crate) pended: Vec<(i8, Seq)>,
    /// Interrupt time at which it was cancelled first.
    pub cancelled_100ns: Option<u64>,
    /// How results travel.
    pub request: Option<Request>,
}

/// The major function of an IRP that no one has chosen yet.
pub(crate) const NO_MAJOR: u8 = 0xff;

/// How the results of a request travel to its caller.
#[derive(Clone, Debug)]
pub struct Request {
    /// How data travels.
    pub method: TransferMethod,
    /// Kernel or user mode.
    pub mode: PreviousMode,
    /// The user half in which its user addresses mean something.
    pub space: Option<SpaceId>,
    /// Length of the caller's output buffer.
    pub output_bytes: u64,
    /// The system buffer that the I/O manager allocated.
    pub system_buffer: Option<GuestAddr>,
    /// That buffer is a pool block, which the driver may free.
    pub is_buffer_from_pool: bool,
    /// The caller waits for it in the kernel.
    pub is_synchronous: bool,
    /// Signalled at the end, beside `UserEvent`: the file object's event, or one of the I/O
    /// manager's own.
    pub event: Option<GuestAddr>,
    /// Number of the question `SYSTEM_BUFFER_TAIL` that was asked for it.
    pub tail: Option<u32>,
    /// The caller's output buffer.
    pub output: GuestAddr,
    /// User ranges that the caller passed.
    pub ranges: Vec<(GuestAddr, u64)>,
}

/// Length of an IRP with this many stack locations.
pub(crate) fn size_of_irp(stack_count: i8) -> u64 {
    IRP::SIZE_BYTES + IO_STACK_LOCATION::SIZE_BYTES * u64::from(stack_count.max(0).unsigned_abs())
}

/// Allocates an IRP outside the pools, exactly as long as it must be, and numbers it.
pub(crate) fn allocate(k: &mut Kernel, stack_count: i8, kind: IrpKind) -> CallResult<IrpId> {
    let size_bytes = size_of_irp(stack_count);
    let address = mm::allocate_kernel(k, BlockKind::Irp, size_bytes, 16)?;
    initialize(k, address, stack_count, size_bytes)?;
    Ok(number(k, address, kind))
}

/// Writes an empty IRP.
pub(crate) fn initialize(
    k: &mut Kernel,
    irp: GuestAddr,
    stack_count: i8,
    size_bytes: u64,
) -> CallResult<()> {
    k.fill(irp, 0, size_bytes)?;
    let list = irp.add(IRP::ThreadListFlink.offset_bytes);
    k.set(irp, IRP::Type, IO_TYPE_IRP)?;
    k.set(irp, IRP::Size, u16::try_from(size_bytes).unwrap_or(u16::MAX))?;
    k.set(irp, IRP::StackCount, stack_count)?;
    k.set(irp, IRP::CurrentLocation, stack_count.wrapping_add(1))?;
    k.set(irp, IRP::CurrentStackLocation, irp.add(size_of_irp(stack_count)).0)?;
    k.set(list, LIST_ENTRY::Flink, list.0)?;
    k.set(list, LIST_ENTRY::Blink, list.0)
}

/// Enters an IRP into the ledger.
pub(crate) fn number(k: &mut Kernel, address: GuestAddr, kind: IrpKind) -> IrpId {
    let id = IrpId(u32::try_from(k.io.irps.len()).unwrap_or(u32::MAX) + 1);
    let irp = Irp {
        id,
        address,
        kind,
        major: NO_MAJOR,
        control_code: 0,
        thread: k.core().thread,
        file: GuestAddr::NULL,
        is_live: true,
        completed: None,
        result: None,
        returned: None,
        pended: Vec::new(),
        cancelled_100ns: None,
        request: None,
    };
    k.io.irps.insert(id, irp);
    k.io.irp_at.insert(address, id);
    id
}

/// Says that an IRP is there.
pub(crate) fn announce(k: &mut Kernel, id: IrpId) -> CallResult<()> {
    let irp = entry(k, id);
    let event = IrpCreate { irp: id, address: irp.address, major: irp.major };
    k.emit(Event::IrpCreate(event))?;
    Ok(())
}

/// The ledger's entry.
pub(crate) fn entry(k: &mut Kernel, id: IrpId) -> &mut Irp {
    k.io.irps.get_mut(&id).expect("IRP numbers name entries of the ledger")
}

/// The IRP that was last at an address.
pub(crate) fn at(k: &Kernel, address: GuestAddr) -> Option<&Irp> {
    k.io.irps.get(k.io.irp_at.get(&address)?)
}

/// The IRP at an address, entered into the ledger if a driver made it from its own memory.
pub(crate) fn at_or_number(k: &mut Kernel, address: GuestAddr) -> CallResult<IrpId> {
    if let Some(irp) = at(k, address)
        && irp.is_live
    {
        return Ok(irp.id);
    }
    k.allow(AccessKind::Write, address, IRP::SIZE_BYTES)?;
    if k.get(address, IRP::Type)? != IO_TYPE_IRP {
        return Err(Stop::bug_check(MULTIPLE_IRP_COMPLETE_REQUESTS, [address.0, 0, 0, 0]));
    }
    Ok(number(k, address, IrpKind::Initialized))
}

/// "A driver has tried to request an IRP be completed that is already complete", and other uses of
/// what is no IRP.
pub(crate) const MULTIPLE_IRP_COMPLETE_REQUESTS: u32 = 0x44;

/// Address of a stack location; the first is 1.
pub(crate) fn location_at(irp: GuestAddr, location: i8) -> GuestAddr {
    let before = u64::from(location.max(1).unsigned_abs()) - 1;
    irp.add(IRP::SIZE_BYTES + before * IO_STACK_LOCATION::SIZE_BYTES)
}

/// Gives the memory of an IRP back.
pub(crate) fn free(k: &mut Kernel, id: IrpId) {
    let irp = entry(k, id);
    let address = irp.address;
    if irp.is_live && irp.kind != IrpKind::Initialized {
        mm::free_kernel(k, address);
    }
    entry(k, id).is_live = false;
}

/// Allocates an IRP that the driver will send, take back and free.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-ioallocateirp")]
fn IoAllocateIrp(k: &mut Kernel, stack_size: i8, _charge_quota: bool) -> CallResult<GuestAddr> {
    if stack_size < 1 {
        return Ok(GuestAddr::NULL);
    }
    if k.is_to_fail(events::CREATION_FAILURE)? {
        return Ok(GuestAddr::NULL);
    }
    let id = allocate(k, stack_size, IrpKind::Driver)?;
    announce(k, id)?;
    Ok(entry(k, id).address)
}

/// The same for the stack of a device.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-ioallocateirpex")]
fn IoAllocateIrpEx(
    k: &mut Kernel,
    _device: GuestAddr,
    stack_size: i8,
    charge_quota: bool,
) -> CallResult<GuestAddr> {
    IoAllocateIrp(k, stack_size, charge_quota)
}

/// Frees an IRP.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-iofreeirp")]
fn IoFreeIrp(k: &mut Kernel, irp: GuestAddr) -> CallResult<()> {
    let id = at_or_number(k, irp)?;
    free(k, id);
    Ok(())
}

/// Makes an IRP of `IoAllocateIrp` as good as new, with a first status.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-ioreuseirp")]
fn IoReuseIrp(k: &mut Kernel, irp: GuestAddr, status: NtStatus) -> CallResult<()> {
    let id = at_or_number(k, irp)?;
    let stack_count = k.get(irp, IRP::StackCount)?;
    let flags = k.get(irp, IRP::AllocationFlags)?;
    initialize(k, irp, stack_count, size_of_irp(stack_count))?;
    k.set(irp, IRP::AllocationFlags, flags)?;
    k.set(irp, IRP::Status, status.0)?;
    let irp = entry(k, id);
    irp.completed = None;
    irp.pended.clear();
    irp.result = None;
    Ok(())
}

/// Makes an IRP of memory that the driver owns.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-ioinitializeirp")]
fn IoInitializeIrp(
    k: &mut Kernel,
    irp: GuestAddr,
    packet_bytes: u16,
    stack_size: i8,
) -> CallResult<()> {
    initialize(k, irp, stack_size, u64::from(packet_bytes))?;
    let id = number(k, irp, IrpKind::Initialized);
    announce(k, id)
}

/// Returns the length of an IRP with this many stack locations.
#[export(irql = .., ddi = "wdm/nf-wdm-iosizeofirp")]
fn IoSizeOfIrp(_: &mut Kernel, stack_size: i8) -> u16 {
    u16::try_from(size_of_irp(stack_size)).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use guest_memory::GuestAddr;
    use nt_abi::structures::io::IRP;

    use crate::{
        Stop,
        testing::{call_by_name, kernel},
    };

    #[test]
    fn an_irp_is_exactly_as_long_as_its_locations_need() {
        let mut k = kernel();
        assert_eq!(call_by_name(&mut k, "IoSizeOfIrp", &[3]), Ok(0xd0 + 3 * 0x48));
        let irp = GuestAddr(call_by_name(&mut k, "IoAllocateIrp", &[3, 0]).unwrap());
        assert_eq!(k.get(irp, IRP::CurrentLocation), Ok(4));
        assert_eq!(k.get(irp, IRP::CurrentStackLocation), Ok(irp.0 + 0xd0 + 3 * 0x48));
        assert!(k.read_vec(irp, 0xd0 + 3 * 0x48).is_ok());
        assert!(k.read_vec(irp, 0xd0 + 3 * 0x48 + 1).is_err());
        call_by_name(&mut k, "IoFreeIrp", &[irp.0]).unwrap();
        assert!(k.get(irp, IRP::Type).is_err());
    }

    #[test]
    fn an_irp_of_the_drivers_own_must_not_come_up_to_the_top() {
        for (name, arguments) in [("IoAllocateIrp", [1, 0, 0]), ("IoAllocateIrpEx", [0, 1, 0])] {
            let mut k = kernel();
            let irp = call_by_name(&mut k, name, &arguments).unwrap();
            let stop = call_by_name(&mut k, "IofCompleteRequest", &[irp, 0]).unwrap_err();
            assert!(matches!(stop, Stop::BugCheck(check) if check.code == 0x0a), "{stop:?}");
        }
    }
}
