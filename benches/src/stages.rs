//! The networks of a model, run one at a time and timed.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use burn::tensor::{DType, Device, Distribution, Int, Tensor};
use t2v_denoiser::{
    Conditioning, Denoiser, MotionAdapterConfig, UNet2d, UNet2dConfig, UNet3d, UNet3dConfig, open_motion_adapter,
};
use t2v_kernels::lay_out;
use t2v_text_encoder::{ClipTextConfig, ClipTextModel};
use t2v_vae::{AutoencoderKl, AutoencoderKlConfig, LatentCodec};
use t2v_weights::{Component, LoadOptions, ModelFolder, Network};

use crate::{Clip, Error, Target, Work};

/// The timestep of every call of the denoiser.
const TIMESTEP: f64 = 500.0;

/// The denoisers that there are.
enum UNetConfig {
    ThreeD(UNet3dConfig),
    /// With motion modules from elsewhere, if any.
    TwoD(Box<UNet2dConfig>, Option<Component>),
}

impl UNetConfig {
    fn open(folder: &ModelFolder, motion_adapter: Option<&Path>) -> Result<Self, Error> {
        let component = folder.component("unet")?;
        if component
            .entry()
            .is_some_and(|entry| entry.class == "UNet3DConditionModel")
        {
            return Ok(Self::ThreeD(UNet3dConfig::from_component(&component)?));
        }
        let adapter = motion_adapter.map(open_motion_adapter).transpose()?;
        let config = match &adapter {
            Some(adapter) => UNet2dConfig::with_adapter(&component, &MotionAdapterConfig::from_component(adapter)?)?,
            None => UNet2dConfig::from_component(&component)?,
        };
        Ok(Self::TwoD(Box::new(config), adapter))
    }

    /// Channels of the latents, and width of the text embeddings.
    fn widths(&self) -> [usize; 2] {
        match self {
            Self::ThreeD(config) => [config.in_channels, config.cross_attention_dim],
            Self::TwoD(config, _) => [config.in_channels, config.cross_attention_dim],
        }
    }

    fn load(&self, folder: &ModelFolder, options: &LoadOptions) -> Result<Box<dyn Denoiser>, Error> {
        let component = folder.component("unet")?;
        Ok(match self {
            Self::ThreeD(_) => Box::new(lay_out(UNet3d::from_component(&component, options)?, options.device())),
            Self::TwoD(config, adapter) => {
                let (config, weights) = (UNet2dConfig::clone(config), component.weights()?);
                let network = match adapter {
                    Some(adapter) => UNet2d::with_adapter(config, weights, adapter.weights()?, options)?,
                    None => UNet2d::from_weights(config, &weights, options)?,
                };
                Box::new(lay_out(network, options.device()))
            }
        })
    }
}

/// The networks of a model, read when they are first run. Inputs are random; how large they are
/// follows from the model's configurations.
pub struct Stages {
    folder: ModelFolder,
    device: Device,
    dtype: DType,
    options: LoadOptions,
    codec_options: LoadOptions,
    text: ClipTextConfig,
    unet: UNetConfig,
    vae: AutoencoderKlConfig,
    text_encoder: Option<ClipTextModel>,
    denoiser: Option<Box<dyn Denoiser>>,
    autoencoder: Option<AutoencoderKl>,
}

impl Stages {
    /// The networks of a model folder.
    ///
    /// # Errors
    /// A folder that is none of a model, or one of another family.
    pub fn open(folder: impl AsRef<Path>, target: &Target) -> Result<Self, Error> {
        Self::new(ModelFolder::open(folder)?, None, target)
    }

    /// The networks of a folder of Stable Diffusion, with motion modules in the denoiser.
    ///
    /// # Errors
    /// As for [`open`](Self::open), and an adapter that does not fit.
    pub fn with_motion_adapter(folder: impl AsRef<Path>, adapter: &Path, target: &Target) -> Result<Self, Error> {
        Self::new(ModelFolder::open(folder)?, Some(adapter), target)
    }

    /// Those of tiny-world, the embedded model.
    ///
    /// # Errors
    /// None that a build of this workspace has.
    pub fn embedded(target: &Target) -> Result<Self, Error> {
        Self::new(
            ModelFolder::embedded("tiny-world", t2v_tiny_world::FILES)?,
            None,
            target,
        )
    }

    fn new(folder: ModelFolder, motion_adapter: Option<&Path>, target: &Target) -> Result<Self, Error> {
        let options = target.placement().load_options()?;
        let vae = AutoencoderKlConfig::from_component(&folder.component("vae")?)?;
        Ok(Self {
            device: target.device().clone(),
            dtype: target.dtype()?,
            // As a pipeline loads it.
            codec_options: match vae.force_upcast {
                Some(true) => options.clone().in_single_precision(),
                _ => options.clone(),
            },
            options,
            text: ClipTextConfig::from_component(&folder.component("text_encoder")?)?,
            unet: UNetConfig::open(&folder, motion_adapter)?,
            vae,
            folder,
            text_encoder: None,
            denoiser: None,
            autoencoder: None,
        })
    }

    /// Reads all networks that were not read yet.
    ///
    /// # Errors
    /// Weights that are missing, damaged, or don't fit the configuration.
    pub fn load(&mut self) -> Result<(), Error> {
        self.text_encoder()?;
        self.denoiser()?;
        self.autoencoder()?;
        Ok(self.device.sync()?)
    }

    /// Runs one network, and says how long it took until its result was there.
    ///
    /// # Errors
    /// A size that the model can't do, weights that can't be read, a failure of the device, a result that is not finite.
    pub fn run(&mut self, work: Work) -> Result<Duration, Error> {
        match work {
            Work::TextEncoder => self.encode_text(),
            Work::Denoiser { clips, clip } => self.denoise(clips, clip),
            Work::Decoder(clip) => self.decode(clip),
        }
    }

    fn encode_text(&mut self) -> Result<Duration, Error> {
        let (tokens, vocabulary) = (self.text.max_position_embeddings, self.text.vocab_size);
        let ids: Vec<i64> = (0..2 * tokens).map(|i| ((300 + i * 7) % vocabulary) as i64).collect();
        let ids = Tensor::<1, Int>::from_data(ids.as_slice(), &self.device).reshape([2, tokens]);
        let device = self.device.clone();
        let model = self.text_encoder()?;
        timed(&device, || Ok(vec![model.forward(ids, 0)?]))
    }

    fn denoise(&mut self, clips: usize, clip: Clip) -> Result<Duration, Error> {
        let [height, width] = self.latent_size(clip)?;
        let [channels, width_of_text] = self.unet.widths();
        let latents = self.noise([clips, channels, clip.frames, height, width]);
        let text = self.noise([clips, self.text.max_position_embeddings, width_of_text]);
        let conditioning = Conditioning::new(text.cast(self.dtype));
        let latents = latents.cast(self.dtype);
        let device = self.device.clone();
        let model = self.denoiser()?;
        timed(&device, || {
            let noise = model.forward(latents, TIMESTEP, &conditioning);
            Ok(vec![noise.cast(DType::F32)])
        })
    }

    fn decode(&mut self, clip: Clip) -> Result<Duration, Error> {
        let [height, width] = self.latent_size(clip)?;
        let latents = self.noise([1, self.vae.latent_channels, clip.frames, height, width]);
        let device = self.device.clone();
        let codec: &dyn LatentCodec = self.autoencoder()?;
        timed(&device, || Ok(codec.decode(latents).collect()))
    }

    /// Height and width of a clip's latents.
    fn latent_size(&self, clip: Clip) -> Result<[usize; 2], Error> {
        let factor = self.vae.scale_factor();
        for (side, pixels) in [("height", clip.height), ("width", clip.width)] {
            if pixels % factor != 0 {
                return Err(format!("the {side} is {pixels}; the model needs a multiple of {factor}").into());
            }
        }
        Ok([clip.height / factor, clip.width / factor])
    }

    fn noise<const D: usize>(&self, shape: [usize; D]) -> Tensor<D> {
        Tensor::random(shape, Distribution::Normal(0.0, 1.0), &self.device)
    }

    fn text_encoder(&mut self) -> Result<&ClipTextModel, Error> {
        read(&mut self.text_encoder, &self.folder, "text_encoder", &self.options)
    }

    fn denoiser(&mut self) -> Result<&dyn Denoiser, Error> {
        let network = match self.denoiser.take() {
            Some(network) => network,
            None => self.unet.load(&self.folder, &self.options)?,
        };
        Ok(&**self.denoiser.insert(network))
    }

    fn autoencoder(&mut self) -> Result<&AutoencoderKl, Error> {
        read(&mut self.autoencoder, &self.folder, "vae", &self.codec_options)
    }
}

/// A network, read if it is not there yet.
fn read<'a, N>(
    slot: &'a mut Option<N>,
    folder: &ModelFolder,
    component: &str,
    options: &LoadOptions,
) -> Result<&'a N, Error>
where
    N: Network,
    Error: From<N::Error>,
{
    let network = match slot.take() {
        Some(network) => network,
        None => lay_out(
            N::from_component(&folder.component(component)?, options)?,
            options.device(),
        ),
    };
    Ok(slot.insert(network))
}

/// How long work takes until the device has done it. Its inputs are there before the clock starts.
///
/// A kernel that could not be launched leaves a result without values, and much too early; that shows only where values are
/// read, which is done after the clock has stopped.
fn timed<const D: usize>(
    device: &Device,
    work: impl FnOnce() -> Result<Vec<Tensor<D>>, Error>,
) -> Result<Duration, Error> {
    device.sync()?;
    let start = Instant::now();
    let results = work()?;
    device.sync()?;
    let time = start.elapsed();
    for result in results {
        let largest = result.abs().max().try_into_vec_as::<f32>()?;
        if !largest.iter().all(|value| value.is_finite()) {
            return Err("the result has values that are not finite".into());
        }
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_network_of_the_embedded_model_runs() {
        let target = Target::new("flex", "f32").expect("the CPU is always there");
        let mut stages = Stages::embedded(&target).expect("it is a model");
        stages.load().expect("its weights fit");
        for words in ["text encoder", "step 2 64 64", "clips 1 1 16 32", "decode 2 64 64"] {
            let time = stages.run(words.parse().expect("it is work")).expect(words);
            assert!(time > Duration::ZERO, "{words}");
        }
    }

    #[test]
    fn sizes_between_latents_are_refused() {
        let target = Target::new("flex", "f32").expect("the CPU is always there");
        let mut stages = Stages::embedded(&target).expect("it is a model");
        let fault = stages.run("decode 1 64 60".parse().expect("it is work"));
        let fault = fault.expect_err("60 is no multiple of 8").to_string();
        assert_eq!(fault, "the width is 60; the model needs a multiple of 8");
    }
}
