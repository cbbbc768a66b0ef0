//! Rough pictures of a generation under way, without the autoencoder: by a projection to colours, or by a small decoder where the
//! model has one.

use burn::tensor::{Device, Tensor, TensorData};
use image::{Rgb, RgbImage};
use t2v_schedulers::TorchGenerator;
use t2v_vae::LatentCodec;

use crate::{PipelineError, readback};

/// The projection is fitted on at least this many colours, each decoded from `SIDE` by `SIDE` equal latents.
const COLOURS: usize = 64;
const SIDE: usize = 2;
/// Keeps the fit determined where a channel has no effect.
const RIDGE: f64 = 1e-3;

/// A rough look at the clean video that the denoiser is heading for.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Preview {
    /// Model calls that are done.
    pub done: usize,
    /// Model calls in all.
    pub total: usize,
    /// One picture a frame of the latents: small ones, a pixel for each of their cells, or with a model that has a small decoder for
    /// this as large as the frames.
    pub frames: Vec<RgbImage>,
}

/// From latents to pictures, in a small part of the time that the autoencoder takes.
pub(crate) enum Previewer {
    Colours(LatentToRgb),
    Decoder(Box<dyn PreviewDecoder>),
}

impl Previewer {
    /// One picture a frame of a clip, `[1, channels, frames, height, width]`.
    pub(crate) fn pictures(&self, clip: Tensor<5>) -> Result<Vec<RgbImage>, PipelineError> {
        match self {
            Self::Colours(projection) => projection.pictures(clip),
            Self::Decoder(decoder) => decoder.decode(clip).into_iter().map(last_frame).collect(),
        }
    }
}

/// A small decoder that gives about what the autoencoder does.
pub(crate) trait PreviewDecoder: Send {
    /// The frames that each latent frame stands for, `[1, 3, frames, height, width]` in -1..1, from the denoiser's latents.
    fn decode(&self, clip: Tensor<5>) -> Vec<Tensor<5>>;
}

/// The last of some frames.
fn last_frame(chunk: Tensor<5>) -> Result<RgbImage, PipelineError> {
    let [_, _, frames, height, width] = chunk.dims();
    let last = chunk.slice_dim(2, frames - 1..frames);
    let values = readback::values(last.permute([0, 2, 3, 4, 1]))?;
    let byte = |value: f32| ((value / 2.0 + 0.5).clamp(0.0, 1.0) * 255.0).round() as u8;
    Ok(RgbImage::from_fn(width as u32, height as u32, |x, y| {
        let pixel = (y as usize * width + x as usize) * 3;
        Rgb(std::array::from_fn(|colour| byte(values[pixel + colour])))
    }))
}

/// The colour of a latent cell, as a linear function of its channels.
///
/// The weights are those that explain best, in the sense of least squares, what an autoencoder decodes even latents to:
/// so any checkpoint has its projection, and nobody has to publish one.
#[derive(Debug)]
pub(crate) struct LatentToRgb {
    /// For red, green and blue: a weight for each channel, then the constant.
    weights: [Vec<f64>; 3],
}

impl LatentToRgb {
    /// Decodes random even latents and fits their mean colours.
    pub(crate) fn fit(codec: &dyn LatentCodec, channels: usize, device: &Device) -> Result<Self, PipelineError> {
        let values = TorchGenerator::new(0).randn(COLOURS.max(4 * channels) * channels);
        let mut fit = vec![LeastSquares::new(channels + 1); 3];
        for latents in values.chunks_exact(channels) {
            let data = TensorData::new(latents.to_vec(), [1, channels, 1, 1, 1]);
            let even = Tensor::<5>::from_data(data, device).expand([1, channels, 1, SIDE, SIDE]);
            let mut picture = Vec::new();
            for chunk in codec.decode(even) {
                picture.extend(readback::values(chunk)?);
            }
            let features: Vec<f64> = latents.iter().map(|&v| f64::from(v)).chain([1.0]).collect();
            for (pixels, fit) in picture.chunks_exact(picture.len() / 3).zip(&mut fit) {
                let sum: f64 = pixels.iter().map(|&v| f64::from(v)).sum();
                fit.add(&features, sum / pixels.len() as f64);
            }
        }
        Ok(Self {
            weights: std::array::from_fn(|colour| fit[colour].solve()),
        })
    }

    /// One picture a frame of a clip, `[1, channels, frames, height, width]`.
    pub(crate) fn pictures(&self, clip: Tensor<5>) -> Result<Vec<RgbImage>, PipelineError> {
        let [_, _, frames, height, width] = clip.dims();
        let values = readback::values(clip)?;
        let cells = height * width;
        let picture = |frame: usize| {
            RgbImage::from_fn(width as u32, height as u32, |x, y| {
                let cell = y as usize * width + x as usize;
                let value = |channel: usize| f64::from(values[(channel * frames + frame) * cells + cell]);
                Rgb(std::array::from_fn(|colour| {
                    let (constant, weights) = self.weights[colour].split_last().unwrap_or((&0.0, &[]));
                    let sum = weights
                        .iter()
                        .enumerate()
                        .map(|(c, weight)| weight * value(c))
                        .sum::<f64>()
                        + constant;
                    ((sum / 2.0 + 0.5).clamp(0.0, 1.0) * 255.0).round() as u8
                }))
            })
        };
        Ok((0..frames).map(picture).collect())
    }
}

/// Normal equations of a linear regression.
#[derive(Clone)]
struct LeastSquares {
    /// Row by row, the right side as the last column.
    rows: Vec<Vec<f64>>,
}

impl LeastSquares {
    fn new(features: usize) -> Self {
        let row = |i: usize| {
            let mut row = vec![0.0; features + 1];
            row[i] = RIDGE;
            row
        };
        Self {
            rows: (0..features).map(row).collect(),
        }
    }

    fn add(&mut self, features: &[f64], target: f64) {
        for (row, a) in self.rows.iter_mut().zip(features) {
            for (sum, b) in row.iter_mut().zip(features.iter().chain([&target])) {
                *sum += a * b;
            }
        }
    }

    /// Gauss–Jordan elimination; the matrix is positive definite, so no pivot is 0.
    fn solve(&self) -> Vec<f64> {
        let mut rows = self.rows.clone();
        for i in 0..rows.len() {
            let pivot: Vec<f64> = rows[i].iter().map(|value| value / rows[i][i]).collect();
            for (j, row) in rows.iter_mut().enumerate() {
                let share = if i == j { 0.0 } else { row[i] };
                row.iter_mut().zip(&pivot).for_each(|(value, p)| *value -= share * p);
            }
            rows[i] = pivot;
        }
        rows.iter().map(|row| row[row.len() - 1]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regression_finds_a_linear_function() {
        let mut fit = LeastSquares::new(3);
        for (x, y) in [(0.0, 1.0), (1.0, 0.0), (2.0, 5.0), (-3.0, 2.0), (0.5, -4.0)] {
            (0..1000).for_each(|_| fit.add(&[x, y, 1.0], 2.0 * x - 0.5 * y + 0.25));
        }
        for (found, expected) in fit.solve().into_iter().zip([2.0, -0.5, 0.25]) {
            assert!((found - expected).abs() < 1e-4, "{found} {expected}");
        }
    }
}
