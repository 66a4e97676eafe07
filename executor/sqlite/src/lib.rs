//! SQLite for guests: a library that is independent of processes and host calls.
//!
//! | file | contents |
//! |---|---|
//! | `owner` | the process that SQLite works for: limits, directories, whether it has ended |
//! | `account` | memory account of one process |
//! | `files` | the visible files |
//! | `rules` | restrictions on SQL, and size limits |
//! | `text` | text functions in linear time |
//! | `wire` | the guests' encoding of values |
//! | `threads` | the database threads, and how jobs share them |
//! | `ffi/` | all unsafe code: the library, its allocator, its VFS, connections |
//!
//! *Invariants.* SQLite always works for an [`Owner`], which the caller sets beforehand; without an owner there are
//! no files. Calls may take as long as the disk does, and run only on threads that may block. After the owner's
//! process has ended, a running statement stops within the next thousand steps; at the same points, statements take
//! turns.

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
