//! The denoising loop, which is that of every pipeline of diffusers, and guidance.

use burn::tensor::{DType, Tensor};
use t2v_denoiser::{Conditioning, DeepFeatures, Shortcuts};
use t2v_schedulers::{NoiseSource, Scheduler};

use crate::{
    PipelineError, Report, Speed,
    beginning::GivenFrame,
    family::{Family, LoadedDenoiser},
    inpainting::Inpainting,
    readback,
    reuse::Reuse,
};

/// The weight of the prompt, by timestep.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct GuidanceScale {
    pub(crate) scale: f64,
    /// The lowest timestep that this is for, and the weight below it.
    pub(crate) below: Option<(f64, f64)>,
}

impl GuidanceScale {
    /// Of a generation.
    pub(crate) fn of(report: &Report, family: &dyn Family) -> Self {
        Self {
            scale: report.guidance_scale,
            below: family.guidance_boundary().zip(report.guidance_scale_2),
        }
    }

    fn at(self, timestep: f64) -> f64 {
        match self.below {
            Some((boundary, scale)) if timestep < boundary => scale,
            _ => self.scale,
        }
    }
}

/// A denoiser with what it is conditioned on.
pub(crate) struct Guided<'a> {
    pub(crate) family: &'a dyn Family,
    pub(crate) denoiser: &'a dyn LoadedDenoiser,
    /// Negative then positive; without guidance the positive alone. Not prepared: that takes knowing the timestep.
    pub(crate) conditioning: &'a Conditioning,
    pub(crate) scale: GuidanceScale,
    /// How much of the guided prediction's spread is taken back, 0 to 1.
    pub(crate) rescale: f64,
    /// Which calls run the whole network, and what it multiplies in.
    pub(crate) speed: Speed,
    /// The latent frame that is given rather than made.
    pub(crate) given: Option<&'a GivenFrame>,
}

impl Guided<'_> {
    /// Guided prediction: away from the negative prompt, by `scale`
    /// ([Ho and Salimans, 2022](https://arxiv.org/abs/2207.12598)), at call `index` of the schedule.
    ///
    /// One call of the denoiser for both prompts, or where features and guidance are reused, for the positive one alone. With
    /// conditioning of a batch of one there is no guidance.
    fn predict(
        &self,
        clip: Tensor<5>,
        timestep: f64,
        conditioning: &Conditioning,
        index: usize,
        reuse: &mut Reuse,
    ) -> Tensor<5> {
        let (input, scale) = (clip.cast(conditioning.dtype()), self.scale.at(timestep));
        let is_guided = conditioning.batch() > 1;
        match (reuse.begin(index), is_guided) {
            (true, false) => self.call(input, timestep, conditioning, reuse.keep(index)),
            (true, true) => {
                let halves = self.call(input, timestep, conditioning, reuse.keep(index)).chunk(2, 0);
                let (negative, positive) = (halves[0].clone(), halves[1].clone());
                reuse.keep_guidance(index, &positive, &negative);
                let guided = negative.clone() + (positive.clone() - negative) * scale;
                self.rescaled(guided, &positive)
            }
            (false, false) => self.call(input, timestep, conditioning, Some(reuse.features(index))),
            (false, true) => {
                let conditioning = conditioning.last();
                let positive = self.call(input, timestep, &conditioning, Some(reuse.features(index)));
                match reuse.guidance(index) {
                    Some(difference) => self.rescaled(positive.clone() + difference * (scale - 1.0), &positive),
                    None => positive,
                }
            }
        }
    }

    fn call(
        &self,
        input: Tensor<5>,
        timestep: f64,
        conditioning: &Conditioning,
        deep: Option<DeepFeatures<'_>>,
    ) -> Tensor<5> {
        let shortcuts = Shortcuts {
            deep,
            products: self.speed.products(),
        };
        let output = self.denoiser.call(input, timestep, conditioning, shortcuts);
        output.cast(DType::F32)
    }

    /// Latents [as schedulers see them](Family::as_samples) with the frame that is given.
    fn with_given(&self, samples: Tensor<5>) -> Tensor<5> {
        match self.given {
            Some(given) => self.family.as_samples(given.put(self.family.as_clip(samples))),
            None => samples,
        }
    }

    /// With as much of the spread taken back as is wanted.
    fn rescaled(&self, guided: Tensor<5>, positive: &Tensor<5>) -> Tensor<5> {
        if self.rescale == 0.0 {
            return guided;
        }
        let spread = |x: &Tensor<5>| {
            let [_, channels, frames, height, width] = x.dims();
            x.clone()
                .reshape([1, channels * frames * height * width])
                .var(1)
                .sqrt()
                .reshape([1, 1, 1, 1, 1])
        };
        let brought_back = guided.clone() * (spread(positive) / spread(&guided));
        brought_back * self.rescale + guided * (1.0 - self.rescale)
    }
}

/// Where a loop is: `done` of `total` model calls.
pub(crate) struct Call<'a> {
    pub(crate) done: usize,
    pub(crate) total: usize,
    /// Calls done that ran the whole network.
    pub(crate) whole: usize,
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
    let interval = match model.denoiser.reuses_features() {
        true => model.speed.interval(scheduler.timesteps().len()),
        false => 1,
    };
    let mut reuse = Reuse::new(interval);
    let family = model.family;
    let (mut clean, mut prepared) = (None, None);
    check_finite(&samples, || "the latents before the first model call".to_owned())?;
    for (done, timestep) in timesteps.into_iter().enumerate() {
        on_call(Call {
            done,
            total,
            whole: reuse.whole_calls(),
            clean: clean.as_ref(),
        })?;
        if model.denoiser.select(timestep)? {
            prepared = None;
        }
        let conditioning = prepared.get_or_insert_with(|| model.denoiser.prepare(model.conditioning.clone()));
        let input = model.with_given(scheduler.scale_model_input(samples.clone(), noise)?);
        let output = model.predict(family.as_clip(input), timestep, conditioning, begin + done, &mut reuse);
        model.denoiser.check_call()?;
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
        clean = clean.map(|clean| model.with_given(clean));
    }
    on_call(Call {
        done: total,
        total,
        whole: reuse.whole_calls(),
        clean: clean.as_ref(),
    })?;
    Ok(model.with_given(samples))
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
    fn the_second_weight_is_for_timesteps_below_the_boundary() {
        let scale = GuidanceScale {
            scale: 4.0,
            below: Some((875.0, 3.0)),
        };
        assert_eq!([999.0, 875.0, 874.9, 0.0].map(|t| scale.at(t)), [4.0, 4.0, 3.0, 3.0]);
        let scale = GuidanceScale { below: None, ..scale };
        assert_eq!(scale.at(0.0), 4.0);
    }

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
