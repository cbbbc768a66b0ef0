//! The noise that a model is trained on: how much of it there is at each timestep, and what the model is to predict.
//!
//! Ho et al., "Denoising Diffusion Probabilistic Models", <https://arxiv.org/abs/2006.11239>; velocity: Salimans and Ho,
//! <https://arxiv.org/abs/2202.00512>; flows: Lipman et al., <https://arxiv.org/abs/2210.02747>.

use burn::tensor::Tensor;
use serde_json::Value;

use crate::SchedulerError;
use crate::SchedulerKind::{self, FlowMatchEulerDiscrete, FlowMatchHeunDiscrete};
use crate::betas::{BetaOptions, DDPM_BETA_SCHEDULES};
use crate::config::{ConfigReader, TRAIN_TIMESTEPS};
use crate::flow_matching::{shifted, to_double};
use crate::prediction::{PREDICTION_TYPES_AND_FLOW, PredictionType};

/// Noise by timestep, and what a model predicts of it, as a checkpoint's `scheduler_config.json` says.
#[derive(Clone, Debug)]
pub struct TrainingNoise {
    prediction: PredictionType,
    /// What the original and the noise are multiplied by, one pair a timestep.
    levels: Vec<[f32; 2]>,
}

impl TrainingNoise {
    /// The noise of a scheduler's configuration: that of betas, or a flow's.
    ///
    /// # Errors
    /// An option of the wrong type, or with a value that is unknown or out of range.
    pub fn from_config(kind: SchedulerKind, config: &Value) -> Result<Self, SchedulerError> {
        let reader = ConfigReader::new(kind, config)?;
        let prediction = reader.choice("prediction_type", PredictionType::Epsilon, PREDICTION_TYPES_AND_FLOW)?;
        let is_flow = [FlowMatchEulerDiscrete, FlowMatchHeunDiscrete].contains(&kind);
        if is_flow || prediction == PredictionType::Flow {
            let shift = if is_flow { "shift" } else { "flow_shift" };
            return Ok(Self {
                prediction: PredictionType::Flow,
                levels: flow(
                    reader.count("num_train_timesteps", 1000, TRAIN_TIMESTEPS)?,
                    reader.number(shift, 1.0)?,
                ),
            });
        }
        let alphas = BetaOptions::read_among(&reader, DDPM_BETA_SCHEDULES)?.alphas_cumprod();
        let levels = alphas.iter().map(|alpha| [alpha.sqrt(), (1.0 - alpha).sqrt()]);
        Ok(Self {
            prediction,
            levels: levels.collect(),
        })
    }

    /// How many timesteps there are; they count from 0, the least noise.
    #[must_use]
    pub fn timesteps(&self) -> usize {
        self.levels.len()
    }

    /// Whether the model predicts a flow, whose noise has no ratio to the signal that losses are weighted by.
    #[must_use]
    pub fn is_flow(&self) -> bool {
        self.prediction == PredictionType::Flow
    }

    /// What the model predicts, by diffusers' name.
    #[must_use]
    pub fn prediction(&self) -> &'static str {
        let named = PREDICTION_TYPES_AND_FLOW
            .iter()
            .find(|(_, known)| *known == self.prediction);
        named.map_or("epsilon", |(name, _)| name)
    }

    /// The timestep as the model is told it: for a flow, its noise level times the number of timesteps.
    ///
    /// # Panics
    /// On a timestep beyond the last.
    #[must_use]
    pub fn model_timestep(&self, timestep: usize) -> f64 {
        match self.is_flow() {
            true => f64::from(self.levels[timestep][1]) * self.levels.len() as f64,
            false => timestep as f64,
        }
    }

    /// `original` with as much noise as there is at a timestep.
    ///
    /// # Panics
    /// On a timestep beyond the last.
    #[must_use]
    pub fn noised(&self, original: Tensor<5>, noise: Tensor<5>, timestep: usize) -> Tensor<5> {
        let [alpha, sigma] = self.levels[timestep];
        original * alpha + noise * sigma
    }

    /// What the model is to predict of [`noised`](Self::noised) latents.
    ///
    /// # Panics
    /// On a timestep beyond the last.
    #[must_use]
    pub fn target(&self, original: Tensor<5>, noise: Tensor<5>, timestep: usize) -> Tensor<5> {
        let [alpha, sigma] = self.levels[timestep];
        match self.prediction {
            PredictionType::Epsilon => noise,
            PredictionType::Sample => original,
            PredictionType::Velocity => noise * alpha - original * sigma,
            PredictionType::Flow => noise - original,
        }
    }

    /// What the squared error at a timestep is multiplied by, so that no timestep counts more than one whose ratio of signal to
    /// noise is `gamma` (Hang et al., <https://arxiv.org/abs/2303.09556>); none for a flow.
    ///
    /// # Panics
    /// On a timestep beyond the last.
    #[must_use]
    pub fn min_snr_weight(&self, timestep: usize, gamma: f64) -> Option<f64> {
        let [alpha, sigma] = self.levels[timestep].map(f64::from);
        let ratio = (alpha / sigma).powi(2);
        match self.prediction {
            // Where there is no signal left, the ratio's quotient of two zeros is 1.
            PredictionType::Epsilon => Some(if ratio == 0.0 { 1.0 } else { ratio.min(gamma) / ratio }),
            PredictionType::Velocity => Some(ratio.min(gamma) / (ratio + 1.0)),
            PredictionType::Sample => Some(ratio.min(gamma)),
            PredictionType::Flow => None,
        }
    }
}

/// Levels of a flow, `1 - sigma` and `sigma`, from the first above none to noise alone.
fn flow(count: usize, shift: f64) -> Vec<[f32; 2]> {
    let sigma = |i: usize| shifted(i as f64 / count as f64, shift, to_double);
    (1..=count)
        .map(|i| [1.0 - sigma(i), sigma(i)].map(|x| x as f32))
        .collect()
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution, Tolerance};
    use serde_json::json;

    use super::*;

    fn noise_of(prediction: &str) -> TrainingNoise {
        let config = json!({ "prediction_type": prediction, "flow_shift": 3.0, "beta_schedule": "scaled_linear" });
        TrainingNoise::from_config(SchedulerKind::UniPcMultistep, &config).unwrap()
    }

    /// A model that predicts the target is one whose schedulers find the original again.
    #[test]
    fn targets_lead_back_to_the_original() {
        let device = Device::flex();
        let random = || Tensor::<5>::random([1, 2, 3, 4, 4], Distribution::Normal(0.0, 1.0), &device);
        for name in ["epsilon", "sample", "v_prediction", "flow_prediction"] {
            let training = noise_of(name);
            assert_eq!(training.prediction(), name);
            for timestep in [0, 400, 900] {
                let (original, noise) = (random(), random());
                let [alpha, sigma] = training.levels[timestep];
                let noised = training.noised(original.clone(), noise.clone(), timestep);
                let target = training.target(original.clone(), noise, timestep);
                let found = training.prediction.original(target, noised, alpha, sigma);
                found
                    .into_data()
                    .assert_approx_eq::<f32>(&original.into_data(), Tolerance::rel_abs(1e-3, 1e-4));
            }
        }
    }

    #[test]
    fn a_flow_ends_in_noise_alone() {
        let flow = noise_of("flow_prediction");
        assert_eq!(flow.levels[999], [0.0, 1.0]);
        assert_eq!(flow.model_timestep(999), 1000.0);
        // shift * s / (1 + (shift - 1) * s) at a half.
        assert!((flow.levels[499][1] - 0.75).abs() < 1e-6);
        assert_eq!(flow.min_snr_weight(0, 5.0), None);
        assert!(noise_of("epsilon").model_timestep(7) == 7.0);
    }

    /// A ratio of alpha²/sigma² below gamma leaves the error of noise as it is.
    #[test]
    fn weights_fall_where_there_is_little_noise() {
        let (noise, velocity) = (noise_of("epsilon"), noise_of("v_prediction"));
        assert_eq!(noise.min_snr_weight(999, 5.0), Some(1.0));
        let [alpha, sigma] = noise.levels[0].map(f64::from);
        let ratio = (alpha / sigma).powi(2);
        let weight = noise.min_snr_weight(0, 5.0).unwrap();
        assert!((weight - 5.0 / ratio).abs() < 1e-9 && weight < 0.01, "{weight}");
        let weight = velocity.min_snr_weight(0, 5.0).unwrap();
        assert!((weight - 5.0 / (ratio + 1.0)).abs() < 1e-9, "{weight}");
    }

    #[test]
    fn bad_options_are_named() {
        let config = json!({ "prediction_type": "score" });
        let error = TrainingNoise::from_config(SchedulerKind::Ddpm, &config).unwrap_err();
        assert!(error.to_string().contains("prediction_type"), "{error}");
    }
}
