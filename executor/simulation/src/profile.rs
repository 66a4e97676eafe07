//! The properties of a seed's machine: how finely it cuts slices, and how often it stands still.
//!
//! Every seed has a machine of its own instead of an average one: some races need many interruptions and no lost
//! time, and others the opposite.

use lunatic_scheduler::Rng;

use super::faults::{Faults, Probability};

/// The properties of a machine. See the module documentation.
#[derive(Debug)]
pub(super) struct Profile {
    /// The share of slices that are cut. It is never all of them: a program would hardly make progress.
    pub(super) cut: Probability,
    /// Reductions of a cut slice at most. Some seeds interrupt after a few instructions, others hardly ever.
    pub(super) longest: u64,
    pub(super) jump: Probability,
    pub(super) pause: Probability,
}

/// The range of the share of cut slices, in sixteenths.
const CUTS: [u64; 6] = [0, 4, 8, 12, 14, 15];

/// The least maximum of cut slices, as a power of two.
const LONGEST: u32 = 4;

/// The rarest and the most frequent event that a seed may have, as powers of one half.
const RARITY: std::ops::Range<usize> = 2..12;

impl Profile {
    /// Draws the properties of a machine from a random sequence, unless the faults set them. A whole slice has
    /// `slice` reductions.
    pub(super) fn draw(rng: &mut Rng, faults: &Faults, slice: u64) -> Profile {
        let cut = Probability::ratio(CUTS[rng.below(CUTS.len())], 16);
        let bits = (slice.ilog2() + 1).saturating_sub(LONGEST) as usize + 1;
        let longest = 1u64.checked_shl(LONGEST + rng.below(bits) as u32).unwrap_or(u64::MAX).min(slice);
        let (jump, pause) = (rarely(rng), rarely(rng));
        Profile { cut, longest, jump: faults.jump.unwrap_or(jump), pause: faults.pause.unwrap_or(pause) }
    }

    /// Returns the reductions of the next slice.
    pub(super) fn slice(&self, rng: &mut Rng, slice: u64) -> u64 {
        if self.cut.happens(rng) { 1 + up_to(rng, self.longest - 1) } else { slice }
    }
}

/// Returns 0 for every other seed, and otherwise a probability between often and rarely.
fn rarely(rng: &mut Rng) -> Probability {
    if rng.below(2) == 0 {
        return Probability::NEVER;
    }
    Probability::ratio(1, 1 << (RARITY.start + rng.below(RARITY.len())))
}

/// Returns a number from 0 to `most`, of each order of magnitude with the same probability.
pub(super) fn up_to(rng: &mut Rng, most: u64) -> u64 {
    let bits = rng.below(u64::BITS as usize + 1 - most.leading_zeros() as usize) as u32;
    let mask = 1u64.checked_shl(bits).map_or(u64::MAX, |limit| limit - 1);
    (rng.draw() & mask).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_large_numbers_come_and_none_is_too_large() {
        let mut rng = Rng::seeded(3);
        for most in [0, 1, 1000, u64::MAX] {
            let numbers: Vec<u64> = (0..1000).map(|_| up_to(&mut rng, most)).collect();
            assert!(numbers.iter().all(|number| *number <= most));
            assert!(numbers.contains(&0));
            assert!(numbers.iter().any(|number| *number >= most / 2), "{most}");
        }
    }

    #[test]
    fn every_seed_gives_full_slices_and_no_empty_ones() {
        for (seed, whole) in (0..100).zip([1, 2, 15, 1000, u64::MAX].into_iter().cycle()) {
            let mut rng = Rng::seeded(seed);
            let profile = Profile::draw(&mut rng, &Faults::default(), whole);
            let slices: Vec<u64> = (0..1000).map(|_| profile.slice(&mut rng, whole)).collect();
            assert!(slices.contains(&whole), "{profile:?}");
            assert!(slices.iter().all(|slice| (1..=whole).contains(slice)), "{profile:?}");
        }
    }
}
