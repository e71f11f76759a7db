//! Run-down protection as its pages describe it, in both forms.

use events::LockMisuse;

use crate::{
    lock_testing::{ask, go_on, is_open, kernel_with_threads, misuse},
    testing::block,
};

/// The routines of one form: initialise, again, acquire, several at once, release, several at once,
/// wait, complete.
const FORMS: [[&str; 8]; 2] = [
    [
        "ExInitializeRundownProtection",
        "ExReInitializeRundownProtection",
        "ExAcquireRundownProtection",
        "ExAcquireRundownProtectionEx",
        "ExReleaseRundownProtection",
        "ExReleaseRundownProtectionEx",
        "ExWaitForRundownProtectionRelease",
        "ExRundownCompleted",
    ],
    [
        "ExInitializeRundownProtectionCacheAware",
        "ExReInitializeRundownProtectionCacheAware",
        "ExAcquireRundownProtectionCacheAware",
        "ExAcquireRundownProtectionCacheAwareEx",
        "ExReleaseRundownProtectionCacheAware",
        "ExReleaseRundownProtectionCacheAwareEx",
        "ExWaitForRundownProtectionReleaseCacheAware",
        "ExRundownCompletedCacheAware",
    ],
];

#[test]
fn the_owner_waits_until_nobody_has_protection() {
    for [initialize, again, acquire, acquire_several, release, release_several, wait, complete] in
        FORMS
    {
        let (mut k, [_]) = kernel_with_threads();
        let at = block(&mut k, &[0; 0x40]);
        ask(&mut k, initialize, &[at, 0x40]).value();
        assert_eq!(ask(&mut k, acquire, &[at]).value(), 1);
        assert_eq!(ask(&mut k, acquire_several, &[at, 3]).value(), 1);
        let (object, frames) = ask(&mut k, wait, &[at]).waits();
        assert_eq!(ask(&mut k, acquire, &[at]).value(), 0);
        assert_eq!(ask(&mut k, acquire_several, &[at, 1]).value(), 0);
        ask(&mut k, release_several, &[at, 3]).value();
        assert!(!is_open(&mut k, object));
        ask(&mut k, release, &[at]).value();
        assert!(is_open(&mut k, object));
        go_on(&mut k, frames, 0).value();
        ask(&mut k, complete, &[at]).value();
        assert_eq!(ask(&mut k, acquire, &[at]).value(), 0);
        ask(&mut k, again, &[at]).value();
        assert_eq!(ask(&mut k, acquire, &[at]).value(), 1);
        ask(&mut k, release, &[at]).value();
        // Nobody has it: the owner need not wait.
        ask(&mut k, wait, &[at]).value();
        ask(&mut k, release, &[at]).stops();
        assert_eq!(misuse(&mut k), Some(LockMisuse::NotHeld));
    }
}

#[test]
fn a_cache_aware_reference_is_allocated_and_freed() {
    let (mut k, [_]) = kernel_with_threads();
    let tag = 0x7475_4e52;
    let at = ask(&mut k, "ExAllocateCacheAwareRundownProtection", &[0, tag]).value();
    assert_ne!(at, 0);
    assert_eq!(ask(&mut k, "ExAcquireRundownProtectionCacheAware", &[at]).value(), 1);
    ask(&mut k, "ExReleaseRundownProtectionCacheAware", &[at]).value();
    ask(&mut k, "ExFreeCacheAwareRundownProtection", &[at]).value();
    assert!(ask(&mut k, "ExSizeOfRundownProtectionCacheAware", &[]).value() >= 8);
}
