//! What a module declares, in the form in which it is kept beside its code.
//!
//! These are the module's own sections, as they are, without the code and without custom sections but the names
//! (debug sections are kept apart: see [`crate::debug`]). They
//! are read by the same reader as a whole module is; nothing is validated, because the module was when it was compiled.
//!
//! A frame is the section's number, its length in 32 bits, and its content. It is not a WebAssembly module: that would
//! need a code section.

use wasmparser::{BinaryReader, Parser, Payload, SectionLimited};

use crate::environ::error::CompileError;
use crate::environ::features::FEATURES;
use crate::environ::module_info::{ModuleInfo, NAMES, read_section};
use crate::environ::names::Names;

/// The number of custom sections; only the names are kept.
const CUSTOM: u8 = 0;

/// The imports that a module declares: module and name. What is not a module, or malformed, declares as many as can be
/// read.
pub fn declared_imports(wasm: &[u8]) -> impl Iterator<Item = (&str, &str)> {
    let sections = Parser::new(0).parse_all(wasm).map_while(Result::ok).filter_map(|payload| match payload {
        Payload::ImportSection(imports) => Some(imports),
        _ => None,
    });
    let imports = sections.take(1).flat_map(|imports| imports.into_imports().map_while(Result::ok));
    imports.map(|import| (import.module, import.name))
}

/// What compiling found out: the function with the largest frame, and its size.
const LARGEST_FRAME: u8 = 0xff;

/// The mark of a prepared module.
const PREPARED: u8 = 0xfe;

/// The declarations of a valid module, and what else of its shape is not in its code.
pub(crate) fn extract(wasm: &[u8], info: &ModuleInfo) -> Vec<u8> {
    let mut frames = Vec::new();
    if let Some((function, size)) = info.largest_frame {
        push(&mut frames, LARGEST_FRAME, [function, size].map(u32::to_le_bytes).as_flattened());
    }
    if info.is_prepared {
        push(&mut frames, PREPARED, &[]);
    }
    for payload in Parser::new(0).parse_all(wasm).map_while(Result::ok) {
        match &payload {
            Payload::CustomSection(section) if section.name() == NAMES => {
                push(&mut frames, CUSTOM, section.data());
            }
            Payload::CustomSection(_) | Payload::CodeSectionStart { .. } => {}
            section => {
                if let Some((number, range)) = section.as_section() {
                    push(&mut frames, number, &wasm[range.start as usize..range.end as usize]);
                }
            }
        }
    }
    frames
}

fn push(frames: &mut Vec<u8>, number: u8, content: &[u8]) {
    frames.push(number);
    frames.extend_from_slice(&(content.len() as u32).to_le_bytes());
    frames.extend_from_slice(content);
}

/// Reads declarations again; `None` if they are malformed.
pub(crate) fn read(mut frames: &[u8]) -> Option<ModuleInfo> {
    let mut info = ModuleInfo::default();
    while let Some((&number, rest)) = frames.split_first() {
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (content, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        frames = rest;
        read_frame(&mut info, number, content).ok()?;
    }
    Some(info)
}

fn read_frame(info: &mut ModuleInfo, number: u8, content: &[u8]) -> Result<(), CompileError> {
    let reader = BinaryReader::new_features(content, 0, FEATURES);
    read_section(
        info,
        match number {
            CUSTOM => {
                info.names = Names::new(content);
                return Ok(());
            }
            PREPARED => {
                info.is_prepared = true;
                return Ok(());
            }
            LARGEST_FRAME => {
                let (numbers, _) = content.as_chunks();
                let [function, size] =
                    [0, 1].map(|at| numbers.get(at).copied().map_or(0, u32::from_le_bytes));
                info.largest_frame = Some((function, size));
                return Ok(());
            }
            1 => Payload::TypeSection(SectionLimited::new(reader)?),
            2 => Payload::ImportSection(SectionLimited::new(reader)?),
            3 => Payload::FunctionSection(SectionLimited::new(reader)?),
            4 => Payload::TableSection(SectionLimited::new(reader)?),
            5 => Payload::MemorySection(SectionLimited::new(reader)?),
            6 => Payload::GlobalSection(SectionLimited::new(reader)?),
            7 => Payload::ExportSection(SectionLimited::new(reader)?),
            8 => {
                info.start = Some(reader.clone().read_var_u32()?);
                return Ok(());
            }
            9 => Payload::ElementSection(SectionLimited::new(reader)?),
            11 => Payload::DataSection(SectionLimited::new(reader)?),
            // A count of data segments, and what is of no interest to the engine.
            _ => return Ok(()),
        },
    )
}
