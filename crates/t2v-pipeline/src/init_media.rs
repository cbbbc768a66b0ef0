//! Pictures to start from: an image, a folder of PNGs, a GIF, an MP4.

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use image::{AnimationDecoder, ImageReader, RgbImage, codecs::gif::GifDecoder, imageops::FilterType};

use t2v_mp4::ReadLimits;

use crate::PipelineError;

/// Longest side and most frames that are read: larger files are refused before they are decoded.
const MAX_SIDE: u32 = 8192;
const MAX_FRAMES: usize = 128;

/// Pictures that denoising starts from; `strength` says how much of them is replaced.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum InitMedia {
    /// One picture, repeated over the frames.
    Image(RgbImage),
    /// The frames of a video; their number is that of the result.
    Video(Vec<RgbImage>),
}

impl InitMedia {
    /// A PNG, JPEG, WebP or GIF picture.
    ///
    /// # Errors
    /// The file is missing, too large or no picture.
    pub fn open_image(path: impl AsRef<Path>) -> Result<Self, PipelineError> {
        read_picture(path.as_ref()).map(Self::Image)
    }

    /// A folder of PNGs, taken in the order of their names, an animated GIF, or an MP4 that [`t2v_mp4::Reader`] can read, as
    /// this crate writes them.
    ///
    /// # Errors
    /// Nothing of the kind at `path`, frames of different sizes, or too many of them.
    pub fn open_video(path: impl AsRef<Path>) -> Result<Self, PipelineError> {
        let path = path.as_ref();
        let frames = match path.extension().and_then(|e| e.to_str()) {
            _ if path.is_dir() => read_folder(path)?,
            Some(extension) if extension.eq_ignore_ascii_case("gif") => read_gif(path)?,
            Some(extension) if extension.eq_ignore_ascii_case("mp4") => read_mp4(path)?,
            _ => return Err(fault(path, "it is neither a folder of PNG files nor a GIF nor an MP4")),
        };
        if frames.len() > MAX_FRAMES {
            return Err(fault(path, format!("it has more than {MAX_FRAMES} frames")));
        }
        let first = frames.first().ok_or_else(|| fault(path, "it has no frames"))?;
        if frames.iter().any(|frame| frame.dimensions() != first.dimensions()) {
            return Err(fault(path, "its frames have different sizes"));
        }
        Ok(Self::Video(frames))
    }

    /// How many frames the result has, where the pictures decide it.
    pub(crate) fn num_frames(&self) -> Option<usize> {
        match self {
            Self::Image(_) => None,
            Self::Video(frames) => Some(frames.len()),
        }
    }

    /// The pictures at `width` x `height` as a clip, `[1, 3, pictures, height, width]` in -1..1.
    pub(crate) fn clip(&self, width: usize, height: usize, device: &Device) -> Tensor<5> {
        let pictures = match self {
            Self::Image(picture) => std::slice::from_ref(picture),
            Self::Video(frames) => frames.as_slice(),
        };
        let frames = pictures.iter().map(|picture| tensor(picture, width, height, device));
        Tensor::stack(frames.collect(), 2)
    }
}

fn tensor(picture: &RgbImage, width: usize, height: usize, device: &Device) -> Tensor<4> {
    let size = (width as u32, height as u32);
    let resized;
    let picture = if picture.dimensions() == size {
        picture
    } else {
        resized = image::imageops::resize(picture, size.0, size.1, FilterType::Lanczos3);
        &resized
    };
    let values: Vec<f32> = picture.as_raw().iter().map(|v| f32::from(*v) / 255.0).collect();
    let data = TensorData::new(values, [1, height, width, 3]);
    Tensor::<4>::from_data(data, device).permute([0, 3, 1, 2]) * 2.0 - 1.0
}

fn fault(path: &Path, reason: impl ToString) -> PipelineError {
    PipelineError::InitMedia {
        path: path.display().to_string(),
        reason: reason.to_string(),
    }
}

fn limits() -> image::Limits {
    let mut limits = image::Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits
}

fn read_picture(path: &Path) -> Result<RgbImage, PipelineError> {
    let mut reader = ImageReader::open(path)
        .and_then(ImageReader::with_guessed_format)
        .map_err(|e| fault(path, e))?;
    reader.limits(limits());
    Ok(reader.decode().map_err(|e| fault(path, e))?.into_rgb8())
}

fn read_folder(folder: &Path) -> Result<Vec<RgbImage>, PipelineError> {
    let entries = std::fs::read_dir(folder).map_err(|e| fault(folder, e))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|e| e.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e.eq_ignore_ascii_case("png")));
    paths.sort();
    if paths.len() > MAX_FRAMES {
        return Err(fault(folder, format!("it has more than {MAX_FRAMES} frames")));
    }
    paths.iter().map(|path| read_picture(path)).collect()
}

fn read_mp4(path: &Path) -> Result<Vec<RgbImage>, PipelineError> {
    let limits = ReadLimits::default().with_frames(MAX_FRAMES as u32).with_side(MAX_SIDE);
    let clip = t2v_mp4::read_frames(path, limits)?;
    let frames = clip.frames.into_iter();
    let frames = frames.map(|frame| RgbImage::from_raw(clip.width, clip.height, frame));
    let frames: Option<Vec<RgbImage>> = frames.collect();
    frames.ok_or_else(|| fault(path, "a frame is incomplete"))
}

fn read_gif(path: &Path) -> Result<Vec<RgbImage>, PipelineError> {
    use image::ImageDecoder;
    let file = std::fs::File::open(path).map_err(|e| fault(path, e))?;
    let mut decoder = GifDecoder::new(std::io::BufReader::new(file)).map_err(|e| fault(path, e))?;
    decoder.set_limits(limits()).map_err(|e| fault(path, e))?;
    let frames = decoder.into_frames().take(MAX_FRAMES + 1);
    frames
        .map(|frame| {
            let picture = frame.map_err(|e| fault(path, e))?.into_buffer();
            Ok(image::DynamicImage::ImageRgba8(picture).into_rgb8())
        })
        .collect()
}
