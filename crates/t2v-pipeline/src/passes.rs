//! Denoising once, or several times for [FreeInit](crate::FreeInit).

use burn::tensor::Tensor;
use t2v_schedulers::{NoiseSource, TorchGenerator};

use crate::{
    FreeInit, PipelineError, Report,
    checkpoint::Checkpoint,
    denoise::{Call, Guided, denoise},
    run::Start,
};

/// The passes of a generation.
pub(crate) struct Passes {
    free_init: Option<FreeInit>,
    /// Steps of each, and the first call that is run.
    passes: Vec<Pass>,
    /// The last timestep of training, which everything is noised to between passes.
    last_timestep: usize,
}

struct Pass {
    /// None where the schedule is set already.
    steps: Option<usize>,
    begin: usize,
    /// Calls of the model.
    calls: usize,
}

impl Passes {
    pub(crate) fn plan(start: &Start, report: &Report, checkpoint: &Checkpoint) -> Result<Self, PipelineError> {
        let passes = match report.free_init {
            None => vec![Pass {
                steps: None,
                begin: start.begin,
                calls: start.scheduler.timesteps().len() - start.begin,
            }],
            Some(free_init) => {
                let kind = start.scheduler.kind();
                let passes = free_init.passes(report.num_inference_steps as usize, report.strength);
                let plan = |(steps, kept): (usize, usize)| {
                    if steps == 0 {
                        return Ok(Pass {
                            steps: None,
                            begin: 0,
                            calls: 0,
                        });
                    }
                    let mut scheduler = checkpoint.scheduler(kind, report.flow_shift)?;
                    scheduler.set_timesteps(steps)?;
                    let begin = ((steps - kept) * scheduler.order()).min(scheduler.timesteps().len());
                    Ok(Pass {
                        steps: Some(steps),
                        begin,
                        calls: scheduler.timesteps().len().saturating_sub(begin),
                    })
                };
                passes.into_iter().map(plan).collect::<Result<_, PipelineError>>()?
            }
        };
        Ok(Self {
            free_init: report.free_init,
            passes,
            last_timestep: checkpoint.last_timestep(),
        })
    }

    /// The samples after the last pass. `on_call` hears of the calls of all passes as of one run.
    pub(crate) fn run(
        &self,
        start: Start,
        report: &Report,
        generator: &mut TorchGenerator,
        model: &Guided<'_>,
        mut on_call: impl FnMut(Call<'_>) -> Result<(), PipelineError>,
    ) -> Result<Tensor<5>, PipelineError> {
        let total = self.passes.iter().map(|pass| pass.calls).sum();
        let Start {
            mut scheduler,
            mut samples,
            inpainting,
            ..
        } = start;
        let initial = samples.clone();
        let mut fresh = report
            .improved_sampling_seed
            .map(|seed| TorchGenerator::new(seed.into()));
        let (mut before, mut whole) = (0, 0);
        for (i, pass) in self.passes.iter().enumerate() {
            if let (Some(free_init), true) = (self.free_init, i > 0) {
                let noised = scheduler.add_noise_at(samples, initial.clone(), self.last_timestep)?;
                let noised = model.family.as_clip(noised);
                let drawn = fresh
                    .as_mut()
                    .unwrap_or(generator)
                    .normal(noised.dims(), &noised.device());
                samples = model.family.as_samples(free_init.mix(noised, drawn)?);
            }
            if let Some(steps) = pass.steps {
                scheduler.set_timesteps(steps)?;
                scheduler.set_begin_index(pass.begin);
            }
            let calls = pass.begin..pass.begin + pass.calls;
            let (whole_before, whole_here) = (whole, &mut whole);
            samples = denoise(
                &mut *scheduler,
                calls,
                samples,
                generator,
                model,
                inpainting.as_ref(),
                |call| {
                    *whole_here = whole_before + call.whole;
                    on_call(Call {
                        done: before + call.done,
                        total,
                        whole: *whole_here,
                        clean: call.clean,
                    })
                },
            )?;
            before += pass.calls;
        }
        Ok(samples)
    }
}
