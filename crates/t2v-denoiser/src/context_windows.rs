//! Windows of frames for motion modules that know fewer positions than a clip has frames
//! ([FreeNoise](https://arxiv.org/abs/2310.15169); `FreeNoiseTransformerBlock` in `diffusers/models/attention.py`).

use std::ops::Range;

use burn::tensor::Tensor;

/// How the frames of a window count where windows overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WindowWeighting {
    /// All the same.
    Flat,
    /// More towards the middle: 1, 2, 3, 3, 2, 1.
    #[default]
    Pyramid,
    /// Hardly in the first half, then falling: 0.01, 0.01, 3, 3, 2, 1.
    DelayedReverseSawtooth,
}

/// Overlapping windows of a clip, each attended to by itself; frames of several windows are averaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContextWindows {
    /// Frames of a window.
    pub length: usize,
    /// Frames from the start of a window to that of the next, from 1 to `length`.
    pub stride: usize,
    /// How a window's frames count.
    pub weighting: WindowWeighting,
}

/// A window of a clip, and the part of its frames that count.
struct Window {
    frames: Range<usize>,
    counted: Range<usize>,
    /// Weights of the counted frames in the sum, and in what it is divided by.
    weights: Vec<f32>,
    divisors: Vec<f32>,
}

impl ContextWindows {
    fn weights(&self) -> Vec<f32> {
        let length = self.length;
        let half = length.div_ceil(2);
        let falling = |i: usize| (length - i).min(half) as f32;
        let weight = |i: usize| match self.weighting {
            WindowWeighting::Flat => 1.0,
            WindowWeighting::Pyramid => ((i + 1).min(length - i)) as f32,
            WindowWeighting::DelayedReverseSawtooth if i + 1 < half => 0.01,
            WindowWeighting::DelayedReverseSawtooth => falling(i),
        };
        (0..length).map(weight).collect()
    }

    /// The last window ends with the clip; of its frames only those count that no other window has. Upstream divides all of
    /// these by the first one's weight.
    fn windows(&self, frames: usize) -> Vec<Window> {
        let (length, weights) = (self.length, self.weights());
        let mut windows: Vec<Window> = (0..=frames - length)
            .step_by(self.stride)
            .map(|start| Window {
                frames: start..start + length,
                counted: start..start + length,
                weights: weights.clone(),
                divisors: weights.clone(),
            })
            .collect();
        let covered = windows.last().map_or(0, |last| last.frames.end);
        if covered < frames {
            let rest = frames - covered;
            windows.push(Window {
                frames: frames - length..frames,
                counted: covered..frames,
                weights: weights[length - rest..].to_vec(),
                divisors: vec![weights[length - rest]; rest],
            });
        }
        windows
    }

    /// Applies `layer` to each window of clips of `frames`, and averages.
    ///
    /// # Shapes
    /// - x: `[clips * frames, tokens, dim]`, unchanged; `layer` is given and gives `[clips * length, tokens, dim]`
    pub(crate) fn blend(
        &self,
        x: Tensor<3>,
        frames: usize,
        layer: impl Fn(Tensor<3>, usize) -> Tensor<3>,
    ) -> Tensor<3> {
        let [rows, tokens, dim] = x.dims();
        let (clips, length, device, dtype) = (rows / frames, self.length, x.device(), x.dtype());
        let x = x.reshape([clips, frames, tokens, dim]);
        let mut sum = Tensor::<4>::zeros([clips, frames, tokens, dim], (&device, dtype));
        let mut divisors = vec![0.0_f32; frames];
        for window in self.windows(frames) {
            let part = x
                .clone()
                .slice_dim(1, window.frames.clone())
                .reshape([clips * length, tokens, dim]);
            let part = layer(part, length).reshape([clips, length, tokens, dim]);
            let first = window.counted.start - window.frames.start;
            let part = part.slice_dim(1, first..length);
            let weights = by_frame(&window.weights, &part);
            let counted = window.counted.clone();
            let whole = [0..clips, counted.clone(), 0..tokens, 0..dim];
            sum = sum
                .clone()
                .slice_assign(whole.clone(), sum.slice(whole) + part * weights);
            for (divisor, weight) in divisors[counted].iter_mut().zip(window.divisors) {
                *divisor += weight;
            }
        }
        let divisors = by_frame(&divisors, &sum);
        (sum / divisors).reshape([rows, tokens, dim])
    }
}

/// One value a frame, to be broadcast over `like`, `[clips, frames, tokens, dim]`.
fn by_frame(values: &[f32], like: &Tensor<4>) -> Tensor<4> {
    Tensor::<1>::from_floats(values, &like.device())
        .cast(like.dtype())
        .reshape([1, values.len(), 1, 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(length: usize, stride: usize, weighting: WindowWeighting) -> ContextWindows {
        ContextWindows {
            length,
            stride,
            weighting,
        }
    }

    #[test]
    fn weights_are_those_of_the_paper() {
        let weights = |length, weighting| windows(length, 1, weighting).weights();
        assert_eq!(weights(4, WindowWeighting::Pyramid), [1.0, 2.0, 2.0, 1.0]);
        assert_eq!(weights(5, WindowWeighting::Pyramid), [1.0, 2.0, 3.0, 2.0, 1.0]);
        assert_eq!(weights(3, WindowWeighting::Flat), [1.0; 3]);
        let sawtooth = WindowWeighting::DelayedReverseSawtooth;
        assert_eq!(weights(4, sawtooth), [0.01, 2.0, 2.0, 1.0]);
        assert_eq!(weights(5, sawtooth), [0.01, 0.01, 3.0, 2.0, 1.0]);
    }

    #[test]
    fn every_frame_is_covered() {
        for (frames, length, stride) in [(8, 8, 4), (25, 16, 4), (12, 8, 4), (13, 8, 4), (9, 4, 3), (7, 4, 4)] {
            let windows = windows(length, stride, WindowWeighting::Flat);
            let mut covered = vec![0; frames];
            for window in windows.windows(frames) {
                assert_eq!(window.frames.len(), length);
                covered[window.counted].iter_mut().for_each(|n| *n += 1);
            }
            assert!(
                covered.iter().all(|n| *n > 0),
                "{frames} {length} {stride}: {covered:?}"
            );
        }
    }
}
