//! Push locks as their pages describe them.

use events::LockMisuse;
use guest_memory::GuestAddr;

use crate::{
    lock_testing::{ask, be, go_on, is_open, kernel_with_threads, misuse},
    testing::block,
};

const EXCLUSIVE: &str = "ExAcquirePushLockExclusiveEx";
const SHARED: &str = "ExAcquirePushLockSharedEx";
const TRY_EXCLUSIVE: &str = "ExTryAcquirePushLockExclusiveEx";
const TRY_SHARED: &str = "ExTryAcquirePushLockSharedEx";
const RELEASE_EXCLUSIVE: &str = "ExReleasePushLockExclusiveEx";
const RELEASE_SHARED: &str = "ExReleasePushLockSharedEx";

#[test]
fn readers_share_and_writers_wait() {
    let (mut k, [one, two, three]) = kernel_with_threads();
    let at = block(&mut k, &[0; 8]);
    ask(&mut k, "ExInitializePushLock", &[at]).value();
    ask(&mut k, SHARED, &[at, 0]).value();
    ask(&mut k, SHARED, &[at, 0]).value();
    be(&mut k, 0, two);
    assert_eq!(ask(&mut k, TRY_SHARED, &[at, 0]).value(), 1);
    ask(&mut k, RELEASE_SHARED, &[at, 0]).value();
    assert_eq!(ask(&mut k, TRY_EXCLUSIVE, &[at, 0]).value(), 0);
    let (writer, frames) = ask(&mut k, EXCLUSIVE, &[at, 0]).waits();
    be(&mut k, 0, three);
    assert_eq!(ask(&mut k, TRY_SHARED, &[at, 0]).value(), 0, "a writer waits");
    be(&mut k, 0, one);
    ask(&mut k, RELEASE_SHARED, &[at, 0]).value();
    assert!(!is_open(&mut k, writer));
    ask(&mut k, RELEASE_SHARED, &[at, 0]).value();
    assert!(is_open(&mut k, writer));
    be(&mut k, 0, two);
    go_on(&mut k, frames, 0).value();
    ask(&mut k, RELEASE_EXCLUSIVE, &[at, 0]).value();
    assert_eq!(k.read_scalar::<u64>(GuestAddr(at)), Ok(0));
}

#[test]
fn misuse_is_reported() {
    let cases = [
        (EXCLUSIVE, EXCLUSIVE, LockMisuse::AlreadyHeld),
        (EXCLUSIVE, SHARED, LockMisuse::AlreadyHeld),
        (SHARED, EXCLUSIVE, LockMisuse::AlreadyHeld),
        (SHARED, RELEASE_EXCLUSIVE, LockMisuse::OtherForm),
        (EXCLUSIVE, RELEASE_SHARED, LockMisuse::OtherForm),
        (TRY_SHARED, "", LockMisuse::HeldByAnother),
        ("", RELEASE_SHARED, LockMisuse::NotHeld),
    ];
    for (first, second, expected) in cases {
        let (mut k, [_, two]) = kernel_with_threads();
        let at = block(&mut k, &[0; 8]);
        if !first.is_empty() {
            ask(&mut k, first, &[at, 0]).value();
        }
        if second.is_empty() {
            be(&mut k, 0, two);
            ask(&mut k, RELEASE_SHARED, &[at, 0]).stops();
        } else {
            ask(&mut k, second, &[at, 0]).stops();
        }
        assert_eq!(misuse(&mut k), Some(expected), "{first}, then {second}");
    }
}
