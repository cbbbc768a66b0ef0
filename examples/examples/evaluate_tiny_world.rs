//! Measures how often tiny-world, the embedded model, makes what the prompt asks for.
//!
//! Run with
//!
//! ```text
//! cargo run --release -p t2v-examples --example evaluate_tiny_world -- --count 200
//! ```
//!
//! The judge reads colour, shape, motion and background from the frames by measurement. `--drawings` lets it judge drawn
//! clips, of which the truth is known, so shows how far it can be trusted.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use t2v_examples::{
    ModelArgs, open_frames, program,
    tiny_world::{Attributes, FRAMES, Judge, Rgb, Score, draw_clip, judged_clip},
};
use t2v_pipeline::{DeviceName, GenerateOptions, Pipeline, Placement, Speed, TextToVideoRequest};

type Error = Box<dyn std::error::Error>;

#[derive(Parser)]
#[command(about = "Measures how often tiny-world makes what the prompt asks for", version)]
struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Prompts of each kind; their seeds are 0, 1, 2, ...
    #[arg(long, default_value_t = 200)]
    count: usize,
    /// Which combinations of colour, shape and motion; a tenth was held out of training
    #[arg(long, default_value = "both")]
    combinations: Combinations,
    #[arg(long)]
    scheduler: Option<String>,
    #[arg(long)]
    num_inference_steps: Option<u32>,
    #[arg(long)]
    guidance_scale: Option<f64>,
    /// exact, balanced or fast
    #[arg(long, default_value_t)]
    speed: Speed,
    #[arg(long, default_value = "flex")]
    device: String,
    /// Prints the prompts that were missed, and what was seen instead
    #[arg(long)]
    misses: bool,
    /// Judges drawn clips instead of generated ones
    #[arg(long)]
    drawings: bool,
    /// Only says what one clip shows, a file of text_to_video's --frames-out
    #[arg(long, value_name = "FILE.safetensors")]
    frames: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Combinations {
    HeldOut,
    Seen,
    Both,
}

fn main() -> ExitCode {
    program(run)
}

fn run(args: &Args) -> Result<(), Error> {
    let judge = Judge::new();
    if let Some(path) = &args.frames {
        let (frames, shape) = open_frames(path)?;
        println!("{}", judge.judge(&judged_clip(&frames, shape)?));
        return Ok(());
    }
    let kinds = [
        ("held out", true, Combinations::HeldOut),
        ("seen", false, Combinations::Seen),
    ];
    let device = args.device.parse::<DeviceName>()?.device()?;
    let pipeline = match args.drawings {
        true => None,
        false => Some(args.model.pipeline(None, &Placement::new(&device))?),
    };
    println!("combinations  clips  colour   shape  motion  background     all  seconds a clip");
    for (name, held_out, kind) in kinds {
        if args.combinations != Combinations::Both && args.combinations != kind {
            continue;
        }
        let mut combinations: Vec<Attributes> = Attributes::all().filter(|a| a.is_held_out() == held_out).collect();
        fastrand::Rng::with_seed(0).shuffle(&mut combinations);
        combinations.truncate(args.count);
        let (mut score, mut time) = (Score::default(), Duration::ZERO);
        let bar = ProgressBar::new(combinations.len() as u64);
        let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} eta {eta} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        for (seed, attributes) in (0..).zip(&combinations) {
            let (frames, of_clip) = match &pipeline {
                Some(pipeline) => generate(pipeline, attributes, seed, args)?,
                None => (draw_clip(*attributes, u64::from(seed)), Duration::ZERO),
            };
            let verdict = judge.judge(&frames);
            time += of_clip;
            if !score.add(attributes, verdict) && args.misses {
                bar.suspend(|| println!("seed {seed}: {} -> {verdict}", attributes.prompt()));
            }
            bar.set_message(row(&score, time));
            bar.inc(1);
        }
        bar.finish_and_clear();
        println!("{name:12}  {}", row(&score, time));
    }
    Ok(())
}

fn generate(
    pipeline: &Pipeline,
    attributes: &Attributes,
    seed: u32,
    args: &Args,
) -> Result<(Vec<Rgb>, Duration), Error> {
    let mut request = TextToVideoRequest::new(attributes.prompt()).with_seed(seed);
    request.scheduler.clone_from(&args.scheduler);
    request.num_inference_steps = args.num_inference_steps;
    request.guidance_scale = args.guidance_scale;
    request.speed = Some(args.speed);
    request.num_frames = Some(FRAMES as u32);
    let video = pipeline.generate_with(&request, GenerateOptions::default())?;
    let time = video.stage_times().iter().map(|(_, time)| time).sum();
    let shape = [video.num_frames(), video.height(), video.width()];
    Ok((judged_clip(video.frames(), shape)?, time))
}

fn row(score: &Score, time: Duration) -> String {
    let [colour, shape, motion, background, all] = score.percent();
    let clips = score.clips;
    let seconds = time.as_secs_f64() / clips.max(1) as f64;
    format!("{clips:5} {colour:5.1} % {shape:5.1} % {motion:5.1} %     {background:5.1} % {all:5.1} %  {seconds:14.2}")
}
