//! The command's standard streams, shared by all processes and by other programs.
//!
//! Their flags are never changed. Reading and writing may block, so each stream has a thread of its own and
//! processes wait for it like for anything else.

mod input;
mod output;

pub(crate) use input::Input;
pub(crate) use output::{Accepted, Output};
