//! Steps of a training.

use burn::{
    module::Module,
    tensor::{Device, Int, Tensor, TensorData},
};
use t2v_denoiser::Denoiser;
use t2v_schedulers::TrainingNoise;
use t2v_text_encoder::ClipTextModel;
use t2v_weights::LoraTarget;

use crate::{
    Adapters, Dataset, Draw, Factors, Objective, SavedState, TrainError, TrainSettings, Trainable, attach,
    attach::{attach_to, frozen},
    draws::{self, Draws, Purpose},
    ema::Ema,
    error::setting,
    learning_rate::learning_rate,
    objective,
    optimiser::Optimiser,
    recording::Recording,
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
    objective: Objective,
    settings: TrainSettings,
    device: Device,
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

/// What a network is shown of a caption.
enum Prompt<'a> {
    /// `[1, tokens, dim]`
    Embedding(&'a Tensor<3>),
    /// For the text encoder that is trained.
    Tokens(&'a ClipTextModel, &'a [u32]),
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
            network: frozen(network, recording(&settings)),
            text_encoder: None,
            device: device.clone(),
            settings,
            adapters,
            step: 0,
            losses: Vec::new(),
            before: None,
        })
    }
}

impl<N: Module + Denoiser> Trainer<N> {
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

    /// The loss of one clip, and its gradients. The shapes are those of [`Objective::loss`].
    ///
    /// # Errors
    /// The settings say that the text encoder is trained, and it has to see tokens.
    pub fn gradients(&self, latents: &Tensor<5>, text: &Tensor<3>, draw: &Draw) -> Result<(f32, Factors), TrainError> {
        match self.settings.text_encoder {
            true => Err(setting(
                "text_encoder",
                "is on: it is tokens that are shown, not their embeddings",
            )),
            false => self.record(latents, &Prompt::Embedding(text), draw),
        }
    }

    /// As [`gradients`](Self::gradients), with a caption's tokens for the text encoder that is trained.
    ///
    /// # Errors
    /// There is none.
    pub fn gradients_of_tokens(
        &self,
        latents: &Tensor<5>,
        tokens: &[u32],
        draw: &Draw,
    ) -> Result<(f32, Factors), TrainError> {
        self.record(latents, &Prompt::Tokens(self.trained_text_encoder()?, tokens), draw)
    }

    fn trained_text_encoder(&self) -> Result<&ClipTextModel, TrainError> {
        let missing = || setting("text_encoder", "is on, and no text encoder was given to be trained");
        self.text_encoder.as_ref().ok_or_else(missing)
    }

    /// Calls the networks with their adapters, and goes the way back.
    fn record(&self, latents: &Tensor<5>, prompt: &Prompt<'_>, draw: &Draw) -> Result<(f32, Factors), TrainError> {
        let recording = recording(&self.settings);
        let (leaves, kept) = (self.adapters.leaves(recording), draw.kept.as_deref());
        let text = match prompt {
            Prompt::Embedding(text) => recording.of((*text).clone()),
            Prompt::Tokens(model, ids) => {
                let numbers: Vec<i64> = ids.iter().copied().map(i64::from).collect();
                let data = TensorData::new(numbers, [1, ids.len()]);
                let ids = recording.of_tokens(Tensor::<2, Int>::from_data(data, &self.device));
                attach_to(LoraTarget::TextEncoder, *model, &leaves, kept).forward(ids, 0)?
            }
        };
        let network = attach(&self.network, &leaves, kept);
        let draw = Draw {
            noise: recording.of(draw.noise.clone()),
            places: draw.places.clone().map(|places| recording.of(places)),
            ..draw.clone()
        };
        let loss = self
            .objective
            .loss(&network, recording.of(latents.clone()), text, &draw);
        let gradients = loss.backward();
        Ok((loss.inner().into_scalar::<f32>(), leaves.gradients(&gradients)))
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

    /// One step on a data set, whose examples take turns.
    ///
    /// # Errors
    /// As for [`apply`](Self::apply); a data set without tokens, where the text encoder is trained.
    pub fn step(&mut self, data: &Dataset) -> Result<StepReport, TrainError> {
        let clips = self.settings.batch_size;
        let (mut loss, mut sum): (f64, Option<Factors>) = (0.0, None);
        for clip in 0..clips {
            let (of_clip, gradients) = self.clip(data, clip)?;
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
    fn clip(&self, data: &Dataset, clip: usize) -> Result<(f32, Factors), TrainError> {
        let (seed, settings) = (self.settings.seed, &self.settings);
        let shown = draws::example(seed, self.step * settings.batch_size + clip, data.examples().len());
        let example = &data.examples()[shown];
        let mut draws = Draws::new(seed, Purpose::Clip, [self.step, clip]);
        let timestep = draws.below(self.objective.noise().timesteps());
        let caption = match draws.uniform() < settings.caption_dropout {
            true => Dataset::EMPTY_CAPTION,
            false => example.caption(),
        };
        let prompt = match settings.text_encoder {
            true => Prompt::Tokens(self.trained_text_encoder()?, data.tokens(caption)?),
            false => Prompt::Embedding(data.embedding(caption)),
        };
        let kept = (settings.rank_dropout > 0.0).then(|| self.kept(&mut draws));
        let mut generator = draws.generator();
        let latents = example.sample(&mut generator);
        let draw = Draw {
            timestep,
            noise: objective::noise(&mut generator, latents.dims(), settings.noise_offset, &self.device),
            kept,
            places: example.places(settings.background_weight),
        };
        self.record(&latents, &prompt, &draw)
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
            losses: self.losses.clone(),
        }
    }

    /// Goes on where a state was taken.
    ///
    /// # Errors
    /// The state is of a training with other settings (but for the number of steps, the learning rate and its course), or of another
    /// network.
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
        self.losses = state.losses;
        self.before = None;
        Ok(())
    }
}

fn recording(settings: &TrainSettings) -> Recording {
    Recording {
        checkpointing: settings.checkpointing,
    }
}
