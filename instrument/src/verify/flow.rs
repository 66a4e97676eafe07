//! Proves that no work goes unpaid, and that none goes on for long without a charge.
//!
//! Going forwards through a function, a [`State`] is kept, whichever path led here. Its *credit* is what is guaranteed
//! to be left of the last charge of the current region: a charge sets it, work lowers it, where paths meet the smaller
//! one counts, and work above it is an error. Two more numbers say how much work there was since the last charge and
//! since a call last returned; where paths meet, the larger one counts. A point that no path reaches has no state.
//!
//! A loop's body is a region of its own: it begins with no credit, and whoever leaves it, at its end or by a
//! branch across it, finds the credit that the surrounding region had on entering it. That is right because the
//! surrounding region does no work while the loop runs. A branch back to a loop needs no look: the loop's first
//! charge sets everything whatever it was.
//!
//! An exception arrives from somewhere in what it was caught around, or in what that calls. So where it arrives there is
//! no credit: at the beginning of a handler, and at a label that a `catch` clause names.
//!
//! The rewriter goes backwards and asks for the dearest path; this goes forwards and asks for the least money.
//! They agree exactly where every charge covers every path to the next one, and have nothing else in common.

use wasmparser::{BrTable, Catch, Operator, TryTable};

use crate::cost;

/// What is known at a point that is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    credit: u32,
    /// The most work since the last charge of this activation.
    pub(super) since_charge: u32,
    /// The most work since a call returned, if there was no charge since one did.
    pub(super) since_return: Option<u32>,
}

/// The state at a point, `None` where no path leads.
type Point = Option<State>;

/// The work ahead is not covered by the credit.
#[derive(Debug)]
pub(super) struct Unpaid;

/// The state at the current point of a function.
#[derive(Debug)]
pub(super) struct Flow {
    now: Point,
    /// What was known when the last operator had been paid for, before it led anywhere.
    pub(super) paid: Point,
    /// How many functions are imported: they come first.
    imported: u32,
    /// The blocks around the current point, the function's body first.
    frames: Vec<Frame>,
    /// The credit that each loop around the current point was entered with, the outermost first.
    loops: Vec<u32>,
}

#[derive(Debug)]
struct Frame {
    kind: Kind,
    /// How many loops are around the frame's label.
    depth: usize,
    /// What the branches to the label bring, so far.
    label: Point,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Block,
    Loop,
    /// The first arm of an `if`, with what the other arm begins with.
    If {
        other: Point,
    },
    /// A `try` of old, and whether it is reached.
    Try {
        is_reached: bool,
    },
}

impl Flow {
    /// The beginning of a function's body, in a module that imports so many.
    pub(super) fn new(imported: u32) -> Flow {
        let mut flow =
            Flow { now: Some(State::ARRIVED), paid: None, imported, frames: Vec::new(), loops: Vec::new() };
        flow.push(Kind::Block);
        flow
    }

    /// A charge was passed.
    pub(super) fn charge(&mut self, cost: u32) {
        self.now = self.now.map(|_| State { credit: cost, ..State::ARRIVED });
    }

    /// An operator of the module's own, which has been validated.
    pub(super) fn work(&mut self, operator: &Operator<'_>) -> Result<(), Unpaid> {
        self.pay(cost::of_operator(operator))?;
        match operator {
            Operator::Block { .. } => self.push(Kind::Block),
            Operator::TryTable { try_table } => self.begin_try_table(try_table),
            Operator::Try { .. } => self.push(Kind::Try { is_reached: self.now.is_some() }),
            Operator::Catch { .. } | Operator::CatchAll => self.begin_handler(),
            Operator::Loop { .. } => {
                // Of a loop that is not reached nothing is asked.
                self.loops.push(self.now.map_or(0, |state| state.credit));
                self.now = self.now.map(|state| State { credit: 0, ..state });
                self.push(Kind::Loop);
            }
            Operator::If { .. } => self.push(Kind::If { other: self.now }),
            Operator::Else => self.begin_other_arm(),
            Operator::End | Operator::Delegate { .. } => self.pop(),
            Operator::Br { relative_depth } => {
                self.branch(*relative_depth);
                self.now = None;
            }
            Operator::BrIf { relative_depth }
            | Operator::BrOnNull { relative_depth }
            | Operator::BrOnNonNull { relative_depth }
            | Operator::BrOnCast { relative_depth, .. }
            | Operator::BrOnCastFail { relative_depth, .. } => self.branch(*relative_depth),
            Operator::BrTable { targets } => self.branch_table(targets),
            Operator::Call { function_index } if *function_index >= self.imported => {
                // It has begun with a charge, so what was before is over.
                self.returned(None);
            }
            Operator::CallIndirect { .. } | Operator::CallRef { .. } => {
                // It may have been an imported function.
                self.returned(self.now.and_then(|state| state.since_return));
            }
            Operator::Return
            | Operator::Unreachable
            | Operator::ReturnCall { .. }
            | Operator::ReturnCallIndirect { .. }
            | Operator::ReturnCallRef { .. }
            | Operator::Throw { .. }
            | Operator::ThrowRef
            | Operator::Rethrow { .. } => self.now = None,
            // No other operator of the accepted proposals continues anywhere but behind itself.
            _ => {}
        }
        Ok(())
    }

    fn pay(&mut self, cost: u32) -> Result<(), Unpaid> {
        if let Some(state) = &mut self.now {
            state.credit = state.credit.checked_sub(cost).ok_or(Unpaid)?;
            // Each operator costs little, and a body has less than 2³² bytes.
            state.since_charge += cost;
            state.since_return = state.since_return.map(|work| work + cost);
        }
        self.paid = self.now;
        Ok(())
    }

    fn returned(&mut self, since_earlier: Option<u32>) {
        if let Some(state) = &mut self.now {
            state.since_return = Some(since_earlier.unwrap_or(0));
        }
    }

    fn push(&mut self, kind: Kind) {
        self.frames.push(Frame { kind, depth: self.loops.len(), label: None });
    }

    fn pop(&mut self) {
        // Validation has matched every `end` with its beginning.
        let Some(frame) = self.frames.pop() else { return };
        self.now = match frame.kind {
            Kind::Block | Kind::Try { .. } => either(self.now, frame.label),
            Kind::If { other } => either(either(self.now, frame.label), other),
            Kind::Loop => {
                let credit = self.loops.pop().unwrap_or(0);
                self.now.map(|state| State { credit, ..state })
            }
        };
    }

    /// From the end of an `if`'s first arm to the beginning of the second. What is left is a block: the first
    /// arm's end leads to the label.
    fn begin_other_arm(&mut self) {
        if let Some(Frame { kind, label, .. }) = self.frames.last_mut()
            && let Kind::If { other } = *kind
        {
            *label = either(*label, self.now);
            *kind = Kind::Block;
            self.now = other;
        }
    }

    /// From the end of a `try`'s body, or of a handler, to the beginning of the next handler.
    fn begin_handler(&mut self) {
        if let Some(Frame { kind, label, .. }) = self.frames.last_mut() {
            *label = either(*label, self.now);
            let is_reached = matches!(*kind, Kind::Try { is_reached: true });
            self.now = is_reached.then_some(State::ARRIVED);
        }
    }

    /// Its `catch` clauses name labels around it, its own not counted.
    fn begin_try_table(&mut self, try_table: &TryTable) {
        if self.now.is_some() {
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

    fn branch_table(&mut self, targets: &BrTable<'_>) {
        for target in targets.targets().flatten() {
            self.branch(target);
        }
        self.branch(targets.default());
        self.now = None;
    }

    fn branch(&mut self, relative_depth: u32) {
        // Validation has checked that the label exists.
        let index = self.frames.len().checked_sub(1 + relative_depth as usize);
        let Some(frame) = index.and_then(|index| self.frames.get_mut(index)) else { return };
        if frame.kind == Kind::Loop {
            return;
        }
        // Out of loops, the region of the label goes on with what it had when the outermost of them was entered.
        let arriving = match self.loops.get(frame.depth) {
            Some(&credit) => self.now.map(|state| State { credit, ..state }),
            None => self.now,
        };
        frame.label = either(frame.label, arriving);
    }
}

impl State {
    /// At the beginning of a function, behind a charge of nothing, or where an exception has arrived.
    const ARRIVED: State = State { credit: 0, since_charge: 0, since_return: None };
}

/// What is known where two paths meet.
fn either(a: Point, b: Point) -> Point {
    match (a, b) {
        (Some(a), Some(b)) => Some(State {
            credit: a.credit.min(b.credit),
            since_charge: a.since_charge.max(b.since_charge),
            // `None` is less than anything.
            since_return: a.since_return.max(b.since_return),
        }),
        (one, None) | (None, one) => one,
    }
}
