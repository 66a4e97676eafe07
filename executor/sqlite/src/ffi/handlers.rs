//! What SQLite asks while it works for a connection.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use libsqlite3_sys as c;

use crate::owner::{Owner, STEPS_PER_LOOK};
use crate::rules::{Verdict, judge};
use crate::threads;

use super::vfs::caught;

/// How long a statement that waits for a lock sleeps before it tries again.
const NAP: Duration = Duration::from_millis(5);

/// Milliseconds that a statement waits for the locks of processes that are gone: whoever hears of a death, and is quicker
/// than the pool that closes what it had, finds them free.
const CLOSING_MS: u64 = 1000;

/// What the answers depend on. SQLite has its address.
pub(super) struct Handlers {
    owner: Arc<Owner>,
    /// How long a statement waits for a lock. Nothing else is told by it.
    busy_ms: AtomicU32,
}

impl Handlers {
    pub(super) fn new(owner: Arc<Owner>) -> Box<Handlers> {
        Box::new(Handlers { owner, busy_ms: AtomicU32::new(0) })
    }

    /// For whom the connection is.
    pub(super) fn owner(&self) -> &Arc<Owner> {
        &self.owner
    }

    /// Has them asked.
    ///
    /// # Safety
    /// `db` is an open connection, and is closed before these are dropped or moved.
    pub(super) unsafe fn install(&self, db: *mut c::sqlite3) {
        let context = std::ptr::from_ref(self).cast_mut().cast();
        // SAFETY: by the contract; each is called with the context that is given here.
        unsafe {
            c::sqlite3_set_authorizer(db, Some(authorize), context);
            c::sqlite3_progress_handler(db, STEPS_PER_LOOK as c_int, Some(progress), context);
            c::sqlite3_busy_handler(db, Some(busy), context);
        }
    }
}

/// # Safety
/// `context` is from [`Handlers::install`], by whose contract it is still there. Only shared references are made of it.
unsafe fn handlers<'a>(context: *mut c_void) -> &'a Handlers {
    // SAFETY: by the contract.
    unsafe { &*context.cast::<Handlers>() }
}

/// Whether a statement may do something.
///
/// # Safety
/// SQLite alone calls it, as its documentation says; see the module above.
unsafe extern "C" fn authorize(
    context: *mut c_void,
    action: c_int,
    first: *const c_char,
    second: *const c_char,
    _: *const c_char,
    _: *const c_char,
) -> c_int {
    // SAFETY: SQLite's strings end with a zero, or are not there; what is none of ours is none that is allowed.
    let text = |text: *const c_char| unsafe {
        if text.is_null() { None } else { Some(CStr::from_ptr(text).to_str().unwrap_or("")) }
    };
    match caught(Verdict::Denied, || judge(action, text(first), text(second))) {
        Verdict::Allowed => c::SQLITE_OK,
        Verdict::Denied => c::SQLITE_DENY,
        Verdict::Wait(ms) => {
            // SAFETY: the context is ours.
            unsafe { handlers(context) }.busy_ms.store(ms, Ordering::Relaxed);
            // The pragma does nothing more: SQLite's own way to wait is not interrupted by the end of a process.
            c::SQLITE_IGNORE
        }
    }
}

/// Whether a statement is to end here.
///
/// # Safety
/// SQLite alone calls it, as its documentation says; see the module above.
unsafe extern "C" fn progress(context: *mut c_void) -> c_int {
    // SAFETY: the context is ours.
    let handlers = unsafe { handlers(context) };
    if !handlers.owner.goes_on() {
        return 1;
    }
    caught((), threads::share);
    c_int::from(handlers.owner.is_gone())
}

/// Whether a statement that found a lock, and has tried again so many times, is to try again.
///
/// # Safety
/// SQLite alone calls it, as its documentation says; see the module above.
unsafe extern "C" fn busy(context: *mut c_void, tries: c_int) -> c_int {
    // SAFETY: the context is ours.
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
