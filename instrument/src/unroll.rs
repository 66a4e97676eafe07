//! Unrolls small loops, so that one charge pays for several rounds.
//!
//! A charge takes a few machine instructions and a register, which is a third more in a loop of ten
//! instructions. So an innermost loop with a short body is written as several copies of its body behind one
//! header:
//!
//! ```text
//! (loop $l body)    ──▶    (block $out (loop $l
//!                              (block $round1 body…)    a branch to $l here becomes one to $round1: the next copy
//!                              (block $round2 body…)    at the end of a copy, (br $out)
//!                              body))                   the last copy is the original loop
//! ```
//!
//! It is the same program. Nothing here knows of charges, and the result is planned and verified like any
//! other loop. The charge of the header covers the longest path through all copies, so a loop that is left in
//! the middle has paid for rounds that it did not make, never for fewer than it made.

use crate::body::{Body, Item, Kind, Moved};

/// How much is unrolled. Real programs grow by about a tenth.
#[derive(Clone, Copy)]
struct Limits {
    /// The longest body that is unrolled, in operators. (In bytes, a few times as many: an operator may be a
    /// table.)
    body: u32,
    /// How long a loop with more than two copies may become, in operators.
    target: u32,
    /// The largest number of copies.
    copies: u32,
}

/// For a loop in another loop: programs spend their time there.
const NESTED: Limits = Limits { body: 96, target: 96, copies: 4 };

/// For other loops: most loops of a program are such, and run a few rounds.
const OUTERMOST: Limits = Limits { body: 24, target: 0, copies: 2 };

/// The longest function that is unrolled, in operators: one near an engine's limits must not exceed them.
const MAX_FUNCTION: u32 = 100_000;

/// A loop to be unrolled.
struct Small {
    /// Its first and last item.
    begin: usize,
    end: usize,
    /// The operators of its body.
    length: u32,
    copies: u32,
}

/// Unrolls the small loops of a function, and returns their number.
pub(crate) fn unroll(body: &mut Body) -> usize {
    let loops = small_loops(body);
    let count = loops.len();
    if count == 0 {
        return 0;
    }
    let mut items = Vec::with_capacity(body.items.len() * 2);
    let mut copied = 0;
    for small in loops {
        items.extend_from_slice(&body.items[copied..small.begin]);
        write_out(&mut items, &body.items[small.begin..=small.end], small.copies);
        copied = small.end + 1;
    }
    items.extend_from_slice(&body.items[copied..]);
    body.items = items;
    body.link();
    count
}

/// A loop whose end was not read yet.
struct Open {
    begin: usize,
    /// The operators before it, and its own.
    before: u32,
    /// The blocks around its label.
    depth: u32,
    is_outermost: bool,
    is_copyable: bool,
    goes_round: bool,
}

/// Returns the loops that are worth unrolling, in order.
fn small_loops(body: &Body) -> Vec<Small> {
    let (mut found, mut open, mut length, mut depth) = (Vec::new(), Vec::<Open>::new(), 0, 0);
    for (index, item) in body.items.iter().enumerate() {
        length += item.operators;
        if let Some(innermost) = open.last_mut() {
            innermost.is_copyable &= is_copyable(item.kind);
            let round = depth - innermost.depth;
            innermost.goes_round |= match item.kind {
                Kind::Br(target) | Kind::BrIf(target) => target == round,
                Kind::BrTable { first, count } => {
                    body.table(first, count, item.moved).any(|target| target == round)
                }
                _ => false,
            };
        }
        match item.kind {
            Kind::Loop { is_simple } => {
                depth += 1;
                let is_outermost = open.is_empty();
                let (begin, before) = (index, length);
                open.push(Open {
                    begin,
                    before,
                    depth,
                    is_outermost,
                    is_copyable: is_simple,
                    goes_round: false,
                });
            }
            kind if kind.begins_block() => depth += 1,
            Kind::End { .. } => {
                if let Some(ended) = open.pop_if(|innermost| innermost.depth == depth) {
                    let bytes = item.from - body.items[ended.begin].from;
                    found.extend(ended.small(index, length, bytes));
                }
                depth = depth.saturating_sub(1);
            }
            _ => {}
        }
    }
    if length > MAX_FUNCTION {
        return Vec::new();
    }
    // A large function does not become more than twice as long.
    let mut room = length + NESTED.target;
    found.retain_mut(|small| {
        small.copies = small.copies.min(1 + room / small.length);
        room -= (small.copies - 1) * small.length;
        small.copies > 1
    });
    found
}

impl Open {
    /// Returns how to unroll a loop of this size, if it should be unrolled. `length` is the number of
    /// operators before its end.
    fn small(&self, end: usize, length: u32, bytes: u32) -> Option<Small> {
        let limits = if self.is_outermost { OUTERMOST } else { NESTED };
        let length = length - self.before;
        let is_small = length <= limits.body && bytes <= 8 * limits.body;
        (self.is_copyable && self.goes_round && is_small).then(|| Small {
            begin: self.begin,
            end,
            length,
            // A loop that is repeated contains a branch, so it is not empty.
            copies: (limits.target / length).clamp(2, limits.copies),
        })
    }
}

/// Whether a loop with this item is worth unrolling, and [`write_out`] can copy it.
fn is_copyable(kind: Kind) -> bool {
    match kind {
        // Compared with a call, a charge costs nothing. Of loops, only the innermost are copied.
        Kind::Call(_) | Kind::Loop { .. } => false,
        // Exceptions and tests of references are rare in loops that are worth it.
        Kind::Try | Kind::Catch | Kind::BrOn(_) => false,
        _ => true,
    }
}

/// Writes a loop, which is all of `items`, as this number of copies.
fn write_out(into: &mut Vec<Item>, items: &[Item], copies: u32) {
    let [begin, body @ .., end] = items else { return };
    let inserted = |kind| Item {
        kind,
        from: begin.from,
        to: begin.from,
        last: begin.from,
        operators: 0,
        cost: 0,
        moved: Moved::default(),
    };
    let close = inserted(Kind::End { begins: 0, is_caught: false });
    into.push(Item { to: begin.to, ..inserted(Kind::Around) });
    into.push(*begin);
    for _ in 1..copies {
        into.push(inserted(Kind::Round));
        copy(into, body, 2);
        if !body.last().is_some_and(|last| last.kind.is_jump()) {
            // Out of the round, the loop and the block around it.
            into.push(Item { cost: 1, ..inserted(Kind::Leave(2)) });
        }
        into.push(close);
    }
    copy(into, body, 1);
    into.push(*end);
    into.push(close);
}

/// Copies the body of a loop to where `by` more blocks are around the loop.
fn copy(into: &mut Vec<Item>, body: &[Item], by: u32) {
    let mut inside = 0;
    for item in body {
        let moved = Moved { inside, by };
        let kind = match item.kind {
            Kind::Br(depth) => Kind::Br(moved.depth(depth)),
            Kind::BrIf(depth) => Kind::BrIf(moved.depth(depth)),
            kind => kind,
        };
        into.push(Item { kind, moved, ..*item });
        match kind {
            Kind::End { .. } => inside -= 1,
            kind if kind.begins_block() => inside += 1,
            _ => {}
        }
    }
}
#[cfg(test)]
mod tests {
    use wasmparser::{Operator, Parser, Payload};

    use crate::{Options, prepare};

    /// Returns the number of copies of each loop's marker, a constant of 7001 and so on, in the prepared
    /// function.
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

    /// This number of instructions, a marker among them.
    fn work(marker: i32, instructions: usize) -> String {
        assert!(instructions.is_multiple_of(2));
        let rest = "(drop (i32.const 1))".repeat(instructions / 2 - 1);
        format!("(drop (i32.const {marker})) {rest}")
    }

    #[test]
    fn only_small_loops_are_unrolled() {
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
    fn inner_loops_are_unrolled_further() {
        let nested = |inner: usize| {
            let (before, inside) = (work(7001, 2), work(7002, inner));
            copies(&format!(
                "(loop {before} (loop {inside} (br_if 0 (local.get 0))) (br_if 0 (local.get 0)))"
            ))
        };
        assert_eq!(nested(16), [1, 4]);
        // Only some of many loops: the function would become too long.
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
    fn unrolling_can_be_switched_off() {
        let wasm = wat::parse_str("(module (func (param i32) (loop (br_if 0 (local.get 0)))))")
            .expect("well-formed");
        let size = |unroll| {
            let options = Options { unroll, ..Options::default() };
            prepare(&wasm, &options).expect("it can be prepared").bytes.len()
        };
        assert!(size(false) < size(true));
    }
}
