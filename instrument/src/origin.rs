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
    let mut rest = map;
    let mut run: Option<(u32, u32)> = None;
    while let (Some(distance), Some(shift)) = (read_number(&mut rest), read_number(&mut rest)) {
        let (new, old) = run.unwrap_or_default();
        let begin = new.wrapping_add(distance);
        let next = old.wrapping_add(distance).wrapping_add(unzigzag(shift) as u32);
        if begin > offset || begin < new {
            return run.map(|_| {
                let on = old.saturating_add(offset - new);
                // Behind a function's end, the next run may begin anywhere.
                if next >= old { on.min(next) } else { on }
            });
        }
        run = Some((begin, next));
    }
    run.map(|(new, old)| old.saturating_add(offset - new))
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
    /// Where the content of the code section begins in the file.
    pub(crate) code_start: u32,
    /// Names without prefix, and contents.
    sections: Vec<(&'a str, &'a [u8])>,
}

impl<'a> DebugSections<'a> {
    /// The debug sections of a module, `None` if it has none or no code.
    pub(crate) fn of(wasm: &'a [u8]) -> Option<DebugSections<'a>> {
        let (mut code_start, mut sections) = (None, Vec::new());
        for payload in Parser::new(0).parse_all(wasm).map_while(Result::ok) {
            match payload {
                // Modules are far smaller than 4 GiB: see `MAX_MODULE_BYTES`.
                Payload::CodeSectionStart { unchecked_range, .. } => {
                    code_start = Some(unchecked_range.start as u32);
                }
                Payload::CustomSection(section) => {
                    let name = kept_name(section.name());
                    sections.extend(name.map(|name| (name, section.data())));
                }
                _ => {}
            }
        }
        let code_start = code_start?;
        if sections.is_empty() { None } else { Some(DebugSections { code_start, sections }) }
    }

    /// Appends them to the prepared module, with the map.
    pub(crate) fn append_to(&self, module: &mut Vec<u8>, map: OffsetMap) {
        for (name, data) in &self.sections {
            let name = format!("{KEPT_DEBUG_PREFIX}{name}");
            CustomSection { name: name.into(), data: (*data).into() }.append_to(module);
        }
        CustomSection { name: OFFSETS_SECTION.into(), data: map.bytes.into() }.append_to(module);
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

    proptest! {
        #[test]
        fn any_map_gives_some_answer(map: Vec<u8>, offset: u32) {
            let _ = original_offset(&map, offset);
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
