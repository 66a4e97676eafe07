//! Small structured programs: generated at random, written as WebAssembly, and run by an interpreter that
//! counts what they do.
//!
//! The interpreter is the third statement of the cost model, after the rewriter's and the verifier's, and the
//! only one that counts what is executed rather than what might be. Every backward branch uses up fuel, so
//! every program ends.

use std::fmt::Write;

use proptest::prelude::*;

#[derive(Debug, Clone)]
pub(crate) enum Statement {
    /// This number of rounds of arithmetic.
    Work(u8),
    Block(Vec<Statement>),
    Loop(Vec<Statement>),
    If(Vec<Statement>, Vec<Statement>),
    /// A conditional branch to a label around it, counted modulo their number.
    BranchIf(u8),
    /// The same as an `if` around a branch.
    LeaveIf(u8),
    /// `br_table` over the labels around it, also in an `if`.
    Table(Vec<u8>),
}

/// Programs of a few dozen statements.
pub(crate) fn programs() -> impl Strategy<Value = Vec<Statement>> {
    let leaf = prop_oneof![
        3 => (1..6_u8).prop_map(Statement::Work),
        2 => any::<u8>().prop_map(Statement::BranchIf),
        1 => any::<u8>().prop_map(Statement::LeaveIf),
        1 => prop::collection::vec(any::<u8>(), 1..4).prop_map(Statement::Table),
    ];
    let statement = leaf.prop_recursive(4, 32, 4, |inner| {
        let body = prop::collection::vec(inner, 0..4);
        prop_oneof![
            body.clone().prop_map(Statement::Block),
            body.clone().prop_map(Statement::Loop),
            (body.clone(), body).prop_map(|(first, second)| Statement::If(first, second)),
        ]
    });
    prop::collection::vec(statement, 0..6)
}

/// Returns the program as a module that exports `run`, which takes fuel and an initial number, and returns a
/// number.
pub(crate) fn module(program: &[Statement]) -> Vec<u8> {
    let mut body = String::new();
    write_statements(program, 1, &mut body);
    let text = format!(
        "(module (func (export \"run\") (param $fuel i32) (param $acc i32) (result i32)
           (block {body}) (local.get $acc)))"
    );
    wat::parse_str(text).expect("programs are well-formed")
}

/// Fuel left, and the arithmetic on the number so far, as one condition.
const CONDITION: &str = "(i32.and (i32.gt_s (local.tee $fuel (i32.sub (local.get $fuel) (i32.const 1)))
                           (i32.const 0)) (local.get $acc))";
const CONDITION_COST: u64 = 8;

fn write_statements(statements: &[Statement], labels: usize, text: &mut String) {
    for statement in statements {
        write_statement(statement, labels, text);
    }
}

fn write_statement(statement: &Statement, labels: usize, text: &mut String) {
    let nested = |body: &[Statement]| {
        let mut text = String::new();
        write_statements(body, labels + 1, &mut text);
        text
    };
    match statement {
        Statement::Work(rounds) => {
            let round = "(local.set $acc (i32.add (i32.mul (local.get $acc) (i32.const 29)) (i32.const 7)))";
            text.push_str(&round.repeat(usize::from(*rounds)));
            Ok(())
        }
        Statement::Block(body) => write!(text, "(block {})", nested(body)),
        Statement::Loop(body) => write!(text, "(loop {})", nested(body)),
        Statement::If(first, second) => {
            let condition = "(i32.and (local.get $acc) (i32.const 2))";
            write!(text, "(if {condition} (then {}) (else {}))", nested(first), nested(second))
        }
        Statement::BranchIf(label) => write!(text, "(br_if {} {CONDITION})", usize::from(*label) % labels),
        Statement::LeaveIf(label) => {
            write!(text, "(if {CONDITION} (then (br {})))", 1 + usize::from(*label) % labels)
        }
        Statement::Table(table) => {
            let table: Vec<_> =
                table.iter().map(|label| (1 + usize::from(*label) % labels).to_string()).collect();
            write!(text, "(if {CONDITION} (then (br_table {} (local.get $acc))))", table.join(" "))
        }
    }
    .expect("writing to a string does not fail");
}

/// What a run of a program did.
pub(crate) struct Run {
    pub(crate) result: i32,
    /// The operators that were executed and are not free.
    pub(crate) work: u64,
}

/// Runs a program.
pub(crate) fn interpret(program: &[Statement], fuel: i32, acc: i32) -> Run {
    let mut machine = Machine { fuel, acc, work: 0 };
    machine.statements(program, 1);
    Run { result: machine.acc, work: machine.work + 1 }
}

struct Machine {
    fuel: i32,
    acc: i32,
    work: u64,
}

impl Machine {
    /// Returns the label that was branched to, if any, counted from the innermost.
    fn statements(&mut self, statements: &[Statement], labels: usize) -> Option<usize> {
        statements.iter().find_map(|statement| self.statement(statement, labels))
    }

    fn statement(&mut self, statement: &Statement, labels: usize) -> Option<usize> {
        match statement {
            Statement::Work(rounds) => {
                for _ in 0..*rounds {
                    self.acc = self.acc.wrapping_mul(29).wrapping_add(7);
                    self.work += 6;
                }
                None
            }
            Statement::Block(body) => out_of(self.statements(body, labels + 1)),
            Statement::Loop(body) => loop {
                match self.statements(body, labels + 1) {
                    Some(0) => {}
                    other => break out_of(other),
                }
            },
            Statement::If(first, second) => {
                self.work += 4;
                let arm = if self.acc & 2 != 0 { first } else { second };
                out_of(self.statements(arm, labels + 1))
            }
            Statement::BranchIf(label) => {
                self.work += 1;
                self.condition().then_some(usize::from(*label) % labels)
            }
            Statement::LeaveIf(label) => {
                self.work += 1;
                self.condition().then(|| {
                    self.work += 1;
                    usize::from(*label) % labels
                })
            }
            Statement::Table(table) => {
                self.work += 1;
                self.condition().then(|| {
                    self.work += 2;
                    let index = (self.acc as u32 as usize).min(table.len() - 1);
                    usize::from(table[index]) % labels
                })
            }
        }
    }

    fn condition(&mut self) -> bool {
        self.work += CONDITION_COST;
        self.fuel -= 1;
        i32::from(self.fuel > 0) & self.acc != 0
    }
}

/// A branch as the block around the one that it leaves sees it.
fn out_of(branch: Option<usize>) -> Option<usize> {
    branch.and_then(|label| label.checked_sub(1))
}
