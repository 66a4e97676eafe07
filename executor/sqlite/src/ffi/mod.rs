//! Everything that is `unsafe` about SQLite.
//!
//! | file | what it is |
//! |---|---|
//! | `library` | SQLite set up, once for the program |
//! | `memory` | its allocator, which keeps accounts |
//! | `vfs`, `system_calls` | its way to files, time and randomness |
//! | `locks` | its locks of files |
//! | `connection` | a connection with its statements |
//! | `functions` | functions of SQL whose results the node decides |
//! | `handlers` | what SQLite asks while it works: may it do this, should it go on |
//!
//! **What it stands on.** Functions that are `unsafe extern "C"` are SQLite's to call and no one else's: their contract is
//! what its documentation says of each of these pointers (of `sqlite3_mem_methods`, `sqlite3_vfs`, `sqlite3_create_function_v2`
//! and the handlers): names end with a zero, out-pointers may be written to, blocks come from the same allocator, contexts
//! are what was registered with the function. Each block of ours says what it needs besides.

mod connection;
mod functions;
mod handlers;
mod library;
#[cfg(target_os = "linux")]
mod locks;
mod memory;
mod system_calls;
mod vfs;

pub use connection::{Connection, Held, StatementId, Steps};
