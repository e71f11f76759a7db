//! Spin locks on two processors.

use events::LockMisuse;
use guest_memory::GuestAddr;
use nt_abi::Irql;

use crate::{
    lock_testing::{ask, be, go_on, kernel_with_threads, misuse},
    testing::block,
};

#[test]
fn each_pair_of_routines_restores_the_level() {
    let pairs = [
        ("KeAcquireSpinLockRaiseToDpc", "KeReleaseSpinLock"),
        ("KeAcquireSpinLockForDpc", "KeReleaseSpinLockForDpc"),
    ];
    for (acquire, release) in pairs {
        let (mut k, [_]) = kernel_with_threads();
        let at = block(&mut k, &[0; 8]);
        k.set_irql(Irql::APC_LEVEL);
        assert_eq!(ask(&mut k, acquire, &[at]).value(), 1);
        assert_eq!(k.irql(), Irql::DISPATCH_LEVEL);
        ask(&mut k, release, &[at, 1]).value();
        assert_eq!(k.irql(), Irql::APC_LEVEL);
    }
    let queued = [
        ("KeAcquireInStackQueuedSpinLock", "KeReleaseInStackQueuedSpinLock"),
        ("KeAcquireInStackQueuedSpinLockForDpc", "KeReleaseInStackQueuedSpinLockForDpc"),
    ];
    for (acquire, release) in queued {
        let (mut k, [_]) = kernel_with_threads();
        let (at, handle) = (block(&mut k, &[0; 8]), block(&mut k, &[0xcd; 0x18]));
        ask(&mut k, acquire, &[at, handle]).value();
        assert_eq!(k.irql(), Irql::DISPATCH_LEVEL);
        ask(&mut k, release, &[handle]).value();
        assert_eq!(k.irql(), Irql::PASSIVE_LEVEL);
    }
}

#[test]
fn another_processor_spins_until_the_release() {
    let (mut k, [one, two]) = kernel_with_threads();
    let at = block(&mut k, &[0; 8]);
    ask(&mut k, "KeAcquireSpinLockRaiseToDpc", &[at]).value();
    be(&mut k, 1, two);
    let frames = ask(&mut k, "KeAcquireSpinLockRaiseToDpc", &[at]).spins();
    let frames = go_on(&mut k, frames, 0).spins();
    be(&mut k, 0, one);
    ask(&mut k, "KeReleaseSpinLock", &[at, 0]).value();
    be(&mut k, 1, two);
    assert_eq!(go_on(&mut k, frames, 0).value(), 0);
    assert_eq!(ask(&mut k, "KeTestSpinLock", &[at]).value(), 0);
    be(&mut k, 0, one);
    assert_eq!(ask(&mut k, "KeTryToAcquireSpinLockAtDpcLevel", &[at]).value(), 0);
    // Windows lets it go; what is wrong is reported.
    ask(&mut k, "KeReleaseSpinLockFromDpcLevel", &[at]).value();
    assert_eq!(misuse(&mut k), Some(LockMisuse::HeldByAnother));
    assert_eq!(k.read_scalar::<u64>(GuestAddr(at)), Ok(0));
}

#[test]
fn misuse_is_reported_with_its_bug_check() {
    let acquire = "KeAcquireSpinLockRaiseToDpc";
    let cases = [
        (acquire, 0x0f, LockMisuse::AlreadyHeld),
        ("KeAcquireSpinLockAtDpcLevel", 0x0f, LockMisuse::AlreadyHeld),
        ("ExInterlockedAddUlong", 0x0f, LockMisuse::AlreadyHeld),
    ];
    for (name, code, expected) in cases {
        let (mut k, [_]) = kernel_with_threads();
        let (at, number) = (block(&mut k, &[0; 8]), block(&mut k, &[0; 8]));
        ask(&mut k, acquire, &[at]).value();
        let arguments = if name.starts_with("Ex") { [number, 1, at] } else { [at, 0, 0] };
        assert_eq!(ask(&mut k, name, &arguments).stops(), code, "{name}");
        assert_eq!(misuse(&mut k), Some(expected), "{name}");
    }
    let (mut k, [_]) = kernel_with_threads();
    let (at, handle) = (block(&mut k, &[0; 8]), block(&mut k, &[0; 0x18]));
    assert_eq!(ask(&mut k, "KeReleaseSpinLock", &[at, 0]).stops(), 0x10);
    assert_eq!(misuse(&mut k), Some(LockMisuse::NotHeld));
    ask(&mut k, "KeAcquireInStackQueuedSpinLock", &[at, handle]).value();
    assert_eq!(ask(&mut k, "KeReleaseSpinLock", &[at, 0]).stops(), 0x10);
    assert_eq!(misuse(&mut k), Some(LockMisuse::OtherForm));
    let pool = ask(&mut k, "ExAllocatePoolWithTag", &[0, 8, 0x31]).value();
    ask(&mut k, acquire, &[pool]).stops();
    assert_eq!(misuse(&mut k), Some(LockMisuse::NotInitialized));
}

#[test]
fn an_interlocked_list_waits_for_its_lock() {
    let (mut k, [one, two]) = kernel_with_threads();
    let (at, number) = (block(&mut k, &[0; 8]), block(&mut k, &[7; 8]));
    ask(&mut k, "KeAcquireSpinLockRaiseToDpc", &[at]).value();
    be(&mut k, 1, two);
    let frames = ask(&mut k, "ExInterlockedAddUlong", &[number, 1, at]).spins();
    assert_eq!(k.irql(), Irql::PASSIVE_LEVEL);
    be(&mut k, 0, one);
    ask(&mut k, "KeReleaseSpinLock", &[at, 0]).value();
    be(&mut k, 1, two);
    assert_eq!(go_on(&mut k, frames, 0).value(), 0x0707_0707);
    assert_eq!(k.read_scalar::<u32>(GuestAddr(number)), Ok(0x0707_0708));
}
