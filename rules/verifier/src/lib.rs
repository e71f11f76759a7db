//! What a rule is, what it hears, and what becomes of what it says.
//!
//! A [`Monitor`] is a predicate over one event and the shared [`Ledgers`]. The [`Verifier`] listens
//! to a run for all of them. What they say is a [`RawFinding`], which names moments by
//! [`events::Seq`]; a second, recorded run turns those into places and so makes a [`Finding`].

mod fault;
mod finding;
mod findings;
mod held_locks;
mod ledgers;
mod lock_order;
mod monitor;
mod rule;
mod sleeping;
mod verifier;
mod words;

pub use fault::FaultClass;
pub use finding::{Context, Finding, Frame, Site, Step};
pub use findings::{Confirmation, Findings, RawFinding, RawStep};
pub use held_locks::{HeldLock, HeldLocks, Holder};
pub use ledgers::{Arrival, Fetch, IrpRecord, Ledgers, Place};
pub use lock_order::{Edge, Taken};
pub use monitor::{BoxedClone, Moment, Monitor};
pub use rule::{Rule, Severity};
pub use sleeping::{Blocked, circle};
pub use verifier::{Options, Verifier};
pub use words::counted;
