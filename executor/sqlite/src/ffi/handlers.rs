//! SQLite's callbacks while it works for a connection.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use libsqlite3_sys as c;

use crate::owner::{Owner, STEPS_PER_LOOK};
use crate::rules::{Verdict, judge};
use crate::threads;

use super::vfs::caught;

/// How long a statement sleeps between two attempts to take a lock.
const NAP: Duration = Duration::from_millis(5);

/// Milliseconds that a statement waits for locks of ended processes. A process that is notified of the end may run
/// before the thread pool closes the connections.
const CLOSING_MS: u64 = 1000;

/// The callbacks' context. SQLite holds its address, so it is in an `Arc`: moving a `Box` would assert that there is no
/// other pointer to its content.
pub(super) struct Handlers {
    owner: Arc<Owner>,
    /// Lock timeout of a statement. Orders no other memory accesses.
    busy_ms: AtomicU32,
}

impl Handlers {
    pub(super) fn new(owner: Arc<Owner>) -> Arc<Handlers> {
        Arc::new(Handlers { owner, busy_ms: AtomicU32::new(0) })
    }

    /// Returns the connection's owner.
    pub(super) fn owner(&self) -> &Arc<Owner> {
        &self.owner
    }

    /// Installs the callbacks.
    ///
    /// # Safety
    /// `db` is an open connection, and is closed before the caller drops its reference to `self`.
    pub(super) unsafe fn install(self: &Arc<Self>, db: *mut c::sqlite3) {
        let context = Arc::as_ptr(self).cast_mut().cast();
        // SAFETY: by the contract, the context outlives the connection; each callback expects this type.
        unsafe {
            c::sqlite3_set_authorizer(db, Some(authorize), context);
            c::sqlite3_progress_handler(db, STEPS_PER_LOOK as c_int, Some(progress), context);
            c::sqlite3_busy_handler(db, Some(busy), context);
        }
    }
}

/// # Safety
/// `context` is from [`Handlers::install`], whose contract keeps it valid. Only shared references to it exist.
unsafe fn handlers<'a>(context: *mut c_void) -> &'a Handlers {
    // SAFETY: `context` points to valid `Handlers` by the contract.
    unsafe { &*context.cast::<Handlers>() }
}

/// Returns whether a statement may perform an action.
///
/// # Safety
/// Only SQLite calls this function, as documented; see the module documentation of `ffi`.
unsafe extern "C" fn authorize(
    context: *mut c_void,
    action: c_int,
    first: *const c_char,
    second: *const c_char,
    _: *const c_char,
    _: *const c_char,
) -> c_int {
    // SAFETY: SQLite's strings are NUL-terminated or null. Invalid UTF-8 becomes a name that is not allowed.
    let text = |text: *const c_char| unsafe {
        if text.is_null() { None } else { Some(CStr::from_ptr(text).to_str().unwrap_or("")) }
    };
    match caught(Verdict::Denied, || judge(action, text(first), text(second))) {
        Verdict::Allowed => c::SQLITE_OK,
        Verdict::Denied => c::SQLITE_DENY,
        Verdict::Wait(ms) => {
            // SAFETY: the context is from `Handlers::install`.
            unsafe { handlers(context) }.busy_ms.store(ms, Ordering::Relaxed);
            // The pragma has no further effect: SQLite's own waiting cannot be interrupted when a process ends.
            c::SQLITE_IGNORE
        }
    }
}

/// Returns nonzero if the statement must stop.
///
/// # Safety
/// Only SQLite calls this function, as documented; see the module documentation of `ffi`.
unsafe extern "C" fn progress(context: *mut c_void) -> c_int {
    // SAFETY: the context is from `Handlers::install`.
    let handlers = unsafe { handlers(context) };
    if !handlers.owner.goes_on() {
        return 1;
    }
    caught((), threads::share);
    c_int::from(handlers.owner.is_gone())
}

/// Returns nonzero if a statement should try again to take a lock, after `tries` attempts.
///
/// # Safety
/// Only SQLite calls this function, as documented; see the module documentation of `ffi`.
unsafe extern "C" fn busy(context: *mut c_void, tries: c_int) -> c_int {
    // SAFETY: the context is from `Handlers::install`.
    let handlers = unsafe { handlers(context) };
    let waited = u64::from(tries.unsigned_abs()) * NAP.as_millis() as u64;
    let closing_ms = if Owner::waits_for_others() { CLOSING_MS } else { 0 };
    let patience = u64::from(handlers.busy_ms.load(Ordering::Relaxed)).max(closing_ms);
    let goes_on = !handlers.owner.is_gone() && waited < patience;
    if goes_on {
        caught((), || threads::sleep(NAP));
    }
    c_int::from(goes_on)
}
