//! Where a function's charges go, and what each costs.
//!
//! A *region* is a function's body or a loop's body without the loops nested in it: those are regions of their
//! own, which pay for themselves. Each region begins with a charge. The plan is made by walking a function
//! backwards, keeping one number, the *tail*: the cost of the most expensive path from the current point to the
//! next charge of the same region, or out of the region.
//!
//! ```text
//! at the end of the function, at `return`, `unreachable`, a tail call     0
//! before an operator of cost c                                            tail + c
//! before a branch to a label of this region                               tail at the label + c
//! before a conditional branch, `if`, `br_table`                           the largest of the targets' + c
//! before a branch to a loop that it is in                                 c       (the loop charges again)
//! before a branch out of the innermost loop                               c       (it leaves the region)
//! before a nested loop                                                    the largest tail at any label that a
//!                                                                         branch from inside it reaches, and
//!                                                                         after it, if it can be left at its end
//! ```
//!
//! Where the tail would grow past what one charge may cost, a further charge is put there and the tail becomes 0.
//! This is sound wherever it happens, inside an arm of an `if` too, because every charge is sized by what follows
//! it and by nothing that came before: arms that meet may have met different charges on their way, and each of
//! them covers what follows the meeting point. Going forwards, two arms would have to agree.
//!
//! The walk is one pass with its own stack: time is linear, and depth of nesting costs no host stack.

use std::collections::HashMap;

use walrus::LocalFunction;
use walrus::ir::{Instr, InstrSeqId};

use crate::cost;

/// The charges of one function.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// In the order in which they are met walking backwards.
    pub(crate) charges: Vec<Charge>,
    /// How many loops the function has.
    pub(crate) loops: usize,
}

/// A charge to insert.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Charge {
    /// Into which sequence of instructions.
    pub(crate) seq: InstrSeqId,
    /// Before which instruction of the sequence, as it was.
    pub(crate) position: usize,
    /// The constant.
    pub(crate) cost: u32,
}

/// Plans the charges of a function, none above `max_charge`, which must be at least [`cost::MAX_OPERATOR_COST`].
pub(crate) fn plan(function: &LocalFunction, max_charge: u32) -> Plan {
    let entry = function.entry_block();
    let mut planner = Planner {
        function,
        ceiling: max_charge - cost::MAX_OPERATOR_COST,
        tail: 0,
        labels: HashMap::from([(entry, Label { tail: 0, region: 0 })]),
        regions: vec![Region { exit: 0 }],
        cursors: Vec::new(),
        plan: Plan::default(),
    };
    planner.enter(entry, Part::Region);
    planner.run();
    planner.plan
}

struct Planner<'a> {
    function: &'a LocalFunction,
    /// No tail is above this, so that one more operator still fits into a charge.
    ceiling: u32,
    tail: u32,
    labels: HashMap<InstrSeqId, Label>,
    /// The regions around the current point, the innermost last.
    regions: Vec<Region>,
    /// The sequences around the current point, the innermost last.
    cursors: Vec<Cursor>,
    plan: Plan,
}

/// Where a branch leads.
struct Label {
    /// The tail at the label. 0 for a loop, which begins with a charge.
    tail: u32,
    /// Which of `regions` the label lies in.
    region: usize,
}

struct Region {
    /// For a loop, the tail before it as the surrounding region sees it, as far as known.
    exit: u32,
}

struct Cursor {
    seq: InstrSeqId,
    /// How many of its instructions are still ahead.
    remaining: usize,
    part: Part,
}

/// What to do when the beginning of a sequence is reached.
enum Part {
    /// The body of the function or of a loop.
    Region,
    Block,
    /// The arm that stands last. The other one is `consequent`, and after both the tail was `after`.
    Alternative {
        consequent: InstrSeqId,
        after: u32,
    },
    /// The arm that stands first. The tail at the beginning of the other one was `alternative`.
    Consequent {
        alternative: u32,
    },
}

impl<'a> Planner<'a> {
    fn run(&mut self) {
        while let Some(cursor) = self.cursors.last_mut() {
            if cursor.remaining > 0 {
                cursor.remaining -= 1;
                let (seq, index) = (cursor.seq, cursor.remaining);
                let function: &'a LocalFunction = self.function;
                self.instruction(&function.block(seq).instrs[index].0);
            } else if let Some(cursor) = self.cursors.pop() {
                self.leave(cursor);
            }
        }
    }

    /// Goes from behind an instruction to before it.
    fn instruction(&mut self, instr: &Instr) {
        match instr {
            Instr::Block(block) => {
                self.label(block.seq, self.tail);
                self.enter(block.seq, Part::Block);
                return;
            }
            Instr::Loop(body) => return self.enter_loop(body.seq),
            Instr::IfElse(arms) => {
                self.label(arms.consequent, self.tail);
                self.label(arms.alternative, self.tail);
                let part = Part::Alternative { consequent: arms.consequent, after: self.tail };
                return self.enter(arms.alternative, part);
            }
            Instr::Br(branch) => self.tail = self.branch(branch.block),
            Instr::BrIf(branch) => self.tail = self.tail.max(self.branch(branch.block)),
            Instr::BrTable(table) => {
                self.tail = self.branch(table.default);
                for target in &table.blocks {
                    self.tail = self.tail.max(self.branch(*target));
                }
            }
            Instr::Return(_)
            | Instr::Unreachable(_)
            | Instr::ReturnCall(_)
            | Instr::ReturnCallIndirect(_) => self.tail = 0,
            // What is left continues behind itself: other branches belong to proposals that are refused before.
            _ => {}
        }
        self.spend();
    }

    /// Goes from the beginning of a sequence to before the instruction that it belongs to.
    fn leave(&mut self, cursor: Cursor) {
        match cursor.part {
            Part::Block => {}
            Part::Region => self.leave_region(cursor.seq),
            Part::Alternative { consequent, after } => {
                let alternative = std::mem::replace(&mut self.tail, after);
                self.enter(consequent, Part::Consequent { alternative });
            }
            Part::Consequent { alternative } => {
                self.tail = self.tail.max(alternative);
                self.spend();
            }
        }
    }

    fn enter_loop(&mut self, body: InstrSeqId) {
        let exit = if ends_in_a_jump(self.function, body) { 0 } else { self.tail };
        self.regions.push(Region { exit });
        self.plan.loops += 1;
        self.tail = 0;
        self.label(body, 0);
        self.enter(body, Part::Region);
    }

    fn leave_region(&mut self, body: InstrSeqId) {
        let first = self.plan.charges.last();
        if !first.is_some_and(|charge| charge.seq == body && charge.position == 0) {
            // No region is free: an empty function that is called, or an outer loop whose work all lies in the
            // inner one, costs one each time.
            self.plan.charges.push(Charge { seq: body, position: 0, cost: self.tail.max(1) });
        }
        if let Some(region) = self.regions.pop() {
            self.tail = region.exit;
        }
    }

    fn enter(&mut self, seq: InstrSeqId, part: Part) {
        let remaining = self.function.block(seq).instrs.len();
        self.cursors.push(Cursor { seq, remaining, part });
    }

    fn label(&mut self, seq: InstrSeqId, tail: u32) {
        self.labels.insert(seq, Label { tail, region: self.regions.len() - 1 });
    }

    /// The tail that a branch adds to where it stands. Where it leaves loops, the outermost of them takes the
    /// label's tail over, because the region around that loop goes on there.
    fn branch(&mut self, target: InstrSeqId) -> u32 {
        // A validated branch names a block around it, and each of those had its label set on entering.
        let Label { tail, region } = self.labels[&target];
        match self.regions.get_mut(region + 1) {
            None => tail,
            Some(crossed) => {
                crossed.exit = crossed.exit.max(tail);
                0
            }
        }
    }

    /// Adds the cost of the instruction that the innermost cursor stands at, with a charge before it if the tail
    /// is then too long.
    fn spend(&mut self) {
        // Instructions are met only while a cursor stands in the sequence that holds them.
        let Some(&Cursor { seq, remaining: position, .. }) = self.cursors.last() else { return };
        self.tail += cost::of_instr(&self.function.block(seq).instrs[position].0);
        if self.tail > self.ceiling {
            self.plan.charges.push(Charge { seq, position, cost: self.tail });
            self.tail = 0;
        }
    }
}

/// Whether a sequence's end is never reached, as far as its last instruction tells. walrus has already dropped
/// what follows a jump.
fn ends_in_a_jump(function: &LocalFunction, seq: InstrSeqId) -> bool {
    function.block(seq).instrs.last().is_some_and(|(instr, _)| is_jump(instr))
}

/// Whether what follows an instruction is not reached from it.
pub(crate) fn is_jump(instr: &Instr) -> bool {
    matches!(
        instr,
        Instr::Br(_)
            | Instr::BrTable(_)
            | Instr::Return(_)
            | Instr::Unreachable(_)
            | Instr::ReturnCall(_)
            | Instr::ReturnCallIndirect(_)
    )
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
    fn the_dearer_arm_counts() {
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
    fn a_branch_out_of_loops_goes_on_in_the_region_around_them() {
        let body = "(block $out
                      (loop (loop (br_if $out (local.get 0)) (br 0)))
                      (call 0 (i32.const 1)) (call 0 (i32.const 1)))
                    (call 0 (i32.const 2))";
        // The inner loop never ends at its end, so neither does the outer one: only $out is reached.
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
