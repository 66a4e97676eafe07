//! Selects the tests to run.

use super::Test;
use super::name::without_crate;

/// Criteria for the tests to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// A test must match one of these filters, if there are any.
    pub filters: Vec<String>,
    /// A test must match none of these filters.
    pub skip: Vec<String>,
    /// Whether a filter must match the whole name, with or without its crate, instead of a part.
    pub exact: bool,
    /// The treatment of ignored tests.
    pub ignored: Ignored,
}

/// The treatment of tests that are marked as ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ignored {
    /// Ignored tests are reported but not run.
    #[default]
    No,
    /// Ignored tests are run like the others.
    Too,
    /// Only ignored tests are run.
    Only,
}

impl Selection {
    /// Returns the selected tests.
    pub fn choose(&self, tests: &[Test]) -> Vec<Test> {
        let mut chosen: Vec<Test> = tests.iter().filter(|test| self.takes(test)).cloned().collect();
        if self.ignored != Ignored::No {
            chosen.iter_mut().for_each(|test| test.is_ignored = false);
        }
        chosen
    }

    fn takes(&self, test: &Test) -> bool {
        let matches = |filter: &String| self.matches(&test.name, filter);
        let is_wanted = self.filters.is_empty() || self.filters.iter().any(matches);
        let is_of_kind = self.ignored != Ignored::Only || test.is_ignored;
        is_wanted && is_of_kind && !self.skip.iter().any(matches)
    }

    fn matches(&self, name: &str, filter: &str) -> bool {
        if self.exact { name == filter || without_crate(name) == filter } else { name.contains(filter) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::TestKind;
    use super::*;

    fn chosen(selection: &Selection) -> String {
        let test = |(name, is_ignored): (&str, bool)| Test {
            name: name.into(),
            is_ignored,
            should_panic: None,
            entry: TestKind::Ordinary,
        };
        let tests = [("k::a::one", false), ("k::a::two", true), ("k::b::one", false)].map(test);
        let chosen = selection.choose(&tests);
        let names =
            chosen.iter().map(|test| format!("{}{}", test.name, if test.is_ignored { "!" } else { "" }));
        names.collect::<Vec<_>>().join(" ")
    }

    fn list(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn filters_add_up_and_skipping_takes_away() {
        let of = |filters: &[&str], skip: &[&str], exact| {
            chosen(&Selection { filters: list(filters), skip: list(skip), exact, ..Selection::default() })
        };
        assert_eq!(of(&[], &[], false), "k::a::one k::a::two! k::b::one");
        assert_eq!(of(&["one"], &[], false), "k::a::one k::b::one");
        assert_eq!(of(&["b", "two"], &[], false), "k::a::two! k::b::one");
        assert_eq!(of(&[], &["b", "two"], false), "k::a::one");
        assert_eq!(of(&["one"], &["a::"], false), "k::b::one");
        assert_eq!(of(&["k::a::one", "b::one", "one", "k"], &[], true), "k::a::one k::b::one");
        assert_eq!(of(&[], &["a::one", "two"], true), "k::a::two! k::b::one");
    }

    #[test]
    fn ignored_tests_are_run_if_someone_wants_it() {
        let of = |ignored| chosen(&Selection { ignored, ..Selection::default() });
        assert_eq!(of(Ignored::Too), "k::a::one k::a::two k::b::one");
        assert_eq!(of(Ignored::Only), "k::a::two");
    }
}
