//! The format of an entry.
//!
//! ```text
//! magic 8 │ key 32 │ length of tables 8 │ length of code 8 │ checksum 32 │ tables │ code
//! ```
//!
//! The checksum is over all the rest. Tables are arrays, each after the number of its elements: what is in
//! [`Tables`], the fixups, the [declarations](crate::declarations). Numbers are little-endian. Code comes last and
//! goes from the file straight to the memory where it will run.
//!
//! Other versions of the format need no number here: the key depends on this source.

use std::fs::File;
use std::io::Read;

use crate::code::{Artifact, CodeBuffer, Fixup, FixupValue, Routine, Tables};

use super::CacheKey;

const MAGIC: &[u8; 8] = b"lunatic\0";

/// Where the checksum is, and what comes before it.
const CHECKSUM_AT: usize = 56;
const HEADER: usize = CHECKSUM_AT + 32;

/// All of an entry but the code, which follows it.
pub(super) fn head(key: &CacheKey, declarations: &[u8], artifact: &Artifact) -> Vec<u8> {
    let tables = write_tables(declarations, artifact);
    let code = artifact.code.bytes();
    let mut head = Vec::with_capacity(HEADER + tables.len());
    head.extend_from_slice(MAGIC);
    head.extend_from_slice(key.bytes());
    head.extend_from_slice(&(tables.len() as u64).to_le_bytes());
    head.extend_from_slice(&(code.len() as u64).to_le_bytes());
    let checksum = checksum(&head, &tables, code);
    head.extend_from_slice(&checksum);
    head.extend_from_slice(&tables);
    head
}

/// Reads an entry: declarations and code. `None` if it is not the key's, or not whole.
pub(super) fn read(mut file: &File, key: &CacheKey) -> Option<(Vec<u8>, Artifact)> {
    let mut header = [0; HEADER];
    file.read_exact(&mut header).ok()?;
    let number = |at: usize| header[at..].first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    let (tables, code) = (number(40)?, number(48)?);
    let expected = (HEADER as u64).checked_add(tables)?.checked_add(code)?;
    // Before there is memory for it.
    if header[..8] != *MAGIC || header[8..40] != *key.bytes() || file.metadata().ok()?.len() != expected {
        return None;
    }
    let mut bytes = vec![0; tables as usize];
    file.read_exact(&mut bytes).ok()?;
    let mut buffer = CodeBuffer::new(code as usize).ok()?;
    file.read_exact(buffer.bytes_mut()).ok()?;
    let is_whole = checksum(&header[..CHECKSUM_AT], &bytes, buffer.bytes()) == header[CHECKSUM_AT..];
    if is_whole { read_tables(&bytes, buffer) } else { None }
}

fn checksum(header: &[u8], tables: &[u8], code: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(header).update(tables).update(code);
    hasher.finalize().into()
}

fn write_tables(declarations: &[u8], artifact: &Artifact) -> Vec<u8> {
    let tables = &artifact.tables;
    let mut bytes = Vec::new();
    for words in [&tables.starts, &tables.ends, &tables.traps, &tables.source_runs] {
        write_words(&mut bytes, words);
    }
    write_words(&mut bytes, &artifact.fixups.iter().flat_map(fixup_words).collect::<Vec<_>>());
    for array in [&tables.trap_codes, &tables.sources, declarations] {
        bytes.extend_from_slice(&(array.len() as u32).to_le_bytes());
        bytes.extend_from_slice(array);
    }
    bytes
}

fn read_tables(mut bytes: &[u8], code: CodeBuffer) -> Option<(Vec<u8>, Artifact)> {
    let mut words = || read_words(&mut bytes);
    let (starts, ends, traps, source_runs, fixups) = (words()?, words()?, words()?, words()?, words()?);
    let mut array = || read_array(&mut bytes, 1).map(<[u8]>::to_vec);
    let (trap_codes, sources, declarations) = (array()?, array()?, array()?);
    let tables = Tables { starts, ends, traps, trap_codes, source_runs, sources };
    let fixups = fixups.chunks(3).map(fixup).collect::<Option<_>>()?;
    let is_sound = bytes.is_empty() && tables.is_sound(code.bytes().len());
    is_sound.then_some((declarations, Artifact { code, tables, fixups }))
}

fn write_words(bytes: &mut Vec<u8>, words: &[u32]) {
    bytes.extend_from_slice(&(words.len() as u32).to_le_bytes());
    bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
}

fn read_words(bytes: &mut &[u8]) -> Option<Vec<u32>> {
    let (words, _) = read_array(bytes, 4)?.as_chunks::<4>();
    Some(words.iter().map(|word| u32::from_le_bytes(*word)).collect())
}

/// Splits an array of elements of so many bytes off.
fn read_array<'a>(bytes: &mut &'a [u8], size: usize) -> Option<&'a [u8]> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (array, rest) = rest.split_at_checked((u32::from_le_bytes(*length) as usize).checked_mul(size)?)?;
    *bytes = rest;
    Some(array)
}

fn fixup_words(fixup: &Fixup) -> [u32; 3] {
    match fixup.value {
        FixupValue::Routine(routine) => [fixup.offset, 0, routine as u32],
        FixupValue::TypeNumber(ty) => [fixup.offset, 1, ty],
    }
}

fn fixup(words: &[u32]) -> Option<Fixup> {
    let (offset, value) = match *words {
        [offset, 0, routine] => (offset, FixupValue::Routine(Routine::from_number(routine)?)),
        [offset, 1, ty] => (offset, FixupValue::TypeNumber(ty)),
        _ => return None,
    };
    Some(Fixup { offset, value })
}
