//! Walks through the code along its branches and watches what is compared.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use iced_x86::{
    ConditionCode, Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory,
    MemorySize, Mnemonic, OpAccess, OpKind, Register,
};

use super::{
    Found, LengthOf, Scan,
    jump_table::JumpTable,
    looks_like_control_code,
    state::{Derived, Flags, RAX, Source, State, Value},
};
use crate::{ExportTarget, Image, bytes::slice_at};

/// Instructions looked at; an image of a megabyte takes some 300,000.
const STEP_LIMIT: u32 = 4_000_000;
/// Paths that wait to be walked.
const PENDING_LIMIT: usize = 20_000;
/// How often one place is walked with different knowledge.
const VISIT_LIMIT: usize = 3;
/// Longest run of control codes that is taken for cases without a table.
const RUN_LIMIT: u32 = 8;

// Offsets in `IO_STACK_LOCATION`:
// <https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_io_stack_location>.
const OUTPUT_BUFFER_LENGTH: u64 = 0x08;
const INPUT_BUFFER_LENGTH: u64 = 0x10;
const IO_CONTROL_CODE: u64 = 0x18;

/// Walks all code that can be found, twice: the second time it is known which functions return a
/// field of the request, as accessors do that were not inlined.
pub(super) fn walk(image: &Image) -> Scan {
    let accessors = walk_once(image, BTreeMap::new()).accessors;
    let walk = walk_once(image, accessors);
    walk.found.into_scan(walk.is_complete)
}

fn walk_once(image: &Image, accessors: BTreeMap<u32, Source>) -> Walk<'_> {
    let mut walk = Walk {
        image,
        accessors,
        found: Found::default(),
        pending: Vec::new(),
        visits: BTreeMap::new(),
        steps_left: STEP_LIMIT,
        is_complete: true,
        facts: InstructionInfoFactory::new(),
    };
    // The last one is walked first.
    for function in image.functions().entries().iter().rev() {
        walk.start(function.begin_rva, State::new(function.begin_rva));
    }
    for export in image.exports() {
        if let ExportTarget::Rva(rva) = export.target {
            walk.start(rva, State::new(rva));
        }
    }
    if let Some(rva) = image.entry_point_rva() {
        walk.start(rva, State::new(rva));
    }
    while let Some((rva, state)) = walk.pending.pop() {
        walk.block(rva, state);
    }
    walk
}

struct Walk<'a> {
    image: &'a Image,
    /// Functions that return a field of a request, by their start.
    accessors: BTreeMap<u32, Source>,
    found: Found,
    pending: Vec<(u32, State)>,
    /// Hashes of what was known at each start.
    visits: BTreeMap<u32, Vec<u64>>,
    steps_left: u32,
    is_complete: bool,
    facts: InstructionInfoFactory,
}

impl Walk<'_> {
    /// Notes a place to walk from, unless that was done with the same knowledge.
    fn start(&mut self, rva: u32, state: State) {
        if !self.image.mapped().page_perms(rva).execute {
            return;
        }
        let mut hasher = DefaultHasher::new();
        state.hash(&mut hasher);
        let hash = hasher.finish();
        let visits = self.visits.entry(rva).or_default();
        if visits.contains(&hash) || visits.len() >= VISIT_LIMIT {
            return;
        }
        if self.pending.len() >= PENDING_LIMIT {
            self.is_complete = false;
            return;
        }
        visits.push(hash);
        self.pending.push((rva, state));
    }

    /// Walks until the code branches or ends.
    fn block(&mut self, rva: u32, mut state: State) {
        let bytes = &self.image.mapped().bytes;
        let rest = u32::try_from(bytes.len()).unwrap_or(u32::MAX).saturating_sub(rva);
        let code = slice_at(bytes, rva, rest).unwrap_or_default();
        let mut decoder = Decoder::with_ip(64, code, u64::from(rva), DecoderOptions::NONE);
        let mut instruction = Instruction::default();
        while decoder.can_decode() {
            let Some(left) = self.steps_left.checked_sub(1) else {
                self.is_complete = false;
                return;
            };
            self.steps_left = left;
            decoder.decode_out(&mut instruction);
            if instruction.is_invalid() || !self.step(&instruction, &mut state) {
                return;
            }
        }
    }

    /// Follows one instruction; false where the path ends or goes on elsewhere.
    fn step(&mut self, instruction: &Instruction, state: &mut State) -> bool {
        let flow = instruction.flow_control();
        let is_refined = match flow {
            FlowControl::IndirectBranch => true,
            FlowControl::ConditionalBranch => matches!(state.flags, Flags::BitOf { .. }),
            _ => false,
        };
        if is_refined {
            state.run_rva = None;
        } else if flow != FlowControl::Next {
            self.finish_run(state);
        }
        match flow {
            FlowControl::Next => {
                self.data_step(instruction, state);
                true
            }
            FlowControl::Call => {
                let target = branch_target(instruction);
                if let Some(target) = target {
                    self.start(target, state.for_call(target));
                }
                let returned = target.and_then(|target| self.accessors.get(&target));
                state.after_call(rva_of(instruction), returned.copied().unwrap_or(Source::Other));
                true
            }
            FlowControl::IndirectCall => {
                state.after_call(rva_of(instruction), Source::Other);
                true
            }
            FlowControl::ConditionalBranch => {
                self.conditional(instruction, state);
                false
            }
            FlowControl::UnconditionalBranch => {
                if let Some(target) = branch_target(instruction) {
                    self.start(target, state.clone());
                }
                false
            }
            FlowControl::IndirectBranch => {
                self.indirect(instruction, state);
                false
            }
            // Only `__fastfail` does not return.
            FlowControl::Interrupt => {
                instruction.mnemonic() != Mnemonic::Int || instruction.immediate8() != 0x29
            }
            FlowControl::Return => {
                if let Value::Derived(value) = state.register(RAX)
                    && value.is_plain()
                    && value.root.source != Source::Other
                {
                    self.accessors.entry(state.function_rva).or_insert(value.root.source);
                }
                false
            }
            FlowControl::Exception | FlowControl::XbeginXabortXend => false,
        }
    }

    fn conditional(&mut self, instruction: &Instruction, state: &State) {
        let Some(target) = branch_target(instruction) else { return };
        let next = u32::try_from(instruction.next_ip()).unwrap_or(u32::MAX);
        let rva = rva_of(instruction);
        let mut taken = state.clone();
        let mut fallen = state.clone();
        let condition = instruction.condition_code();
        match state.flags {
            Flags::Compared { value, with, .. }
                if matches!(condition, ConditionCode::e | ConditionCode::ne) =>
            {
                let equal = if condition == ConditionCode::e { &mut taken } else { &mut fallen };
                if let Some(code) = self.note_code(value, with, rva) {
                    equal.control_code = Some(code);
                }
            }
            Flags::Compared { value, with, is_ordered: true } => {
                let (last, edge, other) = match condition {
                    ConditionCode::a => (Some(with), &mut fallen, target),
                    ConditionCode::be => (Some(with), &mut taken, next),
                    ConditionCode::ae => (with.checked_sub(1), &mut fallen, target),
                    ConditionCode::b => (with.checked_sub(1), &mut taken, next),
                    _ => (None, &mut taken, next),
                };
                if let Some(last) = last {
                    edge.bound = Some((value, last, other));
                    edge.run_rva = Some(rva);
                }
            }
            Flags::BitOf { mask, value } => {
                for bit in (0..32).filter(|bit| mask >> bit & 1 != 0) {
                    self.note_code(value, bit, rva);
                }
            }
            _ => {}
        }
        self.start(next, fallen);
        self.start(target, taken);
    }

    fn indirect(&mut self, instruction: &Instruction, state: &State) {
        let Some(number) = wide_register(instruction.op0_register()) else { return };
        let Value::TableTarget { table, bytes, index, place } = state.register(number) else {
            return;
        };
        let Some((_, last, other_rva)) = state.bound.filter(|bound| bound.0 == index) else {
            return;
        };
        let jump = JumpTable { table, bytes, place, index, last, other_rva };
        for (root, target) in jump.cases(&self.image.mapped().bytes) {
            let mut case = state.clone();
            if self.accept_code(index, root, rva_of(instruction)) {
                case.control_code = Some(root);
            }
            self.start(target, case);
        }
    }

    /// Cases in a row with one body become one comparison with their bounds. So do the bounds of
    /// tables and masks; these say themselves which of the values are cases.
    fn finish_run(&mut self, state: &mut State) {
        let Some(rva) = state.run_rva.take() else { return };
        let Some((value, last, _)) = state.bound else { return };
        if last <= RUN_LIMIT && value.root.source == Source::ControlCode {
            for position in 0..=last {
                self.note_code(value, position, rva);
            }
        }
    }

    /// Notes the root value for which `value` equals `with`, if that can be a control code.
    fn note_code(&mut self, value: Derived, with: u32, rva: u32) -> Option<u32> {
        let code = value.root_for(with);
        self.accept_code(value, code, rva).then_some(code)
    }

    fn accept_code(&mut self, value: Derived, code: u32, rva: u32) -> bool {
        let is_code = match value.root.source {
            // Whatever the driver takes for one; below this the device type would be 0.
            Source::ControlCode => code > 0xFFFF,
            Source::Length(_) => false,
            Source::Other => looks_like_control_code(code),
        };
        if is_code {
            self.found.code(code, rva, value.root.source == Source::ControlCode);
        }
        is_code
    }

    fn note_length(&mut self, value: Derived, with: u32, rva: u32, state: &State) {
        let of = match value.root.source {
            Source::ControlCode => return,
            Source::Length(of) => of,
            Source::Other => LengthOf::Other,
        };
        // Both ends of a range become one comparison, `length - 33 < -32`: the value is the number
        // at one end and wraps at the other.
        let ends = match (value.is_plain(), of) {
            (true, _) => [with, with],
            (false, LengthOf::Other) => return,
            (false, _) => [value.root_for(with), value.root_for(0)],
        };
        for length in ends {
            if (1..=0x1_0000).contains(&length) {
                self.found.length(length, rva, of, state.control_code);
            }
        }
    }

    /// Follows an instruction that does not branch.
    fn data_step(&mut self, instruction: &Instruction, state: &mut State) {
        let rva = rva_of(instruction);
        let (left, right) = (operand(instruction, 0, state), operand(instruction, 1, state));
        match instruction.mnemonic() {
            Mnemonic::Cmp => self.compare(left, right, rva, state),
            Mnemonic::Test => {
                let is_same = instruction.op0_register() == instruction.op1_register();
                state.flags = match left {
                    Value::Derived(value)
                        if is_same && instruction.op1_kind() == OpKind::Register =>
                    {
                        Flags::Compared { value, with: 0, is_ordered: true }
                    }
                    _ => Flags::Unknown,
                };
            }
            Mnemonic::Bt => {
                state.flags = match (left, right) {
                    (Value::Constant(mask), Value::Derived(value)) => Flags::BitOf { mask, value },
                    _ => Flags::Unknown,
                };
            }
            Mnemonic::Sete | Mnemonic::Setne | Mnemonic::Cmove | Mnemonic::Cmovne => {
                if let Flags::Compared { value, with, .. } = state.flags {
                    self.note_code(value, with, rva);
                }
                self.clobber(instruction, state);
            }
            _ => match result(instruction, left, right, state) {
                Some((value, flags)) => {
                    if instruction.rflags_modified() != 0 {
                        state.flags = flags;
                    }
                    write(instruction, value, state);
                }
                None => self.clobber(instruction, state),
            },
        }
        if instruction.mnemonic() == Mnemonic::Lea && instruction.is_ip_rel_memory_operand() {
            // Callbacks are registered by address; those without a frame are in no table.
            if let Ok(target) = u32::try_from(instruction.ip_rel_memory_address()) {
                self.start(target, State::new(target));
            }
        }
    }

    fn compare(&mut self, left: Value, right: Value, rva: u32, state: &mut State) {
        let (value, with, is_ordered) = match (left, right) {
            (Value::Derived(value), Value::Constant(with)) => (value, with, true),
            (Value::Constant(with), Value::Derived(value)) => (value, with, false),
            _ => {
                state.flags = Flags::Unknown;
                return;
            }
        };
        self.note_length(value, with, rva, state);
        state.flags = Flags::Compared { value, with, is_ordered };
    }

    /// Forgets what an instruction writes that is not followed.
    fn clobber(&mut self, instruction: &Instruction, state: &mut State) {
        let is_write = |access| {
            matches!(
                access,
                OpAccess::Write
                    | OpAccess::CondWrite
                    | OpAccess::ReadWrite
                    | OpAccess::ReadCondWrite
            )
        };
        for used in self.facts.info(instruction).used_registers() {
            let register = used.register().full_register();
            if is_write(used.access()) && register.is_gpr64() {
                state.forget_register(register.number(), rva_of(instruction));
            }
        }
        if instruction.op0_kind() == OpKind::Memory
            && let Some(slot) = stack_slot(instruction)
        {
            state.set_slot(slot, None);
        }
        if instruction.rflags_modified() != 0 {
            state.flags = Flags::Unknown;
        }
    }
}

/// Returns what the instruction puts into its first operand, and what the flags tell then.
fn result(
    instruction: &Instruction,
    left: Value,
    right: Value,
    state: &State,
) -> Option<(Value, Flags)> {
    let zero_test = |value: Derived| Flags::Compared { value, with: 0, is_ordered: false };
    let added = |addend: u32| match left {
        Value::Derived(value) => {
            let sum = value.plus(addend);
            Some((Value::Derived(sum), zero_test(sum)))
        }
        Value::Place(place) => Some((Value::Place(place.wrapping_add(addend)), Flags::Unknown)),
        Value::Constant(number) => {
            Some((Value::Constant(number.wrapping_add(addend)), Flags::Unknown))
        }
        _ => None,
    };
    let rotated = |count: u32| match left {
        Value::Derived(value) => {
            Some((Value::Derived(value.rotated_right(count % 32)?), Flags::Unknown))
        }
        _ => None,
    };
    match (instruction.mnemonic(), left, right) {
        (Mnemonic::Mov | Mnemonic::Movsxd, ..) => {
            is_wide(instruction).then_some((right, Flags::Unknown))
        }
        (Mnemonic::Movzx, ..) => {
            matches!(right, Value::TableByte { .. }).then_some((right, Flags::Unknown))
        }
        (Mnemonic::Cdqe, ..) => Some((state.register(0), Flags::Unknown)),
        (Mnemonic::Lea, ..) => lea(instruction, state).map(|value| (value, Flags::Unknown)),
        (Mnemonic::Sub, Value::Derived(value), Value::Constant(with)) => {
            let flags = Flags::Compared { value, with, is_ordered: true };
            Some((Value::Derived(value.plus(with.wrapping_neg())), flags))
        }
        (Mnemonic::Xor, ..) if is_same_register(instruction) => {
            Some((Value::Constant(0), Flags::Unknown))
        }
        (Mnemonic::Add, Value::TableEntry { table, bytes, index }, Value::Place(place))
        | (Mnemonic::Add, Value::Place(place), Value::TableEntry { table, bytes, index }) => {
            Some((Value::TableTarget { table, bytes, index, place }, Flags::Unknown))
        }
        (Mnemonic::Add, _, Value::Constant(addend)) => added(addend),
        // A number waits in a register for the code to be added from memory.
        (Mnemonic::Add, Value::Constant(addend), Value::Derived(value)) => {
            let sum = value.plus(addend);
            Some((Value::Derived(sum), zero_test(sum)))
        }
        (Mnemonic::Inc, ..) => added(1),
        (Mnemonic::Dec, ..) => added(u32::MAX),
        (Mnemonic::Ror | Mnemonic::Shr, _, Value::Constant(count)) => rotated(count),
        (Mnemonic::Shl, Value::Derived(value), Value::Constant(2)) => {
            Some((Value::Quadruple(value), Flags::Unknown))
        }
        (Mnemonic::Rol, _, Value::Constant(count)) => rotated(32 - count % 32),
        _ => None,
    }
}

/// Stores a followed value where the first operand says.
fn write(instruction: &Instruction, value: Value, state: &mut State) {
    if instruction.mnemonic() == Mnemonic::Cdqe {
        return;
    }
    if instruction.op0_kind() == OpKind::Memory {
        if let Some(slot) = stack_slot(instruction) {
            state.set_slot(slot, Some(value));
        }
    } else if let Some(number) = wide_register(instruction.op0_register()) {
        state.set_register(number, value);
    }
}

fn lea(instruction: &Instruction, state: &State) -> Option<Value> {
    if instruction.is_ip_rel_memory_operand() {
        return u32::try_from(instruction.ip_rel_memory_address()).ok().map(Value::Place);
    }
    let displacement = low_half(instruction.memory_displacement64());
    if let Some(index) = wide_register(instruction.memory_index()) {
        let is_scaled = instruction.memory_base() == Register::None
            && instruction.memory_index_scale() == 4
            && displacement == 0;
        return match state.register(index) {
            Value::Derived(value) if is_scaled => Some(Value::Quadruple(value)),
            _ => None,
        };
    }
    match state.register(wide_register(instruction.memory_base())?) {
        Value::Derived(value) if !is_stack(instruction.memory_base()) => {
            Some(Value::Derived(value.plus(displacement)))
        }
        Value::Place(place) => Some(Value::Place(place.wrapping_add(displacement))),
        _ => None,
    }
}

/// Returns what an operand holds; something new where that is not known.
fn operand(instruction: &Instruction, number: u32, state: &State) -> Value {
    let unknown = |source| Value::Derived(Derived::unknown(rva_of(instruction), source));
    if number >= instruction.op_count() {
        return unknown(Source::Other);
    }
    match instruction.op_kind(number) {
        OpKind::Register => match wide_register(instruction.op_register(number)) {
            Some(register) => state.register(register),
            None => unknown(Source::Other),
        },
        OpKind::Memory => memory(instruction, state).unwrap_or_else(|| unknown(Source::Other)),
        OpKind::Immediate64 => match u32::try_from(instruction.immediate64()) {
            Ok(number) => Value::Constant(number),
            Err(_) => unknown(Source::Other),
        },
        OpKind::Immediate8
        | OpKind::Immediate16
        | OpKind::Immediate32
        | OpKind::Immediate8to32
        | OpKind::Immediate8to64
        | OpKind::Immediate32to64 => Value::Constant(low_half(instruction.immediate(number))),
        _ => unknown(Source::Other),
    }
}

fn memory(instruction: &Instruction, state: &State) -> Option<Value> {
    let displacement = instruction.memory_displacement64();
    if let Some(slot) = stack_slot(instruction) {
        return state.slot(slot);
    }
    if instruction.memory_index() != Register::None {
        return table_read(instruction, state);
    }
    let is_field = !is_stack(instruction.memory_base())
        && instruction.memory_base().is_gpr64()
        && matches!(instruction.memory_size(), MemorySize::UInt32 | MemorySize::Int32);
    let source = match displacement {
        _ if !is_field => Source::Other,
        IO_CONTROL_CODE => Source::ControlCode,
        INPUT_BUFFER_LENGTH => Source::Length(LengthOf::Input),
        OUTPUT_BUFFER_LENGTH => Source::Length(LengthOf::Output),
        _ => Source::Other,
    };
    Some(Value::Derived(Derived::unknown(rva_of(instruction), source)))
}

/// Recognises the reads of jump tables: bytes, and 32-bit entries.
fn table_read(instruction: &Instruction, state: &State) -> Option<Value> {
    let base = state.register(wide_register(instruction.memory_base())?);
    let index = state.register(wide_register(instruction.memory_index())?);
    let displacement = low_half(instruction.memory_displacement64());
    let (place, index) = match (base, index) {
        (Value::Place(place), index) => (place, index),
        // Without a scale the two may stand in either order.
        (index, Value::Place(place)) if instruction.memory_index_scale() == 1 => (place, index),
        _ => return None,
    };
    let table = place.wrapping_add(displacement);
    let is_double = matches!(instruction.memory_size(), MemorySize::UInt32 | MemorySize::Int32);
    let is_entry = is_double && instruction.memory_index_scale() == 4;
    let is_byte = instruction.memory_size() == MemorySize::UInt8;
    match index {
        Value::Quadruple(index) if is_double && instruction.memory_index_scale() == 1 => {
            Some(Value::TableEntry { table, bytes: None, index })
        }
        Value::Derived(index) if is_entry => Some(Value::TableEntry { table, bytes: None, index }),
        Value::TableByte { table: bytes, index } if is_entry => {
            Some(Value::TableEntry { table, bytes: Some(bytes), index })
        }
        Value::Derived(index) if is_byte => Some(Value::TableByte { table, index }),
        _ => None,
    }
}

/// Returns base register and displacement of an operand on the stack.
fn stack_slot(instruction: &Instruction) -> Option<(usize, i64)> {
    let base = instruction.memory_base();
    let is_slot = is_stack(base) && instruction.memory_index() == Register::None;
    is_slot.then(|| (base.number(), instruction.memory_displacement64().cast_signed()))
}

fn is_stack(base: Register) -> bool {
    matches!(base, Register::RSP | Register::RBP)
}

/// Says whether a move copies at least 32 bits.
fn is_wide(instruction: &Instruction) -> bool {
    let registers = [instruction.op0_register(), instruction.op1_register()];
    let is_narrow =
        |register: &Register| *register != Register::None && wide_register(*register).is_none();
    let size_bytes = instruction.memory_size().size();
    !registers.iter().any(is_narrow) && matches!(size_bytes, 0 | 4 | 8)
}

fn is_same_register(instruction: &Instruction) -> bool {
    instruction.op1_kind() == OpKind::Register
        && instruction.op0_register() == instruction.op1_register()
}

/// Returns the number of a 32 or 64-bit general register.
fn wide_register(register: Register) -> Option<usize> {
    (register.is_gpr32() || register.is_gpr64()).then(|| register.full_register().number())
}

fn branch_target(instruction: &Instruction) -> Option<u32> {
    let is_near = instruction.op0_kind() == OpKind::NearBranch64;
    is_near.then(|| u32::try_from(instruction.near_branch_target()).ok()).flatten()
}

fn rva_of(instruction: &Instruction) -> u32 {
    u32::try_from(instruction.ip()).unwrap_or(u32::MAX)
}

fn low_half(value: u64) -> u32 {
    let [low0, low1, low2, low3, ..] = value.to_le_bytes();
    u32::from_le_bytes([low0, low1, low2, low3])
}
