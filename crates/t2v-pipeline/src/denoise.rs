//! The denoising loop, which is that of every pipeline of diffusers, and guidance.

use burn::tensor::{DType, Tensor};
use t2v_denoiser::{Conditioning, Denoiser};
use t2v_schedulers::{NoiseSource, Scheduler};

use crate::{PipelineError, family::Family, inpainting::Inpainting, readback};

/// A denoiser with what it is conditioned on.
pub(crate) struct Guided<'a> {
    pub(crate) family: &'a dyn Family,
    pub(crate) denoiser: &'a dyn Denoiser,
    /// Negative then positive; without guidance the positive alone.
    pub(crate) conditioning: &'a Conditioning,
    pub(crate) scale: f64,
    /// How much of the guided prediction's spread is taken back, 0 to 1.
    pub(crate) rescale: f64,
}

impl Guided<'_> {
    /// Guided prediction: away from the negative prompt, by `scale`
    /// ([Ho and Salimans, 2022](https://arxiv.org/abs/2207.12598)).
    ///
    /// One call of the denoiser on a batch of two. With conditioning of a batch of one there is no guidance.
    fn predict(&self, clip: Tensor<5>, timestep: f64) -> Tensor<5> {
        let call = |input| {
            self.denoiser
                .forward(input, timestep, self.conditioning)
                .cast(DType::F32)
        };
        let input = clip.cast(self.conditioning.dtype());
        if self.conditioning.batch() == 1 {
            return call(input);
        }
        let halves = call(Tensor::cat(vec![input.clone(), input], 0)).chunk(2, 0);
        let (negative, positive) = (halves[0].clone(), halves[1].clone());
        let guided = negative.clone() + (positive.clone() - negative) * self.scale;
        match self.rescale {
            0.0 => guided,
            share => {
                let spread = |x: &Tensor<5>| {
                    let [_, channels, frames, height, width] = x.dims();
                    x.clone()
                        .reshape([1, channels * frames * height * width])
                        .var(1)
                        .sqrt()
                        .reshape([1, 1, 1, 1, 1])
                };
                let brought_back = guided.clone() * (spread(&positive) / spread(&guided));
                brought_back * share + guided * (1.0 - share)
            }
        }
    }
}

/// Where a loop is: `done` of `total` model calls.
pub(crate) struct Call<'a> {
    pub(crate) done: usize,
    pub(crate) total: usize,
    /// The newest estimate of the clean latents, [as samples](Family::as_samples), or the latest latents of a scheduler that
    /// estimates none; before the first call there is none.
    pub(crate) clean: Option<&'a Tensor<5>>,
}

/// Runs the scheduler's model calls in a range of its timesteps. `samples` are latents [as schedulers
/// see them](Family::as_samples), and so is the result. `on_call` is called before each model call and after the last, and
/// may end the loop by an error.
///
/// # Errors
/// Those of `on_call` and the scheduler; latents that are not finite, with the call at which they began.
pub(crate) fn denoise(
    scheduler: &mut dyn Scheduler,
    calls: std::ops::Range<usize>,
    mut samples: Tensor<5>,
    noise: &mut dyn NoiseSource,
    model: &Guided<'_>,
    inpainting: Option<&Inpainting>,
    mut on_call: impl FnMut(Call<'_>) -> Result<(), PipelineError>,
) -> Result<Tensor<5>, PipelineError> {
    let begin = calls.start;
    let timesteps = scheduler.timesteps()[calls].to_vec();
    let total = timesteps.len();
    let family = model.family;
    let mut clean = None;
    check_finite(&samples, || "the latents before the first model call".to_owned())?;
    for (done, timestep) in timesteps.into_iter().enumerate() {
        on_call(Call {
            done,
            total,
            clean: clean.as_ref(),
        })?;
        let input = scheduler.scale_model_input(samples.clone(), noise)?;
        let output = model.predict(family.as_clip(input), timestep);
        let step = scheduler.step(family.as_samples(output), samples, noise)?;
        samples = step.prev_sample;
        if let Some(inpainting) = inpainting {
            let next = (done + 1 < total).then_some(begin + done + 1);
            samples = inpainting.keep_the_rest(samples, scheduler, next)?;
        }
        check_finite(&samples, || {
            format!(
                "the latents after model call {} of {total} (timestep {timestep})",
                done + 1
            )
        })?;
        clean = match (step.pred_original_sample, inpainting) {
            (Some(clean), Some(inpainting)) => Some(inpainting.keep_the_rest(clean, scheduler, None)?),
            (clean, _) => clean.or_else(|| Some(samples.clone())),
        };
    }
    on_call(Call {
        done: total,
        total,
        clean: clean.as_ref(),
    })?;
    Ok(samples)
}

/// Reads one value back from the device, for which the step is finished there: so progress and cancelling keep up with it.
fn check_finite(latents: &Tensor<5>, what: impl FnOnce() -> String) -> Result<(), PipelineError> {
    let largest = readback::value(latents.clone().abs().max())?;
    match largest.is_finite() {
        true => Ok(()),
        false => Err(PipelineError::not_finite(what())),
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn one_bad_value_is_found() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for at in [0, 1, 7, 22, 23] {
                let mut values = [1.0_f32; 24];
                values[at] = bad;
                let latents = Tensor::<1>::from_floats(values, &Device::flex()).reshape([2, 3, 1, 2, 2]);
                assert!(check_finite(&latents, String::new).is_err(), "{bad} at {at}");
            }
        }
        let fine = Tensor::<1>::from_floats([f32::MAX; 24], &Device::flex()).reshape([2, 3, 1, 2, 2]);
        assert!(check_finite(&fine, String::new).is_ok());
    }
}
