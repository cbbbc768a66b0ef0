//! What a training is told.

use serde::{Deserialize, Serialize};

use crate::{OptimiserKind, TargetModules, TimestepDensity, TrainError, error::setting};

/// The most that a rank may be; beyond it a LoRA is larger than most layers.
const MAX_RANK: usize = 1024;

/// How adapters are trained. Two trainings of the same settings, data and base on the same CPU give the same weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct TrainSettings {
    /// Rank of the adapters.
    pub rank: usize,
    /// What the adapters' product is multiplied by is `alpha / rank`.
    pub alpha: f64,
    /// Which layers have adapters.
    pub targets: TargetModules,
    /// Whether the attention of CLIP's text encoder has adapters, too.
    pub text_encoder: bool,
    /// Probability with which a rank of an adapter is left out of a call, so that none of them carries all.
    pub rank_dropout: f64,
    /// Steps of the optimiser.
    pub steps: usize,
    /// Clips a step. Gradients are summed up clip by clip, so memory is that of one, however many there are, or of as many as
    /// [are computed at the same time](crate::Trainer::with_clips_at_once).
    pub batch_size: usize,
    /// The optimiser.
    pub optimiser: OptimiserKind,
    /// The learning rate after the warm-up.
    pub learning_rate: f64,
    /// Steps in which the learning rate rises from nothing.
    pub warmup_steps: usize,
    /// Whether the learning rate falls to 0 along a half cosine after the warm-up, or stays.
    pub cosine: bool,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// The most that the norm of all gradients together may be; 0 for any.
    pub max_grad_norm: f64,
    /// Decay of the moving average of the adapters, which is saved in their place; 0 for none.
    pub ema_decay: f64,
    /// How often each timestep is drawn.
    #[serde(default)]
    pub timesteps: TimestepDensity,
    /// What the weight of a timestep's loss is cut at in terms of its ratio of signal to noise; 0 weighs all the same.
    pub min_snr_gamma: f64,
    /// Standard deviation of what is added to the noise of a whole channel of a clip, so that brightness is learnt.
    pub noise_offset: f64,
    /// What the error outside of a clip's mask counts, beside 1 inside; clips without a mask count everywhere the same.
    pub background_weight: f64,
    /// Probability with which a caption is replaced by the empty one, which guidance needs.
    pub caption_dropout: f64,
    /// Whether what costs little to compute is computed again for the gradients in place of being kept: less memory, more time, and
    /// the same weights but for rounding.
    pub checkpointing: bool,
    /// Seed of all random numbers.
    pub seed: u64,
}

impl Default for TrainSettings {
    fn default() -> Self {
        Self {
            rank: 8,
            alpha: 8.0,
            targets: TargetModules::default(),
            text_encoder: false,
            rank_dropout: 0.0,
            steps: 500,
            batch_size: 1,
            optimiser: OptimiserKind::AdamW,
            learning_rate: 1e-4,
            warmup_steps: 0,
            cosine: false,
            weight_decay: 1e-2,
            max_grad_norm: 1.0,
            ema_decay: 0.0,
            timesteps: TimestepDensity::Uniform,
            min_snr_gamma: 0.0,
            noise_offset: 0.0,
            background_weight: 0.1,
            caption_dropout: 0.0,
            checkpointing: false,
            seed: 0,
        }
    }
}

impl TrainSettings {
    /// What the product of an adapter's matrices is multiplied by.
    #[must_use]
    pub fn scale(&self) -> f64 {
        self.alpha / self.rank as f64
    }

    /// These with the number of steps and the course of the learning rate of others: all that may change when a training goes on.
    pub(crate) fn going_on_as(&self, others: &Self) -> Self {
        Self {
            steps: others.steps,
            learning_rate: others.learning_rate,
            warmup_steps: others.warmup_steps,
            cosine: others.cosine,
            checkpointing: others.checkpointing,
            ..self.clone()
        }
    }

    /// # Errors
    /// The first setting that no training can have.
    pub fn check(&self) -> Result<(), TrainError> {
        if !(1..=MAX_RANK).contains(&self.rank) {
            return Err(setting("rank", format!("is {}; it must be 1 to {MAX_RANK}", self.rank)));
        }
        for (name, count) in [("steps", self.steps), ("batch_size", self.batch_size)] {
            if count == 0 {
                return Err(setting(name, "is 0; it must be at least 1"));
            }
        }
        if self.warmup_steps > self.steps {
            let (warmup, steps) = (self.warmup_steps, self.steps);
            return Err(setting(
                "warmup_steps",
                format!("is {warmup}, more than the {steps} steps"),
            ));
        }
        for (name, value) in [("alpha", self.alpha), ("learning_rate", self.learning_rate)] {
            if !(value > 0.0 && value.is_finite()) {
                return Err(setting(name, format!("is {value}; it must be above 0")));
            }
        }
        let probabilities = [
            ("rank_dropout", self.rank_dropout),
            ("caption_dropout", self.caption_dropout),
            ("ema_decay", self.ema_decay),
        ];
        for (name, value) in probabilities {
            if !(0.0..1.0).contains(&value) {
                return Err(setting(name, format!("is {value}; it must be at least 0 and below 1")));
            }
        }
        let amounts = [
            ("weight_decay", self.weight_decay),
            ("max_grad_norm", self.max_grad_norm),
            ("min_snr_gamma", self.min_snr_gamma),
            ("noise_offset", self.noise_offset),
        ];
        if !(0.0..=1.0).contains(&self.background_weight) {
            let reason = format!("is {}; it must be 0 to 1", self.background_weight);
            return Err(setting("background_weight", reason));
        }
        for (name, value) in amounts {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(setting(name, format!("is {value}; it must be at least 0")));
            }
        }
        if let TimestepDensity::LogitNormal { mean, std } = self.timesteps
            && !(mean.is_finite() && std > 0.0 && std.is_finite())
        {
            let reason = format!("have mean {mean} and deviation {std}; it takes a deviation above 0");
            return Err(setting("timesteps", reason));
        }
        self.targets.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_settings_are_named() {
        let good = TrainSettings::default();
        assert!(good.check().is_ok());
        for (bad, part) in [
            (
                TrainSettings {
                    rank: 0,
                    ..good.clone()
                },
                "`rank` is 0",
            ),
            (
                TrainSettings {
                    steps: 0,
                    ..good.clone()
                },
                "`steps` is 0",
            ),
            (
                TrainSettings {
                    warmup_steps: 501,
                    ..good.clone()
                },
                "`warmup_steps` is 501",
            ),
            (
                TrainSettings {
                    learning_rate: f64::NAN,
                    ..good.clone()
                },
                "`learning_rate` is NaN",
            ),
            (
                TrainSettings {
                    rank_dropout: 1.0,
                    ..good.clone()
                },
                "`rank_dropout` is 1",
            ),
            (
                TrainSettings {
                    background_weight: 1.5,
                    ..good.clone()
                },
                "`background_weight` is 1.5",
            ),
            (
                TrainSettings {
                    timesteps: TimestepDensity::LogitNormal { mean: 0.5, std: 0.0 },
                    ..good.clone()
                },
                "`timesteps` have mean 0.5 and deviation 0",
            ),
            (
                TrainSettings {
                    targets: TargetModules::new(Vec::new()),
                    ..good.clone()
                },
                "`targets`",
            ),
        ] {
            let message = bad.check().unwrap_err().to_string();
            assert!(message.starts_with(part), "{message}");
        }
    }
}
