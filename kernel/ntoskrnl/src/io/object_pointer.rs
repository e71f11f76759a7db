//! Opening a device by name from the kernel: `IoGetDeviceObjectPointer`.

use events::BlockKind;
use guest_memory::GuestAddr;
use nt_abi::{
    NtStatus,
    constants::io::{FILE_NON_DIRECTORY_FILE, FILE_OPEN, OBJ_KERNEL_HANDLE},
    structures::{
        UNICODE_STRING,
        io::{FILE_OBJECT, IO_STATUS_BLOCK},
    },
};
use nt_macros::export;

use super::{attach, create, neighbours};
use crate::{
    CallResult, Flow, GuestPtr, Kernel, exports, frame, mm,
    ob::{self, Handle, ObjectAttributes, ObjectType, PreviousMode},
};

exports![IoGetDeviceObjectPointer];

/// Returns the top of a named device's stack and a file object that keeps it.
///
/// The handle behind it is closed before the routine returns, so the driver sees a cleanup request
/// at once.
#[export(irql = PASSIVE_LEVEL, ddi = "wdm/nf-wdm-iogetdeviceobjectpointer")]
fn IoGetDeviceObjectPointer(
    k: &mut Kernel,
    name: GuestPtr<UNICODE_STRING>,
    access: u32,
    file_at: GuestPtr<GuestAddr>,
    device_at: GuestPtr<GuestAddr>,
) -> CallResult<Flow> {
    let purpose = Purpose::Pointer { file_at: file_at.at, device_at: device_at.at };
    open(k, name.at, access, purpose)
}

/// What a device is opened for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// The driver wants the file object and the device that its requests go to.
    Pointer { file_at: GuestAddr, device_at: GuestAddr },
    /// A device is to be attached to it.
    Attach { source: GuestAddr, below_at: GuestAddr },
}

/// Opens a named device from the kernel.
pub(crate) fn open(
    k: &mut Kernel,
    name: GuestAddr,
    access: u32,
    purpose: Purpose,
) -> CallResult<Flow> {
    let name = ob::read_name(k, name)?;
    // A handle, and the status block behind it.
    let size = 0x10 + IO_STATUS_BLOCK::SIZE_BYTES;
    let place = mm::allocate_kernel(k, BlockKind::KernelPool, size, 16)?;
    let wish = create::CreateFile {
        attributes: ObjectAttributes::path(name, OBJ_KERNEL_HANDLE),
        access,
        share: 0,
        disposition: FILE_OPEN,
        options: FILE_NON_DIRECTORY_FILE,
        file_attributes: 0,
        mode: PreviousMode::Kernel,
        handle_at: place,
        iosb: place.add(0x10),
    };
    let opened = Opened { place, purpose };
    create::create_file(k, wish)?.then(k, opened)
}

/// The open is over; the value is its status.
#[derive(Clone, Debug)]
struct Opened {
    place: GuestAddr,
    purpose: Purpose,
}

frame!(Opened, |this, k, value| {
    #[expect(clippy::cast_possible_truncation, reason = "a status is the low half of the value")]
    let status = NtStatus(value as u32);
    let handle = Handle(k.read_scalar(this.place)?);
    mm::free_kernel(k, this.place);
    if !status.is_success() {
        return Ok(Flow::Return(value));
    }
    let mode = PreviousMode::Kernel;
    let kind = Some(ObjectType::File);
    let entry = match ob::reference_by_handle(k, handle, 0, kind, mode) {
        Ok(entry) => entry,
        Err(status) => return Ok(Flow::Return(u64::from(status.0))),
    };
    let file = entry.object;
    let closed = match this.purpose {
        Purpose::Pointer { file_at, device_at } => {
            k.write_scalar(file_at, file.0)?;
            let named = GuestAddr(k.get(file, FILE_OBJECT::DeviceObject)?);
            neighbours::before_attach(k, named)?;
            let device = attach::related_device(k, file)?;
            k.write_scalar(device_at, device.0)?;
            return ob::close_handle(k, handle, mode)?.then(k, ob::Answer(status));
        }
        Purpose::Attach { source, below_at } => Closed { file, source, below_at },
    };
    ob::close_handle(k, handle, mode)?.then(k, closed)
});

/// The handle is closed; the file object still keeps the device that is attached to.
#[derive(Clone, Debug)]
struct Closed {
    file: GuestAddr,
    source: GuestAddr,
    below_at: GuestAddr,
}

frame!(Closed, |this, k, _| {
    let target = attach::related_device(k, this.file)?;
    let status = attach::attach_to(k, this.source, target, this.below_at)?;
    ob::dereference(k, this.file)?.then(k, ob::Answer(status))
});
