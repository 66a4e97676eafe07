//! Guests on simulated timelines: a seed repeats its run to the byte, seeds differ from each other, and they find bugs that real
//! runs do not show.

mod common;

use std::io::Read;
use std::time::{Duration, Instant};

use common::simulated::{Run, SCENARIOS, Scenario, Simulated};
use common::{guest, run, workers};
use lunatic_executor::{
    Ended, ExitStatus, MAX_WORKERS, PreopenedDir, RuntimeConfig, RuntimeError, Script, Simulation, Simulator,
    Streams, WaitsFor,
};

/// Four children compute, sleep, draw random numbers and send to their parent, which prints who was first.
const CHATTER: &str = r#"
    (data (i32.const 1024) "child")
    (func $random (result i64)
      (call $assert (i32.eqz (call $random_get (i32.const 1100) (i32.const 8))))
      (i64.load (i32.const 1100)))
    (func (export "child") (local $i i64) (local $spins i64)
      (loop $again
        (local.set $spins (i64.and (call $random) (i64.const 4095)))
        (loop $spin
          (local.set $spins (i64.sub (local.get $spins) (i64.const 1)))
          (br_if $spin (i64.gt_s (local.get $spins) (i64.const 0))))
        (call $sleep (i64.and (call $random) (i64.const 3)))
        (call $send_value (i64.const 1) (call $now) (call $me))
        (local.set $i (i64.add (local.get $i) (i64.const 1)))
        (br_if $again (i64.lt_u (local.get $i) (i64.const 10)))))
    (func (export "_start") (local $i i32)
      (loop $spawn
        (drop (call $spawn (i64.const 0) (i32.const 1024) (i32.const 5)))
        (br_if $spawn (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 4))))
      (loop $receive
        (call $assert (i32.eqz (call $wait (i64.const 0) (i64.const -1))))
        ;; Whose, and when it was sent.
        (i64.store (i32.const 1200) (call $value))
        (i64.store (i32.const 1208) (call $get_tag))
        (call $say (i32.const 1200) (i32.const 16))
        (br_if $receive (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 44)))))
"#;

fn with(faults: &str, seed: u64) -> Simulation {
    Simulation { seed, faults: faults.parse().unwrap(), ..Simulation::default() }
}

/// A simulation without faults: only the program and the slices of the seed.
const CALM: &str = "jump=0,pause=0";

#[test]
fn a_seed_repeats_its_run_and_another_seed_differs() {
    let guest = guest(CHATTER);
    let (once, again) = (Simulated::new(&guest), Simulated::new(&guest));
    let runs: Vec<Run> = (0..50).map(|seed| once.seed(seed)).collect();
    for (seed, run) in runs.iter().enumerate() {
        assert_eq!(run.outcome.ended, Ended::Exited(ExitStatus(0)), "{}", run.stderr);
        // With a new engine, while the memories of the first one are used by other runs.
        assert_eq!(again.seed(seed as u64), *run, "seed {seed}");
        assert!(runs[..seed].iter().all(|other| other.trace != run.trace && other.stdout != run.stdout));
    }
    let trace = &runs[0].trace;
    let times: Vec<u64> =
        trace.lines().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect();
    assert!(times.is_sorted(), "{trace}");
    assert!(times.len() as u64 >= runs[0].outcome.turns);
    assert!(trace.contains("process 1 gets a message with the tag "), "{trace}");
}

#[test]
fn injected_faults_are_repeated() {
    let simulated = Simulated::new(&guest(CHATTER));
    for seed in 0..20 {
        // Its parent waits for the messages that it no longer sends.
        let simulation = with("kill=0.1,jump=0.1,pause=0.1", seed);
        assert_eq!(simulated.run(&simulation), simulated.run(&simulation));
    }
}

#[test]
fn simulated_workers_determine_the_timeline_and_threads_do_not() {
    let simulated = Simulated::new(&guest(CHATTER));
    let one = simulated.run(&Simulation { workers: 1, ..with(CALM, 0) });
    assert!(!one.trace.contains("worker 1"), "{}", one.trace);
    let four = simulated.run(&with(CALM, 0));
    assert!(four.trace.contains("worker 3"), "{}", four.trace);
    assert!((0..9).all(|worker| !four.trace.contains(&format!("worker {}", worker + 4))));
}

/// A request that is not answered within 200 ms is repeated. Before that, the mailbox is emptied, so that a late answer is not
/// taken for the new one. The bug: a message that another process has sent meanwhile is lost.
const EMPTIES_ITS_MAILBOX: &str = r#"
    (data (i32.const 1024) "answererworker")
    (func (export "answerer")
      (loop $forever
        (drop (call $wait (i64.const 0) (i64.const -1)))
        (call $send (i64.const 1) (i64.const 1))
        (br $forever)))
    (func (export "worker") (call $send (i64.const 1) (i64.const 2)))
    (func (export "_start") (local $answerer i64)
      (local.set $answerer (call $spawn (i64.const 0) (i32.const 1024) (i32.const 8)))
      (drop (call $spawn (i64.const 0) (i32.const 1032) (i32.const 6)))
      (loop $ask
        (call $send (local.get $answerer) (i64.const 3))
        (if (call $wait (i64.const 1) (i64.const 200)) (then
          (loop $empty
            (br_if $empty (i32.ne (call $wait (i64.const 0) (i64.const 0)) (i32.const 9027))))
          (br $ask))))
      (drop (call $wait (i64.const 2) (i64.const -1))))
"#;

#[test]
fn a_message_loss_that_real_runs_do_not_show_is_found() {
    let guest = guest(EMPTIES_ITS_MAILBOX);
    for count in [1, 2, 4] {
        for _ in 0..10 {
            assert_eq!(run(workers(count), &guest).status, 0);
        }
    }
    // About one seed in 150 finds the bug.
    let (seed, run) = Simulated::new(&guest).sweep(0..2000, &Simulation::default()).expect("it is found");
    println!("found by seed {seed}:\n{}", run.trace);
    let Ended::Deadlock(stuck) = run.outcome.ended else { panic!("{:?}", run.outcome) };
    let first = &stuck[0];
    assert_eq!((first.process, first.name.as_deref()), (1, Some("_start")));
    assert_eq!((first.waits_for, &first.tags[..]), (WaitsFor::Message, &[2][..]));
}

/// Two processes check whether a server is registered, and spawn one if not. The bug: both may spawn one.
const LOOKS_AND_SPAWNS: &str = r#"
    (data (i32.const 1024) "clientserver")
    (func (export "server") (drop (call $wait (i64.const 0) (i64.const -1))))
    (func (export "client")
      (if (call $get (i32.const 1030) (i32.const 6) (i32.const 1100) (i32.const 1108)) (then
        (call $put (i32.const 1030) (i32.const 6) (i64.const 0)
          (call $spawn (i64.const 0) (i32.const 1030) (i32.const 6)))
        (call $send (i64.const 1) (i64.const 7))))
      (call $send (i64.const 1) (i64.const 8)))
    (func (export "_start")
      (drop (call $spawn (i64.const 0) (i32.const 1024) (i32.const 6)))
      (drop (call $spawn (i64.const 0) (i32.const 1024) (i32.const 6)))
      (drop (call $wait (i64.const 8) (i64.const -1)))
      (drop (call $wait (i64.const 8) (i64.const -1)))
      (drop (call $wait (i64.const 7) (i64.const -1)))
      (call $assert (i32.eq (call $wait (i64.const 7) (i64.const 0)) (i32.const 9027))))
"#;

#[test]
fn a_check_then_act_race_is_found_without_pauses() {
    let guest = guest(LOOKS_AND_SPAWNS);
    assert_eq!(run(workers(1), &guest).status, 0);
    let (seed, run) = Simulated::new(&guest).sweep(0..1000, &with(CALM, 0)).expect("it is found");
    println!("found by seed {seed}");
    assert_eq!(run.outcome.status(), ExitStatus(134));
    assert!(run.stderr.starts_with("process 1 (_start) trapped: unreachable"), "{}", run.stderr);
}

#[test]
fn processes_that_wait_for_each_other_are_a_deadlock() {
    let simulated = Simulated::new(&guest(
        r#"
        (data (i32.const 1024) "polite")
        (func (export "polite")
          (drop (call $wait (i64.const 5) (i64.const -1)))
          (call $send (i64.const 1) (i64.const 6)))
        (func (export "_start") (local $pid i64)
          (local.set $pid (call $spawn (i64.const 0) (i32.const 1024) (i32.const 6)))
          (call $sleep (i64.const 1000))
          (drop (call $wait (i64.const 6) (i64.const -1)))
          (call $send (local.get $pid) (i64.const 5)))
        "#,
    ));
    for seed in 0..20 {
        let run = simulated.seed(seed);
        let Ended::Deadlock(stuck) = &run.outcome.ended else { panic!("{:?}", run.outcome) };
        let stuck: Vec<String> = stuck.iter().map(ToString::to_string).collect();
        let expected = [
            "process 1 (_start) waits for a message with the tag 6",
            "process 2 (polite) waits for a message with the tag 5",
        ];
        assert_eq!(stuck, expected);
        assert_eq!(run.outcome.status(), ExitStatus(125));
        assert!(run.outcome.time >= Duration::from_secs(1));
    }
}

#[test]
fn a_run_ends_when_the_simulated_time_is_over() {
    for body in
        ["(loop $forever (br $forever))", "(loop $forever (call $sleep (i64.const 10)) (br $forever))"]
    {
        let simulated = Simulated::new(&guest(&format!("(func (export \"_start\") {body})")));
        let run =
            simulated.run(&Simulation { max_time: Duration::from_millis(500), ..Simulation::default() });
        assert_eq!(run.outcome.ended, Ended::OutOfTime);
        assert_eq!(run.outcome.status(), ExitStatus(124));
        assert!(run.outcome.time > Duration::from_millis(500));
    }
}

/// Prints how many of its twenty children have reported.
const CENSUS: &str = r#"
    (data (i32.const 1024) "child")
    (func (export "child") (call $send (i64.const 1) (i64.const 9)))
    (func (export "_start") (local $left i32) (local $lived i32) (local $kind i32)
      (local.set $left (i32.const 20))
      (loop $spawn
        (call $monitor (call $spawn (i64.const 0) (i32.const 1024) (i32.const 5)))
        (br_if $spawn (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
      (local.set $left (i32.const 20))
      (loop $hear
        (if (call $wait (i64.const 0) (i64.const -1))
          (then (local.set $left (i32.sub (local.get $left) (i32.const 1))))
          (else (local.set $lived (i32.add (local.get $lived) (i32.const 1)))))
        (br_if $hear (local.get $left)))
      (i32.store8 (i32.const 1100) (local.get $lived))
      (call $say (i32.const 1100) (i32.const 1)))
"#;

#[test]
fn kills_happen_with_their_probability_and_never_to_the_first_process() {
    let simulated = Simulated::new(&guest(CENSUS));
    let lived = |faults: &str, seed| {
        let run = simulated.run(&with(faults, seed));
        assert_eq!(run.outcome.ended, Ended::Exited(ExitStatus(0)), "{}", run.stderr);
        let killed =
            run.trace.lines().filter(|line| line.contains(" fault: ") && line.ends_with(" was killed"));
        // A child that has reported may be killed at the end of its life.
        assert!(killed.count() >= usize::from(20 - run.stdout[0]));
        run.stdout[0]
    };
    assert_eq!((lived("kill=0", 0), lived("kill=1", 0)), (20, 0));
    let some: Vec<u8> = (0..20).map(|seed| lived("kill=0.3", seed)).collect();
    assert!(some.iter().all(|lived| (1..20).contains(lived)), "{some:?}");
}

#[test]
fn spawns_fail_with_their_probability() {
    // Prints which of 30 spawns failed.
    let simulated = Simulated::new(&guest(
        r#"
        (data (i32.const 1024) "child")
        (func (export "child"))
        (func (export "_start") (local $i i32)
          (loop $next
            (i32.store8 (i32.add (i32.const 1100) (local.get $i))
              (call $spawn_raw (i64.const 0) (i64.const -1) (i64.const -1) (i32.const 1024) (i32.const 5)
                (i32.const 0) (i32.const 0) (i32.const 16)))
            (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 30))))
          (call $say (i32.const 1100) (i32.const 30)))
        "#,
    ));
    let failed = |faults: &str| simulated.run(&with(faults, 3)).stdout;
    assert_eq!((failed("spawn=0"), failed("spawn=1")), (vec![0; 30], vec![1; 30]));
    let some = failed("spawn=0.5").into_iter().filter(|failed| *failed == 1).count();
    assert!((5..25).contains(&some), "{some}");
}

#[test]
fn blocking_work_takes_simulated_time() {
    let simulated = Simulated::new(&guest(
        r#"
        (func (export "_start")
          (call $assert (i32.eq (call $compile_module (i32.const 0) (i32.const 7) (i32.const 64)) (i32.const 1))))
        "#,
    ));
    let longest = |faults: &str| {
        let run = |seed| simulated.run(&with(faults, seed)).outcome;
        let outcomes: Vec<_> = (0..100).map(run).collect();
        assert!(outcomes.iter().all(|outcome| outcome.is_success()));
        outcomes.iter().map(|outcome| outcome.time).max().unwrap()
    };
    let (usual, slow) = (longest("jump=0,pause=0"), longest("slow=1,jump=0,pause=0"));
    assert!(usual > Duration::from_millis(5) && usual < Duration::from_millis(12), "{usual:?}");
    assert!(slow > Duration::from_secs(1) && slow < Duration::from_millis(10_002), "{slow:?}");
}

#[test]
fn blocking_work_proceeds_while_all_workers_are_busy() {
    let simulated = Simulated::new(&guest(
        r#"
        (data (i32.const 1024) "spin")
        (func (export "spin") (loop $forever (br $forever)))
        (func (export "_start") (local $i i32)
          (loop $spawn
            (drop (call $spawn (i64.const 0) (i32.const 1024) (i32.const 4)))
            (br_if $spawn (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 9))))
          (call $assert (i32.eq (call $compile_module (i32.const 0) (i32.const 7) (i32.const 64)) (i32.const 1))))
        "#,
    ));
    for seed in 0..20 {
        let max_time = Duration::from_secs(1);
        assert!(simulated.run(&Simulation { max_time, ..with(CALM, seed) }).outcome.is_success());
    }
}

#[test]
fn simulated_time_advances_with_the_program() {
    let simulated = Simulated::new(&guest(r#"(func (export "_start") (call $sleep (i64.const 10)))"#));
    let time = |faults: &str, seed| simulated.run(&with(faults, seed)).outcome.time.as_micros();
    for seed in 0..100 {
        // An idle machine may wake a millisecond late.
        assert!((10_000..11_100).contains(&time(CALM, seed)));
    }
    assert!((0..100).any(|seed| time("jump=0.5", seed) > 100_000));
    // With several workers, another one would notice in time.
    let alone = |seed| Simulation { workers: 1, ..with("jump=0,pause=1", seed) };
    let times = (0..100).map(|seed| simulated.run(&alone(seed)).outcome.time.as_micros());
    assert!((20_000..120_000).contains(&times.max().unwrap()));
}

#[test]
fn reads_of_standard_input_end_at_line_ends() {
    // Prints what each read returned, followed by a bar.
    let simulated = Simulated::new(&guest(
        r#"
        (data (i32.const 1024) "|")
        (func (export "_start")
          (i32.store (i32.const 1032) (i32.const 1100))
          (i32.store (i32.const 1036) (i32.const 6))
          (loop $next
            (call $assert (i32.eqz (call $fd_read (i32.const 0) (i32.const 1032) (i32.const 1) (i32.const 1040))))
            (call $say (i32.const 1100) (i32.load (i32.const 1040)))
            (call $say (i32.const 1024) (i32.const 1))
            (br_if $next (i32.load (i32.const 1040)))))
        "#,
    ));
    let pieces = || (&b"one\nt"[..]).chain(&b"wo"[..]).chain(&b" three"[..]);
    for script in [Script::new(&b"one\ntwo three"[..]), Script::new(pieces())] {
        for _ in 0..2 {
            let run = simulated.read(&Simulation::default(), script.clone());
            assert_eq!(String::from_utf8(run.stdout).unwrap(), "one\n|two th|ree||");
        }
    }
    assert_eq!(simulated.seed(0).stdout, b"|", "without a script there is nothing to read");
}

#[test]
fn the_date_and_the_bits_of_nans_are_the_same_everywhere() {
    let simulated = Simulated::new(&guest(
        r#"
        (func (export "_start")
          (call $assert (i32.eqz (call $clock (i32.const 0) (i64.const 0) (i32.const 1100))))
          (f64.store (i32.const 1108) (f64.div (f64.const 0) (f64.load (i32.const 1200))))
          (call $say (i32.const 1100) (i32.const 16)))
        "#,
    ));
    let said = simulated.run(&with(CALM, 0)).stdout;
    let number = |at: usize| u64::from_le_bytes(said[at..at + 8].try_into().unwrap());
    assert_eq!(number(0) / 1_000_000_000, 1_767_225_600, "1 January 2026");
    assert_eq!(number(8), 0x7ff8_0000_0000_0000);
}

#[test]
fn a_sweep_stops_at_the_first_seed_that_fails() {
    // About one seed in ten fails.
    let simulated = Simulated::new(&guest(
        r#"
        (func (export "_start")
          (drop (call $random_get (i32.const 1100) (i32.const 8)))
          (call $assert (i32.wrap_i64 (i64.rem_u (i64.load (i32.const 1100)) (i64.const 10)))))
        "#,
    ));
    let fails = |seed: &u64| !simulated.seed(*seed).outcome.is_success();
    let first = (0..1000).find(fails).unwrap();
    let next = (first + 1..1000).find(fails).unwrap();
    let found = |from| simulated.sweep(from..1000, &Simulation::default()).unwrap().0;
    assert_eq!((found(0), found(first), found(first + 1)), (first, first, next));
    assert!(simulated.sweep(first + 1..next, &Simulation::default()).is_none());
    assert!(simulated.sweep(5..5, &Simulation::default()).is_none());
}

#[test]
fn options_that_cannot_be_simulated_are_refused() {
    let dir = PreopenedDir { host: ".".into(), guest: "data".into(), is_read_only: false };
    let files = RuntimeConfig::default().dirs(vec![dir]);
    assert!(matches!(Simulator::new(files), Err(RuntimeError::SimulatedFiles)));
    let unmetered = RuntimeConfig::default().unmetered(true);
    assert!(matches!(Simulator::new(unmetered), Err(RuntimeError::SimulatedUnmetered)));
    let simulator = Simulator::new(RuntimeConfig::default()).unwrap();
    let program = simulator.load(&wat::parse_str(guest("(func (export \"_start\"))")).unwrap()).unwrap();
    for workers in [0, MAX_WORKERS + 1] {
        let simulation = Simulation { workers, ..Simulation::default() };
        let run = simulator.run(&program, &simulation, Streams::default());
        assert!(matches!(run, Err(RuntimeError::Workers)), "{workers}");
    }
}

#[test]
fn a_trace_that_cannot_be_written_is_an_error() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let simulator = Simulator::new(RuntimeConfig::default()).unwrap();
    let program = simulator.load(&wat::parse_str(guest("(func (export \"_start\"))")).unwrap()).unwrap();
    let streams = Streams { trace: Some(Box::new(Full)), ..Streams::default() };
    let run = simulator.run(&program, &Simulation::default(), streams);
    assert!(matches!(run, Err(RuntimeError::Trace(_))));
}

/// The number of seeds for each scenario: 10,000 in all.
const SEEDS: u64 = 10_000 / SCENARIOS.len() as u64;

/// Half of the seeds run with the faults of the scenario, half with what may happen on any machine.
#[test]
fn guarantees_hold_on_ten_thousand_timelines() {
    let started = Instant::now();
    for scenario in SCENARIOS {
        let simulated = Simulated::new(&scenario.text());
        for (faults, seeds) in [(scenario.faults, 0..SEEDS / 2), ("jump=0.01,pause=0.01", SEEDS / 2..SEEDS)] {
            if let Some((seed, run)) = simulated.sweep(seeds, &with(faults, 0)) {
                let Scenario { rows, name, .. } = scenario;
                panic!(
                    "{name} (rows {rows:?}): not with seed {seed} and {faults}: {:?}\n{}\n{}",
                    run.outcome, run.stderr, run.trace
                );
            }
        }
    }
    println!("{} seeds in {:?}", SEEDS * SCENARIOS.len() as u64, started.elapsed());
}

/// The scenarios for real threads hold on simulated timelines, too: in any order of turns, and however long a machine stands still.
#[test]
fn guarantees_of_real_threads_hold_on_simulated_timelines() {
    const SEEDS_OF_EACH: u64 = 220;
    let started = Instant::now();
    let scenarios = common::scenarios::all();
    for scenario in &scenarios {
        let simulated = Simulated::new(&scenario.text(2));
        for (faults, seeds) in [(CALM, 0..SEEDS_OF_EACH / 2), ("jump=0.01,pause=0.01", 0..SEEDS_OF_EACH / 2)]
        {
            if let Some((seed, run)) = simulated.sweep(seeds, &with(faults, 0)) {
                let (rows, name) = (scenario.rows, scenario.name);
                panic!(
                    "{name} (rows {rows:?}): not with seed {seed} and {faults}: {:?}\n{}\n{}",
                    run.outcome, run.stderr, run.trace
                );
            }
        }
    }
    println!("{} seeds in {:?}", SEEDS_OF_EACH * scenarios.len() as u64, started.elapsed());
}
