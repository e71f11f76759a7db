//! The careful loop: one instruction at a time, with labels beside all values.
//!
//! The values are always the concrete ones: each instruction runs by its ordinary handler. Before
//! it runs, its rule says which labels its outputs will have; after it completed, they are entered.
//! A label may stop the run where it decides an address or a branch. The loop is generic over the
//! label; undefined bits are the first.

/// Rows of a table: a rule, and the mnemonics that have it.
macro_rules! rules {
    ($($rule:expr => $($mnemonic:ident)*;)*) => {
        &[$($((Mnemonic::$mnemonic, $rule as Rule<L>),)*)*]
    };
}

mod general;
mod label;
mod look;
mod rules;
mod strings;
mod undefined;
mod vector;
mod x87;

use std::sync::OnceLock;

use iced_x86::{FlowControl, Mnemonic};

pub(crate) use label::{Label, Labels};
pub(crate) use undefined::Bits;

use crate::{Engine, Env, Exit, Go, Op, Stop};
use look::{Look, Rule, apply};

/// The rules of label `L` by mnemonic.
#[derive(Debug)]
pub(crate) struct Rules<L>(Vec<Rule<L>>);

impl<L: Label> Rules<L> {
    pub(crate) fn build() -> Self {
        let mut rules: Vec<Rule<L>> = vec![general::general; Mnemonic::values().len()];
        let integer = rules::Table::<L>::ALL.into_iter().flatten();
        for (mnemonic, rule) in integer.chain(vector::Table::<L>::ALL).chain(x87::Table::<L>::ALL) {
            if let Some(slot) = rules.get_mut(*mnemonic as usize) {
                *slot = *rule;
            }
        }
        Self(rules)
    }

    fn of(&self, mnemonic: Mnemonic) -> Rule<L> {
        self.0.get(mnemonic as usize).copied().unwrap_or(general::general)
    }
}

impl Rules<Bits> {
    /// The rules of undefined bits.
    pub(crate) fn undefined() -> &'static Self {
        static RULES: OnceLock<Rules<Bits>> = OnceLock::new();
        RULES.get_or_init(Self::build)
    }
}

/// How a careful instruction ended.
pub(crate) enum Careful {
    /// It completed.
    Done(Go),
    /// It did not.
    Stop(Stop),
    /// A label decides.
    Exit(Exit),
}

/// Runs one instruction with labels. `rip` is left to the caller.
pub(crate) fn one<L: Label>(
    e: &mut Env<'_>,
    labels: &mut Labels<L>,
    rules: &Rules<L>,
    op: &Op,
    ins: &iced_x86::Instruction,
) -> Careful {
    if let Some(unit) = strings::Unit::of(ins) {
        return strings::run(e, labels, op, ins, unit);
    }
    one_by(e, labels, rules.of(ins.mnemonic()), op, ins)
}

fn one_by<L: Label>(
    e: &mut Env<'_>,
    labels: &mut Labels<L>,
    rule: Rule<L>,
    op: &Op,
    ins: &iced_x86::Instruction,
) -> Careful {
    let mut look = Look {
        e: &mut *e,
        op,
        ins,
        labels,
        outs: Vec::new(),
        compare: None,
        sets_flags: false,
        decides: None,
    };
    rule(&mut look);
    let Look { outs, compare, sets_flags, decides, .. } = look;
    if let Some(is_address) = decides
        && !e.may_decide
        && let Some(exit) = L::decided(is_address)
    {
        return Careful::Exit(exit);
    }
    match (op.run)(e, op) {
        Err(stop) => Careful::Stop(stop),
        Ok(go) => {
            apply(e, labels, &outs);
            if sets_flags {
                labels.compare = compare;
            }
            Careful::Done(go)
        }
    }
}

/// The loop that keeps labels.
impl Engine {
    /// Runs with labels until none is left or a block ends, at least one instruction.
    pub(crate) fn run_careful<L: Label>(
        &mut self,
        e: &mut Env<'_>,
        rules: &Rules<L>,
    ) -> Result<(), Exit> {
        let mut labels = L::read(e.r);
        loop {
            let result = self.step_careful(e, rules, &mut labels);
            // At the end of a block the fast loop may take over if it meets no label. A comparison
            // whose operands are known beside the flags must not be lost between two branches.
            let may_park = self.is_at_entry() && labels.flags.iter().all(|flag| flag.is_clear());
            if result.is_err() || labels.is_clear() || may_park {
                L::write(&labels, e.r);
                return result;
            }
            let exit = if e.left == 0 {
                Some(Exit::ClockLimit)
            } else if self.is_breakpoint(e.r.rip) {
                Some(Exit::Breakpoint)
            } else {
                None
            };
            if let Some(exit) = exit {
                L::write(&labels, e.r);
                return Err(exit);
            }
        }
    }

    /// Runs the instruction at `rip` with labels.
    pub(crate) fn step_careful<L: Label>(
        &mut self,
        e: &mut Env<'_>,
        rules: &Rules<L>,
        labels: &mut Labels<L>,
    ) -> Result<(), Exit> {
        let single = self.single(e)?;
        let (op, ins) = (single.op, single.ins);
        self.reach(op.rip);
        e.m.set_instruction(op.rip, op.extra.lock);
        e.alone = true;
        let careful = one(e, labels, rules, &op, &ins);
        e.alone = false;
        match careful {
            Careful::Done(go) => {
                let is_branch = ins.flow_control() != FlowControl::Next;
                self.advance(e, &op, go, is_branch);
                Ok(())
            }
            Careful::Stop(stop) => Err(self.exit_of(e, stop)),
            Careful::Exit(exit) => Err(exit),
        }
    }
}
