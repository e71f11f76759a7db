//! What a script expects, and what it found instead.
//!
//! `expect` gets no more than true or false. The comparison that made it false is remembered when
//! it is made, so that a failure tells both sides.

use std::{cell::RefCell, rc::Rc};

use report::printable_char;
use rhai::{Engine, INT, NativeCallContext, Position};

use super::State;
use crate::Expectation;

/// Characters of a text that was compared; it may be the driver's.
const MAX_SHOWN_CHARS: usize = 100;
/// Expectations that are kept; a loop may have more.
const MAX_FAILED: usize = 1_000;

/// What was expected so far.
#[derive(Debug, Default)]
pub(super) struct Expectations {
    count: usize,
    failed: Vec<Expectation>,
    /// The latest comparison that did not hold, and where it stands.
    compared: Option<(Position, String)>,
}

impl Expectations {
    /// Those that were not met.
    pub(super) fn failed(&self) -> &[Expectation] {
        &self.failed
    }

    /// Whether nothing was expected at all.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn note(&mut self, path: &str, position: Position, message: &str) {
        if self.failed.len() >= MAX_FAILED {
            return;
        }
        let is_of_call = |at: Position| {
            at.line().is_some()
                && at.line() == position.line()
                && at.position() > position.position()
        };
        let compared = self.compared.take().filter(|(at, _)| is_of_call(*at));
        self.failed.push(Expectation {
            path: path.to_owned(),
            line: position.line().and_then(|line| u32::try_from(line).ok()),
            message: message.to_owned(),
            found: compared.map(|(_, words)| words),
        });
    }
}

/// Registers `expect`, and the comparisons.
pub(super) fn register(engine: &mut Engine, state: &Rc<RefCell<State>>, path: &str) {
    let (heard, path) = (Rc::clone(state), path.to_owned());
    engine.register_fn(
        "expect",
        move |context: NativeCallContext<'_>, is_met: bool, message: &str| {
            let expectations = &mut heard.borrow_mut().expectations;
            expectations.count += 1;
            if !is_met {
                expectations.note(&path, context.call_position(), message);
            }
            expectations.compared = None;
        },
    );
    // Rhai's own comparisons of numbers and texts tell nobody what they compared.
    engine.set_fast_operators(false);
    for (name, holds) in NUMBERS {
        let state = Rc::clone(state);
        engine.register_fn(*name, move |context: NativeCallContext<'_>, left: INT, right: INT| {
            let is_true = holds(&left, &right);
            if !is_true {
                note_comparison(&state, &context, name, [number(left), number(right)]);
            }
            is_true
        });
    }
    for (name, holds) in TEXTS {
        let state = Rc::clone(state);
        engine.register_fn(
            *name,
            move |context: NativeCallContext<'_>, left: &str, right: &str| {
                let is_true = holds(left, right);
                if !is_true {
                    note_comparison(&state, &context, name, [text(left), text(right)]);
                }
                is_true
            },
        );
    }
}

type Comparison<T> = (&'static str, fn(&T, &T) -> bool);

const NUMBERS: &[Comparison<INT>] = &[
    ("==", INT::eq),
    ("!=", INT::ne),
    ("<", INT::lt),
    ("<=", INT::le),
    (">", INT::gt),
    (">=", INT::ge),
];

const TEXTS: &[Comparison<str>] = &[
    ("==", str::eq),
    ("!=", str::ne),
    ("<", str::lt),
    ("<=", str::le),
    (">", str::gt),
    (">=", str::ge),
];

fn note_comparison(
    state: &Rc<RefCell<State>>,
    context: &NativeCallContext<'_>,
    name: &str,
    [left, right]: [String; 2],
) {
    let expected = match name {
        "==" => right,
        _ => format!("{name} {right}"),
    };
    let words = format!("expected {expected}, found {left}");
    state.borrow_mut().expectations.compared = Some((context.call_position(), words));
}

fn number(value: INT) -> String {
    match value {
        -9..=9 => value.to_string(),
        _ => format!("{value} ({value:#x})"),
    }
}

fn text(value: &str) -> String {
    let shown: String = value.chars().take(MAX_SHOWN_CHARS).map(printable_char).collect();
    format!("`{shown}`")
}
