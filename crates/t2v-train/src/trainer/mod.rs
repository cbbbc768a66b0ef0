//! Steps of a training: what they change, the optimiser's part of them, and the way back where one went wrong.
//!
//! `clips` draws what the clips of a step are shown with, `gradients` calls the networks, `resuming` keeps a training for later.

mod clips;
mod gradients;
mod resuming;

use std::num::NonZeroUsize;

use burn::{module::Module, tensor::Device};
use t2v_denoiser::Denoiser;
use t2v_schedulers::TrainingNoise;
use t2v_text_encoder::ClipTextModel;

use crate::{
    Adapters, Dataset, Factors, Objective, TrainError, TrainSettings, Trainable, attach::frozen, ema::Ema,
    error::setting, learning_rate::learning_rate, optimiser::Optimiser, recording::Recording,
};

/// What a step did.
#[derive(Debug, Clone, Copy)]
pub struct StepReport {
    /// Steps done, this one included.
    pub step: usize,
    /// Mean loss of its clips.
    pub loss: f64,
    /// Norm of all gradients together, before it was cut.
    pub gradient_norm: f64,
    /// The learning rate that it was taken with.
    pub learning_rate: f64,
}

/// Adapters in training, and all that the next step depends on.
pub struct Trainer<N> {
    /// On the autodiff device, its parameters constants.
    network: N,
    /// Likewise, where it is trained, too.
    text_encoder: Option<ClipTextModel>,
    /// The network where nothing is recorded: what it predicts without adapters. It has the same memory.
    base: N,
    objective: Objective,
    settings: TrainSettings,
    device: Device,
    /// Clips of a step whose gradients are computed at the same time.
    clips_at_once: NonZeroUsize,
    adapters: Adapters,
    optimiser: Optimiser,
    ema: Option<Ema>,
    /// Steps done.
    step: usize,
    /// The loss of each step done.
    losses: Vec<f32>,
    /// What the last step began with.
    before: Option<Before>,
}

/// What a step changes.
struct Before {
    factors: Factors,
    moments: Vec<Factors>,
    average: Option<Factors>,
}

impl<N: Trainable> Trainer<N> {
    /// New adapters on a network in f32, which is on `device`, as is what it will be shown.
    ///
    /// # Errors
    /// Settings that no training can have, or this network can't.
    pub fn new(network: N, noise: TrainingNoise, settings: TrainSettings, device: &Device) -> Result<Self, TrainError> {
        settings.check()?;
        let adapters = Adapters::new(&network, &settings, device)?;
        Ok(Self {
            objective: Objective::new(noise, &settings)?,
            ema: Ema::new(settings.ema_decay, adapters.factors()),
            optimiser: Optimiser::new(&settings),
            network: frozen(network.clone(), recording(&settings)),
            base: network,
            text_encoder: None,
            device: device.clone(),
            clips_at_once: NonZeroUsize::MIN,
            settings,
            adapters,
            step: 0,
            losses: Vec::new(),
            before: None,
        })
    }
}

impl<N: Module + Denoiser + Sync> Trainer<N> {
    /// With new adapters on the text encoder, too, as the settings have to say: captions are embedded in each step then.
    ///
    /// # Errors
    /// The settings don't say so.
    pub fn with_text_encoder(mut self, model: ClipTextModel) -> Result<Self, TrainError> {
        if !self.settings.text_encoder {
            return Err(setting(
                "text_encoder",
                "is off, and a text encoder is given to be trained",
            ));
        }
        self.adapters = self.adapters.with_text_encoder(&model, &self.settings, &self.device);
        self.ema = Ema::new(self.settings.ema_decay, self.adapters.factors());
        self.text_encoder = Some(frozen(model, recording(&self.settings)));
        Ok(self)
    }

    /// Computes the gradients of as many clips of a step at the same time, each on a thread of its own, in place of one after the other.
    /// What is learnt stays the same to the bit; memory is that of as many clips. It pays on a CPU for networks whose layers are too
    /// small to fill its cores.
    #[must_use]
    pub fn with_clips_at_once(mut self, clips: NonZeroUsize) -> Self {
        self.clips_at_once = clips;
        self
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &TrainSettings {
        &self.settings
    }

    /// Steps done.
    #[must_use]
    pub fn steps_done(&self) -> usize {
        self.step
    }

    /// The loss of each step done.
    #[must_use]
    pub fn losses(&self) -> &[f32] {
        &self.losses
    }

    /// The adapters after the last step.
    #[must_use]
    pub fn adapters(&self) -> &Adapters {
        &self.adapters
    }

    /// The adapters to be saved: their moving average, where there is one.
    #[must_use]
    pub fn result(&self) -> Adapters {
        match &self.ema {
            Some(ema) => self.adapters.with_factors(ema.average().clone()),
            None => self.adapters.clone(),
        }
    }

    /// Puts other matrices in place of the adapters', with nothing learnt of them yet.
    pub fn set_factors(&mut self, factors: Factors) {
        self.adapters = self.adapters.with_factors(factors);
        self.ema = Ema::new(self.settings.ema_decay, self.adapters.factors());
        self.before = None;
    }

    /// One step of the optimiser with gradients and their loss.
    ///
    /// # Errors
    /// One of them is no number. Then the adapters are those that the last step began with, whose loss was a number.
    pub fn apply(&mut self, loss: f64, gradients: Factors) -> Result<StepReport, TrainError> {
        let learning_rate = learning_rate(&self.settings, self.step);
        let step = self.step + 1;
        let (gradients, gradient_norm) = gradients.clipped(self.settings.max_grad_norm);
        if !loss.is_finite() || !gradient_norm.is_finite() {
            self.step_back();
            let kept = self.step;
            return Err(TrainError::NotFinite {
                step,
                learning_rate,
                kept,
            });
        }
        self.before = Some(Before {
            factors: self.adapters.factors(),
            moments: self.optimiser.moments().to_vec(),
            average: self.ema.as_ref().map(|ema| ema.average().clone()),
        });
        let factors = self.optimiser.step(learning_rate, self.adapters.factors(), gradients);
        if let Some(ema) = &mut self.ema {
            ema.update(factors.clone(), step);
        }
        self.adapters = self.adapters.with_factors(factors);
        self.step = step;
        self.losses.push(loss as f32);
        Ok(StepReport {
            step,
            loss,
            gradient_norm,
            learning_rate,
        })
    }

    /// Takes the last step back.
    fn step_back(&mut self) {
        let Some(before) = self.before.take() else {
            return;
        };
        self.step -= 1;
        self.losses.truncate(self.step);
        self.adapters = self.adapters.with_factors(before.factors);
        self.optimiser.restore(before.moments, self.step);
        if let Some(average) = before.average {
            self.ema = Ema::new(self.settings.ema_decay, average);
        }
    }

    /// As [`step`](Self::step), on what is new and, in every other step, on what is [known](Dataset::as_known), if anything is.
    ///
    /// # Errors
    /// As for [`step`](Self::step).
    pub fn step_in_turns(&mut self, new: &Dataset, known: Option<&Dataset>) -> Result<StepReport, TrainError> {
        match known {
            None => self.step(new),
            Some(_) if self.step.is_multiple_of(2) => self.step_of(self.step / 2, new),
            Some(known) => self.step_of(self.step / 2, known),
        }
    }

    /// One step on a data set, whose examples take turns.
    ///
    /// # Errors
    /// As for [`apply`](Self::apply); a data set without tokens, where the text encoder is trained.
    pub fn step(&mut self, data: &Dataset) -> Result<StepReport, TrainError> {
        self.step_of(self.step, data)
    }

    /// A step that is the `turn`th of its data set.
    fn step_of(&mut self, turn: usize, data: &Dataset) -> Result<StepReport, TrainError> {
        let (clips, at_once) = (self.settings.batch_size, self.clips_at_once.get());
        let (mut loss, mut sum): (f64, Option<Factors>) = (0.0, None);
        for first in (0..clips).step_by(at_once) {
            for of_clip in self.clips(data, turn, first..clips.min(first + at_once)) {
                let (of_clip, gradients) = of_clip?;
                loss += f64::from(of_clip) / clips as f64;
                sum = Some(match sum {
                    Some(sum) => sum.zip(gradients, |a, b| a + b),
                    None => gradients,
                });
            }
        }
        let mean = sum
            .unwrap_or(Factors(Vec::new()))
            .map(|gradient| gradient / clips as f64);
        self.apply(loss, mean)
    }
}

fn recording(settings: &TrainSettings) -> Recording {
    Recording {
        checkpointing: settings.checkpointing,
    }
}
