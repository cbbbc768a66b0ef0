//! How Wan is shown pictures: which of its models begin with one, and the encoder that some have for them.

use burn::tensor::{Device, Tensor};
use image::RgbImage;
use t2v_denoiser::WanTransformerConfig;
use t2v_kernels::lay_out;
use t2v_text_encoder::{ClipVisionConfig, ClipVisionModel};
use t2v_vae::AutoencoderKlWanConfig;
use t2v_weights::{LoadOptions, ModelFolder, Network};

use super::{Loaded, PictureEncoder, clip_pictures::ClipPictures, parameter_bytes};
use crate::{InitMedia, PipelineError, ValidationError, beginning::Beginning};

const ENCODER: &str = "image_encoder";

/// What a model does with pictures.
pub(super) enum Pictures {
    /// Clips are of text alone.
    None,
    /// A clip may begin with a picture, as its first latent frame.
    Optional,
    /// Every clip begins with a picture, and may end with one.
    Required { seen: Option<Seen> },
}

/// How a picture is embedded for the denoiser.
pub(super) struct Seen {
    config: ClipVisionConfig,
    pictures: ClipPictures,
    /// Pictures that the denoiser has learnt positions for; any number, if none are learnt.
    positions_for: Option<usize>,
}

impl Pictures {
    /// By the channels that the transformer takes, and whether the index says that timesteps are those of latent frames.
    ///
    /// # Errors
    /// Channels that are neither those of the latents nor these with a mask and given latents; an encoder that does not fit.
    pub(super) fn of(
        folder: &ModelFolder,
        transformer: &WanTransformerConfig,
        vae: &AutoencoderKlWanConfig,
        expand_timesteps: bool,
    ) -> Result<Self, PipelineError> {
        let (latents, input) = (vae.z_dim, transformer.in_channels);
        let with_picture = 2 * latents + vae.temporal_factor();
        match input {
            _ if input == latents && expand_timesteps => Ok(Self::Optional),
            _ if input == latents => Ok(Self::None),
            _ if input == with_picture => Ok(Self::Required {
                seen: transformer
                    .image_dim
                    .map(|width| Seen::open(folder, width, transformer.pos_embed_seq_len))
                    .transpose()?,
            }),
            _ => Err(PipelineError::Checkpoint(format!(
                "the denoiser takes {input} channels, the VAE's latents have {latents}: it should take as many, or \
                 {with_picture} where clips begin with a picture"
            ))),
        }
    }

    pub(super) fn beginning(&self) -> Option<Beginning> {
        match self {
            Self::None => None,
            Self::Optional => Some(Beginning::FirstFrame),
            Self::Required { .. } => Some(Beginning::Channels),
        }
    }

    /// Adds what is wrong with the pictures of a request.
    pub(super) fn check(&self, init: Option<&InitMedia>, frames: u32, faults: &mut ValidationError) {
        let fault = match (self, init) {
            (Self::None, Some(_)) => "The model makes videos from text alone: leave out what to start from.",
            (Self::Required { .. }, None) => {
                "The model makes videos of a picture that they begin with: give an init image."
            }
            (Self::Optional | Self::Required { .. }, Some(InitMedia::Video(_))) => {
                "The model makes videos of a picture that they begin with, not of a video: give an init image."
            }
            (Self::Optional, Some(InitMedia::Ends(_))) => {
                "The model is shown the picture that a video begins with alone: leave out the last one."
            }
            (Self::Required { .. }, Some(InitMedia::Ends(_))) if frames < 2 => {
                "A video of one frame has no last picture: ask for more frames, or leave it out."
            }
            (Self::Required { seen: Some(seen) }, Some(init)) => match (seen.positions_for, init.pictures().len()) {
                (Some(2..), 1) => "The model makes videos between two pictures: give the last one too.",
                (None | Some(1), 2..) => {
                    "The model is shown the picture that a video begins with alone: leave out the last one."
                }
                _ => return,
            },
            _ => return,
        };
        faults.add("init", fault);
    }

    /// Loads the encoder, if there is one.
    pub(super) fn load_encoder(
        &self,
        folder: &ModelFolder,
        options: &LoadOptions,
    ) -> Result<Option<Loaded<Box<dyn PictureEncoder>>>, PipelineError> {
        let Some(seen) = self.seen() else {
            return Ok(None);
        };
        let weights = folder.component(ENCODER)?.weights()?;
        let network = ClipVisionModel::from_weights(seen.config.clone(), &weights, options)?;
        let network = lay_out(network, options.device());
        Ok(Some(Loaded {
            bytes: parameter_bytes(&network),
            network: Box::new(Encoder {
                network,
                pictures: seen.pictures.clone(),
                device: options.device().clone(),
            }),
        }))
    }

    /// What is said of the encoder, if there is one.
    pub(super) fn seen(&self) -> Option<&Seen> {
        match self {
            Self::Required { seen } => seen.as_ref(),
            _ => None,
        }
    }
}

impl Seen {
    /// For a denoiser that takes embeddings of `width`, and has so many learnt positions for them.
    fn open(folder: &ModelFolder, width: usize, positions: Option<usize>) -> Result<Self, PipelineError> {
        let config = ClipVisionConfig::from_component(&folder.component(ENCODER)?)?;
        let pictures = ClipPictures::from_component(&folder.component("image_processor")?, config.image_size)?;
        let (found, tokens) = (config.hidden_size, config.tokens());
        if found != width {
            return Err(PipelineError::Checkpoint(format!(
                "the image encoder gives embeddings of width {found}, the denoiser takes {width}"
            )));
        }
        let positions_for = match positions {
            Some(positions) if positions == tokens || positions == 2 * tokens => Some(positions / tokens),
            Some(positions) => {
                return Err(PipelineError::Checkpoint(format!(
                    "the denoiser has positions for {positions} embeddings of pictures, the image encoder gives {tokens} of each"
                )));
            }
            None => None,
        };
        Ok(Self {
            config,
            pictures,
            positions_for,
        })
    }
}

/// CLIP's vision tower.
struct Encoder {
    network: ClipVisionModel,
    pictures: ClipPictures,
    device: Device,
}

impl PictureEncoder for Encoder {
    fn encode(&self, picture: &RgbImage) -> Tensor<3> {
        self.network.penultimate(self.pictures.prepare(picture, &self.device))
    }
}
