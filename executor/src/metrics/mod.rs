//! What guests count and measure, and what the node knows of itself, as a table for whoever asks.
//!
//! Names are the guests'; they are made fit for Prometheus where they come in, so two that differ only in what is not
//! allowed there are one. The first to use a name says what kind it is; what does not fit it is dropped, and counted.
//!
//! **What it may take.** A process may introduce [`MAX_NAMES_OF_PROCESS`] names, a node has [`MAX_NAMES`], of
//! [`MAX_LENGTH`] bytes at most; what is beyond is dropped, and counted. No name is ever given up: a counter that
//! disappeared would be a counter that lies.

mod server;
mod value;

use std::collections::HashMap;
use std::fmt::Write;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use server::MetricsServer;
pub(crate) use value::Update;

use value::Value;

/// Names that a process may introduce.
pub(crate) const MAX_NAMES_OF_PROCESS: u32 = 1_000;

/// Names of a node.
const MAX_NAMES: usize = 100_000;

/// Bytes of a name.
const MAX_LENGTH: usize = 256;

/// The name of how much was dropped.
const DROPPED: &str = "lunatic_metrics_dropped_total";

/// Parts of the table, so that workers seldom meet at a lock.
const SHARDS: usize = 16;

/// See the module.
pub(crate) struct Metrics {
    shards: [Mutex<HashMap<Box<str>, Arc<Value>>>; SHARDS],
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
    /// Changes a value. `introduced`: how many names the process has introduced so far.
    pub(crate) fn update(&self, name: &str, update: Update, introduced: &mut u32) {
        let done = self.value(name, update, introduced).is_some_and(|value| value.apply(update));
        if !done {
            // Relaxed, here and below: a number, which orders nothing.
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The value of this name, which is made if there is none, and room for it.
    fn value(&self, name: &str, update: Update, introduced: &mut u32) -> Option<Arc<Value>> {
        if name.is_empty() || name.len() > MAX_LENGTH {
            return None;
        }
        let name = fit(name);
        let mut shard = self.shard(&name);
        if let Some(value) = shard.get(&*name) {
            return Some(value.clone());
        }
        if *introduced >= MAX_NAMES_OF_PROCESS || self.names.fetch_add(1, Ordering::Relaxed) >= MAX_NAMES {
            return None;
        }
        *introduced += 1;
        let value = Arc::new(Value::of(update));
        shard.insert(name.into(), value.clone());
        Some(value)
    }

    fn shard(&self, name: &str) -> MutexGuard<'_, HashMap<Box<str>, Arc<Value>>> {
        let shard = &self.shards[self.hasher.hash_one(name) as usize % SHARDS];
        // Whole entries come under it.
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What guests have measured, for a person: names are made of letters and digits when they come in. A number for each
    /// size that was observed is too much.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        let none_dropped = format!("{DROPPED} 0");
        let is_shown =
            move |line: &&str| !line.starts_with('#') && !line.contains("_bucket{") && *line != none_dropped;
        let text = self.text();
        text.lines().filter(is_shown).map(String::from).collect::<Vec<_>>().into_iter()
    }

    /// All that guests have measured, in the order of names, as Prometheus reads it (text format 0.0.4).
    pub(crate) fn text(&self) -> String {
        let mut values: Vec<(Box<str>, Arc<Value>)> = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            values.extend(shard.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        values.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let mut text = String::new();
        for (name, value) in values {
            value.write(&mut text, &name);
        }
        one(&mut text, DROPPED, "counter", self.dropped.load(Ordering::Relaxed));
        text
    }
}

/// Writes a value of the node's own.
pub(crate) fn one(text: &mut String, name: &str, kind: &str, value: u64) {
    // Writing to a string cannot fail.
    let _ = write!(text, "# TYPE {name} {kind}\n{name} {value}\n");
}

/// A name as Prometheus has them: letters, digits, `_` and `:`, no digit first. Those that are ours are a node's.
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

    #[test]
    fn names_become_those_of_prometheus() {
        assert_eq!(fit("http.requests{a=\"b\"}\n\u{1b}[31m"), "http_requests_a__b_____31m");
        assert_eq!((fit("1st").as_str(), fit("lunatic_processes").as_str()), ("_1st", "_lunatic_processes"));
        assert_eq!(fit("ä:b_C"), "_:b_C");
    }

    #[test]
    fn what_does_not_fit_is_dropped_and_counted() {
        let metrics = Metrics::default();
        let mut names = 0;
        metrics.update("requests", Update::Add(2), &mut names);
        metrics.update("requests", Update::Add(3), &mut names);
        metrics.update("requests", Update::Set(7.0), &mut names);
        metrics.update("", Update::Add(1), &mut names);
        metrics.update(&"x".repeat(MAX_LENGTH + 1), Update::Add(1), &mut names);
        metrics.update("load", Update::Set(0.5), &mut names);
        metrics.update("load", Update::Change(f64::NAN), &mut names);
        metrics.update("load", Update::Change(-1.0), &mut names);
        assert_eq!(names, 2);
        assert_eq!(
            metrics.text(),
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
            metrics.update(&format!("name {number}"), Update::Add(1), &mut one);
        }
        metrics.update("another", Update::Add(1), &mut other);
        // Those that are there can still be used.
        metrics.update("name 1", Update::Add(1), &mut one);
        let text = metrics.text();
        assert_eq!((one, other), (MAX_NAMES_OF_PROCESS, 1));
        assert_eq!(text.matches("# TYPE name_").count(), MAX_NAMES_OF_PROCESS as usize);
        assert!(text.contains("\nanother 1\n") && text.contains("\nname_1 2\n"));
        assert!(text.contains(&format!("dropped_total {MAX_NAMES_OF_PROCESS}\n")));
    }
}
