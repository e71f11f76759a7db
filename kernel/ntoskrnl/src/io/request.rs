//! Requests: IRPs that the I/O manager builds for a caller, sends, and waits for.

use events::{
    BlockKind, IrpId, READ_ONLY_BUFFER, SYSTEM_BUFFER_TAIL, SYSTEM_BUFFER_TAILS, TransferMethod,
};
use guest_memory::{AccessKind, Accessor, ByteState, GuestAddr, PAGE_BYTES, Perms, Reason};
use nt_abi::{
    NtStatus,
    constants::io::{
        FO_SYNCHRONOUS_IO, IRP_BUFFERED_IO, IRP_DEALLOCATE_BUFFER, IRP_INPUT_OPERATION,
    },
    structures::{
        io::{DEVICE_OBJECT, FILE_OBJECT, IO_STACK_LOCATION, IRP},
        ke::KEVENT,
    },
};

use super::{
    attach, cancel_here, dispatch,
    irp::{self, IrpKind, Request},
};
use crate::{
    CallResult, Flow, Kernel, Wait, frame,
    ke::DispatcherType,
    map, mm,
    ob::{self, PreviousMode},
};

/// A request under construction: its IRP, and the stack location of the driver that gets it first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draft {
    pub(crate) id: IrpId,
    pub(crate) irp: GuestAddr,
    pub(crate) location: GuestAddr,
    /// The device that it goes to: the top of the stack.
    pub(crate) device: GuestAddr,
}

impl Draft {
    /// Allocates an IRP for the stack of a device and fills in what every request has.
    pub(crate) fn new(
        k: &mut Kernel,
        device: GuestAddr,
        major: u8,
        kind: IrpKind,
        mode: PreviousMode,
    ) -> CallResult<Self> {
        let stack_size = k.get(device, DEVICE_OBJECT::StackSize)?;
        let id = irp::allocate(k, stack_size, kind)?;
        let irp = irp::entry(k, id).address;
        let thread = k.current_thread_object();
        k.set(irp, IRP::Thread, thread.0)?;
        k.set(irp, IRP::RequestorMode, mode.processor_mode())?;
        let location = irp::location_at(irp, stack_size);
        k.set(location, IO_STACK_LOCATION::MajorFunction, major)?;
        let space = k.memory.space();
        let entry = irp::entry(k, id);
        entry.major = major;
        entry.request = Some(Request {
            method: TransferMethod::Neither,
            mode,
            space,
            output_bytes: 0,
            system_buffer: None,
            is_buffer_from_pool: kind == IrpKind::Asynchronous,
            is_synchronous: true,
            event: None,
            tail: None,
            output: GuestAddr::NULL,
            ranges: Vec::new(),
        });
        Ok(Self { id, irp, location, device })
    }

    /// The same for a file object, which the request references until it is delivered.
    pub(crate) fn for_file(
        k: &mut Kernel,
        file: GuestAddr,
        major: u8,
        mode: PreviousMode,
    ) -> CallResult<Self> {
        k.order_acquire(file);
        let device = attach::related_device(k, file)?;
        let draft = Self::new(k, device, major, IrpKind::Request, mode)?;
        k.set(draft.irp, IRP::OriginalFileObject, file.0)?;
        k.set(draft.location, IO_STACK_LOCATION::FileObject, file.0)?;
        let flags = k.get(file, FILE_OBJECT::Flags)?;
        let request = draft.request(k);
        request.is_synchronous = flags & FO_SYNCHRONOUS_IO != 0;
        request.event = Some(file.add(FILE_OBJECT::Event.offset_bytes));
        ob::reference(k, file);
        irp::entry(k, draft.id).file = file;
        Ok(draft)
    }

    /// How its results travel.
    pub(crate) fn request(self, k: &mut Kernel) -> &mut Request {
        irp::entry(k, self.id).request.as_mut().expect("a draft is a request")
    }

    /// Lets the request wait on an event of its own, as opens and closes do.
    pub(crate) fn wait_on_own_event(self, k: &mut Kernel) -> CallResult<()> {
        let event = mm::allocate_kernel(k, BlockKind::KernelPool, KEVENT::SIZE_BYTES, 8)?;
        let kind = DispatcherType::SynchronizationEvent;
        k.init_dispatcher(event, kind, KEVENT::SIZE_BYTES, 0)?;
        let request = self.request(k);
        request.event = Some(event);
        request.is_synchronous = true;
        k.set(self.irp, IRP::UserEvent, event.0)
    }

    /// Gives the request a system buffer: undefined but for the input.
    pub(crate) fn attach_system_buffer(
        self,
        k: &mut Kernel,
        size_bytes: u64,
        input: (GuestAddr, u64),
    ) -> CallResult<()> {
        if size_bytes == 0 {
            return Ok(());
        }
        let buffer = match self.request(k).is_buffer_from_pool {
            true => k.allocate_nonpaged_for_driver(size_bytes)?,
            false => mm::allocate_kernel(k, BlockKind::SystemBuffer, size_bytes, 16)?,
        };
        let fill = k.config.fill;
        k.memory.set_state(buffer, size_bytes, ByteState::UNDEFINED, Some(fill));
        let (from, input_bytes) = input;
        if input_bytes > 0 {
            // The range was checked for the caller's mode; the driver has no part in this access.
            let machine = Accessor::Machine;
            let copied = k.memory.copy((machine, buffer), (machine, from), input_bytes);
            debug_assert!(copied.is_ok(), "the range was just checked");
        }
        k.set(self.irp, IRP::SystemBuffer, buffer.0)?;
        self.add_flags(k, IRP_BUFFERED_IO | IRP_DEALLOCATE_BUFFER)?;
        self.request(k).system_buffer = Some(buffer);
        Ok(())
    }

    /// Asks what the undefined bytes behind the input of a device control hold: the fill byte or
    /// its complement, or 0.
    pub(crate) fn choose_tail(self, k: &mut Kernel, size_bytes: u64, input_bytes: u64) {
        if size_bytes <= input_bytes {
            return;
        }
        let number = k.tape.asked(SYSTEM_BUFFER_TAIL);
        let fill = match k.ask(SYSTEM_BUFFER_TAIL, SYSTEM_BUFFER_TAILS) {
            0 => None,
            1 => Some(!k.config.fill),
            _ => Some(0),
        };
        let request = self.request(k);
        request.tail = Some(number);
        let Some(buffer) = request.system_buffer else { return };
        if let Some(fill) = fill {
            let tail_bytes = size_bytes - input_bytes;
            let state = ByteState::UNDEFINED;
            k.memory.set_state(buffer.add(input_bytes), tail_bytes, state, Some(fill));
        }
    }

    /// Lets the system buffer be copied to the caller's buffer at the end.
    pub(crate) fn copy_back(self, k: &mut Kernel, to: GuestAddr) -> CallResult<()> {
        k.set(self.irp, IRP::UserBuffer, to.0)?;
        self.add_flags(k, IRP_INPUT_OPERATION)
    }

    /// Locks the caller's buffer and describes it by an MDL.
    pub(crate) fn attach_mdl(
        self,
        k: &mut Kernel,
        (at, size_bytes): (GuestAddr, u64),
        access: AccessKind,
    ) -> CallResult<Result<(), NtStatus>> {
        let accessor = match self.request(k).mode {
            PreviousMode::Kernel => Accessor::Supervisor,
            PreviousMode::User => Accessor::User,
        };
        match mm::lock_buffer(k, at, size_bytes, accessor, access)? {
            Ok(mdl) => {
                k.set(self.irp, IRP::MdlAddress, mdl.0)?;
                Ok(Ok(()))
            }
            Err(status) => Ok(Err(status)),
        }
    }

    /// Sets `IRP.Flags`.
    pub(crate) fn add_flags(self, k: &mut Kernel, flags: u32) -> CallResult<()> {
        let before = k.get(self.irp, IRP::Flags)?;
        k.set(self.irp, IRP::Flags, before | flags)
    }

    /// Throws the request away before it was sent. The value is the status.
    pub(crate) fn abandon(self, k: &mut Kernel, status: NtStatus) -> CallResult<Flow> {
        let entry = irp::entry(k, self.id);
        let file = entry.file;
        let system_buffer = entry.request.take().and_then(|request| request.system_buffer);
        if let Some(buffer) = system_buffer {
            mm::free_kernel(k, buffer);
        }
        let mdl = GuestAddr(k.get(self.irp, IRP::MdlAddress)?);
        mm::release_chain(k, mdl)?;
        irp::free(k, self.id);
        // Nobody will wait for it.
        irp::entry(k, self.id).completed = Some(k.last_seq);
        let answer = ob::Answer(status);
        match file.is_null() {
            true => Ok(Flow::Return(u64::from(status.0))),
            false => ob::dereference(k, file)?.then(k, answer),
        }
    }

    /// Sends the request. The value is its status: the final one if the caller waits, else what the
    /// driver returned.
    pub(crate) fn send(self, k: &mut Kernel) -> CallResult<Flow> {
        irp::announce(k, self.id)?;
        let request = self.request(k);
        let (event, is_synchronous) = (request.event, request.is_synchronous);
        if let Some(event) = event {
            k.set(event, KEVENT::SignalState, 0)?;
        }
        let wait_on = event.filter(|_| is_synchronous);
        let device = self.device;
        cancel_here::cancel_unsent(k, self.id)?;
        dispatch::call_driver(k, device, self.irp)?.then(k, Sent { id: self.id, wait_on })
    }
}

/// The first driver returned.
#[derive(Clone, Debug)]
struct Sent {
    id: IrpId,
    wait_on: Option<GuestAddr>,
}

frame!(Sent, |this, k, value| {
    let Some(event) = this.wait_on else { return Ok(Flow::Return(value)) };
    if value == u64::from(NtStatus::STATUS_PENDING.0) {
        let wait =
            Wait { objects: vec![event], is_all: false, due_100ns: None, is_alertable: false };
        return Ok(Flow::wait(wait, Waited { id: this.id }));
    }
    let entry = irp::entry(k, this.id);
    if entry.completed.is_none() && entry.is_live {
        // The driver says it is done and is not: nobody waits for this request any more.
        let address = entry.address;
        if let Some(request) = &mut entry.request {
            request.event = None;
        }
        k.set(address, IRP::UserEvent, 0)?;
    }
    Ok(Flow::Return(value))
});

/// The wait for the request is over.
#[derive(Clone, Debug)]
struct Waited {
    id: IrpId,
}

frame!(Waited, |this, k, _| {
    let result = irp::entry(k, this.id).result;
    let status = result.map_or(NtStatus::STATUS_PENDING, |(status, _)| status);
    Ok(Flow::Return(u64::from(status.0)))
});

/// Asks whether a buffer that the driver should only read is in pages that the caller itself may
/// only read; what else is in those pages is the caller's own.
pub(crate) fn make_read_only_if_chosen(
    k: &mut Kernel,
    (at, size_bytes): (GuestAddr, u64),
    detail: u64,
) -> CallResult<()> {
    if size_bytes == 0 || !is_user_range(k, AccessKind::Write, at, size_bytes) {
        return Ok(());
    }
    if k.ask_here(READ_ONLY_BUFFER, 2, detail)? != 0 {
        let perms = Perms::READ | Perms::USER | Perms::WATCHED;
        let pages_bytes = (at.0 + size_bytes).next_multiple_of(PAGE_BYTES) - at.page().0;
        let is_done = k.memory.protect(at.page(), pages_bytes, perms);
        debug_assert!(is_done, "the range was just checked");
    }
    Ok(())
}

/// Whether user mode may touch a whole range. A watched page is no obstacle: the machine looks at
/// driver accesses.
pub(crate) fn is_user_range(k: &Kernel, kind: AccessKind, at: GuestAddr, size_bytes: u64) -> bool {
    let Some(end) = at.0.checked_add(size_bytes) else { return false };
    if end > map::USER_PROBE_ADDRESS.0 {
        return false;
    }
    let mut from = at;
    while from.0 < end {
        let to = from.page().add(PAGE_BYTES).0.min(end);
        match k.memory.check(Accessor::User, kind, from, to - from.0) {
            Ok(()) => {}
            Err(objection) if objection.reason == Reason::Watched => {}
            Err(_) => return false,
        }
        from = GuestAddr(to);
    }
    true
}
