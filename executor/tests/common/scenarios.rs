//! The guarantees of `docs/guarantees.md` as guests: one scenario for each, or for a few that belong together.
//!
//! A scenario's guest exits with 0 if the guarantee holds, traps if it does not, and hangs if a signal is lost. The number of
//! rounds is a parameter: real threads need thousands of rounds to meet a race; a simulation, which chooses the schedule, needs a
//! few under each of many seeds. Nothing depends on how much time passes, only on the order of events: a guest checks that nothing
//! more arrives after a message that must arrive later.
#![allow(dead_code)] // Each test file uses some of it.

mod exits;
mod links;
mod monitors;
mod names;
mod order;
mod reasons;
mod timers;

use super::guest;

/// A guarantee as a guest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    /// The rows of the list of guarantees that the scenario checks.
    pub(crate) rows: &'static [u8],
    /// The name of the test that runs the scenario on real threads.
    pub(crate) name: &'static str,
    /// The number of rounds on real threads.
    pub(crate) rounds: u32,
    /// The guest without imports and helpers.
    pub(crate) body: &'static str,
}

impl Scenario {
    /// The guest's text, for this number of rounds, at least 1.
    pub(crate) fn text(&self, rounds: u32) -> String {
        guest(&format!("(global $rounds i64 (i64.const {rounds})) {HELPERS} {}", self.body))
    }
}

/// All scenarios.
pub(crate) fn all() -> Vec<Scenario> {
    [order::ALL, exits::ALL, links::ALL, monitors::ALL, names::ALL, reasons::ALL, timers::ALL].concat()
}

/// Helpers beside those of [`guest`]. Children report to the first process, which is process 1.
///
/// - `$rounds` is the number of rounds;
/// - `$expect (tag)` receives the next message, which has to be data with that tag;
/// - `$expect_death (tag)` receives the next message, which has to be the death of a linked process with that tag;
/// - `$expect_down (pid)` receives the next message, which has to be the death of that monitored process;
/// - `$assert_death (process, kind, code)` checks the death that the current message reports;
/// - `$expect_nothing` checks that the mailbox is empty;
/// - `$park` waits for a message for ever; `$spin (n)` loops n times;
/// - `$jostle` spawns a process that ends at once. It takes the worker's next turn, so that the process that would have had it may
///   run on another worker;
/// - `$random (bound)` returns the next number of a fixed sequence.
pub(crate) const HELPERS: &str = r#"
  (func $expect (param $tag i64)
    (call $assert (i32.eqz (call $wait (i64.const 0) (i64.const -1))))
    (call $assert (i64.eq (call $get_tag) (local.get $tag))))
  (func $expect_death (param $tag i64)
    (call $assert (i32.eq (call $wait (i64.const 0) (i64.const -1)) (i32.const 1)))
    (call $assert (i64.eq (call $get_tag) (local.get $tag))))
  (func $expect_down (param $pid i64)
    (call $assert (i32.eq (call $wait (i64.const 0) (i64.const -1)) (i32.const 2)))
    (call $assert (i64.eq (call $get_process_id) (local.get $pid))))
  (func $assert_death (param $process i64) (param $kind i32) (param $code i64)
    (call $assert (i64.eq (call $death_process) (local.get $process)))
    (call $assert (i32.eq (call $death_kind) (local.get $kind)))
    (call $assert (i64.eq (call $death_code) (local.get $code))))
  (func $expect_nothing
    (call $assert (i32.eq (call $wait (i64.const 0) (i64.const 0)) (i32.const 9027))))
  (func $park (drop (call $wait (i64.const 0) (i64.const -1))))
  (func $spin (param $n i64)
    (loop $more
      (br_if $more (i64.ge_s (local.tee $n (i64.sub (local.get $n) (i64.const 1))) (i64.const 0)))))
  (data (i32.const 1000) "jostle")
  (func (export "jostle"))
  (func $jostle (drop (call $spawn (i64.const 0) (i32.const 1000) (i32.const 6))))
  (global $seed (mut i64) (i64.const 7))
  (func $random (param $bound i64) (result i64)
    (global.set $seed (i64.add (i64.mul (global.get $seed) (i64.const 6364136223846793005))
      (i64.const 1442695040888963407)))
    (i64.rem_u (i64.shr_u (global.get $seed) (i64.const 33)) (local.get $bound)))
"#;
