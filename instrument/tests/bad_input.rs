//! Invalid and hostile input: one clear error, never a panic.

mod support;

use lunatic_instrument::abi::SECTION;
use lunatic_instrument::{
    Limit, MAX_MODULE_BYTES, ManifestError, Options, PrepareError, VerifyErrorKind, is_prepared, prepare,
    prepare_with_progress, refused_proposal, verify, verify_with_progress,
};
use support::{charges, prepared, with_cost, without};
use wasm_encoder::{
    CodeSection, EntityType, Function, FunctionSection, GlobalType, ImportSection, Instruction, Module,
    TypeSection, ValType,
};
use wasmparser::WasmFeatures;

fn refused(wasm: &[u8]) -> PrepareError {
    prepare(wasm, &Options::default()).expect_err("the module is not acceptable")
}

fn wasm(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("the test's module is well-formed")
}

/// A module of one function that is built instruction by instruction.
fn module_of(locals: u32, code: impl FnOnce(&mut Function)) -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([], []);
    let mut functions = FunctionSection::new();
    functions.function(0);
    let mut function = Function::new([(locals, wasm_encoder::ValType::I32)]);
    code(&mut function);
    function.instruction(&Instruction::End);
    let mut bodies = CodeSection::new();
    bodies.function(&function);
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&bodies);
    module.finish()
}

#[test]
fn bytes_that_are_not_wasm_are_reported_as_such() {
    for bytes in [&b""[..], b"\0as", b"#!/bin/sh\n", b"(module)", &[0xff; 100]] {
        assert!(matches!(refused(bytes), PrepareError::NotWasm), "{bytes:?}");
        assert!(matches!(verify(bytes).expect_err("no module").kind, VerifyErrorKind::NotWasm));
    }
}

#[test]
fn a_module_cut_off_anywhere_is_invalid() {
    let whole = wasm("(module (memory 1) (func (export \"f\") (loop (br 0))) (data (i32.const 0) \"text\"))");
    for length in 4..whole.len() {
        match refused_unless_whole(&whole[..length]) {
            None => {}
            Some(PrepareError::Invalid(error)) => {
                assert!(error.offset() as usize <= length, "{error} in {length} bytes");
            }
            Some(other) => panic!("{length} bytes: {other}"),
        }
    }
    let message = refused(&whole[..whole.len() - 2]).to_string();
    assert!(message.starts_with("invalid module: ") && message.contains("(at byte 0x"), "{message}");
}

/// A module may end after any section and be valid; otherwise returns the error.
fn refused_unless_whole(wasm: &[u8]) -> Option<PrepareError> {
    prepare(wasm, &Options::default()).err()
}

#[test]
fn an_invalid_module_is_refused_with_its_offset() {
    let mistyped = module_of(0, |code| {
        code.instruction(&Instruction::I32Const(1));
    });
    let message = refused(&mistyped).to_string();
    assert!(message.starts_with("invalid module: type mismatch"), "{message}");
    assert!(message.contains("(at byte 0x1b)"), "{message}");
}

#[test]
fn a_component_gets_an_error_that_names_the_target() {
    let component = wat::parse_str("(component (core module))").expect("well-formed");
    let message = refused(&component).to_string();
    assert_eq!(message, "this is a component, not a core module: build for wasm32-wasip1");
    assert!(matches!(verify(&component).expect_err("no module").kind, VerifyErrorKind::Component));
    assert!(!is_prepared(&component));
}

#[test]
fn unsupported_proposals_are_named() {
    for (text, name) in [
        ("(module (type $f (func)) (type $c (cont $f)))", "stack switching"),
        ("(module (global (shared i32) (i32.const 0)))", "shared-everything threads"),
    ] {
        let error = refused(&wasm(text));
        assert!(matches!(error, PrepareError::Unsupported { .. }), "{error}");
        let message = error.to_string().to_lowercase();
        assert!(message.contains(name) && message.contains("at byte 0x"), "{name}: {message}");
    }
}

#[test]
fn the_reserved_namespace_is_reserved() {
    for name in ["yield", "reductions", "anything"] {
        let text = format!("(module (import \"lunatic::metering\" \"{name}\" (func)))");
        let error = refused(&wasm(&text));
        assert!(
            matches!(&error, PrepareError::ReservedImport { name: found, .. } if found == name),
            "{error}"
        );
    }
    // The names can be used everywhere else.
    let text =
        "(module (import \"env\" \"yield\" (func)) (global (export \"reductions\") (mut i64) (i64.const 0)))";
    prepare(&wasm(text), &Options::default()).expect("nothing reserved is used");
}

#[test]
fn deep_nesting_takes_no_stack() {
    for opening in [
        Instruction::Block(wasm_encoder::BlockType::Empty),
        Instruction::Loop(wasm_encoder::BlockType::Empty),
        Instruction::TryTable(wasm_encoder::BlockType::Empty, [].as_slice().into()),
    ] {
        let depth = 200_000;
        let nested = module_of(0, |code| {
            for _ in 0..depth {
                code.instruction(&opening);
            }
            for _ in 0..depth {
                code.instruction(&Instruction::End);
            }
        });
        let charges = prepare(&nested, &Options::default()).expect("within the limits").stats.charges;
        assert_eq!(charges, if matches!(opening, Instruction::Loop(_)) { depth + 1 } else { 1 });
    }
}

#[test]
fn sizes_are_checked_before_anything_is_parsed() {
    let mut large = wasm("(module)");
    large.resize(MAX_MODULE_BYTES + 1, 0);
    let error = refused(&large);
    assert!(matches!(error, PrepareError::Limit { limit: Limit::ModuleBytes, .. }), "{error}");
}

#[test]
fn a_function_that_becomes_too_large_is_refused_with_its_name() {
    let loops = |count| {
        module_of(0, move |code| {
            for _ in 0..count {
                code.instruction(&Instruction::Loop(wasm_encoder::BlockType::Empty));
                code.instruction(&Instruction::End);
            }
        })
    };
    let error = refused(&loops(1_200_000));
    assert!(matches!(error, PrepareError::Limit { limit: Limit::FunctionBytes, .. }), "{error}");
    assert!(error.to_string().contains("7654321 bytes when it is prepared (at byte 0x"), "{error}");
    prepare(&loops(300_000), &Options::default()).expect("within the limits");
}

#[test]
fn large_tables_in_small_loops_are_not_copied() {
    let table = module_of(0, |code| {
        let block = wasm_encoder::BlockType::Empty;
        for _ in 0..2 {
            code.instruction(&Instruction::Loop(block));
        }
        code.instruction(&Instruction::I32Const(0));
        code.instruction(&Instruction::BrTable(vec![0; 1_000_000].into(), 1));
        for _ in 0..2 {
            code.instruction(&Instruction::End);
        }
    });
    let prepared = prepare(&table, &Options::default()).expect("within the limits");
    assert!(prepared.bytes.len() < table.len() + 1_000);
}

#[test]
fn many_locals_are_refused() {
    let error = refused(&module_of(50_001, |_| {}));
    assert!(matches!(error, PrepareError::Invalid(_)), "wasmparser's own limit: {error}");
    prepare(&module_of(50_000, |_| {}), &Options::default()).expect("within the limit");
}

#[test]
fn long_branches_out_of_deep_nesting_take_linear_time() {
    let deep = module_of(0, |code| {
        let depth = 9_000;
        for _ in 0..depth {
            code.instruction(&Instruction::Block(wasm_encoder::BlockType::Empty));
        }
        for _ in 0..300_000 {
            code.instruction(&Instruction::I32Const(0)).instruction(&Instruction::BrIf(depth));
        }
        for _ in 0..depth {
            code.instruction(&Instruction::End);
        }
    });
    prepare(&deep, &Options::default()).expect("within the limits");
}

#[test]
fn a_table_of_very_many_targets_is_prepared() {
    let table = module_of(0, |code| {
        code.instruction(&Instruction::Block(wasm_encoder::BlockType::Empty));
        code.instruction(&Instruction::I32Const(0));
        code.instruction(&Instruction::BrTable(vec![0; 1_000_000].into(), 1));
        code.instruction(&Instruction::End);
    });
    let prepared = prepare(&table, &Options::default()).expect("within the limits");
    assert_eq!(prepared.stats.bound, 2);
}

#[test]
fn preparing_is_idempotent() {
    let once = prepared(&wasm("(module (func (loop (br 0))))"), 50);
    let twice = prepare(&once, &Options::default()).expect("prepared as it should be");
    assert_eq!(twice.bytes, once);
    assert!(twice.stats.already_prepared);
    assert_eq!((twice.stats.functions, twice.stats.loops, twice.stats.charges), (1, 1, 2));
}

#[test]
fn a_prepared_module_edited_by_hand_is_refused_by_both() {
    let module = prepared(&wasm("(module (func $spin (loop (br 0))))"), 10_000);
    for charge in charges(&module) {
        for edited in [without(&module, charge.range()), with_cost(&module, &charge, 0)] {
            let error = verify(&edited).expect_err("edited").to_string();
            assert!(error.contains("in function 1 \"spin\", at byte 0x"), "{error}");
            let error = refused(&edited);
            assert!(matches!(error, PrepareError::Tampered(_)), "{error}");
        }
    }
}

#[test]
fn a_mark_alone_does_not_make_a_module_prepared() {
    let mut unprepared = wasm("(module (func (loop (br 0))))");
    let name = SECTION.as_bytes();
    let manifest = [3, 1, 1, 1, 1];
    unprepared.extend([0, (1 + name.len() + manifest.len()) as u8, name.len() as u8]);
    unprepared.extend(name);
    unprepared.extend(manifest);
    assert!(is_prepared(&unprepared));
    let error = refused(&unprepared);
    assert!(matches!(error, PrepareError::Tampered(_)), "{error}");
}

#[test]
fn another_version_gets_an_error_that_says_to_prepare_again() {
    let mut module = prepared(&wasm("(module)"), 10_000);
    let length = module.len();
    // The manifest is the end of the file: two versions of a byte each, and three numbers of two bytes, one
    // byte and one byte.
    assert_eq!(module[length - 6..], [3, 1, 0x90, 0x4e, 0, 0]);
    module[length - 6] = 1;
    let error = verify(&module).expect_err("another version");
    assert!(matches!(error.kind, VerifyErrorKind::Manifest(ManifestError::FormatVersion(1))), "{error}");
    assert!(error.to_string().contains("prepare it again with lunatic-prep"), "{error}");
}

#[test]
fn positional_sections_are_removed_and_listed() {
    let text = r#"(module (func)
        (@custom "producers" "\00") (@custom ".debug_loc" "places") (@custom "lunatic.debug_info" "not ours")
        (@custom "lunatic.offsets" "not ours") (@custom "target_features" "\00")
        (@custom "linking" "\02") (@custom "mine" "\01\02\03"))"#;
    let prepared = prepare(&wasm(text), &Options::default()).expect("acceptable");
    assert_eq!(
        prepared.stats.dropped_sections,
        [".debug_loc", "lunatic.debug_info", "lunatic.offsets", "linking"]
    );
    let text = wasmprinter::print_bytes(&prepared.bytes).expect("well-formed");
    assert!(text.contains(r#"(@custom "mine" (after code) "\01\02\03")"#), "{text}");
    assert!(text.contains("target_features") && !text.contains("places") && !text.contains("ours"), "{text}");
}

/// Needs exceptions and, later, an atomic access. Proposals that build on both, and on much more, must not be
/// named.
#[test]
fn exactly_the_needed_proposals_are_named() {
    let needs = |features: &[&str]| {
        let part = |name: &&str| match *name {
            "exceptions" => "(tag $e) (func (throw $e))",
            "threads" => "(memory 1) (func (drop (i32.atomic.load (i32.const 0))))",
            "memory64" => "(memory i64 1)",
            "gc" => "(func (drop (ref.i31 (i32.const 1))))",
            other => panic!("{other}"),
        };
        wat::parse_str(format!("(module {})", features.iter().map(part).collect::<String>())).unwrap()
    };
    for features in [
        &["exceptions"][..],
        &["threads"],
        &["gc"],
        &["exceptions", "threads"],
        &["memory64", "gc"],
        &["exceptions", "threads", "memory64"],
    ] {
        let proposals = refused_proposal(&needs(features), WasmFeatures::WASM2 | WasmFeatures::MULTI_MEMORY);
        let proposals = proposals.expect("it is not valid without");
        let mut names = proposals.names().to_vec();
        names.sort_unstable();
        let mut expected = features.to_vec();
        expected.sort_unstable();
        assert_eq!(names, expected);
    }
    let two = refused_proposal(&needs(&["exceptions", "threads"]), WasmFeatures::WASM2);
    assert_eq!(two.unwrap().to_string(), "exceptions and threads");
    let invalid = wat::parse_str("(module (func (result i32)))").unwrap();
    assert_eq!(refused_proposal(&invalid, WasmFeatures::WASM2), None);
}

/// Preparing adds a type and an import, for which there has to be room. Such modules are valid, and refused
/// with the limit that they have reached.
#[test]
fn modules_at_the_limits_are_refused_with_the_limit() {
    const MOST: u32 = 1_000_000;
    let mut types = TypeSection::new();
    for _ in 0..MOST {
        types.ty().function([], []);
    }
    let mut many_types = Module::new();
    many_types.section(&types);

    let mut one_type = TypeSection::new();
    one_type.ty().function([ValType::I32], []);
    let mut imports = ImportSection::new();
    // As many as the limit on the size of their types allows.
    for _ in 0..MOST - 2 {
        imports.import(
            "",
            "",
            EntityType::Global(GlobalType { val_type: ValType::I32, mutable: false, shared: false }),
        );
    }
    let mut many_imports = Module::new();
    many_imports.section(&one_type).section(&imports);

    let (mut functions, mut code) = (FunctionSection::new(), CodeSection::new());
    let mut empty = Function::new([]);
    empty.instruction(&Instruction::End);
    for _ in 0..MOST {
        functions.function(0);
        code.function(&empty);
    }
    let mut many_functions = Module::new();
    many_functions.section(&one_type).section(&functions).section(&code);

    for (module, limit) in
        [(many_types, Limit::Types), (many_imports, Limit::TypeSize), (many_functions, Limit::Functions)]
    {
        let error = refused(&module.finish());
        assert!(matches!(error, PrepareError::Limit { limit: found, .. } if found == limit), "{error}");
    }
}

#[test]
fn preparing_stops_when_the_callback_asks_for_it() {
    let module = wasm(&format!("(module {})", "(func (loop (br 0)))".repeat(100)));
    let prepared = prepare(&module, &Options::default()).unwrap().bytes;
    // At the beginning, in the middle, and in the second pass, which verifies.
    for left in [0, 50, 150] {
        let mut calls = 0;
        let mut progress = |_, _| {
            calls += 1;
            calls <= left
        };
        let error = prepare_with_progress(&module, &Options::default(), &mut progress).unwrap_err();
        assert!(matches!(error, PrepareError::Stopped), "{error}");
        assert_eq!(calls, left + 1);
    }
    let error = verify_with_progress(&prepared, &mut |_| false).unwrap_err();
    assert!(matches!(error.kind, VerifyErrorKind::Stopped), "{error}");
}

/// What an engine does not support is found in the first pass.
#[test]
fn an_unwanted_proposal_is_refused_like_an_unknown_one() {
    let module = wasm("(module (func (block $out (try_table (catch_all $out)))))");
    prepare(&module, &Options::default()).unwrap();
    let mut options = Options::default();
    options.features = WasmFeatures::WASM2;
    let error = prepare(&module, &options).unwrap_err();
    assert!(error.to_string().starts_with("unsupported proposal: exceptions ("), "{error}");
}
