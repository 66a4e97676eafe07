//! Modules that must not be accepted, written by hand: each differs from an acceptable one in one place.

use proptest::prelude::*;

use super::*;
use crate::error::{Region, Reserved as Exposed};
use crate::testing::{prepared, refusal};

/// The custom section's contents for a bound of 9.
const MANIFEST: &str = r#"(@custom "lunatic.prep" "\01\01\09\09")"#;

/// A charge, as text.
fn charge(cost: i64) -> String {
    format!(
        "(global.set $reductions (i64.sub (global.get $reductions) (i64.const {cost})))
         (if (i64.lt_s (global.get $reductions) (i64.const 0)) (then (call $yield)))\n"
    )
}

/// A prepared module with these further fields.
fn module(fields: &str) -> String {
    format!(
        r#"(module
             (import "lunatic::metering" "reductions" (global $reductions (mut i64)))
             (import "lunatic::metering" "yield" (func $yield))
             (table $table 1 funcref)
             {fields} {MANIFEST})"#
    )
}

/// A prepared module with one function of this body, after a charge of 5.
fn function(body: &str) -> String {
    module(&format!("(func $f (param i32) {} {body})", charge(5)))
}

fn accepted(wat: &str) -> Report {
    verify(&wat::parse_str(wat).expect("well-formed")).expect("acceptable")
}

fn error(wat: &str) -> String {
    verify(&wat::parse_str(wat).expect("well-formed")).expect_err("not acceptable").to_string()
}

#[test]
fn a_module_prepared_by_hand_is_accepted() {
    let report = accepted(&function("(drop (local.get 0)) (drop (local.get 0))"));
    assert_eq!((report.bound, report.functions, report.loops, report.charges), (5, 1, 0, 1));
    assert_eq!(accepted(&module("")).bound, 0);
}

#[test]
fn without_the_mark_it_is_not_prepared() {
    let kind = refusal("(module)");
    assert!(matches!(kind, VerifyErrorKind::Manifest(ManifestError::Missing)), "{kind:?}");
    let kind = refusal(&module(MANIFEST));
    assert!(matches!(kind, VerifyErrorKind::SecondManifest), "{kind:?}");
}

#[test]
fn the_reserved_imports_exist_once_with_their_types() {
    let with = |imports: &str| refusal(&format!("(module {imports} {MANIFEST})"));
    let counter = r#"(import "lunatic::metering" "reductions" (global (mut i64)))"#;
    let yield_function = r#"(import "lunatic::metering" "yield" (func))"#;
    assert!(matches!(with(""), VerifyErrorKind::MissingImport("reductions")));
    assert!(matches!(with(counter), VerifyErrorKind::MissingImport("yield")));
    assert!(matches!(with(&counter.repeat(2)), VerifyErrorKind::SecondImport("reductions")));
    assert!(matches!(with(&yield_function.repeat(2)), VerifyErrorKind::SecondImport("yield")));
    assert!(matches!(
        with(&counter.replace("yield", "other").replace("reductions", "x")),
        VerifyErrorKind::UnknownImport(_)
    ));
    for (import, wrong) in [
        (counter, "(global i64)"),
        (counter, "(global (mut i32))"),
        (counter, "(func)"),
        (yield_function, "(func (param i32))"),
        (yield_function, "(func (result i32))"),
        (yield_function, "(global i64)"),
    ] {
        let wrong = import.replace("(global (mut i64))", wrong).replace("(func)", wrong);
        assert!(matches!(with(&wrong), VerifyErrorKind::ImportType(_)), "{wrong}");
    }
}

#[test]
fn nothing_but_charges_reaches_the_counter() {
    for exposing in [
        module(r#"(export "counter" (global $reductions))"#),
        function("(drop (i32.const 0)) (global.set $reductions (i64.const 9))"),
        // A read that is not the beginning of a charge looks like one that goes wrong.
        function("(unreachable) (global.set $reductions (i64.const 9))"),
    ] {
        let kind = refusal(&exposing);
        assert!(matches!(kind, VerifyErrorKind::Exposed(Exposed::Counter)), "{kind:?}");
    }
    let kind = refusal(&function("(drop (global.get $reductions))"));
    assert!(matches!(kind, VerifyErrorKind::BrokenCharge), "{kind:?}");
}

#[test]
fn nothing_but_charges_reaches_the_yield_function() {
    for exposing in [
        module(r#"(export "yield" (func $yield))"#),
        module("(start $yield)"),
        module("(elem (i32.const 0) func $yield)"),
        module("(elem func $yield)"),
        module("(elem declare func $yield)"),
        module("(elem funcref (ref.func $yield))"),
        module("(global funcref (ref.func $yield))"),
        function("(call $yield)"),
        function("(return_call $yield)"),
        function("(unreachable) (call $yield)"),
    ] {
        let kind = refusal(&exposing);
        assert!(matches!(kind, VerifyErrorKind::Exposed(Exposed::Yield)), "{exposing}: {kind:?}");
    }
}

#[test]
fn functions_and_loops_begin_with_a_charge() {
    let kind = refusal(&module("(func)"));
    assert!(matches!(kind, VerifyErrorKind::Uncharged(Region::Function)), "{kind:?}");
    let kind = refusal(&module(&format!("(func (nop) {})", charge(5))));
    assert!(matches!(kind, VerifyErrorKind::Uncharged(Region::Function)), "{kind:?}");
    for body in ["(loop)", "(loop (br 0))", "(block (loop (nop)))", "(unreachable) (loop (br 0))"] {
        let kind = refusal(&function(body));
        assert!(matches!(kind, VerifyErrorKind::Uncharged(Region::Loop)), "{kind:?}");
    }
}

#[test]
fn a_charge_is_exact() {
    let whole = charge(5);
    for (part, other) in [
        ("i64.sub", "i64.add"),
        ("i64.lt_s", "i64.lt_u"),
        ("(i64.const 0)", "(i64.const -1)"),
        ("(call $yield)", "(nop)"),
        ("(call $yield)", "(call $yield) (call $yield)"),
        ("(then (call $yield))", "(then (call $yield)) (else (nop))"),
    ] {
        assert!(whole.contains(part));
        let kind = refusal(&module(&format!("(func {})", whole.replace(part, other))));
        assert!(matches!(kind, VerifyErrorKind::BrokenCharge), "{part} to {other}: {kind:?}");
    }
    for constant in [0, -1, i64::MIN, 10_001, i64::MAX] {
        let kind = refusal(&module(&format!("(func {})", charge(constant))));
        assert!(matches!(kind, VerifyErrorKind::ChargeConstant(found) if found == constant), "{kind:?}");
    }
}

#[test]
fn work_is_paid_for_on_every_path() {
    let six = "(drop (i32.const 1))".repeat(6);
    let four = "(drop (i32.const 1))".repeat(4);
    accepted(&function(&format!("(block (br_if 0 (local.get 0)) {})", "(drop (i32.const 1))".repeat(3))));
    for body in [
        six.clone(),
        format!("(block {six})"),
        format!("(if (local.get 0) (then {four}))"),
        format!("(if (local.get 0) (then) (else {four}))"),
        // Only one of the arms has paid for what comes after both.
        format!("(if (local.get 0) (then {})) {four}", charge(9)),
        // The branch arrives with less than the code above its label leaves.
        format!("(block (br_if 0 (local.get 0)) {}) {four}", charge(9)),
        // A loop's charge is its own, and leaving the loop gives back only what was left before it.
        format!("(drop (i32.const 1)) (drop (i32.const 1)) (loop {}) {four}", charge(9)),
        format!("(block (drop (i32.const 1)) (drop (i32.const 1)) (loop {} (br 1))) {four}", charge(9)),
        format!("(loop {} {four} (br 0))", charge(3)),
    ] {
        let kind = refusal(&function(&body));
        assert!(matches!(kind, VerifyErrorKind::Unpaid), "{body}: {kind:?}");
    }
}

#[test]
fn charges_stay_within_the_declared_bound() {
    accepted(&module(&format!("(func {})", charge(9))));
    let kind = refusal(&module(&format!("(func {})", charge(10))));
    assert!(matches!(kind, VerifyErrorKind::AboveBound { found: 10, declared: 9 }), "{kind:?}");
}

#[test]
fn errors_say_where() {
    let message = error(&module("(func $evil\u{1b}\n(loop))").replace("$evil\u{1b}", "$evil"));
    assert!(
        message.starts_with("a function does not begin with a charge (in function 1 \"evil\", at byte 0x"),
        "{message}"
    );
    let named = r#"(func (@name "a\n\1b[2J") (nop))"#;
    let message = error(&module(named));
    assert!(message.contains(r#"function 1 "a\n\u{1b}[2J""#), "names are escaped: {message}");
}

proptest! {
    #[test]
    fn verifying_is_total(bytes: Vec<u8>) {
        prop_assert!(verify(&bytes).is_err());
        let mut headed = b"\0asm\x01\0\0\0".to_vec();
        headed.extend(bytes);
        let _ = verify(&headed);
    }

    #[test]
    fn a_damaged_module_is_taken_without_a_panic(position: prop::sample::Index, byte: u8) {
        let mut bytes = prepared("(module (func (loop (br_if 0 (i32.const 0)))))", 10_000).bytes;
        let position = position.index(bytes.len());
        bytes[position] = byte;
        let _ = verify(&bytes);
    }
}
