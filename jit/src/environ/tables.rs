//! Tables that describe a module's code: functions, traps, and the operators that instructions come from.
//!
//! Tables are bytes that follow the code, in memory as in a file, so nothing has to be parsed or copied
//! before code from the cache can run:
//!
//! ```text
//! starts │ ends │ source runs   │ traps │ trap codes │ sources
//! one u32 for each function     │ u32   │ u8         │ u8
//! ```
//!
//! The fault handler looks up traps, so they are sorted arrays. Sources are looked up when a backtrace is
//! printed, and there are many: they are stored as differences, a few bits each, in a run for each function.

use lunatic_instrument::varint::{read_number, unzigzag, write_number, zigzag};

use super::trap_code::TrapCode;

/// The lengths of the tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TableCounts {
    pub(crate) functions: u32,
    pub(crate) traps: u32,
    /// Bytes of sources.
    pub(crate) sources: u32,
}

/// The entries of one compiled function.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FunctionTables<'a> {
    /// Bytes of code.
    pub(crate) size: usize,
    /// The offset of each instruction that traps, sorted.
    pub(crate) traps: &'a [(u32, TrapCode)],
    /// Pairs of a code offset and a source offset, sorted.
    pub(crate) sources: &'a [(u32, u32)],
}

/// Builds the tables.
#[derive(Debug, Default)]
pub(crate) struct TableBuilder {
    starts: Vec<u32>,
    ends: Vec<u32>,
    source_runs: Vec<u32>,
    traps: Vec<u32>,
    trap_codes: Vec<u8>,
    sources: Vec<u8>,
}

/// Tables in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tables<'a> {
    /// Where each function starts and ends, in order.
    starts: Words<'a>,
    ends: Words<'a>,
    /// Where the run of each function starts in `sources`.
    source_runs: Words<'a>,
    /// The offsets of instructions that trap, sorted, and the trap code of each.
    traps: Words<'a>,
    trap_codes: &'a [u8],
    /// Runs of pairs of differences: of the code offset, and of the offset in the module's bytes.
    sources: &'a [u8],
}

/// An array of little-endian numbers.
type Words<'a> = &'a [[u8; 4]];

fn word(word: &[u8; 4]) -> u32 {
    u32::from_le_bytes(*word)
}

impl TableCounts {
    /// Returns the bytes of the tables.
    pub(crate) fn size(self) -> usize {
        12 * self.functions as usize + 5 * self.traps as usize + self.sources as usize
    }
}

impl TableBuilder {
    /// Appends a function that is behind all others.
    pub(crate) fn push(&mut self, start: u32, function: FunctionTables<'_>) {
        self.starts.push(start);
        self.ends.push(start + function.size as u32);
        self.traps.extend(function.traps.iter().map(|trap| start + trap.0));
        self.trap_codes.extend(function.traps.iter().map(|trap| trap.1 as u8));
        self.source_runs.push(self.sources.len() as u32);
        let (mut code, mut source) = (0, 0);
        for &(next_code, next_source) in function.sources {
            write_number(&mut self.sources, next_code - code);
            write_number(&mut self.sources, zigzag(next_source.wrapping_sub(source) as i32));
            (code, source) = (next_code, next_source);
        }
        debug_assert!(self.traps.is_sorted(), "functions are placed in order");
    }

    pub(crate) fn counts(&self) -> TableCounts {
        TableCounts {
            functions: self.starts.len() as u32,
            traps: self.traps.len() as u32,
            sources: self.sources.len() as u32,
        }
    }

    /// Returns the tables as bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let words = [&self.starts, &self.ends, &self.source_runs, &self.traps].into_iter().flatten();
        let mut bytes = Vec::with_capacity(self.counts().size());
        words.for_each(|word| bytes.extend_from_slice(&word.to_le_bytes()));
        bytes.extend_from_slice(&self.trap_codes);
        bytes.extend_from_slice(&self.sources);
        bytes
    }
}

impl<'a> Tables<'a> {
    /// Returns the tables in these bytes; `None` if there are too few.
    pub(crate) fn new(bytes: &'a [u8], counts: TableCounts) -> Option<Tables<'a>> {
        let functions = counts.functions as usize;
        let words = 3 * functions + counts.traps as usize;
        let (words, rest) = bytes.split_at_checked(words.checked_mul(4)?)?;
        let (words, _) = words.as_chunks();
        let (trap_codes, rest) = rest.split_at_checked(counts.traps as usize)?;
        let sources = rest.get(..counts.sources as usize)?;
        let [starts, ends, source_runs] = [0, 1, 2].map(|table| &words[table * functions..][..functions]);
        Some(Tables { starts, ends, source_runs, traps: &words[3 * functions..], trap_codes, sources })
    }

    /// Returns where a function starts and ends.
    pub(crate) fn function(&self, function: u32) -> (u32, u32) {
        (word(&self.starts[function as usize]), word(&self.ends[function as usize]))
    }

    /// Returns the trap that the instruction at this offset raises.
    pub(crate) fn trap_at(&self, offset: u32) -> Option<TrapCode> {
        let index = self.traps.binary_search_by_key(&offset, word).ok()?;
        TrapCode::from_number(self.trap_codes[index])
    }

    /// Returns the function that contains an offset.
    pub(crate) fn function_at(&self, offset: u32) -> Option<u32> {
        let index = self.starts.partition_point(|start| word(start) <= offset).checked_sub(1)?;
        (offset < word(&self.ends[index])).then_some(index as u32)
    }

    /// Returns the offset in the module's bytes of the operator that a code offset belongs to.
    pub(crate) fn source_at(&self, offset: u32) -> Option<u32> {
        let function = self.function_at(offset)? as usize;
        let offset = offset - word(&self.starts[function]);
        let from = word(&self.source_runs[function]) as usize;
        let to = self.source_runs.get(function + 1).map_or(self.sources.len(), |run| word(run) as usize);
        let mut run = self.sources.get(from..to)?;
        let (mut code, mut source, mut found) = (0u32, 0u32, None);
        while let (Some(further), Some(difference)) = (read_number(&mut run), read_number(&mut run)) {
            code = code.wrapping_add(further);
            if code > offset {
                break;
            }
            source = source.wrapping_add(unzigzag(difference) as u32);
            found = Some(source);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRAPS: &[(u32, TrapCode)] = &[(3, TrapCode::StackOverflow), (7, TrapCode::TypeMismatch)];

    #[test]
    fn lookups_return_what_was_pushed() {
        let mut builder = TableBuilder::default();
        let function = |size, sources| FunctionTables { size, traps: TRAPS, sources };
        builder.push(0, function(10, &[(2, 100), (4, 5_000_000), (8, 101)]));
        builder.push(32, function(8, &[(0, u32::MAX - 1)]));
        let bytes = builder.bytes();
        assert_eq!(bytes.len(), builder.counts().size());
        assert!(Tables::new(&bytes[1..], builder.counts()).is_none());
        let tables = Tables::new(&bytes, builder.counts()).expect("there are as many bytes");
        assert_eq!((tables.function(0), tables.function(1)), ((0, 10), (32, 40)));
        let expected = [(1, None), (2, Some(100)), (3, Some(100)), (4, Some(5_000_000)), (9, Some(101))];
        for (offset, source) in expected {
            assert_eq!(tables.source_at(offset), source, "{offset}");
        }
        assert_eq!((tables.source_at(10), tables.source_at(39)), (None, Some(u32::MAX - 1)));
        assert_eq!(
            (tables.function_at(9), tables.function_at(10), tables.function_at(32)),
            (Some(0), None, Some(1))
        );
        assert_eq!(tables.trap_at(39), Some(TrapCode::TypeMismatch));
        assert_eq!(tables.trap_at(4), None);
    }
}
