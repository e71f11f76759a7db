//! Small drivers made at run time: a DriverEntry that carries out a list of steps.

use std::collections::BTreeMap;

use bugcheck::{
    CheckRequest, Driver, FileReport, FriendlyOptions, FriendlyRun, Limits, run_friendly,
};
use pe_image::builder::{CODE, ImageBuilder, VARIABLES};

pub(crate) const NT: &str = "ntoskrnl.exe";

/// A value that a step uses.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value {
    /// This number.
    Number(u64),
    /// What the n-th call or load returned, counted from 0, plus an offset in bytes.
    Result(usize, u32),
    /// The address of a byte in the driver's own data, zero at first.
    Data(u32),
    /// The address of these bytes.
    Bytes(&'static [u8]),
    /// The address of an import.
    Import(&'static str),
    /// The driver object, plus an offset in bytes.
    DriverObject(u32),
    /// The address of a routine that adds 1 to what its first argument points at.
    CountFirst,
    /// The address of a routine that adds 1 to what its second argument points at.
    CountSecond,
    /// The address of a completion routine that adds 1 to what its context points at and keeps the
    /// IRP.
    CountCompletion,
    /// The address of a dispatch routine that completes every request with success.
    Dispatch,
}

/// One step.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Calls an export of an image.
    Call(&'static str, &'static str, Vec<Value>),
    /// Stores 8 bytes: where, what.
    Store(Value, Value),
    /// Loads 8 bytes.
    Load(Value),
    /// Writes the IRQL to CR8, as the inline `KeRaiseIrql` and `KeLowerIrql` do.
    Irql(u8),
    /// Ends with this status; where there is no such step, with success.
    Return(Value),
}

/// Encoding numbers of registers.
const RAX: u8 = 0;
const RCX: u8 = 1;
/// rcx, rdx, r8, r9.
const ARGUMENTS: [u8; 4] = [RCX, 2, 8, 9];
/// Room for the home space and eight arguments on the stack, and rsp aligned.
const FRAME_BYTES: u8 = 0x68;
/// The driver's own data.
const DATA_BYTES: usize = 0x1000;
/// `inc qword` of the first, the second and the third argument; the last one returns
/// `STATUS_MORE_PROCESSING_REQUIRED`.
const COUNTERS: [u8; 32] = [
    0x48, 0xff, 0x01, 0xc3, 0xcc, 0xcc, 0xcc, 0xcc, // inc qword [rcx]; ret
    0x48, 0xff, 0x02, 0xc3, 0xcc, 0xcc, 0xcc, 0xcc, // inc qword [rdx]; ret
    0x49, 0xff, 0x00, 0xb8, 0x16, 0x00, 0x00, 0xc0, // inc qword [r8]; mov eax, C0000016h
    0xc3, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, // ret
];

/// What the dispatch routine calls.
const COMPLETE: &str = "IofCompleteRequest";

/// Code under construction, and where everything else is.
struct Code {
    rva: u32,
    bytes: Vec<u8>,
    imports: BTreeMap<(&'static str, &'static str), u32>,
    driver_rva: u32,
    results_rva: u32,
    data_rva: u32,
    constants: BTreeMap<&'static [u8], u32>,
}

fn small(number: usize) -> u32 {
    u32::try_from(number).expect("the drivers are small")
}

impl Code {
    /// Bytes of an instruction that end in a displacement from `rip`.
    fn relative(&mut self, bytes: &[u8], target_rva: u32) {
        self.bytes.extend(bytes);
        let next = self.rva + small(self.bytes.len()) + 4;
        self.bytes.extend(target_rva.wrapping_sub(next).to_le_bytes());
    }

    /// `mov register, [target]` or `lea register, [target]`.
    fn fetch(&mut self, opcode: u8, register: u8, target_rva: u32) {
        let (low, high) = (register & 7, register >> 3);
        self.relative(&[0x48 | high << 2, opcode, 0x05 | low << 3], target_rva);
    }

    fn add(&mut self, register: u8, offset_bytes: u32) {
        let (low, high) = (register & 7, register >> 3);
        self.bytes.extend([0x48 | high, 0x81, 0xc0 | low]); // add register, offset_bytes
        self.bytes.extend(offset_bytes.to_le_bytes());
    }

    fn load(&mut self, register: u8, value: Value) {
        const MOV: u8 = 0x8b;
        const LEA: u8 = 0x8d;
        let (low, high) = (register & 7, register >> 3);
        match value {
            Value::Number(number) => {
                self.bytes.extend([0x48 | high, 0xb8 | low]); // mov register, number
                self.bytes.extend(number.to_le_bytes());
            }
            Value::Result(index, offset_bytes) => {
                self.fetch(MOV, register, self.results_rva + 8 * small(index));
                self.add(register, offset_bytes);
            }
            Value::Data(offset_bytes) => self.fetch(LEA, register, self.data_rva + offset_bytes),
            Value::Bytes(bytes) => {
                let at = self.constants.get(bytes).copied().expect("they were collected");
                self.fetch(LEA, register, at);
            }
            Value::Import(name) => {
                let slot = self.imports.get(&(NT, name)).copied().expect("it was collected");
                self.fetch(MOV, register, slot);
            }
            Value::DriverObject(offset_bytes) => {
                self.fetch(MOV, register, self.driver_rva);
                self.add(register, offset_bytes);
            }
            Value::CountFirst => self.fetch(LEA, register, self.rva),
            Value::CountSecond => self.fetch(LEA, register, self.rva + 8),
            Value::CountCompletion => self.fetch(LEA, register, self.rva + 16),
            Value::Dispatch => self.fetch(LEA, register, self.rva + small(COUNTERS.len())),
        }
    }

    /// The dispatch routine.
    fn dispatch(&mut self) {
        self.bytes.extend([
            0x48, 0x83, 0xec, 0x28, // sub rsp, 28h
            0xc7, 0x42, 0x30, 0, 0, 0, 0, // mov dword [rdx + Irp.IoStatus.Status], 0
            0x48, 0xc7, 0x42, 0x38, 0, 0, 0,
            0, // mov qword [rdx + Irp.IoStatus.Information], 0
            0x48, 0x89, 0xd1, // mov rcx, rdx
            0x31, 0xd2, // xor edx, edx
        ]);
        let slot = self.imports.get(&(NT, COMPLETE)).copied().expect("it is always imported");
        self.relative(&[0xff, 0x15], slot); // call [slot]
        self.bytes.extend([0x31, 0xc0, 0x48, 0x83, 0xc4, 0x28, 0xc3]); // xor eax, eax; add; ret
    }

    fn call(&mut self, slot_rva: u32, arguments: &[Value]) {
        for (index, argument) in (0_u8..).zip(arguments).skip(ARGUMENTS.len()) {
            self.load(RAX, *argument);
            self.bytes.extend([0x48, 0x89, 0x44, 0x24, index * 8]); // mov [rsp + index * 8], rax
        }
        for (register, argument) in ARGUMENTS.into_iter().zip(arguments) {
            self.load(register, *argument);
        }
        self.relative(&[0xff, 0x15], slot_rva); // call [slot]
    }

    fn keep_result(&mut self, index: usize) {
        self.relative(&[0x48, 0x89, 0x05], self.results_rva + 8 * small(index)); // mov [...], rax
    }

    fn leave(&mut self) {
        self.bytes.extend([0x48, 0x83, 0xc4, FRAME_BYTES]); // add rsp, FRAME_BYTES
        self.bytes.push(0xc3); // ret
    }

    fn steps(&mut self, steps: &[Step]) {
        let mut results = 0;
        for step in steps {
            match step {
                Step::Call(module, name, arguments) => {
                    let slot = self.imports.get(&(*module, *name)).copied();
                    self.call(slot.expect("it was collected"), arguments);
                    self.keep_result(results);
                    results += 1;
                }
                Step::Store(to, value) => {
                    self.load(RAX, *value);
                    self.load(RCX, *to);
                    self.bytes.extend([0x48, 0x89, 0x01]); // mov [rcx], rax
                }
                Step::Load(from) => {
                    self.load(RCX, *from);
                    self.bytes.extend([0x48, 0x8b, 0x01]); // mov rax, [rcx]
                    self.keep_result(results);
                    results += 1;
                }
                Step::Irql(irql) => {
                    self.bytes.extend([0xb8, *irql, 0, 0, 0]); // mov eax, irql
                    self.bytes.extend([0x44, 0x0f, 0x22, 0xc0]); // mov cr8, rax
                }
                Step::Return(status) => {
                    self.load(RAX, *status);
                    self.leave();
                }
            }
        }
    }
}

/// All values of a step.
fn values(step: &Step) -> Vec<Value> {
    match step {
        Step::Call(_, _, arguments) => arguments.clone(),
        Step::Store(to, value) => vec![*to, *value],
        Step::Load(value) | Step::Return(value) => vec![*value],
        Step::Irql(_) => Vec::new(),
    }
}

/// A driver whose DriverEntry carries out these steps.
fn driver(steps: &[Step]) -> Vec<u8> {
    let mut builder = ImageBuilder::new();
    let mut imports = BTreeMap::from([((NT, COMPLETE), 0)]);
    let mut constants: BTreeMap<&'static [u8], u32> = BTreeMap::new();
    for step in steps {
        if let Step::Call(module, name, _) = step {
            imports.insert((*module, *name), 0);
        }
        for value in values(step) {
            match value {
                Value::Import(name) => drop(imports.insert((NT, name), 0)),
                Value::Bytes(bytes) => drop(constants.insert(bytes, 0)),
                _ => {}
            }
        }
    }
    let names: Vec<[&str; 1]> = imports.keys().map(|(_, name)| [*name]).collect();
    let modules: Vec<(&str, &[&str])> =
        imports.keys().zip(&names).map(|((module, _), names)| (*module, &names[..])).collect();
    let slots = builder.imports(&modules);
    imports.values_mut().zip(slots).for_each(|(slot, at)| *slot = at);
    // The driver object, the results, the data, the constants.
    let results_bytes = 8 * steps.len().next_multiple_of(2);
    let variables_rva = builder.next_rva();
    let mut variables = vec![0; 16 + results_bytes + DATA_BYTES];
    for (bytes, at) in &mut constants {
        *at = variables_rva + small(variables.len());
        variables.extend_from_slice(bytes);
        variables.resize(variables.len().next_multiple_of(16), 0);
    }
    builder.section(".data", VARIABLES, &variables);
    let mut code = Code {
        rva: builder.next_rva(),
        bytes: COUNTERS.to_vec(),
        imports,
        driver_rva: variables_rva,
        results_rva: variables_rva + 16,
        data_rva: variables_rva + 16 + small(results_bytes),
        constants,
    };
    code.dispatch();
    let entry_offset = small(code.bytes.len());
    code.bytes.extend([0x48, 0x83, 0xec, FRAME_BYTES]); // sub rsp, FRAME_BYTES
    code.relative(&[0x48, 0x89, 0x0d], variables_rva); // mov [driver], rcx
    code.steps(steps);
    code.bytes.extend([0x31, 0xc0]); // xor eax, eax
    code.leave();
    let text_rva = builder.section(".text", CODE, &code.bytes);
    builder.fields.entry_point_rva = text_rva + entry_offset;
    builder.build()
}

fn as_file(about: &str, steps: &[Step]) -> Driver {
    Driver {
        path: about.to_owned(),
        name: "steps.sys".to_owned(),
        bytes: Ok(driver(steps)),
        pdb: None,
    }
}

/// What a check says about such a driver.
pub(crate) fn check(about: &str, steps: &[Step]) -> FileReport {
    let limits = Limits { runs: 1, events: 20_000 };
    let drivers = vec![as_file(about, steps)];
    let request = CheckRequest { drivers, limits, ..CheckRequest::default() };
    let mut report =
        bugcheck::check(&request, &mut bugcheck::go_on).expect("the request makes sense");
    let file = report.files.pop().expect("one driver");
    assert_eq!(file.error, None, "{about}");
    assert_eq!(file.internal_errors, [], "{about}");
    file
}

/// What such a driver shows when nothing is judged.
pub(crate) fn run(about: &str, steps: &[Step]) -> FriendlyRun {
    let options = FriendlyOptions { limit_events: 1_000_000, ..FriendlyOptions::default() };
    run_friendly(&as_file(about, steps), &options).expect("the image is sound")
}

/// Steps with what their results are to be.
#[derive(Debug, Default)]
pub(crate) struct Program {
    steps: Vec<Step>,
    results: usize,
    expected: Vec<(usize, u64, u64)>,
}

/// How many bytes of a result count.
const BYTE: u64 = 0xff;
const LONG: u64 = 0xffff_ffff;

impl Program {
    /// Calls an export of the kernel; returns the number of the result.
    pub(crate) fn call(&mut self, name: &'static str, arguments: &[Value]) -> usize {
        self.call_of(NT, name, arguments)
    }

    /// Calls an export of another image.
    pub(crate) fn call_of(
        &mut self,
        module: &'static str,
        name: &'static str,
        arguments: &[Value],
    ) -> usize {
        self.step(Step::Call(module, name, arguments.to_vec()));
        self.results += 1;
        self.results - 1
    }

    /// The low 32 bits of a result are to be this.
    pub(crate) fn expect(&mut self, result: usize, expected: u32) {
        self.expected.push((result, LONG, u64::from(expected)));
    }

    /// Calls a routine that returns a BOOLEAN.
    pub(crate) fn is(&mut self, expected: bool, name: &'static str, arguments: &[Value]) {
        let result = self.call(name, arguments);
        self.expected.push((result, BYTE, u64::from(expected)));
    }

    /// Calls a routine that returns 32 bits.
    pub(crate) fn long(&mut self, expected: u32, name: &'static str, arguments: &[Value]) -> usize {
        let result = self.call(name, arguments);
        self.expected.push((result, LONG, u64::from(expected)));
        result
    }

    /// Calls a routine that returns a pointer or 64 bits.
    pub(crate) fn word(&mut self, expected: u64, name: &'static str, arguments: &[Value]) {
        let result = self.call(name, arguments);
        self.expected.push((result, u64::MAX, expected));
    }

    /// Loads 8 bytes; returns the number of the result.
    pub(crate) fn load(&mut self, from: Value) -> usize {
        self.step(Step::Load(from));
        self.results += 1;
        self.results - 1
    }

    /// Loads 8 bytes, which are to be these.
    pub(crate) fn holds(&mut self, from: Value, expected: u64) {
        let result = self.load(from);
        self.expected.push((result, u64::MAX, expected));
    }

    /// Any other step.
    pub(crate) fn step(&mut self, step: Step) {
        self.steps.push(step);
    }

    /// Runs it; returns the results after comparing those that are known.
    pub(crate) fn run(self) -> Vec<u64> {
        let mut steps = self.steps.clone();
        for result in 0..self.results {
            let arguments = vec![Value::Bytes(b"%I64x\n\0"), Value::Result(result, 0)];
            steps.push(Step::Call(NT, "DbgPrint", arguments));
        }
        let shown = run("a program", &steps);
        assert_eq!(shown.stopped, None, "{:#?}", self.steps);
        let results: Vec<u64> = shown
            .debug_output
            .iter()
            .map(|line| u64::from_str_radix(line, 16).expect("a number in each line"))
            .collect();
        assert_eq!(results.len(), self.results, "{shown:?}");
        let calls: Vec<&Step> = self
            .steps
            .iter()
            .filter(|step| matches!(step, Step::Call(..) | Step::Load(_)))
            .collect();
        for (result, mask, expected) in self.expected {
            let found = results.get(result).map(|found| found & mask);
            assert_eq!(found, Some(expected), "{:?}, all: {results:x?}", calls.get(result));
        }
        results
    }
}
