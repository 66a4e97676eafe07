//! Processes call random host functions with random arguments, under limits. Whatever they do, the command's resident memory
//! and descriptors stay below a bound, and a process beside them that only ticks is not delayed.
//!
//! A seed draws the calls from the table of host functions, `executor/ABI.md`. A few seeds always run;
//! `LUNATIC_ACCOUNTING=SECONDS` continues with others for that long.
#![cfg(target_os = "linux")]

mod common;

use std::fmt::Write;
use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use common::abi::{Param, Row};
use common::{command, with_app};

/// How long the processes of one seed run.
const RUN: Duration = Duration::from_secs(3);

/// Seeds that always run.
const SEEDS: u64 = 4;

/// The most resident memory that the command may use. Its processes may have 160 MiB of memory together.
const MAX_RESIDENT: u64 = 400 << 20;

/// The most descriptors that it may have: a hundred sockets and a hundred files for each of ten processes, and its own.
const MAX_DESCRIPTORS: usize = 2200;

/// How late a tick may be, in nanoseconds. This is an unoptimised build on a busy machine; a real stall takes seconds.
const MAX_LATE: u64 = 1_500_000_000;

/// The number of entries, and of calls in each.
const ENTRIES: usize = 40;
const CALLS: usize = 12;

/// A small random number generator, so that the seed alone determines a run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[(self.next() % all.len() as u64) as usize]
    }
}

/// Whether a function would end the measurement: the first process is the ticker.
fn is_left_out(row: &Row) -> bool {
    ["kill", "link"].contains(&row.name.as_str()) && row.module == "lunatic::process" || row.name == "signal"
}

/// The arguments of a call. Most are valid, so that the call does something.
fn arguments(random: &mut Random, row: &Row) -> String {
    let mut args = String::new();
    for (index, param) in row.params.iter().enumerate() {
        let arg = match param {
            Param::Place(_) => format!("(i32.const {})", 4096 + 64 * (random.next() % 16)),
            Param::Array(_) => random.of(&["(i32.const 16384)", "(i32.const 8192)"]).to_owned(),
            Param::Text => {
                random.of(&["(i32.const 16384)", "(i32.const 1024)", "(i32.const 1030)"]).to_owned()
            }
            Param::Length => {
                let lengths: &[&str] = match &row.params[index - 1] {
                    Param::Text => &["1", "3", "6", "100", "4000", "60000"],
                    Param::Array(1) => &["0", "17", "100", "50000", "900000"],
                    _ => &["0", "1", "100", "5000"],
                };
                format!("(i32.const {})", random.of(lengths))
            }
            Param::Address => {
                "(i32.const 4) (i32.const 1040) (i32.const 0) (i32.const 0) (i32.const 0)".to_owned()
            }
            Param::Identifier(_) => format!("(i64.const {})", random.next() % 4),
            Param::Number("f64") => "(f64.const 1)".to_owned(),
            Param::Number("i32") => format!("(i32.const {})", random.of(&["0", "1", "2", "1000", "-1"])),
            // Never process 1, which is the ticker.
            Param::Number(_) if random.next().is_multiple_of(4) => "(call $me)".to_owned(),
            Param::Number(_) => {
                format!("(i64.const {})", random.of(&["0", "-1", "2", "5", "66", "1000", "1000000"]))
            }
        };
        args += &arg;
        args.push(' ');
    }
    args
}

/// A guest whose first process ticks, spawns the entries in turn, and finally prints by how much its latest tick was late.
fn guest(seed: u64) -> String {
    let mut random = Random(seed);
    let rows: Vec<Row> = Row::all().into_iter().filter(|row| !is_left_out(row)).collect();
    let mut imports = String::new();
    for (index, row) in rows.iter().enumerate() {
        let params: Vec<_> = row.types().collect();
        let result: String = row.result.iter().map(|ty| format!("(result {ty})")).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(
            imports,
            r#"(import "{}" "{}" (func $f{index} (param {}) {result}))"#,
            row.module,
            row.name,
            params.join(" ")
        );
    }
    let mut calls = String::new();
    let mut few: Vec<usize> = Vec::new();
    for call in 0..ENTRIES * CALLS {
        if call % CALLS == 0 {
            // Every other entry repeats a few calls very often; the others make many different calls.
            let kinds = if (call / CALLS).is_multiple_of(2) { 3 } else { CALLS };
            few = (0..kinds).map(|_| (random.next() % rows.len() as u64) as usize).collect();
        }
        let index = few[call % few.len()];
        let drop = if rows[index].result.is_some() { "drop" } else { "" };
        let _ = writeln!(
            calls,
            "(func $c{call} (call $f{index} {}) {drop})",
            arguments(&mut random, &rows[index])
        );
    }
    let table: String = (0..ENTRIES * CALLS).map(|call| format!("$c{call} ")).collect();
    let entries: String = (0..ENTRIES)
        .map(|entry| {
            let first = entry * CALLS;
            format!("(func (export \"e{entry:02}\") (call $do (i32.const {first})))\n")
        })
        .collect();
    format!(
        r#"(module
        {imports}
        (memory (export "memory") 20)
        (data (i32.const 1024) "e00 e1/data/db :memory:")
        (data (i32.const 1040) "\7f\00\00\01")
        (table {calls_count} funcref)
        (elem (i32.const 0) {table})
        {calls}
        {entries}
        (func (export "_lunatic_catch_trap") (param i32 i32) (result i32)
          (call_indirect (local.get 0))
          (i32.const 0))
        ;; Does the calls from one on, over and over; what traps does not end it.
        (func $do (param $first i32) (local $i i32) (local $round i32)
          (memory.fill (i32.const 16384) (i32.const 97) (i32.const 1000000))
          (loop $rounds
            (local.set $i (i32.const 0))
            ;; Each round has another text.
            (i32.store (i32.const 16384) (i32.or (i32.const 0x40404040) (i32.and (local.get $round) (i32.const 0x0f0f0f0f))))
            (i32.store (i32.const 16388) (i32.or (i32.const 0x40404040) (i32.and (i32.shr_u (local.get $round) (i32.const 4)) (i32.const 0x0f0f0f0f))))
            (loop $more
              (drop (call $catch (i32.add (local.get $first) (local.get $i)) (i32.const 0)))
              (br_if $more (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const {CALLS}))))
            (br_if $rounds (i32.lt_u (local.tee $round (i32.add (local.get $round) (i32.const 1))) (i32.const 3000)))))
        (func $now (result i64)
          (drop (call $clock (i32.const 1) (i64.const 0) (i32.const 40)))
          (i64.load (i32.const 40)))
        (func (export "_start") (local $begin i64) (local $last i64) (local $now i64) (local $worst i64) (local $entry i32)
          (local.set $begin (call $now))
          (local.set $last (local.get $begin))
          (loop $more
            (call $sleep (i64.const 1))
            (local.set $now (call $now))
            (if (i64.gt_u (i64.sub (local.get $now) (local.get $last)) (local.get $worst))
              (then (local.set $worst (i64.sub (local.get $now) (local.get $last)))))
            (i32.store8 (i32.const 1025) (i32.add (i32.const 48) (i32.div_u (local.get $entry) (i32.const 10))))
            (i32.store8 (i32.const 1026) (i32.add (i32.const 48) (i32.rem_u (local.get $entry) (i32.const 10))))
            (local.set $entry (i32.rem_u (i32.add (local.get $entry) (i32.const 1)) (i32.const {ENTRIES})))
            (if (call $spawn_raw (i64.const 0) (i64.const -1) (i64.const -1) (i32.const 1024) (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 48))
              (then (call $drop_error (i64.load (i32.const 48)))))
            (local.set $last (call $now))
            (br_if $more (i64.lt_u (i64.sub (local.get $last) (local.get $begin)) (i64.const {run}))))
          (i64.store (i32.const 56) (local.get $worst))
          (i32.store (i32.const 0) (i32.const 56))
          (i32.store (i32.const 4) (i32.const 8))
          (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#,
        calls_count = ENTRIES * CALLS,
        run = RUN.as_nanos(),
    )
}

/// The peaks of a command's resources while it ran.
#[derive(Debug, Default)]
struct Peak {
    resident: u64,
    descriptors: usize,
}

impl Peak {
    fn look(&mut self, child: &Child) {
        let process = format!("/proc/{}", child.id());
        let status = fs::read_to_string(format!("{process}/status")).unwrap_or_default();
        let resident =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        let resident =
            resident.and_then(|kibibytes| kibibytes.trim().parse::<u64>().ok()).unwrap_or_default();
        self.resident = self.resident.max(resident << 10);
        let descriptors = fs::read_dir(format!("{process}/fd")).map_or(0, Iterator::count);
        self.descriptors = self.descriptors.max(descriptors);
    }
}

/// Runs a seed.
fn run(seed: u64) {
    let directory = with_app(&guest(seed));
    let options = [
        "--workers",
        "1",
        "--no-cache",
        "--max-memory",
        "16MiB",
        "--max-total-memory",
        "160MiB",
        "--max-processes",
        "10",
        "--max-resources",
        "100",
        "--dir",
        ".::/data",
        "app.wasm",
    ];
    // The environment can name the directory of an optimised build.
    let commands = std::env::var("LUNATIC_COMMANDS");
    let exec = commands.map_or(env!("CARGO_BIN_EXE_lunatic-exec").into(), |path| path + "/lunatic-exec");
    let mut exec = command(&exec, directory.path(), &options);
    // Each trap of a guest is reported on standard error.
    let mut child = exec.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
    let (started, mut peak) = (Instant::now(), Peak::default());
    while child.try_wait().expect("it can be waited for").is_none() {
        peak.look(&child);
        assert!(started.elapsed() < 20 * RUN, "seed {seed}: it does not end; {peak:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output().expect("it has ended");
    assert!(output.status.success(), "seed {seed}: {:?}, {peak:?}", output.status);
    let late = u64::from_le_bytes(output.stdout[..].try_into().expect("eight bytes"));
    println!(
        "seed {seed}: {} MiB, {} descriptors, {} µs late",
        peak.resident >> 20,
        peak.descriptors,
        late / 1000
    );
    assert!(peak.resident < MAX_RESIDENT, "seed {seed}: {peak:?}");
    assert!(peak.descriptors < MAX_DESCRIPTORS, "seed {seed}: {peak:?}");
    assert!(late < MAX_LATE, "seed {seed}: {late} ns late");
}

#[test]
fn no_host_function_takes_memory_descriptors_or_time_beyond_the_limits() {
    (0..SEEDS).for_each(run);
    let longer = std::env::var("LUNATIC_ACCOUNTING").ok().and_then(|seconds| seconds.parse().ok());
    let longer = Duration::from_secs(longer.unwrap_or_default());
    let started = Instant::now();
    let mut seed = SEEDS;
    while started.elapsed() < longer {
        run(seed);
        seed += 1;
    }
}
