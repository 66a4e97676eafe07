//! The value of a name: a counter, a gauge or a histogram.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use lunatic_resources::sync::Mutex;

/// A change of a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Update {
    /// Adds to a counter.
    Add(u64),
    /// Sets a gauge.
    Set(f64),
    /// Adds to a gauge.
    Change(f64),
    /// Adds an observation to a histogram.
    Observe(f64),
}

/// A value.
#[derive(Debug)]
pub(super) enum Value {
    Counter(AtomicU64),
    /// The bits of a floating-point number.
    Gauge(AtomicU64),
    Histogram(Mutex<Histogram>),
}

#[derive(Debug, Default)]
pub(super) struct Histogram {
    count: u64,
    sum: f64,
    /// The number of observations up to each of [`BOUNDS`].
    buckets: [u64; BOUNDS.len()],
}

/// The bounds of buckets: three in a decade, from a millisecond to hours if the unit is seconds.
const BOUNDS: [f64; 22] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0,
    500.0, 1000.0, 2500.0, 5000.0, 10000.0,
];

impl Value {
    /// Creates the initial value for a change.
    pub(super) fn of(update: Update) -> Value {
        match update {
            Update::Add(_) => Value::Counter(AtomicU64::new(0)),
            Update::Set(_) | Update::Change(_) => Value::Gauge(AtomicU64::new(0.0f64.to_bits())),
            Update::Observe(_) => Value::Histogram(Mutex::default()),
        }
    }

    /// Applies a change, if it fits the kind and its number is finite.
    pub(super) fn apply(&self, update: Update) -> bool {
        // Relaxed, all of them: numbers that order nothing.
        match (self, update) {
            (Value::Counter(counter), Update::Add(by)) => {
                counter.fetch_add(by, Ordering::Relaxed);
                true
            }
            (Value::Gauge(gauge), Update::Set(to)) if to.is_finite() => {
                gauge.store(to.to_bits(), Ordering::Relaxed);
                true
            }
            (Value::Gauge(gauge), Update::Change(by)) if by.is_finite() => {
                let change = |bits| Some((f64::from_bits(bits) + by).to_bits());
                gauge.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change).is_ok()
            }
            (Value::Histogram(histogram), Update::Observe(value)) if value.is_finite() => {
                // Only numbers change under the lock.
                histogram.lock().observe(value);
                true
            }
            _ => false,
        }
    }

    /// Writes the value with its name.
    pub(super) fn write(&self, text: &mut String, name: &str) {
        // Writing to a string cannot fail, here and below.
        let _ = match self {
            Value::Counter(counter) => {
                write!(text, "# TYPE {name} counter\n{name} {}\n", counter.load(Ordering::Relaxed))
            }
            Value::Gauge(gauge) => {
                let value = f64::from_bits(gauge.load(Ordering::Relaxed));
                write!(text, "# TYPE {name} gauge\n{name} {}\n", number(value))
            }
            Value::Histogram(histogram) => {
                histogram.lock().write(text, name);
                Ok(())
            }
        };
    }
}

impl Histogram {
    fn observe(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
        for (bucket, bound) in self.buckets.iter_mut().zip(BOUNDS) {
            *bucket += u64::from(value <= bound);
        }
    }

    fn write(&self, text: &mut String, name: &str) {
        let _ = writeln!(text, "# TYPE {name} histogram");
        for (count, bound) in self.buckets.iter().zip(BOUNDS) {
            let _ = writeln!(text, "{name}_bucket{{le=\"{bound}\"}} {count}");
        }
        let Histogram { count, sum, .. } = self;
        let _ = write!(
            text,
            "{name}_bucket{{le=\"+Inf\"}} {count}\n{name}_sum {}\n{name}_count {count}\n",
            number(*sum)
        );
    }
}

/// Writes a number in the format of Prometheus. Sums of finite numbers may overflow to infinity.
fn number(value: f64) -> String {
    match value {
        f64::INFINITY => "+Inf".into(),
        f64::NEG_INFINITY => "-Inf".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histogram_buckets_are_cumulative() {
        let histogram = Value::of(Update::Observe(0.0));
        for value in [0.001, 0.3, 7.0, 1e9] {
            assert!(histogram.apply(Update::Observe(value)));
        }
        assert!(!histogram.apply(Update::Observe(f64::NAN)) && !histogram.apply(Update::Add(1)));
        let mut text = String::new();
        histogram.write(&mut text, "time");
        for line in [
            "# TYPE time histogram",
            "time_bucket{le=\"0.001\"} 1",
            "time_bucket{le=\"0.25\"} 1",
            "time_bucket{le=\"0.5\"} 2",
            "time_bucket{le=\"10000\"} 3",
            "time_bucket{le=\"+Inf\"} 4",
            "time_sum 1000000007.301",
            "time_count 4",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} in {text}");
        }
    }

    #[test]
    fn a_sum_may_become_too_large() {
        let gauge = Value::of(Update::Set(0.0));
        assert!(gauge.apply(Update::Set(f64::MAX)) && gauge.apply(Update::Change(f64::MAX)));
        let mut text = String::new();
        gauge.write(&mut text, "large");
        assert!(text.ends_with("large +Inf\n"));
    }
}
