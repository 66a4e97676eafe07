//! The file format of a compiled module: an entry of the cache, and the main part of a precompiled module.
//!
//! ```text
//! magic 8 │ key 32 │ bytes of code 8 │ functions, traps, sources, fixups, declarations, debug sections 4 each
//!     │ checksum of the debug sections 4 │ checksum 4
//! image: code │ up to a page │ tables
//! fixups: 12 each
//! declarations
//! debug sections
//! ```
//!
//! The checksum covers everything except the debug sections. These are as large as the rest together, are not
//! read before a backtrace is shown, and have a checksum of their own. Checksums find accidents. They do not
//! protect against malice; the permissions of the directory do. Numbers are little-endian. What follows the
//! header is read from the file straight into the memory where the code will run. Nothing of it is parsed
//! before, except the fixups and the [declarations](crate::environ::declarations).
//!
//! The format needs no version number: the key depends on this source.

use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use super::{ImageBuffer, ImageLayout, UnloadedCode};
#[cfg(feature = "compiler")]
use crate::environ::artifact::Artifact;
use crate::environ::artifact::{Fixup, FixupValue};
use crate::environ::routine::Routine;
use crate::environ::tables::TableCounts;
use crate::runtime::debug::{DebugInfo, SectionStorage};

const MAGIC: &[u8; 8] = b"lunatic\0";

/// Bytes of a key.
const KEY: usize = 32;

/// The offsets of the lengths, and of the checksum of what comes before and after it.
const CODE_AT: usize = 40;
const COUNTS_AT: usize = 48;
const CHECKSUM_AT: usize = 76;
const HEADER: usize = 80;

const FIXUP: usize = 12;

/// The bytes of an entry that are not in the artifact.
#[cfg(feature = "compiler")]
pub(crate) struct EntryParts {
    header: Vec<u8>,
    /// The bytes between the code and the tables.
    padding: Vec<u8>,
    /// The bytes after the image.
    behind: Vec<u8>,
    /// Where the debug sections follow.
    pub(crate) debug: DebugRange,
}

#[cfg(feature = "compiler")]
impl EntryParts {
    /// Returns the entry in parts.
    pub(crate) fn parts<'a>(&'a self, artifact: &'a Artifact, debug_sections: &'a [u8]) -> [&'a [u8]; 6] {
        [&self.header, &artifact.code, &self.padding, &artifact.tables, &self.behind, debug_sections]
    }
}

/// An entry without its debug sections, as it was read.
pub(crate) struct Entry<D> {
    pub(crate) declarations: D,
    pub(crate) code: UnloadedCode,
    pub(crate) debug: DebugRange,
}

/// The range of an entry that contains the debug sections.
#[derive(Clone, Copy)]
pub(crate) struct DebugRange {
    at: u64,
    length: u32,
    checksum: u32,
}

impl DebugRange {
    /// Returns the debug sections of an entry in memory; `None` if there are none, or if they are damaged.
    pub(crate) fn within(self, entry: &[u8]) -> Option<Arc<DebugInfo>> {
        let bytes = entry.get(usize::try_from(self.at).ok()?..)?.get(..self.length as usize)?;
        if crc32fast::hash(bytes) == self.checksum { DebugInfo::in_memory(bytes.to_vec()) } else { None }
    }

    /// Returns the debug sections, to be read from the entry's file when they are needed; `None` if there are
    /// none.
    pub(crate) fn into_info(self, file: File) -> Option<Arc<DebugInfo>> {
        let DebugRange { at, length, checksum } = self;
        if length == 0 {
            None
        } else {
            Some(DebugInfo::new(SectionStorage::File { file, at, length, checksum }))
        }
    }
}

/// Describes an artifact as an entry with this key.
#[cfg(feature = "compiler")]
pub(crate) fn write(
    key: &[u8; KEY],
    declarations: &[u8],
    debug_sections: &[u8],
    artifact: &Artifact,
) -> EntryParts {
    let mut behind: Vec<u8> = artifact.fixups.iter().flat_map(write_fixup).collect();
    behind.extend_from_slice(declarations);
    let counts = artifact.counts;
    let layout = ImageLayout { code: artifact.code.len(), tables: counts };
    let mut header = Vec::with_capacity(HEADER);
    header.extend_from_slice(MAGIC);
    header.extend_from_slice(key);
    header.extend_from_slice(&(layout.code as u64).to_le_bytes());
    let debug = DebugRange {
        at: (HEADER + layout.size() + behind.len()) as u64,
        length: debug_sections.len() as u32,
        checksum: crc32fast::hash(debug_sections),
    };
    let lengths = [artifact.fixups.len() as u32, declarations.len() as u32, debug.length, debug.checksum];
    for number in [counts.functions, counts.traps, counts.sources].iter().chain(&lengths) {
        header.extend_from_slice(&number.to_le_bytes());
    }
    let padding = vec![0; layout.tables_at() - layout.code];
    let checksum = checksum(&[&header, &artifact.code, &padding, &artifact.tables, &behind]);
    header.extend_from_slice(&checksum);
    EntryParts { header, padding, behind, debug }
}

/// Reads an entry of `size` bytes without its debug sections. `declarations` reads the declarations. `None`
/// if the entry has another key, or is damaged.
pub(crate) fn read<D>(
    source: &mut impl Read,
    size: u64,
    key: &[u8; KEY],
    declarations: impl FnOnce(&[u8]) -> Option<D>,
) -> Option<Entry<D>> {
    let mut header = [0; HEADER];
    source.read_exact(&mut header).ok()?;
    let code = usize::try_from(u64::from_le_bytes(*header[CODE_AT..].first_chunk()?)).ok()?;
    let (counts, _) = header[COUNTS_AT..CHECKSUM_AT].as_chunks();
    let counts: [_; 7] = *counts.first_chunk()?;
    let [functions, traps, sources, fixups, length, debug, debug_checksum] = counts.map(u32::from_le_bytes);
    let layout = ImageLayout { code, tables: TableCounts { functions, traps, sources } };
    let behind = fixups as usize * FIXUP + length as usize;
    // Checked before memory is allocated. `code` is no larger than the file, so the sums cannot overflow.
    let is_ours = header[..8] == *MAGIC && header[8..CODE_AT] == *key && code as u64 <= size;
    let at = (HEADER + layout.size() + behind) as u64;
    if !is_ours || size != at + u64::from(debug) {
        return None;
    }
    let debug = DebugRange { at, length: debug, checksum: debug_checksum };
    let mut buffer = ImageBuffer::new(layout, behind).ok()?;
    source.read_exact(buffer.bytes_mut()).ok()?;
    if checksum(&[&header[..CHECKSUM_AT], buffer.bytes()]) != header[CHECKSUM_AT..] {
        return None;
    }
    let (fixups, rest) = buffer.bytes()[layout.size()..].split_at(fixups as usize * FIXUP);
    let fixups = fixups.as_chunks().0.iter().map(read_fixup).collect::<Option<_>>()?;
    let declarations = declarations(rest)?;
    Some(Entry { declarations, code: UnloadedCode { buffer, fixups }, debug })
}

fn checksum(parts: &[&[u8]]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().to_le_bytes()
}

#[cfg(feature = "compiler")]
fn write_fixup(fixup: &Fixup) -> Vec<u8> {
    let words = match fixup.value {
        FixupValue::Routine(routine) => [fixup.offset, 0, routine as u32],
        FixupValue::TypeNumber(ty) => [fixup.offset, 1, ty],
    };
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn read_fixup(bytes: &[u8; FIXUP]) -> Option<Fixup> {
    let &[offset, kind, value] = bytes.as_chunks::<4>().0 else { return None };
    let [offset, kind, value] = [offset, kind, value].map(u32::from_le_bytes);
    let value = match kind {
        0 => FixupValue::Routine(Routine::from_number(value)?),
        1 => FixupValue::TypeNumber(value),
        _ => return None,
    };
    Some(Fixup { offset, value })
}
