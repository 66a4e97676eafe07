//! What a simulation does to a program besides running it.
//!
//! There are two kinds of faults. A machine may do some of them to any program at any time, and they are on by
//! default: the machine stands still for a moment (*jump*), or one of its processors does (*pause*). No program has
//! to expect the others, and they are off by default: a process is killed, there are no identifiers left, blocking
//! work takes very long.

use std::str::FromStr;

use lunatic_scheduler::Rng;

/// A probability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probability {
    /// In units of 1 / [`Probability::ONE`].
    parts: u64,
}

/// The faults, with their probabilities at each opportunity. As text: `kill=0.001,spawn=0.1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults {
    /// A process that is about to run is killed instead, at each of its turns. The first process never is.
    pub kill: Probability,
    /// A spawn fails as if there were no process identifiers left.
    pub spawn: Probability,
    /// Blocking work, such as a compilation, takes up to ten seconds instead of up to ten milliseconds.
    pub slow: Probability,
    /// Before a turn, up to a second passes for the whole machine, mostly exactly until the next timer is due. By
    /// default, each seed has a probability of its own, which is 0 for half of the seeds.
    pub jump: Option<Probability>,
    /// After a turn, the worker stands still for up to a tenth of a second, with the process that it was running if
    /// the slice is not over. By default, each seed has a probability of its own, which is 0 for half of the seeds.
    pub pause: Option<Probability>,
}

/// Why a text describes no faults.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultsError {
    /// A fault has no value.
    #[error("{0:?} is no fault with a probability: try kill=0.01")]
    NoValue(String),
    /// There is no fault of this name.
    #[error("there is no fault {0:?}: there are kill, spawn, slow, jump and pause")]
    Unknown(String),
    /// A value is no probability.
    #[error("{0:?} is no probability, which is a number from 0 to 1")]
    NotAProbability(String),
}

impl Probability {
    /// The probability 0.
    pub const NEVER: Probability = Probability { parts: 0 };

    const ONE: u64 = 1 << 32;

    /// Creates a probability from a number from 0 to 1.
    pub fn new(probability: f64) -> Option<Probability> {
        let is_one = (0.0..=1.0).contains(&probability);
        is_one.then_some(Probability { parts: (probability * Self::ONE as f64) as u64 })
    }

    /// Creates the probability of a ratio.
    pub(super) const fn ratio(times: u64, of: u64) -> Probability {
        Probability { parts: Self::ONE / of * times }
    }

    /// Returns whether the event happens this time.
    pub(super) fn happens(self, rng: &mut Rng) -> bool {
        // Most probabilities are 0, and use nothing of the random sequence.
        self.parts > 0 && rng.draw() % Self::ONE < self.parts
    }
}

impl Default for Faults {
    /// The faults that any machine may have.
    fn default() -> Faults {
        let never = Probability::NEVER;
        Faults { kill: never, spawn: never, slow: never, jump: None, pause: None }
    }
}

impl FromStr for Faults {
    type Err = FaultsError;

    fn from_str(text: &str) -> Result<Faults, FaultsError> {
        let mut faults = Faults::default();
        for fault in text.split(',') {
            let (name, value) = fault.split_once('=').ok_or_else(|| FaultsError::NoValue(fault.into()))?;
            let probability = value.parse().ok().and_then(Probability::new);
            let probability = probability.ok_or_else(|| FaultsError::NotAProbability(value.into()))?;
            match name {
                "kill" => faults.kill = probability,
                "spawn" => faults.spawn = probability,
                "slow" => faults.slow = probability,
                "jump" => faults.jump = Some(probability),
                "pause" => faults.pause = Some(probability),
                _ => return Err(FaultsError::Unknown(name.into())),
            }
        }
        Ok(faults)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_parsed_from_text() {
        let faults: Faults = "kill=0.5,jump=0".parse().unwrap();
        assert_eq!(faults.kill, Probability::ratio(1, 2));
        assert_eq!((faults.jump, faults.pause), (Some(Probability::NEVER), None));
        assert_eq!(faults.spawn, Probability::NEVER);
        for (text, error) in [
            ("", FaultsError::NoValue(String::new())),
            ("kill", FaultsError::NoValue("kill".into())),
            ("kil=1", FaultsError::Unknown("kil".into())),
            ("kill=2", FaultsError::NotAProbability("2".into())),
            ("kill=-0.1", FaultsError::NotAProbability("-0.1".into())),
            ("kill=NaN", FaultsError::NotAProbability("NaN".into())),
            ("kill=", FaultsError::NotAProbability(String::new())),
        ] {
            assert_eq!(text.parse::<Faults>(), Err(error), "{text}");
        }
    }

    #[test]
    fn certain_faults_happen_and_impossible_ones_do_not() {
        let mut rng = Rng::seeded(1);
        let mut count = |probability: f64| {
            let probability = Probability::new(probability).unwrap();
            (0..10_000).filter(|_| probability.happens(&mut rng)).count()
        };
        assert_eq!((count(0.0), count(1.0)), (0, 10_000));
        assert!((2_000..3_000).contains(&count(0.25)));
    }
}
