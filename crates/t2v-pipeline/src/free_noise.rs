//! FreeNoise ([Qiu et al., 2023](https://arxiv.org/abs/2310.15169)): clips longer than a motion module's positions, in
//! windows of frames that overlap, from noise that repeats itself in another order.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use t2v_denoiser::{ContextWindows, WindowWeighting};
use t2v_schedulers::TorchGenerator;

use crate::ValidationError;

/// How the frames of a window count where windows overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FrameWeighting {
    /// All the same.
    Flat,
    /// More towards the middle.
    #[default]
    Pyramid,
    /// Hardly in the first half, then falling; for windows of an even length.
    DelayedReverseSawtooth,
}

/// Where the noise of the frames after the first window comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FrameNoise {
    /// The frames of a window before, in random order.
    #[default]
    ShuffleContext,
    /// Drawn like the first.
    Random,
}

/// Settings of FreeNoise, by the names and with the defaults of diffusers' `enable_free_noise`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct FreeNoise {
    /// Frames of a window, at most the positions of the motion modules.
    pub context_length: u32,
    /// Frames from the start of a window to that of the next, at most its length.
    pub context_stride: u32,
    /// How a window's frames count.
    pub weighting_scheme: FrameWeighting,
    /// Where the noise comes from.
    pub noise_type: FrameNoise,
}

impl Default for FreeNoise {
    fn default() -> Self {
        Self {
            context_length: 16,
            context_stride: 4,
            weighting_scheme: FrameWeighting::default(),
            noise_type: FrameNoise::default(),
        }
    }
}

impl FreeNoise {
    /// Windows of `context_length` frames, each `context_stride` after the one before.
    #[must_use]
    pub fn new(context_length: u32, context_stride: u32) -> Self {
        Self {
            context_length,
            context_stride,
            ..Self::default()
        }
    }

    /// Adds what is wrong with it for motion modules of so many positions.
    pub(crate) fn check(&self, positions: usize, faults: &mut ValidationError) {
        let (length, stride) = (self.context_length, self.context_stride);
        let mut fault = |what: String| faults.add("free_noise", format!("The free noise's {what}."));
        if length == 0 || length as usize > positions {
            fault(format!(
                "context_length must be between 1 and {positions}, the positions of the motion modules, not {length}"
            ));
        }
        if stride == 0 || stride > length {
            fault(format!(
                "context_stride must be between 1 and the context_length of {length}, not {stride}"
            ));
        }
        if self.weighting_scheme == FrameWeighting::DelayedReverseSawtooth && !length.is_multiple_of(2) {
            fault(format!(
                "context_length must be even for delayed_reverse_sawtooth, not {length}"
            ));
        }
    }

    pub(crate) fn windows(&self) -> ContextWindows {
        ContextWindows {
            length: self.context_length as usize,
            stride: self.context_stride as usize,
            weighting: match self.weighting_scheme {
                FrameWeighting::Flat => WindowWeighting::Flat,
                FrameWeighting::Pyramid => WindowWeighting::Pyramid,
                FrameWeighting::DelayedReverseSawtooth => WindowWeighting::DelayedReverseSawtooth,
            },
        }
    }

    /// The noise of a clip, with frames after the first window in place of which come frames from before.
    ///
    /// # Shapes
    /// - noise: `[1, channels, frames, height, width]`, as the result
    pub(crate) fn arrange(&self, noise: Tensor<5>, generator: &mut TorchGenerator) -> Tensor<5> {
        let (frames, length, stride) = (
            noise.dims()[2],
            self.context_length as usize,
            self.context_stride as usize,
        );
        if self.noise_type == FrameNoise::Random || frames <= length {
            return noise;
        }
        let mut sources: Vec<i64> = (0..frames as i64).collect();
        for first in (length..frames).step_by(stride) {
            let start = first - length;
            let count = frames.min(start + stride) - start;
            let order = generator.permutation(count);
            // They may be shuffled ones themselves.
            let shuffled: Vec<i64> = order.iter().map(|i| sources[start + i]).collect();
            for (place, source) in sources[first..].iter_mut().zip(shuffled) {
                *place = source;
            }
        }
        let device = noise.device();
        noise.select(2, Tensor::from_ints(sources.as_slice(), &device))
    }
}
