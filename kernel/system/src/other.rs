//! Requests beside reads, writes and device controls.

use ntoskrnl::{
    CallResult,
    io::service::{self, DeviceControl, Information},
};

use crate::{
    BufferSpec, Content, FileRef, Machine, OtherRequest, Reply,
    buffer::Buffer,
    service::{request, request_buffers, with_file},
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
        OtherRequest::FileSystemControl { code } => return control(m, file, code),
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

fn control(m: &mut Machine, file: FileRef, code: u32) -> CallResult<Reply> {
    with_file(m, file, |m, handle| {
        let (input, iosb) = request_buffers(m, &zeros(CONTROL_BYTES))?;
        let output = Buffer::build(&mut m.kernel, &m.state, &zeros(CONTROL_BYTES))?;
        let wish = DeviceControl {
            handle,
            iosb: iosb.at,
            code,
            is_file_system: true,
            input: (input.at, input.length_bytes),
            output: (output.at, output.length_bytes),
        };
        request(m, iosb, &[input, output], output, |k| service::device_control(k, wish))
    })
}
