//! The debug sections of a module in the form in which they are kept.
//!
//! ```text
//! where the code section's content begins 4 │ for each section: number 1, length 4, content
//! ```
//!
//! A section's number is its index in [`DEBUG_SECTIONS`]. After those come the offset map of a prepared
//! module, and where the original code began.

use std::ops::Range;
use std::sync::Arc;

use lunatic_instrument::OffsetIndex;
use lunatic_instrument::abi::{
    CODE_START_SECTION, DEBUG_SECTIONS, KEPT_DEBUG_PREFIX, OFFSETS_SECTION, PLAIN_DEBUG_PREFIX,
};
use wasmparser::{BinaryReader, Parser, Payload};

const COUNT: usize = DEBUG_SECTIONS.len();
const MAP: usize = COUNT;
const ORIGINAL_START: usize = COUNT + 1;

/// The bytes that are kept of a module, for all sections together. Those of a large program are some ten
/// million.
const MAX_BYTES: usize = 128 << 20;

/// Returns the debug sections of a module. Empty if they are too large, or if lines cannot be found with
/// them.
pub(crate) fn extract(wasm: &[u8]) -> Vec<u8> {
    let mut code_start = 0;
    let mut plain: [Option<&[u8]>; COUNT + 2] = [None; COUNT + 2];
    let mut kept = plain;
    for payload in Parser::new(0).parse_all(wasm).map_while(Result::ok) {
        match payload {
            Payload::CodeSectionStart { unchecked_range, .. } => code_start = unchecked_range.start as u32,
            Payload::CustomSection(section) => {
                let (name, data) = (section.name(), section.data());
                if name == OFFSETS_SECTION {
                    kept[MAP] = Some(data);
                } else if name == CODE_START_SECTION {
                    kept[ORIGINAL_START] = Some(data);
                } else if let Some(number) = number(name, PLAIN_DEBUG_PREFIX) {
                    plain[number] = Some(data);
                } else if let Some(number) = number(name, KEPT_DEBUG_PREFIX) {
                    kept[number] = Some(data);
                }
            }
            _ => {}
        }
    }
    // Sections that describe the original code are of use only with the offset map.
    let mut sections = if kept[MAP].is_some() { kept } else { plain };
    let is_too_large = |sections: &[Option<&[u8]>]| {
        sections.iter().flatten().map(|section| section.len()).sum::<usize>() > MAX_BYTES
    };
    // Without lines, original offsets can still be found.
    if !matches!(sections, [Some(_info), Some(_abbreviations), ..]) || is_too_large(&sections) {
        sections[..MAP].fill(None);
    }
    if sections == [None; COUNT + 2] || is_too_large(&sections) {
        return Vec::new();
    }
    let size: usize = sections.iter().flatten().map(|section| section.len()).sum();
    let mut bytes = Vec::with_capacity(4 + 5 * sections.len() + size);
    bytes.extend_from_slice(&code_start.to_le_bytes());
    for (number, section) in sections.iter().enumerate() {
        let Some(section) = section else { continue };
        bytes.push(number as u8);
        bytes.extend_from_slice(&(section.len() as u32).to_le_bytes());
        bytes.extend_from_slice(section);
    }
    bytes
}

fn number(name: &str, prefix: &str) -> Option<usize> {
    let name = name.strip_prefix(prefix)?;
    DEBUG_SECTIONS.iter().position(|section| *section == name)
}

/// The parsed form of what [`extract`] returns.
pub(super) struct Sections {
    pub(super) bytes: Arc<[u8]>,
    code_start: u32,
    /// The range of each section in `bytes`; empty if it is missing.
    ranges: [Range<usize>; COUNT],
    map: Option<Map>,
}

/// The offset map to the original code.
struct Map {
    range: Range<usize>,
    index: OffsetIndex,
    /// Where the content of the original code section began.
    start: Option<u32>,
}

impl Sections {
    /// Parses what [`extract`] has returned.
    pub(super) fn new(bytes: Arc<[u8]>) -> Option<Sections> {
        let code_start = u32::from_le_bytes(*bytes.first_chunk()?);
        let mut ranges = [const { 0..0 }; COUNT];
        let (mut map, mut original_start) = (None, None);
        let mut at = 4;
        while let Some((&number, rest)) = bytes.get(at..)?.split_first() {
            let start = at + 5;
            let range = start..start + u32::from_le_bytes(*rest.first_chunk()?) as usize;
            at = range.end;
            if usize::from(number) == MAP {
                map = Some(range);
            } else if usize::from(number) == ORIGINAL_START {
                original_start = BinaryReader::new(bytes.get(range)?, 0).read_var_u32().ok();
            } else {
                *ranges.get_mut(usize::from(number))? = range;
            }
        }
        let map = map.map(|range: Range<usize>| {
            let index = OffsetIndex::new(bytes.get(range.clone()).unwrap_or_default());
            Map { range, index, start: original_start }
        });
        Some(Sections { bytes, code_start, ranges, map })
    }

    /// Returns the range of a section, by its standard name.
    pub(super) fn range(&self, name: &str) -> Range<usize> {
        number(name, PLAIN_DEBUG_PREFIX).map_or(0..0, |number| self.ranges[number].clone())
    }

    /// Returns the address, as these sections use it, of the operator at this offset of the module.
    pub(super) fn address(&self, offset: u32) -> Option<u32> {
        let offset = offset.checked_sub(self.code_start)?;
        match &self.map {
            Some(map) => map.index.original_offset(self.bytes.get(map.range.clone())?, offset),
            None => Some(offset),
        }
    }

    /// Returns the offset, in the original module, of the operator at this offset of a prepared one; the same
    /// offset if the module was not prepared.
    pub(super) fn original(&self, offset: u32) -> Option<u32> {
        let Some(map) = &self.map else { return Some(offset) };
        map.start?.checked_add(self.address(offset)?)
    }
}
