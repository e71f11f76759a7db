//! Requests that user mode can send to any open file, beside reads, writes and control codes.
//!
//! A driver that registered no routine for them has the system's, which refuses them. Source:
//! `ntifs/nf-ntifs-ntqueryinformationfile`, `ntifs/nf-ntifs-ntsetinformationfile`,
//! `ntifs/nf-ntifs-ntqueryvolumeinformationfile`, `ntifs/nf-ntifs-ntflushbuffersfileex`;
//! "IRP Major Function Codes".

use events::TransferMethod;
use guest_memory::{AccessKind, GuestAddr};
use nt_abi::{
    NtStatus,
    constants::{
        IRP_MJ_FLUSH_BUFFERS, IRP_MJ_QUERY_INFORMATION, IRP_MJ_QUERY_VOLUME_INFORMATION,
        IRP_MJ_SET_INFORMATION,
        io::{FILE_APPEND_DATA, FILE_WRITE_DATA},
    },
    structures::io::{IO_STACK_LOCATION, IRP},
};

use super::{
    file_lock,
    request::{self, Draft},
    service::{file_of, is_status_block_good},
};
use crate::{
    CallResult, Flow, Kernel, frame,
    ob::{Handle, PreviousMode},
};

/// `FILE_WRITE_ATTRIBUTES`.
const FILE_WRITE_ATTRIBUTES: u32 = 0x100;

/// What is asked or told about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Information {
    /// `NtQueryInformationFile` with `FileStandardInformation`.
    QueryStandard,
    /// `NtSetInformationFile` with `FileBasicInformation`.
    SetBasic,
    /// `NtQueryVolumeInformationFile` with `FileFsSizeInformation`.
    QueryVolumeSize,
}

impl Information {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::QueryStandard, Self::SetBasic, Self::QueryVolumeSize];

    /// Length of its structure. Source: `wdm/ns-wdm-_file_standard_information`,
    /// `wdm/ns-wdm-_file_basic_information`, `ntddk/ns-ntddk-_file_fs_size_information`.
    pub fn size_bytes(self) -> u32 {
        match self {
            Self::QueryStandard | Self::QueryVolumeSize => 24,
            Self::SetBasic => 40,
        }
    }

    /// Major function, and number of the class of information.
    fn major_and_class(self) -> (u8, u32) {
        match self {
            Self::QueryStandard => (IRP_MJ_QUERY_INFORMATION, 5),
            Self::SetBasic => (IRP_MJ_SET_INFORMATION, 4),
            Self::QueryVolumeSize => (IRP_MJ_QUERY_VOLUME_INFORMATION, 3),
        }
    }
}

fn answer(status: NtStatus) -> CallResult<Flow> {
    Ok(Flow::Return(u64::from(status.0)))
}

/// `NtFlushBuffersFile`: the file's buffers are to be written out.
pub fn flush_file(k: &mut Kernel, handle: Handle, iosb: GuestAddr) -> CallResult<Flow> {
    let file = match file_of(k, handle, Some(FILE_WRITE_DATA | FILE_APPEND_DATA)) {
        Ok(file) => file,
        Err(status) => return answer(status),
    };
    if !is_status_block_good(k, iosb) {
        return answer(NtStatus::STATUS_ACCESS_VIOLATION);
    }
    file_lock::with_lock(k, file, SendFlush { file, iosb })
}

/// A flush that may be sent now.
#[derive(Clone, Debug)]
struct SendFlush {
    file: GuestAddr,
    iosb: GuestAddr,
}

frame!(SendFlush, |this, k, _| {
    let draft = Draft::for_file(k, this.file, IRP_MJ_FLUSH_BUFFERS, PreviousMode::User)?;
    k.set(draft.irp, IRP::UserIosb, this.iosb.0)?;
    // The call returns when the buffers are written, whatever the file is.
    draft.wait_on_own_event(k)?;
    let event = draft.request(k).event;
    draft.send(k)?.then(k, super::file::FreeEvent { event })
});

/// Asks or tells something about a file; the buffer has exactly the length of the structure.
pub fn information(
    k: &mut Kernel,
    handle: Handle,
    iosb: GuestAddr,
    (what, buffer): (Information, GuestAddr),
) -> CallResult<Flow> {
    let is_set = what == Information::SetBasic;
    let file = match file_of(k, handle, is_set.then_some(FILE_WRITE_ATTRIBUTES)) {
        Ok(file) => file,
        Err(status) => return answer(status),
    };
    let access = if is_set { AccessKind::Read } else { AccessKind::Write };
    let size_bytes = u64::from(what.size_bytes());
    if !is_status_block_good(k, iosb) || !request::is_user_range(k, access, buffer, size_bytes) {
        return answer(NtStatus::STATUS_ACCESS_VIOLATION);
    }
    file_lock::with_lock(k, file, SendInformation { file, iosb, what, buffer })
}

/// A query or a setting that may be sent now.
#[derive(Clone, Debug)]
struct SendInformation {
    file: GuestAddr,
    iosb: GuestAddr,
    what: Information,
    buffer: GuestAddr,
}

frame!(SendInformation, |this, k, _| {
    let SendInformation { file, iosb, what, buffer } = this;
    let is_set = what == Information::SetBasic;
    let access = if is_set { AccessKind::Read } else { AccessKind::Write };
    let size_bytes = u64::from(what.size_bytes());
    // The caller's memory may have changed while it waited for the file.
    if !request::is_user_range(k, access, buffer, size_bytes) {
        return answer(NtStatus::STATUS_ACCESS_VIOLATION);
    }
    let (major, class) = what.major_and_class();
    let draft = Draft::for_file(k, file, major, PreviousMode::User)?;
    k.set(draft.irp, IRP::UserIosb, iosb.0)?;
    k.set(draft.location, IO_STACK_LOCATION::Information_Length, what.size_bytes())?;
    k.set(draft.location, IO_STACK_LOCATION::Information_Class, class)?;
    let request = draft.request(k);
    request.method = TransferMethod::Buffered;
    request.ranges.push((buffer, size_bytes));
    request.output_bytes = if is_set { 0 } else { size_bytes };
    request.output = buffer;
    let input_bytes = if is_set { size_bytes } else { 0 };
    draft.attach_system_buffer(k, size_bytes, (buffer, input_bytes))?;
    if !is_set {
        draft.copy_back(k, buffer)?;
    }
    // These calls return when they are done, whatever the file is.
    draft.wait_on_own_event(k)?;
    let event = draft.request(k).event;
    draft.send(k)?.then(k, super::file::FreeEvent { event })
});
