//! What guests count and measure, as a table for operators.
//!
//! Guests choose the names, which are converted to valid Prometheus names. Two names that differ only in invalid
//! characters are the same. The first use of a name determines its kind. Values that do not fit the kind are dropped
//! and counted.
//!
//! **Limits.** A process may introduce [`MAX_NAMES_OF_PROCESS`] names, and a node has at most `MAX_NAMES`, of at
//! most `MAX_LENGTH` bytes. All processes below a nested quota may introduce half as many as those below the quota
//! above. Names beyond a limit are dropped and counted. No name is ever removed, because a counter that disappears
//! would be wrong.

#![forbid(unsafe_code)]

mod value;

use std::collections::HashMap;
use std::fmt::Write;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use lunatic_resources::sync::{Mutex, MutexGuard};

pub use value::Update;

use lunatic_resources::Quota;

use value::Value;

/// Names that a process may introduce.
pub const MAX_NAMES_OF_PROCESS: u32 = 1_000;

/// Names of a node.
const MAX_NAMES: usize = 10_000;

/// Bytes of a name.
const MAX_LENGTH: usize = 256;

/// The name of the counter of dropped values.
const DROPPED: &str = "lunatic_metrics_dropped_total";

/// Shards of the table, so that workers seldom contend for a lock.
const SHARDS: usize = 16;

/// Values by name.
type Names = HashMap<Arc<str>, Arc<Value>>;

/// The process that changes a value, for the limits.
pub struct Introducer<'a> {
    /// Names that the process has introduced so far.
    pub names: &'a mut u32,
    /// The quota of its configuration, if there is one.
    pub quota: Option<&'a Quota>,
}

/// The metrics of a node. See the crate documentation.
pub struct Metrics {
    shards: [Mutex<Names>; SHARDS],
    hasher: RandomState,
    names: AtomicUsize,
    dropped: AtomicU64,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics {
            shards: Default::default(),
            hasher: RandomState::new(),
            names: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
        }
    }
}

impl Metrics {
    /// Changes a value.
    pub fn update(&self, name: &str, update: Update, by: Introducer<'_>) {
        let done = self.value(name, update, by).is_some_and(|value| value.apply(update));
        if !done {
            // Relaxed, here and below: numbers that order nothing.
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns the value of this name. It is created if the limits permit.
    fn value(&self, name: &str, update: Update, by: Introducer<'_>) -> Option<Arc<Value>> {
        if name.is_empty() || name.len() > MAX_LENGTH {
            return None;
        }
        let name = fit(name);
        let mut shard = self.shard(&name);
        if let Some(value) = shard.get(&*name) {
            return Some(value.clone());
        }
        let next = |names| (names < MAX_NAMES).then_some(names + 1);
        if *by.names >= MAX_NAMES_OF_PROCESS
            || self.names.load(Ordering::Relaxed) >= MAX_NAMES
            || !by.quota.is_none_or(|quota| quota.take_metric(MAX_NAMES as u64))
            || self.names.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_err()
        {
            return None;
        }
        *by.names += 1;
        let value = Arc::new(Value::of(update));
        shard.insert(name.into(), value.clone());
        Some(value)
    }

    fn shard(&self, name: &str) -> MutexGuard<'_, Names> {
        let shard = &self.shards[self.hasher.hash_one(name) as usize % SHARDS];
        // Only whole entries are added under the lock.
        shard.lock()
    }

    /// Returns a line for each value, for operators. Of histograms, only the count and the sum are shown.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let none_dropped = format!("{DROPPED} 0");
        let is_shown =
            move |line: &str| !line.starts_with('#') && !line.contains("_bucket{") && *line != none_dropped;
        self.texts().flat_map(move |text| {
            let shown: Vec<String> = text.lines().filter(|line| is_shown(line)).map(String::from).collect();
            shown
        })
    }

    /// Returns all values, ordered by name, in the text format 0.0.4 of Prometheus: one text for each name.
    pub fn texts(&self) -> impl Iterator<Item = String> + Send + 'static {
        let mut values: Vec<(Arc<str>, Arc<Value>)> = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock();
            values.extend(shard.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        values.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let mut dropped = String::new();
        one(&mut dropped, DROPPED, "counter", self.dropped.load(Ordering::Relaxed));
        let texts = values.into_iter().map(|(name, value)| {
            let mut text = String::new();
            value.write(&mut text, &name);
            text
        });
        texts.chain([dropped])
    }
}

/// Writes a value of the node itself.
pub fn one(text: &mut String, name: &str, kind: &str, value: u64) {
    // Writing to a string cannot fail.
    let _ = write!(text, "# TYPE {name} {kind}\n{name} {value}\n");
}

/// Converts a name to a valid Prometheus name: letters, digits, `_` and `:`, with no digit first. Names of the node
/// itself are changed.
fn fit(name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut fit: String = name.chars().map(|c| if fits(c) { c } else { '_' }).collect();
    if fit.starts_with(|c: char| c.is_ascii_digit()) || fit.starts_with("lunatic_") {
        fit.insert(0, '_');
    }
    fit
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(names: &mut u32) -> Introducer<'_> {
        Introducer { names, quota: None }
    }

    #[test]
    fn a_quota_has_half_of_the_names_however_short_its_processes_live() {
        let root = Quota::new(100, None).unwrap();
        let [one, other] = [1, 2].map(|_| Quota::new(100, Some(root.clone())).unwrap());
        let metrics = Metrics::default();
        for number in 0..MAX_NAMES {
            let quota = Some(&*one);
            metrics.update(&format!("a{number}"), Update::Add(1), Introducer { names: &mut 0, quota });
        }
        let names = || metrics.names.load(Ordering::Relaxed);
        assert_eq!(names(), MAX_NAMES / 2);
        metrics.update("b", Update::Add(1), Introducer { names: &mut 0, quota: Some(&other) });
        assert_eq!(names(), MAX_NAMES / 2 + 1);
    }

    #[test]
    fn names_become_those_of_prometheus() {
        assert_eq!(fit("http.requests{a=\"b\"}\n\u{1b}[31m"), "http_requests_a__b_____31m");
        assert_eq!((fit("1st").as_str(), fit("lunatic_processes").as_str()), ("_1st", "_lunatic_processes"));
        assert_eq!(fit("ä:b_C"), "_:b_C");
    }

    #[test]
    fn metrics_beyond_the_limit_are_dropped_and_counted() {
        let metrics = Metrics::default();
        let mut names = 0;
        metrics.update("requests", Update::Add(2), by(&mut names));
        metrics.update("requests", Update::Add(3), by(&mut names));
        metrics.update("requests", Update::Set(7.0), by(&mut names));
        metrics.update("", Update::Add(1), by(&mut names));
        metrics.update(&"x".repeat(MAX_LENGTH + 1), Update::Add(1), by(&mut names));
        metrics.update("load", Update::Set(0.5), by(&mut names));
        metrics.update("load", Update::Change(f64::NAN), by(&mut names));
        metrics.update("load", Update::Change(-1.0), by(&mut names));
        assert_eq!(names, 2);
        assert_eq!(
            metrics.texts().collect::<String>(),
            "# TYPE load gauge\nload -0.5\n# TYPE requests counter\nrequests 5\n\
             # TYPE lunatic_metrics_dropped_total counter\nlunatic_metrics_dropped_total 4\n"
        );
    }

    /// HOSTILE 38.
    #[test]
    fn a_process_introduces_no_more_names_than_it_may() {
        let metrics = Metrics::default();
        let (mut one, mut other) = (0, 0);
        for number in 0..2 * MAX_NAMES_OF_PROCESS {
            metrics.update(&format!("name {number}"), Update::Add(1), by(&mut one));
        }
        metrics.update("another", Update::Add(1), by(&mut other));
        // Names that exist can still be used.
        metrics.update("name 1", Update::Add(1), by(&mut one));
        let text: String = metrics.texts().collect();
        assert_eq!((one, other), (MAX_NAMES_OF_PROCESS, 1));
        assert_eq!(text.matches("# TYPE name_").count(), MAX_NAMES_OF_PROCESS as usize);
        assert!(text.contains("\nanother 1\n") && text.contains("\nname_1 2\n"));
        assert!(text.contains(&format!("dropped_total {MAX_NAMES_OF_PROCESS}\n")));
    }
}
