//! The offset map: where the code of a prepared module was in the original.
//!
//! Debug sections contain offsets in the code. They are not rewritten. They stay as they were, under other
//! names, and next to them is a map from offsets in the new code to offsets in the original. It is exact for
//! every operator, needs no knowledge of DWARF, and is a by-product of rewriting.
//!
//! The map is a list of *runs*, in the order of the new code: from the beginning of a run, old and new
//! offsets advance together. A run is two LEB128 numbers: the distance of its beginning from that of the
//! previous run, and, with the sign in the lowest bit, the difference between its old offset and the one that
//! the previous run would have reached. All offsets are relative to the content of the code section, as in
//! DWARF.
//!
//! Inserted code has no old offset, and gets that of the operator that follows it: a run ends at the old
//! offset at which the next one begins. Where code is in another order than in the original, the last
//! operator before the jump back is a run of its own.

use wasm_encoder::{CustomSection, Encode, Section};
use wasmparser::{Parser, Payload};

use crate::abi::{DEBUG_SECTIONS, KEPT_DEBUG_PREFIX, OFFSETS_SECTION, PLAIN_DEBUG_PREFIX};
use crate::varint::{read_number, unzigzag, zigzag};

/// Returns the original offset of the operator at an offset of a prepared module's code. Both are relative to
/// the content of their code sections. `map` is the content of [`OFFSETS_SECTION`].
///
/// Takes time linear in the size of the map. For a malformed map, the result is `None` or wrong.
#[must_use]
pub fn original_offset(map: &[u8], offset: u32) -> Option<u32> {
    Runs::default().original(map, offset)
}

/// Some positions of a map, so that not all of it has to be read for each offset.
#[derive(Debug, Default)]
pub struct OffsetIndex(Vec<Runs>);

impl OffsetIndex {
    /// The runs between two positions.
    const STEP: usize = 512;

    /// Creates the index of a map, in time linear in its size.
    #[must_use]
    pub fn new(map: &[u8]) -> OffsetIndex {
        let (mut runs, mut places) = (Runs::default(), Vec::new());
        for number in 1.. {
            if runs.advance(map).is_none() {
                break;
            }
            if number % OffsetIndex::STEP == 0 {
                places.push(runs);
            }
        }
        OffsetIndex(places)
    }

    /// Returns the same as [`original_offset`], for the map that this is the index of.
    #[must_use]
    pub fn original_offset(&self, map: &[u8], offset: u32) -> Option<u32> {
        let begun = |runs: &Runs| runs.run.is_some_and(|(new, _)| new <= offset);
        let before = self.0.partition_point(begun).checked_sub(1);
        before.map_or_else(Runs::default, |index| self.0[index]).original(map, offset)
    }
}

/// A position in a map: after some of its runs.
#[derive(Clone, Copy, Debug, Default)]
struct Runs {
    /// The bytes that were read.
    at: usize,
    /// Where the last run begins, new and old.
    run: Option<(u32, u32)>,
}

impl Runs {
    /// Reads a run. Returns what was the last one before.
    fn advance(&mut self, map: &[u8]) -> Option<Option<(u32, u32)>> {
        let mut rest = map.get(self.at..)?;
        let (distance, shift) = (read_number(&mut rest)?, read_number(&mut rest)?);
        let (new, old) = self.run.unwrap_or_default();
        let begin = new.wrapping_add(distance);
        let next = old.wrapping_add(distance).wrapping_add(unzigzag(shift) as u32);
        self.at = map.len() - rest.len();
        Some(self.run.replace((begin, next)))
    }

    fn original(mut self, map: &[u8], offset: u32) -> Option<u32> {
        while let Some(before) = self.advance(map) {
            let (begin, next) = self.run?;
            let (new, old) = before.unwrap_or_default();
            if begin > offset || begin < new {
                return before.map(|_| {
                    let on = old.saturating_add(offset - new);
                    // Behind the end of a function, the next run may begin anywhere.
                    if next >= old { on.min(next) } else { on }
                });
            }
        }
        self.run.map(|(new, old)| old.saturating_add(offset - new))
    }
}

/// A map while it is written.
#[derive(Debug, Default)]
pub(crate) struct OffsetMap {
    bytes: Vec<u8>,
    /// Where the last run begins, new and old.
    run: (u32, u32),
    /// The last operator, new and old.
    last: (u32, u32),
}

impl OffsetMap {
    /// Adds the new and the old offset of an operator. The new offsets come in order.
    pub(crate) fn push(&mut self, new: u32, old: u32) {
        if old < self.last.1 && self.last != self.run {
            // The code jumps back, to the next copy of a loop: what precedes it must not be taken for
            // inserted code.
            self.begin_run(self.last.0, self.last.1);
        }
        let distance = new - self.run.0;
        let shift = old.wrapping_sub(self.run.1.wrapping_add(distance)) as i32;
        if shift != 0 || self.bytes.is_empty() {
            self.begin_run(new, old);
        }
        self.last = (new, old);
    }

    /// Appends the map to the prepared module.
    pub(crate) fn append_to(self, module: &mut Vec<u8>) {
        CustomSection { name: OFFSETS_SECTION.into(), data: self.bytes.into() }.append_to(module);
    }

    /// Begins a run, even if the previous one would have reached these offsets.
    pub(crate) fn begin_run(&mut self, new: u32, old: u32) {
        let distance = new - self.run.0;
        let shift = old.wrapping_sub(self.run.1.wrapping_add(distance)) as i32;
        distance.encode(&mut self.bytes);
        zigzag(shift).encode(&mut self.bytes);
        self.run = (new, old);
        self.last = (new, old);
    }
}

/// The debug sections of a module that are kept when it is prepared.
#[derive(Debug)]
pub(crate) struct DebugSections<'a> {
    /// Names without prefix, and contents.
    sections: Vec<(&'a str, &'a [u8])>,
}

impl<'a> DebugSections<'a> {
    /// Returns the debug sections of a module; `None` if it has none, or no code.
    pub(crate) fn of(wasm: &'a [u8]) -> Option<DebugSections<'a>> {
        let (mut has_code, mut sections) = (false, Vec::new());
        for payload in Parser::new(0).parse_all(wasm).map_while(Result::ok) {
            match payload {
                Payload::CodeSectionStart { .. } => has_code = true,
                Payload::CustomSection(section) => {
                    let name = kept_name(section.name());
                    sections.extend(name.map(|name| (name, section.data())));
                }
                _ => {}
            }
        }
        if sections.is_empty() || !has_code { None } else { Some(DebugSections { sections }) }
    }

    /// Appends the sections to the prepared module.
    pub(crate) fn append_to(&self, module: &mut Vec<u8>) {
        for (name, data) in &self.sections {
            let name = format!("{KEPT_DEBUG_PREFIX}{name}");
            CustomSection { name: name.into(), data: (*data).into() }.append_to(module);
        }
    }
}

/// Returns the name without prefix of a section that is kept.
pub(crate) fn kept_name(name: &str) -> Option<&str> {
    name.strip_prefix(PLAIN_DEBUG_PREFIX).filter(|name| DEBUG_SECTIONS.contains(name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn moved_code_maps_to_its_original_offset() {
        let mut map = OffsetMap::default();
        // A function that was at 100: 17 bytes inserted at its beginning, then two operators that stayed
        // together, then one behind an operand that became 4 bytes shorter.
        map.begin_run(3, 101);
        for (new, old) in [(20, 101), (22, 103), (24, 109)] {
            map.push(new, old);
        }
        // A function that was before it.
        map.begin_run(30, 50);
        map.push(30, 50);
        let expected = [
            (2, None),
            (3, Some(101)),
            (19, Some(101)),
            (20, Some(101)),
            (22, Some(103)),
            (24, Some(109)),
            (30, Some(50)),
            (31, Some(51)),
        ];
        for (new, old) in expected {
            assert_eq!(original_offset(&map.bytes, new), old, "{new}");
        }
    }

    #[test]
    fn an_index_finds_the_same_as_the_whole_map() {
        let mut map = OffsetMap::default();
        let places: Vec<_> =
            (0..4000_u32).map(|step| (3 * step + 7, step.wrapping_mul(0x9e37_79b9))).collect();
        places.iter().for_each(|&(new, old)| map.push(new, old));
        let index = OffsetIndex::new(&map.bytes);
        assert!(index.0.len() >= 4000 / OffsetIndex::STEP);
        for &(new, old) in &places {
            assert_eq!(index.original_offset(&map.bytes, new), Some(old), "{new}");
        }
        for offset in [0, 6, 8, 12_003, 12_007, u32::MAX] {
            assert_eq!(index.original_offset(&map.bytes, offset), original_offset(&map.bytes, offset));
        }
    }

    proptest! {
        #[test]
        fn any_map_gives_some_answer(map: Vec<u8>, offset: u32) {
            let _ = original_offset(&map, offset);
            let _ = OffsetIndex::new(&map).original_offset(&map, offset);
        }

        #[test]
        fn every_operator_is_found(steps in proptest::collection::vec((1_u32..300, any::<u32>()), 1..50)) {
            let mut map = OffsetMap::default();
            let mut places = Vec::new();
            let mut new = 0;
            for (step, old) in steps {
                new += step;
                map.push(new, old);
                places.push((new, old));
            }
            for (new, old) in places {
                prop_assert_eq!(original_offset(&map.bytes, new), Some(old));
            }
        }
    }
}
