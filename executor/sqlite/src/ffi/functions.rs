//! SQL functions that replace SQLite's: those whose results a simulation decides, and those that in SQLite may take
//! time proportional to the product of two lengths (`text`).

use std::ffi::{CStr, c_int, c_void};
use std::sync::Arc;

use libsqlite3_sys as c;

use crate::owner::Owner;
use crate::rules::MAX_LENGTH;
use crate::text;

use super::vfs::caught;

/// A SQL function.
type Function = unsafe extern "C" fn(*mut c::sqlite3_context, c_int, *mut *mut c::sqlite3_value);

/// The functions: name, number of arguments, whether the result depends on the arguments alone, implementation.
const FUNCTIONS: [(&CStr, c_int, bool, Function); 11] = [
    (c"random", 0, false, random),
    (c"randomblob", 1, false, random_blob),
    (c"instr", 2, true, instr),
    (c"replace", 3, true, replace),
    (c"trim", 1, true, trim::<true, true>),
    (c"trim", 2, true, trim::<true, true>),
    (c"ltrim", 1, true, trim::<true, false>),
    (c"ltrim", 2, true, trim::<true, false>),
    (c"rtrim", 1, true, trim::<false, true>),
    (c"rtrim", 2, true, trim::<false, true>),
    (c"unhex", 2, true, unhex),
];

/// Replaces SQLite's functions by these. Returns SQLite's result code.
///
/// # Safety
/// `db` is an open connection, and is closed before the owner is dropped.
pub(super) unsafe fn define(db: *mut c::sqlite3, owner: &Arc<Owner>) -> c_int {
    let context: *mut c_void = Arc::as_ptr(owner).cast_mut().cast();
    let define = |(name, arguments, is_deterministic, function): (&CStr, c_int, bool, Function)| {
        // As for SQLite's functions, schemas may use them, too.
        let flags = c::SQLITE_UTF8 | c::SQLITE_INNOCUOUS;
        let flags = if is_deterministic { flags | c::SQLITE_DETERMINISTIC } else { flags };
        let function = Some(function);
        // SAFETY: by the contract, the owner outlives the connection; the name is NUL-terminated.
        unsafe {
            c::sqlite3_create_function_v2(
                db,
                name.as_ptr(),
                arguments,
                flags,
                context,
                function,
                None,
                None,
                None,
            )
        }
    };
    FUNCTIONS.into_iter().map(define).find(|result| *result != c::SQLITE_OK).unwrap_or(c::SQLITE_OK)
}

/// `unhex(x, y)`: SQLite's function searches all of `y` for each character of `x`, without interruption. There is no
/// known use, so it is refused. `unhex(x)` is SQLite's.
///
/// # Safety
/// `context` belongs to a call of this function.
unsafe extern "C" fn unhex(context: *mut c::sqlite3_context, _: c_int, _: *mut *mut c::sqlite3_value) {
    // SAFETY: `context` is valid by the contract; SQLite copies the message.
    unsafe { c::sqlite3_result_error(context, c"unhex with two arguments is not supported".as_ptr(), -1) };
}

/// Fills `bytes` from the node's randomness. Sets an error as the call's result on failure.
///
/// # Safety
/// `context` belongs to a call of one of these functions, whose result is not set yet.
unsafe fn fill(context: *mut c::sqlite3_context, bytes: &mut [u8]) -> bool {
    // SAFETY: the function was defined with an owner that outlives the connection. SQLite copies the NUL-terminated
    // message.
    unsafe {
        let owner = &*c::sqlite3_user_data(context).cast::<Owner>();
        let is_filled = caught(false, || owner.environment().fill(bytes));
        if !is_filled {
            c::sqlite3_result_error(context, c"the node cannot provide random bytes".as_ptr(), -1);
        }
        is_filled
    }
}

/// `random()`: any integer except the smallest, whose absolute value is not an integer.
///
/// # Safety
/// Only SQLite calls this function, as documented; see the module documentation of `ffi`.
unsafe extern "C" fn random(context: *mut c::sqlite3_context, _: c_int, _: *mut *mut c::sqlite3_value) {
    let mut bytes = [0; 8];
    // SAFETY: SQLite passes a valid context, whose result is not set yet.
    unsafe {
        if fill(context, &mut bytes) {
            c::sqlite3_result_int64(context, i64::from_le_bytes(bytes).max(-i64::MAX));
        }
    }
}

/// `randomblob(N)`: N random bytes, and at least one.
///
/// # Safety
/// Only SQLite calls this function, as documented; see the module documentation of `ffi`.
unsafe extern "C" fn random_blob(
    context: *mut c::sqlite3_context,
    _: c_int,
    arguments: *mut *mut c::sqlite3_value,
) {
    // SAFETY: SQLite passes a context and one argument. The block is initialized before it is read, and freed once:
    // by SQLite with the result, or here.
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

/// Returns an argument's bytes, and whether they are a blob. Returns `None` for NULL, and when memory is exhausted,
/// which it sets as the call's result.
///
/// # Safety
/// `context` belongs to a call with this argument. The bytes are valid until the call returns.
unsafe fn bytes<'a>(
    context: *mut c::sqlite3_context,
    argument: *mut c::sqlite3_value,
) -> Option<(&'a [u8], bool)> {
    // SAFETY: by the contract. The length is requested after the pointer, as it depends on the conversion.
    unsafe {
        let kind = c::sqlite3_value_type(argument);
        if kind == c::SQLITE_NULL {
            return None;
        }
        let is_blob = kind == c::SQLITE_BLOB;
        let start: *const u8 =
            if is_blob { c::sqlite3_value_blob(argument).cast() } else { c::sqlite3_value_text(argument) };
        match (start.is_null(), c::sqlite3_value_bytes(argument)) {
            (_, 0) => Some((&[], is_blob)),
            (true, _) => {
                c::sqlite3_result_error_nomem(context);
                None
            }
            (false, length) => Some((std::slice::from_raw_parts(start, length as usize), is_blob)),
        }
    }
}

/// Sets a text as the result.
///
/// # Safety
/// `context` belongs to a function call.
unsafe fn return_text(context: *mut c::sqlite3_context, text: &[u8]) {
    let (start, length, utf8) = (text.as_ptr().cast(), text.len() as u64, c::SQLITE_UTF8 as u8);
    // SAFETY: by the contract; `start` points to `length` bytes, which SQLite copies.
    unsafe { c::sqlite3_result_text64(context, start, length, c::SQLITE_TRANSIENT(), utf8) };
}

/// `instr(X, Y)`: the position of Y in X.
///
/// # Safety
/// Only SQLite calls this function, as documented; see the module documentation of `ffi`.
unsafe extern "C" fn instr(
    context: *mut c::sqlite3_context,
    _: c_int,
    arguments: *mut *mut c::sqlite3_value,
) {
    // SAFETY: SQLite passes a context and two arguments.
    unsafe {
        let Some((haystack, is_blob)) = bytes(context, *arguments) else { return };
        let Some((needle, is_blob_too)) = bytes(context, *arguments.add(1)) else { return };
        let position = caught(0, || text::position(haystack, needle, !(is_blob && is_blob_too)));
        c::sqlite3_result_int64(context, position as i64);
    }
}

/// `replace(X, Y, Z)`: X with each Y replaced by Z.
///
/// # Safety
/// Only SQLite calls this function, as documented; see the module documentation of `ffi`.
unsafe extern "C" fn replace(
    context: *mut c::sqlite3_context,
    _: c_int,
    arguments: *mut *mut c::sqlite3_value,
) {
    // SAFETY: SQLite passes a context and three arguments. The block holds all pieces together, and SQLite owns it
    // with the result.
    unsafe {
        let Some((whole, _)) = bytes(context, *arguments) else { return };
        let Some((pattern, _)) = bytes(context, *arguments.add(1)) else { return };
        if pattern.first().is_none_or(|byte| *byte == 0) {
            return return_text(context, whole);
        }
        let Some((by, _)) = bytes(context, *arguments.add(2)) else { return };
        let length = text::replaced_length(whole, pattern, by);
        if length > MAX_LENGTH as usize {
            return c::sqlite3_result_error_toobig(context);
        }
        let block = c::sqlite3_malloc64(length as u64 + 1).cast::<u8>();
        if block.is_null() {
            return c::sqlite3_result_error_nomem(context);
        }
        let mut end = block;
        text::replace(whole, pattern, by, |piece| {
            end.copy_from_nonoverlapping(piece.as_ptr(), piece.len());
            end = end.add(piece.len());
        });
        let utf8 = c::SQLITE_UTF8 as u8;
        c::sqlite3_result_text64(context, block.cast(), length as u64, Some(c::sqlite3_free), utf8);
    }
}

/// `trim(X, Y)`, `ltrim`, `rtrim`: X without the characters of Y, or without spaces, at its ends.
///
/// # Safety
/// Only SQLite calls this function, as documented; see the module documentation of `ffi`.
unsafe extern "C" fn trim<const LEFT: bool, const RIGHT: bool>(
    context: *mut c::sqlite3_context,
    count: c_int,
    arguments: *mut *mut c::sqlite3_value,
) {
    // SAFETY: SQLite passes a context and `count` arguments.
    unsafe {
        let Some((whole, _)) = bytes(context, *arguments) else { return };
        let mut set = &b" "[..];
        if count > 1 {
            let Some((given, _)) = bytes(context, *arguments.add(1)) else { return };
            set = given.split(|byte| *byte == 0).next().unwrap_or(given);
        }
        return_text(context, caught(whole, || text::trim(whole, set, LEFT, RIGHT)));
    }
}
