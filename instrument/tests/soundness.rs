//! All work is paid for: proved by the verifier, and counted by running.

mod support;

use proptest::prelude::*;

use lunatic_instrument::verify;
use support::{ChargeAt, Outcome, charges, prepared, prepared_with, program, run, with_cost, without};

/// A slice that no test uses up.
const ENDLESS: i64 = i64::MAX / 2;

fn wasm(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("the test's module is well-formed")
}

#[test]
fn a_program_with_one_path_is_charged_exactly() {
    let straight =
        wasm("(module (func (export \"run\") (result i32) (i32.add (i32.const 1) (i32.const 2))))");
    let outcome = run(&prepared(&straight, 10_000), &[], ENDLESS);
    assert_eq!(outcome, Outcome { result: Some(3), charged: 3, yields: 0 });
}

#[test]
fn a_loop_is_charged_for_every_round() {
    let counting = wasm(
        "(module (func (export \"run\") (param i32) (result i32)
           (loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
           (local.get 0)))",
    );
    let outcome = run(&prepared(&counting, 10_000), &[100], ENDLESS);
    // Five operators a round, and the last one of the function.
    assert_eq!(outcome, Outcome { result: Some(0), charged: 501, yields: 0 });
}

#[test]
fn calls_are_charged_by_the_callee() {
    let text = "(module (func $f (param i32) (result i32) (i32.mul (local.get 0) (i32.const 2)))
                  (func (export \"run\") (result i32) (call $f (call $f (i32.const 5)))))";
    let outcome = run(&prepared(&wasm(text), 10_000), &[], ENDLESS);
    assert_eq!(outcome, Outcome { result: Some(20), charged: 3 + 2 * 3, yields: 0 });
}

#[test]
fn it_yields_once_the_slice_is_used_up() {
    let text = "(module (func (export \"run\") (param i32) (result i32)
                  (loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))) (local.get 0)))";
    let outcome = run(&prepared(&wasm(text), 10_000), &[1_000], 100);
    assert_eq!(outcome.charged, 5_001);
    assert_eq!(outcome.yields, 50, "5,001 reductions in slices of 100");
}

#[test]
fn every_kind_of_recursion_is_charged() {
    let depth = 1_000;
    for call in [
        "(call $f (local.get 0))",
        "(call_indirect (type $t) (local.get 0) (i32.const 0))",
        "(return_call $f (local.get 0))",
        "(return_call_indirect (type $t) (local.get 0) (i32.const 0))",
    ] {
        let text = format!(
            "(module (type $t (func (param i32) (result i32))) (table funcref (elem $f))
               (func $f (export \"run\") (param i32) (result i32)
                 (if (i32.eqz (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))) (then (return (i32.const 7))))
                 {call}))"
        );
        let outcome = run(&prepared(&wasm(&text), 10_000), &[depth], 100);
        assert_eq!(outcome.result, Some(7), "{call}");
        assert!(outcome.charged >= 8 * i64::from(depth - 1), "{call}: {outcome:?}");
        assert!(outcome.yields > 50, "{call}: {outcome:?}");
    }
}

#[test]
fn a_mutable_global_of_the_guest_is_not_the_counter() {
    let text = "(module (global $mine (export \"mine\") (mut i64) (i64.const 5))
                  (func (export \"run\") (result i32)
                    (global.set $mine (i64.add (global.get $mine) (i64.const 1)))
                    (i32.wrap_i64 (global.get $mine))))";
    let outcome = run(&prepared(&wasm(text), 10_000), &[], ENDLESS);
    assert_eq!(outcome, Outcome { result: Some(6), charged: 6, yields: 0 });
}

/// Every change that removes a single charge or makes it smaller.
fn mutants(module: &[u8], charge: &ChargeAt) -> Vec<(&'static str, Vec<u8>)> {
    const DROP: u8 = 0x1a;
    const LOCAL_GET: u8 = 0x20;
    let replace = |operator: usize, by: &[u8]| {
        let place = charge.operators[operator].clone();
        let mut mutant = without(module, place.clone());
        mutant[place][..by.len()].copy_from_slice(by);
        mutant
    };
    vec![
        ("without it", without(module, charge.range())),
        ("worth one less", with_cost(module, charge, charge.cost as u32 - 1)),
        ("of a value", replace(0, &[LOCAL_GET, 0])),
        ("without the call", replace(1, &[DROP])),
    ]
}

proptest! {
    // A failure prints its input, and no file of failures is kept.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn all_work_of_a_run_is_charged(
        program in program::programs(), fuel in 0..40, acc: i32, max_charge in prop_oneof![1..40_u32, Just(10_000)],
    ) {
        let original = program::module(&program);
        let instrumented = prepared(&original, max_charge);
        let report = verify(&instrumented).expect("what was prepared verifies");
        prop_assert!(report.bound <= max_charge);
        prop_assert_eq!(&prepared(&original, max_charge), &instrumented, "the same input gives the same bytes");

        let counted = program::interpret(&program, fuel, acc);
        let plain = run(&original, &[fuel, acc], ENDLESS);
        let metered = run(&instrumented, &[fuel, acc], ENDLESS);
        prop_assert_eq!(plain.result, Some(counted.result), "the interpreter is right about the program");
        prop_assert_eq!(metered.result, plain.result);
        prop_assert!(metered.charged >= counted.work as i64, "{} charged for {}", metered.charged, counted.work);

        let as_it_was = run(&prepared_with(&original, max_charge, false), &[fuel, acc], ENDLESS);
        prop_assert_eq!(as_it_was.result, plain.result, "without loops written out");
        prop_assert!(as_it_was.charged >= counted.work as i64);

        let sliced = run(&instrumented, &[fuel, acc], 10);
        prop_assert_eq!(sliced.result, plain.result, "a yield changes nothing");
        prop_assert_eq!(sliced.charged, metered.charged, "and costs nothing");
    }

    #[test]
    fn no_charge_can_be_spared(program in program::programs()) {
        let module = prepared(&program::module(&program), 10_000);
        for charge in charges(&module) {
            for (how, mutant) in mutants(&module, &charge) {
                prop_assert!(verify(&mutant).is_err(), "accepted a charge {how}: {charge:?}");
            }
        }
    }

    /// A region is charged at least one, so a part next to a region without work of its own can be saved. No
    /// mutant may be accepted that does more than it charges.
    #[test]
    fn no_part_of_a_charge_is_spared_wrongly(
        program in program::programs(), fuel in 0..40, acc: i32, max_charge in 1..40_u32,
    ) {
        let module = prepared(&program::module(&program), max_charge);
        let work = program::interpret(&program, fuel, acc).work;
        for charge in charges(&module) {
            for (how, mutant) in mutants(&module, &charge) {
                if verify(&mutant).is_ok() {
                    let charged = run(&mutant, &[fuel, acc], ENDLESS).charged;
                    prop_assert!(charged >= work as i64, "{charged} for {work}: a charge {how}: {charge:?}");
                }
            }
        }
    }
}
