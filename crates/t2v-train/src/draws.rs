//! Random numbers that follow from a seed and a place in the training alone.
//!
//! Noise is torch's, from a generator that is seeded anew for each clip of each step; choices are drawn from SplitMix64 (Steele,
//! Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).

use t2v_schedulers::TorchGenerator;

/// What a stream of random numbers is for; streams of one place are independent.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    /// The adapters' first values.
    Adapters,
    /// The order of the examples of an epoch.
    Order,
    /// Timestep, noise and what is left out of a clip of a step.
    Clip,
}

/// Random numbers of one place.
pub(crate) struct Draws(u64);

impl Draws {
    /// The stream of a purpose at a place, such as a step and a clip in it.
    pub(crate) fn new(seed: u64, purpose: Purpose, place: [usize; 2]) -> Self {
        let mut draws = Self(seed);
        for part in [purpose as u64, place[0] as u64, place[1] as u64] {
            draws.0 = draws.next() ^ part;
        }
        draws
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In `[0, 1)`.
    pub(crate) fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Below `count`, which is at least 1.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        ((self.uniform() * count as f64) as usize).min(count - 1)
    }

    /// A source of normal numbers.
    pub(crate) fn generator(&mut self) -> TorchGenerator {
        TorchGenerator::new(self.next())
    }
}

/// The example that clip number `index` of a training shows: each once an epoch, in an order of the epoch's own.
pub(crate) fn example(seed: u64, index: usize, examples: usize) -> usize {
    let (epoch, place) = (index / examples, index % examples);
    Draws::new(seed, Purpose::Order, [epoch, 0])
        .generator()
        .permutation(examples)[place]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_have_streams_of_their_own() {
        let first = |purpose, place| Draws::new(7, purpose, place).next();
        let streams = [
            first(Purpose::Clip, [0, 0]),
            first(Purpose::Clip, [0, 1]),
            first(Purpose::Clip, [1, 0]),
            first(Purpose::Order, [0, 0]),
            Draws::new(8, Purpose::Clip, [0, 0]).next(),
        ];
        for (i, stream) in streams.iter().enumerate() {
            assert!(!streams[i + 1..].contains(stream), "{streams:?}");
        }
        assert_eq!(first(Purpose::Clip, [3, 2]), first(Purpose::Clip, [3, 2]));
    }

    #[test]
    fn numbers_are_even() {
        let mut draws = Draws::new(0, Purpose::Clip, [0, 0]);
        let mut counts = [0; 5];
        for _ in 0..5000 {
            counts[draws.below(5)] += 1;
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }

    #[test]
    fn an_epoch_shows_each_example_once() {
        for epoch in 0..3 {
            let mut shown: Vec<usize> = (0..7).map(|i| example(1, epoch * 7 + i, 7)).collect();
            shown.sort_unstable();
            assert_eq!(shown, [0, 1, 2, 3, 4, 5, 6]);
        }
        let order = |epoch: usize| (0..7).map(|i| example(1, epoch * 7 + i, 7)).collect::<Vec<_>>();
        assert_ne!(order(0), order(1));
    }
}
