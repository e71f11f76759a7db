//! Who listens to events.

use std::{any::Any, fmt::Debug};

use crate::{Event, Origin};

/// What the listener wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Continue,
    /// Stop the run: a rule was broken.
    Stop,
}

/// Listens to every event of a run; part of the machine's state, so it goes back with it.
pub trait Observer: Debug + Send {
    /// Hears one event before its consequence.
    fn observe(&mut self, origin: &Origin, event: &Event) -> Verdict;
    /// Copies what it noted, for a snapshot.
    fn capture(&mut self) -> Box<dyn Any + Send>;
    /// Goes back to a copy of its own.
    fn restore(&mut self, copy: &(dyn Any + Send));
    /// Itself, so that the owner of the run gets its own type back.
    fn as_any(&mut self) -> &mut dyn Any;
}

/// Hears nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn observe(&mut self, _: &Origin, _: &Event) -> Verdict {
        Verdict::Continue
    }

    fn capture(&mut self) -> Box<dyn Any + Send> {
        Box::new(())
    }

    fn restore(&mut self, _: &(dyn Any + Send)) {}

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}
