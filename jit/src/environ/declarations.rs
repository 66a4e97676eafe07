//! The declarations of a module in the form in which they are kept with its code.
//!
//! They are the module's own sections, without the code and without custom sections except the names (debug
//! sections are kept separately: see [`debug`](crate::runtime::debug)). The reader is the same as for a whole
//! module. Nothing is validated again: the module was valid when it was compiled.
//!
//! A frame is a section's number, its length in 32 bits, and its content. The frames are not a WebAssembly
//! module, which would need a code section.

use wasmparser::{BinaryReader, Parser, Payload, SectionLimited};

use crate::environ::error::CompileError;
use crate::environ::features::FEATURES;
use crate::environ::module_info::{ModuleInfo, NAMES, read_section};
use crate::environ::names::Names;

/// The section number of custom sections. Only the names are kept.
const CUSTOM: u8 = 0;

/// Returns the imports that a module declares: module name and field name. For bytes that are malformed, or
/// not a module, it returns the imports that can be read.
pub fn declared_imports(wasm: &[u8]) -> impl Iterator<Item = (&str, &str)> {
    let sections = Parser::new(0).parse_all(wasm).map_while(Result::ok).filter_map(|payload| match payload {
        Payload::ImportSection(imports) => Some(imports),
        _ => None,
    });
    let imports = sections.take(1).flat_map(|imports| imports.into_imports().map_while(Result::ok));
    imports.map(|import| (import.module, import.name))
}

/// The number of a frame with a result of compiling: the function with the largest stack frame, and the size
/// of that.
const LARGEST_FRAME: u8 = 0xff;

/// The number of a frame that marks a prepared module.
const PREPARED: u8 = 0xfe;

/// Returns the declarations of a valid module, and the parts of its information that are not in its code.
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

/// Reads declarations; `None` if they are malformed.
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
            // The number of data segments, and sections that the engine does not need.
            _ => return Ok(()),
        },
    )
}
