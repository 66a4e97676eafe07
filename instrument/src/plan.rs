//! Where a function's charges go, and what each costs.
//!
//! A *region* is the body of a function, or of a loop, without the loops nested in it, which are regions of
//! their own and pay for themselves. Each region begins with a charge. The plan is made by walking a function
//! backwards and tracking what is [`Ahead`], most of all what is *due*: the cost of the most expensive path
//! from the current point to the next charge of the same region, or out of the region.
//!
//! ```text
//! at the end of the function, at `return`, `unreachable`, `throw`, a tail call     0
//! before an operator of cost c                                            due + c
//! before a branch to a label of this region                               due at the label + c
//! before a conditional branch, `if`, `br_table`                           the largest of the targets' + c
//! before a branch to a loop that it is in                                 c       (the loop charges again)
//! before a branch out of the innermost loop                               c       (it leaves the region)
//! before a nested loop                                                    the largest due at any label that a
//!                                                                         branch from inside it reaches, and
//!                                                                         after it, if it can be left at its end
//! ```
//!
//! Where the due cost would exceed what one charge may cost, a further charge is placed, and the due cost
//! becomes 0. This is sound everywhere, also inside an arm of an `if`, because a charge depends only on what
//! follows it: arms that meet may have different charges before, and each charge covers what follows the
//! meeting point. In a forward walk, two arms would have to agree.
//!
//! Two more kinds of charges are placed where what was paid before cannot be relied on, or not for long. One
//! follows a call that has much work after it, so that a long chain of calls does not return for long without
//! a charge ([`MAX_RETURN`]). The other is where an exception may arrive, from any point: at the beginning of
//! a handler, and after a block whose label a `catch` clause names.
//!
//! The walk is one pass with a stack of its own: it takes linear time, and nesting takes no host stack.

use crate::abi::MAX_RETURN;
use crate::body::{Body, Callee, Item, Kind};
use crate::cost::MAX_OPERATOR_COST;

/// The charges of one function.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// In the order of the backward walk.
    pub(crate) charges: Vec<Charge>,
    /// The number of charges that are there because too much would be due, because a call returns, and
    /// because an exception may arrive.
    pub(crate) long: usize,
    pub(crate) returns: usize,
    pub(crate) handlers: usize,
    /// The most work between two charges, calls not counted.
    pub(crate) bound: u32,
    /// The most work between the return of a call and the next charge, call or return.
    pub(crate) return_bound: u32,
}

/// A charge to insert.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Charge {
    /// The item that it precedes.
    pub(crate) before: usize,
    /// Its constant.
    pub(crate) cost: u32,
}

/// Returns the longest run of operators between which charges can still be placed as needed.
pub(crate) fn longest_run(max_charge: u32) -> u32 {
    if max_charge < 32 * LONG_RUN { MAX_OPERATOR_COST } else { LONG_RUN }
}

/// The cost of a run where charges are large: a small part of one.
const LONG_RUN: u32 = 64;

/// Plans the charges of a function, none above `max_charge`, which must be at least [`MAX_OPERATOR_COST`].
pub(crate) fn plan(body: &Body, max_charge: u32) -> Plan {
    let mut planner = Planner {
        body,
        ceiling: max_charge - longest_run(max_charge),
        ahead: Ahead::default(),
        frames: Vec::new(),
        regions: vec![0],
        plan: Plan::default(),
    };
    for (index, item) in body.items.iter().enumerate().rev() {
        planner.item(index, item);
    }
    planner.begin_region(0);
    planner.plan
}

/// The most expensive paths from a point.
#[derive(Debug, Clone, Copy, Default)]
struct Ahead {
    /// To the next charge of the region, or out of the region.
    due: u32,
    /// To the next charge, or out of the function.
    charge: u32,
    /// To the next charge, to the next call of a function that begins with one, or out of the function.
    call: u32,
}

impl Ahead {
    fn or(self, other: Ahead) -> Ahead {
        Ahead {
            due: self.due.max(other.due),
            charge: self.charge.max(other.charge),
            call: self.call.max(other.call),
        }
    }

    /// The most that a charge here would have to cover.
    fn any(self) -> u32 {
        self.due.max(self.charge)
    }
}

struct Planner<'a> {
    body: &'a Body,
    /// Nothing ahead exceeds this, so that one more run still fits a charge.
    ceiling: u32,
    ahead: Ahead,
    /// The blocks around the current point, the innermost last.
    frames: Vec<Frame>,
    /// For each region around the current point, the innermost last: what is due before its loop in the
    /// surrounding region, as far as it is known.
    regions: Vec<u32>,
    plan: Plan,
}

struct Frame {
    /// What is ahead of a branch to its label. Nothing for a loop, which begins with a charge.
    label: Ahead,
    /// The region of the label, an index of `regions`.
    region: usize,
    /// What is ahead of the second arm of an `if`.
    other_arm: Option<Ahead>,
}

impl Planner<'_> {
    /// Moves from behind an item to before it.
    fn item(&mut self, index: usize, item: &Item) {
        match item.kind {
            Kind::Run | Kind::Call(Callee::Imported) => {}
            Kind::Call(callee) => self.call(index, callee),
            Kind::End { begins, is_caught } => return self.end(index, begins, is_caught),
            Kind::Block | Kind::Try | Kind::Around | Kind::Round => {
                self.frames.pop();
                return;
            }
            Kind::Loop { .. } => return self.begin_loop(index),
            Kind::If => self.begin_if(),
            Kind::Else => {
                if let Some(frame) = self.frames.last_mut() {
                    frame.other_arm = Some(std::mem::replace(&mut self.ahead, frame.label));
                }
                return;
            }
            Kind::Catch => {
                self.charge_if_needed(index + 1);
                self.ahead = self.frames.last().map_or(Ahead::default(), |frame| frame.label);
            }
            Kind::Br(depth) | Kind::Leave(depth) => self.ahead = self.branch(depth),
            Kind::BrIf(depth) | Kind::BrOn(depth) => self.ahead = self.ahead.or(self.branch(depth)),
            Kind::BrTable { first, count } => {
                self.ahead = Ahead::default();
                for depth in self.body.table(first, count, item.moved) {
                    self.ahead = self.ahead.or(self.branch(depth));
                }
            }
            Kind::Exit => self.ahead = Ahead::default(),
        }
        self.spend(index, item.cost);
    }

    fn call(&mut self, index: usize, callee: Callee) {
        if self.ahead.call > MAX_RETURN {
            self.charge(index + 1);
            self.plan.returns += 1;
        }
        self.plan.return_bound = self.plan.return_bound.max(self.ahead.call);
        if callee == Callee::Defined {
            self.ahead.call = 0;
        }
    }

    fn end(&mut self, index: usize, begins: u32, is_caught: bool) {
        let begins_with = self.body.items.get(begins as usize).map(|item| item.kind);
        let is_loop = matches!(begins_with, Some(Kind::Loop { .. }));
        if is_loop {
            // As far as the last item shows. An end that is not reached for other reasons counts as reached.
            let is_reached =
                index.checked_sub(1).is_none_or(|before| !self.body.items[before].kind.is_jump());
            self.regions.push(if is_reached { self.ahead.due } else { 0 });
            self.ahead.due = 0;
        } else if is_caught {
            self.charge_if_needed(index + 1);
        }
        self.frames.push(Frame {
            label: if is_loop { Ahead::default() } else { self.ahead },
            region: self.regions.len() - 1,
            other_arm: None,
        });
    }

    fn begin_if(&mut self) {
        if let Some(frame) = self.frames.pop() {
            self.ahead = self.ahead.or(frame.other_arm.unwrap_or(frame.label));
        }
    }

    fn begin_loop(&mut self, index: usize) {
        self.begin_region(index + 1);
        self.frames.pop();
        self.ahead.due = self.regions.pop().unwrap_or(0);
    }

    /// Places the first charge of a region. No region is free: an empty function that is called, or an outer
    /// loop whose work is all in the inner one, costs one each time.
    fn begin_region(&mut self, first: usize) {
        if self.plan.charges.last().is_none_or(|charge| charge.before != first) {
            self.charge(first);
        }
    }

    /// Returns what is ahead of a branch. If it leaves loops, the outermost of them takes over what is due at
    /// the label, because the region around that loop continues there.
    fn branch(&mut self, depth: u32) -> Ahead {
        // A validated branch names a block around it; the function's own is the first.
        let index = self.frames.len().checked_sub(1 + depth as usize);
        let Some(&Frame { label, region, .. }) = index.and_then(|index| self.frames.get(index)) else {
            return Ahead::default();
        };
        match self.regions.get_mut(region + 1) {
            None => label,
            Some(exit) => {
                *exit = (*exit).max(label.due);
                Ahead { due: 0, ..label }
            }
        }
    }

    /// Adds the cost of an item, with a charge before it if too much would be ahead then.
    fn spend(&mut self, index: usize, cost: u32) {
        let Ahead { due, charge, call } = self.ahead;
        self.ahead = Ahead { due: due + cost, charge: charge + cost, call: call + cost };
        if self.ahead.any() > self.ceiling {
            self.charge(index);
            self.plan.long += 1;
        }
    }

    /// Places a charge where an exception may arrive, if anything is ahead there.
    fn charge_if_needed(&mut self, before: usize) {
        if self.ahead.any() > 0 {
            self.charge(before);
            self.plan.handlers += 1;
        }
    }

    fn charge(&mut self, before: usize) {
        self.plan.bound = self.plan.bound.max(self.ahead.charge);
        self.plan.charges.push(Charge { before, cost: self.ahead.due.max(1) });
        self.ahead = Ahead::default();
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{charges, charges_split_at};

    /// A function with this body, which has an `i32` parameter.
    fn function(body: &str) -> String {
        format!("(module (func (param i32) {body}))")
    }

    #[test]
    fn straight_lines_are_summed_and_structure_is_free() {
        assert_eq!(charges(&function("")), [1], "nothing still costs one");
        assert_eq!(charges(&function("(drop (i32.add (local.get 0) (i32.const 1)))")), [3]);
        assert_eq!(charges(&function("(block (nop) (block (drop (local.get 0))))")), [1]);
        assert_eq!(charges(&function("(call 0 (i32.const 1)) (return)")), [3]);
    }

    #[test]
    fn the_more_expensive_arm_counts() {
        let arms = "(if (local.get 0) (then (call 0 (i32.const 1))) (else (nop)))";
        assert_eq!(charges(&function(arms)), [4]);
        assert_eq!(charges(&function("(if (local.get 0) (then (return))) (call 0 (i32.const 1))")), [4]);
        assert_eq!(charges(&function("(if (local.get 0) (then (unreachable)) (else (return)))")), [3]);
    }

    #[test]
    fn branches_skip_what_they_jump_over() {
        let skip = "(block (br_if 0 (local.get 0)) (call 0 (i32.const 1)) (br 0)) (drop (i32.const 7))";
        assert_eq!(charges(&function(skip)), [6], "local.get br_if i32.const call br i32.const");
        let jump = "(block (drop (i32.const 1)) (br 0)) (drop (i32.const 7))";
        assert_eq!(charges(&function(jump)), [3]);
        let table = "(block (block (br_table 0 1 (local.get 0))) (call 0 (i32.const 1)))";
        assert_eq!(charges(&function(table)), [4]);
    }

    #[test]
    fn loops_pay_for_themselves() {
        let endless = "(drop (local.get 0)) (loop (call 0 (i32.const 1)) (br 0))";
        assert_eq!(charges(&function(endless)), [1, 3]);
        let counting = "(loop (br_if 0 (local.get 0)) (drop (i32.const 1))) (drop (i32.const 2))";
        assert_eq!(charges(&function(counting)), [1, 3]);
        let nested = "(loop (loop (br 1)))";
        assert_eq!(charges(&function(nested)), [1, 1, 1]);
    }

    #[test]
    fn a_branch_out_of_loops_continues_in_the_surrounding_region() {
        let body = "(block $out
                      (loop (loop (br_if $out (local.get 0)) (br 0)))
                      (call 0 (i32.const 1)) (call 0 (i32.const 1)))
                    (call 0 (i32.const 2))";
        // The inner loop never ends at its end, so the outer one does not either: only $out is reached.
        assert_eq!(charges(&function(body)), [6, 1, 3], "the outer loop is not known to end in a jump");
        let body = "(block $out (loop (br_if $out (local.get 0)) (br 0))) (call 0 (i32.const 2))";
        assert_eq!(charges(&function(body)), [2, 3]);
    }

    #[test]
    fn long_paths_are_charged_in_parts() {
        let line = |length| function(&"(drop (i32.const 1)) ".repeat(length));
        assert_eq!(charges_split_at(&line(3), 4), [3]);
        assert_eq!(charges_split_at(&line(10), 4), [2, 4, 4]);
        assert_eq!(
            charges_split_at(&line(8), 4),
            [4, 4],
            "a part that begins the region is its first charge"
        );
        assert_eq!(charges_split_at(&line(3), 1), [1, 1, 1]);
    }

    #[test]
    fn arms_may_be_charged_in_different_parts() {
        let work = "(drop (i32.const 1)) ";
        let arms = format!("(if (local.get 0) (then {}) (else {work})) {work}", work.repeat(5));
        // The first arm is split, the second is not, and both pay for what follows them.
        assert_eq!(charges_split_at(&function(&arms), 5), [4, 5]);
    }
}
