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

/// Guided prediction: away from the negative prompt, by `scale`
/// ([Ho and Salimans, 2022](https://arxiv.org/abs/2207.12598)).
///
/// One call of the denoiser on a batch of two. With embeddings of a batch of one there is no guidance.
pub(crate) fn predict(
    denoiser: &dyn Denoiser,
    clip: Tensor<5>,
    timestep: f64,
    embeddings: &Tensor<3>,
    scale: f64,
) -> Tensor<5> {
    let input = clip.cast(embeddings.dtype());
    if embeddings.dims()[0] == 1 {
        return denoiser.forward(input, timestep, embeddings.clone()).cast(DType::F32);
    }
    let input = Tensor::cat(vec![input.clone(), input], 0);
    let output = denoiser.forward(input, timestep, embeddings.clone()).cast(DType::F32);
    let halves = output.chunk(2, 0);
    let (negative, positive) = (halves[0].clone(), halves[1].clone());
    negative.clone() + (positive - negative) * scale
}

/// Runs the scheduler's model calls from `begin` on. `latents` are [by frame](by_frame) and so is the result.
pub(crate) fn denoise(
    scheduler: &mut dyn Scheduler,
    begin: usize,
    mut latents: Tensor<5>,
    noise: &mut dyn NoiseSource,
    predict: impl Fn(Tensor<5>, f64) -> Tensor<5>,
    mut before_call: impl FnMut(usize, usize) -> Result<(), PipelineError>,
) -> Result<Tensor<5>, PipelineError> {
    let timesteps = scheduler.timesteps()[begin..].to_vec();
    for (call, timestep) in timesteps.iter().enumerate() {
        before_call(call, timesteps.len())?;
        let input = scheduler.scale_model_input(latents.clone(), noise);
        let output = by_frame(predict(as_clip(input), *timestep));
        latents = scheduler.step(output, latents, noise)?.prev_sample;
    }
    before_call(timesteps.len(), timesteps.len())?;
    Ok(latents)
}
