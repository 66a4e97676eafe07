//! SQLite's VFS: its own for Unix, with everything that names a file replaced.
//!
//! ```text
//! open, ATTACH, VACUUM INTO ─▶ xFullPathname, ours: "app.db" ─▶ "/0/app.db", or refused
//!                              xOpen … ─▶ "unix-excl" ─▶ open, stat, unlink …, ours: below directory 0
//! ```
//!
//! *Reason for `unix-excl`.* To share a WAL database between system processes, SQLite needs a file that all of them
//! map. Truncating that file kills its readers by SIGBUS. A guest with access to the directory could do that to the
//! node. `unix-excl` keeps the shared state in the node's own memory, for all connections of its guests. The cost:
//! while a node has a database open, no other system process can open it.
//!
//! Locks belong to open file descriptions (`locks`), not to the process: they survive whatever guests do with the
//! file by other means.
//!
//! The system calls are replaced for the whole program, since only guests use this SQLite. Without a current
//! [`Owner`] there are no files.

use std::ffi::{CStr, c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;
use std::sync::OnceLock;

use libsqlite3_sys as c;

use crate::files;
use crate::owner::Owner;

use super::system_calls;

/// Name of the VFS.
pub(super) const NAME: &CStr = c"lunatic";

/// SQLite's VFS, to which ours delegates file access.
const BASE: &CStr = c"unix-excl";

/// Milliseconds from the start of SQLite's time, in 4714 BC, to the Unix epoch.
const EPOCH_MS: i64 = 210_866_760_000_000;

/// SQLite's own VFS, looked up once. It is never freed.
struct Base(*mut c::sqlite3_vfs);

// SAFETY: the VFS is written during SQLite's initialization, and only read afterwards.
unsafe impl Send for Base {}
// SAFETY: concurrent reads are sound, since the VFS is not written after the initialization.
unsafe impl Sync for Base {}

static REGISTERED: OnceLock<Base> = OnceLock::new();

/// Registers the VFS. Returns whether this succeeded.
///
/// # Safety
/// SQLite is initialized, this was not called before, and no file has been opened.
pub(super) unsafe fn register() -> bool {
    // SAFETY: both VFS objects live forever: SQLite's own is static, and ours is leaked.
    unsafe {
        let base = c::sqlite3_vfs_find(BASE.as_ptr());
        if base.is_null() || !system_calls::replace(base) || REGISTERED.set(Base(base)).is_err() {
            return false;
        }
        let ours = c::sqlite3_vfs {
            mxPathname: files::MAX_NAME as c_int,
            pNext: null_mut(),
            zName: NAME.as_ptr(),
            xOpen: Some(open),
            xFullPathname: Some(full_name),
            xDlOpen: None,
            xDlError: None,
            xDlSym: None,
            xDlClose: None,
            xRandomness: Some(randomness),
            xCurrentTime: Some(current_time),
            xCurrentTimeInt64: Some(current_time_ms),
            xSetSystemCall: None,
            xGetSystemCall: None,
            xNextSystemCall: None,
            ..*base
        };
        // The default VFS, because SQLite takes its randomness from the default.
        c::sqlite3_vfs_register(Box::leak(Box::new(ours)), 1) == c::SQLITE_OK
    }
}

/// Opens a file for SQLite. A null name stands for a temporary file, which is refused.
///
/// # Safety
/// Only SQLite calls this function, as documented; see the module documentation of `ffi`.
unsafe extern "C" fn open(
    _: *mut c::sqlite3_vfs,
    name: *const c_char,
    file: *mut c::sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    // SAFETY: `file` points to the size that the base VFS requires. SQLite does not close a file without methods.
    unsafe {
        (*file).pMethods = std::ptr::null();
        let base = REGISTERED.get().filter(|_| !name.is_null());
        match base.and_then(|base| Some((base.0, (*base.0).xOpen?))) {
            Some((base, open)) => open(base, name, file, flags, out),
            None => c::SQLITE_CANTOPEN,
        }
    }
}

/// Translates a guest's database path into the name that SQLite uses.
///
/// # Safety
/// Only SQLite calls this function, as documented; see the module documentation of `ffi`.
unsafe extern "C" fn full_name(
    _: *mut c::sqlite3_vfs,
    path: *const c_char,
    size: c_int,
    out: *mut c_char,
) -> c_int {
    let name = caught(None, || {
        // SAFETY: SQLite passes a NUL-terminated name.
        let path = unsafe { CStr::from_ptr(path) }.to_str().ok()?;
        files::name_of(path, Owner::current()?.dirs())
    });
    match name {
        Some(name) if (name.len() as u64) < size as u64 => {
            // SAFETY: `out` has `size` bytes, and the name with its NUL byte fits.
            unsafe {
                std::ptr::copy_nonoverlapping(name.as_ptr(), out.cast(), name.len());
                out.add(name.len()).write(0);
            }
            c::SQLITE_OK
        }
        _ => c::SQLITE_CANTOPEN,
    }
}

/// Fills a buffer with random bytes for SQLite's internal use, once for the whole program, so not from a node. Guests
/// only see randomness from `functions`.
///
/// # Safety
/// Only SQLite calls this function, as documented; see the module documentation of `ffi`.
unsafe extern "C" fn randomness(_: *mut c::sqlite3_vfs, size: c_int, out: *mut c_char) -> c_int {
    let Ok(length) = usize::try_from(size) else { return 0 };
    // SAFETY: SQLite passes a buffer of `size` bytes.
    let bytes = unsafe { std::slice::from_raw_parts_mut(out.cast::<u8>(), length) };
    bytes.fill(0);
    // On failure the bytes are zero, which suffices for SQLite's internal uses.
    let _ = caught(false, || getrandom::fill(bytes).is_ok());
    size
}

/// Returns the current time in milliseconds of SQLite's time.
fn now_ms() -> i64 {
    let since_epoch =
        caught(0, || Owner::current().map_or(0, |owner| owner.environment().wall() / 1_000_000));
    EPOCH_MS + since_epoch as i64
}

/// # Safety
/// Only SQLite calls this function, as documented; see the module documentation of `ffi`.
unsafe extern "C" fn current_time_ms(_: *mut c::sqlite3_vfs, out: *mut c::sqlite3_int64) -> c_int {
    // SAFETY: SQLite passes a writable pointer.
    unsafe { out.write(now_ms()) };
    c::SQLITE_OK
}

/// # Safety
/// Only SQLite calls this function, as documented; see the module documentation of `ffi`.
unsafe extern "C" fn current_time(_: *mut c::sqlite3_vfs, out: *mut f64) -> c_int {
    // SAFETY: SQLite passes a writable pointer.
    unsafe { out.write(now_ms() as f64 / 86_400_000.0) };
    c::SQLITE_OK
}

/// Runs the body of a callback. Panics must not unwind into SQLite.
pub(super) fn caught<T>(otherwise: T, f: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or(otherwise)
}
