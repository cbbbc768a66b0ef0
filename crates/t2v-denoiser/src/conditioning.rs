//! What a denoiser is told besides the noisy latents and their timestep.

use burn::tensor::{DType, Tensor};

use crate::{ContextWindows, wan::Prepared};

/// What a denoiser is conditioned on. What a network has no use for, it does not look at.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Conditioning {
    /// Text embeddings, `[batch, tokens, dim]`.
    pub text: Tensor<3>,
    /// Embedding of the guidance scale, `[batch, time_cond_proj_dim]`, of models that were distilled to know it.
    pub guidance: Option<Tensor<2>>,
    /// Channels that join the latents, `[1, channels, frames, height, width]`: mask and masked picture of models for inpainting.
    pub channels: Option<Tensor<5>>,
    /// Embeddings of a picture, `[batch, tokens, image_dim]`, of models that are shown one; tokens of several follow one another.
    pub image: Option<Tensor<3>>,
    /// What the timestep is multiplied by in each latent frame (each step of patches in time): 0 in frames that are given, 1 in
    /// those that are to be made. Without, it is 1 in all.
    pub timestep_factors: Option<Vec<f64>>,
    /// Windows of frames of motion modules; without, they see the whole clip.
    pub windows: Option<ContextWindows>,
    /// What [`Denoiser::prepare`](crate::Denoiser::prepare) computed.
    pub(crate) prepared: Option<Prepared>,
}

impl Conditioning {
    /// On text embeddings alone, `[batch, tokens, dim]`.
    #[must_use]
    pub fn new(text: Tensor<3>) -> Self {
        Self {
            text,
            guidance: None,
            channels: None,
            image: None,
            timestep_factors: None,
            windows: None,
            prepared: None,
        }
    }

    /// Clips that it is for, each as often as there are prompts for it.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.text.dims()[0]
    }

    /// The type that latents must have beside it.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.text.dtype()
    }

    /// That of the last clip alone: of the prompt, where the negative prompt comes before it.
    #[must_use]
    pub fn last(&self) -> Self {
        let batch = self.batch();
        Self {
            text: self.text.clone().slice_dim(0, batch - 1..batch),
            guidance: self.guidance.clone().map(|scale| scale.slice_dim(0, batch - 1..batch)),
            image: self.image.clone().map(|image| image.slice_dim(0, batch - 1..batch)),
            prepared: self.prepared.as_ref().map(Prepared::last),
            ..self.clone()
        }
    }

    /// The latents of a batch with what joins them.
    pub(crate) fn join_channels(&self, latents: Tensor<5>) -> Tensor<5> {
        match &self.channels {
            Some(channels) => {
                let batch = latents.dims()[0];
                Tensor::cat(vec![latents, channels.clone().repeat_dim(0, batch)], 1)
            }
            None => latents,
        }
    }

    /// The timestep of each latent frame, or one for all.
    pub(crate) fn timesteps(&self, timestep: f64, frames: usize) -> Vec<f64> {
        match &self.timestep_factors {
            Some(factors) => {
                let given = factors.len();
                assert!(
                    given == frames,
                    "{given} factors of the timestep are given for {frames} latent frames"
                );
                factors.iter().map(|factor| factor * timestep).collect()
            }
            None => vec![timestep],
        }
    }
}
