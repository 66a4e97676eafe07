//! Where the code of a prepared module was before it was prepared.
//!
//! Debug sections speak of offsets in the code. They are not rewritten: they stay what they were, under other names,
//! and beside them is a map from offsets in the new code to offsets in the old. It is exact for every operator, needs
//! no understanding of DWARF, and whoever rewrites code knows it anyway.
//!
//! The map is a list of *runs*, in the order of the new code: from where a run begins, old and new offsets go on
//! together. A run is two LEB128 numbers: how far it begins behind the run before, and, with the sign in the lowest
//! bit, how far its old offset is from where the run before would have gone on to. All offsets are relative to the
//! content of the code section, as in DWARF.
//!
//! What was inserted has no old offset, and takes that of the operator that follows it: a run does not go on
//! beyond the old offset at which the next one begins. Where the code is in another order than it was, the last
//! operator before it goes back is a run of its own.

use wasm_encoder::{CustomSection, Encode, Section};
use wasmparser::{Parser, Payload};

use crate::abi::{DEBUG_SECTIONS, KEPT_DEBUG_PREFIX, OFFSETS_SECTION, PLAIN_DEBUG_PREFIX};

/// Where the operator at an offset of a prepared module's code was in the code before, both relative to the content
/// of their code sections. `map` is the content of [`OFFSETS_SECTION`].
///
/// Time is linear in the size of the map. Of a malformed map, no answer or a wrong one is given.
#[must_use]
pub fn original_offset(map: &[u8], offset: u32) -> Option<u32> {
    Runs::default().original(map, offset)
}

/// Some places of a map, so that not all of it has to be read for an offset.
#[derive(Debug, Default)]
pub struct OffsetIndex(Vec<Runs>);

impl OffsetIndex {
    /// Runs between two places.
    const STEP: usize = 512;

    /// The index of a map, in time that is linear in its size.
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

    /// As [`original_offset`], of the map that this is the index of.
    #[must_use]
    pub fn original_offset(&self, map: &[u8], offset: u32) -> Option<u32> {
        let begun = |runs: &Runs| runs.run.is_some_and(|(new, _)| new <= offset);
        let before = self.0.partition_point(begun).checked_sub(1);
        before.map_or_else(Runs::default, |index| self.0[index]).original(map, offset)
    }
}

/// A place in a map: behind some of its runs.
#[derive(Clone, Copy, Debug, Default)]
struct Runs {
    /// Bytes that were read.
    at: usize,
    /// Where the last of them begins, new and old.
    run: Option<(u32, u32)>,
}

impl Runs {
    /// Reads a run; what was the last before.
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
                    // Behind a function's end, the next run may begin anywhere.
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
    /// Adds where an operator is and was. The new offsets come in order.
    pub(crate) fn push(&mut self, new: u32, old: u32) {
        if old < self.last.1 && self.last != self.run {
            // The code goes back, to the next copy of a loop: what lies before must not be taken for inserted.
            self.begin_run(self.last.0, self.last.1);
        }
        let distance = new - self.run.0;
        let shift = old.wrapping_sub(self.run.1.wrapping_add(distance)) as i32;
        if shift != 0 || self.bytes.is_empty() {
            self.begin_run(new, old);
        }
        self.last = (new, old);
    }

    /// Appends it to the prepared module.
    pub(crate) fn append_to(self, module: &mut Vec<u8>) {
        CustomSection { name: OFFSETS_SECTION.into(), data: self.bytes.into() }.append_to(module);
    }

    /// Begins a run, whether the one before would have come here or not.
    pub(crate) fn begin_run(&mut self, new: u32, old: u32) {
        let distance = new - self.run.0;
        let shift = old.wrapping_sub(self.run.1.wrapping_add(distance)) as i32;
        distance.encode(&mut self.bytes);
        zigzag(shift).encode(&mut self.bytes);
        self.run = (new, old);
        self.last = (new, old);
    }
}

/// What of a module is kept so that its lines are found when it is prepared.
#[derive(Debug)]
pub(crate) struct DebugSections<'a> {
    /// Names without prefix, and contents.
    sections: Vec<(&'a str, &'a [u8])>,
}

impl<'a> DebugSections<'a> {
    /// The debug sections of a module, `None` if it has none or no code.
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

    /// Appends them to the prepared module.
    pub(crate) fn append_to(&self, module: &mut Vec<u8>) {
        for (name, data) in &self.sections {
            let name = format!("{KEPT_DEBUG_PREFIX}{name}");
            CustomSection { name: name.into(), data: (*data).into() }.append_to(module);
        }
    }
}

/// The name without prefix of a section that is kept.
pub(crate) fn kept_name(name: &str) -> Option<&str> {
    name.strip_prefix(PLAIN_DEBUG_PREFIX).filter(|name| DEBUG_SECTIONS.contains(name))
}

fn zigzag(difference: i32) -> u32 {
    ((difference << 1) ^ (difference >> 31)) as u32
}

fn unzigzag(number: u32) -> i32 {
    (number >> 1) as i32 ^ -((number & 1) as i32)
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
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_moved_is_found_where_it_was() {
        let mut map = OffsetMap::default();
        // A function that was at 100: something of 17 bytes inserted at its beginning, then two operators that stayed
        // together, then one behind an operand that became 4 bytes shorter.
        map.begin_run(3, 101);
        for (new, old) in [(20, 101), (22, 103), (24, 109)] {
            map.push(new, old);
        }
        // One that was before it.
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
    fn an_index_finds_what_the_whole_map_has() {
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
