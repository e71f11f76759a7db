//! A machine for tests, tried on the prebuilt samples.

use bugcheck::{
    Buffer, CheckRequest, Driver, Machine, MachineError, NtStatus, Outcome, Reply, Request,
    assert_clean, assert_finds,
};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn sample(name: &str) -> Driver {
    let path = format!("{ROOT}/samples/{name}.sys");
    let bytes = std::fs::read(&path).expect("samples are part of the project");
    let pdb = std::fs::read(format!("{ROOT}/samples/{name}.pdb")).ok();
    Driver { path: format!("{name}.sys"), name: format!("{name}.sys"), bytes: Ok(bytes), pdb }
}

#[test]
fn a_read_of_zero_gives_zeros() {
    let mut machine = Machine::load(sample("zero")).expect("it loads");
    let file = machine.open(r"\\.\Zero").expect("the machine goes on").expect("it opens");
    let buffer = Buffer::bytes(&[0xff; 16]);
    let Ok(Reply::Done(read)) = machine.read(file, &buffer) else { panic!("it is not pending") };
    assert_eq!((read.status, read.information), (NtStatus::STATUS_SUCCESS, 16));
    assert_eq!(read.output, [0; 16]);
    let empty = machine.read(file, &Buffer::zeros(0)).expect("the machine goes on");
    assert_eq!(empty.status(), NtStatus::STATUS_INVALID_BUFFER_SIZE);
    machine.close(file).expect("it closes");
    machine.unload().expect("it unloads");
    let report = machine.explore(&CheckRequest::default()).expect("the request makes sense");
    assert_eq!(report.outcome, Outcome::Clean);
}

#[test]
fn a_device_that_is_not_there_is_a_status() {
    let mut machine = Machine::load(sample("zero")).expect("it loads");
    let refused = machine.open(r"\\.\Nobody").expect("the machine goes on");
    assert_eq!(refused, Err(NtStatus::STATUS_OBJECT_NAME_NOT_FOUND));
}

#[test]
fn what_a_test_does_is_explored() {
    let mut machine = Machine::load(sample("priority_booster")).expect("it loads");
    let file = machine.open(r"\\.\PriorityBooster").expect("it goes on").expect("it opens");
    let data = Buffer::zeros(8).thread_id(0).number(4, 4, 12);
    let reply = machine.ioctl(file, 0x8000_2003, &data, &Buffer::none()).expect("it goes on");
    assert_eq!(reply.status(), NtStatus::STATUS_SUCCESS);
    machine.close(file).expect("it closes");
    machine.unload().expect("it unloads");
    let report = machine.explore(&CheckRequest::default()).expect("the request makes sense");
    assert_eq!(report.outcome, Outcome::Findings);
    let json = report.to_json();
    assert!(json.contains("user_buffer::unguarded_access"), "{json}");
}

#[test]
fn what_is_no_driver_is_said_so() {
    let driver = Driver { bytes: Ok(b"MZ".to_vec()), ..sample("zero") };
    assert!(matches!(Machine::load(driver), Err(MachineError::Input(_))));
}

#[test]
fn callers_make_requests_at_once() {
    let mut machine = Machine::load(sample("zero")).expect("it loads");
    let file = machine.open(r"\\.\Zero").expect("it goes on").expect("it opens");
    let other = machine.open(r"\\.\Zero").expect("it goes on").expect("it opens");
    let requests = [
        Request::read(file, &Buffer::bytes(&[0xff; 8])),
        Request::read(other, &Buffer::zeros(0)),
        Request::write(file, &Buffer::zeros(4)),
        Request::close(other),
    ];
    let replies = machine.together(&requests).expect("all of them return");
    let statuses: Vec<_> = replies.iter().map(Reply::status).collect();
    let (success, refused) = (NtStatus::STATUS_SUCCESS, NtStatus::STATUS_INVALID_BUFFER_SIZE);
    assert_eq!(statuses, [success, refused, success, success]);
    let Some(Reply::Done(read)) = replies.first() else { panic!("it is not pending") };
    assert_eq!((read.information, read.output.as_slice()), (8, [0; 8].as_slice()));
    machine.close(file).expect("it closes");
    machine.unload().expect("it unloads");
    assert_clean(&machine.explore(&CheckRequest::default()).expect("the request makes sense"));
}

#[test]
fn callers_live_at_once() {
    let mut machine = Machine::load(sample("zero")).expect("it loads");
    let path = r"\\.\Zero";
    let files = [(); 3].map(|()| machine.new_file());
    let life = |file| {
        vec![
            Request::open_overlapped(file, path),
            Request::read(file, &Buffer::bytes(&[0xff; 8])),
            Request::sleep_ms(1),
            Request::write(file, &Buffer::zeros(4)),
            Request::cancel(file),
            Request::close(file),
            // Closed is closed.
            Request::read(file, &Buffer::zeros(8)),
        ]
    };
    let replies = machine.callers(&files.map(life)).expect("all of them return");
    assert_eq!(replies.len(), 3);
    for replies in replies {
        let statuses: Vec<_> = replies.iter().map(Reply::status).collect();
        let (success, nothing) = (NtStatus::STATUS_SUCCESS, NtStatus::STATUS_NOT_FOUND);
        let closed = NtStatus::STATUS_INVALID_HANDLE;
        assert_eq!(statuses, [success, success, success, success, nothing, success, closed]);
        let Some(Reply::Done(read)) = replies.get(1) else { panic!("it is not pending") };
        assert_eq!((read.information, read.output.as_slice()), (8, [0; 8].as_slice()));
    }
    // What one of them opened stays open.
    let [file, ..] = files;
    machine.callers(&[vec![Request::open(file, path)]]).expect("it opens");
    let read = machine.read(file, &Buffer::zeros(4)).expect("it goes on");
    assert_eq!(read.status(), NtStatus::STATUS_SUCCESS);
    machine.close(file).expect("it closes");
    machine.unload().expect("it unloads");
    let report = machine.explore(&CheckRequest::default()).expect("the request makes sense");
    assert_clean(&report);
    let many = machine.callers(&vec![Vec::new(); 33]).expect_err("they are too many");
    assert_eq!(many, MachineError::Input("at most 32 callers act at once".to_owned()));
}

#[test]
fn a_report_that_is_not_clean_fails_a_test_with_its_findings() {
    let report = CheckRequest::of(sample("priority_booster")).run().expect("it makes sense");
    assert_finds(&report, "user_buffer::unprobed_pointer");
    let said = panic_of(|| assert_clean(&report));
    assert!(said.contains("violation[user_buffer::unprobed_pointer]"), "{said}");
    assert!(said.contains("bugcheck replay"), "{said}");
    let said = panic_of(|| assert_finds(&report, "pool::double_free"));
    assert!(said.starts_with("no finding of pool::double_free"), "{said}");
}

/// What a failed assertion says.
fn panic_of(work: impl FnOnce() + std::panic::UnwindSafe) -> String {
    let payload = std::panic::catch_unwind(work).expect_err("it fails");
    payload.downcast_ref::<String>().expect("a text").clone()
}
