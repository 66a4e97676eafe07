//! Randomness, injected: for guests, and for the scheduler.

use lunatic_resources::sync::Mutex;

/// The source of random bytes for guests.
pub trait Entropy: Send + Sync {
    /// Fills the buffer. Returns whether the source worked.
    fn fill(&self, buffer: &mut [u8]) -> bool;
}

/// The generator of the operating system.
#[derive(Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, buffer: &mut [u8]) -> bool {
        getrandom::fill(buffer).is_ok()
    }
}

/// A reproducible sequence. Not for secrets.
#[derive(Debug)]
pub struct SeededEntropy {
    sequence: Mutex<Rng>,
}

impl SeededEntropy {
    /// Creates the sequence of a seed.
    pub fn new(seed: u64) -> SeededEntropy {
        SeededEntropy::of(Rng::seeded(seed))
    }

    /// Creates a source from a sequence of numbers.
    pub fn of(sequence: Rng) -> SeededEntropy {
        SeededEntropy { sequence: Mutex::new(sequence) }
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, buffer: &mut [u8]) -> bool {
        // A sequence of numbers has no inconsistent state.
        let mut sequence = self.sequence.lock();
        for chunk in buffer.chunks_mut(8) {
            chunk.copy_from_slice(&sequence.draw().to_le_bytes()[..chunk.len()]);
        }
        true
    }
}

/// The random numbers of the scheduler: which worker to steal from, which virtual worker runs next. SplitMix64: a few
/// instructions, and every seed is a good one.
#[derive(Clone, Debug)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// Creates the sequence of a seed.
    pub fn seeded(seed: u64) -> Rng {
        Rng { state: seed }
    }

    /// Creates a sequence for one of the purposes of a seed. The sequences of different purposes are unrelated, and
    /// not shifted against each other as those of neighbouring states would be.
    pub fn of(seed: u64, purpose: u64) -> Rng {
        let mixed = Rng { state: seed }.draw();
        Rng { state: Rng { state: mixed ^ purpose }.draw() }
    }

    /// Returns a number below `bound`, which must not be 0.
    pub fn below(&mut self, bound: usize) -> usize {
        // The bias is bound / 2^64.
        (self.draw() % bound as u64) as usize
    }

    /// Returns any number.
    pub fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        let bytes = |seed| {
            let mut buffer = [0; 21];
            assert!(SeededEntropy::new(seed).fill(&mut buffer));
            buffer
        };
        assert_eq!(bytes(7), bytes(7));
        assert_ne!(bytes(7), bytes(8));
    }
}
