//! Processes, threads, objects, names, versions, buses: what a driver asks the executive.

use crate::program::{
    Program,
    Step::Store,
    Value::{self, Bytes, CountFirst, Data, Import, Number, Result},
};

const NONE: Value = Number(0);
const SUCCESS: u32 = 0;
const STATUS_INVALID_HANDLE: u32 = 0xc000_0008;
const STATUS_OBJECT_TYPE_MISMATCH: u32 = 0xc000_0024;
const STATUS_BUFFER_TOO_SMALL: u32 = 0xc000_0023;
const STATUS_INFO_LENGTH_MISMATCH: u32 = 0xc000_0004;
const STATUS_OBJECT_NAME_NOT_FOUND: u32 = 0xc000_0034;

/// Makes a `UNICODE_STRING` of UTF-16 bytes.
fn unicode_string(p: &mut Program, at: u32, text: &'static [u8]) {
    let length_bytes = text.len() as u64;
    p.step(Store(Data(at), Number(length_bytes | length_bytes << 16)));
    p.step(Store(Data(at + 8), Bytes(text)));
}

/// Makes `OBJECT_ATTRIBUTES` with a name and `OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE`.
fn object_attributes(p: &mut Program, at: u32, name_at: u32) {
    p.step(Store(Data(at), Number(0x30)));
    p.step(Store(Data(at + 8), NONE));
    p.step(Store(Data(at + 0x10), Data(name_at)));
    p.step(Store(Data(at + 0x18), Number(0x240)));
    p.step(Store(Data(at + 0x20), NONE));
    p.step(Store(Data(at + 0x28), NONE));
}

const LINK: &[u8] = b"\\\0?\0?\0\\\0L\0i\0n\0k\0";
const TARGET: &[u8] = b"\\\0D\0e\0v\0i\0c\0e\0\\\0T\0";

#[test]
fn the_names_of_a_thread_agree() {
    let mut p = Program::default();
    let process = p.call("IoGetCurrentProcess", &[]);
    let pid = p.call("PsGetCurrentProcessId", &[]);
    let thread = p.call("PsGetCurrentThread", &[]);
    let tid = p.call("PsGetCurrentThreadId", &[]);
    let same_process = p.call("PsGetThreadProcess", &[Result(thread, 0)]);
    let of_io = p.call("IoThreadToProcess", &[Result(thread, 0)]);
    let same_pid = p.call("PsGetProcessId", &[Result(process, 0)]);
    let thread_pid = p.call("PsGetThreadProcessId", &[Result(thread, 0)]);
    let same_tid = p.call("PsGetThreadId", &[Result(thread, 0)]);
    // DriverEntry runs in a system thread.
    p.is(true, "PsIsSystemThread", &[Result(thread, 0)]);
    p.is(false, "ExGetPreviousMode", &[]);
    p.long(SUCCESS, "PsLookupProcessByProcessId", &[Result(pid, 0), Data(0)]);
    let found = p.load(Data(0));
    p.call("ObfDereferenceObject", &[Result(found, 0)]);
    p.long(SUCCESS, "PsLookupThreadByThreadId", &[Result(tid, 0), Data(0)]);
    let found_thread = p.load(Data(0));
    p.call("ObfDereferenceObject", &[Result(found_thread, 0)]);
    let absent_thread = p.call("PsLookupThreadByThreadId", &[Number(2), Data(0)]);
    let absent = p.call("PsLookupProcessByProcessId", &[Number(2), Data(0)]);
    let results = p.run();
    let at = |index: usize| results.get(index).copied().unwrap_or_default();
    assert_ne!((at(process), at(pid), at(tid)), (0, 0, 0));
    assert_eq!([at(same_process), at(of_io), at(found)], [at(process); 3]);
    assert_eq!([at(same_pid), at(thread_pid)], [at(pid); 2]);
    assert_eq!(at(same_tid), at(tid));
    assert_eq!(at(found_thread), at(thread));
    for absent in [absent, absent_thread] {
        assert_eq!(at(absent) & 0xc000_0000, 0xc000_0000, "an error");
    }
}

#[test]
fn the_version_is_that_of_windows_10() {
    let mut p = Program::default();
    // TRUE for a checked build.
    p.is(false, "PsGetVersion", &[Data(0), Data(8), Data(16), NONE]);
    p.holds(Data(0), 10);
    p.holds(Data(8), 0);
    p.holds(Data(16), 19045);
    // WDM went up to 6.0, and every later system has all of it.
    p.is(true, "IoIsWdmVersionAvailable", &[Number(1), Number(0x30)]);
    p.is(true, "IoIsWdmVersionAvailable", &[Number(6), NONE]);
    p.is(false, "IoIsWdmVersionAvailable", &[Number(9), NONE]);
    p.run();
}

#[test]
fn a_system_thread_runs_and_is_waited_for() {
    const THREAD_ALL_ACCESS: u64 = 0x1f_ffff;
    let mut p = Program::default();
    let (handle, object, counter) = (Data(0), Data(8), Data(16));
    // Once with a routine that returns, once with one that ends its thread itself.
    for routine in [CountFirst, Import("PsTerminateSystemThread")] {
        let rest = [NONE, NONE, NONE, routine, counter];
        let create = [&[handle, Number(THREAD_ALL_ACCESS)], &rest[..]].concat();
        p.long(SUCCESS, "PsCreateSystemThread", &create);
        let opened = p.load(handle);
        let reference = [Result(opened, 0), Number(THREAD_ALL_ACCESS), NONE, NONE, object, NONE];
        p.long(SUCCESS, "ObReferenceObjectByHandle", &reference);
        p.long(SUCCESS, "NtClose", &[Result(opened, 0)]);
        let thread = p.load(object);
        let wait = [Result(thread, 0), NONE, NONE, NONE, NONE];
        p.long(SUCCESS, "KeWaitForSingleObject", &wait);
        p.call("ObfDereferenceObject", &[Result(thread, 0)]);
    }
    p.holds(counter, 1);
    p.long(STATUS_INVALID_HANDLE, "NtClose", &[Number(0x7_fffc)]);
    p.run();
}

#[test]
fn references_are_taken_for_the_right_type_only() {
    const TAG: Value = Number(0x3167_6154);
    let mut p = Program::default();
    let process = p.call("IoGetCurrentProcess", &[]);
    let thread_type = p.load(Import("PsThreadType"));
    let process_type = p.load(Import("PsProcessType"));
    let (process, right, wrong) =
        (Result(process, 0), Result(process_type, 0), Result(thread_type, 0));
    let before = p.call("ObfReferenceObjectWithTag", &[process, TAG]);
    p.long(SUCCESS, "ObReferenceObjectByPointer", &[process, NONE, right, NONE]);
    p.long(SUCCESS, "ObReferenceObjectByPointer", &[process, NONE, NONE, NONE]);
    p.long(
        STATUS_OBJECT_TYPE_MISMATCH,
        "ObReferenceObjectByPointer",
        &[process, NONE, wrong, NONE],
    );
    let tagged = "ObReferenceObjectByPointerWithTag";
    p.long(SUCCESS, tagged, &[process, NONE, right, NONE, TAG]);
    p.long(STATUS_OBJECT_TYPE_MISMATCH, tagged, &[process, NONE, wrong, NONE, TAG]);
    let opened = [process, Number(0x200), NONE, Number(0x1f_ffff), NONE, NONE, Data(0)];
    p.long(SUCCESS, "ObOpenObjectByPointer", &opened);
    let handle = p.load(Data(0));
    let by_handle = "ObReferenceObjectByHandleWithTag";
    let arguments = |kind| [Result(handle, 0), NONE, kind, NONE, TAG, Data(8), NONE];
    p.long(SUCCESS, by_handle, &arguments(right));
    p.long(STATUS_OBJECT_TYPE_MISMATCH, by_handle, &arguments(wrong));
    p.long(SUCCESS, "ZwClose", &[Result(handle, 0)]);
    // Five were taken.
    for _ in 0..2 {
        p.call("ObfDereferenceObjectWithTag", &[process, TAG]);
        p.call("ObDereferenceObjectDeferDelete", &[process]);
    }
    p.call("ObfDereferenceObject", &[process]);
    let after = p.call("ObfReferenceObjectWithTag", &[process, TAG]);
    p.call("ObfDereferenceObjectWithTag", &[process, TAG]);
    let results = p.run();
    assert_eq!(results.get(before), results.get(after), "the counts are even");
}

#[test]
fn a_symbolic_link_tells_its_target() {
    let mut p = Program::default();
    unicode_string(&mut p, 0x100, LINK);
    unicode_string(&mut p, 0x110, TARGET);
    p.long(SUCCESS, "IoCreateSymbolicLink", &[Data(0x100), Data(0x110)]);
    object_attributes(&mut p, 0x140, 0x100);
    let open = [Data(0), Number(1), Data(0x140)];
    p.long(SUCCESS, "ZwOpenSymbolicLinkObject", &open);
    let handle = p.load(Data(0));
    // A string with room for 0x40 bytes, and one with room for 4.
    p.step(Store(Data(0x180), Number(0x40_0000)));
    p.step(Store(Data(0x188), Data(0x200)));
    let query = [Result(handle, 0), Data(0x180), Data(8)];
    p.long(SUCCESS, "ZwQuerySymbolicLinkObject", &query);
    let length = u64::try_from(TARGET.len()).unwrap();
    p.holds(Data(8), length);
    p.holds(Data(0x180), 0x40_0000 | length);
    p.holds(Data(0x200), u64::from_le_bytes(*b"\\\0D\0e\0v\0"));
    p.step(Store(Data(0x180), Number(0x4_0000)));
    p.long(STATUS_BUFFER_TOO_SMALL, "ZwQuerySymbolicLinkObject", &query);
    // The link goes when it is neither permanent nor open.
    p.long(SUCCESS, "ZwMakeTemporaryObject", &[Result(handle, 0)]);
    p.long(SUCCESS, "ZwClose", &[Result(handle, 0)]);
    p.long(STATUS_OBJECT_NAME_NOT_FOUND, "ZwOpenSymbolicLinkObject", &open);
    p.long(STATUS_INVALID_HANDLE, "ZwMakeTemporaryObject", &[Number(0x7_fffc)]);
    p.run();
}

#[test]
fn an_object_tells_its_name() {
    let mut p = Program::default();
    let query = |room| [Value::DriverObject(0), Data(0x100), Number(room), Data(0)];
    p.long(STATUS_INFO_LENGTH_MISMATCH, "ObQueryNameString", &query(0));
    let needed = p.load(Data(0));
    p.long(SUCCESS, "ObQueryNameString", &query(0x100));
    let lengths = p.load(Data(0x100));
    // The string follows the OBJECT_NAME_INFORMATION.
    let buffer = p.load(Data(0x108));
    let text = p.load(Result(buffer, 0));
    let process = p.call("IoGetCurrentProcess", &[]);
    // A process has no name: an empty string, and no room is needed for one.
    let unnamed = [Result(process, 0), Data(0x100), Number(16), Data(0)];
    p.long(SUCCESS, "ObQueryNameString", &unnamed);
    p.holds(Data(0), 16);
    p.holds(Data(0x100), 0);
    let results = p.run();
    let at = |index: usize| results.get(index).copied().unwrap_or_default();
    let (length, maximum) = (at(lengths) & 0xffff, at(lengths) >> 16);
    assert_eq!(at(needed), 16 + length + 2, "with a terminator");
    assert_eq!(maximum, length + 2);
    assert_eq!(at(text), u64::from_le_bytes(*b"\\\0D\0r\0i\0"));
}

#[test]
fn the_bus_is_empty() {
    const PCI: Value = Number(4);
    let mut p = Program::default();
    let hal = "hal.dll";
    for (name, before) in [("HalGetBusData", &[][..]), ("HalGetBusDataByOffset", &[NONE])] {
        p.step(Store(Data(0), NONE));
        let arguments =
            |bus, length| [&[PCI, Number(bus), NONE, Data(0)], before, &[Number(length)]].concat();
        // "If the slot has no device, the length of the vendor id, which is invalid."
        let read = p.call_of(hal, name, &arguments(0, 64));
        p.holds(Data(0), 0xffff);
        let absent = p.call_of(hal, name, &arguments(1, 64));
        p.expect(read, 2);
        p.expect(absent, 0);
    }
    for (name, before) in [("HalSetBusData", &[][..]), ("HalSetBusDataByOffset", &[NONE])] {
        let arguments = [&[PCI, NONE, NONE, Data(0)], before, &[Number(4)]].concat();
        let written = p.call_of(hal, name, &arguments);
        p.expect(written, 0);
    }
    let translate = [NONE, NONE, Number(0xfed0_0000), Data(0), Data(8)];
    let done = p.call_of(hal, "HalTranslateBusAddress", &translate);
    p.expect(done, 1);
    p.holds(Data(8), 0xfed0_0000);
    p.run();
}
