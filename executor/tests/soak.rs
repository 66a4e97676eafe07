//! Processes do everything that they can do to each other, at full load. Afterwards, all resources are back where they were.
//!
//! The test takes about 15 seconds; `LUNATIC_SOAK=SECONDS cargo test --test soak` makes it run for longer.

mod common;

use std::fs;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use common::simulated::Simulated;
use common::soak::text;
use common::{PATIENCE, run, workers};
use lunatic_executor::{Ended, ExitStatus};

/// The number of processes in a run.
const PROCESSES: u32 = 600;

/// The default duration.
const SECONDS: u64 = 12;

/// After this number of runs, everything that is kept for later runs exists (the allocator's arenas, cached stacks).
const WARM_UP: u64 = 2;

/// The mappings that the allocator may add after that, independently of the number of runs.
const MAPPINGS: usize = 64;

/// The KiB that the allocator may keep in addition after that, independently of the number of runs.
const RESIDENT_KIB: u64 = 16 << 10;

/// Lets one test run at a time, because one of them measures the whole process.
static ALONE: Mutex<()> = Mutex::new(());

/// The resources of this process.
#[derive(Debug)]
struct Held {
    descriptors: usize,
    threads: usize,
    mappings: usize,
    resident_kib: u64,
}

impl Held {
    fn now() -> Held {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        Held {
            descriptors: fs::read_dir("/proc/self/fd").unwrap().count(),
            threads: fs::read_dir("/proc/self/task").unwrap().count(),
            mappings: fs::read_to_string("/proc/self/maps").unwrap().lines().count(),
            resident_kib: resident.trim().trim_end_matches(" kB").parse().unwrap(),
        }
    }
}

impl Held {
    /// Whether there is nothing more than before, except what the allocator may keep.
    fn is_back(&self, before: &Held) -> bool {
        self.descriptors <= before.descriptors
            && self.threads <= before.threads
            && self.mappings <= before.mappings + MAPPINGS
            && self.resident_kib <= before.resident_kib + RESIDENT_KIB
    }
}

fn soak(seed: u64) {
    let outcome = run(workers(4), &text(seed, PROCESSES));
    assert_eq!(outcome.status, 0, "seed {seed}: {}", outcome.stderr);
    assert!(!outcome.stderr.contains("bug in the runtime"), "seed {seed}: {}", outcome.stderr);
}

#[test]
fn resources_return_to_their_level_after_the_soak() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let seconds = std::env::var("LUNATIC_SOAK").map_or(SECONDS, |seconds| seconds.parse().unwrap());
    let start = Instant::now();
    (0..WARM_UP).for_each(soak);
    let before = Held::now();
    let mut seed = WARM_UP;
    while seed == WARM_UP || start.elapsed() < Duration::from_secs(seconds) {
        soak(seed);
        seed += 1;
    }
    let mut after = Held::now();
    // Threads give back the resources of a run a moment after its end is reported.
    let ended = Instant::now();
    while !after.is_back(&before) && ended.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(50));
        after = Held::now();
    }
    println!("{seed} runs: {before:?}, then {after:?}");
    assert!(after.is_back(&before), "{seed} runs: {before:?}, then {after:?}");
}

#[test]
fn the_soak_holds_on_simulated_timelines_and_repeats_itself() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let simulated = Simulated::new(&text(1, 60));
    for seed in 0..6 {
        let run = simulated.seed(seed);
        assert_eq!(run.outcome.ended, Ended::Exited(ExitStatus(0)), "seed {seed}: {}", run.stderr);
        assert!(!run.stderr.contains("bug in the runtime"), "seed {seed}: {}", run.stderr);
        assert_eq!(run, simulated.seed(seed), "seed {seed}");
    }
}
