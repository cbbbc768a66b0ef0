//! One generation: the video and its pictures as files, or still pictures one after the other.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use image::{DynamicImage, RgbImage, imageops};
use t2v_pipeline::{GenerateOptions, Pipeline, TextToVideoRequest, Video};

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

/// Generates the video of a task, or its pictures.
pub(super) fn render(pipeline: &Pipeline, task: Task<'_>) -> Result<Rendered, EngineError> {
    let parts = samples(&task.variants);
    let on_live = Mutex::new(task.on_live);
    let tell = |live: Live| on_live.lock().unwrap_or_else(PoisonError::into_inner)(live);
    let (mut files, mut report) = (Vec::with_capacity(task.variants.len()), None);
    for (number, part) in parts.iter().enumerate() {
        let mut options = GenerateOptions::default().with_cancel(task.cancel.clone());
        options.init = task.init.clone();
        let options = watched(options, Overall::of_part(number, parts.len()), &tell);
        let made = pipeline
            .generate_with(&sample(&task.request, number), options)
            .map_err(engine_error)?;
        files.extend(write(&made, &task.folder, part)?);
        report.get_or_insert_with(|| made.report().clone());
    }
    Ok(Rendered {
        report: report.unwrap_or_default(),
        files,
    })
}

/// Tells how far a generation is, and what it looks like.
fn watched<'a>(
    options: GenerateOptions<'a>,
    mut overall: Overall,
    tell: &'a (dyn Fn(Live) + Sync),
) -> GenerateOptions<'a> {
    options
        .with_progress(move |progress| {
            tell(Live {
                progress: Some(overall.follow(progress)),
                preview: None,
            });
        })
        .with_previews(PREVIEW_EVERY, move |preview| {
            tell(Live {
                progress: None,
                preview: preview::data_url(&preview.frames),
            });
        })
}

/// The files of each generation: one for a video, one for each picture. What goes with all is made of the first.
fn samples(variants: &[Variant]) -> Vec<Vec<Variant>> {
    let (pictures, mut common): (Vec<Variant>, Vec<Variant>) = variants
        .iter()
        .partition(|variant| matches!(variant, Variant::Picture(_)));
    if pictures.is_empty() {
        return vec![common];
    }
    let first = |picture| {
        let mut files = std::mem::take(&mut common);
        files.push(picture);
        files
    };
    pictures.into_iter().map(first).collect()
}

/// The request of a picture, by its number from 0: the seeds follow each other.
fn sample(request: &TextToVideoRequest, number: usize) -> TextToVideoRequest {
    let mut request = request.clone();
    request.seed = request.seed.map(|seed| seed.wrapping_add(number as u32));
    request
}

fn write(video: &Video, folder: &Path, variants: &[Variant]) -> Result<Vec<(Variant, PathBuf)>, EngineError> {
    let mut files = Vec::with_capacity(variants.len());
    for &variant in variants {
        let path = folder.join(variant.file("output"));
        match variant {
            Variant::Video | Variant::Gif | Variant::Picture(_) => video.save(&path).map_err(engine_error)?,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::OutputType;

    #[test]
    fn each_picture_is_a_generation_with_the_next_seed() {
        let parts = samples(&Variant::of(OutputType::Png, 2));
        assert_eq!(parts[0], [Variant::Thumbnail, Variant::Picture(0)]);
        assert_eq!(parts[1..], [[Variant::Picture(1)]]);
        let video = Variant::of(OutputType::Gif, 1);
        assert_eq!(samples(&video), [video]);
        let request = TextToVideoRequest::new("x").with_seed(u32::MAX);
        assert_eq!(
            [0, 1].map(|number| sample(&request, number).seed),
            [Some(u32::MAX), Some(0)]
        );
    }
}
