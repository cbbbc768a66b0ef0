//! Clips as latents and captions as text embeddings, each computed once.

use std::path::{Path, PathBuf};

use burn::tensor::{DType, Tensor, TensorData};
use t2v_schedulers::TorchGenerator;
use t2v_vae::{AutoencoderKl, LatentCodec, Posterior};

use super::{
    Clip, ClipSize, find_clips,
    kept::{Encoded, Kept},
};
use crate::{Base, TrainError};

/// A clip as a network sees it.
#[derive(Debug, Clone)]
pub struct Example {
    path: PathBuf,
    /// The distribution of its latents as the denoiser takes them, `[1, channels, frames, height, width]`.
    latents: Posterior<5>,
    /// Which of the captions it has.
    caption: usize,
}

impl Example {
    /// An example of latents that are known, with one of its data set's captions by number.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, latents: Posterior<5>, caption: usize) -> Self {
        Self {
            path: path.into(),
            latents,
            caption,
        }
    }

    /// The file it is of.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Latents drawn from the clip's distribution.
    pub(crate) fn sample(&self, generator: &mut TorchGenerator) -> Tensor<5> {
        let Posterior { mean, std } = &self.latents;
        let shape = mean.dims();
        let data = TensorData::new(generator.randn(shape.iter().product()), shape);
        mean.clone() + std.clone() * Tensor::from_data(data, (&mean.device(), DType::F32))
    }
}

/// What a training shows its network, encoded.
#[derive(Debug, Clone)]
pub struct Dataset {
    examples: Vec<Example>,
    /// The empty caption, then the others, `[1, tokens, dim]`.
    captions: Vec<Tensor<3>>,
    notes: Vec<String>,
}

impl Dataset {
    /// Of examples whose latents are known; `captions` begin with the empty one, which is number 0.
    ///
    /// # Panics
    /// On no examples, and on one whose caption there is not.
    #[must_use]
    pub fn new(examples: Vec<Example>, captions: Vec<Tensor<3>>) -> Self {
        assert!(!examples.is_empty(), "a data set has an example at least");
        let is_there = |example: &Example| example.caption < captions.len();
        assert!(examples.iter().all(is_there), "each example has a caption");
        Self {
            examples,
            captions,
            notes: Vec::new(),
        }
    }

    /// Reads a folder of clips and captions, and encodes it, unless what was encoded of the same clips and captions by the same
    /// encoders is kept there already. `told` is told how many clips are encoded, of how many.
    ///
    /// # Errors
    /// All faults of the folder together, before anything is encoded; a base that can't encode.
    pub fn open(
        folder: &Path,
        size: &ClipSize,
        trigger: Option<&str>,
        base: &Base,
        told: impl FnMut(usize, usize),
    ) -> Result<Self, TrainError> {
        size.check(base.scale_factor()?)?;
        let (captions, mut faults) = find_clips(folder, trigger)?;
        let (clips, unusable) = Clip::read_all(&captions, size);
        faults.extend(unusable);
        if !faults.is_empty() {
            return Err(TrainError::Data {
                folder: folder.display().to_string(),
                faults,
            });
        }
        let (texts, which) = distinct(&clips);
        let kept = Kept::new(folder, &base.encoders_sha256()?, size, &clips, &texts);
        let encoded = match kept.load(base.device()) {
            Some(encoded) => encoded,
            None => {
                let encoded = encode(base, size, &clips, &texts, told)?;
                kept.save(&encoded);
                encoded
            }
        };
        let examples = clips.into_iter().zip(encoded.latents).zip(which);
        Ok(Self {
            examples: examples
                .map(|((clip, latents), caption)| Example::new(clip.path, latents, caption))
                .collect(),
            captions: encoded.captions,
            notes: encoded.notes,
        })
    }

    /// The clips.
    #[must_use]
    pub fn examples(&self) -> &[Example] {
        &self.examples
    }

    /// What is not wrong, and may not be meant: captions that are too long to be read whole.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The embedding of an example's caption.
    pub(crate) fn caption(&self, example: &Example) -> &Tensor<3> {
        &self.captions[example.caption]
    }

    /// The embedding of the empty caption.
    pub(crate) fn empty_caption(&self) -> &Tensor<3> {
        &self.captions[0]
    }
}

/// The empty caption and those of the clips, each once, and which of them each clip has.
fn distinct(clips: &[Clip]) -> (Vec<String>, Vec<usize>) {
    let mut texts = vec![String::new()];
    let which = clips
        .iter()
        .map(|clip| match texts.iter().position(|text| *text == clip.caption) {
            Some(known) => known,
            None => {
                texts.push(clip.caption.clone());
                texts.len() - 1
            }
        });
    let which = which.collect();
    (texts, which)
}

fn encode(
    base: &Base,
    size: &ClipSize,
    clips: &[Clip],
    texts: &[String],
    mut told: impl FnMut(usize, usize),
) -> Result<Encoded, TrainError> {
    let (encoder, mut captions, mut notes) = (base.text_encoder()?, Vec::new(), Vec::new());
    for text in texts {
        let (embedding, truncated) = encoder.encode(text)?;
        captions.push(embedding);
        if truncated > 0 {
            notes.push(format!(
                "{truncated} tokens of a caption do not fit and are left out: {text:?}"
            ));
        }
    }
    drop(encoder);
    let (autoencoder, mut encoded) = (base.autoencoder()?, Vec::with_capacity(clips.len()));
    for clip in clips {
        told(encoded.len(), clips.len());
        encoded.push(latents(&autoencoder, clip, size, base));
    }
    told(clips.len(), clips.len());
    Ok(Encoded {
        latents: encoded,
        captions,
        notes,
    })
}

/// The distribution of a clip's latents, scaled as the denoiser takes them.
fn latents(autoencoder: &AutoencoderKl, clip: &Clip, size: &ClipSize, base: &Base) -> Posterior<5> {
    let bytes = clip.frames.iter().flatten();
    let values: Vec<f32> = bytes.map(|value| f32::from(*value) / 127.5 - 1.0).collect();
    let data = TensorData::new(values, [1, size.frames, size.height, size.width, 3]);
    let frames = Tensor::<5>::from_data(data, (base.device(), DType::F32)).permute([0, 4, 1, 2, 3]);
    let (mut means, mut stds) = (Vec::new(), Vec::new());
    for Posterior { mean, std } in autoencoder.encode(frames) {
        means.push(mean);
        stds.push(std);
    }
    Posterior {
        mean: autoencoder.normalize(Tensor::cat(means, 2)),
        std: autoencoder.normalize(Tensor::cat(stds, 2)),
    }
}
