//! The process that runs guest code as host code.
//!
//! With the translator, the program starts itself once per driver. The parent reads files, listens
//! to the user and shows the report; the worker gets the bytes of one driver, gives up everything
//! that it does not need, and only then runs the first guest instruction. Its standard input and
//! output are the only ways in and out.

pub(crate) mod host;
mod inside;
mod lockdown;
mod wire;

pub(crate) use inside::work;

/// The hidden verb.
pub(crate) const VERB: &str = "work";
