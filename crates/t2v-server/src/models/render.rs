//! One generation: the video and its pictures as files.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use image::{DynamicImage, RgbImage, imageops};
use t2v_pipeline::{GenerateOptions, Pipeline, Video};

use super::{engine_error, preview, progress::Overall};
use crate::{
    store::Live,
    worker::engine::{EngineError, Rendered, Task, Variant},
};

/// Model calls from one preview to the next.
const PREVIEW_EVERY: usize = 2;
/// Pictures of a spritesheet, at most, and how many of them are side by side.
const SPRITES: usize = 16;
const SPRITE_COLUMNS: u32 = 4;
/// The longest side of a picture of the spritesheet, in pixels.
const SPRITE_SIDE: u32 = 256;

/// Generates the video of a task.
pub(super) fn render(pipeline: &Pipeline, task: Task<'_>) -> Result<Rendered, EngineError> {
    let Task {
        request,
        init,
        folder,
        variants,
        cancel,
        on_live,
    } = task;
    let (on_live, mut overall) = (Mutex::new(on_live), Overall::default());
    let tell = |live: Live| on_live.lock().unwrap_or_else(PoisonError::into_inner)(live);
    let mut options = GenerateOptions::default()
        .with_cancel(cancel)
        .with_progress(|progress| {
            tell(Live {
                progress: Some(overall.follow(progress)),
                preview: None,
            });
        })
        .with_previews(PREVIEW_EVERY, |preview| {
            tell(Live {
                progress: None,
                preview: preview::data_url(&preview.frames),
            });
        });
    options.init = init;
    let video = pipeline.generate_with(&request, options).map_err(engine_error)?;
    let files = write(&video, &folder, variants)?;
    Ok(Rendered {
        report: video.report().clone(),
        files,
    })
}

fn write(video: &Video, folder: &Path, variants: Vec<Variant>) -> Result<Vec<(Variant, PathBuf)>, EngineError> {
    let mut files = Vec::with_capacity(variants.len());
    for variant in variants {
        let path = folder.join(format!("video.{}", variant.extension()));
        match variant {
            Variant::Video | Variant::Gif => video.save(&path).map_err(engine_error)?,
            Variant::Thumbnail => save(frame(video, video.num_frames() / 2), &path)?,
            Variant::Spritesheet => save(spritesheet(video), &path)?,
        }
        files.push((variant, path));
    }
    Ok(files)
}

fn save(picture: RgbImage, path: &Path) -> Result<(), EngineError> {
    let saved = DynamicImage::ImageRgb8(picture).save(path);
    saved.map_err(|error| EngineError::Unavailable(error.to_string()))
}

fn frame(video: &Video, index: usize) -> RgbImage {
    let (width, height) = (video.width() as u32, video.height() as u32);
    // A frame has three bytes a pixel.
    RgbImage::from_raw(width, height, video.frame_rgb8(index)).unwrap_or_default()
}

/// Pictures of the whole video, evenly spaced, row by row.
fn spritesheet(video: &Video) -> RgbImage {
    let frames = video.num_frames();
    let count = frames.min(SPRITES);
    let (width, height) = (video.width() as u32, video.height() as u32);
    let scale = (f64::from(SPRITE_SIDE) / f64::from(width.max(height))).min(1.0);
    let [width, height] = [width, height].map(|side| ((f64::from(side) * scale).round() as u32).max(1));
    let rows = (count as u32).div_ceil(SPRITE_COLUMNS);
    let mut sheet = RgbImage::new(width * SPRITE_COLUMNS.min(count as u32), height * rows);
    for number in 0..count {
        let picture = frame(video, number * frames / count);
        let small = imageops::resize(&picture, width, height, imageops::FilterType::Triangle);
        let (column, row) = (number as u32 % SPRITE_COLUMNS, number as u32 / SPRITE_COLUMNS);
        imageops::replace(&mut sheet, &small, i64::from(column * width), i64::from(row * height));
    }
    sheet
}
