//! Writes small loops out several times, so that one charge pays for several rounds.
//!
//! A charge costs a few machine instructions and a register. In a loop of ten instructions that is a third more. So an
//! innermost loop whose body is short is written as several copies of its body behind one header:
//!
//! ```text
//! (loop $l body)    ──▶    (block $out (loop $l
//!                              (block $round1 body…)    a branch to $l here is one to $round1: on to the next copy
//!                              (block $round2 body…)    where a copy comes to its end, (br $out)
//!                              body))                   the last copy is the loop as it was
//! ```
//!
//! It is the same program; nothing here knows of charges, and what comes out is planned and verified like any other
//! loop. The charge of the header is that of the longest way through all copies, so a loop that is left in the
//! middle has paid for rounds that it did not make, never for fewer than it made.

use std::collections::HashMap;

use walrus::LocalFunction;
use walrus::ir::{Block, Br, BrIf, BrTable, IfElse, Instr, InstrLocId, InstrSeqId, InstrSeqType};

use crate::plan::is_jump;

/// How far it goes: code grows by what is copied, a tenth or so in real programs.
#[derive(Clone, Copy)]
struct Limits {
    /// The longest body that is written out, in instructions.
    body: usize,
    /// How long a loop may become, in instructions, if it is to have more than two copies.
    target: usize,
    /// The most copies.
    copies: usize,
}

/// For a loop in another one: that is where programs spend their time.
const NESTED: Limits = Limits { body: 96, target: 96, copies: 4 };

/// For any other: most of a program's loops are such, and run a few rounds.
const OUTERMOST: Limits = Limits { body: 24, target: 0, copies: 2 };

/// The longest function that is looked at, in instructions: one near an engine's limits must not be driven past them.
const MAX_FUNCTION: usize = 100_000;

/// A loop to be written out.
struct Small {
    parent: InstrSeqId,
    position: usize,
    body: InstrSeqId,
    length: usize,
    copies: usize,
}

/// Where copied instructions were before. walrus knows an instruction's place by a number, and of several with one number
/// only the last one's; so copies have numbers of their own.
#[derive(Debug)]
pub(crate) struct Copies {
    /// The first such number, which no original has.
    first: u32,
    /// The originals' numbers, by the copies'.
    originals: Vec<u32>,
}

impl Copies {
    /// Of a module of so many bytes: originals' numbers are offsets in it.
    pub(crate) fn new(bytes: usize) -> Copies {
        // Modules are far smaller than 4 GiB: see `MAX_MODULE_BYTES`.
        Copies { first: bytes as u32, originals: Vec::new() }
    }

    /// The number of the original.
    pub(crate) fn original(&self, number: u32) -> u32 {
        number.checked_sub(self.first).map_or(number, |copy| self.originals[copy as usize])
    }

    fn copy(&mut self, of: InstrLocId) -> InstrLocId {
        if of.is_default() {
            return of;
        }
        self.originals.push(of.data());
        InstrLocId::new(self.first + self.originals.len() as u32 - 1)
    }
}

/// Writes out the small loops of a function.
pub(crate) fn unroll(function: &mut LocalFunction, made: &mut Copies) {
    for Small { parent, position, body, copies, .. } in small_loops(function) {
        let ty = function.block(body).ty;
        let out = function.builder_mut().dangling_instr_seq(ty).id();
        let old = std::mem::take(&mut function.block_mut(body).instrs);
        for _ in 1..copies {
            let round = function.builder_mut().dangling_instr_seq(None).id();
            let mut copy = copied(function, &old, &mut HashMap::from([(body, round)]), made);
            if !copy.last().is_some_and(|(instr, _)| is_jump(instr)) {
                copy.push((Br { block: out }.into(), InstrLocId::default()));
            }
            function.block_mut(round).instrs = copy;
            function.block_mut(body).instrs.push((Block { seq: round }.into(), InstrLocId::default()));
        }
        function.block_mut(body).instrs.extend(old);
        let around = (Block { seq: out }.into(), InstrLocId::default());
        let the_loop = std::mem::replace(&mut function.block_mut(parent).instrs[position], around);
        function.block_mut(out).instrs.push(the_loop);
    }
}

/// The loops that are worth it, in a fixed order.
fn small_loops(function: &LocalFunction) -> Vec<Small> {
    let (mut found, mut length) = (Vec::new(), 0);
    let mut waiting = vec![(function.entry_block(), OUTERMOST)];
    while let Some((parent, limits)) = waiting.pop() {
        for (position, (instr, _)) in function.block(parent).instrs.iter().enumerate() {
            length += 1;
            let inside = if matches!(instr, Instr::Loop(_)) { NESTED } else { limits };
            waiting.extend(sequences(instr).map(|seq| (seq, inside)));
            let Instr::Loop(the_loop) = instr else { continue };
            let body = the_loop.seq;
            if let Some(length) = length_of_small(function, body, limits) {
                let copies = (limits.target / length).clamp(2, limits.copies);
                found.push(Small { parent, position, body, length, copies });
            }
        }
    }
    if length > MAX_FUNCTION {
        return Vec::new();
    }
    // No function of any size becomes more than twice as long.
    let mut room = length + NESTED.target;
    found.retain_mut(|small| {
        small.copies = small.copies.min(1 + room / small.length);
        room -= (small.copies - 1) * small.length;
        small.copies > 1
    });
    found
}

/// The length of a loop's body in instructions, if it is one to be written out.
fn length_of_small(function: &LocalFunction, body: InstrSeqId, limits: Limits) -> Option<usize> {
    if !matches!(function.block(body).ty, InstrSeqType::Simple(_)) {
        return None;
    }
    let (mut length, mut goes_round) = (0, false);
    let mut waiting = vec![body];
    while let Some(seq) = waiting.pop() {
        for (instr, _) in &function.block(seq).instrs {
            length += 1;
            if length > limits.body || matches!(instr, Instr::Loop(_)) || !is_copyable(instr) {
                return None;
            }
            goes_round |= targets(instr).any(|target| target == body);
            waiting.extend(sequences(instr));
        }
    }
    goes_round.then_some(length)
}

/// The sequences inside an instruction.
fn sequences(instr: &Instr) -> impl Iterator<Item = InstrSeqId> {
    let (first, second) = match instr {
        Instr::Block(block) => (Some(block.seq), None),
        Instr::Loop(the_loop) => (Some(the_loop.seq), None),
        Instr::IfElse(arms) => (Some(arms.consequent), Some(arms.alternative)),
        _ => (None, None),
    };
    first.into_iter().chain(second)
}

/// Where an instruction may branch to.
fn targets(instr: &Instr) -> impl Iterator<Item = InstrSeqId> {
    let (one, many): (_, &[InstrSeqId]) = match instr {
        Instr::Br(branch) => (Some(branch.block), &[]),
        Instr::BrIf(branch) => (Some(branch.block), &[]),
        Instr::BrTable(table) => (Some(table.default), &table.blocks),
        _ => (None, &[]),
    };
    one.into_iter().chain(many.iter().copied())
}

/// Whether a loop with this instruction is worth copying, and [`copied`] knows how.
fn is_copyable(instr: &Instr) -> bool {
    !matches!(
        instr,
        // Next to a call, a charge is nothing.
        Instr::Call(_)
            | Instr::CallIndirect(_)
            | Instr::CallRef(_)
            // These belong to proposals that are refused before they come here.
            | Instr::BrOnNull(_)
            | Instr::BrOnNonNull(_)
            | Instr::BrOnCast(_)
            | Instr::BrOnCastFail(_)
            | Instr::Try(_)
            | Instr::TryTable(_)
            | Instr::Rethrow(_)
    )
}

/// A copy of instructions with sequences of its own. `known`: which sequence stands for which.
fn copied(
    function: &mut LocalFunction,
    instrs: &[(Instr, InstrLocId)],
    known: &mut HashMap<InstrSeqId, InstrSeqId>,
    made: &mut Copies,
) -> Vec<(Instr, InstrLocId)> {
    let mut copy = Vec::with_capacity(instrs.len());
    for (instr, location) in instrs {
        // Depth is at most the body's length.
        for seq in sequences(instr) {
            let (ty, end) = (function.block(seq).ty, made.copy(function.block(seq).end));
            let inner = function.builder_mut().dangling_instr_seq(ty).id();
            known.insert(seq, inner);
            let old = std::mem::take(&mut function.block_mut(seq).instrs);
            let new = copied(function, &old, known, made);
            function.block_mut(seq).instrs = old;
            function.block_mut(inner).instrs = new;
            function.block_mut(inner).end = end;
        }
        copy.push((moved(instr, known), made.copy(*location)));
    }
    copy
}

/// The instruction with other sequences and targets.
fn moved(instr: &Instr, known: &HashMap<InstrSeqId, InstrSeqId>) -> Instr {
    let of = |seq: InstrSeqId| known.get(&seq).copied().unwrap_or(seq);
    match instr {
        Instr::Block(block) => Block { seq: of(block.seq) }.into(),
        Instr::IfElse(arms) => {
            IfElse { consequent: of(arms.consequent), alternative: of(arms.alternative) }.into()
        }
        Instr::Br(branch) => Br { block: of(branch.block) }.into(),
        Instr::BrIf(branch) => BrIf { block: of(branch.block) }.into(),
        Instr::BrTable(table) => {
            let blocks = table.blocks.iter().map(|&block| of(block)).collect();
            BrTable { blocks, default: of(table.default) }.into()
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use wasmparser::{Operator, Parser, Payload};

    use crate::{Options, prepare};

    /// How often each loop's marker, a constant of 7001 and so on, is in what becomes of a function.
    fn copies<const LOOPS: usize>(body: &str) -> [usize; LOOPS] {
        let text = format!("(module (memory 1) (func $f (param i32) (result i32) {body} (i32.const 0)))");
        let wasm = wat::parse_str(text).expect("the test's module is well-formed");
        let prepared = prepare(&wasm, &Options::default()).expect("it can be prepared").bytes;
        let mut found = [0; LOOPS];
        for payload in Parser::new(0).parse_all(&prepared) {
            let Ok(Payload::CodeSectionEntry(body)) = payload else { continue };
            for operator in body.get_operators_reader().expect("the output is well-formed") {
                if let Operator::I32Const { value: value @ 7001.. } = operator.expect("as above") {
                    found[value as usize - 7001] += 1;
                }
            }
        }
        found
    }

    /// So many instructions, a marker among them.
    fn work(marker: i32, instructions: usize) -> String {
        assert!(instructions.is_multiple_of(2));
        let rest = "(drop (i32.const 1))".repeat(instructions / 2 - 1);
        format!("(drop (i32.const {marker})) {rest}")
    }

    #[test]
    fn small_loops_are_written_out_and_others_are_not() {
        let again = "(br_if 0 (local.get 0))";
        assert_eq!(copies(&format!("(loop {} {again})", work(7001, 20))), [2]);
        assert_eq!(copies(&format!("(loop {} {again})", work(7001, 24))), [1], "too long");
        assert_eq!(copies(&format!("(loop {})", work(7001, 4))), [1], "it never goes round");
        assert_eq!(
            copies(&format!("(loop (result i32) {} (local.get 0) {again}) (drop)", work(7001, 4))),
            [2]
        );
        let call = "(drop (call $f (i32.const 1)))";
        assert_eq!(copies(&format!("(loop {} {call} {again})", work(7001, 4))), [1], "it calls");
        let with_a_parameter =
            format!("(i32.const 3) (loop (param i32) (drop) {} (i32.const 3) {again} (drop))", work(7001, 4));
        assert_eq!(copies(&with_a_parameter), [1]);
    }

    #[test]
    fn inner_loops_may_be_longer_and_have_more_copies() {
        let nested = |inner: usize| {
            let (before, inside) = (work(7001, 2), work(7002, inner));
            copies(&format!(
                "(loop {before} (loop {inside} (br_if 0 (local.get 0))) (br_if 0 (local.get 0)))"
            ))
        };
        assert_eq!(nested(16), [1, 4]);
        // Only so many of many: the function would be too long.
        let inner = |marker| format!("(loop {} (br_if 0 (local.get 0)))", work(marker, 16));
        let many: String = (7001..7021).map(inner).collect();
        let copies: [usize; 20] = copies(&format!("(loop {many} (br_if 0 (local.get 0)))"));
        assert!(copies[0] == 4 && copies[19] == 1, "{copies:?}");
        assert!(copies.iter().sum::<usize>() < 50, "{copies:?}");
        assert_eq!(nested(28), [1, 3]);
        assert_eq!(nested(94), [1, 2]);
        assert_eq!(nested(96), [1, 1]);
    }

    #[test]
    fn it_can_be_left_out() {
        let wasm = wat::parse_str("(module (func (param i32) (loop (br_if 0 (local.get 0)))))")
            .expect("well-formed");
        let size = |unroll| {
            let options = Options { unroll, ..Options::default() };
            prepare(&wasm, &options).expect("it can be prepared").bytes.len()
        };
        assert!(size(false) < size(true));
    }
}
