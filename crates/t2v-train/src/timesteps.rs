//! Which timesteps a training draws.

use serde::{Deserialize, Serialize};

use crate::draws::Draws;

/// How often each timestep is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum TimestepDensity {
    /// All the same.
    #[default]
    Uniform,
    /// The logistic function of a normal number, which is drawn mostly from the middle, where what is to be seen is decided: Esser et al.,
    /// "Scaling Rectified Flow Transformers for High-Resolution Image Synthesis", <https://arxiv.org/abs/2403.03206>.
    LogitNormal {
        /// Of the normal number: above 0 there is more noise, below less.
        mean: f64,
        /// Standard deviation of the normal number, above 0: 1 is usual.
        std: f64,
    },
}

impl TimestepDensity {
    /// One of `count` timesteps, of which the last has most noise.
    pub(crate) fn draw(self, draws: &mut Draws, count: usize) -> usize {
        match self {
            Self::Uniform => draws.below(count),
            Self::LogitNormal { mean, std } => {
                let normal = f64::from(draws.generator().randn(1)[0]);
                let share = 1.0 / (1.0 + (-(mean + std * normal)).exp());
                ((share * count as f64) as usize).min(count - 1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draws::Purpose;

    /// How many of 4000 are in each fifth of 1000 timesteps.
    fn fifths(density: TimestepDensity) -> [usize; 5] {
        let mut counts = [0; 5];
        for place in 0..4000 {
            let timestep = density.draw(&mut Draws::new(3, Purpose::Clip, [place, 0]), 1000);
            counts[timestep / 200] += 1;
        }
        counts
    }

    #[test]
    fn timesteps_are_drawn_as_often_as_asked_for() {
        let even = fifths(TimestepDensity::Uniform);
        assert!(even.iter().all(|count| (700..900).contains(count)), "{even:?}");
        // The normal distribution function at the logits of 0.2, 0.4, 0.6 and 0.8: 0.083, 0.343, 0.657 and 0.917.
        let middle = fifths(TimestepDensity::LogitNormal { mean: 0.0, std: 1.0 });
        for (count, share) in middle.iter().zip([0.083, 0.260, 0.315, 0.260, 0.083]) {
            assert!((*count as f64 / 4000.0 - share).abs() < 0.03, "{middle:?}");
        }
        let noisy = fifths(TimestepDensity::LogitNormal { mean: 1.0, std: 0.5 });
        assert!(noisy[3] > noisy[1] && noisy[0] < 10, "{noisy:?}");
    }
}
