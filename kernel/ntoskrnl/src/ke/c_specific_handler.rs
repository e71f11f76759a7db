//! `__C_specific_handler`: the language handler of C's `__try`, and the unwind routines drivers
//! import.

#![expect(non_camel_case_types, reason = "exports keep the spelling of the C runtime")]

use guest_memory::GuestAddr;
use nt_abi::structures::ke::{DISPATCHER_CONTEXT, EXCEPTION_POINTERS, EXCEPTION_RECORD};
use nt_macros::export;
use pe_image::scope_table::{Scope, ScopeHandler, ScopeTable};

use crate::{
    CallResult, Flow, GuestCall, Kernel, Stop, exports, frame,
    ke::{
        exception::{
            EXCEPTION_EXIT_UNWIND, EXCEPTION_TARGET_UNWIND, EXCEPTION_UNWINDING, Records, Target,
        },
        unwind::read_image,
    },
    registers::RSP,
};

exports![__C_specific_handler];

/// `ExceptionContinueExecution` and `ExceptionContinueSearch`. Source: `EXCEPTION_DISPOSITION`.
const CONTINUE_EXECUTION: u64 = 0;
const CONTINUE_SEARCH: u64 = 1;

/// Walks the scopes of one frame: filters while searching, termination handlers while unwinding.
#[export(irql = .., ddi = "cpp/build/exception-handling-x64")]
fn __C_specific_handler(
    k: &mut Kernel,
    record: GuestAddr,
    establisher: GuestAddr,
    context: GuestAddr,
    dispatcher: GuestAddr,
) -> CallResult<Flow> {
    let records = Records { record, context, dispatcher };
    let base = GuestAddr(k.get(dispatcher, DISPATCHER_CONTEXT::ImageBase)?);
    let data: u64 = k.get(dispatcher, DISPATCHER_CONTEXT::HandlerData)?;
    let control: u64 = k.get(dispatcher, DISPATCHER_CONTEXT::ControlPc)?;
    let Some(image) = k.images.iter().find(|image| image.base == base) else {
        return Err(Stop::unsupported("__C_specific_handler for code outside of driver images"));
    };
    let rva = |at: u64| u32::try_from(at.wrapping_sub(base.0)).unwrap_or(u32::MAX);
    let table = ScopeTable::read(&mut read_image(image), rva(data)).unwrap_or_default();
    Walk { records, establisher, base, scopes: table.scopes, control_rva: rva(control), index: 0 }
        .go_on(k)
}

/// The scopes of a frame, and how far the walk is.
#[derive(Clone, Debug)]
struct Walk {
    records: Records,
    establisher: GuestAddr,
    base: GuestAddr,
    scopes: Vec<Scope>,
    control_rva: u32,
    index: usize,
}
frame!(Walk, Walk::answered);

impl Walk {
    fn go_on(self, k: &mut Kernel) -> CallResult<Flow> {
        let flags = k.get(self.records.record, EXCEPTION_RECORD::ExceptionFlags)?;
        if flags & (EXCEPTION_UNWINDING | EXCEPTION_EXIT_UNWIND) == 0 {
            self.search(k)
        } else {
            self.unwind(k, flags)
        }
    }

    fn next_scope(&mut self) -> Option<Scope> {
        let rest = self.scopes.get(self.index..)?;
        let covers = |scope: &Scope| (scope.begin_rva..scope.end_rva).contains(&self.control_rva);
        let found = rest.iter().position(covers)?;
        self.index += found + 1;
        self.scopes.get(self.index - 1).copied()
    }

    fn search(mut self, k: &mut Kernel) -> CallResult<Flow> {
        while let Some(scope) = self.next_scope() {
            match scope.handler {
                ScopeHandler::Finally { .. } => {}
                ScopeHandler::Always { target_rva } => return self.execute(k, target_rva),
                ScopeHandler::Filter { filter_rva, .. } => {
                    // The filter's argument lives below the frame of the handler.
                    let pointers =
                        GuestAddr((k.gpr(RSP) & !0xf).wrapping_sub(EXCEPTION_POINTERS::SIZE_BYTES));
                    k.set(pointers, EXCEPTION_POINTERS::ExceptionRecord, self.records.record.0)?;
                    k.set(pointers, EXCEPTION_POINTERS::ContextRecord, self.records.context.0)?;
                    let mut call = self.call(filter_rva, pointers.0);
                    call.below = Some(pointers);
                    return Ok(Flow::call(call, self));
                }
            }
        }
        Ok(Flow::Return(CONTINUE_SEARCH))
    }

    /// A filter or a termination handler returned.
    fn answered(self, k: &mut Kernel, value: u64) -> CallResult<Flow> {
        let flags = k.get(self.records.record, EXCEPTION_RECORD::ExceptionFlags)?;
        if flags & (EXCEPTION_UNWINDING | EXCEPTION_EXIT_UNWIND) != 0 {
            return self.unwind(k, flags);
        }
        let answer = <i32 as nt_abi::Scalar>::from_u64(value);
        match (answer, self.scopes.get(self.index - 1).map(|scope| scope.handler)) {
            (i32::MIN..=-1, _) => Ok(Flow::Return(CONTINUE_EXECUTION)),
            (1.., Some(ScopeHandler::Filter { target_rva, .. })) => self.execute(k, target_rva),
            _ => self.search(k),
        }
    }

    fn unwind(mut self, k: &mut Kernel, flags: u32) -> CallResult<Flow> {
        let target_ip: u64 = k.get(self.records.dispatcher, DISPATCHER_CONTEXT::TargetIp)?;
        let target_rva = u32::try_from(target_ip.wrapping_sub(self.base.0)).unwrap_or(u32::MAX);
        while let Some(scope) = self.next_scope() {
            let is_target_frame = flags & EXCEPTION_TARGET_UNWIND != 0;
            let holds_target = (scope.begin_rva..scope.end_rva).contains(&target_rva);
            match scope.handler {
                // The scopes from here on stay: control goes on inside them.
                _ if is_target_frame && holds_target => break,
                ScopeHandler::Finally { finally_rva } => {
                    // `AbnormalTermination()` is true.
                    let call = self.call(finally_rva, 1);
                    return Ok(Flow::call(call, self));
                }
                ScopeHandler::Always { target_rva: body }
                | ScopeHandler::Filter { target_rva: body, .. }
                    if is_target_frame && body == target_rva =>
                {
                    break;
                }
                ScopeHandler::Always { .. } | ScopeHandler::Filter { .. } => {}
            }
        }
        Ok(Flow::Return(CONTINUE_SEARCH))
    }

    fn call(&self, rva: u32, first: u64) -> GuestCall {
        GuestCall::helper(self.base.add(u64::from(rva)), vec![first, self.establisher.0])
    }

    /// The handler body runs with the exception code in rax: compiled C relies on it for
    /// `GetExceptionCode`.
    fn execute(self, k: &mut Kernel, target_rva: u32) -> CallResult<Flow> {
        let code = k.get(self.records.record, EXCEPTION_RECORD::ExceptionCode)?;
        let ip = self.base.add(u64::from(target_rva)).0;
        k.unwind_to(self.records, Target { frame: self.establisher.0, ip, value: u64::from(code) })
    }
}
