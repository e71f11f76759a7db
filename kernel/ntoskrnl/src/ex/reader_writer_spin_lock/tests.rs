//! Reader/writer spin locks as their pages describe them.

use events::{LockMisuse, ThreadId};
use guest_memory::GuestAddr;
use nt_abi::Irql;

use crate::{
    Kernel,
    lock_testing::{ask, be, go_on, kernel_with_threads, misuse},
    testing::block,
};

const EXCLUSIVE: &str = "ExAcquireSpinLockExclusive";
const SHARED: &str = "ExAcquireSpinLockShared";
const RELEASE_EXCLUSIVE: &str = "ExReleaseSpinLockExclusive";
const RELEASE_SHARED: &str = "ExReleaseSpinLockShared";
const CONVERT: &str = "ExTryConvertSharedSpinLockExclusive";

fn with_lock() -> (Kernel, [ThreadId; 2], u64) {
    let (mut k, threads) = kernel_with_threads();
    let at = block(&mut k, &[0; 4]);
    (k, threads, at)
}

#[test]
fn acquisition_raises_and_release_lowers() {
    for (acquire, release) in [(EXCLUSIVE, RELEASE_EXCLUSIVE), (SHARED, RELEASE_SHARED)] {
        for level in [Irql::PASSIVE_LEVEL, Irql::APC_LEVEL, Irql::DISPATCH_LEVEL] {
            let (mut k, _, at) = with_lock();
            k.set_irql(level);
            assert_eq!(ask(&mut k, acquire, &[at]).value(), u64::from(level.0));
            assert_eq!(k.irql(), Irql::DISPATCH_LEVEL);
            assert_ne!(k.read_scalar::<u32>(GuestAddr(at)), Ok(0));
            ask(&mut k, release, &[at, u64::from(level.0)]).value();
            assert_eq!(k.irql(), level);
            assert_eq!(k.read_scalar::<u32>(GuestAddr(at)), Ok(0));
        }
    }
}

#[test]
fn the_forms_at_dpc_level_leave_the_irql() {
    let (mut k, [one, two], at) = with_lock();
    for processor in [0, 1] {
        be(&mut k, processor, [one, two][processor]);
        k.set_irql(Irql::DISPATCH_LEVEL);
        ask(&mut k, "ExAcquireSpinLockSharedAtDpcLevel", &[at]).value();
    }
    for processor in [0, 1] {
        be(&mut k, processor, [one, two][processor]);
        ask(&mut k, "ExReleaseSpinLockSharedFromDpcLevel", &[at]).value();
        assert_eq!(k.irql(), Irql::DISPATCH_LEVEL);
    }
    ask(&mut k, "ExAcquireSpinLockExclusiveAtDpcLevel", &[at]).value();
    be(&mut k, 0, one);
    for name in ["ExTryAcquireSpinLockExclusiveAtDpcLevel", "ExTryAcquireSpinLockSharedAtDpcLevel"]
    {
        assert_eq!(ask(&mut k, name, &[at]).value(), 0);
    }
    be(&mut k, 1, two);
    ask(&mut k, "ExReleaseSpinLockExclusiveFromDpcLevel", &[at]).value();
    assert_eq!(ask(&mut k, "ExTryAcquireSpinLockExclusiveAtDpcLevel", &[at]).value(), 1);
}

#[test]
fn while_a_writer_waits_no_reader_gets_it() {
    let (mut k, [one, two], at) = with_lock();
    ask(&mut k, SHARED, &[at]).value();
    be(&mut k, 1, two);
    let writer = ask(&mut k, EXCLUSIVE, &[at]).spins();
    let writer = go_on(&mut k, writer, 0).spins();
    be(&mut k, 0, one);
    assert_eq!(ask(&mut k, CONVERT, &[at]).value(), 0, "a writer waits");
    ask(&mut k, RELEASE_SHARED, &[at, 0]).value();
    let reader = ask(&mut k, SHARED, &[at]).spins();
    be(&mut k, 1, two);
    go_on(&mut k, writer, 0).value();
    be(&mut k, 0, one);
    let reader = go_on(&mut k, reader, 0).spins();
    be(&mut k, 1, two);
    ask(&mut k, RELEASE_EXCLUSIVE, &[at, 0]).value();
    be(&mut k, 0, one);
    assert_eq!(go_on(&mut k, reader, 0).value(), 0);
}

#[test]
fn the_only_reader_becomes_a_writer() {
    let (mut k, [one, two], at) = with_lock();
    ask(&mut k, SHARED, &[at]).value();
    be(&mut k, 1, two);
    ask(&mut k, SHARED, &[at]).value();
    assert_eq!(ask(&mut k, CONVERT, &[at]).value(), 0, "another reader has it");
    ask(&mut k, RELEASE_SHARED, &[at, 0]).value();
    be(&mut k, 0, one);
    assert_eq!(ask(&mut k, CONVERT, &[at]).value(), 1);
    ask(&mut k, RELEASE_EXCLUSIVE, &[at, 0]).value();
    assert_eq!(k.read_scalar::<u32>(GuestAddr(at)), Ok(0));
}

#[test]
fn misuse_is_reported_with_its_bug_check() {
    let cases = [
        (SHARED, SHARED, 0x0f, LockMisuse::AlreadyHeld),
        (SHARED, EXCLUSIVE, 0x0f, LockMisuse::AlreadyHeld),
        (EXCLUSIVE, SHARED, 0x0f, LockMisuse::AlreadyHeld),
        (SHARED, RELEASE_EXCLUSIVE, 0x10, LockMisuse::OtherForm),
        (EXCLUSIVE, RELEASE_SHARED, 0x10, LockMisuse::OtherForm),
        (EXCLUSIVE, CONVERT, 0x10, LockMisuse::OtherForm),
        ("", CONVERT, 0x10, LockMisuse::NotHeld),
        ("", RELEASE_SHARED, 0x10, LockMisuse::NotHeld),
    ];
    for (first, second, code, expected) in cases {
        let (mut k, _, at) = with_lock();
        if !first.is_empty() {
            ask(&mut k, first, &[at]).value();
        }
        assert_eq!(ask(&mut k, second, &[at, 0]).stops(), code, "{first}, then {second}");
        assert_eq!(misuse(&mut k), Some(expected), "{first}, then {second}");
    }
}
