//! Small programs run to completion.

mod compared;
mod exits;
mod machine;
mod programs;
mod undefined;

use machine::{DATA, Machine, STACK_TOP};
