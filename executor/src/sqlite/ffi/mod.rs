//! Everything that is `unsafe` about SQLite.
//!
//! | file | what it is |
//! |---|---|
//! | `library` | SQLite set up, once for the program |
//! | `memory` | its allocator, which keeps accounts |
//! | `vfs`, `system_calls` | its way to files, time and randomness |
//! | `connection` | a connection with its statements |
//! | `functions` | functions of SQL whose results the node decides |
//! | `handlers` | what SQLite asks while it works: may it do this, should it go on |

mod connection;
mod functions;
mod handlers;
mod library;
mod memory;
mod system_calls;
mod vfs;

pub(crate) use connection::{Connection, Held, StatementId, Steps};
