//! Tests of the sample `settings`, a table of 32 numbers behind a reader/writer lock.

use bugcheck::{
    Buffer, CheckRequest, Completion, Driver, File, Limits, Machine, NtStatus, Reply, Request,
    assert_clean, assert_finds,
};

/// `CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, METHOD_BUFFERED, FILE_ANY_ACCESS)`; input: index, value.
const SET: u32 = 0x0022_2000;
/// 0x801; input: index; output: value.
const GET: u32 = 0x0022_2004;
/// 0x803; output: the sum of all values, the number of reads.
const SUM: u32 = 0x0022_200c;

/// A driver of the samples; yours comes from wherever your build puts it.
fn driver(name: &str) -> Driver {
    let file = |extension: &str| {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples");
        std::fs::read(format!("{folder}/{name}.{extension}")).expect("the sample is there")
    };
    Driver::from_bytes(&format!("{name}.sys"), file("sys")).with_pdb(file("pdb"))
}

/// A machine with the driver loaded, and a file of its device.
fn open() -> (Machine, File) {
    let mut machine = Machine::load(driver("settings")).expect("the driver loads");
    let file = machine.open(r"\\.\TourSettings").expect("the machine goes on").expect("it opens");
    (machine, file)
}

fn index(index: u32) -> Buffer {
    Buffer::zeros(4).number(0, 4, index.into())
}

fn index_and_value(index: u32, value: u32) -> Buffer {
    Buffer::zeros(8).number(0, 4, index.into()).number(4, 4, value.into())
}

fn completed(reply: Reply) -> Completion {
    match reply {
        Reply::Done(completion) => completion,
        Reply::Pending => panic!("this driver keeps no request"),
    }
}

fn u32_at(completion: &Completion, at: usize) -> u32 {
    let bytes = completion.output.get(at..at + 4).expect("the output is long enough");
    u32::from_le_bytes(bytes.try_into().expect("these are four bytes"))
}

/// What the test did is repeated under the other answers that a kernel may give. The bound keeps a
/// test within seconds.
fn bounded() -> CheckRequest {
    CheckRequest { limits: Limits { runs: 500, ..Limits::default() }, ..CheckRequest::default() }
}

#[test]
fn a_value_is_kept() {
    let (mut machine, file) = open();
    let set =
        machine.ioctl(file, SET, &index_and_value(3, 7), &Buffer::none()).expect("it goes on");
    assert_eq!(set.status(), NtStatus::STATUS_SUCCESS);
    let get = machine.ioctl(file, GET, &index(3), &Buffer::zeros(4)).expect("it goes on");
    assert_eq!(u32_at(&completed(get), 0), 7);
    machine.close(file).expect("it closes");
    machine.unload().expect("it unloads");
    assert_clean(&machine.explore(&bounded()).expect("the request makes sense"));
}

#[test]
fn an_index_outside_of_the_table_is_refused() {
    let (mut machine, file) = open();
    let reply = machine.ioctl(file, GET, &index(32), &Buffer::zeros(4)).expect("it goes on");
    assert_eq!(reply.status(), NtStatus::STATUS_INVALID_PARAMETER);
    let reply = machine.ioctl(file, GET, &Buffer::none(), &Buffer::zeros(4)).expect("it goes on");
    assert!(!reply.status().is_success());
}

#[test]
fn callers_on_several_threads_do_not_disturb_each_other() {
    let (mut machine, first) = open();
    let second = machine.open(r"\\.\TourSettings").expect("it goes on").expect("it opens");
    let replies = machine
        .together(&[
            Request::ioctl(first, SET, &index_and_value(0, 1), &Buffer::none()),
            Request::ioctl(second, SET, &index_and_value(1, 2), &Buffer::none()),
            Request::ioctl(second, SUM, &Buffer::none(), &Buffer::zeros(8)),
        ])
        .expect("all of them return");
    let [one, other, sum] = replies.try_into().expect("three requests have three replies");
    assert!(one.status().is_success() && other.status().is_success());
    assert!(u32_at(&completed(sum), 0) <= 3);
    let sum = machine.ioctl(first, SUM, &Buffer::none(), &Buffer::zeros(8)).expect("it goes on");
    assert_eq!(u32_at(&completed(sum), 0), 3);
    for file in [first, second] {
        machine.close(file).expect("it closes");
    }
    machine.unload().expect("it unloads");
    assert_clean(&machine.explore(&bounded()).expect("the request makes sense"));
}

#[test]
fn a_check_of_everything_is_one_line() {
    assert_clean(&CheckRequest::of(driver("zero")).run().expect("the request makes sense"));
}

#[test]
fn a_flaw_is_named() {
    let mut machine = Machine::load(driver("priority_booster")).expect("it loads");
    let file = machine.open(r"\\.\PriorityBooster").expect("it goes on").expect("it opens");
    let input = Buffer::zeros(8).thread_id(0).number(4, 4, 12);
    let reply = machine.ioctl(file, 0x8000_2003, &input, &Buffer::none()).expect("it goes on");
    assert_eq!(reply.status(), NtStatus::STATUS_SUCCESS);
    machine.close(file).expect("it closes");
    machine.unload().expect("it unloads");
    let report = machine.explore(&bounded()).expect("the request makes sense");
    assert_finds(&report, "user_buffer::unguarded_access");
}
