//! Whole generations of the checkpoints tiny_a and tiny_b.

use std::fs;

use image::RgbImage;
use serde::Deserialize;
use serde_json::{Map, Value};
use t2v_benches::Error;
use t2v_pipeline::{GenerateOptions, InitMedia, Pipeline, TextToVideoRequest};
use t2v_test_support::{Fixture, copy_folder};

use super::{Compared, Golden};

pub(super) const CHECKPOINTS: [&str; 2] = ["tiny_a", "tiny_b"];

/// What upstream was asked for.
#[derive(Deserialize)]
struct Run {
    prompt: String,
    negative_prompt: Option<String>,
    seed: u32,
    scheduler: String,
    scheduler_overrides: Map<String, Value>,
    num_inference_steps: u32,
    guidance_scale: f64,
    width: u32,
    height: u32,
    num_frames: u32,
    clip_skip: Option<u32>,
    strength: Option<f64>,
}

impl Run {
    fn request(&self) -> TextToVideoRequest {
        let mut request = TextToVideoRequest::new(&self.prompt)
            .with_size(self.width, self.height)
            .with_num_frames(self.num_frames)
            .with_scheduler(&self.scheduler)
            .with_num_inference_steps(self.num_inference_steps)
            // Below 1 upstream leaves guidance out, as at 1, which is the least that a request may ask for.
            .with_guidance_scale(self.guidance_scale.max(1.0))
            .with_seed(self.seed);
        request.negative_prompt.clone_from(&self.negative_prompt);
        request.clip_skip = self.clip_skip;
        request.strength = self.strength;
        request
    }
}

fn open(golden: &Golden, name: &str) -> Result<Fixture, Error> {
    golden.fixture("t2v-pipeline", &format!("{name}_golden"))
}

/// How many generations a checkpoint has.
pub(super) fn count(golden: &Golden, name: &str) -> Result<usize, Error> {
    Ok(open(golden, name)?.metadata::<Vec<Run>>("runs").len())
}

/// The frames of a checkpoint's generation beside upstream's.
pub(super) fn compare(golden: &Golden, name: &str, i: usize) -> Result<Vec<Compared>, Error> {
    let fixture = open(golden, name)?;
    let runs: Vec<Run> = fixture.metadata("runs");
    let run = runs.get(i).ok_or("the fixture has no such run")?;
    let options = match run.strength {
        Some(_) => GenerateOptions::default().with_init(init_video(&fixture, i)?),
        None => GenerateOptions::default(),
    };
    let video = pipeline(golden, name, &run.scheduler_overrides)?.generate_with(&run.request(), options)?;
    let (_, expected) = fixture.values(&format!("run.{i}"));
    Ok(vec![Compared::new("frames", video.frames(), &expected)?])
}

/// A checkpoint with some keys of its scheduler's configuration replaced.
fn pipeline(golden: &Golden, name: &str, overrides: &Map<String, Value>) -> Result<Pipeline, Error> {
    let folder = tempfile::tempdir()?;
    copy_folder(
        &golden.root.join("crates/t2v-pipeline/tests/fixtures").join(name),
        folder.path(),
    );
    let path = folder.path().join("scheduler/scheduler_config.json");
    let mut config: Map<String, Value> = serde_json::from_slice(&fs::read(&path)?)?;
    config.extend(overrides.clone());
    fs::write(&path, serde_json::to_vec(&config)?)?;
    let pipeline = Pipeline::from_dir(folder.path(), golden.target.placement())?;
    // The folder goes with this function.
    pipeline.preload()?;
    Ok(pipeline)
}

/// The pictures that a run starts from.
fn init_video(fixture: &Fixture, i: usize) -> Result<InitMedia, Error> {
    let (shape, values) = fixture.values(&format!("init.{i}"));
    let &[_, height, width, channels] = shape.as_slice() else {
        return Err(format!("init.{i} of the fixture has the shape {shape:?}").into());
    };
    let picture = |frame: &[f32]| {
        let pixels = frame.iter().map(|value| *value as u8).collect();
        RgbImage::from_raw(width as u32, height as u32, pixels)
    };
    let frames = values.chunks_exact(height * width * channels);
    let frames: Option<Vec<RgbImage>> = frames.map(picture).collect();
    Ok(InitMedia::Video(frames.ok_or("the pictures to start from are no RGB")?))
}
