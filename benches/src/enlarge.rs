//! Makes large modules that resemble real ones, because they consist of copies of a real one.

use wasm_encoder::{CodeSection, FunctionSection, Module, RawSection};
use wasmparser::{Parser, Payload};

/// Copies the functions of a module until it has about `bytes` bytes. The copies call and use what the originals do. Nothing calls
/// the copies, so the module behaves as before.
///
/// # Panics
/// If the bytes are not a module.
pub fn enlarge(wasm: &[u8], bytes: usize) -> Vec<u8> {
    let (mut types, mut bodies) = (Vec::new(), Vec::new());
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.expect("it is a module") {
            Payload::FunctionSection(section) => {
                types.extend(section.into_iter().map(|ty| ty.expect("it is a module")));
            }
            Payload::CodeSectionEntry(body) => {
                bodies.push(&wasm[body.range().start as usize..body.range().end as usize]);
            }
            _ => {}
        }
    }
    let code: usize = bodies.iter().map(|body| body.len()).sum();
    let copies = 1 + bytes.saturating_sub(wasm.len()).div_ceil(code);

    let mut module = Module::new();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.expect("it is a module") {
            Payload::FunctionSection(_) => {
                let mut functions = FunctionSection::new();
                (0..copies).flat_map(|_| &types).for_each(|&ty| {
                    functions.function(ty);
                });
                module.section(&functions);
            }
            Payload::CodeSectionStart { .. } => {
                let mut code = CodeSection::new();
                (0..copies).flat_map(|_| &bodies).for_each(|body| {
                    code.raw(body);
                });
                module.section(&code);
            }
            // Names and debug sections would no longer match.
            Payload::CustomSection(_) => {}
            section => {
                if let Some((id, range)) = section.as_section() {
                    let data = &wasm[range.start as usize..range.end as usize];
                    module.section(&RawSection { id, data });
                }
            }
        }
    }
    module.finish()
}
