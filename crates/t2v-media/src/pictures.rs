//! Single pictures, and folders of them.

use std::path::{Path, PathBuf};

use image::{
    DynamicImage, GrayImage, ImageDecoder, ImageFormat, ImageReader, Limits, Luma, Rgb, RgbImage,
    metadata::Orientation::{self, NoTransforms, Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH},
};

use crate::{MediaError, error::fault, limits};

/// Reads a picture, turned and mirrored as it says that it is to be shown (EXIF).
///
/// # Errors
/// The file is missing, has a side of more than 8192 pixels, or is no PNG, JPEG, WebP, GIF, BMP or TIFF picture.
pub fn open_picture(path: impl AsRef<Path>) -> Result<RgbImage, MediaError> {
    let path = path.as_ref();
    let (decoder, orientation, format) = decoder(path)?;
    if format == ImageFormat::Jpeg && !is_whole(&std::fs::read(path).map_err(|e| fault(path, e))?) {
        return Err(fault(path, "it is cut off: the end of the JPEG picture is missing"));
    }
    let mut picture = DynamicImage::from_decoder(decoder).map_err(|e| fault(path, e))?;
    picture.apply_orientation(orientation);
    Ok(picture.into_rgb8())
}

/// Reads a mask: a picture, in grey levels weighted as for television (ITU-R BT.601), as Pillow has it.
///
/// # Errors
/// As for [`open_picture`].
pub fn open_mask(path: impl AsRef<Path>) -> Result<GrayImage, MediaError> {
    let picture = open_picture(path)?;
    let grey = |Rgb([red, green, blue]): &Rgb<u8>| {
        let sum = u32::from(*red) * 19595 + u32::from(*green) * 38470 + u32::from(*blue) * 7471;
        Luma([((sum + 0x8000) >> 16) as u8])
    };
    Ok(GrayImage::from_fn(picture.width(), picture.height(), |x, y| {
        grey(picture.get_pixel(x, y))
    }))
}

/// Width and height as shown, of which nothing but the file's header is read.
pub(crate) fn picture_size(path: &Path) -> Result<(u32, u32), MediaError> {
    let (decoder, orientation, _) = decoder(path)?;
    let (width, height) = decoder.dimensions();
    Ok(match orientation {
        Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH => (height, width),
        _ => (width, height),
    })
}

/// A decoder of a picture that is not too large.
fn decoder(path: &Path) -> Result<(impl ImageDecoder, Orientation, ImageFormat), MediaError> {
    let mut reader = ImageReader::open(path)
        .and_then(ImageReader::with_guessed_format)
        .map_err(|e| fault(path, e))?;
    // Decoders would not say how large a picture is that exceeds them.
    reader.limits(Limits::no_limits());
    let Some(format) = reader.format().filter(|format| is_read(*format)) else {
        return Err(fault(
            path,
            "it is no PNG, JPEG, WebP, GIF, BMP or TIFF picture; a video is to be given as the init video",
        ));
    };
    let mut decoder = reader.into_decoder().map_err(|e| fault(path, e))?;
    limits::check_picture(decoder.dimensions(), decoder.total_bytes()).map_err(|reason| fault(path, reason))?;
    decoder.set_limits(Limits::default()).map_err(|e| fault(path, e))?;
    // Metadata that is damaged is no reason to refuse the picture.
    let orientation = decoder.orientation().unwrap_or(NoTransforms);
    Ok((decoder, orientation, format))
}

/// Whether a JPEG file has the end of its picture, which decoders would make up: it is looked for behind the headers, each of
/// which says how long it is, and there may be more behind it, such as a film. What is no JPEG file counts as whole.
fn is_whole(bytes: &[u8]) -> bool {
    const SCAN: u8 = 0xDA;
    const END: [u8; 2] = [0xFF, 0xD9];
    let Some(mut rest) = bytes.strip_prefix(&[0xFF, 0xD8]) else {
        return true;
    };
    while let [0xFF, marker, high, low, ..] = *rest {
        let length = match marker {
            // In compressed data this is never anything else.
            SCAN => return rest.windows(2).any(|pair| pair == END),
            0xFF => 1,
            _ => 2 + usize::from(u16::from_be_bytes([high, low])),
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    // Cut off or damaged before the picture, which the decoder tells.
    true
}

/// The pictures in a folder, of any format that [`open_picture`] reads, in their natural order: `2.png` before `10.png`. Files
/// whose name starts with a dot are not among them, nor is what has another extension.
///
/// # Errors
/// There is no such folder, or it can't be read.
pub fn picture_files(folder: impl AsRef<Path>) -> Result<Vec<PathBuf>, MediaError> {
    let folder = folder.as_ref();
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|e| fault(folder, e))? {
        let path = entry.map_err(|e| fault(folder, e))?.path();
        let hidden = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && is_picture(&path) && !path.is_dir() {
            files.push(path);
        }
    }
    alphanumeric_sort::sort_path_slice(&mut files);
    Ok(files)
}

fn is_picture(path: &Path) -> bool {
    ImageFormat::from_path(path).is_ok_and(is_read)
}

/// Whether pictures of a format are read.
pub(crate) fn is_read(format: ImageFormat) -> bool {
    use ImageFormat::{Bmp, Gif, Jpeg, Png, Tiff, WebP};
    [Png, Jpeg, WebP, Gif, Bmp, Tiff].contains(&format)
}
