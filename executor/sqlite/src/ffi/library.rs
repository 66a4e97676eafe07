//! SQLite, set up once for the whole program.

use std::sync::OnceLock;

use libsqlite3_sys as c;

use super::{memory, vfs};

/// Sets it up if that has not been done. Returns whether it is as it has to be: if someone else in this program was
/// first, it is not.
pub(super) fn is_ready() -> bool {
    static READY: OnceLock<bool> = OnceLock::new();
    *READY.get_or_init(set_up)
}

fn set_up() -> bool {
    let methods = memory::METHODS;
    let (largest, default): (c::sqlite3_int64, c::sqlite3_int64) = (0, 0);
    // SAFETY: this runs once, before anything else of SQLite. Each option is given what its description says; the
    // allocator's methods are copied.
    unsafe {
        let options = [
            c::sqlite3_config(c::SQLITE_CONFIG_MALLOC, &raw const methods),
            // Counts that all threads would share; the allocator has others.
            c::sqlite3_config(c::SQLITE_CONFIG_MEMSTATUS, 0),
            // Names are names of files: nobody chooses another way to them.
            c::sqlite3_config(c::SQLITE_CONFIG_URI, 0),
            // Who shortens a mapped file ends the program.
            c::sqlite3_config(c::SQLITE_CONFIG_MMAP_SIZE, default, largest),
        ];
        let initialised =
            options.iter().all(|&result| result == c::SQLITE_OK) && c::sqlite3_initialize() == c::SQLITE_OK;
        initialised && vfs::register()
    }
}
