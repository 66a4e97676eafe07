//! All `unsafe` code of this crate.
//!
//! | file | contents |
//! |---|---|
//! | `library` | SQLite's initialization, once per program |
//! | `memory` | its allocator, which charges accounts |
//! | `vfs`, `system_calls` | its access to files, time and randomness |
//! | `locks` | its file locks |
//! | `connection` | a connection with its statements |
//! | `functions` | SQL functions that replace SQLite's |
//! | `handlers` | SQLite's callbacks: permissions, interruption, waiting |
//!
//! **Contract of the callbacks.** Only SQLite calls the `unsafe extern "C"` functions. Their contract is SQLite's
//! documentation of these pointers (`sqlite3_mem_methods`, `sqlite3_vfs`, `sqlite3_create_function_v2` and the
//! handlers): names are NUL-terminated, out-pointers are writable, blocks come from the same allocator, and contexts
//! are those registered with the function. Each `unsafe` block names its further requirements.

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
