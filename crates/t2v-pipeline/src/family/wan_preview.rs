//! A small decoder of Wan's latents for previews: a file of [TAEHV](https://github.com/madebyollin/taehv) that lies in the model
//! folder, under the name by which it is published.

use burn::tensor::Tensor;
use t2v_kernels::lay_out;
use t2v_vae::wan::{TinyWanConfig, TinyWanDecoder};
use t2v_weights::{LoadOptions, ModelFolder};

use crate::{PipelineError, preview::PreviewDecoder};

/// For the latents of Wan 2.1, which the large models of 2.2 have too, and for those of the small model of 2.2.
const FILES: [&str; 2] = ["taew2_1.safetensors", "taew2_2.safetensors"];

/// Loads the decoder for latents of so many channels, if the folder has one.
///
/// # Errors
/// A file that can't be read, or that is for other latents while none is for these.
pub(super) fn load(
    folder: &ModelFolder,
    latents: usize,
    options: &LoadOptions,
) -> Result<Option<Box<dyn PreviewDecoder>>, PipelineError> {
    let mut other = None;
    for file in FILES {
        let Some(weights) = folder.optional_weights(file)? else {
            continue;
        };
        let config = TinyWanConfig::from_weights(&weights)?;
        if config.latent_channels == latents {
            let decoder = TinyWanDecoder::load(config, &weights, options)?;
            return Ok(Some(Box::new(lay_out(decoder, options.device()))));
        }
        other = Some((file, config.latent_channels));
    }
    match other {
        None => Ok(None),
        Some((file, channels)) => Err(PipelineError::Checkpoint(format!(
            "`{file}` decodes latents of {channels} channels for previews, those of the model have {latents}; put the file for \
             these in its place, or none"
        ))),
    }
}

impl PreviewDecoder for TinyWanDecoder {
    fn decode(&self, clip: Tensor<5>) -> Vec<Tensor<5>> {
        TinyWanDecoder::decode(self, clip).collect()
    }
}
