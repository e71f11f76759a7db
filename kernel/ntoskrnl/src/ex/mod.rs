//! Ex: pool, lookaside lists, interlocked lists, raising exceptions.

pub mod pool;

mod interlocked_list;
mod lookaside;
mod raise;
mod sequenced_list;

/// The exports of the component, by file.
pub(crate) const EXPORTS: &[&[crate::Export]] = &[
    pool::EXPORTS,
    lookaside::EXPORTS,
    sequenced_list::EXPORTS,
    interlocked_list::EXPORTS,
    raise::EXPORTS,
];

/// State of the component.
#[derive(Clone, Debug, Default)]
pub struct State {}
