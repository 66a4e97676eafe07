//! The offset map is exact for every operator.

mod support;

use std::collections::HashMap;
use std::mem::{Discriminant, discriminant};

use arbitrary::Unstructured;
use wasm_encoder::{CustomSection, Encode, Section};
use wasmparser::{Operator, Parser, Payload};

use lunatic_instrument::abi::{CODE_START_SECTION, OFFSETS_SECTION};
use lunatic_instrument::{Options, original_offset, prepare};

/// Adds a debug section to a module.
fn with_debug_section(mut wasm: Vec<u8>) -> Vec<u8> {
    let section = CustomSection { name: ".debug_line".into(), data: b"lines"[..].into() };
    wasm.push(section.id());
    section.encode(&mut wasm);
    wasm
}

fn custom<'a>(wasm: &'a [u8], name: &str) -> Option<&'a [u8]> {
    Parser::new(0).parse_all(wasm).find_map(|payload| match payload.expect("well-formed") {
        Payload::CustomSection(section) if section.name() == name => Some(section.data()),
        _ => None,
    })
}

/// Returns where the content of the code section begins.
fn code_start(wasm: &[u8]) -> u8 {
    let start = Parser::new(0).parse_all(wasm).find_map(|payload| match payload.expect("well-formed") {
        Payload::CodeSectionStart { unchecked_range, .. } => Some(unchecked_range.start as u8),
        _ => None,
    });
    start.expect("it has code")
}

/// Returns every operator of a module with its offset in the content of the code section.
fn operators(wasm: &[u8]) -> Vec<(u32, Discriminant<Operator<'_>>)> {
    let mut start = 0;
    let mut operators = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.expect("well-formed") {
            Payload::CodeSectionStart { unchecked_range, .. } => start = unchecked_range.start,
            Payload::CodeSectionEntry(body) => {
                let reader = body.get_operators_reader().expect("well-formed");
                for operator in reader.into_iter_with_offsets() {
                    let (operator, offset) = operator.expect("well-formed");
                    operators.push(((offset - start) as u32, discriminant(&operator)));
                }
            }
            _ => {}
        }
    }
    operators
}

/// Checks that every operator is mapped to one of its kind, and a charge to its position. Returns their
/// number. In unrolled loops, that holds for all operators except those that connect the copies.
fn check(wasm: &[u8], unroll: bool) -> usize {
    let mut options = Options::default();
    options.unroll = unroll;
    let prepared = prepare(wasm, &options).expect("acceptable").bytes;
    let Some(map) = custom(&prepared, OFFSETS_SECTION) else { return 0 };
    let old: HashMap<_, _> = operators(wasm).into_iter().collect();
    let new = operators(&prepared);
    let code = new.first().map_or(0, |operator| operator.0);
    // The charges' offsets are from the beginning of the file; the first operator is the first charge's.
    let charges = support::charges(&prepared);
    let file = charges.first().map_or(0, |charge| charge.range().start) as u32 - code;
    let mut inserted = Vec::new();
    for charge in &charges {
        let range = charge.range().start as u32 - file..charge.range().end as u32 - file;
        let (before, after) = (original_offset(map, range.start - 1), original_offset(map, range.end));
        for operator in &charge.operators {
            let at = original_offset(map, operator.start as u32 - file);
            assert!(before <= at && at <= after, "{range:?}: {before:?} {at:?} {after:?}");
        }
        inserted.push(range);
    }
    let [block, end, branch] = [
        Operator::Block { blockty: wasmparser::BlockType::Empty },
        Operator::End,
        Operator::Br { relative_depth: 0 },
    ]
    .map(|operator| discriminant(&operator));
    let own = new.iter().filter(|(offset, kind)| {
        let holds_copies = unroll && [block, end, branch].contains(kind);
        !holds_copies && !inserted.iter().any(|range| range.contains(offset))
    });
    own.map(|(offset, kind)| {
        let origin = original_offset(map, *offset).expect("every operator was somewhere");
        assert_eq!(old.get(&origin), Some(kind), "{offset} was at {origin}");
    })
    .count()
}

#[test]
fn every_operator_maps_to_its_original_offset() {
    let mut checked = 0;
    for seed in 0..150 {
        let bytes: Vec<u8> = support::noise(seed, 4096);
        let config = wasm_smith::Config {
            compact_imports_enabled: false,
            min_funcs: 3,
            // So that the counter is the only global that changes.
            max_globals: 0,
            ..wasm_smith::Config::default()
        };
        let module = wasm_smith::Module::new(config, &mut Unstructured::new(&bytes)).expect("enough bytes");
        let wasm = with_debug_section(module.to_bytes());
        checked += check(&wasm, false) + check(&wasm, true);
    }
    assert!(checked > 10_000, "the generator still makes code: {checked}");
}

/// Replaces the bodies of a module, to write operands as linkers leave them, in five bytes.
fn with_bodies(text: &str, bodies: &[&[u8]]) -> Vec<u8> {
    let short = wat::parse_str(text).expect("well-formed");
    let mut module = wasm_encoder::Module::new();
    for payload in Parser::new(0).parse_all(&short) {
        let payload = payload.expect("well-formed");
        if let Payload::CodeSectionStart { .. } = payload {
            let mut code = wasm_encoder::CodeSection::new();
            bodies.iter().for_each(|body| {
                code.raw(body);
            });
            module.section(&code);
        } else if let Some((id, range)) = payload.as_section() {
            let data = &short[range.start as usize..range.end as usize];
            module.section(&wasm_encoder::RawSection { id, data });
        }
    }
    module.finish()
}

#[test]
fn padded_operands_are_mapped() {
    let text = r#"(module
        (func (param i32) (drop (local.get 0)) (nop))
        (func (loop (call 0 (i32.const 1)) (if (i32.const 0) (then (call 0 (i32.const 2))))) (unreachable)))"#;
    let call = b"\x10\x80\x80\x80\x80\0";
    let parts: [&[u8]; 7] = [
        b"\0\x03\x40\x41\x81\x80\x80\x80\0",
        call,
        b"\x41\x80\x80\0\x04\x40\x41\x02",
        call,
        b"\x0b\x0b",
        b"\0",
        b"\x0b",
    ];
    let wasm = with_bodies(text, &[b"\0\x20\0\x1a\x01\x0b", &parts.concat()]);
    assert_eq!(check(&with_debug_section(wasm), false), 4 + 11);
}

#[test]
fn a_branch_of_a_copy_is_mapped_after_a_shortened_operand() {
    let body = b"\0\x03\x40\x41\x81\x80\x80\x80\0\x0d\0\x0b\x0b";
    let wasm = with_bodies("(module (func (loop (br_if 0 (i32.const 1)))))", &[body]);
    // The loop, and a constant and a branch in each of its two copies.
    assert_eq!(check(&with_debug_section(wasm), true), 1 + 2 * 2);
}

#[test]
fn every_module_with_code_has_the_map_and_the_original_start() {
    let wasm = wat::parse_str("(module (func (loop (br 0))))").expect("well-formed");
    let prepared = prepare(&wasm, &Options::default()).expect("acceptable").bytes;
    assert!(custom(&prepared, OFFSETS_SECTION).is_some());
    // Below 128, so a single byte.
    let start = code_start(&wasm);
    assert_eq!(custom(&prepared, CODE_START_SECTION), Some(&[start][..]));
    let nothing = prepare(&wat::parse_str("(module)").expect("well-formed"), &Options::default());
    assert!(custom(&nothing.expect("acceptable").bytes, OFFSETS_SECTION).is_none());
    let with = prepare(&with_debug_section(wasm), &Options::default()).expect("acceptable");
    assert_eq!(custom(&with.bytes, "lunatic.debug_line"), Some(&b"lines"[..]));
    assert_eq!(custom(&with.bytes, ".debug_line"), None);
    assert!(with.stats.dropped_sections.is_empty());
    // The code is the same.
    assert_eq!(operators(&with.bytes), operators(&prepared));
}
