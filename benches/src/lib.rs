//! Benchmarks of t2v: see `benches/`. What two of them share is here.

use std::{path::Path, time::Instant};

use burn::tensor::{DType, Device, Distribution, Int, Tensor};
use t2v_denoiser::{Conditioning, Denoiser, UNet3d};
use t2v_kernels::takes_half_weights;
use t2v_text_encoder::ClipTextModel;
use t2v_vae::AutoencoderKl;
use t2v_weights::{LoadOptions, ModelFolder, Network};

/// Why a stage didn't run.
pub type Error = Box<dyn std::error::Error>;

/// The parts of a model on the CPU, loaded when they are first run.
pub struct Stages {
    folder: ModelFolder,
    device: Device,
    options: LoadOptions,
    text_encoder: Option<ClipTextModel>,
    denoiser: Option<UNet3d>,
    vae: Option<AutoencoderKl>,
}

impl Stages {
    /// The parts of a model folder.
    ///
    /// # Errors
    /// A folder that is none of a model.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, Error> {
        let device = Device::flex();
        Ok(Self {
            folder: ModelFolder::open(folder)?,
            options: LoadOptions::new(DType::F32, &device).keep_half(takes_half_weights(DType::F32, &device)),
            device,
            text_encoder: None,
            denoiser: None,
            vae: None,
        })
    }

    fn noise<const D: usize>(&self, shape: [usize; D]) -> Tensor<D> {
        Tensor::random(shape, Distribution::Normal(0.0, 1.0), &self.device)
    }

    /// Two prompts of 77 tokens.
    fn encode_text(&mut self) -> Result<f64, Error> {
        if self.text_encoder.is_none() {
            let component = self.folder.component("text_encoder")?;
            self.text_encoder = Some(ClipTextModel::from_component(&component, &self.options)?);
        }
        let model = self.text_encoder.as_ref().ok_or("no text encoder")?;
        let tokens: Vec<i64> = (0..2 * 77).map(|i| 300 + i * 7).collect();
        let tokens = Tensor::<1, Int>::from_data(tokens.as_slice(), &self.device).reshape([2, 77]);
        let start = Instant::now();
        let states = model.forward(tokens, 0)?;
        self.device.sync()?;
        drop(states);
        Ok(start.elapsed().as_secs_f64())
    }

    /// The noise of `clips` clips. A guided step is two.
    fn denoise(&mut self, clips: usize, frames: usize, size: usize) -> Result<f64, Error> {
        if self.denoiser.is_none() {
            let component = self.folder.component("unet")?;
            self.denoiser = Some(UNet3d::from_component(&component, &self.options)?);
        }
        let (latents, text) = (
            self.noise([clips, 4, frames, size / 8, size / 8]),
            self.noise([clips, 77, 1024]),
        );
        let model = self.denoiser.as_ref().ok_or("no denoiser")?;
        let start = Instant::now();
        let noise = model.forward(latents, 500.0, &Conditioning::new(text));
        self.device.sync()?;
        drop(noise);
        Ok(start.elapsed().as_secs_f64())
    }

    /// One frame.
    fn decode(&mut self, size: usize) -> Result<f64, Error> {
        if self.vae.is_none() {
            let component = self.folder.component("vae")?;
            self.vae = Some(AutoencoderKl::from_component(&component, &self.options)?);
        }
        let latents = self.noise([1, 4, size / 8, size / 8]);
        let vae = self.vae.as_ref().ok_or("no autoencoder")?;
        let start = Instant::now();
        let frame = vae.decode_frame(latents);
        self.device.sync()?;
        drop(frame);
        Ok(start.elapsed().as_secs_f64())
    }

    /// Runs `text encoder`, `step FRAMES SIZE`, `clips CLIPS FRAMES SIZE` or `decode SIZE`, and says how many seconds it took.
    ///
    /// # Errors
    /// Another stage, or parts that don't load.
    pub fn run(&mut self, stage: &str) -> Result<f64, Error> {
        let words: Vec<&str> = stage.split_whitespace().collect();
        match words[..] {
            ["text", "encoder"] => self.encode_text(),
            ["step", frames, size] => self.denoise(2, frames.parse()?, size.parse()?),
            ["clips", clips, frames, size] => self.denoise(clips.parse()?, frames.parse()?, size.parse()?),
            ["decode", size] => self.decode(size.parse()?),
            _ => Err(format!(
                "{stage:?} is no stage: text encoder, step FRAMES SIZE, clips CLIPS FRAMES SIZE, decode SIZE"
            )
            .into()),
        }
    }
}
