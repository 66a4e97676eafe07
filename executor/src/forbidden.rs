//! Host functions that a process must not call.
//!
//! Who is forbidden some has code of its own, of the same module: linked so that these raise an error. So nobody else pays
//! for the question, and there is no way around it: what is in a table is refused as well. What was refused once stays so
//! in all that is made from it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use lunatic_jit::HostError;

use crate::code::Code;
use crate::error::Fault;

/// Patterns that a list may have, and lists below each other.
const MAX_PATTERNS: usize = 64;

/// Codes that are kept; of a program there is one, and guests that compile modules may have more.
const MAX_CODES: usize = 16;

/// Functions that are forbidden: `lunatic::networking::tcp_bind`, or with `*` for anything, as in `lunatic::networking::*`.
pub(crate) struct Forbidden {
    /// Its own and those of the lists above.
    patterns: Vec<String>,
    /// What a code has become.
    codes: Mutex<Vec<(Code, Code)>>,
}

impl Forbidden {
    /// A list of these, and of those above.
    pub(crate) fn below(
        parent: Option<&Forbidden>,
        patterns: impl IntoIterator<Item = String>,
    ) -> Result<Forbidden, Fault> {
        let above = parent.map(|parent| parent.patterns.clone()).unwrap_or_default();
        let patterns: Vec<String> = above.into_iter().chain(patterns).collect();
        if patterns.len() > MAX_PATTERNS {
            return Err(Fault::TooMany("patterns of forbidden functions"));
        }
        Ok(Forbidden { patterns, codes: Mutex::default() })
    }

    /// The same code without these functions.
    pub(crate) fn without(self: &Arc<Self>, code: &Code) -> Code {
        if code.is_without(self) {
            return code.clone();
        }
        // Whole entries come and go under it.
        let mut codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, without)) = codes.iter().find(|(with, _)| with.is(code)) {
            return without.clone();
        }
        let without = code.refusing(self, |module, name| {
            let function = format!("{module}::{name}");
            let refusal = || -> lunatic_jit::Refusal {
                let function: Arc<str> = function.as_str().into();
                Box::new(move || HostError::from(Fault::Forbidden(function.clone())))
            };
            self.patterns.iter().any(|pattern| fits(pattern, &function)).then(refusal)
        });
        if codes.len() == MAX_CODES {
            codes.remove(0);
        }
        codes.push((code.clone(), without.clone()));
        without
    }
}

impl fmt::Debug for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.patterns.fmt(f)
    }
}

/// Whether a name fits a pattern, in which `*` is any text.
pub fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().expect("a split has a first part");
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut last = None;
    for part in parts {
        if let Some(before) = last.replace(part) {
            // What comes first may come first: it leaves the most for what follows.
            let Some((_, after)) = rest.split_once(before) else { return false };
            rest = after;
        }
    }
    last.map_or(rest.is_empty(), |last| rest.ends_with(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_text() {
        for (pattern, name) in [
            ("a::b", "a::b"),
            ("*", "a::b"),
            ("a::*", "a::b"),
            ("*::b", "a::b"),
            ("a*b*c", "a1b2b3c"),
            ("**", ""),
        ] {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("a::b", "a::bc"),
            ("a::b", "xa::b"),
            ("a::*", "b::a::c"),
            ("*::b", "a::bc"),
            ("a*b*c", "abac1"),
            ("", "a"),
        ] {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
        assert!(!fits("ab*b", "ab"), "the two ends are not one");
    }
}
