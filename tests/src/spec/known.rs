//! The list of known failures.
//!
//! Each line of `known-failures.txt` is `mode script:line reason…`; the mode may be `*`. Empty lines and those
//! that begin with `#` are comments.

use super::{Mode, Outcome};

const LIST: &str = include_str!("../../known-failures.txt");

/// The differences between a run and the list.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Surprises {
    /// Failures that are not listed: script, line, message.
    pub unlisted: Vec<String>,
    /// Listed failures that passed, among the scripts that were run.
    pub passing: Vec<String>,
}

impl Surprises {
    /// Whether the run is as listed.
    pub fn is_empty(&self) -> bool {
        self.unlisted.is_empty() && self.passing.is_empty()
    }
}

/// Compares a run with the checked-in list.
pub fn compare(mode: Mode, outcomes: &[Outcome]) -> Surprises {
    compare_with(LIST, mode, outcomes)
}

fn compare_with(list: &str, mode: Mode, outcomes: &[Outcome]) -> Surprises {
    let listed: Vec<&str> = list.lines().filter_map(|line| entry(line, mode)).collect();
    let mut surprises = Surprises::default();
    let mut failing = Vec::new();
    for outcome in outcomes {
        for failure in &outcome.failures {
            let place = format!("{}:{}", outcome.name, failure.line);
            if !listed.contains(&&*place) {
                surprises.unlisted.push(format!("{place}: {}", failure.message));
            }
            failing.push(place);
        }
    }
    for place in listed {
        let script = place.rsplit_once(':').map_or(place, |(script, _)| script);
        let was_run = outcomes.iter().any(|outcome| outcome.name == script);
        if was_run && !failing.iter().any(|failed| failed == place) {
            surprises.passing.push(place.into());
        }
    }
    surprises
}

/// The place that a line of the list names, if it applies to this mode.
fn entry(line: &str, mode: Mode) -> Option<&str> {
    let mut words = line.split_whitespace();
    let listed_mode = words.next().filter(|word| !word.starts_with('#'))?;
    let place = words.next().expect("a line of the list names a place");
    assert!(words.next().is_some(), "a line of the list gives a reason: {line}");
    (listed_mode == "*" || listed_mode == mode.to_string()).then_some(place)
}

#[cfg(test)]
mod tests {
    use super::super::Failure;
    use super::*;

    #[test]
    fn an_unlisted_failure_and_a_listed_pass_are_surprises() {
        let failures =
            vec![Failure { line: 3, message: "no".into() }, Failure { line: 4, message: "no".into() }];
        let outcomes = [Outcome { name: "s/a.wast".into(), passed: 1, failures, moves: 0 }];
        let list = "# why\n* s/a.wast:3 known\nplain s/a.wast:9 passes\nyield s/a.wast:4 other mode\n* s/b.wast:1 not run";
        let surprises = compare_with(list, Mode::Plain, &outcomes);
        assert_eq!(surprises.unlisted, ["s/a.wast:4: no"]);
        assert_eq!(surprises.passing, ["s/a.wast:9"]);
    }
}
