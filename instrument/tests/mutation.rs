//! The verifier cannot be deceived: every charge of every module here is damaged in every conceivable way,
//! and what is accepted nevertheless is run and watched.
//!
//! A mutant is invalid, refused, or accepted. It may be accepted only if a run does no more than the
//! verifier's report claims, and gives the results of the original module. That the comparison can fail is
//! tested by accepting everything: then the oracle must object.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use wasm_encoder::{BlockType, Encode, Instruction, ValType};
use wasmparser::{Operator, Validator};

use lunatic_instrument::abi::MAX_CHARGE;
use lunatic_instrument::{FEATURES, Report, verify};
use support::corpus::CASES;
use support::listing::{CHARGE_LENGTH, Listing};
use support::oracle::{Claim, Ending, Invocation, Oracle};
use support::{prepared, program};

/// The arguments of exports. Random programs use the first as their fuel.
const ARGUMENTS: [[i32; 2]; 5] = [[0, 5], [1, 2], [3, -1], [9, 7], [30, 3]];

/// The number of random modules, in addition to the hand-written ones.
const RANDOM_MODULES: usize = 8;

/// A random module with more charges would take longer than all others together.
const MAX_CHARGES: usize = 12;

/// Of the accepted mutants, one of this number has mutants of its own: two changes may hide each other.
const ACCEPTED_PER_ANCESTOR: usize = 20;

/// Of those mutants, one of this number is tried. It has no divisor in common with the number of changes at
/// one place.
const MUTANTS_PER_DESCENDANT: usize = 13;

/// A module before and after it was prepared.
struct Subject {
    name: String,
    prepared: Vec<u8>,
    /// The calls of its exports, and how they end in the original.
    expected: Vec<(Invocation, Ending)>,
}

impl Subject {
    fn new(oracle: &Oracle, name: String, original: &[u8], max_charge: u32) -> Subject {
        let calls = oracle.invocations(original, &ARGUMENTS);
        let expected =
            calls.into_iter().map(|call| (call.clone(), oracle.run_unwatched(original, &call))).collect();
        Subject { name, prepared: prepared(original, max_charge), expected }
    }
}

fn subjects(oracle: &Oracle) -> Vec<Subject> {
    let written = CASES.iter().map(|case| {
        let original = wat::parse_str(case.text).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        Subject::new(oracle, case.name.to_owned(), &original, case.max_charge)
    });
    let mut runner = TestRunner::deterministic();
    let mut random = Vec::new();
    while random.len() < RANDOM_MODULES {
        let program = program::programs().new_tree(&mut runner).expect("nothing is filtered").current();
        let max_charge = [MAX_CHARGE, 5, 11][random.len() % 3];
        let subject = Subject::new(oracle, format!("{program:?}"), &program::module(&program), max_charge);
        let charges = Listing::of(&subject.prepared).charges(0).len();
        if (2..=MAX_CHARGES).contains(&charges) {
            random.push(subject);
        }
    }
    written.chain(random).collect()
}

/// The outcome of a mutant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Invalid,
    Refused,
    /// Accepted, without an objection.
    Accepted,
}

/// Decides whether a module is accepted, and claims how much work there is between two charges.
type Judge = dyn Fn(&[u8]) -> Option<Claim>;

/// The verifier as a judge.
fn by_proof(wasm: &[u8]) -> Option<Claim> {
    verify(wasm).ok().map(|report: Report| Claim::of(&report))
}

/// Tries a mutant.
///
/// # Errors
///
/// Returns why accepting it is wrong.
fn try_mutant(oracle: &Oracle, judge: &Judge, subject: &Subject, mutant: &[u8]) -> Result<Verdict, Wrong> {
    let is_valid = Validator::new_with_features(FEATURES).validate_all(mutant).is_ok();
    let Some(claim) = judge(mutant) else {
        return Ok(if is_valid { Verdict::Refused } else { Verdict::Invalid });
    };
    if !is_valid {
        return Err(Wrong::Claim("accepted, but not valid".to_owned()));
    }
    let counted = oracle.counted(&Listing::of(mutant), claim);
    let mut difference = None;
    for (call, expected) in &subject.expected {
        let seen = oracle.run(&counted, call);
        if let Some(objection) = seen.objection() {
            return Err(Wrong::Claim(format!("{call:?}: {objection}, claimed {claim:?}")));
        }
        if seen.ending != *expected {
            difference = Some(format!("{call:?} ends with {:?} instead of {expected:?}", seen.ending));
        }
    }
    difference.map_or(Ok(Verdict::Accepted), |difference| Err(Wrong::Results(difference)))
}

/// Why accepting a mutant is wrong.
#[derive(Debug, PartialEq, Eq)]
enum Wrong {
    /// It does more than was claimed.
    Claim(String),
    /// It gives other results than the original.
    Results(String),
}

/// A changed body of a function, as operators.
struct Mutant<'a> {
    /// The kind of change, for counting.
    kind: &'static str,
    /// Where it was made.
    at: usize,
    operators: Vec<&'a [u8]>,
    /// The program itself was changed, so its results may differ, but it still has to be paid for.
    is_another_program: bool,
}

/// The verdict, if objections to the mutant count.
fn judged(tried: Result<Verdict, Wrong>, is_another_program: bool) -> Result<Verdict, String> {
    match tried {
        Err(Wrong::Results(_)) if is_another_program => Ok(Verdict::Accepted),
        Err(Wrong::Claim(reason) | Wrong::Results(reason)) => Err(reason),
        Ok(verdict) => Ok(verdict),
    }
}

/// Encodes instructions, for as long as the tests run: they are short, and every mutant borrows them.
fn bytes(instructions: &[Instruction<'_>]) -> &'static [u8] {
    let mut bytes = Vec::new();
    instructions.iter().for_each(|instruction| instruction.encode(&mut bytes));
    bytes.leak()
}

/// Replacements of an operator of a charge: other constants, other callees, and other operators of the same
/// shape.
fn replacements(listing: &Listing<'_>, operator: &Operator<'_>) -> Vec<&'static [u8]> {
    use Instruction as I;
    let charge_function = listing.charge_function;
    let one_each = |instructions: Vec<Instruction<'_>>| {
        instructions.into_iter().map(|instruction| bytes(&[instruction])).collect()
    };
    match *operator {
        Operator::I32Const { value } => {
            let limit = MAX_CHARGE as i32;
            let mut constants = vec![
                value - 1,
                value + 1,
                0,
                1,
                -1,
                -value,
                value / 2,
                limit,
                limit + 1,
                1 << 20,
                i32::MAX,
                i32::MIN + 2,
            ];
            constants.retain(|constant| *constant != value);
            constants.dedup();
            let others = [
                I::I64Const(value.into()),
                I::LocalGet(0),
                I::LocalTee(0),
                I::GlobalGet(0),
                I::MemorySize(0),
                I::Nop,
                I::Unreachable,
                I::Return,
                I::Br(0),
            ];
            let mut all: Vec<_> = one_each(constants.into_iter().map(I::I32Const).chain(others).collect());
            // Another constant, and more between it and the call.
            all.extend([
                bytes(&[I::I32Const(value), I::Nop]),
                bytes(&[I::I32Const(value), I::I32Const(0), I::I32Add]),
                bytes(&[I::I32Const(value), I::I32Eqz]),
                bytes(&[I::I32Const(1), I::I32Const(value)]),
                bytes(&[I::I32Const(value), I::Drop, I::LocalGet(0)]),
            ]);
            all
        }
        Operator::Call { .. } => {
            let others = (0..=listing.functions).filter(|function| *function != charge_function);
            let others = others.map(I::Call);
            let rest = [
                I::ReturnCall(charge_function),
                I::Drop,
                I::LocalSet(0),
                I::GlobalSet(0),
                I::Return,
                I::Unreachable,
                I::Br(0),
                I::BrIf(0),
                I::Br(1),
                I::BrIf(1),
                I::Else,
                I::End,
                I::If(BlockType::Empty),
                I::Block(BlockType::Result(ValType::I32)),
                I::Loop(BlockType::Result(ValType::I32)),
            ];
            let mut all: Vec<_> = one_each(others.chain(rest).collect());
            all.extend([
                bytes(&[I::If(BlockType::Empty), I::I32Const(1), I::Call(charge_function), I::End]),
                bytes(&[I::Drop, I::I32Const(1), I::Call(charge_function)]),
                bytes(&[I::Drop, I::LocalGet(0), I::Call(charge_function)]),
            ]);
            all
        }
        _ => unreachable!("a charge has no other operators"),
    }
}

/// Every change of a single operator of the charge at this position.
fn of_operators<'a>(listing: &Listing<'a>, function: usize, charge: usize) -> Vec<Mutant<'a>> {
    let body = &listing.bodies[function];
    let mut mutants = Vec::new();
    for at in charge..charge + CHARGE_LENGTH {
        let mut push = |kind, change: &dyn Fn(&mut Vec<&'a [u8]>)| {
            let mut operators = body.bytes.clone();
            change(&mut operators);
            // What is not a charge any more may be any program.
            mutants.push(Mutant { kind, at, operators, is_another_program: true });
        };
        push("operator deleted", &|operators| {
            operators.remove(at);
        });
        push("operator duplicated", &|operators| operators.insert(at, operators[at]));
        push("operator made a nop", &|operators| operators[at] = bytes(&[Instruction::Nop]));
        push("nop inserted", &|operators| operators.insert(at, bytes(&[Instruction::Nop])));
        push("operator swapped with the next", &|operators| {
            if at + 1 < operators.len() {
                operators.swap(at, at + 1);
            }
        });
        if charge > 0 {
            push("operator moved before the one above the charge", &|operators| {
                let operator = operators.remove(at);
                operators.insert(charge - 1, operator);
            });
        }
        push("operator moved behind the one below the charge", &|operators| {
            let operator = operators.remove(at);
            operators.insert(charge + CHARGE_LENGTH, operator);
        });
        for replacement in replacements(listing, &body.operators[at]) {
            push("operator replaced", &|operators| operators[at] = replacement);
        }
    }
    mutants
}

/// Every change of the charge at this position as a whole.
fn of_a_charge<'a>(listing: &Listing<'a>, function: usize, charge: usize) -> Vec<Mutant<'a>> {
    let body = &listing.bodies[function];
    let whole = charge..charge + CHARGE_LENGTH;
    let mut rest = body.bytes.clone();
    let operators: Vec<_> = rest.drain(whole).collect();
    let mut mutants = vec![Mutant {
        kind: "charge deleted",
        at: charge,
        operators: rest.clone(),
        is_another_program: false,
    }];
    let charges = listing.charges(function);
    // After the last `end` it would not belong to the function.
    for at in (0..rest.len()).filter(|at| *at != charge) {
        let mut moved = rest.clone();
        moved.splice(at..at, operators.iter().copied());
        mutants.push(Mutant { kind: "charge moved", at, operators: moved, is_another_program: false });
    }
    let mut duplicated = body.bytes.clone();
    duplicated.splice(charge..charge, operators.iter().copied());
    mutants.push(Mutant {
        kind: "charge duplicated",
        at: charge,
        operators: duplicated,
        is_another_program: false,
    });
    for other in charges.into_iter().filter(|other| *other != charge) {
        let (here, there) = (charge, other);
        let mut exchanged = body.bytes.clone();
        exchanged.swap(here, there);
        mutants.push(Mutant {
            kind: "costs exchanged",
            at: charge,
            operators: exchanged,
            is_another_program: false,
        });
        let (less, more) = (changed(&body.operators[here], -1), changed(&body.operators[there], 1));
        let mut shifted = body.bytes.clone();
        (shifted[here], shifted[there]) = (less, more);
        mutants.push(Mutant {
            kind: "cost shifted to another charge",
            at: charge,
            operators: shifted,
            is_another_program: false,
        });
    }
    mutants
}

/// A constant, changed by this amount.
fn changed(constant: &Operator<'_>, by: i32) -> &'static [u8] {
    let Operator::I32Const { value } = constant else { unreachable!("a charge has a constant") };
    bytes(&[Instruction::I32Const(value + by)])
}

/// Code that did not exist when the charges were made, at every place of a function.
fn of_the_rest<'a>(listing: &Listing<'a>, function: usize) -> Vec<Mutant<'a>> {
    use Instruction as I;
    let body = &listing.bodies[function];
    let everywhere = [
        ("work added", bytes(&[I::I32Const(1), I::Drop])),
        ("branch out added", bytes(&[I::I32Const(0), I::BrIf(0)])),
    ];
    // The place should make no difference to these, so each place gets one of them.
    let in_turn = [
        ("empty loop added", bytes(&[I::Loop(BlockType::Empty), I::End])),
        ("way back added", bytes(&[I::Loop(BlockType::Empty), I::I32Const(0), I::BrIf(0), I::End])),
        ("counter refilled", bytes(&[I::I32Const(-9), I::Call(listing.charge_function)])),
        ("charged by a value", bytes(&[I::I32Const(4), I::I32Eqz, I::Call(listing.charge_function)])),
    ];
    let mut mutants = Vec::new();
    for at in 0..body.bytes.len() {
        for (kind, addition) in everywhere.into_iter().chain([in_turn[at % in_turn.len()]]) {
            let mut operators = body.bytes.clone();
            operators.insert(at, addition);
            mutants.push(Mutant { kind, at, operators, is_another_program: false });
        }
    }
    mutants
}

/// Other programs around the same charges.
fn of_the_program<'a>(listing: &Listing<'a>, function: usize) -> Vec<Mutant<'a>> {
    const BLOCK: u8 = 0x02;
    const LOOP: u8 = 0x03;
    const DEEPEST: u32 = 4;
    use Instruction as I;
    let body = &listing.bodies[function];
    let charges = listing.charges(function);
    let is_own = |at: &usize| !charges.iter().any(|charge| (*charge..charge + CHARGE_LENGTH).contains(at));
    let mut mutants = Vec::new();
    // The last operator is the function's end.
    for at in (0..body.bytes.len() - 1).filter(is_own) {
        let mut push = |kind, change: &dyn Fn(&mut Vec<&'a [u8]>)| {
            let mut operators = body.bytes.clone();
            change(&mut operators);
            mutants.push(Mutant { kind, at, operators, is_another_program: true });
        };
        push("own operator deleted", &|operators| {
            operators.remove(at);
        });
        push("own operator duplicated", &|operators| operators.insert(at, operators[at]));
        push("own operator swapped with the next", &|operators| operators.swap(at, at + 1));
        push("else added", &|operators| operators.insert(at, bytes(&[I::Else])));
        let with_opcode = |opcode: u8| [&[opcode], &body.bytes[at][1..]].concat().leak();
        match body.operators[at] {
            Operator::Block { .. } => {
                push("block made a loop", &|operators| operators[at] = with_opcode(LOOP))
            }
            Operator::Loop { .. } => {
                push("loop made a block", &|operators| operators[at] = with_opcode(BLOCK))
            }
            Operator::Br { .. } => {
                for depth in 0..=DEEPEST {
                    push("branch redirected", &|operators| operators[at] = bytes(&[I::Br(depth)]));
                }
                push("branch made conditional", &|operators| {
                    operators[at] = bytes(&[I::I32Const(0), I::BrIf(0)]);
                });
            }
            Operator::BrIf { .. } => {
                for depth in 0..=DEEPEST {
                    push("branch redirected", &|operators| operators[at] = bytes(&[I::BrIf(depth)]));
                }
            }
            Operator::Call { function_index } => {
                push("call made a tail call", &|operators| {
                    operators[at] = bytes(&[I::ReturnCall(function_index)]);
                });
            }
            _ => {}
        }
    }
    mutants
}

/// Calls back with every mutant of a module, and its bytes.
fn for_each_mutant(wasm: &[u8], mut with: impl FnMut(&Mutant<'_>, usize, &[u8])) {
    let listing = Listing::of(wasm);
    for function in 0..listing.bodies.len() {
        let charges = listing.charges(function);
        let around = |charge: &usize| {
            let mut mutants = of_operators(&listing, function, *charge);
            mutants.extend(of_a_charge(&listing, function, *charge));
            mutants
        };
        let mutants = charges
            .iter()
            .flat_map(around)
            .chain(of_the_rest(&listing, function))
            .chain(of_the_program(&listing, function));
        for mutant in mutants {
            let changed = listing.with_body(function, &mutant.operators);
            if changed != wasm {
                with(&mutant, function, &changed);
            }
        }
    }
}

/// The number of mutants of each kind, by outcome.
#[derive(Default)]
struct Tally(BTreeMap<(&'static str, Verdict), usize>);

impl Tally {
    fn add(&mut self, kind: &'static str, verdict: Verdict) {
        *self.0.entry((kind, verdict)).or_default() += 1;
    }

    fn of(&self, verdict: Verdict) -> usize {
        self.0.iter().filter(|((_, other), _)| *other == verdict).map(|(_, count)| count).sum()
    }

    fn all(&self) -> usize {
        self.0.values().sum()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdicts = [Verdict::Invalid, Verdict::Refused, Verdict::Accepted];
        let [invalid, refused, accepted] = verdicts.map(|verdict| self.of(verdict));
        writeln!(formatter, "{:50} {invalid:7} {refused:7} {accepted:7}", "invalid, refused, accepted")?;
        let kinds: BTreeSet<_> = self.0.keys().map(|(kind, _)| *kind).collect();
        kinds.into_iter().try_for_each(|kind| {
            let [invalid, refused, accepted] =
                verdicts.map(|verdict| self.0.get(&(kind, verdict)).copied().unwrap_or(0));
            writeln!(formatter, "{kind:50} {invalid:7} {refused:7} {accepted:7}")
        })
    }
}

#[test]
fn prepared_modules_behave_as_claimed() {
    let oracle = Oracle::new();
    for subject in subjects(&oracle) {
        let verdict = try_mutant(&oracle, &by_proof, &subject, &subject.prepared);
        assert_eq!(verdict, Ok(Verdict::Accepted), "{}", subject.name);
        let listing = Listing::of(&subject.prepared);
        assert_eq!(listing.with_body(usize::MAX, &[]), subject.prepared, "taken apart without a change");
        let charges: usize = (0..listing.bodies.len()).map(|body| listing.charges(body).len()).sum();
        assert_eq!(charges, verify(&subject.prepared).expect("accepted above").charges, "{}", subject.name);
    }
}

/// Tries mutants, and mutants of those that were accepted.
struct Campaign {
    oracle: Oracle,
    tally: Tally,
    /// Every mutant that was accepted wrongly.
    wrong: Vec<String>,
}

/// What mutants are made of.
struct Ancestor {
    wasm: Vec<u8>,
    /// Whether it is a mutant itself, of the kind whose results may differ.
    is_another_program: bool,
}

impl Campaign {
    /// Tries one of `one_of` mutants of an ancestor, and returns those that were accepted.
    fn try_each(&mut self, subject: &Subject, ancestor: &Ancestor, one_of: usize) -> Vec<Ancestor> {
        let (mut accepted, mut count) = (Vec::new(), 0);
        for_each_mutant(&ancestor.wasm, |mutant, function, bytes| {
            count += 1;
            if count % one_of != 0 {
                return;
            }
            let is_another_program = ancestor.is_another_program || mutant.is_another_program;
            let tried = try_mutant(&self.oracle, &by_proof, subject, bytes);
            match judged(tried, is_another_program) {
                Ok(verdict) => {
                    self.tally.add(mutant.kind, verdict);
                    if verdict == Verdict::Accepted {
                        accepted.push(Ancestor { wasm: bytes.to_vec(), is_another_program });
                    }
                }
                Err(reason) => self.wrong.push(format!(
                    "{}: {} in body {function} at operator {}: {reason}\n{}",
                    subject.name,
                    mutant.kind,
                    mutant.at,
                    wasmprinter::print_bytes(bytes).expect("it was accepted"),
                )),
            }
        });
        accepted
    }
}

#[test]
fn no_mutant_is_accepted_wrongly() {
    let oracle = Oracle::new();
    let subjects = subjects(&oracle);
    let mut campaign = Campaign { oracle, tally: Tally::default(), wrong: Vec::new() };
    for subject in &subjects {
        let original = Ancestor { wasm: subject.prepared.clone(), is_another_program: false };
        let accepted = campaign.try_each(subject, &original, 1);
        for ancestor in accepted.iter().step_by(ACCEPTED_PER_ANCESTOR) {
            campaign.try_each(subject, ancestor, MUTANTS_PER_DESCENDANT);
        }
    }
    let Campaign { tally, wrong, .. } = campaign;
    println!("{} mutants\n{tally}", tally.all());
    assert!(wrong.is_empty(), "{} accepted wrongly:\n{}", wrong.len(), wrong.join("\n"));
    for verdict in [Verdict::Invalid, Verdict::Refused, Verdict::Accepted] {
        assert!(tally.of(verdict) > 100, "{verdict:?}: {} of {}", tally.of(verdict), tally.all());
    }
    for kind in ["operator deleted", "operator replaced", "charge deleted", "charge moved", "work added"] {
        assert!(tally.0.contains_key(&(kind, Verdict::Refused)), "no mutant was refused: {kind}");
    }
}

/// The control: if everything is accepted, the oracle objects. Without it, the test above could not fail.
#[test]
fn a_judge_that_accepts_everything_is_detected() {
    let oracle = Oracle::new();
    let credulous = |wasm: &[u8]| {
        let is_valid = Validator::new_with_features(FEATURES).validate_all(wasm).is_ok();
        is_valid.then_some(Claim { at_once: u64::from(u32::MAX), after_a_return: 0 })
    };
    let mut found = BTreeMap::<_, [usize; 2]>::new();
    for subject in subjects(&oracle).iter().take(CASES.len()).step_by(3) {
        for_each_mutant(&subject.prepared, |mutant, _, bytes| {
            let tried = try_mutant(&oracle, &credulous, subject, bytes);
            match judged(tried, mutant.is_another_program) {
                Ok(Verdict::Accepted) => found.entry(mutant.kind).or_default()[0] += 1,
                Ok(Verdict::Invalid | Verdict::Refused) => {}
                Err(_) => found.entry(mutant.kind).or_default()[1] += 1,
            }
        });
    }
    for (kind, [passed, found]) in &found {
        println!("{kind:50} let pass {passed:6}, found out {found:6}");
    }
    for kind in ["operator replaced", "charge deleted", "charge moved", "work added", "counter refilled"] {
        assert!(found[kind][1] > 0, "none was found out: {kind}");
    }
}

/// A module of one function and its only charge, with one operator of the charge replaced.
fn planted(text: &str, operator: usize, by: &[Instruction<'_>]) -> (Vec<u8>, Vec<u8>) {
    let good = prepared(&wat::parse_str(text).expect("well-formed"), MAX_CHARGE);
    let listing = Listing::of(&good);
    let mut operators = listing.bodies[0].bytes.clone();
    operators[operator] = bytes(by);
    let bad = listing.with_body(0, &operators);
    (good, bad)
}

const PLANT: &str = "(module (func (export \"run\") (param i32) (result i32)
                       (i32.mul (i32.add (local.get 0) (i32.const 1)) (i32.const 3))))";

#[test]
fn the_oracle_detects_planted_faults() {
    use Instruction as I;
    let oracle = Oracle::new();
    let call = Invocation { export: "run".to_owned(), arguments: vec![4] };
    let see = |wasm: &[u8], at_once| {
        let claim = Claim { at_once, after_a_return: 0 };
        oracle.run(&oracle.counted(&Listing::of(wasm), claim), &call)
    };

    let (good, cheap) = planted(PLANT, 0, &[I::I32Const(4)]);
    let seen = see(&good, 5);
    assert_eq!((seen.work, seen.charged, seen.overrun), (5, 5, 0), "{seen:?}");
    assert_eq!(seen.objection(), None);
    assert_eq!(see(&good, 4).overrun, 1, "more between two charges than was claimed");
    assert!(see(&good, 4).objection().is_some());

    assert!(see(&cheap, 5).unpaid, "one is missing");
    let (_, upwards) = planted(PLANT, 0, &[I::I32Const(-5)]);
    let seen = see(&upwards, 100);
    assert!(seen.unpaid && seen.charged == -5, "{seen:?}");
    let (_, silent) = planted(PLANT, 1, &[I::Drop]);
    let seen = see(&silent, 100);
    assert!(seen.unpaid && seen.charged == 0, "{seen:?}");
    let (_, broken) = planted(PLANT, 0, &[I::I32Const(50), I::Nop]);
    let seen = see(&broken, 100);
    assert_eq!((seen.charged, seen.work), (50, 7), "anything but a charge is work: {seen:?}");
}

#[test]
fn the_oracle_counts_returns() {
    let text = "(module (func $f) (func (export \"run\") (param i32) (result i32)
                  (call $f) (call $f) (i32.add (local.get 0) (i32.const 1))))";
    let module = prepared(&wat::parse_str(text).expect("well-formed"), MAX_CHARGE);
    let oracle = Oracle::new();
    let call = Invocation { export: "run".to_owned(), arguments: vec![4] };
    let see = |claim| oracle.run(&oracle.counted(&Listing::of(&module), claim), &call);
    let seen = see(Claim { at_once: 0, after_a_return: 0 });
    assert_eq!((seen.longest.work, seen.longest.returns, seen.overrun), (3, 1, 3), "{seen:?}");
    assert_eq!(see(Claim { at_once: 1, after_a_return: 2 }).objection(), None);
    assert!(see(Claim { at_once: 1, after_a_return: 1 }).objection().is_some());
}

/// A run without an end is stopped, and was paid for up to there.
#[test]
fn the_oracle_stops_endless_runs() {
    let oracle = Oracle::new();
    let call = Invocation { export: "run".to_owned(), arguments: vec![] };
    for (text, is_endless) in [
        ("(module (func (export \"run\") (loop (br 0))))", true),
        ("(module (func $f (export \"run\") (return_call $f)))", true),
        ("(module (func $f (export \"run\") (call $f)))", false),
    ] {
        let module = prepared(&wat::parse_str(text).expect("well-formed"), MAX_CHARGE);
        let claim = by_proof(&module).expect("what was prepared is accepted");
        let seen = oracle.run(&oracle.counted(&Listing::of(&module), claim), &call);
        assert_eq!(seen.objection(), None, "{text}");
        assert_eq!(seen.ending == Ending::Endless, is_endless, "{text}: {seen:?}");
    }
}
