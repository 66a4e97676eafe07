//! Calls every host function of the table with each of its arguments wrong, each call in a process of its own: the process traps
//! for the expected reason, and no other process is affected. Then calls it with valid arguments: it does not trap.
//!
//! HOSTILE 22, 23, 24 and 26.

mod common;

use std::fmt::Write;

use common::abi::{Param, Row};
use common::{Outcome, run, workers};

/// Addresses in the guest's memory that valid arguments point to. Results are written to the bytes from `PLACES` on.
const PLACES: u32 = 4096;
const TEXT: u32 = 1024;
const NOT_TEXT: u32 = 1032;

/// The size of the guest's memory in bytes.
const MEMORY: u32 = 2 << 16;

/// An identifier that no process has.
const NOBODY: &str = "77777";

// Parts of fault messages.
const OUTSIDE: &str = "outside the memory";
const NOT_UTF8: &str = "is not UTF-8";
const UNKNOWN: &str = "there is no ";
const NO_ADDRESS: &str = "an address has the type 4 or 6";

/// Functions that trap even with valid arguments here, with the reason.
const ALWAYS_TRAP: &[(&str, &str)] = &[
    ("lunatic::distributed::test_root_cert", "there is no control server"),
    ("lunatic::distributed::default_server_certificates", "as above"),
    ("lunatic::distributed::sign_node", "as above"),
    ("lunatic::ext::death::cause_code", "the current message is not a death notification"),
    ("lunatic::ext::death::cause_kind", "as above"),
    ("lunatic::ext::death::code", "as above"),
    ("lunatic::ext::death::kind", "as above"),
    ("lunatic::ext::death::process", "as above"),
    ("lunatic::ext::death::reference", "as above"),
    ("lunatic::ext::config::forbid", "the text here fits no function"),
    ("lunatic::ext::config::preopen_dir", "the guest here has no directory"),
    ("lunatic::ext::exit::exit", "it is how a process ends"),
    ("lunatic::sqlite::bind_value", "no bytes are no list"),
    ("lunatic::sqlite::query_prepare", "the text here is not a statement"),
    ("lunatic::trap::catch", "the guest here has no function to call back"),
    ("lunatic::wasi::config_preopen_dir", "the guest here has no directory"),
];

/// A call: code that runs before it, its arguments, and a part of the trap's message, if it traps.
struct Call {
    what: String,
    before: String,
    args: Vec<String>,
    trap: Option<&'static str>,
}

impl Call {
    fn wat(&self, function: usize, has_result: bool) -> String {
        let Call { before, args, .. } = self;
        let drop = if has_result { "drop" } else { "" };
        format!("{before} {} (call $f{function}) {drop}", args.join(" "))
    }
}

/// All calls of a function: the valid one first.
fn calls(row: &Row) -> Vec<Call> {
    let name = format!("{}::{}", row.module, row.name);
    let before = match row.name.strip_prefix("take_") {
        // The resource to take is put into the message first.
        Some(kind) => format!("(drop (call $push_{kind} (call ${kind})))"),
        None => String::new(),
    };
    let right: Vec<Vec<String>> = (0..row.params.len()).map(|index| right_args(&name, row, index)).collect();
    let always = ALWAYS_TRAP.iter().any(|(function, _)| *function == name);
    let mut calls = vec![Call {
        what: format!("{name}, all well"),
        before: before.clone(),
        args: right.concat(),
        trap: always.then_some(""),
    }];
    for index in 0..row.params.len() {
        for (wrong, trap) in wrong_args(row, index) {
            let mut args = right.clone();
            let what = format!("{name}, argument {index}: {}", wrong.join(" "));
            // A wrong length replaces the pointer before it, too.
            args.splice(index..(index + wrong.len()).min(args.len()), wrong.into_iter().map(|arg| vec![arg]));
            if let Param::Address = row.params[index] {
                args = right.clone();
                args[index] = what_address(&what);
            }
            calls.push(Call { what, before: before.clone(), args: args.concat(), trap: Some(trap) });
        }
    }
    calls
}

/// The address in the description of a call.
fn what_address(what: &str) -> Vec<String> {
    let text = what.split_once(": ").expect("it is there").1;
    text.split(';').map(String::from).collect()
}

/// Valid arguments for a parameter.
fn right_args(function: &str, row: &Row, index: usize) -> Vec<String> {
    let one = |text: String| vec![text];
    match &row.params[index] {
        Param::Place(_) => one(format!("(i32.const {})", PLACES + 64 * index as u32)),
        Param::Array(_) => one(format!("(i32.const {})", PLACES + 1024)),
        Param::Text => one(format!("(i32.const {TEXT})")),
        Param::Length => one(match &row.params[index - 1] {
            Param::Text => "(i32.const 1)".into(),
            _ => "(i32.const 0)".into(),
        }),
        Param::Address => ["4", &(TEXT + 16).to_string(), "0", "0", "0"]
            .map(|number| format!("(i32.const {number})"))
            .to_vec(),
        Param::Identifier(kind) if kind == "index" => one("(i64.const 0)".into()),
        Param::Identifier(kind) => one(format!("(call ${kind})")),
        // Kill only a process that does not exist.
        Param::Number("i64") if function == "lunatic::process::kill" => one("(i64.const 123456)".into()),
        // The system refuses 0.
        Param::Number("i32") if function == "lunatic::networking::set_udp_socket_ttl" => {
            one("(i32.const 1)".into())
        }
        Param::Number("i64") if is_optional(row, index) => one("(i64.const -1)".into()),
        Param::Number(ty) => one(format!("({ty}.const 0)")),
    }
}

/// Whether the parameter is a configuration or module that may be the caller's own: these precede the function's name.
fn is_optional(row: &Row, index: usize) -> bool {
    let name = row.params.iter().rposition(|param| *param == Param::Text);
    row.name.contains("spawn") && name.is_some_and(|name| (name - 2..name).contains(&index))
}

/// Invalid arguments for a parameter, with a part of the trap's message. A pointer includes its length.
fn wrong_args(row: &Row, index: usize) -> Vec<(Vec<String>, &'static str)> {
    let range = |pointer: u32, length: u32| {
        vec![format!("(i32.const {})", pointer as i32), format!("(i32.const {})", length as i32)]
    };
    match &row.params[index] {
        Param::Place(size) => {
            let at = |pointer: u32| vec![format!("(i32.const {})", pointer as i32)];
            vec![
                (at(MEMORY - size + 1), OUTSIDE),
                (at(u32::MAX), OUTSIDE),
                (at(u32::MAX - size + 1), OUTSIDE),
            ]
        }
        Param::Array(size) => vec![
            (range(MEMORY - 1, 2), OUTSIDE),
            (range(u32::MAX, 1), OUTSIDE),
            (range(u32::MAX - 15, 32), OUTSIDE),
            // Counted in bytes, this overflows to 0 or to a valid length.
            (range(0, if *size == 8 { 1 << 29 } else { u32::MAX }), OUTSIDE),
        ],
        Param::Text => vec![
            (range(MEMORY - 1, 2), OUTSIDE),
            (range(u32::MAX - 15, 32), OUTSIDE),
            (range(0, u32::MAX), OUTSIDE),
            (range(NOT_TEXT, 1), NOT_UTF8),
        ],
        Param::Address => vec![
            (vec![address(5, TEXT)], NO_ADDRESS),
            (vec![address(0, TEXT)], NO_ADDRESS),
            (vec![address(4, MEMORY - 3)], OUTSIDE),
            (vec![address(6, MEMORY - 15)], OUTSIDE),
            (vec![address(4, u32::MAX)], OUTSIDE),
        ],
        Param::Identifier(_) => {
            let nobody = |id: &str| vec![format!("(i64.const {id})")];
            vec![
                (nobody(NOBODY), UNKNOWN),
                (nobody("-1"), UNKNOWN),
                (nobody("-9223372036854775808"), UNKNOWN),
            ]
        }
        Param::Number(_) if is_optional(row, index) => {
            vec![(vec![format!("(i64.const {NOBODY})")], UNKNOWN), (vec!["(i64.const -2)".into()], UNKNOWN)]
        }
        Param::Length | Param::Number(_) => Vec::new(),
    }
}

fn address(kind: u32, bytes: u32) -> String {
    [kind, bytes, 0, 0, 0].map(|number| format!("(i32.const {})", number as i32)).join(";")
}

/// The common part of all guests here: functions that make a resource of each kind, and a first process that spawns a child for
/// each call and continues when the child has ended.
const PRELUDE: &str = r#"
  (import "lunatic::process" "spawn" (func $spawn (param i64 i64 i64 i32 i32 i32 i32 i32) (result i32)))
  (import "lunatic::process" "kill" (func $kill (param i64)))
  (import "lunatic::process" "create_config" (func $create_config (result i64)))
  (import "lunatic::process" "compile_module" (func $compile (param i32 i32 i32) (result i32)))
  (import "lunatic::message" "create_data" (func $create_data (param i64 i64)))
  (import "lunatic::message" "receive" (func $receive (param i32 i32 i64) (result i32)))
  (import "lunatic::message" "push_module" (func $push_module (param i64) (result i64)))
  (import "lunatic::message" "push_tcp_stream" (func $push_tcp_stream (param i64) (result i64)))
  (import "lunatic::message" "push_tls_stream" (func $push_tls_stream (param i64) (result i64)))
  (import "lunatic::message" "push_udp_socket" (func $push_udp_socket (param i64) (result i64)))
  (import "lunatic::ext::monitor" "start" (func $monitor (param i64) (result i64)))
  (import "lunatic::distributed" "exec_lookup_nodes" (func $fail (param i32 i32 i32 i32 i32) (result i32)))
  (import "lunatic::networking" "resolve" (func $resolve (param i32 i32 i64 i32) (result i32)))
  (import "lunatic::networking" "resolve_next" (func $next (param i64 i32 i32 i32 i32 i32) (result i32)))
  (import "lunatic::networking" "tcp_bind" (func $tcp_bind (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "lunatic::networking" "tcp_local_addr" (func $tcp_local (param i64 i32) (result i32)))
  (import "lunatic::networking" "tcp_connect" (func $tcp_connect (param i32 i32 i32 i32 i32 i64 i32) (result i32)))
  (import "lunatic::networking" "udp_bind" (func $udp_bind (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "lunatic::networking" "tls_bind"
    (func $tls_bind (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "lunatic::networking" "tls_local_addr" (func $tls_local (param i64 i32) (result i32)))
  (import "lunatic::networking" "tls_accept" (func $tls_accept (param i64 i32 i32) (result i32)))
  (import "lunatic::sqlite" "open" (func $open (param i32 i32 i32) (result i64)))
  (import "lunatic::sqlite" "query_prepare" (func $prepare (param i64 i32 i32) (result i64)))
  (memory (export "memory") 2 2)
  (data (i32.const 1024) "x")
  (data (i32.const 1032) "\ff")
  (data (i32.const 1040) "\7f\00\00\01")
  (data (i32.const 1056) "127.0.0.1:80")
  (data (i32.const 1072) "\00asm\01\00\00\00")
  (data (i32.const 1088) "SELECT 1")
  (func (export "lunatic_alloc") (param i32) (result i32) (i32.const 3200))
  (func $well (param i32) (if (local.get 0) (then (unreachable))))
  (func $made (result i64) (i64.load (i32.const 3072)))
  (func $config (result i64) (call $create_config))
  (func $module (result i64)
    (call $well (call $compile (i32.const 1072) (i32.const 8) (i32.const 3072))) (call $made))
  (func $error (result i64)
    (drop (call $fail (i32.const 1024) (i32.const 1) (i32.const 3080) (i32.const 3088) (i32.const 3072)))
    (call $made))
  (func $iterator (result i64)
    (call $well (call $resolve (i32.const 1056) (i32.const 12) (i64.const -1) (i32.const 3072))) (call $made))
  (func $tcp_listener (result i64)
    (call $well (call $tcp_bind (i32.const 4) (i32.const 1040) (i32.const 0) (i32.const 0) (i32.const 0)
      (i32.const 3072)))
    (call $made))
  ;; A connection to the one address of an iterator.
  (func $to (param $iterator i64) (result i64)
    (call $well (call $next (local.get $iterator) (i32.const 3080) (i32.const 3096) (i32.const 3112) (i32.const 3116)
      (i32.const 3120)))
    (call $well (call $tcp_connect (i32.const 4) (i32.const 3096) (i32.load16_u (i32.const 3112)) (i32.const 0)
      (i32.const 0) (i64.const -1) (i32.const 3072)))
    (call $made))
  (func $tcp_stream (result i64)
    (call $well (call $tcp_local (call $tcp_listener) (i32.const 3072)))
    (call $to (call $made)))
  (func $tls_listener (result i64)
    (call $well (call $tls_bind (i32.const 4) (i32.const 1040) (i32.const 0) (i32.const 0) (i32.const 0)
      (i32.const 3072) (global.get $certificate) (global.get $certificate_len) (global.get $key)
      (global.get $key_len)))
    (call $made))
  (func $tls_stream (result i64) (local $listener i64)
    (local.set $listener (call $tls_listener))
    (call $well (call $tls_local (local.get $listener) (i32.const 3072)))
    (drop (call $to (call $made)))
    (call $well (call $tls_accept (local.get $listener) (i32.const 3072) (i32.const 3080)))
    (call $made))
  (func $udp_socket (result i64)
    (call $well (call $udp_bind (i32.const 4) (i32.const 1040) (i32.const 0) (i32.const 0) (i32.const 0)
      (i32.const 3072)))
    (call $made))
  (func $connection (result i64)
    (call $well (i32.wrap_i64 (call $open (i32.const 0) (i32.const 0) (i32.const 3072)))) (call $made))
  (func $statement (result i64) (call $prepare (call $connection) (i32.const 1088) (i32.const 8)))
  (func (export "_start") (local $left i32) (local $name i32) (local $child i64)
    (local.set $name (global.get $names))
    (local.set $left (global.get $cases))
    (loop $next
      (call $well (call $spawn (i64.const 0) (i64.const -1) (i64.const -1) (local.get $name) (i32.const 5)
        (i32.const 0) (i32.const 0) (i32.const 3072)))
      (local.set $child (call $made))
      (drop (call $monitor (local.get $child)))
      ;; Calls that wait do not wait for a living process.
      (if (i32.eq (call $receive (i32.const 0) (i32.const 0) (i64.const 1000)) (i32.const 9027))
        (then
          (call $kill (local.get $child))
          (drop (call $receive (i32.const 0) (i32.const 0) (i64.const -1)))))
      (local.set $name (i32.add (local.get $name) (i32.const 5)))
      (br_if $next (local.tee $left (i32.sub (local.get $left) (i32.const 1))))))
"#;

/// A guest that makes all calls of these functions.
fn guest(rows: &[Row], calls: &[(usize, Call)]) -> String {
    let mut imports = String::new();
    for (index, row) in rows.iter().enumerate() {
        let types: Vec<_> = row.types().collect();
        let result: String = row.result.iter().map(|ty| format!("(result {ty})")).collect();
        let Row { module, name, .. } = row;
        write!(imports, "(import {module:?} {name:?} (func $f{index} (param {}) {result}))", types.join(" "))
            .expect("it fits");
    }
    let (mut functions, mut names) = (String::new(), String::new());
    for (number, (function, call)) in calls.iter().enumerate() {
        let call = call.wat(*function, rows[*function].result.is_some());
        writeln!(
            functions,
            "(func (export \"{}\") (call $create_data (i64.const 1) (i64.const 0)) {call})",
            export(number)
        )
        .expect("it fits");
        names += &export(number);
    }
    let server = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("there is randomness");
    let mut data = String::new();
    let mut at = 1 << 16;
    for (name, text) in
        [("certificate", server.cert.pem()), ("key", server.signing_key.serialize_pem()), ("names", names)]
    {
        writeln!(
            data,
            "(global ${name} i32 (i32.const {at})) (global ${name}_len i32 (i32.const {})) \
             (data (i32.const {at}) {text:?})",
            text.len()
        )
        .expect("it fits");
        at += text.len().next_multiple_of(16);
    }
    let text = data.replace("\\n", "\\0a").replace("\\r", "\\0d");
    // Imports precede all definitions.
    let (prelude_imports, prelude_rest) =
        PRELUDE.split_at(PRELUDE.find("(memory").expect("the memory is behind the imports"));
    format!(
        "(module {prelude_imports} {imports} {prelude_rest} {text} (global $cases i32 (i32.const {})) {functions})",
        calls.len()
    )
}

/// The name of a call's entry: five letters.
fn export(number: usize) -> String {
    format!("c{number:04}")
}

/// The report about the process of a call, if it trapped.
fn report(outcome: &Outcome, number: usize) -> Option<&str> {
    let name = format!("({})", export(number));
    outcome.stderr.lines().find(|line| line.contains(&name))
}

fn check(namespace: &str) {
    let rows: Vec<Row> = Row::all().into_iter().filter(|row| row.module == namespace).collect();
    let calls: Vec<(usize, Call)> = rows
        .iter()
        .enumerate()
        .flat_map(|(index, row)| calls(row).into_iter().map(move |call| (index, call)))
        .collect();
    let outcome = run(workers(2), &guest(&rows, &calls));
    let mut wrong = Vec::new();
    for (number, (_, call)) in calls.iter().enumerate() {
        let report = report(&outcome, number);
        let is_right = match (call.trap, report) {
            (None, None) => true,
            (Some(says), Some(report)) => report.contains(says),
            // A function that ends the process does not trap.
            (Some(""), None) => true,
            _ => false,
        };
        if !is_right {
            wrong.push(format!("{}: expected {:?}, got {report:?}", call.what, call.trap));
        }
    }
    assert!(wrong.is_empty(), "{namespace}:\n{}", wrong.join("\n"));
    assert_eq!(outcome.status, 0, "another process is affected: {}", outcome.stderr);
}

macro_rules! namespaces {
    ($($test:ident => $namespace:literal),* $(,)?) => {
        $(
            #[test]
            fn $test() {
                check($namespace);
            }
        )*

        #[test]
        fn every_namespace_is_here() {
            let here = [$($namespace),*];
            let missing: Vec<_> = Row::all().into_iter().filter(|row| !here.contains(&row.module.as_str())).collect();
            assert!(missing.is_empty(), "{missing:?}");
        }
    };
}

namespaces! {
    process => "lunatic::process",
    message => "lunatic::message",
    networking => "lunatic::networking",
    sqlite => "lunatic::sqlite",
    registry => "lunatic::registry",
    timer => "lunatic::timer",
    error => "lunatic::error",
    version => "lunatic::version",
    trap => "lunatic::trap",
    wasi => "lunatic::wasi",
    metrics => "lunatic::metrics",
    distributed => "lunatic::distributed",
    ext => "lunatic::ext",
    ext_alias => "lunatic::ext::alias",
    ext_config => "lunatic::ext::config",
    ext_death => "lunatic::ext::death",
    ext_exit => "lunatic::ext::exit",
    ext_mailbox => "lunatic::ext::mailbox",
    ext_monitor => "lunatic::ext::monitor",
    ext_network => "lunatic::ext::network",
    ext_process => "lunatic::ext::process",
    ext_redirect => "lunatic::ext::redirect",
    ext_timer => "lunatic::ext::timer",
}
