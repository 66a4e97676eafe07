//! Searching and trimming in linear time.
//!
//! SQLite's own `instr`, `replace` and `trim` restart the comparison at each position: two texts of 8 MiB occupy a
//! thread for an hour, and a function cannot be interrupted. The functions here return the same results for UTF-8
//! text.

use memchr::memmem;

/// Maximum bytes of a character set that is searched linearly; larger sets become a table.
const SMALL_SET: usize = 64;

/// Number of code points.
const CHARACTERS: usize = 0x11_0000;

/// Returns the position of the first occurrence, from 1: in characters for text, in bytes for blobs; 0 if there is
/// none.
pub(super) fn position(haystack: &[u8], needle: &[u8], is_text: bool) -> usize {
    // A text begins with a character. A needle that begins inside a character matches only at the start.
    let is_within = is_text && needle.first().is_some_and(|byte| continues(*byte));
    let found =
        if is_within { haystack.starts_with(needle).then_some(0) } else { memmem::find(haystack, needle) };
    let Some(at) = found else { return 0 };
    if !is_text || at == 0 {
        return at + 1;
    }
    2 + haystack[1..at].iter().filter(|byte| !continues(**byte)).count()
}

/// Returns the length of `text` with all occurrences replaced.
pub(super) fn replaced_length(text: &[u8], pattern: &[u8], by: &[u8]) -> usize {
    let count = memmem::find_iter(text, pattern).count();
    text.len() - count * pattern.len() + count.saturating_mul(by.len())
}

/// Passes `text` with all occurrences replaced to `put`, piece by piece.
pub(super) fn replace(text: &[u8], pattern: &[u8], by: &[u8], mut put: impl FnMut(&[u8])) {
    let mut done = 0;
    for at in memmem::find_iter(text, pattern) {
        put(&text[done..at]);
        put(by);
        done = at + pattern.len();
    }
    put(&text[done..]);
}

/// Returns `text` without the characters of `set` at the requested ends.
pub(super) fn trim<'a>(mut text: &'a [u8], set: &[u8], left: bool, right: bool) -> &'a [u8] {
    let set = Set::new(set);
    while left && !text.is_empty() {
        let (first, rest) = text.split_at(1 + text[1..].iter().take_while(|byte| continues(**byte)).count());
        if !set.has(first) {
            break;
        }
        text = rest;
    }
    while right && !text.is_empty() {
        let start = text.iter().rposition(|byte| !continues(*byte)).unwrap_or(0);
        let (rest, last) = text.split_at(start);
        if !set.has(last) {
            break;
        }
        text = rest;
    }
    text
}

/// Returns whether the byte belongs to a character but is not its first byte.
fn continues(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

/// A set of characters. Contains no invalid character.
enum Set<'a> {
    Small(&'a str),
    Large(Box<[bool]>),
}

impl<'a> Set<'a> {
    fn new(bytes: &'a [u8]) -> Set<'a> {
        let valid = |bytes: &'a [u8]| match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()])
                .expect("the text is valid up to this offset"),
        };
        if bytes.len() <= SMALL_SET {
            return Set::Small(valid(bytes));
        }
        let mut table = vec![false; CHARACTERS].into_boxed_slice();
        for chunk in bytes.utf8_chunks() {
            chunk.valid().chars().for_each(|character| table[character as usize] = true);
        }
        Set::Large(table)
    }

    fn has(&self, character: &[u8]) -> bool {
        let Ok(text) = std::str::from_utf8(character) else { return false };
        let Some(character) = text.chars().next() else { return false };
        match self {
            Set::Small(set) => set.contains(character),
            Set::Large(table) => table[character as usize],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_those_of_characters() {
        for (haystack, needle, text, blob) in
            [("äöü", "ü", 3, 5), ("abc", "", 1, 1), ("abc", "x", 0, 0), ("", "x", 0, 0), ("xab", "x", 1, 1)]
        {
            assert_eq!(position(haystack.as_bytes(), needle.as_bytes(), true), text);
            assert_eq!(position(haystack.as_bytes(), needle.as_bytes(), false), blob);
        }
        assert_eq!(
            (position("ä".as_bytes(), b"\xa4", true), position("ä".as_bytes(), b"\xa4", false)),
            (0, 2)
        );
    }

    #[test]
    fn large_sets_are_sets() {
        let set: String = ('a'..='z').chain('à'..='ü').cycle().take(1000).collect();
        assert_eq!(trim("aäXöYb".as_bytes(), set.as_bytes(), true, true), "XöY".as_bytes());
        assert_eq!(trim("aäXb".as_bytes(), set.as_bytes(), false, true), "aäX".as_bytes());
        assert_eq!(trim(b"\xffa", set.as_bytes(), true, true), b"\xff");
    }
}
