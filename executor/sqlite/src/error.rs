//! Errors reported by SQLite.

use std::ffi::c_int;

use libsqlite3_sys as c;

/// Maximum bytes of a message, which may quote an arbitrarily long statement.
const MAX_MESSAGE: usize = 1024;

/// SQLite's result code and message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("SQLite: {message} (code {code})")]
pub struct SqlError {
    /// The primary result code; guests know no extended codes.
    pub code: u32,
    /// SQLite's message.
    pub message: String,
}

impl SqlError {
    /// Creates an error with a message, truncated to [`MAX_MESSAGE`].
    pub(super) fn new(code: c_int, message: &str) -> SqlError {
        let end = message.floor_char_boundary(MAX_MESSAGE);
        SqlError { code: primary(code), message: message[..end].to_owned() }
    }

    /// Returns the error for a used-up account.
    pub(super) fn no_memory() -> SqlError {
        SqlError::new(c::SQLITE_NOMEM, "out of memory: the process has a limit")
    }
}

/// Strips the extended part of a result code.
fn primary(code: c_int) -> u32 {
    (code & 0xff) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_end_between_characters() {
        let error = SqlError::new(2067, &"ä".repeat(600).replacen('ä', "x", 1));
        assert_eq!((error.code, error.message.len()), (19, 1023));
    }
}
