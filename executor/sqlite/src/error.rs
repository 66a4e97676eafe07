//! What SQLite says when something went wrong.

use std::ffi::c_int;

use libsqlite3_sys as c;

/// Bytes of a message that are kept: it may quote as much of a statement as there is.
const MAX_MESSAGE: usize = 1024;

/// SQLite's result code, and its words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("SQLite: {message} (code {code})")]
pub struct SqlError {
    /// The primary code: guests know no others.
    pub code: u32,
    /// What SQLite says.
    pub message: String,
}

impl SqlError {
    /// An error with words of its own.
    pub(super) fn new(code: c_int, message: &str) -> SqlError {
        let end = message.floor_char_boundary(MAX_MESSAGE);
        SqlError { code: primary(code), message: message[..end].to_owned() }
    }

    /// The account is used up.
    pub(super) fn no_memory() -> SqlError {
        SqlError::new(c::SQLITE_NOMEM, "out of memory: the process has a limit")
    }
}

/// A result code without what it says more precisely.
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
