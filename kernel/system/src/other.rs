//! Requests beside reads, writes and device controls.

use ntoskrnl::{
    CallResult,
    io::service::{self, Information},
};

use crate::{
    BufferSpec, Content, FileRef, Machine, OtherRequest, Reply,
    service::{Control, control, request, request_buffers, with_file},
};

/// Length of the buffers of a file system control.
const CONTROL_BYTES: u32 = 8;

fn zeros(length_bytes: u32) -> BufferSpec {
    BufferSpec::User { length_bytes, content: Content::Bytes(Vec::new()) }
}

/// Carries one out.
pub(crate) fn execute(m: &mut Machine, file: FileRef, wish: OtherRequest) -> CallResult<Reply> {
    let information = match wish {
        OtherRequest::Flush => return flush(m, file),
        OtherRequest::FileSystemControl { code } => {
            let buffer = zeros(CONTROL_BYTES);
            let wish = Control { code, is_file_system: true };
            return control(m, file, wish, (&buffer, &buffer));
        }
        OtherRequest::QueryInformation => Information::QueryStandard,
        OtherRequest::SetInformation => Information::SetBasic,
        OtherRequest::QueryVolumeInformation => Information::QueryVolumeSize,
    };
    with_file(m, file, |m, handle| {
        let (buffer, iosb) = request_buffers(m, &zeros(information.size_bytes()))?;
        let wish = (information, buffer.at);
        request(m, iosb, &[buffer], buffer, |k| service::information(k, handle, iosb.at, wish))
    })
}

fn flush(m: &mut Machine, file: FileRef) -> CallResult<Reply> {
    with_file(m, file, |m, handle| {
        let (none, iosb) = request_buffers(m, &BufferSpec::Null { length_bytes: 0 })?;
        request(m, iosb, &[none], none, |k| service::flush_file(k, handle, iosb.at))
    })
}
