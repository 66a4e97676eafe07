//! Adds the imports that a guest's text needs.
//!
//! Guests in tests are written without imports. [`with_imports`] finds the functions that a text calls and does not define,
//! and imports them, with the types that the table of host functions (`executor/ABI.md`) has. A function is called
//!
//! - by its short name, if it has one in [`SHORT`]: `call $me`;
//! - by its full name without the first part: `call $networking::tcp_bind`, `call $ext::redirect::to_file`;
//! - as a function of WASI preview 1: `call $path_open`.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::abi::Row;

const PREVIEW_1: &str = "wasi_snapshot_preview1";

/// Short names, each after the function's name. A function without one of its own is called by its last part.
const SHORT: &[(&str, &str)] = &[
    (
        "lunatic::process",
        "spawn=spawn_raw get_or_spawn=get_or_spawn_raw process_id=me sleep_ms=sleep die_when_link_dies link unlink \
         monitor stop_monitoring kill exists create_config config_set_max_memory=set_max_memory \
         config_get_max_memory=get_max_memory config_set_max_fuel=set_max_fuel \
         config_set_can_spawn_processes=set_can_spawn config_can_spawn_processes=can_spawn \
         config_set_can_create_configs=set_can_create config_set_can_compile_modules=set_can_compile drop_config \
         compile_module drop_module",
    ),
    (
        "lunatic::message",
        "create_data write_data read_data get_tag get_process_id send=send_raw send_receive_skip_search=request \
         receive push_module take_module push_udp_socket take_udp_socket",
    ),
    ("lunatic::error", "string_size=error_size to_string=error_text drop=drop_error"),
    ("lunatic::registry", "put get remove"),
    ("lunatic::timer", "send_after cancel_timer"),
    ("lunatic::trap", "catch"),
    ("lunatic::ext", "version=ext_version"),
    (
        "lunatic::ext::death",
        "kind=death_kind code=death_code cause_kind=death_cause_kind cause_code=death_cause_code \
         process=death_process reference=death_reference",
    ),
    ("lunatic::ext::exit", "exit=exit_with signal=exit_signal"),
    ("lunatic::ext::alias", "create=alias_create drop=alias_drop send=alias_send"),
    ("lunatic::ext::mailbox", "set_policy=mailbox_policy dropped=mailbox_dropped length=mailbox_length"),
    ("lunatic::ext::process", "info set_priority name"),
    ("lunatic::ext::timer", "cancel=timer_cancel"),
    (
        "lunatic::ext::config",
        "set_max_processes get_max_processes processes=count_processes set_max_mailbox get_max_mailbox \
         set_max_messages get_max_messages set_max_reductions get_max_reductions set_max_priority get_max_priority \
         set_max_resources get_max_resources set_stack_size get_stack_size forbid give_listeners",
    ),
    ("lunatic::ext::monitor", "start=monitor_start stop=monitor_stop"),
    (
        "lunatic::networking",
        "resolve resolve_next tcp_bind tcp_accept tcp_connect tcp_read udp_bind drop_udp_socket tls_bind tls_accept",
    ),
    ("lunatic::wasi", "config_preopen_dir=preopen config_add_command_line_argument=add_argument"),
    (PREVIEW_1, "clock_time_get=clock proc_exit=exit"),
];

/// Functions of WASI preview 1 with their parameters. All but `proc_exit` return an errno.
const WASI: &[(&str, &str)] = &[
    ("args_get", "i32 i32"),
    ("args_sizes_get", "i32 i32"),
    ("clock_time_get", "i32 i64 i32"),
    ("environ_get", "i32 i32"),
    ("environ_sizes_get", "i32 i32"),
    ("fd_close", "i32"),
    ("fd_fdstat_get", "i32 i32"),
    ("fd_fdstat_set_flags", "i32 i32"),
    ("fd_filestat_set_times", "i32 i64 i64 i32"),
    ("fd_pread", "i32 i32 i32 i64 i32"),
    ("fd_prestat_dir_name", "i32 i32 i32"),
    ("fd_prestat_get", "i32 i32"),
    ("fd_pwrite", "i32 i32 i32 i64 i32"),
    ("fd_read", "i32 i32 i32 i32"),
    ("fd_readdir", "i32 i32 i32 i64 i32"),
    ("fd_sync", "i32"),
    ("fd_write", "i32 i32 i32 i32"),
    ("path_filestat_set_times", "i32 i32 i32 i32 i64 i64 i32"),
    ("path_link", "i32 i32 i32 i32 i32 i32 i32"),
    ("path_open", "i32 i32 i32 i32 i32 i64 i64 i32 i32"),
    ("path_rename", "i32 i32 i32 i32 i32 i32"),
    ("poll_oneoff", "i32 i32 i32 i32"),
    ("proc_exit", "i32"),
    ("random_get", "i32 i32"),
    ("sock_accept", "i32 i32 i32"),
];

/// The text of a module with the imports that it lacks. A function that the text defines or imports itself is left alone.
pub(crate) fn with_imports(text: &str) -> String {
    let defined = names_after(text, "(func $");
    let mut called = names_after(text, "call $");
    called.extend(names_after(text, "ref.func $"));
    let mut imports = String::new();
    for name in called.difference(&defined) {
        if let Some(import) = import(name) {
            imports += &import;
        }
    }
    text.replacen("(module", &format!("(module {imports}"), 1)
}

/// The words that follow a mark in a text.
fn names_after<'a>(text: &'a str, mark: &str) -> BTreeSet<&'a str> {
    let ends = |c: char| c.is_whitespace() || c == '(' || c == ')';
    text.split(mark).skip(1).map(|rest| rest.split(ends).next().expect("a split has a first part")).collect()
}

/// The import of a function by a name that guests use, or `None` if no function has it.
fn import(name: &str) -> Option<String> {
    let (module, function) = function(name)?;
    let mut text = format!("(import \"{module}\" \"{function}\" (func ${name}");
    if module == PREVIEW_1 {
        let (_, params) = WASI.iter().find(|(known, _)| *known == function)?;
        let result = if function == "proc_exit" { "" } else { " (result i32)" };
        write!(text, " (param {params}){result}").expect("writing to a string does not fail");
    } else {
        let row = Row::all().into_iter().find(|row| row.module == module && row.name == function)?;
        for ty in row.types() {
            write!(text, " (param {ty})").expect("writing to a string does not fail");
        }
        if let Some(ty) = &row.result {
            write!(text, " (result {ty})").expect("writing to a string does not fail");
        }
    }
    Some(text + "))\n")
}

/// The module and the name of a function by a name that guests use.
fn function(name: &str) -> Option<(String, String)> {
    if let Some((namespace, function)) = name.rsplit_once("::") {
        return Some((format!("lunatic::{namespace}"), function.into()));
    }
    for (module, words) in SHORT {
        for word in words.split_whitespace() {
            let (function, short) = word.split_once('=').unwrap_or((word, word));
            if short == name {
                return Some(((*module).into(), function.into()));
            }
        }
    }
    WASI.iter().any(|(known, _)| *known == name).then(|| (PREVIEW_1.into(), name.into()))
}
