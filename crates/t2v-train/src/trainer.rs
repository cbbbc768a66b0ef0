//! Steps of a training.

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};
use t2v_denoiser::Denoiser;
use t2v_schedulers::TrainingNoise;

use crate::{
    Adapters, Dataset, Draw, Factors, Objective, SavedState, TrainError, TrainSettings, attach,
    draws::{self, Draws, Purpose},
    ema::Ema,
    freeze,
    learning_rate::learning_rate,
    objective,
    optimiser::Optimiser,
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
    objective: Objective,
    settings: TrainSettings,
    device: Device,
    adapters: Adapters,
    optimiser: Optimiser,
    ema: Option<Ema>,
    /// Steps done.
    step: usize,
}

impl<N: Module + Denoiser> Trainer<N> {
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
            network: freeze(network),
            device: device.clone(),
            settings,
            adapters,
            step: 0,
        })
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
    }

    /// The loss of one clip, and its gradients. The shapes are those of [`Objective::loss`].
    #[must_use]
    pub fn gradients(&self, latents: &Tensor<5>, text: &Tensor<3>, draw: &Draw) -> (f32, Factors) {
        let leaves = self.adapters.leaves();
        let network = attach(&self.network, &leaves, draw.kept.as_deref());
        let (loss, gradients) = self.objective.backward(&network, latents, text, draw);
        (loss, leaves.gradients(&gradients))
    }

    /// One step of the optimiser with gradients and their loss.
    ///
    /// # Errors
    /// One of them is no number; nothing has changed then.
    pub fn apply(&mut self, loss: f64, gradients: Factors) -> Result<StepReport, TrainError> {
        let learning_rate = learning_rate(&self.settings, self.step);
        let step = self.step + 1;
        let (gradients, gradient_norm) = gradients.clipped(self.settings.max_grad_norm);
        if !loss.is_finite() || !gradient_norm.is_finite() {
            return Err(TrainError::NotFinite { step, learning_rate });
        }
        let factors = self.optimiser.step(learning_rate, self.adapters.factors(), gradients);
        if let Some(ema) = &mut self.ema {
            ema.update(factors.clone(), step);
        }
        self.adapters = self.adapters.with_factors(factors);
        self.step = step;
        Ok(StepReport {
            step,
            loss,
            gradient_norm,
            learning_rate,
        })
    }

    /// One step on a data set, whose examples take turns.
    ///
    /// # Errors
    /// As for [`apply`](Self::apply).
    pub fn step(&mut self, data: &Dataset) -> Result<StepReport, TrainError> {
        let clips = self.settings.batch_size;
        let (mut loss, mut sum): (f64, Option<Factors>) = (0.0, None);
        for clip in 0..clips {
            let (of_clip, gradients) = self.clip(data, clip);
            loss += f64::from(of_clip) / clips as f64;
            sum = Some(match sum {
                Some(sum) => sum.zip(gradients, |a, b| a + b),
                None => gradients,
            });
        }
        let mean = sum
            .unwrap_or(Factors(Vec::new()))
            .map(|gradient| gradient / clips as f64);
        self.apply(loss, mean)
    }

    /// Loss and gradients of a clip of the next step.
    fn clip(&self, data: &Dataset, clip: usize) -> (f32, Factors) {
        let (seed, settings) = (self.settings.seed, &self.settings);
        let shown = draws::example(seed, self.step * settings.batch_size + clip, data.examples().len());
        let example = &data.examples()[shown];
        let mut draws = Draws::new(seed, Purpose::Clip, [self.step, clip]);
        let timestep = draws.below(self.objective.noise().timesteps());
        let text = match draws.uniform() < settings.caption_dropout {
            true => data.empty_caption(),
            false => data.caption(example),
        };
        let kept = (settings.rank_dropout > 0.0).then(|| self.kept(&mut draws));
        let mut generator = draws.generator();
        let latents = example.sample(&mut generator);
        let draw = Draw {
            timestep,
            noise: objective::noise(&mut generator, latents.dims(), settings.noise_offset, &self.device),
            kept,
        };
        self.gradients(&latents, text, &draw)
    }

    /// What the ranks of each adapter are multiplied by: 0, or more than 1, so that the mean is 1.
    fn kept(&self, draws: &mut Draws) -> Vec<Vec<f32>> {
        let (dropout, rank) = (self.settings.rank_dropout, self.settings.rank);
        let mut of_rank = || match draws.uniform() < dropout {
            true => 0.0,
            false => (1.0 / (1.0 - dropout)) as f32,
        };
        let layers = self.adapters.layers().iter();
        layers.map(|_| (0..rank).map(|_| of_rank()).collect()).collect()
    }

    /// All that the next step depends on, besides network and data.
    #[must_use]
    pub fn state(&self) -> SavedState {
        SavedState {
            settings: self.settings.clone(),
            step: self.step,
            keys: self.adapters.keys().collect(),
            factors: self.adapters.factors(),
            moments: self.optimiser.moments().to_vec(),
            average: self.ema.as_ref().map(|ema| ema.average().clone()),
        }
    }

    /// Goes on where a state was taken.
    ///
    /// # Errors
    /// The state is of a training with other settings (but for their number of steps), or of another network.
    pub fn restore(&mut self, state: SavedState) -> Result<(), TrainError> {
        state.check(
            &self.settings,
            &self.adapters.keys().collect::<Vec<_>>(),
            self.optimiser.moment_count(),
        )?;
        self.adapters = self.adapters.with_factors(state.factors);
        self.optimiser.restore(state.moments, state.step);
        if let Some(average) = state.average {
            self.ema = Ema::new(self.settings.ema_decay, average);
        }
        self.step = state.step;
        Ok(())
    }
}
