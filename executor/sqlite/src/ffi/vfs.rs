//! SQLite's way to files: its own for Unix, with what names a file replaced.
//!
//! ```text
//! open, ATTACH, VACUUM INTO ─▶ xFullPathname, ours: "app.db" ─▶ "/0/app.db", or refused
//!                              xOpen … ─▶ "unix-excl" ─▶ open, stat, unlink …, ours: below directory 0
//! ```
//!
//! *Why `unix-excl`.* SQLite knows no other way to share a database in WAL mode between processes of the system than a
//! file that all of them map, and whoever makes such a file shorter ends those that look at it by SIGBUS. A guest that
//! has the directory could do that to the node. With `unix-excl` what is shared is in the node's own memory, among all
//! connections of its guests. The price: while a node has a database open, no other process of the system has.
//!
//! Locks are those of open files (`locks`), and not of the whole process: what guests do with the file in other ways does
//! not give them up.
//!
//! The system calls are replaced for the whole program: this SQLite is in it for guests only. Where no
//! [`Owner`] is named, there are no files.

use std::ffi::{CStr, c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;
use std::sync::OnceLock;

use libsqlite3_sys as c;

use crate::files;
use crate::owner::Owner;

use super::system_calls;

/// By which connections ask for it.
pub(super) const NAME: &CStr = c"lunatic";

/// SQLite's, to which ours passes on what names no file.
const BASE: &CStr = c"unix-excl";

/// Milliseconds from the beginning of SQLite's time, in 4714 BC, to the Unix epoch.
const EPOCH_MS: i64 = 210_866_760_000_000;

/// SQLite's own, found once; it never goes away.
struct Base(*mut c::sqlite3_vfs);

// SAFETY: it is written when SQLite is initialised, and only read afterwards.
unsafe impl Send for Base {}
// SAFETY: as above.
unsafe impl Sync for Base {}

static REGISTERED: OnceLock<Base> = OnceLock::new();

/// Makes it known to SQLite. Returns whether that worked.
///
/// # Safety
/// SQLite has been initialised, this has not been called before, and no file has been opened.
pub(super) unsafe fn register() -> bool {
    // SAFETY: SQLite's own lives for ever, and so does ours, which is leaked.
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
        // As the default: SQLite asks that one for randomness.
        c::sqlite3_vfs_register(Box::leak(Box::new(ours)), 1) == c::SQLITE_OK
    }
}

/// Opens a file for SQLite. One without a name would be a temporary one, of which there are none.
///
/// # Safety
/// SQLite alone calls it, as its documentation says; see the module above.
unsafe extern "C" fn open(
    _: *mut c::sqlite3_vfs,
    name: *const c_char,
    file: *mut c::sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    // SAFETY: SQLite passes a place for a file, of the size that its own `xOpen` needs. A file without methods is one
    // that need not be closed.
    unsafe {
        (*file).pMethods = std::ptr::null();
        let base = REGISTERED.get().filter(|_| !name.is_null());
        match base.and_then(|base| Some((base.0, (*base.0).xOpen?))) {
            Some((base, open)) => open(base, name, file, flags, out),
            None => c::SQLITE_CANTOPEN,
        }
    }
}

/// What SQLite calls the file that a guest names.
///
/// # Safety
/// SQLite alone calls it, as its documentation says; see the module above.
unsafe extern "C" fn full_name(
    _: *mut c::sqlite3_vfs,
    path: *const c_char,
    size: c_int,
    out: *mut c_char,
) -> c_int {
    let name = caught(None, || {
        // SAFETY: SQLite passes a name that ends with a zero.
        let path = unsafe { CStr::from_ptr(path) }.to_str().ok()?;
        files::name_of(path, Owner::current()?.dirs())
    });
    match name {
        Some(name) if (name.len() as u64) < size as u64 => {
            // SAFETY: there are so many bytes, and the name with the zero behind it is no longer.
            unsafe {
                std::ptr::copy_nonoverlapping(name.as_ptr(), out.cast(), name.len());
                out.add(name.len()).write(0);
            }
            c::SQLITE_OK
        }
        _ => c::SQLITE_CANTOPEN,
    }
}

/// Random bytes for SQLite itself, once for the whole program, so not those of any node: what guests get to see is
/// from `functions`.
///
/// # Safety
/// SQLite alone calls it, as its documentation says; see the module above.
unsafe extern "C" fn randomness(_: *mut c::sqlite3_vfs, size: c_int, out: *mut c_char) -> c_int {
    let Ok(length) = usize::try_from(size) else { return 0 };
    // SAFETY: SQLite passes so many bytes.
    let bytes = unsafe { std::slice::from_raw_parts_mut(out.cast::<u8>(), length) };
    bytes.fill(0);
    // Without it SQLite's are not random, and good enough for what it needs them for.
    let _ = caught(false, || getrandom::fill(bytes).is_ok());
    size
}

/// Milliseconds of SQLite's time.
fn now_ms() -> i64 {
    let since_epoch =
        caught(0, || Owner::current().map_or(0, |owner| owner.environment().wall() / 1_000_000));
    EPOCH_MS + since_epoch as i64
}

/// # Safety
/// SQLite alone calls it, as its documentation says; see the module above.
unsafe extern "C" fn current_time_ms(_: *mut c::sqlite3_vfs, out: *mut c::sqlite3_int64) -> c_int {
    // SAFETY: SQLite passes a place for the time.
    unsafe { out.write(now_ms()) };
    c::SQLITE_OK
}

/// # Safety
/// SQLite alone calls it, as its documentation says; see the module above.
unsafe extern "C" fn current_time(_: *mut c::sqlite3_vfs, out: *mut f64) -> c_int {
    // SAFETY: as above.
    unsafe { out.write(now_ms() as f64 / 86_400_000.0) };
    c::SQLITE_OK
}

/// Runs what SQLite calls; a panic of ours must not reach it.
pub(super) fn caught<T>(otherwise: T, f: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or(otherwise)
}
