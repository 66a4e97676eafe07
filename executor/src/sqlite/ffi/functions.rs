//! Functions of SQL that are ours: those whose results a simulation decides.

use std::ffi::{c_int, c_void};
use std::sync::Arc;

use libsqlite3_sys as c;

use crate::sqlite::owner::Owner;
use crate::sqlite::rules::MAX_LENGTH;

use super::vfs::caught;

/// A function of SQL.
type Function = unsafe extern "C" fn(*mut c::sqlite3_context, c_int, *mut *mut c::sqlite3_value);

/// Defines them in place of SQLite's. Returns SQLite's result code.
///
/// # Safety
/// `db` is an open connection, and is closed before the owner is given up.
pub(super) unsafe fn define(db: *mut c::sqlite3, owner: &Arc<Owner>) -> c_int {
    let functions: [(_, _, Function); 2] = [(c"random", 0, random), (c"randomblob", 1, random_blob)];
    let context: *mut c_void = Arc::as_ptr(owner).cast_mut().cast();
    // SQLite's may be used anywhere, too.
    let flags = c::SQLITE_UTF8 | c::SQLITE_INNOCUOUS;
    let define = |(name, arguments, function): (&std::ffi::CStr, _, _)| {
        // SAFETY: by the contract, the context outlives the connection; the name ends with a zero.
        unsafe {
            c::sqlite3_create_function_v2(
                db,
                name.as_ptr(),
                arguments,
                flags,
                context,
                Some(function),
                None,
                None,
                None,
            )
        }
    };
    functions.into_iter().map(define).find(|result| *result != c::SQLITE_OK).unwrap_or(c::SQLITE_OK)
}

/// Fills bytes with what the node says is random. Without any, the call's result is an error.
///
/// # Safety
/// `context` is that of a call of one of these functions, whose result is not set yet.
unsafe fn fill(context: *mut c::sqlite3_context, bytes: &mut [u8]) -> bool {
    // SAFETY: by the contract. The function was defined with an owner, who is still there; SQLite copies the words up to
    // the zero.
    unsafe {
        let owner = &*c::sqlite3_user_data(context).cast::<Owner>();
        let is_filled = caught(false, || owner.surroundings().fill(bytes));
        if !is_filled {
            c::sqlite3_result_error(context, c"no randomness".as_ptr(), -1);
        }
        is_filled
    }
}

/// `random()`: any integer but the least, whose absolute value is none.
unsafe extern "C" fn random(context: *mut c::sqlite3_context, _: c_int, _: *mut *mut c::sqlite3_value) {
    let mut bytes = [0; 8];
    // SAFETY: SQLite calls this with a context.
    unsafe {
        if fill(context, &mut bytes) {
            c::sqlite3_result_int64(context, i64::from_le_bytes(bytes).max(-i64::MAX));
        }
    }
}

/// `randomblob(N)`: so many bytes, and at least one.
unsafe extern "C" fn random_blob(
    context: *mut c::sqlite3_context,
    _: c_int,
    arguments: *mut *mut c::sqlite3_value,
) {
    // SAFETY: SQLite calls this with a context and one argument. The block is written before anything reads it, and
    // given up once: to SQLite with the result, or here.
    unsafe {
        let length = c::sqlite3_value_int64(*arguments).max(1);
        if length > MAX_LENGTH.into() {
            return c::sqlite3_result_error_toobig(context);
        }
        let block = c::sqlite3_malloc64(length as u64).cast::<u8>();
        if block.is_null() {
            return c::sqlite3_result_error_nomem(context);
        }
        block.write_bytes(0, length as usize);
        if fill(context, std::slice::from_raw_parts_mut(block, length as usize)) {
            c::sqlite3_result_blob64(context, block.cast(), length as u64, Some(c::sqlite3_free));
        } else {
            c::sqlite3_free(block.cast());
        }
    }
}
