//! The last step of preparing: from walrus' bytes to the file.
//!
//! walrus writes `else` for every `if`, whether it has a second arm or not. In a charge that is one byte of
//! hundreds of thousands, and not the sequence that [`crate::abi`] promises; in the module's own code it is a
//! change nobody asked for. So every `else` directly followed by its `end` is taken out, which never changes what
//! a module does: an `if` whose second arm may be empty is valid without it. Then the manifest is appended.
//! Everything else is copied byte for byte.

use wasm_encoder::{CodeSection, Module, RawSection};
use wasmparser::{FunctionBody, Operator, Parser, Payload, Result};

use crate::container::Manifest;

/// Gives a rewritten module its final form.
pub(crate) fn finish(wasm: &[u8], manifest: &Manifest) -> Result<Vec<u8>> {
    let mut module = Module::new();
    let mut code = CodeSection::new();
    let mut bodies_left = 0;
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload?;
        match &payload {
            Payload::CodeSectionStart { count, .. } => bodies_left = *count,
            Payload::CodeSectionEntry(body) => {
                code.raw(&without_empty_elses(body)?);
                bodies_left -= 1;
                if bodies_left == 0 {
                    module.section(&code);
                }
            }
            _ => copy_section(&mut module, wasm, &payload),
        }
    }
    manifest.append_to(&mut module);
    Ok(module.finish())
}

fn copy_section(module: &mut Module, wasm: &[u8], payload: &Payload<'_>) {
    if let Some((id, range)) = payload.as_section() {
        // The parser's ranges lie within the bytes it was given, whose length is a usize.
        module.section(&RawSection { id, data: &wasm[range.start as usize..range.end as usize] });
    }
}

fn without_empty_elses(body: &FunctionBody<'_>) -> Result<Vec<u8>> {
    let bytes = body.as_bytes();
    let base = body.range().start;
    let mut shorter = Vec::with_capacity(bytes.len());
    let mut copied = 0;
    let mut last_else = None;
    for operator in body.get_operators_reader()?.into_iter_with_offsets() {
        let (operator, offset) = operator?;
        // Offsets within a body fit a usize, as the body does.
        let position = (offset - base) as usize;
        if let (Operator::End, Some(position)) = (&operator, last_else) {
            shorter.extend_from_slice(&bytes[copied..position]);
            copied = position + 1;
        }
        last_else = matches!(operator, Operator::Else).then_some(position);
    }
    shorter.extend_from_slice(&bytes[copied..]);
    Ok(shorter)
}
