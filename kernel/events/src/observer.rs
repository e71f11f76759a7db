//! Who listens to events.

use std::fmt::Debug;

use crate::{Event, Origin};

/// What the listener wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Continue,
    /// Stop the run: a rule was broken.
    Stop,
}

/// Listens to every event of a run; part of the machine's state, so it can be copied.
pub trait Observer: Debug + Send {
    /// Hears one event before its consequence.
    fn observe(&mut self, origin: &Origin, event: &Event) -> Verdict;
    /// Copies itself, for a snapshot.
    fn boxed_clone(&self) -> Box<dyn Observer>;
    /// Itself, so that the owner of the run gets its own type back.
    fn as_any(&mut self) -> &mut dyn std::any::Any;
}

/// Hears nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn observe(&mut self, _: &Origin, _: &Event) -> Verdict {
        Verdict::Continue
    }

    fn boxed_clone(&self) -> Box<dyn Observer> {
        Box::new(*self)
    }

    fn as_any(&mut self) -> &mut dyn std::any::Any {
        self
    }
}
