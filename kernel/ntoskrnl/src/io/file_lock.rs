//! The lock of a synchronous file object: one request at a time.
//!
//! Source: `wdm/ns-wdm-_file_object` (`FO_SYNCHRONOUS_IO`, `Busy`, `Waiters`, `Lock`), "Synchronous
//! and Asynchronous I/O". Opens, cleanups and closes do not take it: a cleanup request may find
//! requests outstanding ("IRP_MJ_CLEANUP"), and the thread that waits for them may be gone.

use guest_memory::GuestAddr;
use nt_abi::{NtStatus, constants::io::FO_SYNCHRONOUS_IO, structures::io::FILE_OBJECT};

use crate::{CallResult, Flow, Frame, Kernel, Wait, frame, ob};

/// Threads that were told to wait no longer and did not run yet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct GivenUp {
    threads: u32,
    status: NtStatus,
}

fn event_of(file: GuestAddr) -> GuestAddr {
    file.add(FILE_OBJECT::Lock.offset_bytes)
}

/// Does something to a file while no other synchronous request is under way. The value is that of
/// `body`, or the status of a wait that was given up.
pub(crate) fn with_lock(
    k: &mut Kernel,
    file: GuestAddr,
    body: impl Frame + 'static,
) -> CallResult<Flow> {
    if k.get(file, FILE_OBJECT::Flags)? & FO_SYNCHRONOUS_IO == 0 {
        return Box::new(body).resume(k, 0);
    }
    // The file must outlive the lock, also where the handle is closed meanwhile.
    ob::reference(k, file);
    if k.get(file, FILE_OBJECT::Busy)? == 0 {
        k.set(file, FILE_OBJECT::Busy, 1)?;
        return Locked { file, body: Box::new(body) }.run(k);
    }
    let waiters = k.get(file, FILE_OBJECT::Waiters)?;
    k.set(file, FILE_OBJECT::Waiters, waiters.wrapping_add(1))?;
    let objects = vec![event_of(file)];
    let wait = Wait { objects, is_all: false, due_100ns: None, is_alertable: false };
    Ok(Flow::wait(wait, Locked { file, body: Box::new(body) }))
}

/// The lock is the thread's, unless it was told to give up.
#[derive(Clone, Debug)]
struct Locked {
    file: GuestAddr,
    body: Box<dyn Frame>,
}

frame!(Locked, |this, k, _| {
    let given_up = k.io.files.get_mut(&this.file).map(|file| &mut file.given_up);
    if let Some(given_up) = given_up.filter(|given_up| given_up.threads > 0) {
        given_up.threads -= 1;
        let status = given_up.status;
        return ob::dereference(k, this.file)?.then(k, ob::Answer(status));
    }
    this.run(k)
});

impl Locked {
    fn run(self, k: &mut Kernel) -> CallResult<Flow> {
        k.order_acquire(event_of(self.file));
        self.body.resume(k, 0)?.then(k, Unlock { file: self.file })
    }
}

/// The request is over; the next thread gets the lock.
#[derive(Clone, Debug)]
struct Unlock {
    file: GuestAddr,
}

frame!(Unlock, |this, k, value| {
    let file = this.file;
    k.order_release(event_of(file));
    match k.get(file, FILE_OBJECT::Waiters)? {
        0 => k.set(file, FILE_OBJECT::Busy, 0)?,
        waiters => {
            k.set(file, FILE_OBJECT::Waiters, waiters - 1)?;
            k.signal(event_of(file), 1)?;
        }
    }
    let value = value.to_le_bytes();
    let [a, b, c, d, ..] = value;
    ob::dereference(k, file)?.then(k, ob::Answer(NtStatus(u32::from_le_bytes([a, b, c, d]))))
});

/// Ends the waits for the lock: the callers cancel what they asked for, or the handle is closed.
pub(crate) fn give_up(k: &mut Kernel, file: GuestAddr, status: NtStatus) -> CallResult<()> {
    let waiters = k.get(file, FILE_OBJECT::Waiters)?;
    k.set(file, FILE_OBJECT::Waiters, 0)?;
    let Some(entry) = k.io.files.get_mut(&file) else { return Ok(()) };
    entry.given_up = GivenUp { threads: entry.given_up.threads.saturating_add(waiters), status };
    // Each signal ends the wait of one thread.
    for _ in 0..waiters {
        k.signal(event_of(file), 1)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use guest_memory::GuestAddr;
    use nt_abi::{NtStatus, constants::io::FO_SYNCHRONOUS_IO, structures::io::FILE_OBJECT};

    use super::{give_up, with_lock};
    use crate::{
        Flow, Kernel, Wait, frame,
        io::{file, test_driver},
        ke::DispatcherType,
        ob::Name,
        testing::{Progress, Waiting, block, carry_on, wait_again},
    };

    /// A request that waits for an event and has a value.
    #[derive(Clone, Debug)]
    struct Request {
        event: GuestAddr,
        value: u64,
    }

    frame!(Request, |this, _, _| {
        let objects = vec![this.event];
        let wait = Wait { objects, is_all: false, due_100ns: None, is_alertable: false };
        Ok(Flow::wait(wait, Finished { value: this.value }))
    });

    #[derive(Clone, Debug)]
    struct Finished {
        value: u64,
    }

    frame!(Finished, |this, _, _| Ok(Flow::Return(this.value)));

    fn synchronous_file(synchrony: file::Synchrony) -> (Kernel, GuestAddr) {
        let (mut k, device) = test_driver::device();
        let file = file::create(&mut k, device, Name::default(), None, synchrony).unwrap();
        (k, file)
    }

    fn request(k: &mut Kernel, file: GuestAddr, value: u64) -> (GuestAddr, Waiting) {
        let event = GuestAddr(block(k, &[0; 0x18]));
        k.init_dispatcher(event, DispatcherType::SynchronizationEvent, 0x18, 0).unwrap();
        let flow = with_lock(k, file, Request { event, value });
        match carry_on(k, flow, &mut |_, _| 0).unwrap() {
            Progress::Waits(waiting) => (event, waiting),
            Progress::Done(value) => panic!("{value}"),
        }
    }

    fn again(k: &mut Kernel, waiting: Waiting) -> Progress {
        wait_again(k, waiting, &mut |_, _| 0).unwrap()
    }

    #[test]
    fn a_second_request_waits_for_the_first_and_gets_the_lock_from_it() {
        let is_alertable = false;
        let (mut k, file) = synchronous_file(file::Synchrony::Synchronous { is_alertable });
        assert_ne!(k.get(file, FILE_OBJECT::Flags).unwrap() & FO_SYNCHRONOUS_IO, 0);
        let (first_event, first) = request(&mut k, file, 11);
        let (second_event, second) = request(&mut k, file, 22);
        assert_eq!(k.get(file, FILE_OBJECT::Busy), Ok(1));
        assert_eq!(k.get(file, FILE_OBJECT::Waiters), Ok(1));
        assert_ne!(second.wait.objects, [second_event], "it waits for the lock");
        k.signal(first_event, 1).unwrap();
        assert!(matches!(again(&mut k, first), Progress::Done(11)));
        assert_eq!(k.get(file, FILE_OBJECT::Waiters), Ok(0));
        let Progress::Waits(second) = again(&mut k, second) else { panic!("it is not over") };
        assert_eq!(second.wait.objects, [second_event]);
        k.signal(second_event, 1).unwrap();
        assert!(matches!(again(&mut k, second), Progress::Done(22)));
        assert_eq!(k.get(file, FILE_OBJECT::Busy), Ok(0));
    }

    #[test]
    fn overlapped_requests_do_not_wait_for_each_other() {
        let (mut k, file) = synchronous_file(file::Synchrony::Overlapped);
        let (first, waits_first) = request(&mut k, file, 1);
        let (second, waits_second) = request(&mut k, file, 2);
        assert_eq!(
            (waits_first.wait.objects, waits_second.wait.objects),
            (vec![first], vec![second])
        );
    }

    #[test]
    fn a_wait_for_the_lock_can_be_given_up() {
        let is_alertable = false;
        let (mut k, file) = synchronous_file(file::Synchrony::Synchronous { is_alertable });
        let (first_event, first) = request(&mut k, file, 11);
        let (_, second) = request(&mut k, file, 22);
        give_up(&mut k, file, NtStatus::STATUS_CANCELLED).unwrap();
        let status = u64::from(NtStatus::STATUS_CANCELLED.0);
        assert!(matches!(again(&mut k, second), Progress::Done(value) if value == status));
        k.signal(first_event, 1).unwrap();
        assert!(matches!(again(&mut k, first), Progress::Done(11)));
        assert_eq!(k.get(file, FILE_OBJECT::Busy), Ok(0));
    }
}
