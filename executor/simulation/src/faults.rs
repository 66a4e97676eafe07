//! What a simulation does to a program besides running it.
//!
//! Two kinds. What a machine may do to any program at any time needs no asking: the machine stands still for a moment
//! (*jump*), or one of its processors does (*pause*). What no program has to expect is off until it is asked for: that
//! a process is killed, that there are no identifiers left for another, that blocking work takes very long.

use std::str::FromStr;

use lunatic_scheduler::Rng;

/// How likely something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probability {
    /// In parts of [`Probability::ONE`].
    parts: u64,
}

/// What is done to a program, and how likely at each opportunity. As text: `kill=0.001,spawn=0.1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults {
    /// A process that is about to run is killed instead, as if someone had done so: at each of its turns. The first
    /// process never is.
    pub kill: Probability,
    /// A spawn fails as if there were no process identifiers left.
    pub spawn: Probability,
    /// Blocking work, such as a compilation, takes up to ten seconds instead of up to ten milliseconds.
    pub slow: Probability,
    /// Before a turn, time passes for the whole machine: up to a second, mostly exactly until the next timer is
    /// due. Without a value, each seed has one of its own, and half of them have 0.
    pub jump: Option<Probability>,
    /// After a turn, its worker stands still for up to a tenth of a second, with the process that it was running if
    /// that one's slice is not over. Without a value, each seed has one of its own, and half of them have 0.
    pub pause: Option<Probability>,
}

/// Why a text does not say which faults there are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultsError {
    /// It has no value.
    #[error("{0:?} is no fault with a probability: try kill=0.01")]
    NoValue(String),
    /// There is no fault of this name.
    #[error("there is no fault {0:?}: there are kill, spawn, slow, jump and pause")]
    Unknown(String),
    /// What should be a probability is none.
    #[error("{0:?} is no probability, which is a number from 0 to 1")]
    NotAProbability(String),
}

impl Probability {
    /// It does not happen.
    pub const NEVER: Probability = Probability { parts: 0 };

    const ONE: u64 = 1 << 32;

    /// This probability, if it is one: a number from 0 to 1.
    pub fn new(probability: f64) -> Option<Probability> {
        let is_one = (0.0..=1.0).contains(&probability);
        is_one.then_some(Probability { parts: (probability * Self::ONE as f64) as u64 })
    }

    /// So many of so many times.
    pub(super) const fn ratio(times: u64, of: u64) -> Probability {
        Probability { parts: Self::ONE / of * times }
    }

    /// Whether it happens this time.
    pub(super) fn happens(self, rng: &mut Rng) -> bool {
        // Most are 0, and take nothing from the sequence.
        self.parts > 0 && rng.draw() % Self::ONE < self.parts
    }
}

impl Default for Faults {
    /// What any machine does.
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
    fn a_text_says_what_happens() {
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
    fn what_is_sure_happens_and_what_is_impossible_does_not() {
        let mut rng = Rng::seeded(1);
        let mut count = |probability: f64| {
            let probability = Probability::new(probability).unwrap();
            (0..10_000).filter(|_| probability.happens(&mut rng)).count()
        };
        assert_eq!((count(0.0), count(1.0)), (0, 10_000));
        assert!((2_000..3_000).contains(&count(0.25)));
    }
}
