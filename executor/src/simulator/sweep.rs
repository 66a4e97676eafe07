//! Runs many seeds until one fails.
//!
//! Several threads share the seeds; each runs whole simulations. The reported seed does not depend on the threads: it
//! is the first one that fails, in order.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use lunatic_resources::sync::Mutex;

use crate::error::RuntimeError;
use crate::program::Program;
use lunatic_stdio::Script;

use lunatic_simulation::{Outcome, Simulation, Streams};

use super::{Simulator, on_a_worker, resume, run_here};

/// The state that the threads of a sweep share.
struct Shared {
    /// The next seed to run.
    next: AtomicU64,
    /// The first seed not to run: an earlier seed has failed, or the range ends here.
    end: AtomicU64,
    failed: Mutex<Option<(u64, Outcome)>>,
}

impl Simulator {
    /// Runs the program once per seed on this number of threads until a run does not end with status 0. Returns the
    /// first such seed and its outcome. Output is discarded; to see it, run that seed again.
    ///
    /// # Errors
    /// See [`Simulator::run`].
    ///
    /// # Panics
    /// See [`Simulator::run`].
    pub fn sweep(
        &self,
        program: &Program,
        seeds: Range<u64>,
        simulation: &Simulation,
        stdin: &Script,
        threads: usize,
    ) -> Result<Option<(u64, Outcome)>, RuntimeError> {
        let shared = Shared {
            next: AtomicU64::new(seeds.start),
            end: AtomicU64::new(seeds.end),
            failed: Mutex::new(None),
        };
        let work = || -> Result<(), RuntimeError> {
            while let Some(seed) = shared.take() {
                let simulation = Simulation { seed, ..*simulation };
                let streams = Streams { stdin: stdin.clone(), ..Streams::default() };
                let run = run_here(self, program, &simulation, streams);
                shared.note(seed, run.inspect_err(|_| shared.stop())?);
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads.max(1)).map(|_| on_a_worker(scope, work)).collect();
            threads.into_iter().try_for_each(|thread| thread?.join().unwrap_or_else(resume))
        })?;
        Ok(shared.failed.into_inner())
    }
}

impl Shared {
    /// Takes the next seed.
    fn take(&self) -> Option<u64> {
        // Relaxed, here and below: these numbers order nothing else. At worst a thread runs a seed that is no longer
        // needed.
        let end = self.end.load(Ordering::Relaxed);
        let seed = self
            .next
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| (next < end).then(|| next + 1));
        seed.ok()
    }

    /// Ends the sweep because a thread, not a seed, has failed.
    fn stop(&self) {
        self.end.store(0, Ordering::Relaxed);
    }

    fn note(&self, seed: u64, outcome: Outcome) {
        if outcome.is_success() {
            return;
        }
        self.end.fetch_min(seed, Ordering::Relaxed);
        let mut failed = self.failed.lock();
        if failed.as_ref().is_none_or(|(first, _)| seed < *first) {
            *failed = Some((seed, outcome));
        }
    }
}
