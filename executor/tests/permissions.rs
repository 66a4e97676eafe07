//! Permissions of children for the network and for host functions. They are never wider than the parent's (HOSTILE 32).

mod common;

use common::{Outcome, guest, run, workers};
use lunatic_executor::RuntimeConfig;

/// Helpers of the guests here.
const NETWORK: &str = r#"
"#;

const BODY: &str = r#"
  (data (i32.const 2048) "\7f\00\00\01")
  (data (i32.const 2064) "127.0.0.1:*")
  (data (i32.const 2080) "no rule")
  (data (i32.const 2096) "lunatic::networking::tcp_*")
  (data (i32.const 2128) "*")
  (data (i32.const 2144) "*.example")
  (data (i32.const 2160) "nobody.invalid:80")
  (func $binds (result i32)
    (i32.eqz (call $tcp_bind (i32.const 4) (i32.const 2048) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 3072))))
  ;; A configuration that may spawn and make others.
  (func $config (result i64) (local $config i64)
    (local.set $config (call $create_config))
    (call $set_can_spawn (local.get $config) (i32.const 1))
    (call $set_can_create (local.get $config) (i32.const 1))
    (local.get $config))
  ;; Runs an export of five letters with a configuration, and how it ended: 0 well, 1 by a trap.
  (func $try (param $config i64) (param $name i32) (result i32)
    (call $assert (i32.eqz (call $spawn_raw (i64.const 0) (local.get $config) (i64.const -1) (local.get $name)
      (i32.const 5) (i32.const 0) (i32.const 0) (i32.const 3072))))
    (drop (call $monitor_start (i64.load (i32.const 3072))))
    (call $assert (i32.eq (call $wait (i64.const 0) (i64.const 60000)) (i32.const 2)))
    (call $death_kind))
"#;

/// Runs a guest. Returns how its first process ended.
const WELL: u32 = 0;

fn passes(config: RuntimeConfig, body: &str) -> Outcome {
    // Imports come first.
    let text = guest(&format!("{BODY} {body}"));
    let text = text.replacen("(module", &format!("(module {NETWORK}"), 1);
    let outcome = run(config, &text);
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    outcome
}

#[test]
fn children_have_at_most_the_network_of_their_parents() {
    passes(
        workers(2),
        &format!(
            r#"
        (data (i32.const 2200) "binds" "deniy" "deepr" "calls")
        (func (export "binds") (call $assert (call $binds)))
        (func (export "deniy") (call $assert (i32.eqz (call $binds))))
        ;; A process without a permission cannot give it to others.
        (func (export "deepr") (local $config i64)
          (local.set $config (call $config))
          (call $assert (i32.eqz (call $ext::network::allow (local.get $config) (i32.const 1) (i32.const 2064) (i32.const 11))))
          (call $assert (i32.eq (call $try (local.get $config) (i32.const 2205)) (i32.const {WELL}))))
        ;; The other kinds are as they were, or restricted by their own rules.
        (func (export "calls")
          (call $assert (call $binds))
          (call $assert (i32.eq (i32.const 1)
            (call $tcp_connect (i32.const 4) (i32.const 2048) (i32.const 1) (i32.const 0) (i32.const 0) (i64.const 1000)
              (i32.const 3072))))
          (call $assert (i32.eq (i32.const 1)
            (call $resolve (i32.const 2160) (i32.const 17) (i64.const 60000) (i32.const 3072)))))
        (func (export "_start") (local $config i64)
          (local.set $config (call $config))
          (call $assert (i32.eq (call $try (local.get $config) (i32.const 2200)) (i32.const {WELL})))
          (call $ext::network::restrict (local.get $config) (i32.const 1))
          (call $assert (i32.eq (call $try (local.get $config) (i32.const 2205)) (i32.const {WELL})))
          (call $assert (i32.eq (call $try (local.get $config) (i32.const 2210)) (i32.const {WELL})))
          (call $assert (i32.eq (call $ext::network::allow (local.get $config) (i32.const 1) (i32.const 2080) (i32.const 7))
            (i32.const 1)))
          (call $assert (i32.eq (call $try (local.get $config) (i32.const 2205)) (i32.const {WELL})))
          (call $assert (i32.eqz (call $ext::network::allow (local.get $config) (i32.const 1) (i32.const 2064) (i32.const 11))))
          (call $assert (i32.eq (call $try (local.get $config) (i32.const 2200)) (i32.const {WELL})))
          (call $assert (i32.eqz (call $ext::network::allow (local.get $config) (i32.const 2) (i32.const 2144) (i32.const 9))))
          (call $ext::network::restrict (local.get $config) (i32.const 0))
          (call $assert (i32.eq (call $try (local.get $config) (i32.const 2215)) (i32.const {WELL})))
          ;; The caller itself is what it was.
          (call $assert (call $binds)))
    "#
        ),
    );
}

#[test]
fn forbidden_functions_trap_and_others_do_not() {
    let outcome = passes(
        workers(2),
        &format!(
            r#"
        (type $bind (func (param i32 i32 i32 i32 i32 i32) (result i32)))
        (table funcref (elem $tcp_bind))
        (data (i32.const 2200) "binds" "table" "other" "empty" "spawn")
        (func (export "binds") (call $assert (call $binds)))
        ;; In a table it is forbidden too.
        (func (export "table")
          (drop (call_indirect (type $bind) (i32.const 4) (i32.const 2048) (i32.const 0) (i32.const 0) (i32.const 0)
            (i32.const 3072) (i32.const 0))))
        (func (export "other")
          (call $assert (i32.eqz (call $udp_bind (i32.const 4) (i32.const 2048) (i32.const 0) (i32.const 0)
            (i32.const 0) (i32.const 3072)))))
        ;; A process that may call no function can compute.
        (func (export "empty") (local $left i32)
          (local.set $left (i32.const 100000))
          (loop $next (br_if $next (local.tee $left (i32.sub (local.get $left) (i32.const 1))))))
        ;; A function forbidden for a process is forbidden for its children, whatever their configuration.
        (func (export "spawn")
          (call $assert (i32.ne (call $try (i64.const -1) (i32.const 2200)) (i32.const {WELL})))
          (call $assert (i32.ne (call $try (call $config) (i32.const 2200)) (i32.const {WELL})))
          (call $assert (i32.eq (call $try (call $config) (i32.const 2210)) (i32.const {WELL}))))
        (func (export "_start") (local $config i64) (local $none i64)
          (local.set $config (call $config))
          (call $assert (i32.eq (call $try (local.get $config) (i32.const 2200)) (i32.const {WELL})))
          (call $forbid (local.get $config) (i32.const 2096) (i32.const 26))
          (call $assert (i32.ne (call $try (local.get $config) (i32.const 2200)) (i32.const {WELL})))
          (call $assert (i32.ne (call $try (local.get $config) (i32.const 2205)) (i32.const {WELL})))
          (call $assert (i32.eq (call $try (local.get $config) (i32.const 2210)) (i32.const {WELL})))
          (call $assert (i32.eq (call $try (local.get $config) (i32.const 2220)) (i32.const {WELL})))
          (local.set $none (call $config))
          (call $forbid (local.get $none) (i32.const 2128) (i32.const 1))
          (call $assert (i32.ne (call $try (local.get $none) (i32.const 2210)) (i32.const {WELL})))
          (call $assert (i32.eq (call $try (local.get $none) (i32.const 2215)) (i32.const {WELL})))
          ;; The caller itself is what it was.
          (call $assert (call $binds)))
    "#
        ),
    );
    let said = outcome.stderr.matches("this process must not call lunatic::networking::tcp_bind").count();
    assert_eq!(said, 4, "{}", outcome.stderr);
}

#[test]
fn functions_forbidden_by_the_configuration_trap_in_the_first_process() {
    let config = workers(1).forbidden(vec!["*::exists".into()]);
    let outcome = run(config, &guest(r#"(func (export "_start") (drop (call $exists (i64.const 1))))"#));
    assert_eq!(outcome.status, 134);
    assert!(outcome.stderr.contains("must not call lunatic::process::exists"), "{}", outcome.stderr);
}
