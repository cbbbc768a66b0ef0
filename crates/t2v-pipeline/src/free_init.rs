//! FreeInit ([Wu et al., 2023](https://arxiv.org/abs/2312.07537)): a clip is denoised several times, each time from noise
//! whose slow and coarse parts are those of the clip before. Frames agree more; it takes as many times longer.

use burn::tensor::{Tensor, TensorData};
use rustfft::{FftPlanner, num_complex::Complex};
use serde::{Deserialize, Serialize};

use crate::{PipelineError, ValidationError, plan::kept_steps, readback};

/// Most passes: each takes as long as a generation without.
const MAX_ITERS: u32 = 10;
/// Far above any use.
const MAX_ORDER: u32 = 32;

/// What lets the low frequencies pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FreeInitFilter {
    /// Falls smoothly, the steeper the higher the order.
    #[default]
    Butterworth,
    /// A bell.
    Gaussian,
    /// All or nothing.
    Ideal,
}

/// Settings of FreeInit, by the names and with the defaults of diffusers' `enable_free_init`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct FreeInit {
    /// How often the clip is denoised, 1 to 10.
    pub num_iters: u32,
    /// Whether earlier passes have fewer steps.
    pub use_fast_sampling: bool,
    /// What the low frequencies pass through.
    pub method: FreeInitFilter,
    /// Steepness of the Butterworth filter, 1 to 32.
    pub order: u32,
    /// Where it stops low frequencies within a frame, 0 to 1, of the highest.
    pub spatial_stop_frequency: f64,
    /// Where it stops low frequencies over frames, 0 to 1, of the highest.
    pub temporal_stop_frequency: f64,
}

impl Default for FreeInit {
    fn default() -> Self {
        Self {
            num_iters: 3,
            use_fast_sampling: false,
            method: FreeInitFilter::default(),
            order: 4,
            spatial_stop_frequency: 0.25,
            temporal_stop_frequency: 0.25,
        }
    }
}

impl FreeInit {
    /// The defaults with another number of passes.
    #[must_use]
    pub fn new(num_iters: u32) -> Self {
        Self {
            num_iters,
            ..Self::default()
        }
    }

    pub(crate) fn check(&self, faults: &mut ValidationError) {
        let mut fault = |what: &str| faults.add("free_init", format!("The free init's {what}."));
        if !(1..=MAX_ITERS).contains(&self.num_iters) {
            fault(&format!(
                "num_iters must be between 1 and {MAX_ITERS}, not {}",
                self.num_iters
            ));
        }
        if !(1..=MAX_ORDER).contains(&self.order) {
            fault(&format!("order must be between 1 and {MAX_ORDER}, not {}", self.order));
        }
        for (name, stop) in [
            ("spatial_stop_frequency", self.spatial_stop_frequency),
            ("temporal_stop_frequency", self.temporal_stop_frequency),
        ] {
            if !(0.0..=1.0).contains(&stop) {
                fault(&format!("{name} must be between 0 and 1, not {stop}"));
            }
        }
    }

    /// Steps of each pass and how many of them are run, the last ones. `strength` cuts the schedule of each pass anew, and
    /// the next pass goes on with what was left, as upstream.
    pub(crate) fn passes(&self, steps: usize, strength: Option<f64>) -> Vec<(usize, usize)> {
        let kept = |steps: usize| kept_steps(steps, strength.unwrap_or(1.0));
        let mut steps = kept(steps);
        let mut passes = Vec::new();
        for pass in 1..=self.num_iters {
            let scheduled = match self.use_fast_sampling {
                true => ((steps as f64 / f64::from(self.num_iters) * f64::from(pass)) as usize).max(1),
                false => steps,
            };
            // With nothing left upstream runs no step any more.
            let run = kept(scheduled);
            passes.push((scheduled, run));
            if strength.is_some() {
                steps = run;
            }
        }
        passes
    }

    /// The low frequencies of `clip` and the high ones of `fresh`.
    ///
    /// # Shapes
    /// - clip, fresh: `[1, channels, frames, height, width]`, as the result
    pub(crate) fn mix(&self, clip: Tensor<5>, fresh: Tensor<5>) -> Result<Tensor<5>, PipelineError> {
        let (shape, device) = (clip.dims(), clip.device());
        let [_, channels, frames, height, width] = shape;
        let sides = [frames, height, width];
        let volume = frames * height * width;
        let (low, mut planner) = (self.low_pass(sides), FftPlanner::new());
        let (clip, fresh) = (readback::values(clip)?, readback::values(fresh)?);
        let mut mixed = Vec::with_capacity(clip.len());
        for channel in 0..channels {
            let part = channel * volume..(channel + 1) * volume;
            let mut spectrum = |values: &[f32]| {
                let mut values: Vec<Complex<f64>> = values.iter().map(|v| Complex::from(f64::from(*v))).collect();
                transform(&mut values, sides, &mut planner, false);
                values
            };
            let (kept, drawn) = (spectrum(&clip[part.clone()]), spectrum(&fresh[part]));
            let pairs = kept.iter().zip(&drawn).zip(&low);
            let mut sum: Vec<_> = pairs
                .map(|((kept, drawn), low)| kept * low + drawn * (1.0 - low))
                .collect();
            transform(&mut sum, sides, &mut planner, true);
            mixed.extend(sum.iter().map(|value| (value.re / volume as f64) as f32));
        }
        Ok(Tensor::from_data(TensorData::new(mixed, shape), &device))
    }

    /// How much of each frequency passes, in the order of a transform's result.
    fn low_pass(&self, sides: [usize; 3]) -> Vec<f64> {
        let (space, time) = (self.spatial_stop_frequency, self.temporal_stop_frequency);
        let mut low = Vec::with_capacity(sides.iter().product());
        // -1 to 1 with 0, the mean, in the middle.
        let place = |i: usize, side: usize| 2.0 * ((i + side / 2) % side) as f64 / side as f64 - 1.0;
        for t in 0..sides[0] {
            for h in 0..sides[1] {
                for w in 0..sides[2] {
                    let over_time = space / time * place(t, sides[0]);
                    let squares = [over_time, place(h, sides[1]), place(w, sides[2])].map(|x| x * x);
                    low.push(self.passes_at(squares.iter().sum(), space, time));
                }
            }
        }
        low
    }

    fn passes_at(&self, distance: f64, space: f64, time: f64) -> f64 {
        if space == 0.0 || time == 0.0 {
            return 0.0;
        }
        match self.method {
            FreeInitFilter::Butterworth => 1.0 / (1.0 + (distance / (space * space)).powi(self.order as i32)),
            FreeInitFilter::Gaussian => (-distance / (2.0 * space * space)).exp(),
            FreeInitFilter::Ideal => f64::from(distance <= 2.0 * space),
        }
    }
}

/// The discrete Fourier transform over three sides, or its inverse times their product.
fn transform(values: &mut [Complex<f64>], sides: [usize; 3], planner: &mut FftPlanner<f64>, inverse: bool) {
    let strides = [sides[1] * sides[2], sides[2], 1];
    for (side, stride) in sides.into_iter().zip(strides) {
        let fft = match inverse {
            true => planner.plan_fft_inverse(side),
            false => planner.plan_fft_forward(side),
        };
        let mut line = vec![Complex::default(); side];
        let starts = (0..values.len()).filter(|i| i / stride % side == 0);
        for start in starts {
            for (i, value) in line.iter_mut().enumerate() {
                *value = values[start + i * stride];
            }
            fft.process(&mut line);
            for (i, value) in line.iter().enumerate() {
                values[start + i * stride] = *value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use burn::tensor::Device;

    use super::*;

    #[test]
    fn passes_are_those_of_upstream() {
        let slow = FreeInit::new(3);
        let fast = FreeInit {
            use_fast_sampling: true,
            ..slow
        };
        assert_eq!(slow.passes(5, None), [(5, 5), (5, 5), (5, 5)]);
        assert_eq!(fast.passes(5, None), [(1, 1), (3, 3), (5, 5)]);
        assert_eq!(fast.passes(2, None), [(1, 1), (1, 1), (2, 2)]);
        assert_eq!(slow.passes(10, Some(0.5)), [(5, 2), (2, 1), (1, 0)]);
    }

    /// A wave that is slow is kept, one that is fast is not, whichever way it runs.
    #[test]
    fn low_frequencies_are_kept_and_high_ones_drawn() {
        let sides = [8, 16, 16];
        let wave = |per_side: [f64; 3]| {
            let mut values = Vec::new();
            for t in 0..sides[0] {
                for h in 0..sides[1] {
                    for w in 0..sides[2] {
                        let turns: f64 = [t, h, w]
                            .iter()
                            .zip(sides)
                            .zip(per_side)
                            .map(|((i, side), waves)| *i as f64 / side as f64 * waves)
                            .sum();
                        values.push((TAU * turns).cos() as f32);
                    }
                }
            }
            Tensor::<1>::from_floats(values.as_slice(), &Device::flex()).reshape([1, 1, 8, 16, 16])
        };
        let zero = wave([0.0; 3]) * 0.0;
        let ideal = FreeInit {
            method: FreeInitFilter::Ideal,
            ..FreeInit::default()
        };
        for (waves, is_kept) in [
            ([0.0, 1.0, 0.0], true),
            ([1.0, 0.0, 1.0], true),
            ([0.0, 7.0, 0.0], false),
            ([4.0, 0.0, 0.0], false),
        ] {
            let wave = wave(waves);
            let expected = |kept: bool| if kept { wave.clone() } else { zero.clone() };
            for (mixed, expected) in [
                (ideal.mix(wave.clone(), zero.clone()), expected(is_kept)),
                (ideal.mix(zero.clone(), wave.clone()), expected(!is_kept)),
            ] {
                let off: f32 = (mixed.unwrap() - expected).abs().max().into_scalar();
                assert!(off < 1e-5, "{waves:?}: {off}");
            }
        }
    }
}
