//! The denoising loop, as in diffusers' `TextToVideoSDPipeline`.

use burn::tensor::{DType, Tensor};
use t2v_denoiser::Denoiser;
use t2v_schedulers::{NoiseSource, Scheduler};

use crate::PipelineError;

/// Latents as schedulers see them: frames are the batch, `[frames, channels, 1, height, width]`.
///
/// Upstream steps on `[frames, channels, height, width]`: the order of the noise of stochastic solvers, and what is one
/// sample to thresholding, follow from it.
pub(crate) fn by_frame(latents: Tensor<5>) -> Tensor<5> {
    let [_, channels, frames, height, width] = latents.dims();
    latents.swap_dims(1, 2).reshape([frames, channels, 1, height, width])
}

/// The inverse of [`by_frame`]: `[1, channels, frames, height, width]`.
pub(crate) fn as_clip(latents: Tensor<5>) -> Tensor<5> {
    let [frames, channels, _, height, width] = latents.dims();
    latents.reshape([1, frames, channels, height, width]).swap_dims(1, 2)
}

/// A denoiser with what it is conditioned on.
pub(crate) struct Guided<'a> {
    pub(crate) denoiser: &'a dyn Denoiser,
    /// `[2, tokens, dim]`, negative then positive; without guidance `[1, tokens, dim]`.
    pub(crate) embeddings: &'a Tensor<3>,
    pub(crate) scale: f64,
}

impl Guided<'_> {
    /// Guided prediction: away from the negative prompt, by `scale`
    /// ([Ho and Salimans, 2022](https://arxiv.org/abs/2207.12598)).
    ///
    /// One call of the denoiser on a batch of two. With embeddings of a batch of one there is no guidance.
    fn predict(&self, clip: Tensor<5>, timestep: f64) -> Tensor<5> {
        let embeddings = self.embeddings.clone();
        let call = |input| self.denoiser.forward(input, timestep, embeddings).cast(DType::F32);
        let input = clip.cast(self.embeddings.dtype());
        if self.embeddings.dims()[0] == 1 {
            return call(input);
        }
        let halves = call(Tensor::cat(vec![input.clone(), input], 0)).chunk(2, 0);
        let (negative, positive) = (halves[0].clone(), halves[1].clone());
        negative.clone() + (positive - negative) * self.scale
    }
}

/// Where a loop is: `done` of `total` model calls.
pub(crate) struct Call<'a> {
    pub(crate) done: usize,
    pub(crate) total: usize,
    /// The newest estimate of the clean latents, [by frame](by_frame); before the first call there is none.
    pub(crate) clean: Option<&'a Tensor<5>>,
}

/// Runs the scheduler's model calls in a range of its timesteps. `latents` are [by frame](by_frame) and so is the
/// result. `watch` is told before each call and after the last, and may end the loop by an error.
pub(crate) fn denoise(
    scheduler: &mut dyn Scheduler,
    calls: std::ops::Range<usize>,
    mut latents: Tensor<5>,
    noise: &mut dyn NoiseSource,
    model: &Guided<'_>,
    mut watch: impl FnMut(Call<'_>) -> Result<(), PipelineError>,
) -> Result<Tensor<5>, PipelineError> {
    let timesteps = scheduler.timesteps()[calls].to_vec();
    let total = timesteps.len();
    let mut clean = None;
    for (done, timestep) in timesteps.into_iter().enumerate() {
        let newest = clean.as_ref();
        watch(Call {
            done,
            total,
            clean: newest,
        })?;
        let input = scheduler.scale_model_input(latents.clone(), noise)?;
        let output = by_frame(model.predict(as_clip(input), timestep));
        let step = scheduler.step(output, latents, noise)?;
        latents = step.prev_sample;
        clean = step.pred_original_sample.or_else(|| Some(latents.clone()));
    }
    let newest = clean.as_ref();
    watch(Call {
        done: total,
        total,
        clean: newest,
    })?;
    Ok(latents)
}
