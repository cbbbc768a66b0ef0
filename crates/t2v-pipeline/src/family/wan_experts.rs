//! Two transformers of Wan 2.2, each for a part of the denoising: the first makes the layout, the second the details.

use burn::tensor::Tensor;
use t2v_denoiser::{Conditioning, DeepFeatures, Denoiser, WanTransformer};
use t2v_weights::{LoraSet, WeightsError};

use super::adapted::{Adapted, LoadedDenoiser};

/// A transformer for noisy latents and another for those with less noise.
pub(super) struct Experts {
    pub(super) noisy: Adapted<WanTransformer>,
    pub(super) clear: Adapted<WanTransformer>,
    /// The lowest timestep of the first.
    pub(super) boundary: f64,
}

impl Denoiser for Experts {
    fn call(
        &self,
        latents: Tensor<5>,
        timestep: f64,
        conditioning: &Conditioning,
        deep: Option<DeepFeatures<'_>>,
    ) -> Tensor<5> {
        let expert = if timestep >= self.boundary {
            &self.noisy
        } else {
            &self.clear
        };
        expert.call(latents, timestep, conditioning, deep)
    }
}

impl LoadedDenoiser for Experts {
    /// As in diffusers, LoRAs are the first transformer's.
    fn set_loras(&mut self, set: &LoraSet) -> Result<(), WeightsError> {
        self.noisy.set_loras(set)
    }

    fn bytes(&self) -> usize {
        Adapted::bytes(&self.noisy) + Adapted::bytes(&self.clear)
    }
}
