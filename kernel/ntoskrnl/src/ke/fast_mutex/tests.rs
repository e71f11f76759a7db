//! Fast and guarded mutexes as their pages describe them.

use events::{LockMisuse, ThreadId};
use guest_memory::GuestAddr;
use nt_abi::{Irql, structures::ke::FAST_MUTEX};

use crate::{
    Kernel,
    lock_testing::{ask, be, go_on, is_open, kernel_with_threads, misuse},
    testing::block,
};

const FAST: [&str; 2] = ["ExAcquireFastMutex", "ExReleaseFastMutex"];
const FAST_UNSAFE: [&str; 2] = ["ExAcquireFastMutexUnsafe", "ExReleaseFastMutexUnsafe"];
const GUARDED: [&str; 2] = ["KeAcquireGuardedMutex", "KeReleaseGuardedMutex"];
const GUARDED_UNSAFE: [&str; 2] = ["KeAcquireGuardedMutexUnsafe", "KeReleaseGuardedMutexUnsafe"];

fn with_mutex() -> (Kernel, [ThreadId; 2], u64) {
    let (mut k, threads) = kernel_with_threads();
    let at = block(&mut k, &[0xcd; 0x38]);
    // The inline routine for fast mutexes writes the same.
    ask(&mut k, "KeInitializeGuardedMutex", &[at]).value();
    for thread in threads {
        k.ke.thread_mut(thread).critical_regions = 1;
    }
    (k, threads, at)
}

#[test]
fn what_each_form_does_to_irql_and_regions() {
    let apc = Irql::APC_LEVEL;
    let passive = Irql::PASSIVE_LEVEL;
    let cases = [
        (FAST, apc, 0),
        (FAST_UNSAFE, passive, 0),
        (GUARDED, passive, 1),
        (GUARDED_UNSAFE, passive, 0),
    ];
    for ([acquire, release], level, regions) in cases {
        let (mut k, [one, _], at) = with_mutex();
        ask(&mut k, acquire, &[at]).value();
        assert_eq!((k.irql(), k.ke.thread(one).guarded_regions), (level, regions), "{acquire}");
        assert_eq!(k.get(GuestAddr(at), FAST_MUTEX::Count), Ok(0));
        ask(&mut k, release, &[at]).value();
        assert_eq!((k.irql(), k.ke.thread(one).guarded_regions), (passive, 0), "{release}");
        assert_eq!(k.get(GuestAddr(at), FAST_MUTEX::Count), Ok(1));
    }
}

#[test]
fn an_attempt_changes_nothing_unless_it_succeeds() {
    for (name, level, regions) in [
        ("ExTryToAcquireFastMutex", Irql::APC_LEVEL, 0),
        ("KeTryToAcquireGuardedMutex", Irql::PASSIVE_LEVEL, 1),
    ] {
        let (mut k, [one, two], at) = with_mutex();
        assert_eq!(ask(&mut k, name, &[at]).value(), 1);
        assert_eq!((k.irql(), k.ke.thread(one).guarded_regions), (level, regions), "{name}");
        be(&mut k, 1, two);
        assert_eq!(ask(&mut k, name, &[at]).value(), 0);
        assert_eq!(k.irql(), Irql::PASSIVE_LEVEL);
        assert_eq!(k.ke.thread(two).guarded_regions, 0);
    }
}

#[test]
fn another_thread_waits_for_the_release() {
    for [acquire, release] in [FAST, GUARDED] {
        let (mut k, [one, two], at) = with_mutex();
        ask(&mut k, acquire, &[at]).value();
        be(&mut k, 1, two);
        let (object, frames) = ask(&mut k, acquire, &[at]).waits();
        be(&mut k, 0, one);
        assert!(!is_open(&mut k, object));
        ask(&mut k, release, &[at]).value();
        assert!(is_open(&mut k, object));
        be(&mut k, 1, two);
        go_on(&mut k, frames, 0).value();
        let owner = k.ke.thread(two).object.0;
        assert_eq!(k.get(GuestAddr(at), FAST_MUTEX::Owner), Ok(owner));
    }
}

#[test]
fn misuse_is_reported() {
    let cases = [
        (FAST[0], FAST[0], LockMisuse::AlreadyHeld),
        (GUARDED[0], GUARDED_UNSAFE[0], LockMisuse::AlreadyHeld),
        (FAST[0], FAST_UNSAFE[1], LockMisuse::OtherForm),
        (FAST_UNSAFE[0], FAST[1], LockMisuse::OtherForm),
        (GUARDED_UNSAFE[0], GUARDED[1], LockMisuse::OtherForm),
        (GUARDED[0], FAST_UNSAFE[1], LockMisuse::OtherForm),
        ("", GUARDED[1], LockMisuse::NotHeld),
    ];
    for (first, second, expected) in cases {
        let (mut k, _, at) = with_mutex();
        if !first.is_empty() {
            ask(&mut k, first, &[at]).value();
        }
        ask(&mut k, second, &[at]).stops();
        assert_eq!(misuse(&mut k), Some(expected), "{first}, then {second}");
    }
    let (mut k, [_, two], at) = with_mutex();
    ask(&mut k, GUARDED[0], &[at]).value();
    be(&mut k, 1, two);
    assert_eq!(ask(&mut k, GUARDED[1], &[at]).stops(), 0x162);
    assert_eq!(misuse(&mut k), Some(LockMisuse::HeldByAnother));
}

#[test]
fn a_mutex_that_was_never_initialised_is_noticed() {
    let (mut k, [_]) = kernel_with_threads();
    let at = block(&mut k, &[0; 0x38]);
    for name in [FAST[0], "ExTryToAcquireFastMutex", GUARDED[0], "KeTryToAcquireGuardedMutex"] {
        ask(&mut k, name, &[at]).stops();
        assert_eq!(misuse(&mut k), Some(LockMisuse::NotInitialized), "{name}");
    }
}
