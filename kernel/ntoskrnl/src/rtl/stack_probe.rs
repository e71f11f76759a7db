//! `__chkstk`: compilers call it before they make a frame larger than a page.

#![expect(non_camel_case_types, reason = "exports keep the spelling of the C runtime")]

use guest_memory::GuestAddr;
use nt_macros::export;

use crate::{
    CallResult, Kernel, exports,
    registers::{RAX, RSP},
};

exports![__chkstk];

/// Touches every page of the frame to come, from the top; its length is in rax, which stays.
#[export(irql = .., ddi = "cpp/build/prolog-and-epilog")]
fn __chkstk(k: &mut Kernel) -> CallResult<u64> {
    let [size_bytes, rsp] = [RAX, RSP].map(|register| k.gpr(register));
    // The call pushed 8 bytes.
    let top = rsp.wrapping_add(8);
    let bottom = top.wrapping_sub(size_bytes);
    let mut page = GuestAddr(top).page();
    while page.0 > bottom && page.0 <= top {
        page = GuestAddr(page.0.wrapping_sub(guest_memory::PAGE_BYTES));
        k.read_scalar::<u8>(page)?;
    }
    Ok(size_bytes)
}

#[cfg(test)]
mod tests {
    use crate::testing::{call_by_name, kernel};

    #[test]
    fn a_frame_must_fit_the_stack() {
        // The test stack has five pages below its pointer.
        for (size_bytes, fits) in
            [(0x1000, true), (0x4fff, true), (0x5011, false), (1 << 40, false)]
        {
            let mut k = kernel();
            k.regs().gpr[0] = size_bytes;
            let result = call_by_name(&mut k, "__chkstk", &[]);
            assert_eq!(result.is_ok(), fits, "{size_bytes:x}");
        }
    }
}
