//! Cancel-safe queues, case by case.

use guest_memory::GuestAddr;
use nt_abi::{
    Irql,
    structures::io::{IO_STACK_LOCATION, IRP},
};

use crate::{
    GuestCall, Kernel,
    io::{irp::location_at, test_driver},
    testing::{block, call_by_name, drive, kernel},
};

/// Where the routines of the test's driver stand, in the order of `IoCsqInitialize`.
const ROUTINES: u64 = 0xffff_f802_0000_1000;
const NAMES: [&str; 6] = ["insert", "remove", "peek", "acquire", "release", "complete"];
const REFUSED: u64 = 0xc000_0001;

/// A driver with one queue, in Rust.
struct Driver {
    csq: u64,
    lock: u64,
    queue: Vec<u64>,
    log: Vec<String>,
    /// What the insert routine returns.
    answer: u64,
    /// Cancels the IRP while it is inserted.
    cancels_at_insert: bool,
}

impl Driver {
    fn new(k: &mut Kernel, initialize: &str) -> Self {
        let (csq, lock) = (block(k, &[0xee; 0x40]), block(k, &[0; 8]));
        let routines: Vec<u64> = (0..6).map(|index| ROUTINES + 0x10 * index).collect();
        let arguments = [&[csq], routines.as_slice()].concat();
        assert_eq!(call_by_name(k, initialize, &arguments), Ok(0));
        let (queue, log) = (Vec::new(), Vec::new());
        Self { csq, lock, queue, log, answer: 0, cancels_at_insert: false }
    }

    fn run(&mut self, k: &mut Kernel, name: &str, arguments: &[u64]) -> u64 {
        let arguments = [&[self.csq], arguments].concat();
        drive(k, name, &arguments, &mut |k, call| self.routine(k, call)).unwrap()
    }

    fn cancel(&mut self, k: &mut Kernel, irp: u64) -> u64 {
        drive(k, "IoCancelIrp", &[irp], &mut |k, call| self.routine(k, call)).unwrap()
    }

    fn routine(&mut self, k: &mut Kernel, call: &GuestCall) -> u64 {
        let index = usize::try_from((call.target.0 - ROUTINES) / 0x10).unwrap();
        assert_eq!(call.arguments[0], self.csq);
        let name = NAMES[index];
        self.log.push(format!("{name}@{}", k.irql().0));
        match name {
            "insert" => {
                let irp = call.arguments[1];
                if self.answer & 1 << 31 == 0 {
                    self.queue.push(irp);
                }
                if let Some(context) = call.arguments.get(2) {
                    self.log.push(format!("context {context}"));
                }
                if self.cancels_at_insert {
                    assert_eq!(call_by_name(k, "IoCancelIrp", &[irp]), Ok(0));
                }
                self.answer
            }
            "remove" => {
                self.queue.retain(|&irp| irp != call.arguments[1]);
                0
            }
            "peek" => {
                let behind = self.queue.iter().position(|&irp| irp == call.arguments[1]);
                let next = behind.map_or(0, |index| index + 1);
                self.queue.get(next).copied().unwrap_or(0)
            }
            "acquire" => {
                let old = call_by_name(k, "KeAcquireSpinLockRaiseToDpc", &[self.lock]).unwrap();
                k.write(GuestAddr(call.arguments[1]), &old.to_le_bytes()[..1]).unwrap();
                0
            }
            "release" => {
                let arguments = [self.lock, call.arguments[1]];
                call_by_name(k, "KeReleaseSpinLock", &arguments).unwrap()
            }
            _ => {
                self.log.push(format!("cancelled {:x}", call.arguments[1]));
                0
            }
        }
    }

    fn take_log(&mut self) -> String {
        std::mem::take(&mut self.log).join(" ")
    }
}

fn csq(initialize: &str) -> (Kernel, Driver) {
    let mut k = kernel();
    let driver = Driver::new(&mut k, initialize);
    (k, driver)
}

/// An IRP that a driver has.
fn irp(k: &mut Kernel) -> u64 {
    let irp = test_driver::irp(k, 1);
    k.set(GuestAddr(irp), IRP::CurrentLocation, 1).unwrap();
    let location = location_at(GuestAddr(irp), 1);
    k.set(GuestAddr(irp), IRP::CurrentStackLocation, location.0).unwrap();
    irp
}

fn is_pending(k: &mut Kernel, irp: u64) -> bool {
    k.get(location_at(GuestAddr(irp), 1), IO_STACK_LOCATION::Control).unwrap() & 1 != 0
}

#[test]
fn insertion_locks_inserts_marks_pending_and_unlocks() {
    let (mut k, mut driver) = csq("IoCsqInitialize");
    let irp = irp(&mut k);
    driver.run(&mut k, "IoCsqInsertIrp", &[irp, 0]);
    assert_eq!(driver.take_log(), "acquire@0 insert@2 release@2");
    assert!(is_pending(&mut k, irp));
    assert_ne!(k.get(GuestAddr(irp), IRP::CancelRoutine), Ok(0));
    assert_eq!(k.irql(), Irql::PASSIVE_LEVEL);
}

#[test]
fn a_cancelled_irp_is_removed_under_the_lock_and_completed_outside() {
    let (mut k, mut driver) = csq("IoCsqInitialize");
    let irp = irp(&mut k);
    driver.run(&mut k, "IoCsqInsertIrp", &[irp, 0]);
    driver.take_log();
    assert_eq!(driver.cancel(&mut k, irp), 1);
    let expected = format!("acquire@0 remove@2 release@2 complete@0 cancelled {irp:x}");
    assert_eq!(driver.take_log(), expected);
    assert_eq!(k.get(GuestAddr(irp), IRP::Cancel), Ok(1));
    assert_eq!(driver.run(&mut k, "IoCsqRemoveNextIrp", &[0]), 0);
}

#[test]
fn an_irp_cancelled_before_is_not_inserted_but_pending() {
    let (mut k, mut driver) = csq("IoCsqInitialize");
    let (irp, context) = (irp(&mut k), block(&mut k, &[0xee; 0x18]));
    assert_eq!(driver.cancel(&mut k, irp), 0);
    driver.run(&mut k, "IoCsqInsertIrp", &[irp, context]);
    let expected = format!("acquire@0 release@2 complete@0 cancelled {irp:x}");
    assert_eq!(driver.take_log(), expected);
    assert!(is_pending(&mut k, irp));
    assert_eq!(driver.run(&mut k, "IoCsqRemoveIrp", &[context]), 0);
}

#[test]
fn an_irp_cancelled_while_it_is_inserted_is_taken_out_again() {
    let (mut k, mut driver) = csq("IoCsqInitialize");
    let irp = irp(&mut k);
    driver.cancels_at_insert = true;
    driver.run(&mut k, "IoCsqInsertIrp", &[irp, 0]);
    let expected = format!("acquire@0 insert@2 remove@2 release@2 complete@0 cancelled {irp:x}");
    assert_eq!(driver.take_log(), expected);
    assert_eq!(driver.queue, []);
}

#[test]
fn removal_by_context_happens_once() {
    let (mut k, mut driver) = csq("IoCsqInitialize");
    let (irp, context) = (irp(&mut k), block(&mut k, &[0xee; 0x18]));
    driver.run(&mut k, "IoCsqInsertIrp", &[irp, context]);
    driver.take_log();
    assert_eq!(driver.run(&mut k, "IoCsqRemoveIrp", &[context]), irp);
    assert_eq!(driver.take_log(), "acquire@0 remove@2 release@2");
    assert_eq!(k.get(GuestAddr(irp), IRP::CancelRoutine), Ok(0));
    assert_eq!(driver.run(&mut k, "IoCsqRemoveIrp", &[context]), 0);
    assert_eq!(driver.take_log(), "acquire@0 release@2");
}

#[test]
fn removal_of_the_next_skips_what_is_being_cancelled() {
    let (mut k, mut driver) = csq("IoCsqInitialize");
    let irps = [irp(&mut k), irp(&mut k), irp(&mut k)];
    for irp in irps {
        driver.run(&mut k, "IoCsqInsertIrp", &[irp, 0]);
    }
    driver.take_log();
    assert_eq!(driver.run(&mut k, "IoCsqRemoveNextIrp", &[7]), irps[0]);
    assert_eq!(driver.take_log(), "acquire@0 peek@2 remove@2 release@2");
    // Another processor is about to run its cancel routine.
    k.set(GuestAddr(irps[1]), IRP::CancelRoutine, 0).unwrap();
    assert_eq!(driver.run(&mut k, "IoCsqRemoveNextIrp", &[7]), irps[2]);
    assert_eq!(driver.take_log(), "acquire@0 peek@2 peek@2 remove@2 release@2");
    assert_eq!(driver.run(&mut k, "IoCsqRemoveNextIrp", &[7]), 0);
}

#[test]
fn the_extended_insert_routine_gets_its_context_and_may_refuse() {
    let (mut k, mut driver) = csq("IoCsqInitializeEx");
    let (first, second) = (irp(&mut k), irp(&mut k));
    assert_eq!(driver.run(&mut k, "IoCsqInsertIrpEx", &[first, 0, 77]), 0);
    assert_eq!(driver.take_log(), "acquire@0 insert@2 context 77 release@2");
    driver.answer = REFUSED;
    let context = block(&mut k, &[0xee; 0x18]);
    assert_eq!(driver.run(&mut k, "IoCsqInsertIrpEx", &[second, context, 78]), REFUSED);
    assert!(!is_pending(&mut k, second), "the caller completes it at once");
    assert_eq!(k.get(GuestAddr(second), IRP::CancelRoutine), Ok(0));
    assert_eq!(driver.queue, [first]);
    // A queue without the extension has no such value.
    let (mut k, mut driver) = csq("IoCsqInitialize");
    let irp = irp(&mut k);
    driver.answer = 0x1234;
    assert_eq!(driver.run(&mut k, "IoCsqInsertIrpEx", &[irp, 0, 77]), 0);
    assert_eq!(driver.take_log(), "acquire@0 insert@2 release@2");
}

#[test]
fn a_driver_may_call_the_cancel_routine_itself() {
    let (mut k, mut driver) = csq("IoCsqInitialize");
    let irp = irp(&mut k);
    driver.run(&mut k, "IoCsqInsertIrp", &[irp, 0]);
    let place = block(&mut k, &[0xee]);
    call_by_name(&mut k, "IoAcquireCancelSpinLock", &[place]).unwrap();
    k.set(GuestAddr(irp), IRP::CancelRoutine, 0).unwrap();
    k.set(GuestAddr(irp), IRP::CancelIrql, 0).unwrap();
    driver.take_log();
    let routine = super::CancelQueuedIrp::EXPORT.name;
    drive(&mut k, routine, &[0, irp], &mut |k, call| driver.routine(k, call)).unwrap();
    assert!(driver.take_log().ends_with(&format!("cancelled {irp:x}")));
    assert_eq!(k.irql(), Irql::PASSIVE_LEVEL);
}
