//! The options of the program.

use std::{num::NonZeroUsize, path::PathBuf};

use clap::{Parser, ValueEnum, builder::NonEmptyStringValueParser};
use t2v_train::{ClipSize, OptimiserKind, TargetModules, TimestepDensity, TrainSettings};

/// Trains a LoRA on a folder of clips with captions.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Args {
    /// "tiny-world", the embedded model; a model folder in diffusers' layout; or "owner/name", a model of the Hugging Face Hub
    #[arg(long, value_name = "DIR_OR_ID", default_value = "tiny-world")]
    pub(crate) model: String,
    /// Motion modules for a model of pictures: a folder of diffusers or a file of AnimateDiff. Without, Stable Diffusion is trained
    /// on each frame by itself
    #[arg(long, value_name = "PATH")]
    pub(crate) motion_adapter: Option<PathBuf>,
    /// Folder of MP4 or GIF files or folders of pictures, each with its caption in a .txt file of its name, or all in
    /// metadata.jsonl; ball.mask.png is white where the subject of ball.mp4 is
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// Folder of clips of what the model knows and is not to forget, with captions that it understands: every other step shows some of them, and
    /// the model is to predict of them what it did before. With them, --caption-dropout leaves out their captions and no others
    #[arg(long, value_name = "DIR")]
    pub(crate) known: Option<PathBuf>,
    /// What the error on what is known counts, beside 1 for what is new
    #[arg(long, value_name = "WEIGHT", default_value_t = 1.0, requires = "known")]
    pub(crate) known_weight: f64,
    /// The LoRA, a .safetensors file
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// A word that is put before each caption and calls for what was learnt
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    pub(crate) trigger: Option<String>,
    /// Goes on with a training of the same options that was interrupted; the steps, the learning rate and its course may be others
    #[arg(long)]
    pub(crate) resume: bool,
    /// Keeps a state to go on from, and draws the curve of the losses, every so many steps; 0 only when the training ends or is
    /// interrupted
    #[arg(long, value_name = "STEPS", default_value_t = 100)]
    pub(crate) state_every: usize,
    /// Makes a clip every so many steps. The model is loaded once more for it, and dropped again
    #[arg(long, value_name = "STEPS", requires = "sample_prompt")]
    pub(crate) sample_every: Option<usize>,
    /// What that clip is of
    #[arg(long, value_name = "TEXT", requires = "sample_every")]
    pub(crate) sample_prompt: Option<String>,
    /// Clips of a step that are computed at the same time, which is faster where a network is small; memory is that of as many. What
    /// is learnt stays the same
    #[arg(long, value_name = "CLIPS", default_value = "1")]
    pub(crate) clips_at_once: NonZeroUsize,
    /// auto, flex (the CPU), wgpu, vulkan, metal or cuda, as the build has it
    #[arg(long, default_value = "flex")]
    pub(crate) device: String,
    #[command(flatten)]
    clip: ClipArgs,
    #[command(flatten)]
    training: TrainingArgs,
}

/// The clips' size; what the model is made for without.
#[derive(Debug, clap::Args)]
struct ClipArgs {
    /// Frames of a clip; longer files are cut into several. What the model is made for without
    #[arg(long)]
    frames: Option<usize>,
    /// Shows every so many-th frame
    #[arg(long, default_value_t = 1)]
    stride: usize,
    /// Pixels; clips are scaled and cut to their middle. What the model is made for without
    #[arg(long)]
    width: Option<usize>,
    /// Pixels. What the model is made for without
    #[arg(long)]
    height: Option<usize>,
}

/// Optimisers by name.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Optimiser {
    Adamw,
    Lion,
}

#[derive(Debug, clap::Args)]
struct TrainingArgs {
    /// Steps of the optimiser
    #[arg(long, default_value_t = 500)]
    steps: usize,
    /// Rank of the LoRA
    #[arg(long, default_value_t = 8)]
    rank: usize,
    /// Alpha of the LoRA, whose strength is alpha / rank; the rank without
    #[arg(long)]
    alpha: Option<f64>,
    /// Clips a step
    #[arg(long, default_value_t = 1)]
    batch_size: usize,
    #[arg(long, value_enum, default_value = "adamw")]
    optimiser: Optimiser,
    #[arg(long, default_value_t = 1e-4)]
    learning_rate: f64,
    /// Steps in which the learning rate rises
    #[arg(long, default_value_t = 0)]
    warmup_steps: usize,
    /// Lets the learning rate fall along a half cosine
    #[arg(long)]
    cosine: bool,
    #[arg(long, default_value_t = 0.01)]
    weight_decay: f64,
    /// Cuts the gradients to this norm; 0 for any
    #[arg(long, default_value_t = 1.0)]
    max_grad_norm: f64,
    /// Decay of a moving average of the weights, which is saved in their place; 0 for none
    #[arg(long, default_value_t = 0.0)]
    ema_decay: f64,
    /// Draws timesteps as the logistic function of a normal number with this mean and --logit-std, mostly from the middle: above 0 there is
    /// more noise. Without it all are drawn as often
    #[arg(long, allow_negative_numbers = true)]
    logit_mean: Option<f64>,
    /// Deviation of the normal number that timesteps are drawn by
    #[arg(long, default_value_t = 1.0, requires = "logit_mean")]
    logit_std: f64,
    /// Weighs timesteps by their ratio of signal to noise, cut at this (5 is usual); 0 weighs all the same
    #[arg(long, default_value_t = 0.0)]
    min_snr_gamma: f64,
    /// Adds an offset of this deviation to the noise of each channel
    #[arg(long, default_value_t = 0.0)]
    noise_offset: f64,
    /// Probability of the empty caption in place of a clip's
    #[arg(long, default_value_t = 0.0)]
    caption_dropout: f64,
    /// Probability with which a rank of a layer is left out
    #[arg(long, default_value_t = 0.0)]
    rank_dropout: f64,
    /// Layers that are trained, by the ends of their names in diffusers; attention and feed-forward layers without
    #[arg(long, value_delimiter = ',')]
    targets: Option<Vec<String>>,
    /// Trains the attention of CLIP's text encoder, too
    #[arg(long)]
    text_encoder: bool,
    /// What the error outside of a clip's mask counts, beside 1 inside
    #[arg(long, default_value_t = 0.1)]
    background_weight: f64,
    /// Computes what costs little again for the gradients in place of keeping it: less memory, more time
    #[arg(long)]
    checkpointing: bool,
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

impl Args {
    pub(crate) fn settings(&self) -> TrainSettings {
        let from = &self.training;
        let mut settings = TrainSettings::default();
        settings.rank = from.rank;
        settings.alpha = from.alpha.unwrap_or(from.rank as f64);
        settings.steps = from.steps;
        settings.batch_size = from.batch_size;
        settings.optimiser = match from.optimiser {
            Optimiser::Adamw => OptimiserKind::AdamW,
            Optimiser::Lion => OptimiserKind::Lion,
        };
        settings.learning_rate = from.learning_rate;
        settings.warmup_steps = from.warmup_steps;
        settings.cosine = from.cosine;
        settings.weight_decay = from.weight_decay;
        settings.max_grad_norm = from.max_grad_norm;
        settings.ema_decay = from.ema_decay;
        if let Some(mean) = from.logit_mean {
            settings.timesteps = TimestepDensity::LogitNormal {
                mean,
                std: from.logit_std,
            };
        }
        settings.min_snr_gamma = from.min_snr_gamma;
        settings.noise_offset = from.noise_offset;
        settings.caption_dropout = from.caption_dropout;
        settings.rank_dropout = from.rank_dropout;
        settings.text_encoder = from.text_encoder;
        settings.background_weight = from.background_weight;
        settings.checkpointing = from.checkpointing;
        settings.seed = from.seed;
        if let Some(targets) = &from.targets {
            settings.targets = TargetModules::new(targets.iter().cloned());
        }
        settings
    }

    /// The size of clips, with `usual` where the options are silent.
    pub(crate) fn size(&self, usual: ClipSize) -> ClipSize {
        ClipSize {
            frames: self.clip.frames.unwrap_or(usual.frames),
            stride: self.clip.stride,
            width: self.clip.width.unwrap_or(usual.width),
            height: self.clip.height.unwrap_or(usual.height),
        }
    }

    /// Where a state to go on from is kept.
    pub(crate) fn state_file(&self) -> PathBuf {
        self.out.with_extension("state.safetensors")
    }

    /// Where the curve of the losses is drawn.
    pub(crate) fn curve_file(&self) -> PathBuf {
        self.out.with_extension("loss.svg")
    }

    /// The clip that is made after a step.
    pub(crate) fn sample_file(&self, step: usize) -> PathBuf {
        self.out.with_extension(format!("step-{step:06}.mp4"))
    }
}
