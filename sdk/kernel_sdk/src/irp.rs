//! A request that must be answered, and the answer.

use core::{marker::PhantomData, ptr, ptr::NonNull, slice};

use crate::{
    abi::{
        IO_STACK_LOCATION, IRP, IofCompleteRequest, KERNEL_MODE, MDL, MDL_MAPPED_TO_SYSTEM_VA,
        MDL_MAPPING_NO_EXECUTE, MDL_SOURCE_IS_NONPAGED_POOL, MM_CACHED,
        MmMapLockedPagesSpecifyCache, NORMAL_PAGE_PRIORITY,
    },
    driver::MajorFunction,
    status::NtStatus,
    user_memory::UserAddress,
};

const METHOD_MASK: u32 = 3;
const METHOD_BUFFERED: u32 = 0;

/// A request that this routine owns. The only way to get rid of it is to answer it.
#[repr(transparent)]
pub struct Irp(NonNull<IRP>);

/// The answer of a dispatch routine: the request was completed with this status.
#[repr(transparent)]
pub struct Completed(NtStatus);

impl Irp {
    /// Gives the request back to its sender; `information` is mostly a number of bytes.
    pub fn complete(self, status: NtStatus, information: usize) -> Completed {
        let irp = self.0.as_ptr();
        // SAFETY: we own the request until the call below.
        unsafe { (*irp).IoStatus.Status = status };
        // SAFETY: as above.
        unsafe { (*irp).IoStatus.Information = information };
        // SAFETY: owned, not completed yet, and never touched again: `self` is consumed.
        unsafe { IofCompleteRequest(irp, 0) };
        Completed(status)
    }

    /// Gives the request back with what came out: a number of bytes, or why not.
    pub fn complete_with(self, result: Result<usize, NtStatus>) -> Completed {
        match result {
            Ok(information) => self.complete(NtStatus::SUCCESS, information),
            Err(status) => self.complete(status, 0),
        }
    }

    /// `Parameters.DeviceIoControl.IoControlCode`; 0 for other requests.
    pub fn io_control_code(&self) -> u32 {
        self.control(|at| {
            // SAFETY: device control requests carry this member.
            unsafe { at.Parameters.DeviceIoControl.IoControlCode.0 }
        })
    }

    /// Length of the input of a device control request; 0 for other requests.
    pub fn input_bytes(&self) -> usize {
        self.control(|at| {
            // SAFETY: as above.
            unsafe { at.Parameters.DeviceIoControl.InputBufferLength.0 }
        }) as usize
    }

    /// Length of the room for output of a device control request; 0 for other requests.
    pub fn output_bytes(&self) -> usize {
        self.control(|at| {
            // SAFETY: as above.
            unsafe { at.Parameters.DeviceIoControl.OutputBufferLength.0 }
        }) as usize
    }

    /// Length of a read or write; 0 for other requests.
    pub fn transfer_bytes(&self) -> usize {
        let at = self.stack_location();
        if at.MajorFunction != MajorFunction::Read as u8
            && at.MajorFunction != MajorFunction::Write as u8
        {
            return 0;
        }
        // SAFETY: reads and writes carry this member.
        let transfer = unsafe { at.Parameters.Transfer };
        transfer.Length as usize
    }

    /// The input address of a `METHOD_NEITHER` request, as the caller passed it: a claim.
    pub fn type3_input(&self) -> UserAddress {
        let at = self.stack_location();
        if at.MajorFunction != MajorFunction::DeviceControl as u8 {
            return UserAddress(0);
        }
        // SAFETY: device control requests carry this member.
        UserAddress(unsafe { at.Parameters.DeviceIoControl.Type3InputBuffer })
    }

    /// The kernel's copy of the buffers of a `METHOD_BUFFERED` request.
    pub fn system_buffer(&mut self) -> Option<SystemBuffer<'_>> {
        if self.stack_location().MajorFunction != MajorFunction::DeviceControl as u8
            || self.io_control_code() & METHOD_MASK != METHOD_BUFFERED
        {
            return None;
        }
        let input_bytes = self.input_bytes();
        let output_bytes = self.output_bytes();
        // SAFETY: the request is ours; buffered requests carry this member of the union.
        let start = NonNull::new(unsafe { (*self.0.as_ptr()).SystemBuffer })?;
        Some(SystemBuffer { start, input_bytes, output_bytes, of: PhantomData })
    }

    /// The numbers at the start of the input of a `METHOD_BUFFERED` request, copied.
    pub fn input_numbers<const COUNT: usize>(&mut self) -> Result<[u32; COUNT], NtStatus> {
        let buffer = self.system_buffer().ok_or(NtStatus::BUFFER_TOO_SMALL)?;
        let input = buffer.input();
        if input.len() < size_of::<[u32; COUNT]>() {
            return Err(NtStatus::BUFFER_TOO_SMALL);
        }
        let mut numbers = [0; COUNT];
        for (number, bytes) in numbers.iter_mut().zip(input.chunks_exact(4)) {
            *number = bytes.try_into().map_or(0, u32::from_le_bytes);
        }
        Ok(numbers)
    }

    /// Answers a `METHOD_BUFFERED` request with numbers; returns their length in bytes.
    pub fn write_numbers<const COUNT: usize>(
        &mut self,
        numbers: [u32; COUNT],
    ) -> Result<usize, NtStatus> {
        let mut buffer = self.system_buffer().ok_or(NtStatus::BUFFER_TOO_SMALL)?;
        let bytes = numbers.map(u32::to_le_bytes);
        buffer.write_output(bytes.as_flattened())
    }

    /// Maps the buffer of a direct read or write into system space.
    pub fn mapped_buffer(&mut self) -> Result<MappedBuffer<'_>, NtStatus> {
        // SAFETY: the request is ours.
        let mdl = unsafe { (*self.0.as_ptr()).MdlAddress };
        if mdl.is_null() {
            return Err(NtStatus::INSUFFICIENT_RESOURCES);
        }
        // SAFETY: an MDL in a request describes pages that are locked until completion.
        let start = NonNull::new(unsafe { system_address(mdl) });
        let start = start.ok_or(NtStatus::INSUFFICIENT_RESOURCES)?;
        // SAFETY: as above.
        let len_bytes = unsafe { (*mdl).ByteCount } as usize;
        Ok(MappedBuffer { start, len_bytes, of: PhantomData })
    }

    fn stack_location(&self) -> &IO_STACK_LOCATION {
        // SAFETY: the request is ours.
        let at = unsafe { (*self.0.as_ptr()).CurrentStackLocation };
        // SAFETY: a request that reached a dispatch routine has a current location of its own.
        unsafe { &*at }
    }

    fn control(&self, read: impl FnOnce(&IO_STACK_LOCATION) -> u32) -> u32 {
        let at = self.stack_location();
        if at.MajorFunction == MajorFunction::DeviceControl as u8 { read(at) } else { 0 }
    }
}

/// `MmGetSystemAddressForMdlSafe`, which is inline in the headers.
///
/// # Safety
///
/// The MDL describes locked pages.
unsafe fn system_address(mdl: *mut MDL) -> *mut u8 {
    // SAFETY: promised by the caller.
    let flags = unsafe { (*mdl).MdlFlags };
    if flags & (MDL_MAPPED_TO_SYSTEM_VA | MDL_SOURCE_IS_NONPAGED_POOL) != 0 {
        // SAFETY: promised by the caller.
        return unsafe { (*mdl).MappedSystemVa };
    }
    let priority = NORMAL_PAGE_PRIORITY | MDL_MAPPING_NO_EXECUTE;
    // SAFETY: promised by the caller; a kernel-mode mapping raises nothing.
    unsafe {
        MmMapLockedPagesSpecifyCache(mdl, KERNEL_MODE, MM_CACHED, ptr::null_mut(), 0, priority)
    }
}

/// The one buffer that input arrives in and output leaves by.
pub struct SystemBuffer<'a> {
    start: NonNull<u8>,
    input_bytes: usize,
    output_bytes: usize,
    of: PhantomData<&'a mut Irp>,
}

impl SystemBuffer<'_> {
    /// What the caller sent.
    pub fn input(&self) -> &[u8] {
        // SAFETY: the kernel allocated the larger of both lengths and filled the input.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.input_bytes) }
    }

    /// Puts the answer at the start of the buffer and returns its length.
    pub fn write_output(&mut self, answer: &[u8]) -> Result<usize, NtStatus> {
        if answer.len() > self.output_bytes {
            return Err(NtStatus::BUFFER_TOO_SMALL);
        }
        // SAFETY: the answer fits, and no slice of the buffer is alive beside `&mut self`.
        unsafe { ptr::copy_nonoverlapping(answer.as_ptr(), self.start.as_ptr(), answer.len()) };
        Ok(answer.len())
    }
}

/// User pages seen from system space. The user may change them at any time: no slice is given out.
pub struct MappedBuffer<'a> {
    start: NonNull<u8>,
    len_bytes: usize,
    of: PhantomData<&'a mut Irp>,
}

impl MappedBuffer<'_> {
    /// Writes `byte` everywhere.
    pub fn fill(&mut self, byte: u8) {
        // SAFETY: the mapping covers the whole length until the request is completed.
        unsafe { ptr::write_bytes(self.start.as_ptr(), byte, self.len_bytes) };
    }
}
