//! tiny-world's first request of the README: a line of what the first generation took and gave, then one of what later ones
//! take.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::Args;
use serde_json::json;
use t2v_benches::{Error, Target, warm_up};
use t2v_pipeline::{Pipeline, TextToVideoRequest, Video};

use crate::On;

const PROMPT: &str = "a red ball bouncing in a blue sky";
/// Warm generations that the median is of.
const RUNS: usize = 5;

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    on: On,
    /// Keeps the video as well: .mp4, .gif, .webp, .png (animated), or no extension for a folder of PNGs
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(crate) fn run(options: &Options) -> Result<(), Error> {
    let target = options.on.target()?;
    let request = TextToVideoRequest::new(PROMPT).with_seed(0);
    let start = Instant::now();
    let pipeline = Pipeline::embedded(target.placement())?;
    let video = pipeline.generate(&request)?;
    let cold = start.elapsed();
    if let Some(path) = &options.out {
        video.save(path)?;
    }
    let cpu = Pipeline::embedded(Target::new("flex", "f32")?.placement())?.generate(&request)?;
    let difference = Difference::between(&video, &cpu);
    let line = json!({
        "cold_seconds": cold.as_secs_f64(),
        "largest_difference": difference.largest,
        // Null where all frames are equal.
        "psnr_db": difference.psnr.is_finite().then_some(difference.psnr),
        "steps": video.report().num_inference_steps,
        "dtype": video.report().dtype,
    });
    println!("{line}");

    let again = || {
        let start = Instant::now();
        pipeline.generate(&request)?;
        Ok::<_, Error>(start.elapsed())
    };
    warm_up(again)?;
    let mut times = [Duration::ZERO; RUNS];
    for time in &mut times {
        *time = again()?;
    }
    times.sort();
    println!("{}", json!({ "warm_seconds": times[RUNS / 2].as_secs_f64() }));
    Ok(())
}

/// How far frames in 0..1 are from others.
struct Difference {
    largest: f64,
    /// Decibels.
    psnr: f64,
}

impl Difference {
    fn between(video: &Video, other: &Video) -> Self {
        let pairs = video.frames().iter().zip(other.frames());
        let (mut largest, mut squares) = (0.0_f64, 0.0);
        for (a, b) in pairs {
            let difference = f64::from(a - b).abs();
            largest = largest.max(difference);
            squares += difference * difference;
        }
        let mean = squares / video.frames().len() as f64;
        Self {
            largest,
            psnr: -10.0 * mean.log10(),
        }
    }
}
