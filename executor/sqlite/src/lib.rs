//! SQLite, as guests may use it: a library that knows no process and no host call.
//!
//! | file | what it is |
//! |---|---|
//! | `owner` | for whom SQLite works: limits, directories, whether it still has to |
//! | `account` | what it may take for one process |
//! | `files` | which files there are |
//! | `rules` | what SQL may do, and how large anything may be |
//! | `text` | what functions do with texts, in the time that these are long |
//! | `wire` | values as guests encode them |
//! | `threads` | the threads that work on databases, and how they are shared |
//! | `ffi/` | everything that is unsafe: the library, its allocator, its way to files, connections |
//!
//! *The invariants.* Whatever SQLite does is done for an [`Owner`], who is named before it is called; without one there
//! are no files. What it does may take as long as a disk does, and is done where waiting is no harm. When the owner is
//! gone, a statement that runs ends at its next thousand steps; at those, statements also take turns.

#![deny(unsafe_code)]

mod account;
mod error;
#[allow(unsafe_code)] // SQLite is C.
mod ffi;
mod files;
mod owner;
mod rules;
mod text;
mod threads;
mod wire;

pub use error::SqlError;
pub use ffi::{Connection, Held, StatementId, Steps};
pub use owner::{Environment, Owner, OwnerLimits};
pub use threads::{Limits, Tenant, Threads};
pub use wire::{Binds, Malformed, Row, error as encode_error, strings as encode_strings};

#[cfg(test)]
mod tests;
