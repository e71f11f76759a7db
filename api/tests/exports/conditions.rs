//! Conditional limits: for every export that declares `irql_when`, a driver that breaks the
//! condition and one that keeps it.

use std::collections::BTreeSet;

use bugcheck::FileReport;

use crate::program::{
    NT,
    Step::{self, Call, Irql, Store},
    Value::{self, Number, Result},
    check,
};

const LIMIT: &str = "irql::export_above_limit";
const PAGEABLE: &str = "irql::pageable_touched_at_dispatch";
const POOL: &str = "pool::paged_at_dispatch";

const PASSIVE: u8 = 0;
const APC: u8 = 1;
const DISPATCH: u8 = 2;
const HIGH: u8 = 15;

/// One export with its condition broken and kept.
struct Row {
    name: &'static str,
    rule: &'static str,
    broken: Vec<Step>,
    kept: Vec<Step>,
}

// Every driver begins with two blocks of pool that hold the same.

/// A place in a block of paged pool.
fn paged(offset_bytes: u32) -> Value {
    Result(0, offset_bytes)
}

/// A place in a block of non-paged pool.
fn nonpaged(offset_bytes: u32) -> Value {
    Result(1, offset_bytes)
}

/// An empty list.
const LIST: u32 = 0;
/// A `UNICODE_STRING` of two characters, with room for more.
const STRING: u32 = 0x40;
/// Its text.
const TEXT: u32 = 0x100;
/// Room for a dispatcher object.
const OBJECT: u32 = 0x200;
/// A free spin lock.
const LOCK: u32 = 0x300;
/// An empty sequenced list.
const SLIST: u32 = 0x400;
/// Zeroes.
const ZEROES: u32 = 0x500;
/// Format strings, and a `va_list` with the text.
const WIDE_FORMAT: u32 = 0x600;
const NARROW_FORMAT: u32 = 0x610;
const ARGUMENTS: u32 = 0x620;
/// The header of a bitmap of 32 bits, all clear.
const BITMAP: u32 = 0x700;

fn preparation() -> Vec<Step> {
    const POOL_FLAG_NON_PAGED: u64 = 0x40;
    const POOL_FLAG_PAGED: u64 = 0x100;
    let allocate = |flags| {
        let arguments = vec![Number(flags), Number(0x1000), Number(u64::from(TAG))];
        Call(NT, "ExAllocatePool2", arguments)
    };
    let mut steps = vec![allocate(POOL_FLAG_PAGED), allocate(POOL_FLAG_NON_PAGED)];
    for at in [paged, nonpaged] {
        steps.extend([
            Store(at(LIST), at(LIST)),
            Store(at(LIST + 8), at(LIST)),
            Store(at(STRING), Number(0x0040_0004)),
            Store(at(STRING + 8), at(TEXT)),
            Store(at(TEXT), Number(0x0062_0061)),
            Store(at(ARGUMENTS), at(TEXT)),
            Store(at(BITMAP), Number(32)),
            Store(at(BITMAP + 8), nonpaged(ZEROES)),
            Store(at(WIDE_FORMAT), Number(u64::from_le_bytes(*b"%ws\n\0\0\0\0"))),
            Store(at(NARROW_FORMAT), Number(u64::from_le_bytes(*b"%d\n\0\0\0\0\0"))),
        ]);
    }
    steps
}

const TAG: u32 = u32::from_le_bytes(*b"Rows");

fn call(name: &'static str, arguments: &[Value]) -> Step {
    Call(NT, name, arguments.to_vec())
}

/// A call at a level, which is left afterwards.
fn at(irql: u8, name: &'static str, arguments: &[Value]) -> Vec<Step> {
    vec![Irql(irql), call(name, arguments), Irql(PASSIVE)]
}

/// Gives a place in one of the two blocks.
type Place = fn(u32) -> Value;

/// The same arguments in paged and in non-paged memory.
fn resident(name: &'static str, irql: u8, arguments: fn(Place) -> Vec<Value>) -> Row {
    Row {
        name,
        rule: PAGEABLE,
        broken: at(irql, name, &arguments(paged)),
        kept: at(irql, name, &arguments(nonpaged)),
    }
}

fn resident_rows() -> Vec<Row> {
    let insert = |name| {
        // The entry lies behind the head; only the head is where it must not be.
        resident(name, DISPATCH, |at| vec![at(LIST), nonpaged(ZEROES), nonpaged(LOCK)])
    };
    let remove = |name| resident(name, DISPATCH, |at| vec![at(LIST), nonpaged(LOCK)]);
    let add = |name| resident(name, HIGH, |at| vec![at(ZEROES), Number(1), nonpaged(LOCK)]);
    let push = |name| resident(name, HIGH, |at| vec![at(SLIST), nonpaged(ZEROES), nonpaged(LOCK)]);
    let slist = |name| resident(name, HIGH, |at| vec![at(SLIST), nonpaged(LOCK)]);
    let two = |name, irql| {
        resident(name, irql, |at| vec![nonpaged(ZEROES), at(ZEROES + 0x20), Number(16)])
    };
    let one = |name, irql| resident(name, irql, |at| vec![at(ZEROES), Number(16), Number(0)]);
    let init = |name| resident(name, DISPATCH, |at| vec![at(OBJECT), nonpaged(TEXT)]);
    let bits = |name| resident(name, DISPATCH, |at| vec![at(BITMAP), Number(4), Number(3)]);
    let strings = |name| resident(name, DISPATCH, |at| vec![nonpaged(STRING), at(STRING)]);
    vec![
        insert("ExInterlockedInsertHeadList"),
        insert("ExInterlockedInsertTailList"),
        remove("ExInterlockedRemoveHeadList"),
        resident("ExInterlockedPushEntryList", DISPATCH, |at| {
            vec![at(ZEROES), nonpaged(OBJECT), nonpaged(LOCK)]
        }),
        resident("ExInterlockedPopEntryList", DISPATCH, |at| vec![at(ZEROES), nonpaged(LOCK)]),
        add("ExInterlockedAddUlong"),
        add("ExInterlockedAddLargeInteger"),
        slist("InitializeSListHead"),
        push("ExInterlockedPushEntrySList"),
        push("ExpInterlockedPushEntrySList"),
        slist("ExInterlockedPopEntrySList"),
        slist("ExpInterlockedPopEntrySList"),
        slist("ExInterlockedFlushSList"),
        slist("ExpInterlockedFlushSList"),
        init("RtlInitUnicodeString"),
        init("RtlInitUnicodeStringEx"),
        init("RtlInitAnsiString"),
        init("RtlInitString"),
        strings("RtlCopyUnicodeString"),
        strings("RtlCopyString"),
        resident("RtlAppendUnicodeToString", DISPATCH, |at| vec![at(STRING), nonpaged(TEXT)]),
        strings("RtlAppendUnicodeStringToString"),
        two("RtlCopyMemory", DISPATCH),
        two("RtlCopyMemoryNonTemporal", HIGH),
        two("RtlMoveMemory", DISPATCH),
        two("RtlCompareMemory", DISPATCH),
        one("RtlFillMemory", DISPATCH),
        one("RtlZeroMemory", HIGH),
        one("RtlCompareMemoryUlong", DISPATCH),
        resident("RtlInitializeBitMap", HIGH, |at| vec![at(OBJECT), nonpaged(ZEROES), Number(32)]),
        bits("RtlClearAllBits"),
        bits("RtlSetAllBits"),
        bits("RtlClearBit"),
        bits("RtlSetBit"),
        bits("RtlTestBit"),
        bits("RtlClearBits"),
        bits("RtlSetBits"),
        bits("RtlAreBitsClear"),
        bits("RtlAreBitsSet"),
        bits("RtlFindClearBits"),
        bits("RtlFindSetBits"),
        bits("RtlFindClearBitsAndSet"),
        bits("RtlFindSetBitsAndClear"),
        bits("RtlNumberOfClearBits"),
        bits("RtlNumberOfSetBits"),
        resident("RtlTimeToTimeFields", DISPATCH, |at| vec![at(ZEROES), nonpaged(OBJECT)]),
        Row {
            name: "RtlTimeFieldsToTime",
            rule: PAGEABLE,
            broken: at(DISPATCH, "RtlTimeFieldsToTime", &[paged(OBJECT), nonpaged(ZEROES)]),
            kept: at(DISPATCH, "RtlTimeFieldsToTime", &[nonpaged(OBJECT), nonpaged(ZEROES)]),
        },
    ]
}

fn pool_rows() -> Vec<Row> {
    const NON_PAGED_POOL_NX: u64 = 512;
    const PAGED_POOL: u64 = 1;
    let typed = |name| Row {
        name,
        rule: POOL,
        broken: at(DISPATCH, name, &[Number(PAGED_POOL), Number(64), Number(u64::from(TAG))]),
        kept: at(DISPATCH, name, &[Number(NON_PAGED_POOL_NX), Number(64), Number(u64::from(TAG))]),
    };
    let flagged = |name| {
        let zero = Number(0);
        let tag = Number(u64::from(TAG));
        Row {
            name,
            rule: POOL,
            broken: at(DISPATCH, name, &[Number(0x100), Number(64), tag, zero, zero]),
            kept: at(DISPATCH, name, &[Number(0x40), Number(64), tag, zero, zero]),
        }
    };
    let free = |name| {
        let rest = [Number(u64::from(TAG)), Number(0), Number(0)];
        let of = |block| at(DISPATCH, name, &[&[block], &rest[..]].concat());
        Row { name, rule: POOL, broken: of(paged(0)), kept: of(nonpaged(0)) }
    };
    let mut rows: Vec<Row> = [
        "ExAllocatePool",
        "ExAllocatePoolWithTag",
        "ExAllocatePoolWithTagPriority",
        "ExAllocatePoolWithQuota",
        "ExAllocatePoolWithQuotaTag",
    ]
    .map(typed)
    .into();
    rows.extend(["ExAllocatePool2", "ExAllocatePool3"].map(flagged));
    rows.extend(["ExFreePool", "ExFreePoolWithTag", "ExFreePool2"].map(free));
    rows
}

fn wait_rows() -> Vec<Row> {
    let none = Number(0);
    let event = call("KeInitializeEvent", &[nonpaged(OBJECT), Number(1), Number(1)]);
    let semaphore = call("KeInitializeSemaphore", &[nonpaged(OBJECT), Number(1), Number(9)]);
    let after = |first: &Step, rest: Vec<Step>| [vec![first.clone()], rest].concat();
    let single = |timeout| {
        let arguments = [nonpaged(OBJECT), none, none, none, timeout];
        after(&event, at(DISPATCH, "KeWaitForSingleObject", &arguments))
    };
    let multiple = |timeout| {
        let array = Store(nonpaged(ZEROES + 0x40), nonpaged(OBJECT));
        let list = nonpaged(ZEROES + 0x40);
        let arguments = [Number(1), list, Number(1), none, none, none, timeout, none];
        let wait = at(DISPATCH, "KeWaitForMultipleObjects", &arguments);
        after(&event, after(&array, wait))
    };
    let set = |wait| after(&event, at(DISPATCH, "KeSetEvent", &[nonpaged(OBJECT), none, wait]));
    let release = |wait| {
        let arguments = [nonpaged(OBJECT), none, Number(1), wait];
        after(&semaphore, at(DISPATCH, "KeReleaseSemaphore", &arguments))
    };
    let row = |name, broken, kept| Row { name, rule: LIMIT, broken, kept };
    vec![
        row("KeWaitForSingleObject", single(none), single(nonpaged(ZEROES))),
        row("KeWaitForMultipleObjects", multiple(none), multiple(nonpaged(ZEROES))),
        row("KeSetEvent", set(Number(1)), set(none)),
        row("KeReleaseSemaphore", release(Number(1)), release(none)),
    ]
}

fn fast_mutex_rows() -> Vec<Row> {
    let mutex = [nonpaged(OBJECT)];
    let made = [
        Store(nonpaged(OBJECT), Number(1)),
        call("KeInitializeEvent", &[nonpaged(OBJECT + 0x18), Number(1), Number(0)]),
    ];
    let acquire = call("ExAcquireFastMutexUnsafe", &mutex);
    let release = call("ExReleaseFastMutexUnsafe", &mutex);
    let enter = call("KeEnterCriticalRegion", &[]);
    let leave = call("KeLeaveCriticalRegion", &[]);
    let (up, down) = (Irql(APC), Irql(PASSIVE));
    let steps = |steps: &[&Step]| {
        let rest = steps.iter().map(|step| (*step).clone());
        made.iter().cloned().chain(rest).collect::<Vec<_>>()
    };
    let raised = steps(&[&up, &acquire, &release, &down]);
    let inside = steps(&[&enter, &acquire, &release, &leave]);
    let row = |name, broken, kept| Row { name, rule: LIMIT, broken, kept };
    vec![
        row("ExAcquireFastMutexUnsafe", steps(&[&acquire]), raised.clone()),
        row("ExAcquireFastMutexUnsafe", steps(&[&acquire]), inside.clone()),
        row("ExReleaseFastMutexUnsafe", steps(&[&up, &acquire, &down, &release]), raised),
        row("ExReleaseFastMutexUnsafe", steps(&[&enter, &acquire, &leave, &release]), inside),
    ]
}

fn mdl_rows() -> Vec<Row> {
    const KERNEL_MODE: Value = Number(0);
    const USER_MODE: Value = Number(1);
    const CACHED: Value = Number(1);
    let none = Number(0);
    let mdl = Result(2, 0);
    let describe = |block| call("IoAllocateMdl", &[block, Number(64), none, none, none]);
    let lock = call("MmProbeAndLockPages", &[mdl, KERNEL_MODE, none]);
    let unlock = call("MmUnlockPages", &[mdl]);
    let free = call("IoFreeMdl", &[mdl]);
    let probe = |block| {
        let rest = vec![unlock.clone(), free.clone()];
        let lock = at(DISPATCH, "MmProbeAndLockPages", &[mdl, KERNEL_MODE, none]);
        [vec![describe(block)], lock, rest].concat()
    };
    // The mapping is the fifth result, behind that of the lock.
    let map = |name, mode, rest: &[Value]| {
        let head = vec![describe(paged(0)), lock.clone()];
        let arguments = [&[mdl, mode], rest].concat();
        let tail = [Result(4, 0), mdl];
        let unmap = vec![call("MmUnmapLockedPages", &tail), unlock.clone(), free.clone()];
        [head, at(DISPATCH, name, &arguments), unmap].concat()
    };
    let cache = [CACHED, none, none, Number(16)];
    let unmap = |address| {
        let head = vec![
            describe(paged(0)),
            lock.clone(),
            call("MmMapLockedPagesSpecifyCache", &[mdl, KERNEL_MODE, CACHED, none, none, none]),
        ];
        let rest = vec![unlock.clone(), free.clone()];
        [head, at(DISPATCH, "MmUnmapLockedPages", &[address, mdl]), rest].concat()
    };
    let row = |name, broken, kept| Row { name, rule: LIMIT, broken, kept };
    let (mapper, plain) = ("MmMapLockedPagesSpecifyCache", "MmMapLockedPages");
    vec![
        row("MmProbeAndLockPages", probe(paged(0)), probe(nonpaged(0))),
        row(mapper, map(mapper, USER_MODE, &cache), map(mapper, KERNEL_MODE, &cache)),
        row(plain, map(plain, USER_MODE, &[]), map(plain, KERNEL_MODE, &[])),
        row("MmUnmapLockedPages", unmap(Number(0x10_0000)), unmap(Result(4, 0))),
    ]
}

fn print_rows() -> Vec<Row> {
    let none = Number(0);
    let list = nonpaged(ARGUMENTS);
    let format = |name, before: &[Value], after: &[Value]| {
        let of = |text| {
            let arguments = [before, &[nonpaged(text)], after].concat();
            at(DISPATCH, name, &arguments)
        };
        Row { name, rule: LIMIT, broken: of(WIDE_FORMAT), kept: of(NARROW_FORMAT) }
    };
    vec![
        format("DbgPrint", &[], &[nonpaged(TEXT)]),
        format("DbgPrintEx", &[none, none], &[nonpaged(TEXT)]),
        format("vDbgPrintEx", &[none, none], &[list]),
        format("vDbgPrintExWithPrefix", &[nonpaged(NARROW_FORMAT), none, none], &[list]),
    ]
}

fn interrupt_rows() -> Vec<Row> {
    const LEVEL: u8 = 5;
    let none = Number(0);
    let (one, level) = (Number(1), Number(LEVEL.into()));
    let connect = vec![
        nonpaged(ZEROES),
        Value::CountSecond,
        nonpaged(OBJECT),
        none,
        Number(0x51),
        level,
        level,
        none,
        none,
        one,
        none,
    ];
    // The interrupt object is the fourth result.
    let object = Result(3, 0);
    let head = [Call(NT, "IoConnectInterrupt", connect), Step::Load(nonpaged(ZEROES))];
    let tail = call("IoDisconnectInterrupt", &[object]);
    let steps = |irql: u8, middle: &[Step]| {
        let ends = [Irql(PASSIVE), tail.clone()];
        [&head[..], &[Irql(irql)], middle, &ends].concat()
    };
    let synchronize = |irql| {
        let section = [object, Value::CountFirst, nonpaged(OBJECT)];
        steps(irql, &[call("KeSynchronizeExecution", &section)])
    };
    let acquire = |irql: u8| {
        let acquire = call("KeAcquireInterruptSpinLock", &[object]);
        let release = call("KeReleaseInterruptSpinLock", &[object, Number(irql.into())]);
        steps(irql, &[acquire, release])
    };
    let row = |name, broken, kept| Row { name, rule: LIMIT, broken, kept };
    vec![
        row("KeSynchronizeExecution", synchronize(LEVEL + 1), synchronize(LEVEL)),
        row("KeAcquireInterruptSpinLock", acquire(LEVEL + 1), acquire(LEVEL)),
    ]
}

fn timer_rows() -> Vec<Row> {
    let (no, yes) = (Number(0), Number(1));
    let delete = |wait| {
        let head = vec![call("ExAllocateTimer", &[no, no, no])];
        [head, at(DISPATCH, "ExDeleteTimer", &[Result(2, 0), yes, wait, no])].concat()
    };
    vec![Row { name: "ExDeleteTimer", rule: LIMIT, broken: delete(yes), kept: delete(no) }]
}

fn rows() -> Vec<Row> {
    let some = [resident_rows(), pool_rows(), wait_rows(), fast_mutex_rows(), mdl_rows()];
    let others = [print_rows(), interrupt_rows(), timer_rows()];
    some.into_iter().chain(others).flatten().collect()
}

fn outcome(row: &Row, steps: &[Step]) -> FileReport {
    let is_called = |step: &Step| matches!(step, Call(_, name, _) if *name == row.name);
    assert!(steps.iter().any(is_called), "{} is called", row.name);
    check(row.name, &[&preparation(), steps].concat())
}

#[test]
fn every_condition_is_judged() {
    let modules = system::modules();
    let exports = modules.iter().flat_map(|m| m.exports.iter().flat_map(|list| list.iter()));
    let declared: BTreeSet<_> = exports.filter(|e| e.irql_when.is_some()).map(|e| e.name).collect();
    let rows = rows();
    let tested: BTreeSet<_> = rows.iter().map(|row| row.name).collect();
    assert_eq!(declared, tested, "every `irql_when` has a row here, and every row is declared");
    let mut wrong = Vec::new();
    for row in &rows {
        let broken = outcome(row, &row.broken);
        let rules: Vec<_> = broken.findings.iter().map(|finding| &finding.rule).collect();
        if rules != [row.rule] {
            wrong.push(format!("{}, broken: {rules:?} {broken:#?}", row.name));
        }
        let kept = outcome(row, &row.kept);
        let is_silent = kept.findings.is_empty()
            && kept.unsupported.is_empty()
            && kept.bug_checks.is_empty()
            // One run is made, the friendly one: with a failing allocation there is no memory.
            && kept.limits.iter().all(|limit| limit.contains(" planned"));
        if !is_silent {
            wrong.push(format!("{}, kept: {kept:#?}", row.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
