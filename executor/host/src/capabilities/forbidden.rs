//! Host functions that a process must not call.
//!
//! A process with forbidden functions runs separately linked code of the same module, in which these functions raise
//! an error. So other processes pay nothing for the check, and there is no way around it: functions in tables are
//! refused as well. What is forbidden stays forbidden in all configurations made from this one. A function that also
//! has an older name, as those of WASI have, is refused under both.
//!
//! A pattern that matches no function is refused: it is a mistake, and what it was meant to forbid would stay
//! allowed.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use lunatic_resources::sync::Mutex;

use lunatic_jit::{HostError, nearest};

use lunatic_core::Fault;
use lunatic_core::code::{Code, Restriction};
use lunatic_resources::Charge;

/// Patterns that a list may have, together with the lists above it.
const MAX_PATTERNS: usize = 64;

/// Bytes of a pattern. The longest name of a function has fewer than half as many.
const MAX_LENGTH: usize = 256;

/// Stars of a pattern. Matching takes time for each.
const MAX_STARS: usize = 8;

/// Restricted codes that are kept. A program has one; guests that compile modules may have more.
const MAX_CODES: usize = 16;

/// A list of forbidden functions: `lunatic::networking::tcp_bind`, or with `*` for any text, as in
/// `lunatic::networking::*`.
pub struct Forbidden {
    /// Its patterns, and those of the lists above.
    patterns: Vec<Arc<str>>,
    /// Codes, and what they were restricted to.
    codes: Mutex<Vec<(Code, Code)>>,
    /// The identity of this list in restricted code.
    identity: Arc<Restriction>,
}

impl Forbidden {
    /// Creates a list of these patterns and of those above.
    ///
    /// # Errors
    /// Returns [`PatternError`] if a pattern matches no function, or is too long, or there are too many.
    pub fn below(
        parent: Option<&Forbidden>,
        patterns: impl IntoIterator<Item = String>,
        functions: &[(String, String)],
    ) -> Result<Forbidden, PatternError> {
        let mut all = parent.map(|parent| parent.patterns.clone()).unwrap_or_default();
        for pattern in patterns {
            if all.len() == MAX_PATTERNS {
                return Err(PatternError::TooMany);
            }
            check(&pattern, functions)?;
            all.push(pattern.into());
        }
        let patterns = all;
        Ok(Forbidden { patterns, codes: Mutex::default(), identity: Arc::default() })
    }

    /// Returns the number of patterns.
    pub fn patterns(&self) -> usize {
        self.patterns.len()
    }

    /// Returns the same code without these functions. If it has to be linked for that, `keep` charges for its bytes.
    ///
    /// # Errors
    /// Returns the error of `keep`.
    pub fn without<E>(
        &self,
        code: &Code,
        keep: impl FnOnce(u64) -> Result<Option<Charge>, E>,
    ) -> Result<Code, E> {
        if code.is_restricted_by(&self.identity) {
            return Ok(code.clone());
        }
        // Only whole entries are added and removed, so a panic leaves the list valid.
        let mut codes = self.codes.lock();
        if let Some((_, without)) = codes.iter().find(|(with, _)| with.is(code)) {
            return Ok(without.clone());
        }
        let kept = keep(code.bytes_of_links())?;
        // A module may import a function any number of times. Each name is matched once.
        let known: RefCell<HashMap<String, Option<Arc<str>>>> = RefCell::default();
        let without = code.refusing(&self.identity, kept, |module, name| {
            let function = format!("{module}::{name}");
            let mut known = known.borrow_mut();
            let refused = known.entry(function).or_insert_with_key(|function| {
                let fits = |pattern: &Arc<str>| {
                    fits(pattern, function)
                        || newer_name(module, name).is_some_and(|newer| fits(pattern, &newer))
                };
                self.patterns.iter().any(fits).then(|| function.as_str().into())
            });
            let function = refused.clone()?;
            Some(Box::new(move || HostError::from(Fault::Forbidden(function.clone()))))
        });
        if codes.len() == MAX_CODES {
            codes.remove(0);
        }
        codes.push((code.clone(), without.clone()));
        Ok(without)
    }
}

/// Why a list of patterns is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // Each message says what happened.
pub enum PatternError {
    #[error("there may be {MAX_PATTERNS} patterns of forbidden functions")]
    TooMany,
    #[error("a pattern of forbidden functions may have {MAX_LENGTH} bytes and {MAX_STARS} stars")]
    TooLong,
    #[error("no host function fits {pattern:?}{}", hint(.nearest.as_deref()))]
    FitsNone { pattern: String, nearest: Option<String> },
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map(|nearest| format!(" (did you mean {nearest}?)")).unwrap_or_default()
}

/// Checks a pattern.
fn check(pattern: &str, functions: &[(String, String)]) -> Result<(), PatternError> {
    if pattern.len() > MAX_LENGTH || pattern.matches('*').count() > MAX_STARS {
        return Err(PatternError::TooLong);
    }
    if functions.iter().any(|(module, name)| fits(pattern, &format!("{module}::{name}"))) {
        return Ok(());
    }
    Err(PatternError::FitsNone { pattern: pattern.into(), nearest: nearest_pattern(pattern, functions) })
}

/// Returns what a pattern that matches nothing was probably meant to be. A part with a star is taken as it is.
fn nearest_pattern(pattern: &str, functions: &[(String, String)]) -> Option<String> {
    let (module, name) = pattern.rsplit_once("::").unwrap_or(("", pattern));
    let find = |wanted: (&str, &str), known: Vec<(&str, &str)>| {
        nearest(wanted, &known).map(|(module, name)| format!("{module}::{name}"))
    };
    let modules = || functions.iter().map(|(module, _)| module.as_str());
    let names = || functions.iter().map(|(_, name)| name.as_str());
    match (module.contains('*'), name.contains('*')) {
        (true, true) => None,
        (true, false) => find((module, name), names().map(|name| (module, name)).collect()),
        (false, true) => {
            let known: Vec<_> = modules().map(|module| ("", module)).collect();
            nearest(("", module), &known).map(|(_, module)| format!("{module}::{name}"))
        }
        (false, false) => find((module, name), modules().zip(names()).collect()),
    }
}

/// Returns the current name of a function, if this is an older name.
fn newer_name(module: &str, name: &str) -> Option<String> {
    (module == "wasi_unstable").then(|| format!("wasi_snapshot_preview1::{name}"))
}

impl fmt::Debug for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.patterns.fmt(f)
    }
}

/// Returns whether a name matches a pattern, in which `*` is any text.
pub fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().expect("a split has a first part");
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut last = None;
    for part in parts {
        if let Some(before) = last.replace(part) {
            // The first occurrence is the right one: it leaves the most for the following parts.
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

    fn functions() -> Vec<(String, String)> {
        crate::function_names(&crate::declared().into_linker())
    }

    #[test]
    fn a_pattern_that_fits_nothing_is_refused_with_the_nearest_that_does() {
        let refused =
            |pattern: &str| match Forbidden::below(None, [pattern.to_owned()], &functions()).unwrap_err() {
                PatternError::FitsNone { nearest, .. } => nearest,
                other => panic!("{other}"),
            };
        for (pattern, meant) in [
            ("lunatic::netwrking::*", Some("lunatic::networking::*")),
            ("lunatic::networking::tcp_bnd", Some("lunatic::networking::tcp_bind")),
            ("*::compile_modul", Some("*::compile_module")),
            ("tcp_bind", Some("lunatic::networking::tcp_bind")),
            ("*::frobnicate::*", None),
            ("", None),
        ] {
            assert_eq!(refused(pattern).as_deref(), meant, "{pattern}");
        }
        let long = "*".repeat(MAX_LENGTH + 1);
        assert_eq!(Forbidden::below(None, [long], &[]).unwrap_err(), PatternError::TooLong);
        let stars = "*".repeat(MAX_STARS + 1);
        assert_eq!(Forbidden::below(None, [stars], &[]).unwrap_err(), PatternError::TooLong);
        let many = vec!["*".to_owned(); MAX_PATTERNS + 1];
        assert_eq!(Forbidden::below(None, many, &functions()).unwrap_err(), PatternError::TooMany);
    }
}
