//! Parses the names of test exports: `#lunatic_test_[#ignore_][#panic_<expected>#]<path>::<function>`.
//!
//! The macros of the published crates write these names. A `#` within the expected panic message is written `\#`.

const PREFIX: &str = "#lunatic_test_";
const IGNORE: &str = "#ignore_";
const PANIC: &str = "#panic_";

/// A parsed test name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TestName {
    pub(super) name: String,
    pub(super) is_ignored: bool,
    /// The text that the panic message must contain, if the test must panic. Every message contains an empty text.
    pub(super) should_panic: Option<String>,
}

impl TestName {
    /// Parses the name of an export. Returns `None` if it is not a test.
    pub(super) fn of_export(export: &str) -> Option<TestName> {
        let rest = export.strip_prefix(PREFIX)?;
        let (is_ignored, rest) = match rest.strip_prefix(IGNORE) {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let (should_panic, name) = match rest.strip_prefix(PANIC) {
            Some(rest) => {
                let (expected, name) = split_expected(rest)?;
                (Some(expected), name)
            }
            None => (None, rest),
        };
        Some(TestName { name: name.to_owned(), is_ignored, should_panic })
    }
}

/// Splits off the expected message and removes its escapes. Returns `None` if the message has no end.
fn split_expected(text: &str) -> Option<(String, &str)> {
    let mut previous = None;
    let is_end = |(_, character): &(usize, char)| {
        let is_end = *character == '#' && previous != Some('\\');
        previous = Some(*character);
        is_end
    };
    let (end, _) = text.char_indices().find(is_end)?;
    Some((text[..end].replace("\\#", "#"), &text[end + 1..]))
}

/// Returns the name without its leading crate, as libtest shows it.
pub fn without_crate(name: &str) -> &str {
    name.split_once("::").map_or(name, |(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_contain_the_attributes_of_tests() {
        for (export, name, is_ignored, should_panic) in [
            ("#lunatic_test_a::b::c", "a::b::c", false, None),
            ("#lunatic_test_#ignore_a::c", "a::c", true, None),
            ("#lunatic_test_#panic_#a::c", "a::c", false, Some("")),
            ("#lunatic_test_#ignore_#panic_out of #a::c", "a::c", true, Some("out of ")),
            (r"#lunatic_test_#panic_a \#b\##a::c", "a::c", false, Some("a #b#")),
            ("#lunatic_test_#panic_größe 'ß'#a::c", "a::c", false, Some("größe 'ß'")),
        ] {
            let should_panic = should_panic.map(ToOwned::to_owned);
            let expected = TestName { name: name.into(), is_ignored, should_panic };
            assert_eq!(TestName::of_export(export), Some(expected), "{export}");
        }
    }

    #[test]
    fn other_exports_are_no_tests() {
        for export in ["_start", "lunatic_test_a", "", "#lunatic_test", "#lunatic_test_#panic_without end"] {
            assert_eq!(TestName::of_export(export), None, "{export}");
        }
    }

    #[test]
    fn the_crate_is_the_first_part() {
        for (name, rest) in [("a::b::c", "b::c"), ("a::c", "c"), ("c", "c")] {
            assert_eq!(without_crate(name), rest);
        }
    }
}
