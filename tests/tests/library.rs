//! The published `lunatic` crate, module by module: the parts that the guest of `guests.rs` does not use.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use lunatic_tests::commands::run_scenario;
use lunatic_tests::guests::build;

fn guest() -> &'static Path {
    static MODULE: OnceLock<PathBuf> = OnceLock::new();
    MODULE.get_or_init(|| build("tests/guests/library", "test-library"))
}

lunatic_tests::cache!("library");

/// A hand-written module: a function that traps for odd numbers, and an endless loop.
const OTHER: &str = r#"(module
    (func (export "even") (param i32)
        (if (i32.and (local.get 0) (i32.const 1)) (then (unreachable))))
    (func (export "spin") (loop (br 0))))"#;

/// A directory with the modules that guests load at run time: the guest itself and the hand-written module.
fn modules() -> &'static str {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    let directory = DIRECTORY.get_or_init(|| {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("library-modules");
        std::fs::create_dir_all(&directory).expect("it can be made");
        std::fs::copy(guest(), directory.join("own.wasm")).expect("it can be copied");
        let other = wat::parse_str(OTHER).expect("it is well-formed");
        std::fs::write(directory.join("other.wasm"), other).expect("it can be written");
        directory
    });
    directory.to_str().expect("a name in UTF-8")
}

/// Runs a scenario on one worker and on two.
fn scenario(name: &str) {
    let directory = format!("{}::.", modules());
    run_scenario(&["--cache-dir", cache(), "--dir", &directory], guest(), name);
}

lunatic_tests::scenarios! { scenario:
    references_travel => "references",
    links_and_monitors_are_made_and_taken_back => "links-by-hand",
    locals_are_each_processs_own => "process-local",
    names_belong_to_processes_of_a_type => "names",
    metrics_take_any_name => "metrics",
    a_node_is_there_for_itself => "one-node",
    every_serializer_gives_back_what_it_was_given => "serializers",
    mailboxes_are_looked_into_and_waited_at => "mailboxes",
    functions_are_sent => "functions",
    sockets_are_sent_in_every_form => "resources",
    both_sides_of_a_protocol_keep_it => "protocols",
    tasks_have_configs_timeouts_and_tasks => "tasks",
    abstract_processes_handle_all_kinds_of_messages => "abstract-process",
    abstract_processes_begin_and_end => "lifecycle",
    delayed_messages_come_or_are_cancelled => "delays",
    each_strategy_restarts_whom_it_should => "supervisors",
    supervisors_supervise_supervisors => "supervisors-of-supervisors",
    modules_are_loaded_and_sent => "modules",
    modules_that_cannot_be_run_are_refused => "modules-refused",
    configs_say_what_was_set => "configs",
    a_config_gives_a_directory => "configs-inside",
}
