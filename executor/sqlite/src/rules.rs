//! Restrictions on a guest's SQL, and size limits.
//!
//! | subject | rule |
//! |---|---|
//! | files | `vfs` decides: below the process's directories, for `ATTACH` and `VACUUM INTO` as for `open` |
//! | uninterruptible work | no full-text search, no `json_patch`; length limits |
//! | loading code | not compiled into the VFS, off in each connection, and refused here |
//! | pragmas | only those listed here, which concern the connection and its databases |
//! | the schema's own bytes | `SQLITE_DBCONFIG_DEFENSIVE`, which also refuses `journal_mode=OFF` |
//!
//! Unlisted pragmas and the reasons: `temp_store`, `temp_store_directory` and `data_store_directory` (there are no
//! temporary files; the directories would affect the whole node), `mmap_size` (truncating a mapped file kills the
//! node), `soft_heap_limit` and `hard_heap_limit` (they affect the node; a process has its own limit), `threads`
//! (there are none), `writable_schema` and `trusted_schema` (a foreign file stays harmless), `schema_version`,
//! `lock_proxy_file`, and pragmas for SQLite's own developers.

use std::ffi::{CStr, c_int};

use libsqlite3_sys as c;

/// Maximum bytes of a text, a blob or a row.
pub(super) const MAX_LENGTH: c_int = 16 << 20;

/// Maximum milliseconds that a statement may wait for a lock. It occupies a thread meanwhile.
const MAX_BUSY_MS: u32 = 10_000;

/// Decision about an action of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Allowed,
    Denied,
    /// Handled here instead of by SQLite: sets the lock timeout in milliseconds.
    Wait(u32),
}

/// Limits of each connection, with their values.
pub(super) const LIMITS: [(c_int, c_int); 12] = [
    // A function call on one value cannot be interrupted.
    (c::SQLITE_LIMIT_LENGTH, MAX_LENGTH),
    (c::SQLITE_LIMIT_SQL_LENGTH, 1 << 20),
    (c::SQLITE_LIMIT_COLUMN, 2000),
    // SQLite's recursion must fit on a thread's stack; `tests` has the most deeply nested statements.
    (c::SQLITE_LIMIT_EXPR_DEPTH, 500),
    (c::SQLITE_LIMIT_COMPOUND_SELECT, 500),
    (c::SQLITE_LIMIT_VDBE_OP, 10_000_000),
    (c::SQLITE_LIMIT_FUNCTION_ARG, 127),
    (c::SQLITE_LIMIT_ATTACHED, 10),
    // A comparison takes time proportional to the product of the lengths.
    (c::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1000),
    (c::SQLITE_LIMIT_VARIABLE_NUMBER, 32_766),
    (c::SQLITE_LIMIT_TRIGGER_DEPTH, 100),
    (c::SQLITE_LIMIT_WORKER_THREADS, 0),
];

/// Functions that statements may not call: they load code, belong to absent modules, or take time proportional to the
/// product of two values' lengths without interruption.
const DENIED_FUNCTIONS: [&str; 7] = [
    "fts3_tokenizer",
    "fts5",
    "fts5_insttoken",
    "fts5_locale",
    "json_patch",
    "jsonb_patch",
    "load_extension",
];

/// Virtual table modules. Excludes full-text search: parsing a query takes time quadratic in its length, hours for
/// the longest, without interruption.
pub(super) const MODULES: [&CStr; 5] = [c"dbstat", c"json_each", c"json_tree", c"rtree", c"rtree_i32"];

/// Permitted pragmas, sorted for binary search. See the module documentation.
const PRAGMAS: [&str; 56] = [
    "analysis_limit",
    "application_id",
    "auto_vacuum",
    "automatic_index",
    "cache_size",
    "cache_spill",
    "case_sensitive_like",
    "cell_size_check",
    "checkpoint_fullfsync",
    "collation_list",
    "compile_options",
    "count_changes",
    "data_version",
    "database_list",
    "defer_foreign_keys",
    "empty_result_callbacks",
    "encoding",
    "foreign_key_check",
    "foreign_key_list",
    "foreign_keys",
    "freelist_count",
    "full_column_names",
    "fullfsync",
    "function_list",
    "ignore_check_constraints",
    "incremental_vacuum",
    "index_info",
    "index_list",
    "index_xinfo",
    "integrity_check",
    "journal_mode",
    "journal_size_limit",
    "legacy_alter_table",
    "legacy_file_format",
    "locking_mode",
    "max_page_count",
    "module_list",
    "optimize",
    "page_count",
    "page_size",
    "pragma_list",
    "query_only",
    "quick_check",
    "read_uncommitted",
    "recursive_triggers",
    "reverse_unordered_selects",
    "secure_delete",
    "short_column_names",
    "shrink_memory",
    "synchronous",
    "table_info",
    "table_list",
    "table_xinfo",
    "user_version",
    "wal_autocheckpoint",
    "wal_checkpoint",
];

/// Decides about an action when a statement is compiled. Takes SQLite's action code and its two arguments.
pub(super) fn judge(action: c_int, first: Option<&str>, second: Option<&str>) -> Verdict {
    let is_allowed = match action {
        c::SQLITE_FUNCTION => second.is_none_or(|name| !is_one_of(&DENIED_FUNCTIONS, name)),
        c::SQLITE_PRAGMA => match (first, second) {
            (Some(name), Some(value)) if name.eq_ignore_ascii_case("busy_timeout") => {
                return Verdict::Wait(busy_ms(value));
            }
            (Some(name), None) if name.eq_ignore_ascii_case("busy_timeout") => true,
            (name, _) => name.is_some_and(|name| is_one_of(&PRAGMAS, name)),
        },
        _ => true,
    };
    if is_allowed { Verdict::Allowed } else { Verdict::Denied }
}

fn is_one_of(names: &[&str], name: &str) -> bool {
    names.binary_search(&&*name.to_ascii_lowercase()).is_ok()
}

/// Parses the timeout like SQLite: anything that is not a number counts as 0, as do negative numbers.
fn busy_ms(value: &str) -> u32 {
    let ms = value.trim().parse::<i64>().unwrap_or(0);
    ms.clamp(0, MAX_BUSY_MS.into()) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn searched_lists_are_sorted() {
        assert!(PRAGMAS.is_sorted() && DENIED_FUNCTIONS.is_sorted());
    }

    #[test]
    fn pragmas_are_allowed_by_name() {
        let pragma = |name| judge(c::SQLITE_PRAGMA, Some(name), Some("1"));
        for name in ["temp_store", "MMAP_SIZE", "hard_heap_limit", "writable_schema", "new_in_2030", ""] {
            assert_eq!(pragma(name), Verdict::Denied, "{name}");
        }
        assert_eq!(pragma("Journal_Mode"), Verdict::Allowed);
        assert_eq!(judge(c::SQLITE_PRAGMA, None, None), Verdict::Denied);
        assert_eq!(pragma("busy_timeout"), Verdict::Wait(1));
        let wait = |value| judge(c::SQLITE_PRAGMA, Some("busy_timeout"), Some(value));
        assert_eq!((wait("-5"), wait("x")), (Verdict::Wait(0), Verdict::Wait(0)));
        assert_eq!(wait("9999999999"), Verdict::Wait(MAX_BUSY_MS));
    }

    #[test]
    fn code_is_not_loaded() {
        assert_eq!(judge(c::SQLITE_FUNCTION, None, Some("LOAD_EXTENSION")), Verdict::Denied);
        assert_eq!(judge(c::SQLITE_FUNCTION, None, Some("upper")), Verdict::Allowed);
        assert_eq!(judge(c::SQLITE_ATTACH, Some("other.db"), None), Verdict::Allowed);
    }
}
