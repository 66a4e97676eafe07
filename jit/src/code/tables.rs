//! What is where in a module's code: functions, traps, and the operators that instructions come from.
//!
//! Traps are looked up by the fault handler, so they are sorted arrays. Sources are looked up when a backtrace is
//! printed, and there are many: they are kept as differences, a few bits each, one run for every piece.

use std::num::NonZeroU8;

use cranelift_codegen::ir::TrapCode;

use super::piece::CompiledCode;

/// See the module.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tables {
    /// Where each piece of code starts and ends, in order.
    pub(crate) starts: Vec<u32>,
    pub(crate) ends: Vec<u32>,
    /// Where instructions are that trap, sorted, and for each the number of its trap code.
    pub(crate) traps: Vec<u32>,
    pub(crate) trap_codes: Vec<u8>,
    /// Where the run of each piece starts in `sources`.
    pub(crate) source_runs: Vec<u32>,
    /// Runs of pairs: how much further in the code, how much further in the module's bytes.
    pub(crate) sources: Vec<u8>,
}

impl Tables {
    /// Appends a piece that lies behind all others.
    pub(super) fn push(&mut self, start: u32, piece: &CompiledCode) {
        self.starts.push(start);
        self.ends.push(start + piece.bytes.len() as u32);
        self.traps.extend(piece.traps.iter().map(|trap| start + trap.0));
        self.trap_codes.extend(piece.traps.iter().map(|trap| trap.1.as_raw().get()));
        self.source_runs.push(self.sources.len() as u32);
        let (mut code, mut source) = (0, 0);
        for &(next_code, next_source) in &piece.sources {
            write_number(&mut self.sources, next_code - code);
            write_number(&mut self.sources, zigzag(next_source.wrapping_sub(source) as i32));
            (code, source) = (next_code, next_source);
        }
        debug_assert!(self.traps.is_sorted(), "pieces are placed in order");
    }

    /// Whether the parts fit each other and code of this size. Whoever reads tables from a file asks this first.
    pub(crate) fn is_sound(&self, code_size: usize) -> bool {
        let pieces = self.starts.len();
        let spans = self.starts.iter().zip(&self.ends);
        self.ends.len() == pieces
            && self.source_runs.len() == pieces
            && self.traps.len() == self.trap_codes.len()
            && spans.clone().all(|(start, end)| start <= end)
            && self.starts.iter().skip(1).zip(&self.ends).all(|(next, end)| end <= next)
            && self.ends.last().is_none_or(|&end| end as usize <= code_size)
            && self.traps.is_sorted()
            && self.source_runs.is_sorted()
            && self.source_runs.last().is_none_or(|&run| run as usize <= self.sources.len())
            && !self.trap_codes.contains(&0)
    }

    /// The trap that the instruction at this offset raises.
    pub(crate) fn trap_at(&self, offset: u32) -> Option<TrapCode> {
        let index = self.traps.binary_search(&offset).ok()?;
        Some(TrapCode::from_raw(NonZeroU8::new(self.trap_codes[index])?))
    }

    /// The piece that an offset lies in.
    pub(crate) fn piece_at(&self, offset: u32) -> Option<u32> {
        let index = self.starts.partition_point(|&start| start <= offset).checked_sub(1)?;
        (offset < self.ends[index]).then_some(index as u32)
    }

    /// The offset in the module's bytes of the operator that an offset belongs to.
    pub(crate) fn source_at(&self, offset: u32) -> Option<u32> {
        let piece = self.piece_at(offset)? as usize;
        let offset = offset - self.starts[piece];
        let from = self.source_runs[piece] as usize;
        let to = self.source_runs.get(piece + 1).map_or(self.sources.len(), |&run| run as usize);
        let mut run = &self.sources[from..to];
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

/// Small differences of either sign as small numbers.
fn zigzag(difference: i32) -> u32 {
    ((difference << 1) ^ (difference >> 31)) as u32
}

fn unzigzag(number: u32) -> i32 {
    (number >> 1) as i32 ^ -((number & 1) as i32)
}

/// Seven bits a byte, the lowest first; the eighth says that there are more.
fn write_number(bytes: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn read_number(bytes: &mut &[u8]) -> Option<u32> {
    let mut number = 0;
    for shift in (0..32).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u32::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(size: usize, sources: &[(u32, u32)]) -> CompiledCode {
        CompiledCode {
            bytes: vec![0; size],
            alignment: 1,
            relocations: Vec::new(),
            traps: vec![(3, TrapCode::STACK_OVERFLOW), (7, TrapCode::unwrap_user(5))],
            sources: sources.to_vec(),
        }
    }

    #[test]
    fn what_was_pushed_is_found() {
        let mut tables = Tables::default();
        tables.push(0, &piece(10, &[(2, 100), (4, 5_000_000), (8, 101)]));
        tables.push(32, &piece(8, &[(0, u32::MAX - 1)]));
        assert!(tables.is_sound(40) && !tables.is_sound(39));
        let expected = [(1, None), (2, Some(100)), (3, Some(100)), (4, Some(5_000_000)), (9, Some(101))];
        for (offset, source) in expected {
            assert_eq!(tables.source_at(offset), source, "{offset}");
        }
        assert_eq!((tables.source_at(10), tables.source_at(39)), (None, Some(u32::MAX - 1)));
        assert_eq!((tables.piece_at(9), tables.piece_at(10), tables.piece_at(32)), (Some(0), None, Some(1)));
        assert_eq!(tables.trap_at(39), Some(TrapCode::unwrap_user(5)));
        assert_eq!(tables.trap_at(4), None);
    }

    #[test]
    fn numbers_are_read_as_they_were_written() {
        for difference in [0, 1, -1, 63, -64, 64, i32::MAX, i32::MIN] {
            let mut bytes = Vec::new();
            write_number(&mut bytes, zigzag(difference));
            assert_eq!(read_number(&mut &*bytes).map(unzigzag), Some(difference));
            assert_eq!(read_number(&mut &bytes[..bytes.len() - 1]), None);
        }
    }
}
