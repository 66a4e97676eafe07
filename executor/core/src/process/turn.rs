//! One turn of a process on a worker. The process handles its signals and continues where it stopped, until it waits,
//! its slice is used up, or it ends.

use std::panic::{AssertUnwindSafe, catch_unwind};

use lunatic_jit::{Progress, Trap, TrapKind};

use crate::fault::Fault;
use crate::machine::{Machine, Plan, TurnEnd};
use crate::node::Backend;
use lunatic_scheduler::{Priority, Step, Task};

use super::Process;
use super::body::Body;
use super::exit::{ExitReason, Limit};
use super::id::ProcessId;

/// The least that a suspension costs, so that a process that is answered at once every time still reaches the end of
/// its slice.
const SUSPENSION: u64 = 100;

/// Signals that a process handles in one turn, which takes a fraction of a millisecond.
const SIGNALS_PER_TURN: u32 = 4096;

/// What a signal costs its receiver, in reductions.
const SIGNAL: u64 = 10;

/// How a turn ended.
enum Turn {
    Again,
    Rest,
    End(ExitReason),
}

impl Task for Process {
    fn priority(&self) -> Priority {
        Process::priority(self)
    }

    fn run(&self) -> Step {
        loop {
            let mut guard = self.lock_body();
            let Some(body) = &mut *guard else { return Step::Rest };
            // A worker survives bugs of the runtime: the body is dropped as the panic left it and never runs again.
            let turn = catch_unwind(AssertUnwindSafe(|| self.turn(body)));
            match turn.unwrap_or(Turn::End(ExitReason::Bug)) {
                Turn::Again => {
                    drop(guard);
                    self.let_snapshot();
                    self.inbox.queue().again();
                    return Step::Again;
                }
                Turn::Rest => {
                    body.note_working_set(&self.working_set);
                    drop(guard);
                    if self.inbox.queue().rest() {
                        return Step::Rest;
                    }
                }
                Turn::End(reason) => {
                    let body = guard.take();
                    drop(guard);
                    self.end(body, &reason);
                    return Step::Rest;
                }
            }
        }
    }
}

impl Process {
    /// Runs one turn. A simulated machine is asked in this one place, which costs real machines two comparisons.
    fn turn(&self, body: &mut Body) -> Turn {
        let slice = match &self.node().backend {
            Backend::Threads { .. } => {
                // The first turn makes the store, and the size of its memory decides how long a slice may be.
                body.start();
                body.throttle().slice(self.node().slice)
            }
            Backend::Driven(machine) => {
                match machine.begin_turn(self.id, self.node().is_first(self.id), body.reductions()) {
                    Plan::Run { slice } => slice,
                    Plan::Kill => return Turn::End(ExitReason::Killed),
                }
            }
        };
        let turn = self.turn_within(slice, body);
        match &self.node().backend {
            Backend::Threads { .. } => {
                if let Turn::Again = turn {
                    body.throttle().after_slice();
                }
            }
            Backend::Driven(machine) => tell(&**machine, self.id, body, &turn),
        }
        turn
    }

    fn turn_within(&self, mut slice: u64, body: &mut Body) -> Turn {
        let queue = self.inbox.queue();
        let signals = queue.take();
        body.start();
        body.data_mut().take_in(signals);
        let mut portion = SIGNALS_PER_TURN;
        loop {
            if body.data_mut().has_unhandled() {
                let before = portion;
                if let Some(reason) = body.data_mut().handle_signals(&mut portion) {
                    return Turn::End(reason);
                }
                slice = slice.saturating_sub(u64::from(before - portion) * SIGNAL).max(1);
            }
            let Some(how) = body.resolve() else {
                return if body.data_mut().wants_next_turn() { Turn::Again } else { Turn::Rest };
            };
            slice = slice.saturating_sub(body.data_mut().take_unpaid()).max(1);
            let budget = match self.budget(body) {
                Ok(budget) => budget,
                Err(reason) => return Turn::End(reason),
            };
            let (progress, used) = match body.advance(how, slice.min(budget)) {
                Ok(done) => done,
                Err(reason) => return Turn::End(reason),
            };
            body.note_usage();
            match progress {
                Progress::Suspended => {
                    // Most suspensions end here, without another look at signals and waits that cannot have changed.
                    if !queue.has_arrived() && body.waits_for_messages() {
                        return Turn::Rest;
                    }
                    slice = slice.saturating_sub(used.max(SUSPENSION)).max(1);
                }
                Progress::Yielded => return self.budget(body).map_or_else(Turn::End, |_| Turn::Again),
                Progress::Returned => return Turn::End(ExitReason::Normal),
                Progress::Trapped(trap) => return Turn::End(reason(trap)),
            }
            if queue.has_arrived() {
                body.data_mut().take_in(queue.take());
            }
        }
    }

    /// Returns the reductions that the process may still use in its life.
    fn budget(&self, body: &Body) -> Result<u64, ExitReason> {
        let Some(limit) = self.config().max_reductions else { return Ok(u64::MAX) };
        let used = body.reductions();
        if used < limit { Ok(limit - used) } else { Err(ExitReason::LimitExceeded(Limit::Compute(limit))) }
    }
}

/// Reports to a simulated machine how a turn ended.
#[cold]
fn tell(machine: &dyn Machine, process: ProcessId, body: &Body, turn: &Turn) {
    let ended = match turn {
        Turn::Again => TurnEnd::Yielded,
        Turn::Rest => TurnEnd::Rested,
        Turn::End(reason) => TurnEnd::Over(reason),
    };
    machine.end_turn(process, ended, body.reductions());
}

/// Converts a trap to the reason of the exit. `proc_exit` and exits with a reason arrive as traps and are not
/// crashes.
fn reason(trap: Box<Trap>) -> ExitReason {
    if let TrapKind::Host(error) = &trap.kind {
        match error.downcast_ref::<Fault>() {
            Some(Fault::Exit(0)) => return ExitReason::Normal,
            Some(Fault::Exit(status)) => return ExitReason::Exit(*status),
            Some(Fault::Reason(0)) => return ExitReason::Normal,
            Some(Fault::Reason(reason)) => return ExitReason::Reason(*reason),
            _ => {}
        }
    }
    ExitReason::Trap(trap)
}
