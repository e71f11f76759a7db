//! Executive resources as their pages describe them.

use events::{LockMisuse, ThreadId};
use guest_memory::GuestAddr;

use crate::{
    Kernel,
    lock_testing::{ask, be, go_on, is_open, kernel_with_threads, misuse},
    testing::block,
};

const EXCLUSIVE: &str = "ExAcquireResourceExclusiveLite";
const SHARED: &str = "ExAcquireResourceSharedLite";
const STARVE: &str = "ExAcquireSharedStarveExclusive";
const WAIT_FOR: &str = "ExAcquireSharedWaitForExclusive";
const RELEASE: &str = "ExReleaseResourceLite";

fn with_resource<const N: usize>() -> (Kernel, [ThreadId; N], u64) {
    let (mut k, threads) = kernel_with_threads();
    let at = block(&mut k, &[0xcd; 0x68]);
    assert_eq!(ask(&mut k, "ExInitializeResourceLite", &[at]).value(), 0);
    (k, threads, at)
}

/// Asks without waiting.
fn tries(k: &mut Kernel, name: &str, at: u64) -> bool {
    ask(k, name, &[at, 0]).value() == 1
}

#[test]
fn an_unowned_resource_is_granted_at_once() {
    for name in [EXCLUSIVE, SHARED, STARVE, WAIT_FOR] {
        let (mut k, _, at) = with_resource::<1>();
        assert!(tries(&mut k, name, at), "{name}");
        let is_exclusive = ask(&mut k, "ExIsResourceAcquiredExclusiveLite", &[at]).value() == 1;
        assert_eq!(is_exclusive, name == EXCLUSIVE, "{name}");
        assert_eq!(ask(&mut k, "ExIsResourceAcquiredSharedLite", &[at]).value(), 1, "{name}");
    }
}

#[test]
fn who_gets_it_while_another_thread_owns_it() {
    let cases = [
        (EXCLUSIVE, EXCLUSIVE, false),
        (EXCLUSIVE, SHARED, false),
        (EXCLUSIVE, STARVE, false),
        (EXCLUSIVE, WAIT_FOR, false),
        (SHARED, EXCLUSIVE, false),
        (SHARED, SHARED, true),
        (SHARED, STARVE, true),
        (SHARED, WAIT_FOR, true),
    ];
    for (first, second, is_granted) in cases {
        let (mut k, [one, two], at) = with_resource();
        be(&mut k, 0, one);
        assert!(tries(&mut k, first, at));
        be(&mut k, 0, two);
        assert_eq!(tries(&mut k, second, at), is_granted, "{first}, then {second}");
    }
}

#[test]
fn shared_access_while_somebody_waits_for_exclusive_access() {
    for (name, is_granted) in [(SHARED, false), (STARVE, true), (WAIT_FOR, false)] {
        let (mut k, [one, two, three], at) = with_resource();
        be(&mut k, 0, one);
        assert!(tries(&mut k, SHARED, at));
        be(&mut k, 0, two);
        ask(&mut k, EXCLUSIVE, &[at, 1]).waits();
        assert_eq!(ask(&mut k, "ExGetExclusiveWaiterCount", &[at]).value(), 1);
        be(&mut k, 0, three);
        assert_eq!(tries(&mut k, name, at), is_granted, "{name}");
        // A thread that has it gets it again, but by `ExAcquireSharedWaitForExclusive`.
        be(&mut k, 0, one);
        assert_eq!(tries(&mut k, name, at), name != WAIT_FOR, "{name}");
    }
}

#[test]
fn recursion_counts_and_exclusive_access_stays_exclusive() {
    let (mut k, [one, two], at) = with_resource();
    for name in [EXCLUSIVE, EXCLUSIVE, SHARED] {
        assert!(tries(&mut k, name, at));
    }
    assert_eq!(ask(&mut k, "ExIsResourceAcquiredSharedLite", &[at]).value(), 3);
    assert_eq!(ask(&mut k, "ExIsResourceAcquiredExclusiveLite", &[at]).value(), 1);
    for left in [2, 1, 0] {
        be(&mut k, 0, two);
        assert!(!tries(&mut k, SHARED, at));
        be(&mut k, 0, one);
        ask(&mut k, RELEASE, &[at]).value();
        assert_eq!(ask(&mut k, "ExIsResourceAcquiredSharedLite", &[at]).value(), left);
    }
    be(&mut k, 0, two);
    assert!(tries(&mut k, SHARED, at));
}

#[test]
fn a_release_lets_waiters_go_on() {
    let (mut k, [one, two, three, four], at) = with_resource();
    assert!(tries(&mut k, EXCLUSIVE, at));
    be(&mut k, 0, two);
    let (exclusive, exclusive_frames) = ask(&mut k, EXCLUSIVE, &[at, 1]).waits();
    be(&mut k, 0, three);
    let (shared, shared_frames) = ask(&mut k, SHARED, &[at, 1]).waits();
    be(&mut k, 0, four);
    let (starving, starving_frames) = ask(&mut k, STARVE, &[at, 1]).waits();
    assert_eq!(ask(&mut k, "ExGetSharedWaiterCount", &[at]).value(), 2);
    assert_eq!(ask(&mut k, "ExGetExclusiveWaiterCount", &[at]).value(), 1);
    be(&mut k, 0, one);
    ask(&mut k, RELEASE, &[at]).value();
    let open = [exclusive, shared, starving].map(|object| is_open(&mut k, object));
    assert_eq!(open, [false, true, true], "those who share it are served together");
    be(&mut k, 0, three);
    assert_eq!(go_on(&mut k, shared_frames, 0).value(), 1);
    ask(&mut k, RELEASE, &[at]).value();
    assert!(!is_open(&mut k, exclusive), "one still shares it");
    be(&mut k, 0, four);
    assert_eq!(go_on(&mut k, starving_frames, 0).value(), 1);
    ask(&mut k, RELEASE, &[at]).value();
    assert!(is_open(&mut k, exclusive));
    be(&mut k, 0, two);
    assert_eq!(go_on(&mut k, exclusive_frames, 0).value(), 1);
    assert_eq!(ask(&mut k, "ExIsResourceAcquiredExclusiveLite", &[at]).value(), 1);
}

#[test]
fn conversion_keeps_the_owner_and_lets_sharers_in() {
    let (mut k, [one, two], at) = with_resource();
    assert!(tries(&mut k, EXCLUSIVE, at));
    be(&mut k, 0, two);
    let (shared, frames) = ask(&mut k, SHARED, &[at, 1]).waits();
    be(&mut k, 0, one);
    ask(&mut k, "ExConvertExclusiveToSharedLite", &[at]).value();
    assert!(is_open(&mut k, shared));
    assert_eq!(ask(&mut k, "ExIsResourceAcquiredSharedLite", &[at]).value(), 1);
    assert_eq!(ask(&mut k, "ExIsResourceAcquiredExclusiveLite", &[at]).value(), 0);
    be(&mut k, 0, two);
    assert_eq!(go_on(&mut k, frames, 0).value(), 1);
    let code = ask(&mut k, "ExConvertExclusiveToSharedLite", &[at]).stops();
    assert_eq!((code, misuse(&mut k)), (0xe3, Some(LockMisuse::BadNesting)));
}

#[test]
fn critical_regions_go_with_the_combined_routines() {
    let (mut k, [one], at) = with_resource();
    for name in [
        "ExEnterCriticalRegionAndAcquireResourceExclusive",
        "ExEnterCriticalRegionAndAcquireResourceShared",
        "ExEnterCriticalRegionAndAcquireSharedWaitForExclusive",
    ] {
        ask(&mut k, name, &[at]).value();
        assert_eq!(k.ke.thread(one).critical_regions, 1, "{name}");
        ask(&mut k, "ExReleaseResourceAndLeaveCriticalRegion", &[at]).value();
        assert_eq!(k.ke.thread(one).critical_regions, 0, "{name}");
    }
}

#[test]
fn a_resource_is_released_for_its_owner() {
    let (mut k, [one, two], at) = with_resource();
    let first = k.ke.thread(one).object.0;
    assert!(tries(&mut k, EXCLUSIVE, at));
    be(&mut k, 0, two);
    let code = ask(&mut k, RELEASE, &[at]).stops();
    assert_eq!((code, misuse(&mut k)), (0xe3, Some(LockMisuse::HeldByAnother)));
    ask(&mut k, "ExReleaseResourceForThreadLite", &[at, first]).value();
    let code = ask(&mut k, RELEASE, &[at]).stops();
    assert_eq!((code, misuse(&mut k)), (0xe3, Some(LockMisuse::NotHeld)));
    for (name, flags) in [("ExSetResourceOwnerPointer", 0), ("ExSetResourceOwnerPointerEx", 1)] {
        be(&mut k, 0, one);
        let pointer = block(&mut k, &[0; 16]) | 3;
        assert!(tries(&mut k, EXCLUSIVE, at));
        ask(&mut k, name, &[at, pointer, flags]).value();
        assert_eq!(ask(&mut k, "ExIsResourceAcquiredSharedLite", &[at]).value(), 0);
        assert_eq!(ask(&mut k, RELEASE, &[at]).stops(), 0xe3, "the thread owns it no more");
        be(&mut k, 0, two);
        ask(&mut k, "ExReleaseResourceForThreadLite", &[at, pointer]).value();
        assert!(tries(&mut k, EXCLUSIVE, at));
        ask(&mut k, RELEASE, &[at]).value();
    }
}

#[test]
fn a_thread_cannot_turn_shared_access_into_exclusive_access_by_asking() {
    let (mut k, [_], at) = with_resource();
    assert!(tries(&mut k, SHARED, at));
    assert!(!tries(&mut k, EXCLUSIVE, at));
    ask(&mut k, EXCLUSIVE, &[at, 1]).stops();
    assert_eq!(misuse(&mut k), Some(LockMisuse::AlreadyHeld));
}

#[test]
fn life_and_death() {
    let (mut k, [one, two], at) = with_resource();
    assert!(tries(&mut k, EXCLUSIVE, at));
    assert_eq!(ask(&mut k, "ExReinitializeResourceLite", &[at]).value(), 0);
    be(&mut k, 0, two);
    assert!(tries(&mut k, EXCLUSIVE, at), "it is as good as new");
    ask(&mut k, RELEASE, &[at]).value();
    ask(&mut k, "ExDisableResourceBoostLite", &[at]).value();
    assert_eq!(ask(&mut k, "ExDeleteResourceLite", &[at]).value(), 0);
    be(&mut k, 0, one);
    for name in [EXCLUSIVE, "ExDeleteResourceLite", "ExReinitializeResourceLite", RELEASE] {
        ask(&mut k, name, &[at, 1]).stops();
        assert_eq!(misuse(&mut k), Some(LockMisuse::NotInitialized), "{name}");
    }
}

#[test]
fn pool_with_a_live_resource_in_it_is_noticed() {
    let (mut k, [_]) = kernel_with_threads();
    let pool = ask(&mut k, "ExAllocatePoolWithTag", &[0, 0x100, 0x31]).value();
    ask(&mut k, "ExInitializeResourceLite", &[pool + 0x40]).value();
    ask(&mut k, "ExFreePoolWithTag", &[pool, 0x31]).value();
    assert_eq!(misuse(&mut k), Some(LockMisuse::NotDeleted));
    assert!(k.memory.block(GuestAddr(pool)).is_none());
}
