//! Layouts and routines of the kernel, spelled as in the Windows headers.
//!
//! Layouts: <https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/>, x64. Only what this
//! crate needs; the rest of a structure is bytes.

#![expect(
    non_camel_case_types,
    non_snake_case,
    clippy::upper_case_acronyms,
    reason = "the kernel's structures and routines keep their names"
)]

pub(crate) mod synchronization;

use core::{ffi::c_void, mem::offset_of};

use crate::{
    device::DeviceObject,
    driver::{Dispatch, DriverObject, Unload},
    status::NtStatus,
    unicode_string::UnicodeString,
};

#[repr(C)]
pub(crate) struct DRIVER_OBJECT {
    pub(crate) Type: i16,
    pub(crate) Size: i16,
    pub(crate) DeviceObject: *mut DEVICE_OBJECT,
    pub(crate) Flags: u32,
    pub(crate) DriverStart: *mut c_void,
    pub(crate) DriverSize: u32,
    pub(crate) DriverSection: *mut c_void,
    pub(crate) DriverExtension: *mut c_void,
    pub(crate) DriverName: UnicodeString<'static>,
    pub(crate) HardwareDatabase: *const c_void,
    pub(crate) FastIoDispatch: *mut c_void,
    pub(crate) DriverInit: *const c_void,
    pub(crate) DriverStartIo: *const c_void,
    pub(crate) DriverUnload: Option<Unload>,
    pub(crate) MajorFunction: [Option<Dispatch>; 28],
}
const _: () = assert!(size_of::<DRIVER_OBJECT>() == 0x150);
const _: () = assert!(offset_of!(DRIVER_OBJECT, DriverName) == 0x38);
const _: () = assert!(offset_of!(DRIVER_OBJECT, DriverUnload) == 0x68);
const _: () = assert!(offset_of!(DRIVER_OBJECT, MajorFunction) == 0x70);

#[repr(C, align(16))]
pub(crate) struct DEVICE_OBJECT {
    pub(crate) Type: i16,
    pub(crate) Size: u16,
    pub(crate) ReferenceCount: i32,
    pub(crate) DriverObject: *mut DRIVER_OBJECT,
    pub(crate) NextDevice: *mut DEVICE_OBJECT,
    pub(crate) AttachedDevice: *mut DEVICE_OBJECT,
    pub(crate) CurrentIrp: *mut IRP,
    pub(crate) Timer: *mut c_void,
    pub(crate) Flags: u32,
    pub(crate) Characteristics: u32,
    pub(crate) Vpb: *mut c_void,
    pub(crate) DeviceExtension: *mut c_void,
    pub(crate) DeviceType: u32,
    pub(crate) StackSize: i8,
    rest: [u64; 32],
}
const _: () = assert!(size_of::<DEVICE_OBJECT>() == 0x150);
const _: () = assert!(offset_of!(DEVICE_OBJECT, Flags) == 0x30);
const _: () = assert!(offset_of!(DEVICE_OBJECT, DeviceExtension) == 0x40);
const _: () = assert!(offset_of!(DEVICE_OBJECT, StackSize) == 0x4C);

pub(crate) const DO_DIRECT_IO: u32 = 0x10;
pub(crate) const DO_DEVICE_INITIALIZING: u32 = 0x80;

#[repr(C)]
pub(crate) struct IO_STATUS_BLOCK {
    pub(crate) Status: NtStatus,
    pub(crate) Information: usize,
}

#[repr(C)]
pub(crate) struct IRP {
    pub(crate) Type: i16,
    pub(crate) Size: u16,
    pub(crate) MdlAddress: *mut MDL,
    pub(crate) Flags: u32,
    pub(crate) SystemBuffer: *mut u8,
    pub(crate) ThreadListEntry: [usize; 2],
    pub(crate) IoStatus: IO_STATUS_BLOCK,
    pub(crate) RequestorMode: i8,
    pub(crate) PendingReturned: u8,
    pub(crate) StackCount: i8,
    pub(crate) CurrentLocation: i8,
    pub(crate) Cancel: u8,
    pub(crate) CancelIrql: u8,
    pub(crate) ApcEnvironment: i8,
    pub(crate) AllocationFlags: u8,
    pub(crate) UserIosb: *mut IO_STATUS_BLOCK,
    pub(crate) UserEvent: *mut c_void,
    pub(crate) Overlay: [usize; 2],
    pub(crate) CancelRoutine: *const c_void,
    pub(crate) UserBuffer: usize,
    pub(crate) DriverContext: [usize; 4],
    pub(crate) Thread: *mut c_void,
    pub(crate) AuxiliaryBuffer: *mut c_void,
    pub(crate) ListEntry: [usize; 2],
    pub(crate) CurrentStackLocation: *mut IO_STACK_LOCATION,
    pub(crate) OriginalFileObject: *mut c_void,
    rest: usize,
}
const _: () = assert!(size_of::<IRP>() == 0xD0);
const _: () = assert!(offset_of!(IRP, MdlAddress) == 0x08);
const _: () = assert!(offset_of!(IRP, SystemBuffer) == 0x18);
const _: () = assert!(offset_of!(IRP, IoStatus) == 0x30);
const _: () = assert!(offset_of!(IRP, UserBuffer) == 0x70);
const _: () = assert!(offset_of!(IRP, CurrentStackLocation) == 0xB8);

#[repr(C)]
pub(crate) struct IO_STACK_LOCATION {
    pub(crate) MajorFunction: u8,
    pub(crate) MinorFunction: u8,
    pub(crate) Flags: u8,
    pub(crate) Control: u8,
    pub(crate) Parameters: PARAMETERS,
    pub(crate) DeviceObject: *mut DEVICE_OBJECT,
    pub(crate) FileObject: *mut c_void,
    pub(crate) CompletionRoutine: *const c_void,
    pub(crate) Context: *mut c_void,
}
const _: () = assert!(size_of::<IO_STACK_LOCATION>() == 0x48);
const _: () = assert!(offset_of!(IO_STACK_LOCATION, Parameters) == 0x08);
const _: () = assert!(offset_of!(IO_STACK_LOCATION, DeviceObject) == 0x28);

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) union PARAMETERS {
    /// Of reads and writes.
    pub(crate) Transfer: TRANSFER,
    pub(crate) DeviceIoControl: DEVICE_IO_CONTROL,
}

#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub(crate) struct TRANSFER {
    pub(crate) Length: u32,
    pub(crate) Key: PointerAligned,
    pub(crate) ByteOffset: i64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct DEVICE_IO_CONTROL {
    pub(crate) OutputBufferLength: PointerAligned,
    pub(crate) InputBufferLength: PointerAligned,
    pub(crate) IoControlCode: PointerAligned,
    pub(crate) Type3InputBuffer: usize,
}
const _: () = assert!(offset_of!(DEVICE_IO_CONTROL, InputBufferLength) == 0x08);
const _: () = assert!(offset_of!(DEVICE_IO_CONTROL, IoControlCode) == 0x10);
const _: () = assert!(offset_of!(DEVICE_IO_CONTROL, Type3InputBuffer) == 0x18);

/// `POINTER_ALIGNMENT ULONG`.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub(crate) struct PointerAligned(pub(crate) u32);

#[repr(C)]
pub(crate) struct MDL {
    pub(crate) Next: *mut MDL,
    pub(crate) Size: i16,
    pub(crate) MdlFlags: i16,
    pub(crate) Process: *mut c_void,
    pub(crate) MappedSystemVa: *mut u8,
    pub(crate) StartVa: usize,
    pub(crate) ByteCount: u32,
    pub(crate) ByteOffset: u32,
}
const _: () = assert!(size_of::<MDL>() == 0x30);
const _: () = assert!(offset_of!(MDL, MappedSystemVa) == 0x18);
const _: () = assert!(offset_of!(MDL, ByteCount) == 0x28);

pub(crate) const MDL_MAPPED_TO_SYSTEM_VA: i16 = 0x1;
pub(crate) const MDL_SOURCE_IS_NONPAGED_POOL: i16 = 0x4;
pub(crate) const MDL_MAPPING_NO_EXECUTE: u32 = 0x4000_0000;
pub(crate) const NORMAL_PAGE_PRIORITY: u32 = 16;
pub(crate) const MM_CACHED: i32 = 1;
pub(crate) const KERNEL_MODE: i8 = 0;

pub(crate) const POOL_FLAG_NON_PAGED: u64 = 0x40;
pub(crate) const POOL_FLAG_PAGED: u64 = 0x100;

#[link(name = "ntoskrnl.exe", kind = "raw-dylib", modifiers = "+verbatim")]
unsafe extern "system" {
    pub(crate) fn ExAllocatePool2(flags: u64, size_bytes: usize, tag: u32) -> *mut c_void;
    pub(crate) fn ExFreePoolWithTag(block: *mut c_void, tag: u32);
    pub(crate) fn IoCreateDevice(
        driver: *mut DRIVER_OBJECT,
        extension_bytes: u32,
        name: *const UnicodeString<'_>,
        device_type: u32,
        characteristics: u32,
        exclusive: u8,
        device: *mut *mut DEVICE_OBJECT,
    ) -> NtStatus;
    pub(crate) fn IoCreateSymbolicLink(
        link: *const UnicodeString<'_>,
        target: *const UnicodeString<'_>,
    ) -> NtStatus;
    pub(crate) fn IoDeleteDevice(device: *mut DEVICE_OBJECT);
    pub(crate) fn IoDeleteSymbolicLink(link: *const UnicodeString<'_>) -> NtStatus;
    pub(crate) fn IofCompleteRequest(irp: *mut IRP, priority_boost: i8);
    pub(crate) fn KeBugCheckEx(code: u32, p1: usize, p2: usize, p3: usize, p4: usize) -> !;
    pub(crate) fn KeSetPriorityThread(thread: *mut c_void, priority: i32) -> i32;
    pub(crate) fn MmMapLockedPagesSpecifyCache(
        mdl: *mut MDL,
        access_mode: i8,
        cache_type: i32,
        requested_address: *mut c_void,
        bug_check_on_failure: u32,
        priority: u32,
    ) -> *mut u8;
    pub(crate) fn ObfDereferenceObject(object: *mut c_void) -> isize;
    pub(crate) fn ProbeForRead(address: *const c_void, size_bytes: usize, alignment: u32);
    pub(crate) fn ProbeForWrite(address: *mut c_void, size_bytes: usize, alignment: u32);
    pub(crate) fn PsLookupThreadByThreadId(id: usize, thread: *mut *mut c_void) -> NtStatus;
    pub(crate) fn __C_specific_handler(
        record: *mut c_void,
        frame: usize,
        context: *mut c_void,
        dispatcher: *mut c_void,
    ) -> i32;
}

#[link(name = "ntoskrnl.exe", kind = "raw-dylib", modifiers = "+verbatim")]
unsafe extern "C" {
    pub(crate) fn DbgPrint(format: *const core::ffi::c_char, ...) -> u32;
}

// Wrappers lie over the structures; a reference to one must be a pointer to the other.
const _: () = assert!(size_of::<DriverObject>() == size_of::<DRIVER_OBJECT>());
const _: () = assert!(size_of::<DeviceObject>() == size_of::<DEVICE_OBJECT>());
