//! A device that interrupts, as a test declares it, and the tour driver that serves it.

use std::ops::ControlFlow;

use bugcheck::{
    Budget, Buffer, CheckRequest, Driver, File, InterruptLine, Irql, LineKind, Machine, Outcome,
    Progress, Reply, Scenario, run_scenario,
};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const VECTOR: u32 = 0x51;
const ASK: u32 = 0x0022_2000;
const COUNTERS: u32 = 0x0022_2004;

fn driver() -> Driver {
    let bytes = std::fs::read(format!("{ROOT}/samples/interrupt.sys"));
    let bytes = Ok(bytes.expect("samples are part of the project"));
    let name = "interrupt.sys".to_owned();
    Driver { path: name.clone(), name, bytes, pdb: None }
}

/// A machine with the device, and its file.
fn machine() -> (Machine, File) {
    let line = InterruptLine {
        vector: VECTOR,
        irql: Irql(5),
        kind: LineKind::Line,
        raised_by_port: None,
        latency_100ns: 0,
    };
    let mut machine = Machine::load_with(driver(), &[line]).expect("it loads");
    let file = machine.open(r"\\.\TourInterrupt").expect("it goes on").expect("it opens");
    (machine, file)
}

fn ask(machine: &mut Machine, file: File, count: u32) {
    let input = Buffer::zeros(4).number(0, 4, count.into());
    let reply = machine.ioctl(file, ASK, &input, &Buffer::none()).expect("it goes on");
    assert!(reply.status().is_success());
}

/// Interrupts still to come, served, of other devices, and calls of the DPC.
fn counters(machine: &mut Machine, file: File) -> [u32; 4] {
    let reply = machine.ioctl(file, COUNTERS, &Buffer::none(), &Buffer::zeros(16));
    let Ok(Reply::Done(done)) = reply else { panic!("no answer but {reply:?}") };
    let mut numbers = [0; 4];
    for (number, bytes) in numbers.iter_mut().zip(done.output.chunks_exact(4)) {
        *number = u32::from_le_bytes(bytes.try_into().expect("four bytes"));
    }
    numbers
}

/// Ends the test: what it did breaks no rule, however it goes.
fn end((mut machine, file): (Machine, File)) {
    machine.close(file).expect("it closes");
    machine.unload().expect("it unloads");
    for processors in [1, 2, 4] {
        for seed in 0..4 {
            let request =
                CheckRequest { processors, seed, budget: Budget::QUICK, ..CheckRequest::default() };
            let report = machine.explore(&request).expect("the request makes sense");
            assert_eq!(report.outcome, Outcome::Clean, "{}", report.to_json());
        }
    }
}

#[test]
fn an_interrupt_is_served_and_its_dpc_runs() {
    let (mut machine, file) = machine();
    // Nobody asked the device: it was another one.
    assert_eq!(machine.interrupt(VECTOR), Ok(false));
    assert_eq!(counters(&mut machine, file), [0, 0, 1, 0]);
    ask(&mut machine, file, 2);
    assert_eq!(machine.interrupt(VECTOR), Ok(true));
    assert_eq!(counters(&mut machine, file), [1, 1, 1, 1]);
    assert_eq!(machine.interrupt(VECTOR), Ok(true));
    assert_eq!(machine.interrupt(VECTOR), Ok(false));
    assert_eq!(counters(&mut machine, file), [0, 2, 2, 2]);
    // Nothing is connected to any other vector.
    assert_eq!(machine.interrupt(VECTOR + 1), Ok(false));
    assert_eq!(counters(&mut machine, file), [0, 2, 2, 2]);
    end((machine, file));
}

#[test]
fn an_interrupt_comes_amid_the_requests() {
    let (mut machine, file) = machine();
    ask(&mut machine, file, 3);
    for time_us in [1, 3, 2_000] {
        machine.interrupt_after_us(VECTOR, time_us).expect("it goes on");
    }
    let [asked, served, ..] = counters(&mut machine, file);
    assert_eq!(asked + served, 3);
    assert!(asked >= 1, "the last one is a long time off");
    machine.sleep_ms(5).expect("time passes");
    let [asked, served, foreign, calls] = counters(&mut machine, file);
    assert_eq!([asked, served, foreign], [0, 3, 0]);
    assert!((1..=3).contains(&calls));
    end((machine, file));
}

#[test]
fn an_interrupt_that_is_on_its_way_at_unload_finds_nobody() {
    let (mut machine, file) = machine();
    ask(&mut machine, file, 1);
    machine.interrupt_after_us(VECTOR, 50_000).expect("it goes on");
    end((machine, file));
}

#[test]
fn a_scenario_raises_interrupts() {
    let text = r#"
        let file = open("\\\\.\\TourInterrupt");
        expect(!interrupt(0x51), "nobody asked for it");
        ioctl(file, 0x222000, zeros(4).u32(0, 2), none());
        expect(interrupt(0x51), "it was asked for");
        interrupt_after_us(0x51, 100);
        sleep_ms(1);
        let answer = ioctl(file, 0x222004, none(), zeros(16));
        expect(answer.u32(4) == 2, "both were served");
        close(file);
        unload();
    "#;
    let scenario = Scenario { path: "interrupt.rhai".to_owned(), text: text.to_owned() };
    let mut go_on = |_: &Progress<'_>| ControlFlow::Continue(());
    let result = run_scenario(driver(), &scenario, &CheckRequest::default(), &mut go_on);
    let result = result.expect("it runs");
    assert_eq!(result.report.outcome, Outcome::Clean, "{}", result.report.to_json());
}
