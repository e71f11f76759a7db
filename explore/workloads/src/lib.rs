//! What a hostile but unprivileged user would do with a driver, as lists of commands.
//!
//! A plan is a pure function of what the image states and of the devices that exist after
//! DriverEntry. Each script of it is one run: open, a short sequence, close, unload. So the first
//! broken rule of one request hides nothing of the others.

mod callers;
mod content;
mod facts;
mod families;
mod learned;
mod lengths;
mod pairs;
mod plan;

pub use content::MarkSet;
pub use facts::Facts;
pub use learned::{
    Answer, Base, Behind, Comparison, Form, Known, Learned, Lesson, Request, lessons, next_forms,
};
pub use plan::{Extent, Script, family_names, plan};
