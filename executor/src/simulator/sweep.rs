//! Many seeds, until one fails.
//!
//! Several threads share the seeds; each runs whole simulations. Which seed is reported does not depend on them: it is
//! the first that fails, in the order of the seeds.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::error::RuntimeError;
use crate::program::Program;
use lunatic_stdio::Script;

use lunatic_simulation::{Outcome, Simulation, Streams};

use super::{Simulator, on_a_worker, resume, run_here};

/// What the threads of a sweep share.
struct Shared {
    /// The next seed to run.
    next: AtomicU64,
    /// No seed from here on needs to be run: one before it has failed, or it is the end.
    end: AtomicU64,
    failed: Mutex<Option<(u64, Outcome)>>,
}

impl Simulator {
    /// Runs the program once for each seed, on so many threads, until one fails: the first seed whose run does not end
    /// with status 0, and what became of it. What the runs write is lost; to see it, run that seed again.
    ///
    /// # Errors
    /// As for [`Simulator::run`].
    ///
    /// # Panics
    /// As for [`Simulator::run`].
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
        Ok(shared.failed.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Shared {
    /// A seed to run.
    fn take(&self) -> Option<u64> {
        // Relaxed, here and below: numbers that order nothing else. Whoever takes a seed that is no longer needed has
        // run it in vain.
        let end = self.end.load(Ordering::Relaxed);
        let seed = self
            .next
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| (next < end).then(|| next + 1));
        seed.ok()
    }

    /// There is nothing more to run: a thread has failed, not a seed.
    fn stop(&self) {
        self.end.store(0, Ordering::Relaxed);
    }

    fn note(&self, seed: u64, outcome: Outcome) {
        if outcome.is_success() {
            return;
        }
        self.end.fetch_min(seed, Ordering::Relaxed);
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.as_ref().is_none_or(|(first, _)| seed < *first) {
            *failed = Some((seed, outcome));
        }
    }
}
