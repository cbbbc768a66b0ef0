//! Frames as a safetensors file.

use std::{error::Error, path::Path};

use safetensors::{
    SafeTensors,
    tensor::{Dtype, TensorView},
};
use t2v_pipeline::Video;

/// Writes the frames of a video before encoding: one f32 tensor `frames`, `[frames, height, width, 3]`, in 0..1.
///
/// # Errors
/// The file can't be written; none is left then.
pub fn save_frames(video: &Video, path: &Path) -> Result<(), Box<dyn Error>> {
    let bytes: Vec<u8> = video.frames().iter().flat_map(|v| v.to_le_bytes()).collect();
    let shape = vec![video.num_frames(), video.height(), video.width(), 3];
    let view = TensorView::new(Dtype::F32, shape, &bytes)?;
    let file = safetensors::serialize([("frames", view)], None)?;
    Ok(t2v_mp4::write_file(path, &file)?)
}

/// Reads what [`save_frames`] wrote: values, and frames, height and width.
///
/// # Errors
/// The file can't be read or is another.
pub fn open_frames(path: &Path) -> Result<(Vec<f32>, [usize; 3]), Box<dyn Error>> {
    let bad = |what: &dyn std::fmt::Display| format!("cannot read frames from `{}`: {what}", path.display());
    let bytes = std::fs::read(path).map_err(|e| bad(&e))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| bad(&e))?;
    let tensor = file.tensor("frames").map_err(|e| bad(&e))?;
    let (Dtype::F32, [frames, height, width, 3]) = (tensor.dtype(), tensor.shape()) else {
        return Err(bad(&"`frames` must be f32 [frames, height, width, 3]").into());
    };
    let (values, _) = tensor.data().as_chunks::<4>();
    let values = values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    Ok((values, [*frames, *height, *width]))
}
