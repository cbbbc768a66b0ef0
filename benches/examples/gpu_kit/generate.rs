//! Whole generations, from a prompt to an MP4.

use std::time::Instant;

use clap::Args;
use serde_json::{Map, json};
use t2v_benches::Error;
use t2v_pipeline::{Pipeline, TextToVideoRequest};

use crate::{On, memory};

#[derive(Args)]
pub(crate) struct Options {
    /// A model folder, or "tiny-world"
    model: String,
    #[command(flatten)]
    on: On,
    #[arg(long, default_value_t = 25)]
    steps: u32,
    #[arg(long, default_value_t = 16)]
    frames: u32,
    /// Pixels
    #[arg(long, default_value_t = 256)]
    height: u32,
    /// Pixels
    #[arg(long, default_value_t = 256)]
    width: u32,
    #[arg(long, default_value = "DDIM")]
    scheduler: String,
    #[arg(long, default_value_t = 9.0)]
    guidance: f64,
    /// Generations, one after the other; the first one also loads the model, and compiles and measures kernels
    #[arg(long, default_value_t = 3)]
    runs: u32,
}

pub(crate) fn run(options: &Options) -> Result<(), Error> {
    let target = options.on.target()?;
    let start = Instant::now();
    let pipeline = match options.model.as_str() {
        "tiny-world" => Pipeline::embedded(target.placement())?,
        folder => Pipeline::from_dir(folder, target.placement())?,
    };
    let mut opening = start.elapsed();
    let request = TextToVideoRequest::new("a red ball")
        .with_size(options.width, options.height)
        .with_num_frames(options.frames)
        .with_num_inference_steps(options.steps)
        .with_scheduler(&options.scheduler)
        .with_guidance_scale(options.guidance)
        .with_seed(0);
    let folder = tempfile::tempdir()?;
    for run in 0..options.runs {
        let start = Instant::now();
        // Frames are read back, so the device has finished.
        let video = pipeline.generate(&request)?;
        let seconds = (start.elapsed() + std::mem::take(&mut opening)).as_secs_f64();
        let start = Instant::now();
        video.save(folder.path().join("video.mp4"))?;
        let mp4_seconds = start.elapsed().as_secs_f64();
        let stages: Map<_, _> = video
            .stage_times()
            .iter()
            .map(|(stage, time)| (stage.to_string(), json!(time.as_secs_f64())))
            .collect();
        let line = json!({
            "run": run,
            "seconds": seconds,
            "stages": stages,
            "mp4_seconds": mp4_seconds,
            "dtype": video.report().dtype,
            "memory": memory::usage(target.device()),
        });
        println!("{line}");
    }
    Ok(())
}
