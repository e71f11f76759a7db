//! What the tour drivers answer: the mechanism behind each request shows itself.
//!
//! Each test then is explored, with one, two and four processors, and breaks no rule.

use bugcheck::{Budget, Buffer, CheckRequest, Driver, File, Machine, NtStatus, Outcome, Reply};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// `STATUS_DEVICE_BUSY`.
const DEVICE_BUSY: NtStatus = NtStatus(0x8000_0011);

/// A loaded driver with its device opened.
struct Session {
    machine: Machine,
    file: File,
}

impl Session {
    fn new(name: &str, link: &str) -> Self {
        let bytes = std::fs::read(format!("{ROOT}/samples/{name}.sys"));
        let bytes = Ok(bytes.expect("samples are part of the project"));
        let name = format!("{name}.sys");
        let driver = Driver { path: name.clone(), name, bytes, pdb: None };
        let mut machine = Machine::load(driver).expect("it loads");
        let file = machine.open(&format!(r"\\.\{link}")).expect("it goes on").expect("it opens");
        Self { machine, file }
    }

    /// A control code by its function number, with numbers in and room for numbers out.
    fn control<const OUT: usize>(
        &mut self,
        function: u32,
        input: &[u32],
    ) -> Result<[u32; OUT], NtStatus> {
        let bytes: Vec<u8> = input.iter().flat_map(|number| number.to_le_bytes()).collect();
        let output = Buffer::zeros(u32::try_from(4 * OUT).expect("short"));
        let code = 0x0022_2000 + 4 * function;
        let reply = self.machine.ioctl(self.file, code, &Buffer::bytes(&bytes), &output);
        let Ok(Reply::Done(done)) = reply else { panic!("{function}: no answer but {reply:?}") };
        if done.status != NtStatus::STATUS_SUCCESS {
            return Err(done.status);
        }
        let mut numbers = [0; OUT];
        for (number, bytes) in numbers.iter_mut().zip(done.output.chunks_exact(4)) {
            *number = u32::from_le_bytes(bytes.try_into().expect("four bytes"));
        }
        Ok(numbers)
    }

    fn sleep_ms(&mut self, time_ms: u32) {
        self.machine.sleep_ms(time_ms).expect("time passes");
    }
}

fn tour(name: &str, link: &str, test: fn(&mut Session)) {
    let mut session = Session::new(name, link);
    test(&mut session);
    let Session { mut machine, file } = session;
    machine.close(file).expect("it closes");
    machine.unload().expect("it unloads");
    for processors in [1, 2, 4] {
        for seed in 0..10 {
            let request =
                CheckRequest { processors, seed, budget: Budget::QUICK, ..CheckRequest::default() };
            let report = machine.explore(&request).expect("the request makes sense");
            assert_eq!(report.outcome, Outcome::Clean, "{}", report.to_json());
        }
    }
}

/// Calls of the DPCs, and how often the timer had been set at the last one.
fn history(session: &mut Session) -> (u32, u32) {
    let [calls, sets, ..] = session.control::<8>(4, &[]).expect("the history");
    (calls, sets)
}

#[test]
fn a_timer_expires_once_and_its_dpc_runs() {
    tour("timer", "TourTimer", |session| {
        assert_eq!(session.control::<0>(0, &[50]), Ok([]));
        assert_eq!(history(session), (0, 0));
        session.sleep_ms(100);
        assert_eq!(history(session), (1, 1));
        session.sleep_ms(1_000);
        assert_eq!(history(session), (1, 1));
    });
}

#[test]
fn a_cancelled_timer_does_not_expire() {
    tour("timer", "TourTimer", |session| {
        assert_eq!(session.control::<0>(0, &[50]), Ok([]));
        assert_eq!(session.control(2, &[]), Ok([1]));
        assert_eq!(session.control(2, &[]), Ok([0]));
        session.sleep_ms(100);
        assert_eq!(history(session), (0, 0));
    });
}

#[test]
fn a_periodic_timer_expires_until_it_is_cancelled() {
    tour("timer", "TourTimer", |session| {
        assert_eq!(session.control::<0>(1, &[0]), Err(NtStatus::STATUS_INVALID_PARAMETER));
        assert_eq!(session.control::<0>(1, &[10]), Ok([]));
        session.sleep_ms(105);
        let (expiries, _) = history(session);
        assert!((9..=11).contains(&expiries), "{expiries} expiries of 10 ms in 105 ms");
        assert_eq!(session.control(2, &[]), Ok([1]));
        let (before, _) = history(session);
        session.sleep_ms(100);
        assert_eq!(history(session).0, before);
    });
}

#[test]
fn a_thread_waits_for_a_timer() {
    tour("timer", "TourTimer", |session| {
        assert_eq!(session.control::<0>(0, &[50]), Ok([]));
        assert_eq!(session.control(3, &[10]), Ok([0]));
        assert_eq!(session.control(3, &[1_000]), Ok([1]));
        assert_eq!(history(session), (1, 1));
    });
}

#[test]
fn a_dpc_runs_each_time_it_is_queued() {
    tour("timer", "TourTimer", |session| {
        for calls in 1..=3 {
            assert_eq!(session.control(5, &[]), Ok([1]));
            session.sleep_ms(1);
            assert_eq!(history(session), (calls, 0));
        }
    });
}

#[test]
fn a_set_timer_does_not_outlive_its_driver() {
    // The end of the session unloads the driver with the timer set.
    tour("timer", "TourTimer", |session| {
        assert_eq!(session.control::<0>(1, &[1]), Ok([]));
    });
}

#[test]
fn tables_behind_locks() {
    tour("locks", "TourLocks", |session| {
        assert_eq!(session.control::<0>(0, &[3, 33]), Ok([]));
        assert_eq!(session.control::<0>(0, &[16, 1]), Err(NtStatus::STATUS_INVALID_PARAMETER));
        assert_eq!(session.control(1, &[3]), Ok([33]));
        assert_eq!(session.control::<1>(3, &[]), Err(NtStatus::STATUS_NOT_FOUND));
        for value in [7, 8] {
            assert_eq!(session.control::<0>(2, &[value]), Ok([]));
        }
        assert_eq!(session.control(3, &[]), Ok([7]));
        assert_eq!(session.control(3, &[]), Ok([8]));
        assert_eq!(session.control(6, &[]), Ok([1, 1, 2, 2, 0, 0]));
    });
}

#[test]
fn a_semaphore_has_as_many_permits_as_places() {
    tour("locks", "TourLocks", |session| {
        for place in 0..4 {
            assert_eq!(session.control(4, &[]), Ok([place]));
        }
        assert_eq!(session.control::<1>(4, &[]), Err(DEVICE_BUSY));
        assert_eq!(session.control::<0>(5, &[2]), Ok([]));
        assert_eq!(session.control::<0>(5, &[2]), Err(NtStatus::STATUS_NOT_FOUND));
        assert_eq!(session.control(4, &[]), Ok([2]));
        assert_eq!(session.control(6, &[]), Ok([0, 0, 0, 0, 5, 1]));
    });
}

#[test]
fn settings_behind_a_resource() {
    tour("settings", "TourSettings", |session| {
        assert_eq!(session.control::<0>(0, &[3, 30]), Ok([]));
        assert_eq!(session.control::<0>(0, &[32, 1]), Err(NtStatus::STATUS_INVALID_PARAMETER));
        assert_eq!(session.control(1, &[3]), Ok([30]));
        assert_eq!(session.control::<0>(2, &[3, 4]), Ok([]));
        assert_eq!(session.control(1, &[3]), Ok([0]));
        assert_eq!(session.control(1, &[4]), Ok([30]));
        // The sum, and the reads so far, this one included.
        assert_eq!(session.control(3, &[]), Ok([30, 4]));
    });
}

#[test]
fn threads_do_what_requests_and_work_items_submit() {
    tour("workers", "TourWorkers", |session| {
        assert_eq!(session.control::<0>(0, &[10]), Ok([]));
        session.sleep_ms(50);
        let [submitted, done, sum, ticks] = session.control(2, &[]).expect("the results");
        assert_eq!([submitted, done, sum], [1, 1, 55]);
        assert!(ticks > 0, "the timer ticks");
        // The work item submits 1, 1 + 2, 1 + 2 + 3.
        assert_eq!(session.control::<0>(1, &[3]), Ok([]));
        session.sleep_ms(50);
        let [submitted, done, sum, _] = session.control(2, &[]).expect("the results");
        assert_eq!([submitted, done, sum], [4, 4, 55 + 1 + 3 + 6]);
    });
}

#[test]
fn unload_waits_for_a_work_item() {
    // The end of the session unloads the driver with the work item queued.
    tour("workers", "TourWorkers", |session| {
        assert_eq!(session.control::<0>(1, &[8]), Ok([]));
    });
}
