//! The networks of a model, run one at a time and timed.

mod unets;
mod wan;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use burn::tensor::{Device, Distribution, Tensor};
use t2v_denoiser::wan_transformer;
use t2v_kernels::lay_out;
use t2v_weights::{LoadOptions, ModelFolder, Network};

use self::{unets::UNetStages, wan::WanStages};
use crate::{Clip, Error, Target, Work};

/// The timestep of every call of a denoiser.
const TIMESTEP: f64 = 500.0;

/// The networks of a model of some kind. Each is read when it is first run, before the clock starts.
trait Networks {
    /// Reads all that were not read yet.
    fn load(&mut self) -> Result<(), Error>;

    /// Encodes two prompts of as many tokens as the model takes.
    fn encode_text(&mut self) -> Result<Duration, Error>;

    /// One call of the denoiser on so many clips, each under so many prompts.
    fn denoise(&mut self, counts: [usize; 2], clip: Clip) -> Result<Duration, Error>;

    /// Decodes a clip.
    fn decode(&mut self, clip: Clip) -> Result<Duration, Error>;
}

/// The networks of a model, read when they are first run. Inputs are random; how large they are
/// follows from the model's configurations.
pub struct Stages {
    networks: Box<dyn Networks>,
    is_wan: bool,
}

impl Stages {
    /// The networks of a model folder.
    ///
    /// # Errors
    /// A folder that is none of a model, or one of another family.
    pub fn open(folder: impl AsRef<Path>, target: &Target) -> Result<Self, Error> {
        Self::with_part(folder, None, target)
    }

    /// The same with a part from elsewhere: of Wan the weights of the transformer in place of the folder's, in safetensors or
    /// GGUF; of Stable Diffusion motion modules in the denoiser.
    ///
    /// # Errors
    /// As for [`open`](Self::open), and a part that does not fit.
    pub fn with_part(folder: impl AsRef<Path>, part: Option<&Path>, target: &Target) -> Result<Self, Error> {
        let folder = ModelFolder::open(folder)?;
        let is_wan = folder.component("transformer").is_ok_and(|transformer| {
            transformer
                .entry()
                .is_some_and(|entry| entry.class == "WanTransformer3DModel")
        });
        let networks: Box<dyn Networks> = match is_wan {
            true => {
                let folder = match part {
                    Some(file) => folder.with_weights("transformer", file, wan_transformer())?,
                    None => folder,
                };
                Box::new(WanStages::new(folder, target)?)
            }
            false => Box::new(UNetStages::new(folder, part, target)?),
        };
        Ok(Self { networks, is_wan })
    }

    /// Whether the model is one of Wan, whose clips have a first frame and groups of more.
    #[must_use]
    pub fn is_wan(&self) -> bool {
        self.is_wan
    }

    /// Those of tiny-world, the embedded model.
    ///
    /// # Errors
    /// None that a build of this workspace has.
    pub fn embedded(target: &Target) -> Result<Self, Error> {
        let folder = ModelFolder::embedded("tiny-world", t2v_tiny_world::FILES)?;
        Ok(Self {
            networks: Box::new(UNetStages::new(folder, None, target)?),
            is_wan: false,
        })
    }

    /// Reads all networks that were not read yet.
    ///
    /// # Errors
    /// Weights that are missing, damaged, or don't fit the configuration.
    pub fn load(&mut self) -> Result<(), Error> {
        self.networks.load()
    }

    /// Runs one network, and says how long it took until its result was there.
    ///
    /// # Errors
    /// A size that the model can't do, weights that can't be read, a failure of the device, a result that is not finite.
    pub fn run(&mut self, work: Work) -> Result<Duration, Error> {
        match work {
            Work::TextEncoder => self.networks.encode_text(),
            Work::Step(clip) => self.networks.denoise([1, 2], clip),
            Work::Clips { clips, clip } => self.networks.denoise([clips, 1], clip),
            Work::Decoder(clip) => self.networks.decode(clip),
        }
    }
}

/// Height and width of a clip's latents, of which each is `factor` pixels wide and high.
fn latent_size(clip: Clip, factor: usize) -> Result<[usize; 2], Error> {
    for (side, pixels) in [("height", clip.height), ("width", clip.width)] {
        if pixels % factor != 0 {
            return Err(format!("the {side} is {pixels}; the model needs a multiple of {factor}").into());
        }
    }
    Ok([clip.height / factor, clip.width / factor])
}

fn noise<const D: usize>(device: &Device, shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
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
    fn every_network_of_wan_runs() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/t2v-pipeline/tests/fixtures/wan_a");
        let target = Target::new("flex", "f32").expect("the CPU is always there");
        let mut stages = Stages::open(folder, &target).expect("it is a model");
        stages.load().expect("its weights fit");
        for words in ["text encoder", "step 5 32 32", "decode 5 16 32"] {
            let time = stages.run(words.parse().expect("it is work")).expect(words);
            assert!(time > Duration::ZERO, "{words}");
        }
        let fault = stages.run("decode 4 16 32".parse().expect("it is work"));
        let fault = fault.expect_err("4 frames are no first one and groups").to_string();
        assert_eq!(fault, "there are 4 frames; the model needs a multiple of 4, and one");
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
