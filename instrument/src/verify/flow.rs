//! Proves that all work is paid for, and that no work goes on for long without a charge.
//!
//! Walking forwards through a function, the proof keeps a [`State`] that holds on every path to the current
//! point. Its *credit* is what is guaranteed to be left of the last charge of the current region: a charge
//! sets it, work lowers it, and where paths meet the smaller one counts. Work beyond the credit is an error.
//! Two more numbers are the work since the last charge and since a call last returned; where paths meet, the
//! larger one counts. A point that no path reaches has no state.
//!
//! The body of a loop is a region of its own: it begins without credit, and where it is left, at its end or
//! by a branch across it, the surrounding region continues with the credit that it had when the loop was
//! entered. That is right because the surrounding region does no work while the loop runs. A branch back to a
//! loop needs no check: the loop's first charge sets everything.
//!
//! An exception comes from anywhere in what it was caught around, or in what that calls. So there is no
//! credit where it arrives: at the beginning of a handler, and at a label that a `catch` clause names.
//!
//! The rewriter walks backwards and computes the most expensive path; this walks forwards and computes the
//! least credit. They agree exactly where every charge covers every path to the next one, and have nothing
//! else in common.

use wasmparser::{BrTable, Catch, Operator, TryTable};

use crate::abi::{MAX_CHARGE, MAX_RETURN};
use crate::cost;

/// What is known at a point that is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    credit: u32,
    /// The most work since the last charge of this activation.
    since_charge: u32,
    /// The most work since a call returned, if there was no charge since then.
    since_return: Option<u32>,
}

/// The state at a point; `None` if no path leads there.
type Point = Option<State>;

/// What is wrong with the work ahead.
#[derive(Debug)]
pub(super) enum Broken {
    /// The credit does not cover it.
    Unpaid,
    /// There is too much of it without a charge.
    LongPath,
    /// The same, since a call returned.
    LongReturn,
}

/// The most work of some kind, and where it ends.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Most {
    pub(super) work: u32,
    pub(super) offset: u64,
}

/// The most work on any path.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) since_charge: Most,
    pub(super) since_return: Most,
}

/// The state at the current point of a function.
///
/// Most operators only continue to the next one. They change one number: the work since the state was last
/// set.
#[derive(Debug)]
pub(super) struct Flow {
    /// The state that was last set.
    set: Point,
    /// The work since then, and its limit.
    work: u32,
    limit: u32,
    pub(super) bounds: Bounds,
    /// The number of imported functions, which come first.
    imported: u32,
    /// The blocks around the current point, the function's body first.
    frames: Vec<Frame>,
    /// The credit with which each loop around the current point was entered, the outermost first.
    loops: Vec<u32>,
}

#[derive(Debug)]
struct Frame {
    kind: Kind,
    /// The number of loops around the frame's label.
    depth: usize,
    /// The state that branches to the label have brought so far.
    label: Point,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Block,
    Loop,
    /// The first arm of an `if`, with the state at the beginning of the second.
    If {
        other: Point,
    },
    /// An older `try`, and whether it is reached.
    Try {
        is_reached: bool,
    },
}

impl Flow {
    /// The beginning of a function's body, in a module with this number of imports. `bounds` are the largest
    /// values of the functions before.
    pub(super) fn new(imported: u32, bounds: Bounds) -> Flow {
        let (frames, loops) = (Vec::new(), Vec::new());
        let mut flow = Flow { set: None, work: 0, limit: 0, bounds, imported, frames, loops };
        flow.set(Some(State::ARRIVED), 0);
        flow.push(Kind::Block);
        flow
    }

    /// Passes a charge.
    pub(super) fn charge(&mut self, cost: u32, offset: u64) {
        self.set(self.set.map(|_| State { credit: cost, ..State::ARRIVED }), offset);
    }

    /// Passes an operator of the module itself, which has been validated.
    #[inline(always)]
    pub(super) fn work(&mut self, operator: &Operator<'_>, offset: u64) -> Result<(), Broken> {
        // An operator costs little, and a body has less than 2³² bytes.
        self.work += cost::of_operator(operator);
        if self.work > self.limit {
            return Err(self.what_is_broken());
        }
        match operator {
            Operator::Block { .. } => self.push(Kind::Block),
            Operator::TryTable { try_table } => self.begin_try_table(try_table),
            Operator::Try { .. } => self.push(Kind::Try { is_reached: self.set.is_some() }),
            Operator::Catch { .. } | Operator::CatchAll => self.begin_handler(offset),
            Operator::Loop { .. } => {
                // Nothing is required of a loop that is not reached.
                let now = self.now();
                self.loops.push(now.map_or(0, |state| state.credit));
                self.set(now.map(|state| State { credit: 0, ..state }), offset);
                self.push(Kind::Loop);
            }
            Operator::If { .. } => self.push(Kind::If { other: self.now() }),
            Operator::Else => self.begin_other_arm(offset),
            Operator::End | Operator::Delegate { .. } => self.pop(offset),
            Operator::Br { relative_depth } => {
                self.branch(*relative_depth, self.now());
                self.set(None, offset);
            }
            Operator::BrIf { relative_depth }
            | Operator::BrOnNull { relative_depth }
            | Operator::BrOnNonNull { relative_depth }
            | Operator::BrOnCast { relative_depth, .. }
            | Operator::BrOnCastFail { relative_depth, .. } => self.branch(*relative_depth, self.now()),
            Operator::BrTable { targets } => self.branch_table(targets, offset),
            Operator::Call { function_index } if *function_index >= self.imported => {
                // The callee has begun with a charge, so what was before is over.
                let returned = |state| State { since_return: Some(0), ..state };
                self.set(self.now().map(returned), offset);
            }
            Operator::CallIndirect { .. } | Operator::CallRef { .. } => {
                // The callee may have been an imported function.
                let returned = |state: State| State { since_return: state.since_return.or(Some(0)), ..state };
                self.set(self.now().map(returned), offset);
            }
            Operator::Return
            | Operator::Unreachable
            | Operator::ReturnCall { .. }
            | Operator::ReturnCallIndirect { .. }
            | Operator::ReturnCallRef { .. }
            | Operator::Throw { .. }
            | Operator::ThrowRef
            | Operator::Rethrow { .. } => self.set(None, offset),
            // All other operators of the supported proposals continue to the next one.
            _ => {}
        }
        Ok(())
    }

    fn now(&self) -> Point {
        self.set.map(|state| state.after(self.work))
    }

    /// Continues from another state. The previous one is at its largest.
    fn set(&mut self, state: Point, offset: u64) {
        if let Some(State { since_charge, since_return, .. }) = self.now() {
            self.bounds.since_charge.add(since_charge, offset);
            self.bounds.since_return.add(since_return.unwrap_or(0), offset);
        }
        (self.set, self.work) = (state, 0);
        self.limit = state.map_or(u32::MAX, |state| {
            let after_a_return = state.since_return.map_or(u32::MAX, |work| MAX_RETURN.saturating_sub(work));
            let after_a_charge = MAX_CHARGE.saturating_sub(state.since_charge);
            state.credit.min(after_a_charge).min(after_a_return)
        });
    }

    fn what_is_broken(&self) -> Broken {
        match self.set {
            Some(state) if state.credit < self.work => Broken::Unpaid,
            Some(state) if state.since_charge + self.work > MAX_CHARGE => Broken::LongPath,
            _ => Broken::LongReturn,
        }
    }

    fn push(&mut self, kind: Kind) {
        self.frames.push(Frame { kind, depth: self.loops.len(), label: None });
    }

    fn pop(&mut self, offset: u64) {
        // Validation has matched every `end` with its beginning.
        let Some(frame) = self.frames.pop() else { return };
        let now = self.now();
        let after = match frame.kind {
            Kind::Block | Kind::Try { .. } => either(now, frame.label),
            Kind::If { other } => either(either(now, frame.label), other),
            Kind::Loop => {
                let credit = self.loops.pop().unwrap_or(0);
                now.map(|state| State { credit, ..state })
            }
        };
        self.set(after, offset);
    }

    /// Moves from the end of an `if`'s first arm to the beginning of the second. What remains is a block: the
    /// end of the first arm leads to the label.
    fn begin_other_arm(&mut self, offset: u64) {
        let now = self.now();
        if let Some(Frame { kind, label, .. }) = self.frames.last_mut()
            && let Kind::If { other } = *kind
        {
            *label = either(*label, now);
            *kind = Kind::Block;
            self.set(other, offset);
        }
    }

    /// Moves from the end of a `try`'s body, or of a handler, to the beginning of the next handler.
    fn begin_handler(&mut self, offset: u64) {
        let now = self.now();
        if let Some(Frame { kind, label, .. }) = self.frames.last_mut() {
            *label = either(*label, now);
            let is_reached = matches!(*kind, Kind::Try { is_reached: true });
            self.set(is_reached.then_some(State::ARRIVED), offset);
        }
    }

    /// Its `catch` clauses name labels around it, not counting its own.
    fn begin_try_table(&mut self, try_table: &TryTable) {
        if self.set.is_some() {
            for handler in &try_table.catches {
                let (Catch::One { label, .. }
                | Catch::OneRef { label, .. }
                | Catch::All { label }
                | Catch::AllRef { label }) = *handler;
                let index = self.frames.len().checked_sub(1 + label as usize);
                if let Some(frame) = index.and_then(|index| self.frames.get_mut(index)) {
                    frame.label = either(frame.label, Some(State::ARRIVED));
                }
            }
        }
        self.push(Kind::Block);
    }

    fn branch_table(&mut self, targets: &BrTable<'_>, offset: u64) {
        let now = self.now();
        for target in targets.targets().flatten() {
            self.branch(target, now);
        }
        self.branch(targets.default(), now);
        self.set(None, offset);
    }

    fn branch(&mut self, relative_depth: u32, now: Point) {
        // Validation has checked that the label exists.
        let index = self.frames.len().checked_sub(1 + relative_depth as usize);
        let Some(frame) = index.and_then(|index| self.frames.get_mut(index)) else { return };
        if frame.kind == Kind::Loop {
            return;
        }
        // Outside of the loops, the region of the label continues with what it had when the outermost of them
        // was entered.
        let arriving = match self.loops.get(frame.depth) {
            Some(&credit) => now.map(|state| State { credit, ..state }),
            None => now,
        };
        frame.label = either(frame.label, arriving);
    }
}

impl Most {
    fn add(&mut self, work: u32, offset: u64) {
        if work > self.work {
            *self = Most { work, offset };
        }
    }
}

impl State {
    /// The state at the beginning of a function, after a charge of nothing, or where an exception has
    /// arrived.
    const ARRIVED: State = State { credit: 0, since_charge: 0, since_return: None };

    /// The state after this amount of work, for which there was credit.
    fn after(self, work: u32) -> State {
        State {
            credit: self.credit.saturating_sub(work),
            since_charge: self.since_charge + work,
            since_return: self.since_return.map(|since| since + work),
        }
    }
}

/// What is known where two paths meet.
fn either(a: Point, b: Point) -> Point {
    match (a, b) {
        (Some(a), Some(b)) => Some(State {
            credit: a.credit.min(b.credit),
            since_charge: a.since_charge.max(b.since_charge),
            // `None` is less than any number.
            since_return: a.since_return.max(b.since_return),
        }),
        (one, None) | (None, one) => one,
    }
}
