//! Mutexes as their pages describe them.

use events::{Event, LockMisuse};
use guest_memory::GuestAddr;
use nt_abi::NtStatus;

use crate::{
    lock_testing::{ask, be, kernel_with_threads, misuse},
    testing::{block, take_events},
};

const WAIT: &str = "KeWaitForSingleObject";
const RELEASE: &str = "KeReleaseMutex";

#[test]
fn a_mutex_is_recursive_and_disables_apcs_while_it_is_owned() {
    let (mut k, [one]) = kernel_with_threads();
    let at = block(&mut k, &[0; 0x38]);
    ask(&mut k, "KeInitializeMutex", &[at, 0]).value();
    assert_eq!(ask(&mut k, "KeReadStateMutex", &[at]).value(), 1);
    let thread = k.ke.thread(one).object;
    for _ in 0..2 {
        k.acquire(GuestAddr(at), thread).unwrap();
    }
    assert_eq!(k.ke.thread(one).critical_regions, 1);
    assert_eq!(ask(&mut k, RELEASE, &[at, 0]).value(), u64::MAX);
    assert_eq!(ask(&mut k, RELEASE, &[at, 0]).value(), 0);
    assert_eq!(k.ke.thread(one).critical_regions, 0);
}

#[test]
fn only_the_owner_releases() {
    let (mut k, [one, two]) = kernel_with_threads();
    let at = block(&mut k, &[0; 0x38]);
    ask(&mut k, "KeInitializeMutex", &[at, 0]).value();
    let not_owned = NtStatus::STATUS_MUTANT_NOT_OWNED.0;
    assert_eq!(ask(&mut k, RELEASE, &[at, 0]).stops(), not_owned);
    assert_eq!(misuse(&mut k), Some(LockMisuse::NotHeld));
    let thread = k.ke.thread(one).object;
    k.acquire(GuestAddr(at), thread).unwrap();
    be(&mut k, 1, two);
    assert_eq!(ask(&mut k, RELEASE, &[at, 0]).stops(), not_owned);
    assert_eq!(misuse(&mut k), Some(LockMisuse::HeldByAnother));
}

#[test]
fn waits_report_mutexes_and_only_those() {
    let (mut k, [_]) = kernel_with_threads();
    let (mutex, event) = (block(&mut k, &[0; 0x38]), block(&mut k, &[0; 0x18]));
    ask(&mut k, "KeInitializeMutex", &[mutex, 0]).value();
    ask(&mut k, "KeInitializeEvent", &[event, 0, 1]).value();
    take_events(&mut k);
    let requests = |k: &mut crate::Kernel| {
        let heard = take_events(k);
        heard.iter().filter(|event| matches!(event, Event::LockRequest(_))).count()
    };
    ask(&mut k, WAIT, &[event, 0, 0, 0, 0]).waits();
    assert_eq!(requests(&mut k), 0);
    let (object, _) = ask(&mut k, WAIT, &[mutex, 0, 0, 0, 0]).waits();
    assert_eq!((object, requests(&mut k)), (GuestAddr(mutex), 1));
}
