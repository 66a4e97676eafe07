//! SQLite's initialization, once for the whole program.

use std::sync::OnceLock;

use libsqlite3_sys as c;

use super::{memory, vfs};

/// Initializes SQLite on the first call. Returns whether SQLite has the required configuration, which fails if other
/// code in this program initialized it first.
pub(super) fn is_ready() -> bool {
    static READY: OnceLock<bool> = OnceLock::new();
    *READY.get_or_init(set_up)
}

fn set_up() -> bool {
    let methods = memory::METHODS;
    let (largest, default): (c::sqlite3_int64, c::sqlite3_int64) = (0, 0);
    // SAFETY: this runs once, before other calls of SQLite. Each option gets the arguments that its documentation
    // requires; SQLite copies the allocator's methods.
    unsafe {
        let options = [
            c::sqlite3_config(c::SQLITE_CONFIG_MALLOC, &raw const methods),
            // SQLite's statistics are shared by all threads; the allocator has its own accounts.
            c::sqlite3_config(c::SQLITE_CONFIG_MEMSTATUS, 0),
            // A URI could select a different VFS; names are plain file names.
            c::sqlite3_config(c::SQLITE_CONFIG_URI, 0),
            // Truncating a mapped file would kill the program.
            c::sqlite3_config(c::SQLITE_CONFIG_MMAP_SIZE, default, largest),
        ];
        let initialised =
            options.iter().all(|&result| result == c::SQLITE_OK) && c::sqlite3_initialize() == c::SQLITE_OK;
        initialised && vfs::register()
    }
}
