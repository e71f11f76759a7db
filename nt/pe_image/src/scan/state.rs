//! What is known about registers and stack slots at one point of the code.
//!
//! A value is an unknown start (a *root*) and what was done to it since: compilers test a control
//! code by a chain of subtractions as often as by comparisons, and rotate it for a jump table.

use std::collections::BTreeMap;

use super::LengthOf;

/// Stack slots that are followed at a time.
const SLOT_LIMIT: usize = 64;

/// Where an unknown value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// Read where an I/O stack location holds the control code.
    ControlCode,
    /// Read where an I/O stack location holds a length.
    Length(LengthOf),
    /// Anything else.
    Other,
}

/// An unknown value: the instruction that made it, and its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Root {
    pub(super) id: u32,
    pub(super) source: Source,
}

/// `rotate_right(root + before, rotation) + after`, in 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Derived {
    pub(super) root: Root,
    before: u32,
    rotation: u32,
    after: u32,
}

impl Derived {
    pub(super) fn unknown(id: u32, source: Source) -> Self {
        Self { root: Root { id, source }, before: 0, rotation: 0, after: 0 }
    }

    pub(super) fn plus(mut self, addend: u32) -> Self {
        if self.rotation == 0 {
            self.before = self.before.wrapping_add(addend);
        } else {
            self.after = self.after.wrapping_add(addend);
        }
        self
    }

    /// Rotates; `None` where the form above cannot express it.
    pub(super) fn rotated_right(mut self, count: u32) -> Option<Self> {
        (self.after == 0).then(|| {
            self.rotation = (self.rotation + count) % 32;
            self
        })
    }

    /// Returns the root for which this value is `value`.
    pub(super) fn root_for(&self, value: u32) -> u32 {
        value.wrapping_sub(self.after).rotate_left(self.rotation).wrapping_sub(self.before)
    }

    /// Says whether nothing was done to the root.
    pub(super) fn is_plain(&self) -> bool {
        (self.before, self.rotation, self.after) == (0, 0, 0)
    }
}

/// What a register holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Value {
    /// A value made from an unknown one.
    Derived(Derived),
    /// A number.
    Constant(u32),
    /// The address of a place in the image.
    Place(u32),
    /// Four times a value: a distance in a table of 32-bit entries.
    Quadruple(Derived),
    /// A byte of a table, chosen by a value: the first step of a jump table in two steps.
    TableByte { table: u32, index: Derived },
    /// An entry of a jump table: an RVA, or a distance from a place.
    TableEntry { table: u32, bytes: Option<u32>, index: Derived },
    /// An entry added to a place: where the jump goes.
    TableTarget { table: u32, bytes: Option<u32>, index: Derived, place: u32 },
}

/// What the flags tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Flags {
    /// A comparison of a value with a number; only one that is ordered tells more than equality.
    Compared { value: Derived, with: u32, is_ordered: bool },
    /// The carry flag is the bit of this mask that the value chooses.
    BitOf { mask: u32, value: Derived },
    /// Nothing that is followed.
    Unknown,
}

/// What is known where a path through the code has come to.
#[derive(Clone, Debug, Hash)]
pub(super) struct State {
    registers: [Value; 16],
    slots: BTreeMap<(usize, i64), Value>,
    pub(super) flags: Flags,
    /// The last upper bound that a branch set: values 0 to the number; and where others go.
    pub(super) bound: Option<(Derived, u32, u32)>,
    /// The comparison that set it, until it is known what the bound is for.
    pub(super) run_rva: Option<u32>,
    /// The function that is being walked.
    pub(super) function_rva: u32,
    /// The control code that leads here.
    pub(super) control_code: Option<u32>,
}

impl State {
    /// Knows nothing but where it is. Roots of registers at entry have ids beyond all RVAs.
    pub(super) fn new(function_rva: u32) -> Self {
        let mut id = u32::MAX - 16;
        let registers = [(); 16].map(|()| {
            id += 1;
            Value::Derived(Derived::unknown(id, Source::Other))
        });
        Self {
            registers,
            slots: BTreeMap::new(),
            flags: Flags::Unknown,
            bound: None,
            run_rva: None,
            function_rva,
            control_code: None,
        }
    }

    /// What a called function knows: the arguments in registers, if they come from a request.
    pub(super) fn for_call(&self, function_rva: u32) -> Self {
        let mut state = Self::new(function_rva);
        state.control_code = self.control_code;
        for number in ARGUMENT_REGISTERS {
            let value = self.register(number);
            if matches!(value, Value::Derived(derived) if derived.root.source != Source::Other) {
                state.set_register(number, value);
            }
        }
        state
    }

    /// Forgets what a call may have changed, and takes what it returns.
    pub(super) fn after_call(&mut self, rva: u32, returned: Source) {
        for number in VOLATILE_REGISTERS {
            self.forget_register(number, rva);
        }
        self.set_register(RAX, Value::Derived(Derived::unknown(rva, returned)));
        self.flags = Flags::Unknown;
    }

    pub(super) fn register(&self, number: usize) -> Value {
        self.registers.get(number).copied().unwrap_or(Value::Constant(0))
    }

    pub(super) fn set_register(&mut self, number: usize, value: Value) {
        if let Some(register) = self.registers.get_mut(number) {
            *register = value;
        }
        // A slot is named by its base register: when that moves, the name is another slot's.
        if self.slots.keys().any(|&(base, _)| base == number) {
            self.slots.retain(|&(base, _), _| base != number);
        }
    }

    /// Makes a register unknown; two registers of one instruction are two unknowns.
    pub(super) fn forget_register(&mut self, number: usize, rva: u32) {
        let id = rva.wrapping_add(u32::try_from(number).unwrap_or(0) << 28);
        self.set_register(number, Value::Derived(Derived::unknown(id, Source::Other)));
    }

    pub(super) fn slot(&self, slot: (usize, i64)) -> Option<Value> {
        self.slots.get(&slot).copied()
    }

    pub(super) fn set_slot(&mut self, slot: (usize, i64), value: Option<Value>) {
        match value {
            Some(value) if self.slots.len() < SLOT_LIMIT => {
                self.slots.insert(slot, value);
            }
            _ => {
                self.slots.remove(&slot);
            }
        }
    }
}

pub(super) const RAX: usize = 0;
// In encoding order: rax rcx rdx rbx rsp rbp rsi rdi r8 to r15.
const ARGUMENT_REGISTERS: [usize; 4] = [1, 2, 8, 9];
const VOLATILE_REGISTERS: [usize; 7] = [0, 1, 2, 8, 9, 10, 11];
