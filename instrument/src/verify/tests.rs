//! Hand-written modules that must not be accepted: each differs from an acceptable one in one place.

use proptest::prelude::*;

use super::*;
use crate::error::Region;
use crate::testing::{prepared, refusal};

/// The content of the custom section for a bound of 9, also after returns.
const MANIFEST: &str = r#"(@custom "lunatic.prep" "\03\01\09\09\09")"#;

/// The same for the largest bounds.
const WIDE_MANIFEST: &str = r#"(@custom "lunatic.prep" "\03\01\90\4e\90\4e\40")"#;

/// A charge, as text.
fn charge(cost: i32) -> String {
    format!("(call $charge (i32.const {cost}))\n")
}

/// A prepared module with these further fields.
fn module(fields: &str) -> String {
    format!(
        r#"(module
             (import "lunatic::metering" "charge" (func $charge (param i32)))
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
    assert_eq!((report.bound, report.return_bound), (2, 0));
    assert_eq!((report.functions, report.loops, report.charges), (1, 0, 1));
    assert_eq!(accepted(&module("")).bound, 0);
}

#[test]
fn a_module_without_the_mark_is_not_prepared() {
    let kind = refusal("(module)");
    assert!(matches!(kind, VerifyErrorKind::Manifest(ManifestError::Missing)), "{kind:?}");
    let kind = refusal(&module(MANIFEST));
    assert!(matches!(kind, VerifyErrorKind::SecondManifest), "{kind:?}");
}

#[test]
fn the_reserved_import_exists_once_with_its_type() {
    let with = |imports: &str| refusal(&format!("(module {imports} {MANIFEST})"));
    let import = r#"(import "lunatic::metering" "charge" (func (param i32)))"#;
    assert!(matches!(with(""), VerifyErrorKind::MissingImport));
    assert!(matches!(with(&import.repeat(2)), VerifyErrorKind::SecondImport));
    for other in ["yield", "reductions", ""] {
        let kind = with(&import.replace("charge", other));
        assert!(matches!(kind, VerifyErrorKind::UnknownImport(_)), "{other}: {kind:?}");
    }
    for wrong in [
        "(func)",
        "(func (param i64))",
        "(func (param i32 i32))",
        "(func (param i32) (result i32))",
        "(global i32)",
    ] {
        let kind = with(&import.replace("(func (param i32))", wrong));
        assert!(matches!(kind, VerifyErrorKind::ImportType), "{wrong}: {kind:?}");
    }
}

#[test]
fn nothing_but_charges_reaches_the_function_that_charges() {
    for exposing in [
        module(r#"(export "charge" (func $charge))"#),
        module("(elem (i32.const 0) func $charge)"),
        module("(elem func $charge)"),
        module("(elem declare func $charge)"),
        module("(elem funcref (ref.func $charge))"),
        module("(global funcref (ref.func $charge))"),
        module("(table 1 funcref (ref.func $charge))"),
        function("(call $charge (local.get 0))"),
        function("(call $charge (i32.add (i32.const 1) (i32.const 2)))"),
        function("(i32.const 1) (nop) (call $charge)"),
        function("(i32.const 1) (block (param i32) (call $charge))"),
        function("(i32.const 1) (return_call $charge)"),
        function("(unreachable) (call $charge)"),
    ] {
        let kind = refusal(&exposing);
        assert!(matches!(kind, VerifyErrorKind::Exposed), "{exposing}: {kind:?}");
    }
}

#[test]
fn constants_are_work_unless_a_charge_call_follows() {
    let constants = |count: usize, and: &str| {
        function(&format!("{} {and} {}", "(i32.const 7)".repeat(count), "(drop)".repeat(count)))
    };
    assert_eq!(accepted(&constants(4, "")).bound, 4);
    assert_eq!(accepted(&constants(4, &charge(3))).bound, 4);
    for behind in ["", "(nop)", &charge(3)] {
        let kind = refusal(&constants(6, behind));
        assert!(matches!(kind, VerifyErrorKind::Unpaid), "{behind}: {kind:?}");
    }
    // The first is what a function must not begin with.
    let kind = refusal(&module(&format!("(func (i32.const 7) {} (drop))", charge(5))));
    assert!(matches!(kind, VerifyErrorKind::Uncharged(Region::Function)), "{kind:?}");
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
fn the_constant_of_a_charge_is_positive_and_limited() {
    for constant in [0, -1, i32::MIN, 10_001, i32::MAX] {
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
        // Only one of the arms has paid for what follows both.
        format!("(if (local.get 0) (then {})) {four}", charge(9)),
        // The branch arrives with less credit than the code above its label leaves.
        format!("(block (br_if 0 (local.get 0)) {}) {four}", charge(9)),
        // A loop's charge belongs to the loop, and after the loop only what was left before it is available.
        format!("(drop (i32.const 1)) (drop (i32.const 1)) (loop {}) {four}", charge(9)),
        format!("(block (drop (i32.const 1)) (drop (i32.const 1)) (loop {} (br 1))) {four}", charge(9)),
        format!("(loop {} {four} (br 0))", charge(3)),
    ] {
        let kind = refusal(&function(&body));
        assert!(matches!(kind, VerifyErrorKind::Unpaid), "{body}: {kind:?}");
    }
}

#[test]
fn work_stays_within_the_declared_bounds() {
    let line = |length| "(drop (i32.const 1))".repeat(length);
    assert_eq!(accepted(&module(&format!("(func {} {})", charge(100), line(9)))).bound, 9);
    let kind = refusal(&module(&format!("(func {} {})", charge(100), line(10))));
    assert!(matches!(kind, VerifyErrorKind::AboveBound { found: 10, declared: 9 }), "{kind:?}");
    let calling = |length| module(&format!("(func $f {} (call $f) {} )", charge(100), line(length)));
    assert_eq!(accepted(&calling(8)).return_bound, 8);
    let kind = refusal(&calling(10).replace("\\09\\09\\09", "\\09\\20\\09"));
    assert!(matches!(kind, VerifyErrorKind::AboveBound { found: 10, declared: 9 }), "{kind:?}");
}

#[test]
fn leaving_operators_count_as_work() {
    assert_eq!(accepted(&function("(drop (local.get 0)) (return)")).bound, 2);
    assert_eq!(accepted(&function("(block (br 0))")).bound, 1);
    assert_eq!(accepted(&module(&format!("(func $f {} (call $f) (return))", charge(5)))).return_bound, 1);
}

#[test]
fn long_paths_without_a_charge_are_refused() {
    let line = |length| "(drop (i32.const 1))".repeat(length);
    let wide = |function: &str| module(function).replace(MANIFEST, WIDE_MANIFEST);
    // What the loop's charge leaves, and what is left of the charge before it.
    let after_a_loop = |length: usize| {
        let of_the_loop = format!("(loop {} {})", charge(10_000), line(9_000));
        wide(&format!("(func {} {of_the_loop} {})", charge(10_000), line(length)))
    };
    assert_eq!(accepted(&after_a_loop(1_000)).bound, 10_000);
    let kind = refusal(&after_a_loop(1_001));
    assert!(matches!(kind, VerifyErrorKind::LongPath), "{kind:?}");
}

#[test]
fn long_work_after_a_return_is_refused() {
    let line = |length| "(drop (i32.const 1))".repeat(length);
    let wide = |body: &str| {
        let function = format!("(type $t (func)) (func $f {} {body})", charge(1_000));
        module(&function).replace(MANIFEST, WIDE_MANIFEST)
    };
    let host = r#"(import "env" "host" (func $host))"#;
    for (call, longest) in [
        ("(call $f)", 64),
        // An indirect call may call an import, so it does not end the work before it, including its index.
        ("(call $f) (call_indirect (i32.const 0))", 64 - 2),
        (&format!("(call $f) {} (call_indirect (i32.const 0))", line(10)), 64 - 12),
        (&format!("(block (loop {} (call $f)))", charge(9)), 64),
    ] {
        assert_eq!(accepted(&wide(&format!("{call} {}", line(longest)))).return_bound, 64, "{call}");
        let kind = refusal(&wide(&format!("{call} {}", line(longest + 1))));
        assert!(matches!(kind, VerifyErrorKind::LongReturn), "{call}: {kind:?}");
        accepted(&wide(&format!("{call} {} {} {}", line(10), charge(900), line(500))));
    }
    let imported = wide(&format!("(call $host) {}", line(500)));
    let imported = imported.replacen("(import", &format!("{host} (import"), 1);
    assert_eq!(accepted(&imported).return_bound, 0);
    // With a call between.
    accepted(&wide(&format!("(call $f) {} (call $f) {}", line(60), line(60))));
}

#[test]
fn an_exception_arrives_without_credit() {
    let with_tag = |body: &str| module(&format!("(tag $t) (func $f {} {body})", charge(9)));
    let caught = |after: &str| {
        with_tag(&format!("(block $h (try_table (catch $t $h) {} (call $f)) (return)) {after}", charge(9)))
    };
    accepted(&caught(""));
    accepted(&caught(&format!("{} (nop) (drop (i32.const 1))", charge(1))));
    let kind = refusal(&caught("(drop (i32.const 1))"));
    assert!(matches!(kind, VerifyErrorKind::Unpaid), "{kind:?}");
    // Also where the label is outside of loops, and where the throw is next to it.
    let body = format!(
        "(block $h (loop {} (try_table (catch_all $h) (throw $t)) (br 0))) (nop) (i32.const 1) drop",
        charge(9)
    );
    let kind = refusal(&with_tag(&body));
    assert!(matches!(kind, VerifyErrorKind::Unpaid), "{kind:?}");
    accepted(&with_tag(&body.replace("(nop)", &charge(1))));
    // The label of a loop is its beginning, which has a charge.
    accepted(&with_tag(&format!("(loop $h {} (try_table (catch_all $h) (throw $t)))", charge(9))));
}

#[test]
fn a_legacy_handler_begins_without_credit() {
    // The text format does not have them any more: `try … catch_all … end`, filled up with `nop`s.
    let prepared = |handler: &str| {
        let text = module(&format!("(func {} (nop) (nop) (nop) (nop) {handler} (nop) (nop))", charge(9)));
        let mut wasm = wat::parse_str(text).expect("well-formed");
        let at = wasm.windows(4).position(|bytes| bytes == [1; 4]).expect("four times nop");
        wasm[at..at + 4].copy_from_slice(&[0x06, 0x40, 0x01, 0x19]);
        let end = wasm.windows(3).rposition(|bytes| bytes == [1, 1, 0x0b]).expect("the function's end");
        wasm[end + 1] = 0x0b;
        wasm
    };
    verify(&prepared("")).expect("an empty handler");
    verify(&prepared(&format!("{} (drop (i32.const 1))", charge(1)))).expect("a handler that pays");
    let kind = verify(&prepared("(drop (i32.const 1))")).expect_err("unpaid").kind;
    assert!(matches!(kind, VerifyErrorKind::Unpaid), "{kind:?}");
}

#[test]
fn errors_name_their_position() {
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
