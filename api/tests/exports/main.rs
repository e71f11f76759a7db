//! Exports as drivers call them: through the dispatcher, from guest code made at run time.

mod conditions;
mod executive;
mod io;
mod limits;
mod program;
mod synchronisation;
