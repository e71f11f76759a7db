//! Raising and lowering the IRQL by call; compilers mostly inline it as a move to CR8.

use events::{Event, IrqlMisuse};
use nt_abi::Irql;
use nt_macros::export;

use crate::{CallResult, Kernel, Stop, exports};

exports![KeGetCurrentIrql, KfRaiseIrql, KfLowerIrql, KeLowerIrql, KeRaiseIrqlToDpcLevel];

/// Returns the current level.
#[export(irql = .., ddi = "wdm/nf-wdm-kegetcurrentirql")]
fn KeGetCurrentIrql(k: &mut Kernel) -> u8 {
    k.irql().0
}

/// Raises the level; returns the old one.
#[export(irql = .., ddi = "wdm/nf-wdm-keraiseirql", written_as = "KeRaiseIrql",
    irql_note = "the remarks limit it no further")]
fn KfRaiseIrql(k: &mut Kernel, level: u8) -> CallResult<u8> {
    let old = k.irql();
    if level < old.0 {
        report(k, Irql(level))?;
        // IRQL_NOT_GREATER_OR_EQUAL: "a raise to a lower level causes a system crash".
        return Err(Stop::bug_check(0x09, [u64::from(old.0), u64::from(level), 0, 0]));
    }
    k.set_irql(Irql(level));
    Ok(old.0)
}

/// Lowers the level.
#[export(irql = .., ddi = "wdm/nf-wdm-kelowerirql", written_as = "KeLowerIrql")]
fn KfLowerIrql(k: &mut Kernel, level: u8) -> CallResult<()> {
    lower(k, level)
}

/// Lowers the level.
#[export(irql = .., ddi = "wdm/nf-wdm-kelowerirql")]
fn KeLowerIrql(k: &mut Kernel, level: u8) -> CallResult<()> {
    lower(k, level)
}

/// Raises to `DISPATCH_LEVEL`; returns the old level.
#[export(irql = ..=DISPATCH_LEVEL, ddi = "wdm/nf-wdm-keraiseirqltodpclevel",
    irql_note = "the remarks limit it no further")]
fn KeRaiseIrqlToDpcLevel(k: &mut Kernel) -> u8 {
    let old = k.irql();
    k.set_irql(Irql::DISPATCH_LEVEL);
    old.0
}

fn lower(k: &mut Kernel, level: u8) -> CallResult<()> {
    if level > k.irql().0 {
        report(k, Irql(level))?;
        // IRQL_NOT_LESS_OR_EQUAL as the page says: "a lower to a higher level causes a system
        // crash".
        return Err(Stop::bug_check(0x0a, [0, u64::from(k.irql().0), 0, 0]));
    }
    k.set_irql(Irql(level));
    Ok(())
}

/// Reports a raise that would lower, or the other way round.
fn report(k: &mut Kernel, to: Irql) -> CallResult<()> {
    let (from, changed) = (k.irql(), k.core().irql_changed);
    k.emit(Event::IrqlMisuse(IrqlMisuse { from, to, changed })).map(|_| ())
}
