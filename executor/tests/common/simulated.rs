//! Runs guests on simulated timelines, and has scenarios that must hold whatever faults are injected.
#![allow(dead_code)] // Each test file uses some of it.

use lunatic_executor::{Outcome, Program, RuntimeConfig, Script, Simulation, Simulator, Streams};

use super::{Captured, with_imports};

/// A loaded guest that can be run repeatedly.
pub(crate) struct Simulated {
    simulator: Simulator,
    program: Program,
}

/// The complete result of a run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) outcome: Outcome,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
    pub(crate) trace: String,
}

impl Simulated {
    /// Loads a guest written as text.
    pub(crate) fn new(wat: &str) -> Simulated {
        let config = RuntimeConfig::default().args(vec!["guest".into()]);
        let simulator = Simulator::new(config).unwrap();
        let program = simulator.load(&wat::parse_str(with_imports(wat)).expect("the guest is valid text"));
        Simulated { simulator, program: program.unwrap_or_else(|error| panic!("{error}")) }
    }

    /// Runs the guest once.
    pub(crate) fn run(&self, simulation: &Simulation) -> Run {
        self.read(simulation, Script::default())
    }

    /// Runs the guest once with an input.
    pub(crate) fn read(&self, simulation: &Simulation, stdin: Script) -> Run {
        let [stdout, stderr, trace] = [(); 3].map(|()| Captured::default());
        let streams = Streams {
            stdin,
            stdout: Box::new(stdout.clone()),
            stderr: Box::new(stderr.clone()),
            trace: Some(Box::new(trace.clone())),
        };
        let outcome = self.simulator.run(&self.program, simulation, streams).unwrap();
        Run { outcome, stdout: stdout.bytes(), stderr: stderr.text(), trace: trace.text() }
    }

    /// Runs the guest with a seed.
    pub(crate) fn seed(&self, seed: u64) -> Run {
        self.run(&Simulation { seed, ..Simulation::default() })
    }

    /// Runs the guest with these seeds. Returns the first that fails, with its run.
    pub(crate) fn sweep(&self, seeds: std::ops::Range<u64>, simulation: &Simulation) -> Option<(u64, Run)> {
        let (program, stdin) = (&self.program, Script::default());
        let failed = self.simulator.sweep(program, seeds, simulation, &stdin, 2).unwrap();
        failed.map(|(seed, outcome)| {
            let again = self.run(&Simulation { seed, ..*simulation });
            assert_eq!(again.outcome, outcome, "seed {seed} does not repeat itself");
            (seed, again)
        })
    }
}

/// A guarantee as a guest that holds whatever happens to its children: they may be killed at any turn, and spawning them may fail.
/// The guest exits with 0 if the guarantee holds, traps if it does not, and waits for ever if a signal is lost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    /// The rows of the list of guarantees that the scenario checks.
    pub(crate) rows: &'static [u8],
    /// The guarantee.
    pub(crate) name: &'static str,
    /// The injected faults.
    pub(crate) faults: &'static str,
    /// The guest without imports and helpers.
    pub(crate) body: &'static str,
}

impl Scenario {
    /// The guest's text.
    pub(crate) fn text(&self) -> String {
        super::guest(&format!("{HELPERS} {}", self.body))
    }
}

/// Helpers beside those of [`guest`](super::guest). Children report to the first process, which is process 1.
///
/// - `$try_spawn (link, name, length) -> pid` spawns like `$spawn`, and returns 0 if that fails;
/// - `$random (bound)` returns a number below the bound; `$spin (n)` loops n times;
/// - `$note (pid)` adds a process to the list at 4096; `$strike (pid)` removes it, and traps if it is not in the list.
const HELPERS: &str = r#"
  (func $try_spawn (param $link i64) (param $name i32) (param $len i32) (result i64)
    (if (result i64) (call $spawn_raw (local.get $link) (i64.const -1) (i64.const -1) (local.get $name)
        (local.get $len) (i32.const 0) (i32.const 0) (i32.const 16))
      (then (i64.const 0))
      (else (i64.load (i32.const 16)))))
  (func $random (param $bound i64) (result i64)
    (call $assert (i32.eqz (call $random_get (i32.const 48) (i32.const 8))))
    (i64.rem_u (i64.load (i32.const 48)) (local.get $bound)))
  (func $spin (param $n i64)
    (loop $more
      (br_if $more (i64.ge_s (local.tee $n (i64.sub (local.get $n) (i64.const 1))) (i64.const 0)))))
  (global $noted (mut i32) (i32.const 0))
  (func $note (param $pid i64)
    (i64.store (i32.add (i32.const 4096) (i32.mul (i32.const 8) (global.get $noted))) (local.get $pid))
    (global.set $noted (i32.add (global.get $noted) (i32.const 1))))
  (func $strike (param $pid i64) (local $at i32)
    (local.set $at (i32.const 4096))
    (loop $search
      (call $assert (i32.lt_u (local.get $at) (i32.add (i32.const 4096) (i32.mul (i32.const 8) (global.get $noted)))))
      (if (i64.ne (i64.load (local.get $at)) (local.get $pid)) (then
        (local.set $at (i32.add (local.get $at) (i32.const 8)))
        (br $search))))
    (global.set $noted (i32.sub (global.get $noted) (i32.const 1)))
    (i64.store (local.get $at) (i64.load (i32.add (i32.const 4096) (i32.mul (i32.const 8) (global.get $noted))))))
"#;

/// All faults that a child may meet.
const ROUGH: &str = "kill=0.03,spawn=0.1";

/// All scenarios.
pub(crate) const SCENARIOS: [Scenario; 10] = [
    Scenario {
        rows: &[25, 26],
        name: "every monitor is notified once, also of a death that was before it",
        faults: ROUGH,
        body: r#"
        (data (i32.const 1024) "child")
        (func (export "child")
          (call $spin (call $random (i64.const 2000)))
          (call $sleep (call $random (i64.const 2))))
        (func (export "_start") (local $i i32) (local $pid i64)
          (loop $spawn
            (local.set $pid (call $try_spawn (i64.const 0) (i32.const 1024) (i32.const 5)))
            (if (i64.ne (local.get $pid) (i64.const 0)) (then
              (call $monitor (local.get $pid))
              (call $note (local.get $pid))))
            (br_if $spawn (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 8))))
          (loop $told
            (if (global.get $noted) (then
              (call $assert (i32.eq (call $wait (i64.const 0) (i64.const -1)) (i32.const 2)))
              (call $strike (call $get_process_id))
              (call $assert (i32.eqz (call $exists (call $get_process_id))))
              (br $told))))
          (call $assert (i32.eq (call $wait (i64.const 0) (i64.const 0)) (i32.const 9027))))
        "#,
    },
    Scenario {
        rows: &[3, 11, 16, 17, 18],
        name: "a linked child is heard of: by what it says, by its death, and never by a normal exit alone",
        faults: ROUGH,
        body: r#"
        (data (i32.const 1024) "child")
        (func (export "child")
          (call $spin (call $random (i64.const 500)))
          (call $send (i64.const 1) (i64.const 9)))
        (func (export "_start") (local $i i32) (local $pid i64) (local $kind i32) (local $heard i32)
          (call $die_when_link_dies (i32.const 0))
          (loop $next
            (local.set $pid (call $try_spawn (i64.const 5) (i32.const 1024) (i32.const 5)))
            (if (i64.ne (local.get $pid) (i64.const 0)) (then
              (call $monitor (local.get $pid))
              (local.set $heard (i32.const 0))
              ;; Its message, then its death through the link, then through the monitor.
              (loop $hear
                (local.set $kind (call $wait (i64.const 0) (i64.const -1)))
                (if (i32.lt_u (local.get $kind) (i32.const 2)) (then
                  (call $assert (i64.eq (call $get_tag)
                    (select (i64.const 5) (i64.const 9) (i32.eq (local.get $kind) (i32.const 1)))))
                  (call $assert (i32.ge_u (local.get $kind) (local.get $heard)))
                  (local.set $heard (i32.add (local.get $kind) (i32.const 1)))
                  (br $hear))))
              (call $assert (i64.eq (call $get_process_id) (local.get $pid)))
              (call $assert (local.get $heard))))
            (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 6)))))
        "#,
    },
    Scenario {
        rows: &[1, 4, 6],
        name: "what a sender sent arrives in order and without gaps, up to its death",
        faults: ROUGH,
        body: r#"
        (data (i32.const 1024) "counter")
        (func (export "counter") (local $i i64) (local $tag i64)
          (drop (call $wait (i64.const 0) (i64.const -1)))
          (local.set $tag (call $get_tag))
          (loop $next
            (call $send_value (i64.const 1) (local.get $tag) (local.get $i))
            (br_if $next (i64.lt_u (local.tee $i (i64.add (local.get $i) (i64.const 1))) (i64.const 20)))))
        ;; For each tag, the sender that uses it, and the next number.
        (func $who (param $tag i64) (result i32)
          (i32.add (i32.const 4096) (i32.mul (i32.const 16) (i32.wrap_i64 (local.get $tag)))))
        (func (export "_start") (local $i i64) (local $pid i64) (local $alive i32) (local $kind i32) (local $at i32)
          (loop $spawn
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (local.set $pid (call $try_spawn (i64.const 0) (i32.const 1024) (i32.const 7)))
            (if (i64.ne (local.get $pid) (i64.const 0)) (then
              (call $monitor (local.get $pid))
              (i64.store (call $who (local.get $i)) (local.get $pid))
              (call $send (local.get $pid) (local.get $i))
              (local.set $alive (i32.add (local.get $alive) (i32.const 1)))))
            (br_if $spawn (i64.lt_u (local.get $i) (i64.const 4))))
          (loop $hear
            (if (local.get $alive) (then
              (local.set $kind (call $wait (i64.const 0) (i64.const -1)))
              (if (local.get $kind)
                (then
                  (call $assert (i32.eq (local.get $kind) (i32.const 2)))
                  (local.set $at (call $who (i64.const 0)))
                  (loop $search
                    (local.set $at (i32.add (local.get $at) (i32.const 16)))
                    (br_if $search (i64.ne (i64.load (local.get $at)) (call $get_process_id))))
                  ;; No number is the next one from now on.
                  (i64.store offset=8 (local.get $at) (i64.const -1))
                  (local.set $alive (i32.sub (local.get $alive) (i32.const 1))))
                (else
                  (local.set $at (call $who (call $get_tag)))
                  (call $assert (i64.eq (call $value) (i64.load offset=8 (local.get $at))))
                  (i64.store offset=8 (local.get $at) (i64.add (i64.load (i32.const 24)) (i64.const 1)))))
              (br $hear)))))
        "#,
    },
    Scenario {
        rows: &[29, 30],
        name: "a name is free when its owner's death is seen",
        faults: ROUGH,
        body: r#"
        (data (i32.const 1024) "owner")
        (func (export "owner")
          (call $put (i32.const 1024) (i32.const 5) (i64.const 0) (call $me))
          (call $spin (call $random (i64.const 1000)))
          (call $sleep (call $random (i64.const 2))))
        (func (export "_start") (local $i i32) (local $pid i64)
          (loop $next
            (local.set $pid (call $try_spawn (i64.const 0) (i32.const 1024) (i32.const 5)))
            (if (i64.ne (local.get $pid) (i64.const 0)) (then
              (call $monitor (local.get $pid))
              (if (i64.eqz (call $random (i64.const 2))) (then
                (call $sleep (i64.const 1))
                (call $kill (local.get $pid))))
              (call $assert (i32.eq (call $wait (i64.const 0) (i64.const -1)) (i32.const 2)))
              (call $assert (call $get (i32.const 1024) (i32.const 5) (i32.const 1100) (i32.const 1108)))))
            (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 6)))))
        "#,
    },
    Scenario {
        rows: &[31],
        name: "of those who race to spawn under a name, all who succeed get the same process",
        faults: "spawn=0.3",
        body: r#"
        (data (i32.const 1024) "racerserver")
        (func (export "server") (call $sleep (i64.const 1000000)))
        (func (export "racer") (local $failed i32)
          (call $spin (call $random (i64.const 200)))
          (local.set $failed (i32.eq (i32.const 1)
            (call $get_or_spawn_raw (i32.const 1024) (i32.const 3) (i64.const 0) (i64.const -1) (i64.const -1)
              (i32.const 1029) (i32.const 6) (i32.const 0) (i32.const 0) (i32.const 1100) (i32.const 1108))))
          (call $send_value (i64.const 1) (i64.const 5)
            (select (i64.const 0) (i64.load (i32.const 1108)) (local.get $failed))))
        (func (export "_start") (local $i i32) (local $racers i32) (local $winner i64)
          (loop $spawn
            (if (i64.ne (call $try_spawn (i64.const 0) (i32.const 1024) (i32.const 5)) (i64.const 0)) (then
              (local.set $racers (i32.add (local.get $racers) (i32.const 1)))))
            (br_if $spawn (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 12))))
          (loop $collect
            (if (local.get $racers) (then
              (call $assert (i32.eqz (call $wait (i64.const 5) (i64.const -1))))
              (if (i64.ne (call $value) (i64.const 0)) (then
                (if (i64.eqz (local.get $winner)) (then (local.set $winner (i64.load (i32.const 24)))))
                (call $assert (i64.eq (local.get $winner) (i64.load (i32.const 24))))))
              (local.set $racers (i32.sub (local.get $racers) (i32.const 1)))
              (br $collect)))))
        "#,
    },
    Scenario {
        rows: &[34, 35],
        name: "a timer is never early, and fires exactly if it could not be cancelled",
        faults: "jump=0.1,pause=0.1",
        body: r#"
        (func (export "_start") (local $i i32) (local $delay i64) (local $due i64) (local $timer i64)
          (loop $next
            (local.set $delay (call $random (i64.const 4)))
            (call $create_data (i64.const 7) (i64.const 0))
            (local.set $due (i64.add (call $now) (i64.mul (local.get $delay) (i64.const 1000000))))
            (local.set $timer (call $send_after (call $me) (local.get $delay)))
            (call $sleep (call $random (i64.const 4)))
            (if (call $cancel_timer (local.get $timer))
              (then (call $assert (i32.eq (call $wait (i64.const 7) (i64.const 3)) (i32.const 9027))))
              (else
                (call $assert (i32.eqz (call $wait (i64.const 7) (i64.const 0))))
                (call $assert (i64.ge_u (call $now) (local.get $due)))))
            (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 12)))))
        "#,
    },
    Scenario {
        rows: &[7, 9],
        name: "a timeout consumes nothing: what comes too late is still there, once, behind what came before",
        faults: "jump=0.1,pause=0.1",
        body: r#"
        (data (i32.const 1024) "late")
        (func (export "late") (local $i i64)
          (loop $next
            (call $sleep (call $random (i64.const 3)))
            (call $send_value (i64.const 1) (i64.const 4) (local.get $i))
            (br_if $next (i64.lt_u (local.tee $i (i64.add (local.get $i) (i64.const 1))) (i64.const 12)))))
        (func (export "_start") (local $i i64)
          (drop (call $spawn (i64.const 0) (i32.const 1024) (i32.const 4)))
          (loop $next
            (if (i32.eqz (call $wait (i64.const 4) (call $random (i64.const 3)))) (then
              (call $assert (i64.eq (call $value) (local.get $i)))
              (local.set $i (i64.add (local.get $i) (i64.const 1)))))
            (br_if $next (i64.lt_u (local.get $i) (i64.const 12))))
          (call $assert (i32.eq (call $wait (i64.const 0) (i64.const 5)) (i32.const 9027))))
        "#,
    },
    Scenario {
        rows: &[19],
        name: "an exit anywhere in a chain of links reaches its beginning",
        faults: "kill=0.005",
        body: r#"
        (data (i32.const 1024) "chain")
        (func (export "chain") (local $left i64)
          (drop (call $wait (i64.const 0) (i64.const -1)))
          (local.set $left (call $value))
          (if (i64.eqz (local.get $left)) (then (call $exit (i32.const 3))))
          (call $send_value (call $spawn (i64.const 1) (i32.const 1024) (i32.const 5)) (i64.const 1)
            (i64.sub (local.get $left) (i64.const 1)))
          (call $sleep (i64.const 1000000000)))
        (func (export "_start")
          (call $die_when_link_dies (i32.const 0))
          (call $send_value (call $spawn (i64.const 44) (i32.const 1024) (i32.const 5)) (i64.const 1) (i64.const 12))
          (call $assert (i32.eq (call $wait (i64.const 44) (i64.const 1000000)) (i32.const 1))))
        "#,
    },
    Scenario {
        rows: &[8, 10],
        name: "a request is answered by its own answer, or by none in time",
        faults: "kill=0.01,jump=0.02,pause=0.1",
        body: r#"
        (data (i32.const 1024) "server")
        (func (export "server")
          (loop $forever
            (drop (call $wait (i64.const 0) (i64.const -1)))
            (call $spin (call $random (i64.const 300)))
            (call $send_value (i64.const 1) (i64.const 5) (call $value))
            (br $forever)))
        (func (export "_start") (local $i i64) (local $server i64) (local $kind i32)
          (local.set $server (call $spawn (i64.const 0) (i32.const 1024) (i32.const 6)))
          (loop $next
            (call $prepare_value (i64.const 5) (local.get $i))
            (local.set $kind (call $request (local.get $server) (i64.const 5) (i64.const 2)))
            (if (local.get $kind)
              (then (call $assert (i32.eq (local.get $kind) (i32.const 9027))))
              ;; An answer that is late may be taken for a later one's, but never for an earlier one's.
              (else (call $assert (i64.le_u (call $value) (local.get $i)))))
            (br_if $next (i64.lt_u (local.tee $i (i64.add (local.get $i) (i64.const 1))) (i64.const 20)))))
        "#,
    },
    Scenario {
        rows: &[20, 22, 23, 36],
        name: "whatever ends a process first, it ends once, and its timers with it",
        faults: ROUGH,
        body: r#"
        (data (i32.const 1024) "torn")
        (func (export "torn")
          (call $create_data (i64.const 3) (i64.const 0))
          (drop (call $send_after (call $me) (i64.const 2)))
          (call $die_when_link_dies (i32.const 0))
          (call $link (i64.const 6) (i64.const 4242))
          (drop (call $wait (i64.const 3) (i64.const 2)))
          (call $exit (i32.wrap_i64 (call $random (i64.const 2)))))
        (func (export "_start") (local $i i32) (local $pid i64)
          (loop $next
            (local.set $pid (call $try_spawn (i64.const 0) (i32.const 1024) (i32.const 4)))
            (if (i64.ne (local.get $pid) (i64.const 0)) (then
              (call $monitor (local.get $pid))
              (call $sleep (call $random (i64.const 4)))
              (call $kill (local.get $pid))
              (call $kill (local.get $pid))
              (call $assert (i32.eq (call $wait (i64.const 0) (i64.const -1)) (i32.const 2)))
              (call $assert (i64.eq (call $get_process_id) (local.get $pid)))
              (call $assert (i32.eqz (call $exists (local.get $pid))))))
            (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 6))))
          (call $assert (i32.eq (call $wait (i64.const 0) (i64.const 5)) (i32.const 9027))))
        "#,
    },
];
