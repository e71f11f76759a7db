//! Words for messages and history that several rules use.

use events::{
    BlockKind, Decided, EntryPoint, ExceptionEscape, IrpId, KeptFault, LeftBehind, LockKind,
    MemoryFault, Privileged, PrivilegedSink, Region, Seq, UndefinedDecision,
};
use guest_memory::{AccessKind, Block, Near};
use nt_abi::{
    NtStatus,
    constants::{IRP_MJ_DEVICE_CONTROL, IRP_MJ_NAMES},
};
use verifier::{Confirmation, Findings, Moment, RawFinding, Rule, counted};

/// The low two bits of a control code whose request has no buffers of the I/O manager's. Source:
/// "Defining I/O Control Codes".
const METHOD_NEITHER: u32 = 3;

/// What an access does, as a verb.
pub(crate) fn verb(kind: AccessKind) -> &'static str {
    match kind {
        AccessKind::Read => "reads",
        AccessKind::Write => "writes",
        AccessKind::Execute => "executes",
    }
}

/// A lock by its kind.
pub(crate) fn lock(kind: LockKind) -> &'static str {
    match kind {
        LockKind::SpinLock => "the spin lock",
        LockKind::QueuedSpinLock => "the queued spin lock",
        LockKind::ReaderWriterSpinLock => "the reader/writer spin lock",
        LockKind::InterruptSpinLock => "the interrupt spin lock",
        LockKind::CancelSpinLock => "the cancel spin lock",
        LockKind::FastMutex => "the fast mutex",
        LockKind::GuardedMutex => "the guarded mutex",
        LockKind::Mutex => "the mutex",
        LockKind::Resource => "the executive resource",
        LockKind::PushLock => "the push lock",
        LockKind::RundownProtection => "run-down protection",
    }
}

/// A pool tag in memory order, as WinDbg shows it.
pub(crate) fn tag(tag: u32) -> String {
    if tag == 0 {
        return "0".to_owned();
    }
    let shown: String = tag
        .to_le_bytes()
        .iter()
        .map(|&b| if b.is_ascii_graphic() || b == b' ' { char::from(b) } else { '.' })
        .collect();
    format!("'{shown}'")
}

/// What a block is: `64 bytes of pool with tag 'Test'`.
pub(crate) fn block(block: &Block) -> String {
    let size_bytes = block.size_bytes;
    match BlockKind::from_u16(block.allocated.kind) {
        Some(BlockKind::Pool | BlockKind::KernelPool) => {
            format!("{} of pool with tag {}", bytes(size_bytes), tag(block.allocated.tag))
        }
        Some(BlockKind::Irp) => "an IRP".to_owned(),
        Some(BlockKind::SystemBuffer) => format!("a system buffer of {}", bytes(size_bytes)),
        Some(BlockKind::Mdl) => "an MDL".to_owned(),
        Some(BlockKind::Object) => "a kernel object".to_owned(),
        Some(BlockKind::Stack) => "a kernel stack".to_owned(),
        Some(BlockKind::Canary) => "kernel memory that belongs to others".to_owned(),
        None => format!("a block of {}", bytes(size_bytes)),
    }
}

/// What a faulting access does where: `writes 4 bytes, 0 bytes behind 64 bytes of pool with tag
/// 'Test'`.
pub(crate) fn place(fault: &MemoryFault) -> String {
    let objection = &fault.objection;
    let access = format!("{} {}", verb(objection.kind), bytes(objection.size_bytes));
    match &fault.near {
        Some(Near::Inside { block: near, offset_bytes }) => {
            format!("{access} at offset {offset_bytes} of {}", block(near))
        }
        Some(Near::Before { block: near, distance_bytes }) => {
            format!("{access}, {} before {}", bytes(*distance_bytes), block(near))
        }
        Some(Near::After { block: near, distance_bytes }) => {
            format!("{access}, {} behind {}", bytes(*distance_bytes), block(near))
        }
        None => format!("{access} at {}", objection.at),
    }
}

/// A length in words.
pub(crate) fn bytes(count: impl Into<u64>) -> String {
    counted(count, "byte")
}

/// Adds where a block came from and went.
pub(crate) fn block_history(finding: &mut RawFinding, near: Option<&Near>) {
    let (Near::Inside { block, .. } | Near::Before { block, .. } | Near::After { block, .. }) =
        match near {
            Some(near) => near,
            None => return,
        };
    history_of(finding, block);
}

/// Adds where this block came from and went.
pub(crate) fn history_of(finding: &mut RawFinding, of: &Block) {
    if is_shown(of) {
        finding.note(Seq(of.allocated.when), format!("{} allocated here", block(of)));
    }
    if let Some(freed) = of.freed {
        finding.note(Seq(freed.when), "freed here");
    }
}

/// The beginning of what the kernel made for itself explains nothing.
fn is_shown(block: &Block) -> bool {
    matches!(
        BlockKind::from_u16(block.allocated.kind),
        Some(BlockKind::Pool | BlockKind::KernelPool | BlockKind::Mdl)
    )
}

/// Adds where the IRQL was changed last, if it is not where it began.
pub(crate) fn irql_history(finding: &mut RawFinding, at: Moment<'_>) {
    if let Some((seq, change)) = at.ledgers.irql_change(at.origin.processor) {
        let verb = if change.to > change.from { "raised" } else { "lowered" };
        let message = format!("IRQL {verb} from {} to {}", change.from, change.to);
        finding.note(seq, message);
    }
}

/// Adds which request was being handled.
pub(crate) fn request_history(finding: &mut RawFinding, at: Moment<'_>) {
    let record = at.ledgers.current_irp(at.origin.thread).and_then(|irp| at.ledgers.irp(irp));
    if let Some(record) = record {
        let what = request(record.major, record.control_code);
        finding.fact(format!("while the driver handles {what}"));
    }
}

/// Says so where the request that is being handled brings no buffers of the I/O manager's.
/// Source: "Buffer Descriptions for I/O Control Codes".
pub(crate) fn no_buffer_history(finding: &mut RawFinding, at: Moment<'_>) {
    let record = at.ledgers.current_irp(at.origin.thread).and_then(|irp| at.ledgers.irp(irp));
    if let Some(record) = record
        && record.major == IRP_MJ_DEVICE_CONTROL
        && record.control_code & METHOD_NEITHER == METHOD_NEITHER
    {
        finding.fact(format!(
            "control code {:#010x} says METHOD_NEITHER, for which the I/O manager makes no system \
             buffer and no MDL",
            record.control_code
        ));
    }
}

/// A request by its major function and control code.
pub(crate) fn request(major: u8, control_code: u32) -> String {
    let name = IRP_MJ_NAMES.get(usize::from(major)).copied().unwrap_or("an unknown request");
    if major == IRP_MJ_DEVICE_CONTROL {
        format!("{name} {control_code:#010x}")
    } else {
        name.to_owned()
    }
}

/// An IRP by what it asks for.
pub(crate) fn irp(irp: Option<IrpId>, at: Moment<'_>) -> String {
    match irp.and_then(|irp| at.ledgers.irp(irp)) {
        Some(record) => request(record.major, record.control_code),
        None => "an IRP".to_owned(),
    }
}

/// A routine of the driver.
pub(crate) fn entry(entry: EntryPoint) -> String {
    match entry {
        EntryPoint::DriverEntry => "DriverEntry".to_owned(),
        EntryPoint::Unload => "the Unload routine".to_owned(),
        EntryPoint::AddDevice => "the AddDevice routine".to_owned(),
        EntryPoint::Dispatch { major, .. } => {
            let name = IRP_MJ_NAMES.get(usize::from(major)).copied().unwrap_or("a request");
            format!("the dispatch routine for {name}")
        }
        EntryPoint::CompletionRoutine { .. } => "the completion routine".to_owned(),
        EntryPoint::CancelRoutine { .. } => "the cancel routine".to_owned(),
        EntryPoint::Dpc => "the DPC routine".to_owned(),
        EntryPoint::WorkItem => "the work item".to_owned(),
        EntryPoint::SystemThread => "the system thread".to_owned(),
        EntryPoint::ExceptionFilter => "the exception filter".to_owned(),
        EntryPoint::TerminationHandler => "the termination handler".to_owned(),
        EntryPoint::Callback(name) => format!("the {name} callback"),
    }
}

/// An exception by its usual name.
pub(crate) fn exception(code: NtStatus) -> String {
    match code {
        NtStatus::STATUS_INTEGER_DIVIDE_BY_ZERO => format!("a division by zero, {code},"),
        NtStatus::STATUS_BREAKPOINT => format!("a breakpoint, {code},"),
        NtStatus::STATUS_DATATYPE_MISALIGNMENT => format!("a misaligned access, {code},"),
        _ => format!("the exception {code}"),
    }
}

/// What an undefined value decided.
pub(crate) fn decided(decision: &UndefinedDecision) -> &'static str {
    match decision.decided {
        Decided::Branch => "a branch",
        Decided::Address => "an address",
        Decided::Status => "the status",
    }
}

/// Whether a probe raised the exception: what is missing then is the guard around user memory.
pub(crate) fn is_of_probe(escape: &ExceptionEscape) -> bool {
    matches!(escape.raised_by, Some("ProbeForRead" | "ProbeForWrite"))
}

/// When a leftover was found.
pub(crate) fn gone(left: &LeftBehind) -> &'static str {
    if left.is_after_unload { "the driver is unloaded" } else { "DriverEntry failed" }
}

/// How the memory of an object went away.
pub(crate) fn kept_loss(fault: KeptFault) -> &'static str {
    match fault {
        KeptFault::OnReturnedStack => "its stack frame is left",
        _ => "its memory is given back",
    }
}

/// A kind of region.
pub(crate) fn region(region: Region) -> &'static str {
    match region {
        Region::Critical => "a critical region",
        Region::Guarded => "a guarded region",
    }
}

/// A name, or that there is none.
pub(crate) fn named(name: &str) -> String {
    if name.is_empty() { "without a name".to_owned() } else { format!("`{name}`") }
}

/// Shows where a leftover was taken instead of where its loss was noticed.
pub(crate) fn taken_at(finding: &mut RawFinding, left: &LeftBehind, at: Moment<'_>) {
    if let Some(taken) = left.taken
        && let Some(ip) = at.ledgers.taken_by(taken)
    {
        finding.at(taken, ip);
    }
}

/// Reports a privileged operation whose operands come from a request, to be confirmed by other
/// marks.
pub(crate) fn exposure<'a>(
    out: &'a mut Findings,
    rule: &'static Rule,
    operation: &Privileged,
    at: Moment<'_>,
) -> &'a mut RawFinding {
    let name = operation.name;
    let from: Vec<String> = operation
        .marks
        .iter()
        .map(|(operand, offset)| {
            let what = operand_name(operation, *operand);
            format!("{what} from offset {offset} of the caller's input")
        })
        .collect();
    let finding = out.report(rule, format!("`{name}` gets its {}", from.join(", its ")));
    finding.marks(&operation.marks);
    request_history(finding, at);
    let of = |(operand, _): &(u8, u32)| operation.operands.get(usize::from(*operand)).copied();
    let is_byte = operation.marks.iter().filter_map(of).all(|value| value <= 0xff);
    finding.confirm(match is_byte {
        true => Confirmation::FollowsOtherMarkBytes,
        false => Confirmation::FollowsOtherMarks,
    })
}

/// What happens at an address that the caller chose.
pub(crate) fn callers_address(fault: &MemoryFault) -> String {
    let access = &fault.objection;
    let offset = fault.mark.unwrap_or_default();
    format!(
        "{} {} at the kernel address from offset {offset} of the caller's input",
        verb(access.kind),
        bytes(access.size_bytes)
    )
}

/// Ends the run at a fault whose address the caller chose, to be confirmed by other marks.
pub(crate) fn follows_mark(finding: &mut RawFinding, fault: &MemoryFault, at: Moment<'_>) {
    request_history(finding, at);
    finding.marks(&[(0, fault.mark.unwrap_or_default())]);
    finding.confirm(Confirmation::FollowsOtherMarks).stop();
}

fn operand_name(operation: &Privileged, operand: u8) -> &'static str {
    match (operation.sink, operand) {
        (PrivilegedSink::Port, 0) => "port",
        (PrivilegedSink::Msr, 0) => "register",
        (PrivilegedSink::PhysicalMemory, 0) => "address",
        (PrivilegedSink::PhysicalMemory, 1) => "length",
        (PrivilegedSink::BusData, 0) => "offset",
        (PrivilegedSink::BusData, 1) => "slot",
        _ => "value",
    }
}
