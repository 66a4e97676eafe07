//! What the two commands share: how they report errors, and how they write files.
//!
//! A command is a thin shell: arguments in, one call of a library, an error out. What is here is the part of that
//! shell which both need, and which must be right for every input:
//!
//! * [`fail`] prints one line to stderr, with nothing in it that could write to a terminal in another way;
//! * [`write_whole`] makes an output appear whole or not at all, under its name.
#![forbid(unsafe_code)]

mod output;
mod report;

pub use output::{read_input, write_output, write_whole};
pub use report::{Failure, escape, fail};
