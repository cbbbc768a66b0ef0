//! Teaches tiny-world, the embedded model, a colour and a shape that it does not know, and measures what it learnt and forgot.
//!
//! Run with
//!
//! ```text
//! cargo run --release -p t2v-train --example teach_tiny_world
//! ```
//!
//! It draws 24 clips of a teal cross, with captions and masks, and some of what the model knows, so that it does not forget; trains a LoRA
//! on both in turn; and examines the model before and after: on a teal cross in motions and on backgrounds that no clip had, and
//! on the old words. The judge reads the frames by measurement and knows no prompts; `--drawings` lets it judge drawn clips, of
//! which the truth is known, as they are and as tiny-world's autoencoder gives them back. In the folder `--dir` are then the clips, the
//! LoRA and `before_and_after.png`.

mod exam;
mod lesson;
mod sheet;

use std::{
    error::Error,
    fs,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use clap::Parser;
use exam::{Examiner, Source};
use indicatif::{ProgressBar, ProgressStyle};
use lesson::Lesson;
use t2v_examples::program;
use t2v_pipeline::{DeviceName, Lora, Pipeline};
use t2v_train::{
    Adapters, Base, Dataset, Denoisers, LoraLabel, TargetModules, TimestepDensity, TrainError, TrainSettings, Trainer,
    save_lora,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The LoRA's name in requests.
const LORA: &str = "lesson";

/// Attention, feed-forward layers and convolutions, the last four along time: the edges of a shape that the model never drew are beyond the
/// first two alone.
const TARGETS: [&str; 21] = [
    "to_q",
    "to_k",
    "to_v",
    "to_out.0",
    "ff.net.0.proj",
    "ff.net.2",
    "proj_in",
    "proj_out",
    "conv_in",
    "conv_out",
    "resnets.0.conv1",
    "resnets.0.conv2",
    "resnets.1.conv1",
    "resnets.1.conv2",
    "conv_shortcut",
    "upsamplers.0.conv",
    "downsamplers.0.conv",
    "conv1.2",
    "conv2.3",
    "conv3.3",
    "conv4.3",
];

#[derive(Parser)]
#[command(
    about = "Teaches tiny-world a teal cross, and measures what it learnt and forgot",
    version
)]
struct Args {
    /// Folder for clips, the LoRA and the picture of before and after
    #[arg(long, default_value = "teach_tiny_world")]
    dir: PathBuf,
    /// Steps of the training
    #[arg(long, default_value_t = 800)]
    steps: usize,
    /// Clips a step
    #[arg(long, default_value_t = 4)]
    batch_size: usize,
    /// Clips of a step that are computed at the same time
    #[arg(long, default_value = "2")]
    clips_at_once: NonZeroUsize,
    #[arg(long, default_value_t = 32)]
    rank: usize,
    #[arg(long, default_value_t = 2e-3)]
    learning_rate: f64,
    /// Clips of what the model knows, which every other step shows; 0 for none
    #[arg(long, default_value_t = 400)]
    rehearsed: usize,
    /// How many of these have a motion or a background that the new clips don't have
    #[arg(long, default_value_t = 20)]
    elsewhere: usize,
    /// What the error on these counts, beside 1 for the new ones
    #[arg(long, default_value_t = 2.0)]
    known_weight: f64,
    /// Draws all timesteps as often, in place of mostly those of the middle
    #[arg(long)]
    uniform_timesteps: bool,
    /// Layers that are trained, by the ends of their names in diffusers
    #[arg(long, value_delimiter = ',', default_values = TARGETS)]
    targets: Vec<String>,
    /// Trains the text encoder, too
    #[arg(long)]
    text_encoder: bool,
    /// What the error outside of the subject counts, beside 1 inside
    #[arg(long, default_value_t = 0.2)]
    background_weight: f64,
    /// Decay of a moving average of the weights, which is saved in their place; 0 for none
    #[arg(long, default_value_t = 0.0)]
    ema_decay: f64,
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Prompts that ask for what was taught
    #[arg(long, default_value_t = 40)]
    new_prompts: usize,
    /// Prompts that ask for what the model knew
    #[arg(long, default_value_t = 200)]
    old_prompts: usize,
    #[arg(long, default_value = "flex")]
    device: String,
    /// Examines only the model that was taught, not the one before
    #[arg(long)]
    after_only: bool,
    /// Prints the prompts that were missed, and what was seen instead
    #[arg(long)]
    misses: bool,
    /// Only draws the clips
    #[arg(long)]
    draw_only: bool,
    /// Examines a LoRA that was trained before, instead of training one
    #[arg(long, value_name = "FILE", conflicts_with = "draw_only")]
    lora: Option<PathBuf>,
    /// Only judges drawn clips of both exams, as they are and as the autoencoder gives them back
    #[arg(long, conflicts_with_all = ["draw_only", "lora"])]
    drawings: bool,
}

fn main() -> ExitCode {
    program(run)
}

fn run(args: &Args) -> Result<()> {
    let lesson = Lesson::new([args.rehearsed, args.elsewhere], [args.new_prompts, args.old_prompts]);
    if args.drawings {
        println!("{}", exam::HEADER);
        Examiner::new(Source::Drawn, args.misses).examine_both(&lesson, "drawn")?;
        return Examiner::new(Source::decoded()?, args.misses).examine_both(&lesson, "decoded");
    }
    let lora = args.lora.clone().unwrap_or_else(|| args.dir.join("lora.safetensors"));
    fs::create_dir_all(&args.dir)?;
    if args.lora.is_none() {
        lesson.write(&args.dir)?;
    }
    if args.draw_only {
        return Ok(());
    }
    if args.lora.is_none() {
        train(
            args,
            &Base::tiny_world(&args.device.parse::<DeviceName>()?.device()?)?,
            &lora,
        )?;
    }
    examine(args, &lesson, &lora)
}

fn settings(args: &Args) -> TrainSettings {
    let mut settings = TrainSettings::default();
    settings.steps = args.steps;
    settings.batch_size = args.batch_size;
    settings.rank = args.rank;
    settings.alpha = args.rank as f64;
    settings.learning_rate = args.learning_rate;
    settings.warmup_steps = 10.min(args.steps);
    settings.cosine = true;
    settings.caption_dropout = 0.1;
    settings.background_weight = args.background_weight;
    settings.ema_decay = args.ema_decay;
    settings.timesteps = match args.uniform_timesteps {
        true => TimestepDensity::Uniform,
        false => TimestepDensity::LogitNormal { mean: 0.0, std: 1.0 },
    };
    settings.text_encoder = args.text_encoder;
    settings.targets = TargetModules::new(args.targets.iter().cloned());
    settings.seed = args.seed;
    settings
}

fn train(args: &Args, base: &Base, out: &Path) -> Result<()> {
    let open = |clips: &str| Dataset::open(&args.dir.join(clips), &base.usual_size()?, None, base, |_, _| ());
    let new = open(lesson::NEW)?;
    let (new, known) = match args.rehearsed {
        0 => (new, None),
        _ => (
            new.with_captions_kept(),
            Some(open(lesson::KNOWN)?.as_known(args.known_weight)),
        ),
    };
    let Denoisers::UNet3d(network) = base.denoiser()? else {
        return Err("tiny-world's denoiser is not of ModelScope's kind".into());
    };
    let mut trainer = Trainer::new(network, base.noise().clone(), settings(args), base.device())?
        .with_clips_at_once(args.clips_at_once);
    if args.text_encoder {
        trainer = trainer.with_text_encoder(base.trained_text_encoder()?)?;
    }
    let style = ProgressStyle::with_template("training {bar:30} {pos}/{len} {msg}, {eta} left")?;
    let bar = ProgressBar::new(args.steps as u64).with_style(style);
    let start = Instant::now();
    while trainer.steps_done() < args.steps {
        let report = trainer.step_in_turns(&new, known.as_ref())?;
        bar.set_message(format!("loss {:.4}", report.loss));
        bar.set_position(report.step as u64);
    }
    bar.finish_and_clear();
    let (seconds, steps) = (start.elapsed().as_secs_f64(), args.steps);
    println!(
        "trained {steps} steps of {} clips in {seconds:.0} s, {:.2} s a step",
        args.batch_size,
        seconds / steps as f64
    );
    save(base, &trainer.result(), trainer.settings(), out)?;
    println!("`{}` is the LoRA", out.display());
    Ok(())
}

fn save(base: &Base, adapters: &Adapters, settings: &TrainSettings, out: &Path) -> std::result::Result<(), TrainError> {
    let label = LoraLabel {
        trigger: None,
        base: base.name().to_owned(),
        base_sha256: base.sha256()?,
        steps: settings.steps,
    };
    save_lora(out, adapters, &label, settings)
}

/// Prints how good the model is before and after, and draws both.
fn examine(args: &Args, lesson: &Lesson, lora: &Path) -> Result<()> {
    let pipeline = Pipeline::embedded(&args.device.parse::<DeviceName>()?.device()?)?;
    pipeline.add_lora(LORA, Lora::open(lora)?)?;
    println!("{}", exam::HEADER);
    let mut examiner = Examiner::new(Source::Generated(&pipeline), args.misses);
    if !args.after_only {
        examiner.examine_both(lesson, "before")?;
    }
    let before = examiner.take_shown();
    examiner.lora = Some(LORA);
    examiner.examine_both(lesson, "after")?;
    if args.after_only {
        return Ok(());
    }
    let picture = args.dir.join("before_and_after.png");
    sheet::save(&before, &examiner.take_shown(), &picture)?;
    println!("`{}`: before on the left, after on the right", picture.display());
    Ok(())
}
