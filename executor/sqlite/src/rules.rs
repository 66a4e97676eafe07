//! What a guest's SQL may not do, and how much of anything it may be.
//!
//! | | |
//! |---|---|
//! | files | `vfs` decides: below the process's directories, for `ATTACH` and `VACUUM INTO` as for `open` |
//! | time without an interruption | no full-text search, no `json_patch`; limits of lengths |
//! | loading code | not compiled into the way to files, off in each connection, and refused here |
//! | pragmas | those listed here, which concern the connection and its databases; what a later SQLite adds is refused |
//! | the schema's own bytes | `SQLITE_DBCONFIG_DEFENSIVE`, which also refuses `journal_mode=OFF` |
//!
//! Pragmas that are not listed, and why: `temp_store`, `temp_store_directory` and `data_store_directory` (there are no
//! temporary files; the directories would be the whole node's), `mmap_size` (who shortens a mapped file ends the node),
//! `soft_heap_limit` and `hard_heap_limit` (the node's; a process has its own), `threads` (there are none),
//! `writable_schema` and `trusted_schema` (a file from elsewhere stays harmless), `schema_version`, `lock_proxy_file`,
//! and what is for SQLite's own developers.

use std::ffi::{CStr, c_int};

use libsqlite3_sys as c;

/// Bytes of a text, a blob or a row.
pub(super) const MAX_LENGTH: c_int = 16 << 20;

/// Milliseconds that a statement may wait for another's lock. It has a thread for as long.
const MAX_BUSY_MS: u32 = 10_000;

/// What becomes of something that a statement would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Allowed,
    Denied,
    /// Not by SQLite: it is to wait so many milliseconds for locks.
    Wait(u32),
}

/// Limits of each connection: what there is a limit of, and how much.
pub(super) const LIMITS: [(c_int, c_int); 12] = [
    // What one function does with one value is never interrupted.
    (c::SQLITE_LIMIT_LENGTH, MAX_LENGTH),
    (c::SQLITE_LIMIT_SQL_LENGTH, 1 << 20),
    (c::SQLITE_LIMIT_COLUMN, 2000),
    // What SQLite does by recursion has to fit on a thread's stack; `tests` has what nests most deeply.
    (c::SQLITE_LIMIT_EXPR_DEPTH, 500),
    (c::SQLITE_LIMIT_COMPOUND_SELECT, 500),
    (c::SQLITE_LIMIT_VDBE_OP, 10_000_000),
    (c::SQLITE_LIMIT_FUNCTION_ARG, 127),
    (c::SQLITE_LIMIT_ATTACHED, 10),
    // The time that a comparison takes is the product of the lengths.
    (c::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1000),
    (c::SQLITE_LIMIT_VARIABLE_NUMBER, 32_766),
    (c::SQLITE_LIMIT_TRIGGER_DEPTH, 100),
    (c::SQLITE_LIMIT_WORKER_THREADS, 0),
];

/// Functions that no statement calls: what loads code; what belongs to modules that there are not; and what takes the product
/// of the lengths of two values, and is not interrupted.
const DENIED_FUNCTIONS: [&str; 7] = [
    "fts3_tokenizer",
    "fts5",
    "fts5_insttoken",
    "fts5_locale",
    "json_patch",
    "jsonb_patch",
    "load_extension",
];

/// Modules of virtual tables. Full-text search is not among them: to read a query takes the square of its length, hours
/// for the longest, and nothing interrupts it.
pub(super) const MODULES: [&CStr; 5] = [c"dbstat", c"json_each", c"json_tree", c"rtree", c"rtree_i32"];

/// See the module. In order, to be searched.
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

/// Judges what a statement would do, when it is compiled: one of SQLite's actions, with its two arguments.
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

/// As SQLite reads it: what is no number is 0, and nobody waits for less.
fn busy_ms(value: &str) -> u32 {
    let ms = value.trim().parse::<i64>().unwrap_or(0);
    ms.clamp(0, MAX_BUSY_MS.into()) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_searched_is_in_order() {
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
