//! What a training makes small: the error of the network's prediction on noisy latents.

use burn::tensor::{Device, Tensor, TensorData};
use t2v_denoiser::{Conditioning, Denoiser};
use t2v_schedulers::TrainingNoise;

use crate::{TrainError, TrainSettings, error::setting};

/// What is drawn for one clip of a step.
#[derive(Debug, Clone)]
pub struct Draw {
    /// Of the training's timesteps, from 0.
    pub timestep: usize,
    /// Noise of the latents' shape, offset included.
    pub noise: Tensor<5>,
    /// For each adapter what its ranks are multiplied by; none leaves them.
    pub kept: Option<Vec<Vec<f32>>>,
    /// What the error at each place counts beside the others, `[1, 1, frames, height, width]` of the latents; none for all the same.
    pub places: Option<Tensor<5>>,
    /// What the network is to predict, of the latents' shape, in place of what noise and latents say.
    pub target: Option<Tensor<5>>,
}

/// The loss: the mean squared error of what the network predicts, weighted by timestep.
#[derive(Debug, Clone)]
pub struct Objective {
    noise: TrainingNoise,
    /// 0 weighs all timesteps the same.
    min_snr_gamma: f64,
}

impl Objective {
    /// The loss of a checkpoint's noise.
    ///
    /// # Errors
    /// Weights by the ratio of signal to noise for a model that predicts a flow.
    pub fn new(noise: TrainingNoise, settings: &TrainSettings) -> Result<Self, TrainError> {
        let gamma = settings.min_snr_gamma;
        if noise.is_flow() && gamma > 0.0 {
            let reason =
                format!("is {gamma}, and this model predicts a flow, whose timesteps weigh the same; leave it at 0");
            return Err(setting("min_snr_gamma", reason));
        }
        Ok(Self {
            noise,
            min_snr_gamma: gamma,
        })
    }

    /// The checkpoint's noise.
    #[must_use]
    pub fn noise(&self) -> &TrainingNoise {
        &self.noise
    }

    /// What a network predicts of a clip with its noise, of the shapes of [`loss`](Self::loss).
    pub fn prediction<N: Denoiser>(&self, network: &N, latents: Tensor<5>, text: Tensor<3>, draw: &Draw) -> Tensor<5> {
        let noisy = self.noise.noised(latents, draw.noise.clone(), draw.timestep);
        let timestep = self.noise.model_timestep(draw.timestep);
        network.forward(noisy, timestep, &Conditioning::new(text))
    }

    /// The loss of one clip, on the device of the text.
    ///
    /// # Shapes
    /// - latents: `[1, channels, frames, height, width]`, as the denoiser takes them
    /// - text: `[1, tokens, dim]`
    /// - output: `[1]`
    pub fn loss<N: Denoiser>(&self, network: &N, latents: Tensor<5>, text: Tensor<3>, draw: &Draw) -> Tensor<1> {
        let timestep = draw.timestep;
        let found = self.prediction(network, latents.clone(), text, draw);
        let target = match &draw.target {
            Some(target) => target.clone(),
            None => self.noise.target(latents, draw.noise.clone(), timestep),
        };
        let error = (found - target).square();
        // Divided by what places count on the average, so that a small subject weighs no less than a large one.
        let loss = match &draw.places {
            Some(places) => (error * places.clone()).mean() / places.clone().mean(),
            None => error.mean(),
        };
        match self.min_snr_gamma > 0.0 {
            true => loss * self.noise.min_snr_weight(timestep, self.min_snr_gamma).unwrap_or(1.0),
            false => loss,
        }
    }
}

/// A clip's noise, with an offset for each of its channels.
pub(crate) fn noise(
    generator: &mut t2v_schedulers::TorchGenerator,
    shape: [usize; 5],
    offset: f64,
    device: &Device,
) -> Tensor<5> {
    let mut values = generator.randn(shape.iter().product());
    if offset > 0.0 {
        let of_channel = shape[2..].iter().product();
        let offsets = generator.randn(shape[0] * shape[1]);
        for (channel, shift) in values.chunks_mut(of_channel).zip(offsets) {
            channel.iter_mut().for_each(|value| *value += shift * offset as f32);
        }
    }
    Tensor::from_data(TensorData::new(values, shape), device)
}

#[cfg(test)]
mod tests {
    use t2v_schedulers::TorchGenerator;

    use super::*;

    #[test]
    fn an_offset_moves_whole_channels() {
        let (shape, device) = ([1, 2, 3, 4, 4], Device::flex());
        let of = |offset| -> Vec<f32> {
            let noise = noise(&mut TorchGenerator::new(3), shape, offset, &device);
            noise.into_data().try_into_vec().unwrap()
        };
        let moved: Vec<f32> = of(0.5).iter().zip(of(0.0)).map(|(a, b)| a - b).collect();
        for channel in moved.chunks(48) {
            assert!(channel.iter().all(|x| (x - channel[0]).abs() < 1e-6) && channel[0] != 0.0);
        }
        assert!((moved[0] - moved[48]).abs() > 1e-6);
    }
}
