//! Everything that processes can do to each other, at full load and for as long as one likes; then everything is back
//! where it was.
//!
//! It takes about 15 seconds. `LUNATIC_SOAK=SECONDS cargo test --test soak` goes on for so long.

mod common;

use std::fs;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use common::simulated::Simulated;
use common::soak::text;
use common::{PATIENCE, run, workers};
use lunatic_executor::{Ended, ExitStatus};

/// Processes in a run.
const PROCESSES: u32 = 600;

/// How long it takes if nothing else is asked for.
const SECONDS: u64 = 12;

/// Runs after which what is kept for the next one (the allocator's arenas, cached stacks) has been made.
const WARM_UP: u64 = 2;

/// Mappings that the allocator may add after that, whatever the number of runs.
const MAPPINGS: usize = 64;

/// Kibibytes that it may keep beyond what it kept then, whatever the number of runs.
const RESIDENT_KIB: u64 = 16 << 10;

/// One test at a time, for one of them looks at the whole process.
static ALONE: Mutex<()> = Mutex::new(());

/// What this process has of the machine.
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
    /// Whether there is nothing more than before, but for what the allocator may keep.
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
fn after_everything_everything_is_back() {
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
    // What a run had is given back a moment after its end is told, by threads that end themselves.
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
