//! The last step of preparing: from walrus' bytes to the file.
//!
//! walrus writes `else` for every `if`, whether it has a second arm or not. In a charge that is one byte of
//! hundreds of thousands, and not the sequence that [`crate::abi`] promises; in the module's own code it is a
//! change nobody asked for. So every `else` directly followed by its `end` is taken out, which never changes what
//! a module does: an `if` whose second arm may be empty is valid without it. Then the debug sections are put back,
//! with the map that they need, and the manifest is appended. Everything else is copied byte for byte.

use wasm_encoder::{CodeSection, Encode, Module, RawSection};
use wasmparser::{FunctionBody, Operator, Parser, Payload, Result};

use crate::abi::OFFSETS_SECTION;
use crate::container::Manifest;
use crate::origin::{DebugSections, OffsetMap};
use crate::rewrite::{Moved, Rewritten};

/// Gives a rewritten module its final form.
pub(crate) fn finish(
    rewritten: &Rewritten,
    debug: Option<&DebugSections<'_>>,
    manifest: &Manifest,
) -> Result<Vec<u8>> {
    let wasm = &rewritten.bytes;
    let mut module = Module::new();
    let mut code = CodeSection::new();
    let mut origins = debug.map(|debug| Origins::new(&rewritten.operators, debug.code_start));
    let mut bodies_left = 0;
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload?;
        match &payload {
            Payload::CodeSectionStart { count, .. } => {
                bodies_left = *count;
                origins.iter_mut().for_each(|origins| origins.begin(*count));
            }
            Payload::CodeSectionEntry(body) => {
                let elses = empty_elses(body)?;
                let shorter = without(body.as_bytes(), &elses);
                code.raw(&shorter);
                origins.iter_mut().for_each(|origins| origins.body(body, &elses, shorter.len()));
                bodies_left -= 1;
                if bodies_left == 0 {
                    module.section(&code);
                }
            }
            Payload::CustomSection(section) if section.name() == OFFSETS_SECTION => {}
            _ => copy_section(&mut module, wasm, &payload),
        }
    }
    if let (Some(debug), Some(origins)) = (debug, origins) {
        debug.append_to(&mut module, origins.map);
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

/// The positions in a body of each `else` that is followed by its `end`, in order.
fn empty_elses(body: &FunctionBody<'_>) -> Result<Vec<usize>> {
    let base = body.range().start;
    let mut elses = Vec::new();
    let mut last_else = None;
    for operator in body.get_operators_reader()?.into_iter_with_offsets() {
        let (operator, offset) = operator?;
        if let (Operator::End, Some(position)) = (&operator, last_else) {
            elses.push(position);
        }
        // Offsets within a body fit a usize, as the body does.
        last_else = matches!(operator, Operator::Else).then_some((offset - base) as usize);
    }
    Ok(elses)
}

/// The bytes without those at some positions.
fn without(bytes: &[u8], positions: &[usize]) -> Vec<u8> {
    let mut shorter = Vec::with_capacity(bytes.len());
    let mut copied = 0;
    for &position in positions {
        shorter.extend_from_slice(&bytes[copied..position]);
        copied = position + 1;
    }
    shorter.extend_from_slice(&bytes[copied..]);
    shorter
}

/// Makes the map from the final code to the original one, body after body.
struct Origins<'a> {
    /// Those that are still to come.
    operators: &'a [Moved],
    /// Where the original code began.
    code_start: u32,
    /// How many bytes of the final code section are written.
    written: u32,
    map: OffsetMap,
}

impl<'a> Origins<'a> {
    fn new(operators: &'a [Moved], code_start: u32) -> Origins<'a> {
        Origins { operators, code_start, written: 0, map: OffsetMap::default() }
    }

    /// Notes how many bodies there will be.
    fn begin(&mut self, bodies: u32) {
        self.written = encoded_length(bodies);
    }

    /// Notes a body, the positions of what was taken out of it, and its final length. Lengths in a module fit 32 bits.
    fn body(&mut self, body: &FunctionBody<'_>, taken_out: &[usize], length: usize) {
        let range = body.range();
        let here = self.operators.partition_point(|operator| u64::from(operator.to) < range.end);
        let (here, rest) = self.operators.split_at(here);
        self.operators = rest;
        let start = self.written + encoded_length(length as u32);
        // What comes before its first operator is the charge.
        if let Some(first) = here.first() {
            self.map.begin_run(start, first.from - self.code_start);
        }
        let mut taken_out = taken_out.iter().peekable();
        let mut shorter_by = 0;
        for operator in here {
            let position = operator.to - range.start as u32;
            while taken_out.next_if(|&&taken| taken < position as usize).is_some() {
                shorter_by += 1;
            }
            self.map.push(start + position - shorter_by, operator.from - self.code_start);
        }
        self.written = start + length as u32;
    }
}

/// How many bytes a number takes as a LEB128.
fn encoded_length(number: u32) -> u32 {
    let mut bytes = Vec::new();
    number.encode(&mut bytes);
    bytes.len() as u32
}
