//! Clips of files as frames of the size that is trained.

use std::path::PathBuf;

use image::RgbImage;
use t2v_media::InitMedia;

use super::{Caption, ClipSize, Mask, frames, masks};
use crate::{TrainError, error::file};

/// A part of a file that is shown as one clip.
#[derive(Debug, Clone)]
pub(crate) struct Clip {
    pub(crate) path: PathBuf,
    pub(crate) caption: String,
    /// RGB, `[frames, height, width, 3]`, 0 to 255.
    pub(crate) frames: Vec<Vec<u8>>,
    pub(crate) mask: Option<Mask>,
}

impl Clip {
    /// The clips of a folder's files, each cut into as many as it has whole ones of `size`. Beside them what is wrong.
    pub(crate) fn read_all(captions: &[Caption], size: &ClipSize) -> (Vec<Self>, Vec<String>) {
        let (mut clips, mut faults) = (Vec::new(), Vec::new());
        for caption in captions {
            match read(caption, size) {
                Ok(parts) => clips.extend(parts),
                Err(fault) => faults.push(fault.to_string()),
            }
        }
        (clips, faults)
    }
}

fn read(caption: &Caption, size: &ClipSize) -> Result<Vec<Clip>, TrainError> {
    let path = &caption.clip;
    let media = InitMedia::open_video(path).map_err(|e| file(path, e))?;
    let pictures = media.pictures();
    let needed = size.span();
    if pictures.len() < needed {
        let (has, frames, stride) = (pictures.len(), size.frames, size.stride);
        let reason = format!("it has {has} frames, and {frames} with a stride of {stride} need {needed}");
        return Err(file(path, reason));
    }
    let mask = caption
        .mask
        .as_deref()
        .map(|mask| masks::read(mask, pictures))
        .transpose()?;
    let parts = pictures.chunks_exact(needed).enumerate().map(|(i, part)| {
        let chosen = part.iter().step_by(size.stride);
        let shown = |mask: &Vec<RgbImage>| match mask.as_slice() {
            [one] => Mask::fitted(std::iter::once(one), size),
            all => Mask::fitted(all[i * needed..][..needed].iter().step_by(size.stride), size),
        };
        Clip {
            path: path.clone(),
            caption: caption.text.clone(),
            frames: chosen
                .map(|picture| frames::fitted(picture, size.width, size.height))
                .collect(),
            mask: mask.as_ref().map(shown),
        }
    });
    Ok(parts.collect())
}
