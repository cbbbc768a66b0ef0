//! Makes a video from pictures, and reads back what a video says about itself.
//!
//! Run with
//!
//! ```text
//! cargo run --release -p t2v-examples --example mux_frames -- frames/ --fps 24000/1001 --metadata prompt="a red ball" --out ball.mp4
//! cargo run --release -p t2v-examples --example mux_frames -- --read-metadata ball.mp4
//! ```

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::SystemTime,
};

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use safetensors::{Dtype, SafeTensors};
use t2v_examples::program;
use t2v_media::{MediaError, open_picture, picture_files};
use t2v_mp4::{DEFAULT_KEYFRAME_INTERVAL, DEFAULT_QUALITY, FrameRate, Metadata, OutputFormat, VideoSpec, Writer};

type Error = Box<dyn std::error::Error>;

#[derive(Parser)]
#[command(about = "Makes a video from pictures", version)]
struct Args {
    /// A folder of pictures, taken in the natural order of their names, or a safetensors file with one f32 tensor "frames"
    /// [frames, height, width, 3] in 0..1
    #[arg(required_unless_present = "read_metadata")]
    input: Option<PathBuf>,
    /// Frames a second, as 24, 12.5 or 24000/1001
    #[arg(long, value_name = "RATE", default_value = "24")]
    fps: FrameRate,
    /// Of MP4, from 0 (smallest file) to 100 (best picture)
    #[arg(long, default_value_t = DEFAULT_QUALITY)]
    quality: u8,
    /// Most frames from one keyframe to the next, in MP4
    #[arg(long, value_name = "FRAMES", default_value_t = DEFAULT_KEYFRAME_INTERVAL)]
    keyframe_interval: u32,
    /// What the file should say about the video; may be given many times
    #[arg(long, value_name = "KEY=VALUE")]
    metadata: Vec<String>,
    /// State the present time as that of creation, in MP4 (the same frames then no longer give the same file)
    #[arg(long)]
    timestamp: bool,
    /// The video: .mp4, .gif, .webp, .png (animated), or without an extension a folder of PNGs
    #[arg(long, value_name = "FILE", default_value = "t2v.mp4")]
    out: PathBuf,
    /// Print what an MP4 file says about itself as JSON, and do nothing else
    #[arg(long, value_name = "FILE.mp4", exclusive = true)]
    read_metadata: Option<PathBuf>,
}

fn main() -> ExitCode {
    program(run)
}

fn run(args: &Args) -> Result<(), Error> {
    match (&args.read_metadata, &args.input) {
        (Some(file), _) => {
            println!("{}", t2v_mp4::read_metadata(file)?.to_json());
            Ok(())
        }
        (None, Some(folder)) if folder.is_dir() => from_folder(args, folder),
        (None, Some(file)) => from_tensor(args, file),
        (None, None) => Err("give a folder of pictures or a safetensors file".into()),
    }
}

fn from_folder(args: &Args, folder: &Path) -> Result<(), Error> {
    let files = picture_files(folder).map_err(cannot_read)?;
    let Some(first) = files.first() else {
        return Err(format!("there are no pictures in {folder:?}").into());
    };
    let (width, height) = open_picture(first).map_err(cannot_read)?.dimensions();
    let mut writer = start(args, width, height)?;
    let bar = progress(files.len());
    for file in bar.wrap_iter(files.iter()) {
        let picture = open_picture(file).map_err(cannot_read)?;
        if picture.dimensions() != (width, height) {
            let (w, h) = picture.dimensions();
            return Err(format!("{file:?} has {w}x{h} pixels, but {first:?} has {width}x{height}").into());
        }
        writer.push(&picture)?;
    }
    Ok(writer.finish()?)
}

/// The error as one of pictures that are not to start a generation from.
fn cannot_read(error: MediaError) -> String {
    match error {
        MediaError::Unusable { path, reason } => format!("cannot read {path:?}: {reason}"),
        other => other.to_string(),
    }
}

fn from_tensor(args: &Args, file: &Path) -> Result<(), Error> {
    let bytes = fs::read(file).map_err(|error| format!("cannot read {file:?}: {error}"))?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(|error| format!("cannot read {file:?}: {error}"))?;
    let frames = tensors
        .tensor("frames")
        .map_err(|error| format!("cannot read {file:?}: {error}"))?;
    let (Dtype::F32, &[count, height, width, 3]) = (frames.dtype(), frames.shape()) else {
        let (dtype, shape) = (frames.dtype(), frames.shape());
        let expected = "F32 [frames, height, width, 3]";
        return Err(format!("\"frames\" in {file:?} is {dtype:?} {shape:?}, but should be {expected}").into());
    };
    let mut writer = start(args, u32::try_from(width)?, u32::try_from(height)?)?;
    let bar = progress(count);
    // At least one byte, so that an empty tensor has no frames rather than a panic.
    let frames = frames.data().chunks_exact((width * height * 12).max(1));
    for frame in bar.wrap_iter(frames) {
        let (values, _) = frame.as_chunks::<4>();
        let values: Vec<f32> = values.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        writer.push_f32(&values)?;
    }
    Ok(writer.finish()?)
}

/// The writer of a video as the options say.
fn start(args: &Args, width: u32, height: u32) -> Result<Writer, Error> {
    let mut metadata = Metadata::new();
    for entry in &args.metadata {
        let Some((key, value)) = entry.split_once('=') else {
            return Err(format!("--metadata {entry:?} should be KEY=VALUE").into());
        };
        metadata.set(key, value);
    }
    let mut spec = VideoSpec::new(width, height, args.fps)
        .with_quality(args.quality)
        .with_keyframe_interval(args.keyframe_interval)
        .with_metadata(metadata);
    if args.timestamp {
        spec = spec.with_created(SystemTime::now());
    }
    let format = OutputFormat::from_path(&args.out)?;
    Ok(Writer::create_as(format, &args.out, spec)?)
}

fn progress(frames: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("writing {wide_bar} {pos}/{len} {elapsed} eta {eta}");
    ProgressBar::new(frames as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
