//! StartIo: the I/O manager's queue of requests for a device, one at a time.
//!
//! Who starts a packet finds the device idle and calls StartIo, or queues the packet. `CurrentIrp`
//! is the packet that StartIo works on. Source: "Writing a StartIo Routine", "Cancel Routines in
//! Drivers with StartIo Routines".

use events::EntryPoint;
use guest_memory::{Accessor, GuestAddr};
use nt_abi::{
    Irql,
    structures::{
        LIST_ENTRY,
        io::{DEVICE_OBJECT, DRIVER_OBJECT, IRP, KDEVICE_QUEUE_ENTRY},
    },
};
use nt_macros::export;

use super::{cancel, irp};
use crate::{
    CallResult, Flow, GuestCall, GuestPtr, Kernel, Stop, exports, frame, ke::device_queue,
};

exports![IoStartPacket, IoStartNextPacket, IoStartNextPacketByKey, IoSetStartIoAttributes];

/// How the StartIo routine of a device is called.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StartIo {
    /// `DeferredStartIo`: no call while the routine is running.
    is_deferred: bool,
    /// `NonCancelable`: a packet that was taken out of the queue has no cancel routine any more.
    is_not_cancelable: bool,
    /// Calls that did not return yet.
    running: u32,
    /// What was asked for while the routine was running.
    deferred: Option<Next>,
}

/// Which packet to start next.
#[derive(Clone, Copy, Debug)]
struct Next {
    key: Option<u32>,
    is_cancelable: bool,
}

/// Sets how StartIo is called.
#[export(irql = .., ddi = "wdm/nf-wdm-iosetstartioattributes")]
fn IoSetStartIoAttributes(
    k: &mut Kernel,
    device: GuestAddr,
    is_deferred: bool,
    is_not_cancelable: bool,
) -> CallResult<()> {
    let attributes = attributes(k, device)?;
    attributes.is_deferred = is_deferred;
    attributes.is_not_cancelable = is_not_cancelable;
    Ok(())
}

fn attributes(k: &mut Kernel, device: GuestAddr) -> CallResult<&mut StartIo> {
    if !k.io.devices.contains_key(&device) {
        // The fields that follow would be read first.
        k.get(device, DEVICE_OBJECT::Type)?;
    }
    let entry = k.io.devices.get_mut(&device);
    entry
        .map(|entry| &mut entry.start_io)
        .ok_or_else(|| Stop::unsupported("StartIo of something that is no device object"))
}

/// Calls StartIo with a packet, or queues it while the device is busy.
#[export(
    irql = ..=DISPATCH_LEVEL,
    ddi = "wdm/nf-wdm-iostartpacket",
    irql_note = "the Remarks repeat the limit"
)]
fn IoStartPacket(
    k: &mut Kernel,
    device: GuestAddr,
    irp: GuestAddr,
    key: GuestPtr<u32>,
    cancel_routine: GuestAddr,
) -> CallResult<Flow> {
    let key = match key.at.is_null() {
        true => None,
        false => Some(k.read_scalar(key.at)?),
    };
    irp::at_or_number(k, irp)?;
    attributes(k, device)?;
    let packet = Packet { device, irp, key, cancel_routine };
    if !cancel_routine.is_null() {
        return cancel::acquire(k)?.then(k, packet);
    }
    let level = k.irql();
    k.set_irql(Irql::DISPATCH_LEVEL);
    packet.start_or_queue(k, level)
}

/// A packet to be started, at `DISPATCH_LEVEL`; with a cancel routine the cancel spin lock is held.
#[derive(Clone, Debug)]
struct Packet {
    device: GuestAddr,
    irp: GuestAddr,
    key: Option<u32>,
    cancel_routine: GuestAddr,
}

frame!(Packet, |this, k, value| {
    k.set(this.irp, IRP::CancelRoutine, this.cancel_routine.0)?;
    this.start_or_queue(k, cancel::level_before(value))
});

impl Packet {
    fn start_or_queue(self, k: &mut Kernel, level: Irql) -> CallResult<Flow> {
        let Self { device, irp, key, cancel_routine } = self;
        let is_cancelable = !cancel_routine.is_null();
        let entry = irp.add(IRP::DeviceQueueEntry.offset_bytes);
        if !device_queue::insert(k, queue_of(device), entry, key)? {
            k.set(device, DEVICE_OBJECT::CurrentIrp, irp.0)?;
            if is_cancelable {
                if attributes(k, device)?.is_not_cancelable {
                    k.set(irp, IRP::CancelRoutine, 0)?;
                }
                cancel::release(k, Irql::DISPATCH_LEVEL)?;
            }
            return start(k, device, irp)?.then(k, Lower { level });
        }
        k.io.queued_packets.insert(irp);
        if is_cancelable && k.get(irp, IRP::Cancel)? != 0 {
            // It was cancelled before there was a routine to call. The lock is the routine's now.
            k.set(irp, IRP::CancelRoutine, 0)?;
            k.set(irp, IRP::CancelIrql, Irql::DISPATCH_LEVEL.0)?;
            let entry = EntryPoint::CancelRoutine { irp: irp::at_or_number(k, irp)? };
            let call = GuestCall::entry(cancel_routine, vec![device.0, irp.0], entry);
            return Ok(Flow::call(call, Lower { level }));
        }
        if is_cancelable {
            cancel::release(k, Irql::DISPATCH_LEVEL)?;
        }
        k.set_irql(level);
        Ok(Flow::Return(0))
    }
}

/// Whether an IRP is in a device queue: `IoStartPacket` put it there, and it is linked to its
/// neighbours. The driver may have taken it out itself, and used the field for something else.
pub(crate) fn is_queued(k: &mut Kernel, irp: GuestAddr) -> bool {
    if !k.io.queued_packets.remove(&irp) {
        return false;
    }
    let word = |k: &Kernel, at: GuestAddr| {
        let mut bytes = [0; 8];
        let read = k.memory.read(Accessor::Machine, at, &mut bytes);
        read.is_ok().then(|| u64::from_le_bytes(bytes))
    };
    let entry = irp.add(IRP::DeviceQueueEntry.offset_bytes);
    let next = word(k, entry.add(LIST_ENTRY::Flink.offset_bytes)).map(GuestAddr);
    let back = next.and_then(|next| word(k, next.add(LIST_ENTRY::Blink.offset_bytes)));
    let flags = word(k, entry.add(KDEVICE_QUEUE_ENTRY::SortKey.offset_bytes));
    let is_inserted = flags.is_some_and(|flags| flags >> 32 & 0xff == 1);
    is_inserted && back == Some(entry.0)
}

/// Back to the level of the caller.
#[derive(Clone, Debug)]
struct Lower {
    level: Irql,
}

frame!(Lower, |this, k, _| {
    k.set_irql(this.level);
    Ok(Flow::Return(0))
});

fn queue_of(device: GuestAddr) -> GuestAddr {
    device.add(DEVICE_OBJECT::DeviceQueue.offset_bytes)
}

/// Takes the next packet out of the queue and calls StartIo with it.
#[export(
    irql = DISPATCH_LEVEL,
    ddi = "wdm/nf-wdm-iostartnextpacket",
    irql_note = "the Remarks repeat the limit"
)]
fn IoStartNextPacket(k: &mut Kernel, device: GuestAddr, is_cancelable: bool) -> CallResult<Flow> {
    request_next(k, device, Next { key: None, is_cancelable })
}

/// The same with the first packet whose key is not lower.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-iostartnextpacketbykey")]
fn IoStartNextPacketByKey(
    k: &mut Kernel,
    device: GuestAddr,
    is_cancelable: bool,
    key: u32,
) -> CallResult<Flow> {
    request_next(k, device, Next { key: Some(key), is_cancelable })
}

fn request_next(k: &mut Kernel, device: GuestAddr, next: Next) -> CallResult<Flow> {
    let attributes = attributes(k, device)?;
    if attributes.is_deferred && attributes.running > 0 {
        attributes.deferred = Some(next);
        return Ok(Flow::Return(0));
    }
    start_next(k, device, next)
}

fn start_next(k: &mut Kernel, device: GuestAddr, next: Next) -> CallResult<Flow> {
    let take = TakeNext { device, next };
    if next.is_cancelable {
        return cancel::acquire(k)?.then(k, take);
    }
    match take.take(k)? {
        Some(irp) => start(k, device, irp),
        None => Ok(Flow::Return(0)),
    }
}

/// Takes a packet out of the queue; for a cancelable one the cancel spin lock is held.
#[derive(Clone, Debug)]
struct TakeNext {
    device: GuestAddr,
    next: Next,
}

frame!(TakeNext, |this, k, value| {
    let irp = this.take(k)?;
    cancel::release(k, cancel::level_before(value))?;
    match irp {
        Some(irp) => start(k, this.device, irp),
        None => Ok(Flow::Return(0)),
    }
});

impl TakeNext {
    fn take(&self, k: &mut Kernel) -> CallResult<Option<GuestAddr>> {
        let Self { device, next } = *self;
        k.set(device, DEVICE_OBJECT::CurrentIrp, 0)?;
        let Some(entry) = device_queue::remove(k, queue_of(device), next.key)? else {
            return Ok(None);
        };
        let irp = entry.add(IRP::DeviceQueueEntry.offset_bytes.wrapping_neg());
        k.io.queued_packets.remove(&irp);
        k.set(device, DEVICE_OBJECT::CurrentIrp, irp.0)?;
        if next.is_cancelable && attributes(k, device)?.is_not_cancelable {
            k.set(irp, IRP::CancelRoutine, 0)?;
        }
        Ok(Some(irp))
    }
}

/// Calls the StartIo routine of the device's driver.
fn start(k: &mut Kernel, device: GuestAddr, irp: GuestAddr) -> CallResult<Flow> {
    let driver = GuestAddr(k.get(device, DEVICE_OBJECT::DriverObject)?);
    let routine = GuestAddr(k.get(driver, DRIVER_OBJECT::DriverStartIo)?);
    attributes(k, device)?.running += 1;
    let call = GuestCall::entry(routine, vec![device.0, irp.0], EntryPoint::Callback("StartIo"));
    Ok(Flow::call(call, Started { device }))
}

/// StartIo returned.
#[derive(Clone, Debug)]
struct Started {
    device: GuestAddr,
}

impl Started {
    /// One call less; what it asked for is due when no other one runs.
    fn leave(&self, k: &mut Kernel) -> Option<Next> {
        // The driver may have deleted the device in its routine.
        let attributes = &mut k.io.devices.get_mut(&self.device)?.start_io;
        attributes.running = attributes.running.saturating_sub(1);
        match attributes.running {
            0 => attributes.deferred.take(),
            _ => None,
        }
    }
}

impl crate::Frame for Started {
    fn resume(self: Box<Self>, k: &mut Kernel, _: u64) -> CallResult<Flow> {
        match self.leave(k) {
            Some(next) => start_next(k, self.device, next),
            None => Ok(Flow::Return(0)),
        }
    }

    fn boxed_clone(&self) -> Box<dyn crate::Frame> {
        Box::new(self.clone())
    }

    fn unwound(self: Box<Self>, k: &mut Kernel) {
        self.leave(k);
    }
}

#[cfg(test)]
mod tests {
    use guest_memory::GuestAddr;
    use nt_abi::{
        Irql,
        structures::io::{DEVICE_OBJECT, DRIVER_OBJECT, IRP, KDEVICE_QUEUE},
    };

    use crate::{
        GuestCall, Kernel,
        io::test_driver::{device, irp},
        testing::{block, bug_check_code, call_by_name, drive},
    };

    const START_IO: u64 = 0xffff_f802_0000_1000;
    const CANCEL: u64 = 0xffff_f802_0000_2000;

    fn startable() -> (Kernel, u64) {
        let (mut k, device) = device();
        let driver = GuestAddr(k.get(device, DEVICE_OBJECT::DriverObject).unwrap());
        k.set(driver, DRIVER_OBJECT::DriverStartIo, START_IO).unwrap();
        (k, device.0)
    }

    /// Starts a packet; the calls that it caused, with their IRQL.
    fn start(k: &mut Kernel, arguments: &[u64; 4], calls: &mut Vec<(u64, Vec<u64>, Irql)>) {
        let mut guest = |k: &mut Kernel, call: &GuestCall| {
            calls.push((call.target.0, call.arguments.clone(), k.irql()));
            if call.target.0 == CANCEL {
                call_by_name(k, "IoReleaseCancelSpinLock", &[2]).unwrap();
            }
            0
        };
        drive(k, "IoStartPacket", arguments, &mut guest).unwrap();
    }

    fn current(k: &mut Kernel, device: u64) -> u64 {
        k.get(GuestAddr(device), DEVICE_OBJECT::CurrentIrp).unwrap()
    }

    #[test]
    fn an_idle_device_starts_at_dispatch_level_and_a_busy_one_queues() {
        let (mut k, device) = startable();
        let (first, second) = (irp(&mut k, 1), irp(&mut k, 1));
        let mut calls = Vec::new();
        start(&mut k, &[device, first, 0, 0], &mut calls);
        assert_eq!(calls, [(START_IO, vec![device, first], Irql::DISPATCH_LEVEL)]);
        assert_eq!(current(&mut k, device), first);
        start(&mut k, &[device, second, 0, 0], &mut calls);
        assert_eq!((calls.len(), k.irql()), (1, Irql::PASSIVE_LEVEL));
        assert_eq!(current(&mut k, device), first);
        k.set_irql(Irql::DISPATCH_LEVEL);
        let mut started = Vec::new();
        let mut guest = |_: &mut Kernel, call: &GuestCall| {
            started.push(call.arguments.clone());
            0
        };
        drive(&mut k, "IoStartNextPacket", &[device, 0], &mut guest).unwrap();
        drive(&mut k, "IoStartNextPacket", &[device, 0], &mut guest).unwrap();
        assert_eq!(started, [[device, second]]);
        assert_eq!(current(&mut k, device), 0);
        let queue = GuestAddr(device).add(DEVICE_OBJECT::DeviceQueue.offset_bytes);
        assert_eq!(k.get(queue, KDEVICE_QUEUE::Busy), Ok(0));
    }

    #[test]
    fn keys_choose_the_packet() {
        let (mut k, device) = startable();
        let irps: Vec<u64> = (0..4).map(|_| irp(&mut k, 1)).collect();
        let keys = [0u32, 30, 10, 20].map(|key| block(&mut k, &key.to_le_bytes()));
        let mut calls = Vec::new();
        for (&irp, key) in irps.iter().zip(keys) {
            start(&mut k, &[device, irp, key, 0], &mut calls);
        }
        let mut started = Vec::new();
        let mut guest = |_: &mut Kernel, call: &GuestCall| {
            started.push(call.arguments[1]);
            0
        };
        k.set_irql(Irql::DISPATCH_LEVEL);
        for key in [15, 5, 99] {
            drive(&mut k, "IoStartNextPacketByKey", &[device, 0, key], &mut guest).unwrap();
        }
        assert_eq!(started, [irps[3], irps[2], irps[1]]);
    }

    #[test]
    fn start_io_nests_unless_it_is_deferred() {
        for (is_deferred, deepest) in [(0, 3), (1, 1)] {
            let (mut k, device) = startable();
            let attributes = [device, is_deferred, 0];
            call_by_name(&mut k, "IoSetStartIoAttributes", &attributes).unwrap();
            let irps: Vec<u64> = (0..3).map(|_| irp(&mut k, 1)).collect();
            let queue = GuestAddr(device).add(DEVICE_OBJECT::DeviceQueue.offset_bytes);
            k.set(queue, KDEVICE_QUEUE::Busy, 1).unwrap();
            let mut calls = Vec::new();
            for &irp in &irps {
                start(&mut k, &[device, irp, 0, 0], &mut calls);
            }
            assert_eq!(calls, []);
            k.set_irql(Irql::DISPATCH_LEVEL);
            let mut seen = (Vec::new(), 0);
            next_from_start_io(&mut k, device, 0, &mut seen);
            assert_eq!(seen, (irps, deepest), "deferred: {is_deferred}");
        }
    }

    /// Starts the next packet with a StartIo that does the same; packets seen and greatest depth.
    fn next_from_start_io(k: &mut Kernel, device: u64, depth: u32, seen: &mut (Vec<u64>, u32)) {
        let mut guest = |k: &mut Kernel, call: &GuestCall| {
            seen.0.push(call.arguments[1]);
            seen.1 = seen.1.max(depth + 1);
            next_from_start_io(k, device, depth + 1, seen);
            0
        };
        drive(k, "IoStartNextPacket", &[device, 0], &mut guest).unwrap();
    }

    #[test]
    fn a_queued_packet_that_was_cancelled_before_goes_to_its_cancel_routine() {
        let (mut k, device) = startable();
        let (first, second) = (irp(&mut k, 1), irp(&mut k, 1));
        let mut calls = Vec::new();
        start(&mut k, &[device, first, 0, CANCEL], &mut calls);
        assert_eq!(k.get(GuestAddr(first), IRP::CancelRoutine), Ok(CANCEL), "StartIo may clear it");
        k.set(GuestAddr(second), IRP::Cancel, 1).unwrap();
        start(&mut k, &[device, second, 0, CANCEL], &mut calls);
        assert_eq!(calls[1], (CANCEL, vec![device, second], Irql::DISPATCH_LEVEL));
        assert_eq!(k.get(GuestAddr(second), IRP::CancelIrql), Ok(2));
        assert_eq!(k.get(GuestAddr(second), IRP::CancelRoutine), Ok(0));
        assert_eq!(k.irql(), Irql::PASSIVE_LEVEL);
        // The cancel routine finds it in the queue.
        let queue = device + DEVICE_OBJECT::DeviceQueue.offset_bytes;
        let entry = second + IRP::DeviceQueueEntry.offset_bytes;
        assert_eq!(call_by_name(&mut k, "KeRemoveEntryDeviceQueue", &[queue, entry]), Ok(1));
    }

    #[test]
    fn a_packet_completed_in_its_queue_is_bug_check_2a() {
        for is_removed in [false, true] {
            let (mut k, device) = startable();
            let (first, second) = (irp(&mut k, 1), irp(&mut k, 2));
            let mut calls = Vec::new();
            start(&mut k, &[device, first, 0, 0], &mut calls);
            start(&mut k, &[device, second, 0, 0], &mut calls);
            if is_removed {
                let queue = device + DEVICE_OBJECT::DeviceQueue.offset_bytes;
                let entry = second + IRP::DeviceQueueEntry.offset_bytes;
                call_by_name(&mut k, "KeRemoveEntryDeviceQueue", &[queue, entry]).unwrap();
            }
            let code = bug_check_code(call_by_name(&mut k, "IofCompleteRequest", &[second, 0]));
            // A request of the driver's own has nobody above: 0x0A.
            assert_eq!(code, if is_removed { 0x0a } else { 0x2a });
        }
    }

    #[test]
    fn a_started_packet_of_a_non_cancelable_device_has_no_cancel_routine() {
        let (mut k, device) = startable();
        call_by_name(&mut k, "IoSetStartIoAttributes", &[device, 0, 1]).unwrap();
        let (first, second) = (irp(&mut k, 1), irp(&mut k, 1));
        let mut calls = Vec::new();
        start(&mut k, &[device, first, 0, CANCEL], &mut calls);
        start(&mut k, &[device, second, 0, CANCEL], &mut calls);
        assert_eq!(k.get(GuestAddr(first), IRP::CancelRoutine), Ok(0));
        assert_eq!(k.get(GuestAddr(second), IRP::CancelRoutine), Ok(CANCEL), "still queued");
        k.set_irql(Irql::DISPATCH_LEVEL);
        drive(&mut k, "IoStartNextPacket", &[device, 1], &mut |_, _| 0).unwrap();
        assert_eq!(k.get(GuestAddr(second), IRP::CancelRoutine), Ok(0));
        // The cancel lock is free again.
        assert!(call_by_name(&mut k, "IoReleaseCancelSpinLock", &[2]).is_err());
    }
}
