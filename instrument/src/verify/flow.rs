//! Proves that no work goes unpaid.
//!
//! Going forwards through a function, one number is kept, the *credit*: what is guaranteed to be left of the last
//! charge of the current region, whichever path led here. A charge sets it, work lowers it, where paths meet the
//! smaller one counts, and work above it is an error. `None` is the credit of a point that no path reaches.
//!
//! A loop's body is a region of its own: it begins with no credit, and whoever leaves it, at its end or by a
//! branch across it, finds the credit that the surrounding region had on entering it. That is right because the
//! surrounding region does no work while the loop runs. A branch back to a loop needs no look: the loop's first
//! charge sets the credit whatever it was.
//!
//! The rewriter goes backwards and asks for the dearest path; this goes forwards and asks for the least money.
//! They agree exactly where every charge covers every path to the next one, and have nothing else in common.

use wasmparser::{BrTable, Operator};

use crate::cost;

/// The credit at a point, `None` where no path leads.
type Credit = Option<u32>;

/// The work ahead is not covered by the credit.
#[derive(Debug)]
pub(super) struct Unpaid;

/// The state at the current point of a function.
#[derive(Debug)]
pub(super) struct Flow {
    credit: Credit,
    /// The blocks around the current point, the function's body first.
    frames: Vec<Frame>,
    /// The credit that each loop around the current point was entered with, the outermost first.
    loops: Vec<Credit>,
}

#[derive(Debug)]
struct Frame {
    kind: Kind,
    /// How many loops are around the frame's label.
    depth: usize,
    /// The least credit of the branches to the label so far.
    label: Credit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Block,
    Loop,
    /// The first arm of an `if`, with the credit that the other arm begins with.
    If {
        other: Credit,
    },
}

impl Flow {
    /// The beginning of a function's body.
    pub(super) fn new() -> Flow {
        let mut flow = Flow { credit: Some(0), frames: Vec::new(), loops: Vec::new() };
        flow.push(Kind::Block);
        flow
    }

    /// A charge was passed.
    pub(super) fn charge(&mut self, cost: u32) {
        self.credit = self.credit.map(|_| cost);
    }

    /// An operator of the module's own, which has been validated.
    pub(super) fn work(&mut self, operator: &Operator<'_>) -> Result<(), Unpaid> {
        self.pay(cost::of_operator(operator))?;
        match operator {
            Operator::Block { .. } => self.push(Kind::Block),
            Operator::Loop { .. } => {
                self.loops.push(self.credit);
                self.credit = self.credit.map(|_| 0);
                self.push(Kind::Loop);
            }
            Operator::If { .. } => self.push(Kind::If { other: self.credit }),
            Operator::Else => self.begin_other_arm(),
            Operator::End => self.pop(),
            Operator::Br { relative_depth } => {
                self.branch(*relative_depth);
                self.credit = None;
            }
            Operator::BrIf { relative_depth } => self.branch(*relative_depth),
            Operator::BrTable { targets } => self.branch_table(targets),
            Operator::Return
            | Operator::Unreachable
            | Operator::ReturnCall { .. }
            | Operator::ReturnCallIndirect { .. } => self.credit = None,
            // No other operator of the accepted proposals continues anywhere but behind itself.
            _ => {}
        }
        Ok(())
    }

    fn pay(&mut self, cost: u32) -> Result<(), Unpaid> {
        if let Some(credit) = &mut self.credit {
            *credit = credit.checked_sub(cost).ok_or(Unpaid)?;
        }
        Ok(())
    }

    fn push(&mut self, kind: Kind) {
        self.frames.push(Frame { kind, depth: self.loops.len(), label: None });
    }

    fn pop(&mut self) {
        // Validation has matched every `end` with its beginning.
        let Some(frame) = self.frames.pop() else { return };
        self.credit = match frame.kind {
            Kind::Block => least(self.credit, frame.label),
            Kind::If { other } => least(least(self.credit, frame.label), other),
            Kind::Loop => {
                let on_entry = self.loops.pop().flatten();
                self.credit.and(on_entry)
            }
        };
    }

    /// From the end of an `if`'s first arm to the beginning of the second. What is left is a block: the first
    /// arm's end leads to the label.
    fn begin_other_arm(&mut self) {
        if let Some(Frame { kind, label, .. }) = self.frames.last_mut()
            && let Kind::If { other } = *kind
        {
            *label = least(*label, self.credit);
            *kind = Kind::Block;
            self.credit = other;
        }
    }

    fn branch_table(&mut self, targets: &BrTable<'_>) {
        for target in targets.targets().flatten() {
            self.branch(target);
        }
        self.branch(targets.default());
        self.credit = None;
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
            Some(on_entry) => self.credit.and(*on_entry),
            None => self.credit,
        };
        frame.label = least(frame.label, arriving);
    }
}

/// The credit where two paths meet.
fn least(a: Credit, b: Credit) -> Credit {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, None) | (None, one) => one,
    }
}
