//! Device stacks, remove locks, extensions, registrations: what a driver asks the I/O manager.

use crate::program::{
    NT, Program,
    Step::{Call, Return, Store},
    Value::{
        self, Bytes, CountCompletion, CountSecond, Data, Dispatch, DriverObject, Number, Result,
    },
    check,
};

const NONE: Value = Number(0);
const SUCCESS: u32 = 0;
const STATUS_NO_SUCH_DEVICE: u32 = 0xc000_000e;
const STATUS_OBJECT_NAME_COLLISION: u32 = 0xc000_0035;
const STATUS_DELETE_PENDING: u32 = 0xc000_0056;
/// `DEVICE_OBJECT.Flags` and the byte `StackSize` in their groups of 8 bytes.
const FLAGS: u32 = 0x30;
const STACK_SIZE: u32 = 0x48;

/// Creates a device without a name; returns the number of the result that is its address.
fn create_device(p: &mut Program) -> usize {
    let rest = [Number(0x22), NONE, NONE, Data(0)];
    let arguments = [&[DriverObject(0), NONE, NONE], &rest[..]].concat();
    p.long(SUCCESS, "IoCreateDevice", &arguments);
    p.load(Data(0))
}

#[test]
fn devices_stand_on_each_other() {
    let mut p = Program::default();
    let [low, middle, high] = [(); 3].map(|()| create_device(&mut p));
    let [low, middle, high] = [low, middle, high].map(|device| Result(device, 0));
    // While DO_DEVICE_INITIALIZING is set, nothing attaches.
    p.word(0, "IoAttachDeviceToDeviceStack", &[middle, low]);
    let safe = "IoAttachDeviceToDeviceStackSafe";
    p.long(STATUS_NO_SUCH_DEVICE, safe, &[middle, low, Data(8)]);
    for device in [low, middle, high] {
        let Result(index, _) = device else { unreachable!("they are results") };
        p.step(Store(Result(index, FLAGS), NONE));
    }
    let attached = p.call("IoAttachDeviceToDeviceStack", &[middle, low]);
    // The target is anywhere in the stack; the new device stands on its top.
    p.long(SUCCESS, safe, &[high, low, Data(8)]);
    let below = p.load(Data(8));
    let top = p.call("IoGetAttachedDeviceReference", &[low]);
    // The same without a reference.
    let plain_top = p.call("IoGetAttachedDevice", &[low]);
    let lower = p.call("IoGetLowerDeviceObject", &[high]);
    let base = p.call("IoGetDeviceAttachmentBaseRef", &[high]);
    p.word(0, "IoGetLowerDeviceObject", &[low]);
    for device in [top, lower, base] {
        p.call("ObfDereferenceObject", &[Result(device, 0)]);
    }
    let Result(high_index, _) = high else { unreachable!("it is a result") };
    let height = p.load(Result(high_index, STACK_SIZE));
    p.call("IoDetachDevice", &[middle]);
    let top_again = p.call("IoGetAttachedDeviceReference", &[low]);
    p.call("ObfDereferenceObject", &[Result(top_again, 0)]);
    p.call("IoDetachDevice", &[low]);
    let addresses: Vec<usize> = [low, middle, high]
        .map(|device| if let Result(index, _) = device { index } else { usize::MAX })
        .into();
    let results = p.run();
    let at = |index: usize| results.get(index).copied().unwrap_or_default();
    let [low, middle, high] = addresses[..] else { panic!("three devices") };
    assert_eq!([at(attached), at(below)], [at(low), at(middle)]);
    assert_eq!([at(top), at(lower), at(base)], [at(high), at(middle), at(low)]);
    assert_eq!([at(plain_top), at(top_again)], [at(high), at(middle)]);
    assert_eq!((at(height) >> 32) & 0xff, 3, "one stack location for each device");
}

#[test]
fn a_remove_lock_ends_with_its_wait() {
    let mut p = Program::default();
    let lock = Data(0x100);
    let size = Number(0x20);
    let acquire = [lock, NONE, NONE, NONE, size];
    p.call("IoInitializeRemoveLockEx", &[lock, NONE, NONE, NONE, size]);
    p.long(SUCCESS, "IoAcquireRemoveLockEx", &acquire);
    p.long(SUCCESS, "IoAcquireRemoveLockEx", &acquire);
    p.call("IoReleaseRemoveLockEx", &[lock, NONE, size]);
    // Returns, because this is the last that was acquired.
    p.call("IoReleaseRemoveLockAndWaitEx", &[lock, NONE, size]);
    p.long(STATUS_DELETE_PENDING, "IoAcquireRemoveLockEx", &acquire);
    p.run();
}

#[test]
fn a_driver_object_is_extended_once_per_client() {
    let mut p = Program::default();
    let allocate = "IoAllocateDriverObjectExtension";
    p.word(0, "IoGetDriverObjectExtension", &[DriverObject(0), Number(1)]);
    p.long(SUCCESS, allocate, &[DriverObject(0), Number(1), Number(32), Data(0)]);
    let extension = p.load(Data(0));
    p.step(Store(Result(extension, 24), Number(5)));
    let twice = [DriverObject(0), Number(1), Number(32), Data(0)];
    p.long(STATUS_OBJECT_NAME_COLLISION, allocate, &twice);
    p.holds(Data(0), 0);
    let found = p.call("IoGetDriverObjectExtension", &[DriverObject(0), Number(1)]);
    p.word(0, "IoGetDriverObjectExtension", &[DriverObject(0), Number(2)]);
    let results = p.run();
    assert_eq!(results.get(found), results.get(extension));
}

#[test]
fn a_device_is_registered_for_shutdown() {
    const DO_SHUTDOWN_REGISTERED: u64 = 0x800;
    let mut p = Program::default();
    let device = create_device(&mut p);
    p.long(SUCCESS, "IoRegisterShutdownNotification", &[Result(device, 0)]);
    let registered = p.load(Result(device, FLAGS));
    p.call("IoUnregisterShutdownNotification", &[Result(device, 0)]);
    let unregistered = p.load(Result(device, FLAGS));
    let results = p.run();
    let flag = |index: usize| results.get(index).map(|flags| flags & DO_SHUTDOWN_REGISTERED);
    assert_eq!(flag(registered), Some(DO_SHUTDOWN_REGISTERED));
    assert_eq!(flag(unregistered), Some(0));
}

#[test]
fn an_irp_is_prepared_in_memory_of_the_driver() {
    let mut p = Program::default();
    // IO_TYPE_IRP, the size, StackCount and CurrentLocation.
    let size_bytes = 0xd0 + 3 * 0x48;
    p.call("IoInitializeIrp", &[Data(0x100), Number(size_bytes), Number(3)]);
    let head = p.load(Data(0x100));
    let counts = p.load(Data(0x100 + 0x40));
    p.is(false, "IoIs32bitProcess", &[NONE]);
    // Nobody sent it.
    p.word(0, "IoGetRequestorProcess", &[Data(0x100)]);
    let results = p.run();
    let at = |index: usize| results.get(index).copied().unwrap_or_default();
    assert_eq!(at(head) & 0xffff_ffff, 6 | size_bytes << 16);
    assert_eq!((at(counts) >> 16) & 0xffff, 0x0403, "CurrentLocation is one past the last");
}

const DEVICE_NAME: &[u8] = b"\\\0D\0e\0v\0i\0c\0e\0\\\0T\0";
const EVENT_NAME: &[u8] = b"\\\0B\0a\0s\0e\0N\0a\0m\0e\0d\0O\0b\0j\0e\0c\0t\0s\0\\\0E\0";
/// Where the `UNICODE_STRING` of the name is, and the `OBJECT_ATTRIBUTES`.
const NAME: u32 = 0x400;
const ATTRIBUTES: u32 = 0x440;

fn unicode_string(p: &mut Program, text: &'static [u8]) {
    let length_bytes = text.len() as u64;
    p.step(Store(Data(NAME), Number(length_bytes | length_bytes << 16)));
    p.step(Store(Data(NAME + 8), Bytes(text)));
}

/// Creates a named device whose driver completes every request; returns the number of the result
/// that is its address.
fn named_device(p: &mut Program) -> usize {
    const MAJOR_FUNCTION: u32 = 0x70;
    unicode_string(p, DEVICE_NAME);
    let rest = [Data(NAME), Number(0x22), NONE, NONE, Data(0)];
    p.long(SUCCESS, "IoCreateDevice", &[&[DriverObject(0), NONE], &rest[..]].concat());
    let device = p.load(Data(0));
    p.step(Store(Result(device, FLAGS), NONE));
    for major in 0..28 {
        p.step(Store(DriverObject(MAJOR_FUNCTION + 8 * major), Dispatch));
    }
    device
}

#[test]
fn a_device_is_found_by_its_name() {
    const FILE_READ_DATA: u64 = 1;
    let mut p = Program::default();
    let device = named_device(&mut p);
    let find = [Data(NAME), Number(FILE_READ_DATA), Data(8), Data(16)];
    p.long(SUCCESS, "IoGetDeviceObjectPointer", &find);
    let file = p.load(Data(8));
    let found = p.load(Data(16));
    let related = p.call("IoGetRelatedDeviceObject", &[Result(file, 0)]);
    p.call("ObfDereferenceObject", &[Result(file, 0)]);
    let results = p.run();
    let at = |index: usize| results.get(index).copied().unwrap_or_default();
    assert_eq!([at(found), at(related)], [at(device); 2]);
}

#[test]
fn a_device_is_opened_as_a_file() {
    const GENERIC_READ: u64 = 0x8000_0000;
    const SYNCHRONIZE: u64 = 0x10_0000;
    const FILE_OPEN: u64 = 1;
    const FILE_SYNCHRONOUS_IO_NONALERT: u64 = 0x20;
    let mut p = Program::default();
    named_device(&mut p);
    p.step(Store(Data(ATTRIBUTES), Number(0x30)));
    p.step(Store(Data(ATTRIBUTES + 0x10), Data(NAME)));
    // OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE.
    p.step(Store(Data(ATTRIBUTES + 0x18), Number(0x240)));
    let head = [Data(8), Number(GENERIC_READ | SYNCHRONIZE), Data(ATTRIBUTES), Data(0x20)];
    let options = Number(FILE_SYNCHRONOUS_IO_NONALERT);
    let create = [NONE, NONE, NONE, Number(FILE_OPEN), options, NONE, NONE];
    p.long(SUCCESS, "ZwCreateFile", &[&head, &create[..]].concat());
    let first = p.load(Data(8));
    p.holds(Data(0x20), 0);
    p.long(SUCCESS, "ZwOpenFile", &[&head, &[Number(3), options][..]].concat());
    let second = p.load(Data(8));
    p.long(SUCCESS, "ZwClose", &[Result(first, 0)]);
    p.long(SUCCESS, "ZwClose", &[Result(second, 0)]);
    let results = p.run();
    assert_ne!(results.get(first), results.get(second), "two handles");
}

#[test]
fn a_built_request_signals_its_event() {
    let mut p = Program::default();
    let device = Result(named_device(&mut p), 0);
    let (event, block) = (Data(0x100), Data(0x140));
    p.call("KeInitializeEvent", &[event, NONE, NONE]);
    let control = [Number(0x22_2000), device, NONE, NONE, NONE, NONE, NONE, event, block];
    let flush = [Number(IRP_MJ_FLUSH_BUFFERS), device, NONE, NONE, NONE, event, block];
    for (name, arguments) in [
        ("IoBuildDeviceIoControlRequest", &control[..]),
        ("IoBuildSynchronousFsdRequest", &flush[..]),
    ] {
        p.call("KeClearEvent", &[event]);
        p.step(Store(block, Number(u64::MAX)));
        let irp = p.call(name, arguments);
        p.long(SUCCESS, "IofCallDriver", &[device, Result(irp, 0)]);
        p.long(SUCCESS, "KeWaitForSingleObject", &[event, NONE, NONE, NONE, NONE]);
        let status = p.load(block);
        p.expect(status, SUCCESS);
    }
    p.run();
}

#[test]
fn a_request_without_cancel_routine_is_only_marked() {
    let mut p = Program::default();
    let irp = p.call("IoAllocateIrp", &[Number(1), NONE]);
    p.is(false, "IoCancelIrp", &[Result(irp, 0)]);
    // StackCount, CurrentLocation, PendingReturned and Cancel lie before the sixth byte.
    let bytes = p.load(Result(irp, 0x40));
    p.call("IoFreeIrp", &[Result(irp, 0)]);
    let results = p.run();
    assert_eq!(results.get(bytes).map(|bytes| (bytes >> 32) & 0xff), Some(1), "Cancel");
}

#[test]
fn a_named_event_starts_signalled() {
    let mut p = Program::default();
    unicode_string(&mut p, EVENT_NAME);
    let create = [Data(NAME), Data(0)];
    let event = p.call("IoCreateSynchronizationEvent", &create);
    let handle = p.load(Data(0));
    p.long(1, "KeReadStateEvent", &[Result(event, 0)]);
    p.long(SUCCESS, "KeWaitForSingleObject", &[Result(event, 0), NONE, NONE, NONE, NONE]);
    // A synchronization event is reset by the wait that it satisfies.
    p.long(0, "KeReadStateEvent", &[Result(event, 0)]);
    let again = p.call("IoCreateSynchronizationEvent", &create);
    let second = p.load(Data(0));
    p.long(SUCCESS, "ZwClose", &[Result(handle, 0)]);
    p.long(SUCCESS, "ZwClose", &[Result(second, 0)]);
    let results = p.run();
    assert_eq!(results.get(event), results.get(again), "the name leads to the same event");
}

#[test]
fn a_work_item_runs_later() {
    const DELAYED_WORK_QUEUE: u64 = 1;
    let mut p = Program::default();
    let device = create_device(&mut p);
    let item = p.call("IoAllocateWorkItem", &[Result(device, 0)]);
    let counter = Data(0x40);
    let queue = [Result(item, 0), CountSecond, Number(DELAYED_WORK_QUEUE), counter];
    p.call("IoQueueWorkItemEx", &queue);
    p.step(Store(Data(8), Number((-100_000_i64).cast_unsigned())));
    p.long(SUCCESS, "KeDelayExecutionThread", &[NONE, NONE, Data(8)]);
    p.holds(counter, 1);
    p.call("IoFreeWorkItem", &[Result(item, 0)]);
    p.run();
}

#[test]
fn a_device_is_attached_by_name() {
    let mut p = Program::default();
    let device = named_device(&mut p);
    let filter = create_device(&mut p);
    p.long(SUCCESS, "IoAttachDevice", &[Result(filter, 0), Data(NAME), Data(8)]);
    let below = p.load(Data(8));
    let top = p.call("IoGetAttachedDevice", &[Result(device, 0)]);
    p.call("IoDetachDevice", &[Result(device, 0)]);
    let results = p.run();
    assert_eq!(results.get(below), results.get(device));
    assert_eq!(results.get(top), results.get(filter));
}

/// Bytes of an `IO_STACK_LOCATION`; locations are used from the last to the first.
const ONE_LOWER: u32 = 0x48_u32.wrapping_neg();
/// `IRP.Tail.Overlay.CurrentStackLocation`.
const CURRENT: u32 = 0xb8;
const IRP_MJ_FLUSH_BUFFERS: u64 = 9;

#[test]
fn a_safe_completion_routine_is_called_once() {
    let mut p = Program::default();
    let device = Result(named_device(&mut p), 0);
    let irp = p.call("IoAllocateIrp", &[Number(2), NONE]);
    let current = p.load(Result(irp, CURRENT));
    p.step(Store(Result(current, ONE_LOWER), Number(IRP_MJ_FLUSH_BUFFERS)));
    let (counter, always) = (Data(0x40), Number(1));
    let set = [device, Result(irp, 0), CountCompletion, counter, always, always, always];
    p.long(SUCCESS, "IoSetCompletionRoutineEx", &set);
    p.call("IofCallDriver", &[device, Result(irp, 0)]);
    p.holds(counter, 1);
    // The routine kept the IRP, so it is still the driver's.
    p.call("IoFreeIrp", &[Result(irp, 0)]);
    p.run();
}

#[test]
fn a_request_is_forwarded_and_comes_back() {
    let mut p = Program::default();
    let device = Result(named_device(&mut p), 0);
    let irp = p.call("IoAllocateIrp", &[Number(3), NONE]);
    // IoSetNextIrpStackLocation: one location lower, in the pointer and in the fourth byte.
    let current = p.load(Result(irp, CURRENT));
    p.step(Store(Result(irp, CURRENT), Result(current, ONE_LOWER)));
    let counts = p.load(Result(irp, 0x40));
    p.step(Store(Result(irp, 0x40), Result(counts, 0x0100_0000_u32.wrapping_neg())));
    p.step(Store(Result(current, ONE_LOWER), Number(IRP_MJ_FLUSH_BUFFERS)));
    p.step(Store(Result(irp, 0x30), Number(u64::MAX)));
    p.is(true, "IoForwardIrpSynchronously", &[device, Result(irp, 0)]);
    let status = p.load(Result(irp, 0x30));
    p.expect(status, SUCCESS);
    p.call("IoFreeIrp", &[Result(irp, 0)]);
    p.run();
}

/// What a check says of a DriverEntry that deletes a link which nobody made, and returns this.
fn fails_with(returned: Value) -> Option<String> {
    let length_bytes = DEVICE_NAME.len() as u64;
    let steps = [
        Store(Data(NAME), Number(length_bytes | length_bytes << 16)),
        Store(Data(NAME + 8), Bytes(DEVICE_NAME)),
        Call(NT, "IoDeleteSymbolicLink", vec![Data(NAME)]),
        Return(returned),
    ];
    check("a failing DriverEntry", &steps).not_exercised
}

#[test]
fn the_routine_whose_failure_driver_entry_returns_is_named() {
    const UNSUCCESSFUL: u64 = 0xc000_0001;
    let text = fails_with(Result(0, 0)).expect("it fails");
    let (before, after) = (
        "DriverEntry failed with STATUS_OBJECT_NAME_NOT_FOUND (0xc0000034), \
         which IoDeleteSymbolicLink returned in steps.sys+0x",
        "; no other routine was called",
    );
    assert!(text.starts_with(before) && text.ends_with(after), "{text}");
    // A status of its own comes from no routine.
    let text = fails_with(Number(UNSUCCESSFUL)).expect("it fails");
    assert_eq!(text, format!("DriverEntry failed with STATUS_UNSUCCESSFUL (0xc0000001){after}"));
}
