//! Clips of files as frames of the size that is trained.

use std::path::{Path, PathBuf};

use t2v_media::InitMedia;

use super::{Caption, ClipSize, frames};
use crate::{TrainError, error::file};

/// A part of a file that is shown as one clip.
#[derive(Debug, Clone)]
pub(crate) struct Clip {
    pub(crate) path: PathBuf,
    pub(crate) caption: String,
    /// RGB, `[frames, height, width, 3]`, 0 to 255.
    pub(crate) frames: Vec<Vec<u8>>,
}

impl Clip {
    /// The clips of a folder's files, each cut into as many as it has whole ones of `size`. Beside them what is wrong.
    pub(crate) fn read_all(captions: &[Caption], size: &ClipSize) -> (Vec<Self>, Vec<String>) {
        let (mut clips, mut faults) = (Vec::new(), Vec::new());
        for caption in captions {
            match read(&caption.clip, size) {
                Ok(parts) => clips.extend(parts.into_iter().map(|frames| Self {
                    path: caption.clip.clone(),
                    caption: caption.text.clone(),
                    frames,
                })),
                Err(fault) => faults.push(fault.to_string()),
            }
        }
        (clips, faults)
    }
}

fn read(path: &Path, size: &ClipSize) -> Result<Vec<Vec<Vec<u8>>>, TrainError> {
    let media = InitMedia::open_video(path).map_err(|e| file(path, e))?;
    let pictures = media.pictures();
    let needed = size.span();
    if pictures.len() < needed {
        let (has, frames, stride) = (pictures.len(), size.frames, size.stride);
        let reason = format!("it has {has} frames, and {frames} with a stride of {stride} need {needed}");
        return Err(file(path, reason));
    }
    let parts = pictures.chunks_exact(needed).map(|part| {
        let chosen = part.iter().step_by(size.stride);
        chosen
            .map(|picture| frames::fitted(picture, size.width, size.height))
            .collect()
    });
    Ok(parts.collect())
}
