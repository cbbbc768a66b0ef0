//! Clips as latents and captions as text embeddings, each computed once.

use std::path::{Path, PathBuf};

use burn::tensor::{DType, Tensor, TensorData};
use t2v_schedulers::TorchGenerator;
use t2v_text_encoder::Tokens;
use t2v_vae::{LatentCodec, Posterior};

use super::{
    Clip, ClipSize, find_clips,
    kept::{Encoded, Kept},
};
use crate::{Base, TrainError, base::TextEncoder, error::setting};

/// A clip as a network sees it.
#[derive(Debug, Clone)]
pub struct Example {
    path: PathBuf,
    /// The distribution of its latents as the denoiser takes them, `[1, channels, frames, height, width]`.
    latents: Posterior<5>,
    /// Which of the captions it has.
    caption: usize,
    /// How much of the subject there is in each latent, `[1, 1, frames, height, width]`; none where all is.
    subject: Option<Tensor<5>>,
}

impl Example {
    /// An example of latents that are known, with one of its data set's captions by number.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, latents: Posterior<5>, caption: usize) -> Self {
        Self {
            path: path.into(),
            latents,
            caption,
            subject: None,
        }
    }

    /// The same, with how much of the subject there is in each latent: `[1, 1, frames, height, width]`, 0 to 1.
    #[must_use]
    pub fn with_subject(mut self, subject: Tensor<5>) -> Self {
        self.subject = Some(subject);
        self
    }

    /// The file it is of.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Which of the captions it has.
    pub(crate) fn caption(&self) -> usize {
        self.caption
    }

    /// What the error at each place counts, where the background counts so much.
    pub(crate) fn places(&self, background: f64) -> Option<Tensor<5>> {
        let subject = self.subject.clone()?;
        Some(subject * (1.0 - background) + background)
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
    /// The tokens of the captions; none where they are not known.
    tokens: Vec<Vec<u32>>,
    notes: Vec<String>,
    /// Whether captions are left out as often as the settings say.
    drops_captions: bool,
    /// Where the network is to predict what it did before: what the loss of that counts.
    known: Option<f64>,
}

impl Dataset {
    /// The number of the empty caption.
    pub(crate) const EMPTY_CAPTION: usize = 0;

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
            tokens: Vec::new(),
            notes: Vec::new(),
            drops_captions: true,
            known: None,
        }
    }

    /// The same as clips of what the network knows, which it is not to forget: it is to predict of them what it predicts without adapters,
    /// in place of their noise, and the loss of that counts `weight` times. Shown in turn with what is new, they keep a model as it was (Li and Hoiem, "Learning without Forgetting",
    /// <https://arxiv.org/abs/1606.09282>).
    #[must_use]
    pub fn as_known(mut self, weight: f64) -> Self {
        self.known = Some(weight);
        self
    }

    /// The same with captions that are never left out, whatever [`caption_dropout`](crate::TrainSettings::caption_dropout) says: for a new
    /// subject in turn with what keeps a model from forgetting. What the model makes of no caption, which guidance leads away from, is
    /// learnt from the other data set then, and stays free of the subject.
    #[must_use]
    pub fn with_captions_kept(mut self) -> Self {
        self.drops_captions = false;
        self
    }

    /// The same with the captions' tokens, which a text encoder needs that is trained.
    ///
    /// # Panics
    /// On another number of them than of captions.
    #[must_use]
    pub fn with_tokens(mut self, tokens: Vec<Vec<u32>>) -> Self {
        assert_eq!(tokens.len(), self.captions.len(), "each caption has tokens");
        self.tokens = tokens;
        self
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
        size.check(&base.limits()?)?;
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
        let encoder = base.text_encoder()?;
        let tokens = texts.iter().map(|text| encoder.tokens(text));
        let tokens = tokens.collect::<Result<Vec<Tokens>, TrainError>>()?;
        let kept = Kept::new(folder, &base.encoders_sha256()?, size, &clips, &texts);
        let encoded = match kept.load(base.device()) {
            Some(encoded) => encoded,
            None => {
                let encoded = encode(base, &encoder, size, &clips, &tokens, told)?;
                kept.save(&encoded);
                encoded
            }
        };
        let examples = clips.into_iter().zip(encoded.latents).zip(which);
        let examples = examples.map(|((clip, latents), caption)| Example {
            subject: clip
                .mask
                .map(|mask| mask.over_latents(size, latents.mean.dims(), base.device())),
            path: clip.path,
            latents,
            caption,
        });
        Ok(Self {
            notes: notes(&texts, &tokens),
            tokens: tokens.into_iter().map(|tokens| tokens.ids).collect(),
            ..Self::new(examples.collect(), encoded.captions)
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

    /// Whether captions are left out as often as the settings say.
    pub(crate) fn drops_captions(&self) -> bool {
        self.drops_captions
    }

    /// Where the network is to predict what it did before: what the loss of that counts.
    pub(crate) fn known(&self) -> Option<f64> {
        self.known
    }

    /// The embedding of a caption.
    pub(crate) fn embedding(&self, caption: usize) -> &Tensor<3> {
        &self.captions[caption]
    }

    /// The tokens of a caption.
    ///
    /// # Errors
    /// They are not known.
    pub(crate) fn tokens(&self, caption: usize) -> Result<&[u32], TrainError> {
        let unknown = || setting("text_encoder", "is on, and the data set has no tokens of its captions");
        self.tokens.get(caption).map(Vec::as_slice).ok_or_else(unknown)
    }
}

/// What captions are too long.
fn notes(texts: &[String], tokens: &[Tokens]) -> Vec<String> {
    let too_long = texts.iter().zip(tokens).filter(|(_, tokens)| tokens.truncated > 0);
    let note = |(text, tokens): (&String, &Tokens)| {
        let truncated = tokens.truncated;
        format!("{truncated} tokens of a caption do not fit and are left out: {text:?}")
    };
    too_long.map(note).collect()
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
    encoder: &TextEncoder,
    size: &ClipSize,
    clips: &[Clip],
    tokens: &[Tokens],
    mut told: impl FnMut(usize, usize),
) -> Result<Encoded, TrainError> {
    let embedder = encoder.embedder()?;
    let captions = tokens.iter().map(|tokens| embedder.embed(tokens));
    let captions = captions.collect::<Result<Vec<_>, TrainError>>()?;
    drop(embedder);
    let (autoencoder, mut encoded) = (base.autoencoder()?, Vec::with_capacity(clips.len()));
    for clip in clips {
        told(encoded.len(), clips.len());
        encoded.push(latents(&*autoencoder, clip, size, base));
    }
    told(clips.len(), clips.len());
    Ok(Encoded {
        latents: encoded,
        captions,
    })
}

/// The distribution of a clip's latents, scaled as the denoiser takes them.
fn latents(autoencoder: &dyn LatentCodec, clip: &Clip, size: &ClipSize, base: &Base) -> Posterior<5> {
    let bytes = clip.frames.iter().flatten();
    let values: Vec<f32> = bytes.map(|value| f32::from(*value) / 127.5 - 1.0).collect();
    let data = TensorData::new(values, [1, size.frames, size.height, size.width, 3]);
    let frames = Tensor::<5>::from_data(data, (base.device(), DType::F32)).permute([0, 4, 1, 2, 3]);
    let (mut means, mut stds) = (Vec::new(), Vec::new());
    for Posterior { mean, std } in autoencoder.encode(frames) {
        means.push(mean);
        stds.push(std);
    }
    let std = Tensor::cat(stds, 2);
    // A deviation is scaled, and not moved.
    let moved = autoencoder.normalize(std.zeros_like());
    Posterior {
        mean: autoencoder.normalize(Tensor::cat(means, 2)),
        std: autoencoder.normalize(std) - moved,
    }
}
