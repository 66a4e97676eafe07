//! The report about a process that died through a link. What processes learn of each other is in `guarantees.rs`.

mod common;

use common::{guest, run, workers};

#[test]
fn the_report_names_the_process_whose_death_ended_the_first_one() {
    let outcome = run(
        workers(2),
        &guest(
            r#"
            (data (i32.const 1024) "trap")
            (func (export "trap") (unreachable))
            (func (export "_start")
              (drop (call $spawn (i64.const 1) (i32.const 1024) (i32.const 4)))
              (call $sleep (i64.const 100000)))
            "#,
        ),
    );
    assert_eq!(outcome.status, 134);
    assert!(outcome.stderr.contains("(trap) trapped: unreachable"), "{}", outcome.stderr);
    let says = "process 1 (_start) ended because the linked process";
    assert!(outcome.stderr.contains(says), "{}", outcome.stderr);
    assert!(outcome.stderr.contains(" did (first cause: a trap)\n"), "{}", outcome.stderr);
}
