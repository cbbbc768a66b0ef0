//! What differs from one family of models to the next. [`Run`](crate::run::Run) has the order of the stages and knows none.
//!
//! A family is one file beside this one and one line in [`FAMILIES`]: it reads the configurations of its components, says
//! which requests it can do, and makes the three networks that a generation calls through traits: text to conditioning
//! ([`TextConditioner`]), the [`Denoiser`], and the [`LatentCodec`].

mod adapted;
mod animatediff;
mod clip_pictures;
mod clip_text;
mod latent_diffusion;
mod modelscope;
mod stable_diffusion;
mod wan;
mod wan_experts;
mod wan_pictures;
mod wan_preview;
mod wan_streamed;
mod wan_text;

pub(crate) use adapted::LoadedDenoiser;
use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::{Int, Tensor},
};
use image::RgbImage;
use serde_json::{Map, Value};
use t2v_denoiser::Conditioning;
use t2v_schedulers::{NoiseSource, SchedulerKind, TorchGenerator};
use t2v_text_encoder::{TextEncoderError, TextualInversion};
use t2v_vae::{LatentCodec, Posterior};
use t2v_weights::{Component, LoadOptions, LoraSet, ModelFolder, WeightsError};

use crate::{
    InitMedia, MemoryMode, PipelineError, Report, ValidationError, beginning::Beginning, defaults::Defaults,
    geometry::Geometry, preview::PreviewDecoder,
};

/// A model folder that is being opened, and what goes with it.
pub(crate) struct Opening<'a> {
    pub(crate) folder: &'a ModelFolder,
    /// Motion modules for a folder of pictures.
    pub(crate) motion_adapter: Option<&'a Component>,
    pub(crate) options: &'a LoadOptions,
}

/// Opens a folder of a family, with configurations that are read and checked.
type Open = fn(&Opening<'_>) -> Result<Box<dyn Family>, PipelineError>;

/// The pipeline classes of `model_index.json` and the families that they select.
const FAMILIES: &[(&str, Open)] = &[
    ("TextToVideoSDPipeline", modelscope::open),
    // Zeroscope XL's folder; it makes videos from a prompt alone, too.
    ("VideoToVideoSDPipeline", modelscope::open),
    // With a motion adapter beside the folder, AnimateDiff.
    ("StableDiffusionPipeline", stable_diffusion::open),
    ("StableDiffusionImg2ImgPipeline", stable_diffusion::open),
    ("StableDiffusionInpaintPipeline", stable_diffusion::open),
    ("AnimateDiffPipeline", animatediff::open),
    ("AnimateDiffVideoToVideoPipeline", animatediff::open),
    ("WanPipeline", wan::open),
    ("WanImageToVideoPipeline", wan::open),
];

/// The components of any family that have weights, by their names in `model_index.json`: of those that a folder lists, all
/// are loaded.
pub(crate) const COMPONENTS: [&str; 7] = [
    "text_encoder",
    "image_encoder",
    "unet",
    "transformer",
    "transformer_2",
    "vae",
    "motion_adapter",
];

/// A model of some family: its configurations, and how to load its networks. Read once and never changed.
pub(crate) trait Family: Send + Sync {
    /// Sizes of clips and latents.
    fn geometry(&self) -> &Geometry;

    /// What requests that say nothing get.
    fn defaults(&self) -> Defaults;

    /// Changes what the folder says of its scheduler, which is of `class`, to what upstream's pipeline makes of it, or that which
    /// paints into masks.
    fn scheduler_config(&self, _class: SchedulerKind, _config: &mut Map<String, Value>, _inpaints: bool) {}

    /// Whether it makes still pictures: one to start from decides the size where the request does not, and only what a mask shows
    /// may be painted anew.
    fn makes_pictures(&self) -> bool {
        false
    }

    /// Whether the denoiser is given mask and masked picture beside the latents.
    fn takes_masked_pictures(&self) -> bool {
        false
    }

    /// How clips begin with pictures that are given, where the denoiser is shown these rather than that they are noised.
    fn beginning(&self) -> Option<Beginning> {
        None
    }

    /// Adds what is wrong with pictures to start from, or with there being none, of a clip of so many frames.
    fn check_init(&self, init: Option<&InitMedia>, _frames: u32, faults: &mut ValidationError) {
        if let Some(InitMedia::Ends(_)) = init {
            faults.add(
                "init",
                "The model can't make videos between two pictures: leave out the last one.",
            );
        }
    }

    /// Whether the denoiser predicts a flow, whose schedule may be moved towards noise.
    fn predicts_flow(&self) -> bool {
        false
    }

    /// The timestep below which the second weight of the prompt counts, where there is one.
    fn guidance_boundary(&self) -> Option<f64> {
        None
    }

    /// Whether the prediction is moved away from that for the negative prompt.
    fn is_guided(&self, report: &Report) -> bool {
        report.is_guided()
    }

    /// Adds what besides text the denoiser is conditioned on.
    fn condition(&self, _conditioning: &mut Conditioning, _report: &Report) {}

    /// The noise that a clip begins with, from independent values.
    fn arrange_noise(&self, noise: Tensor<5>, _report: &Report, _generator: &mut TorchGenerator) -> Tensor<5> {
        noise
    }

    /// A clip's latents as its schedulers see them: the whole clip as one sample, unless upstream has it otherwise.
    fn as_samples(&self, clip: Tensor<5>) -> Tensor<5> {
        clip
    }

    /// The inverse of [`as_samples`](Self::as_samples).
    fn as_clip(&self, samples: Tensor<5>) -> Tensor<5> {
        samples
    }

    /// Latents drawn from the distribution of given pictures, [as samples](Self::as_samples), not normalised.
    fn sample_posterior(&self, posterior: Posterior<5>, noise: &mut dyn NoiseSource) -> Tensor<5> {
        let (mean, std) = (self.as_samples(posterior.mean), self.as_samples(posterior.std));
        mean.clone() + std * noise.normal(mean.dims(), &mean.device())
    }

    /// Noise for the latents of given pictures, which are `samples`, [as samples](Self::as_samples).
    fn noise_for(&self, samples: &Tensor<5>, noise: &mut dyn NoiseSource) -> Tensor<5> {
        noise.normal(samples.dims(), &samples.device())
    }

    /// Adds what a generation would need that this model can't do, but sizes. `plan` has every value as it would be used; it
    /// has a strength where there are pictures to start from.
    fn check(&self, plan: &Report, faults: &mut ValidationError);

    /// The way from prompts to conditioning, with nothing loaded yet but vocabularies.
    fn text_conditioner(&self) -> Result<Box<dyn TextConditioner>, PipelineError>;

    /// Whether pictures are embedded for the denoiser.
    fn has_picture_encoder(&self) -> bool {
        false
    }

    /// Loads the encoder of pictures, if it has one.
    fn load_picture_encoder(&self) -> Result<Option<Loaded<Box<dyn PictureEncoder>>>, PipelineError> {
        Ok(None)
    }

    /// Loads the denoiser; `mode` says how much of it may be in memory where it is several networks.
    fn load_denoiser(&self, mode: MemoryMode) -> Result<Box<dyn LoadedDenoiser>, PipelineError>;

    /// Loads a small decoder for previews, if the model has one.
    fn load_preview_decoder(&self) -> Result<Option<Box<dyn PreviewDecoder>>, PipelineError> {
        Ok(None)
    }

    /// Loads the autoencoder.
    fn load_codec(&self) -> Result<Loaded<Box<dyn LatentCodec>>, PipelineError>;
}

/// From prompts to what the denoiser is conditioned on.
pub(crate) trait TextConditioner: Send {
    /// Conditioning of the report's prompts, negative then positive where `guided`, otherwise the prompt alone. Tells the
    /// report what it did not use.
    fn encode(&mut self, report: &mut Report, guided: bool) -> Result<Conditioning, PipelineError>;

    /// Whether all of a prompt counts.
    fn fits(&self, text: &str) -> Result<bool, TextEncoderError>;

    /// Puts a set of LoRAs in place of the one before.
    fn set_loras(&mut self, set: &LoraSet) -> Result<(), WeightsError>;

    /// Adds a learnt word.
    fn add_textual_inversion(&mut self, word: &TextualInversion) -> Result<(), PipelineError>;

    /// Loads its network, if it is not in memory.
    fn load(&mut self) -> Result<(), PipelineError>;

    /// Drops its network.
    fn unload(&mut self);

    /// Bytes of its network in memory; 0 where it is not.
    fn loaded_bytes(&self) -> usize;
}

/// From a picture to embeddings that the denoiser attends to.
pub(crate) trait PictureEncoder: Send {
    /// `[1, tokens, width]`
    fn encode(&self, picture: &RgbImage) -> Tensor<3>;
}

/// A network in memory.
pub(crate) struct Loaded<T> {
    pub(crate) network: T,
    /// Bytes of its parameters.
    pub(crate) bytes: usize,
}

/// Opens a folder as a model of the family that its pipeline class selects.
///
/// # Errors
/// An unknown class; components that can't be used, or don't fit together.
pub(crate) fn open(opening: &Opening<'_>) -> Result<Box<dyn Family>, PipelineError> {
    let folder = opening.folder;
    let class = folder.pipeline_class()?.unwrap_or_default();
    let found = FAMILIES.iter().find(|(known, _)| *known == class);
    let Some((_, open)) = found else {
        let known: Vec<&str> = FAMILIES.iter().map(|(class, _)| *class).collect();
        return Err(WeightsError::Config {
            file: format!("{}/model_index.json", folder.name()),
            reason: match class {
                "" => format!("`_class_name` is missing; supported are {}", known.join(", ")),
                class => format!(
                    "the pipeline `{class}` of `_class_name` is not supported; {} are",
                    known.join(", ")
                ),
            },
        }
        .into());
    };
    open(opening)
}

/// Bytes of a network's parameters.
pub(crate) fn parameter_bytes(network: &impl Module) -> usize {
    #[derive(Default)]
    struct Sum {
        bytes: usize,
        last: usize,
    }
    impl ModuleVisitor for Sum {
        fn enter_module(&mut self, _name: &str, kind: &str) {
            // What stands behind a parameter, such as quantised blocks, is in place of its own values.
            if kind == "Reparameterization" {
                self.bytes -= self.last;
            }
        }

        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            self.last = parameter.lazy_shape().num_elements() * parameter.dtype().size();
            self.bytes += self.last;
        }

        fn visit_int<const D: usize>(&mut self, parameter: &Param<Tensor<D, Int>>) {
            self.bytes += parameter.lazy_shape().num_elements() * parameter.dtype().size();
        }
    }
    let mut sum = Sum::default();
    network.visit(&mut sum);
    sum.bytes
}
