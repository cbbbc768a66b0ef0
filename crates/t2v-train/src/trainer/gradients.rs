//! The way through the networks and back: loss and gradients of one clip.

use burn::{
    module::Module,
    tensor::{Int, Tensor, TensorData},
};
use t2v_denoiser::Denoiser;
use t2v_text_encoder::ClipTextModel;
use t2v_weights::LoraTarget;

use super::{Trainer, recording};
use crate::{Draw, Factors, TrainError, attach, attach::attach_to, error::setting};

/// What a network is shown of a caption.
pub(super) enum Prompt<'a> {
    /// `[1, tokens, dim]`
    Embedding(&'a Tensor<3>),
    /// For the text encoder that is trained.
    Tokens(&'a ClipTextModel, &'a [u32]),
}

impl<N: Module + Denoiser> Trainer<N> {
    /// The loss of one clip, and its gradients. The shapes are those of [`Objective::loss`](crate::Objective::loss).
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

    pub(super) fn trained_text_encoder(&self) -> Result<&ClipTextModel, TrainError> {
        let missing = || setting("text_encoder", "is on, and no text encoder was given to be trained");
        self.text_encoder.as_ref().ok_or_else(missing)
    }

    /// Calls the networks with their adapters, and goes the way back.
    pub(super) fn record(
        &self,
        latents: &Tensor<5>,
        prompt: &Prompt<'_>,
        draw: &Draw,
    ) -> Result<(f32, Factors), TrainError> {
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
            target: draw.target.clone().map(|target| recording.of(target)),
            ..draw.clone()
        };
        let loss = self
            .objective
            .loss(&network, recording.of(latents.clone()), text, &draw);
        let gradients = loss.backward();
        Ok((loss.inner().into_scalar::<f32>(), leaves.gradients(&gradients)))
    }
}
