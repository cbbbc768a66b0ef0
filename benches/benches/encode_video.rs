//! 16 frames of 512x512 to each format, and to MP4 by `ffmpeg` with x264 where that is installed.
//!
//! Run with
//!
//! ```text
//! cargo bench -p t2v-benches --bench encode_video
//! ```

#![allow(clippy::expect_used, missing_docs)]

use std::{
    io::{Cursor, Write},
    process::{Command, Stdio},
};

use criterion::{Criterion, criterion_group, criterion_main};
use t2v_mp4::{OutputFormat, VideoSpec, Writer};

const SIDE: u32 = 512;
const FRAMES: u32 = 16;
const FORMATS: [OutputFormat; 4] = [
    OutputFormat::Mp4,
    OutputFormat::Gif,
    OutputFormat::WebP,
    OutputFormat::Apng,
];
/// The constant rate factor at which x264's PSNR is that of the default quality: see RESULTS.md.
const CRF: &str = "21";

/// A soft background that drifts, with a fine texture, and a ball that moves.
fn frame(time: u32) -> Vec<u8> {
    let mut rgb = Vec::with_capacity((SIDE * SIDE * 3) as usize);
    let time = f64::from(time);
    for y in (0..SIDE).map(f64::from) {
        for x in (0..SIDE).map(f64::from) {
            let wave = |v: f64| 127.5 + 90.0 * v.sin();
            let texture = 12.0 * ((x * 0.9).sin() * (y * 0.7).cos());
            let (dx, dy) = (x - 120.0 - 16.0 * time, y - 256.0 - 90.0 * (time / 5.0).sin());
            let ball = (1.0 - (dx * dx + dy * dy) / 6400.0).max(0.0).sqrt();
            let colour = [(x + 3.0 * time) / 90.0, (y - 2.0 * time) / 70.0, (x + y) / 150.0];
            let [r, g, b] = colour.map(|v| wave(v) * (1.0 - ball) + texture);
            rgb.extend([r + 230.0 * ball, g + 40.0 * ball, b + 30.0 * ball].map(|v| v.round() as u8));
        }
    }
    rgb
}

/// Encodes into memory.
fn encode(format: OutputFormat, frames: &[Vec<u8>]) {
    let spec = VideoSpec::new(SIDE, SIDE, 8);
    let mut writer = Writer::stream(format, Cursor::new(Vec::new()), spec).expect("the spec is valid");
    for frame in frames {
        writer.push(frame).expect("the frame is valid");
    }
    writer.finish().expect("memory can be written");
}

/// `ffmpeg` with frames to its standard input and a fragmented MP4, which needs no file, to nowhere.
fn ffmpeg(frames: &[Vec<u8>]) -> std::io::Result<()> {
    let size = format!("{SIDE}x{SIDE}");
    let raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-r", "8", "-s", &size, "-i", "-"];
    let x264 = [
        "-c:v", "libx264", "-preset", "veryfast", "-crf", CRF, "-pix_fmt", "yuv420p",
    ];
    let mp4 = ["-movflags", "frag_keyframe+empty_moov", "-f", "mp4", "-y", "/dev/null"];
    let mut child = Command::new("ffmpeg")
        .args(["-v", "error"])
        .args(raw)
        .args(x264)
        .args(mp4)
        .stdin(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        for frame in frames {
            stdin.write_all(frame)?;
        }
    }
    match child.wait()?.success() {
        true => Ok(()),
        false => Err(std::io::Error::other("ffmpeg failed")),
    }
}

fn encode_video(c: &mut Criterion) {
    let frames: Vec<Vec<u8>> = (0..FRAMES).map(frame).collect();
    for format in FORMATS {
        c.bench_function(&format!("16 frames of 512x512 to {format}"), |b| {
            b.iter(|| encode(format, &frames));
        });
    }
    if ffmpeg(&frames).is_ok() {
        c.bench_function("16 frames of 512x512 to MP4 by ffmpeg, x264 veryfast", |b| {
            b.iter(|| ffmpeg(&frames).expect("it worked before"));
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10);
    targets = encode_video
}
criterion_main!(benches);
