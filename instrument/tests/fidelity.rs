//! Everything except the charges is preserved, as an independent reader sees it: walrus takes both modules
//! apart into items that refer to each other, so a wrong index shows as another item.

mod support;

use std::collections::BTreeMap;

use arbitrary::Unstructured;
use walrus::{ExportItem, GlobalKind, ImportKind, Module};
use wasm_smith::Config;

use lunatic_instrument::abi::METERING_MODULE;

/// A module as items and their names, without indices.
#[derive(Debug, PartialEq, Eq)]
struct Items {
    imports: Vec<String>,
    exports: BTreeMap<String, String>,
    functions: Vec<String>,
    globals: Vec<String>,
    elements: Vec<String>,
    start: Option<String>,
}

impl Items {
    fn of(wasm: &[u8]) -> Items {
        let mut config = walrus::ModuleConfig::new();
        config.generate_synthetic_names_for_anonymous_items(false);
        let module = config.parse(wasm).expect("walrus reads it");
        let is_ours = |import: &walrus::Import| import.module == METERING_MODULE;
        let ours = |id| module.imports.iter().any(|import| is_ours(import) && has_function(import, id));
        let function = |id| {
            let function = module.funcs.get(id);
            format!("{:?} {}", function.name, signature(&module, function.ty()))
        };
        let global = |id| {
            let global = module.globals.get(id);
            let kind = match &global.kind {
                GlobalKind::Import(_) => "imported".to_owned(),
                GlobalKind::Local(walrus::ConstExpr::RefFunc(id)) => function(*id),
                GlobalKind::Local(walrus::ConstExpr::Value(value)) => format!("{value:?}"),
                GlobalKind::Local(_) => "computed".to_owned(),
            };
            format!("{:?} {} {} {kind}", global.name, global.ty, global.mutable)
        };
        let imports = module.imports.iter().filter(|import| !is_ours(import)).map(|import| {
            let kind = match import.kind {
                ImportKind::Function(id) => function(id),
                ImportKind::Global(id) => global(id),
                ImportKind::Table(_) => "table".to_owned(),
                ImportKind::Memory(_) => "memory".to_owned(),
                ImportKind::Tag(_) => "tag".to_owned(),
            };
            format!("{} {} {kind}", import.module, import.name)
        });
        let exports = module.exports.iter().map(|export| {
            let item = match export.item {
                ExportItem::Function(id) => function(id),
                ExportItem::Global(id) => global(id),
                ExportItem::Table(_) => "table".to_owned(),
                ExportItem::Memory(_) => "memory".to_owned(),
                ExportItem::Tag(_) => "tag".to_owned(),
            };
            (export.name.clone(), item)
        });
        let elements = module.elements.iter().map(|element| match &element.items {
            walrus::ElementItems::Functions(ids) => {
                format!("{:?}", ids.iter().map(|&id| function(id)).collect::<Vec<_>>())
            }
            walrus::ElementItems::Expressions(ty, expressions) => format!("{ty:?} {}", expressions.len()),
        });
        let functions = module.funcs.iter().map(walrus::Function::id).filter(|&id| !ours(id));
        let globals = module.globals.iter().map(walrus::Global::id);
        Items {
            imports: imports.collect(),
            exports: exports.collect(),
            functions: functions.map(function).collect(),
            globals: globals.map(global).collect(),
            elements: elements.collect(),
            start: module.start.map(function),
        }
    }
}

fn has_function(import: &walrus::Import, id: walrus::FunctionId) -> bool {
    matches!(import.kind, ImportKind::Function(other) if other == id)
}

fn signature(module: &Module, ty: walrus::TypeId) -> String {
    let ty = module.types.get(ty);
    format!("{:?} -> {:?}", ty.params(), ty.results())
}

fn check(wasm: &[u8]) -> Items {
    let before = Items::of(wasm);
    for unroll in [false, true] {
        assert_eq!(Items::of(&support::prepared_with(wasm, 10_000, unroll)), before);
    }
    before
}

#[test]
fn items_and_their_names_are_preserved() {
    let text = r#"(module $whole
        (import "env" "host" (func $host (param i32)))
        (import "env" "base" (global $base i32))
        (global $own (mut i32) (global.get $base))
        (global $callback funcref (ref.func $second))
        (table $table 4 funcref)
        (memory $memory 1)
        (elem (i32.const 0) $host $first $second)
        (elem funcref (ref.func $second) (ref.null func))
        (export "own" (global $own))
        (export "run" (func $second))
        (start $first)
        (func $first (call $host (global.get $own)))
        (func $second (param $left i32) (param $right i64) (result i32)
            (loop $again (br_if $again (local.get $left)))
            (global.set $own (i32.const 1)) (local.get $left)))"#;
    let items = check(&wat::parse_str(text).expect("well-formed"));
    assert!(items.exports["run"].contains("second"), "{items:?}");
    assert!(items.start.is_some_and(|start| start.contains("first")));
}

#[test]
fn random_modules_are_preserved() {
    let (mut functions, mut elements) = (0, 0);
    for seed in 0..150 {
        let bytes = support::noise(seed, 4096);
        // What walrus does not support.
        let config = Config {
            exceptions_enabled: false,
            gc_enabled: false,
            compact_imports_enabled: false,
            custom_page_sizes_enabled: false,
            memory64_enabled: false,
            threads_enabled: false,
            wide_arithmetic_enabled: false,
            extended_const_enabled: false,
            min_funcs: 3,
            ..Config::default()
        };
        let module = wasm_smith::Module::new(config, &mut Unstructured::new(&bytes)).expect("enough bytes");
        let items = check(&module.to_bytes());
        functions += items.functions.len();
        elements += items.elements.len();
    }
    assert!(functions > 250 && elements > 20, "the generator still makes items: {functions}, {elements}");
}

#[test]
fn sections_without_indices_are_the_same_bytes() {
    let text = r#"(module
        (@custom "first" (before type) "\00\01")
        (@producers (language "Rust" "1.95") (processed-by "rustc" "1.95"))
        (func $f) (memory 1) (data (i32.const 0) "data")
        (@custom "target_features" "\01+\0ebulk-memory-opt") (@custom "build_id" "\04abcd"))"#;
    let wasm = wat::parse_str(text).expect("well-formed");
    let customs = |wasm: &[u8]| -> Vec<(String, Vec<u8>)> {
        let payloads =
            wasmparser::Parser::new(0).parse_all(wasm).map(|payload| payload.expect("well-formed"));
        let sections = payloads.filter_map(|payload| match payload {
            wasmparser::Payload::CustomSection(section) => {
                Some((section.name().to_owned(), section.data().to_vec()))
            }
            _ => None,
        });
        sections.collect()
    };
    let mut after = customs(&support::prepared(&wasm, 10_000));
    const ADDED: [&str; 4] =
        ["lunatic.prep", "lunatic.code_start", "lunatic.offsets", "metadata.code.branch_hint"];
    after.retain(|(name, _)| !ADDED.contains(&name.as_str()));
    // "name" contains the index of the function.
    let is_name = |section: &&(String, Vec<u8>)| section.0 == "name";
    assert_eq!(after.iter().filter(is_name).count(), 1);
    let mut before = customs(&wasm);
    assert_eq!(before.len(), 5);
    before.retain(|section| !is_name(&section));
    after.retain(|section| !is_name(&section));
    assert_eq!(after, before);
}

#[test]
fn labels_keep_their_names() {
    let text = r#"(module (func $f (param i32)
        (block $out (loop $again (if $choice (local.get 0) (then (br $out))) (call $f (i32.const 1)) (br $again)))
        (block (loop $short (block $inside (br_if $inside (local.get 0))) (br_if $short (local.get 0))))))"#;
    let wasm = wat::parse_str(text).expect("well-formed");
    let labels = |wasm: &[u8]| {
        let text = wasmprinter::print_bytes(wasm).expect("well-formed");
        let lines = text.lines().map(|line| line.trim().split(" ;;").next().unwrap_or_default().to_owned());
        lines
            .filter(|line| line.contains('$') && !line.starts_with("(func") && !line.starts_with("call"))
            .collect::<Vec<_>>()
    };
    let before = labels(&wasm);
    assert_eq!(before.len(), 5 + 4, "{before:?}");
    assert_eq!(labels(&support::prepared_with(&wasm, 10_000, false)), before);
    // The short loop is there twice, and so is its inner block.
    let unrolled = labels(&support::prepared(&wasm, 10_000));
    assert_eq!(unrolled.iter().filter(|line| line.starts_with("block $inside")).count(), 2, "{unrolled:?}");
    assert!(unrolled.iter().any(|line| line == "loop $short"), "{unrolled:?}");
}

#[test]
fn branch_hints_stay_with_their_branches() {
    let text = r#"(module (func $f (param i32)
        (@metadata.code.branch_hint "\01") (if (local.get 0) (then (call $f (i32.const 1))))
        (block (@metadata.code.branch_hint "\00") (br_if 0 (local.get 0)) (call $f (i32.const 2)))
        (loop (@metadata.code.branch_hint "\01") (br_if 0 (local.get 0)))))"#;
    let prepared = support::prepared(&wat::parse_str(text).expect("well-formed"), 10_000);
    let text = wasmprinter::print_bytes(&prepared).expect("well-formed");
    let mut hints = Vec::new();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    for pair in lines.windows(2) {
        if let Some(hint) = pair[0].strip_prefix("(@metadata.code.branch_hint ") {
            hints.push((
                hint.trim_matches(&['"', '\\', ')'][..]),
                pair[1].split(' ').next().unwrap_or_default(),
            ));
        }
    }
    // The loop is there twice.
    let expected = [("01", "if"), ("00", "br_if"), ("01", "br_if"), ("01", "br_if")];
    assert_eq!(hints, expected, "{text}");
}
