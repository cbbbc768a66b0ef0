//! Videos: folders of pictures, GIFs, MP4 files. Sizes and numbers of frames are looked at before any is decoded.

use std::{
    fs::File,
    io::{BufReader, Read},
    path::Path,
};

use image::{AnimationDecoder, DynamicImage, ImageDecoder, Limits, RgbImage, codecs::gif::GifDecoder};
use t2v_mp4::ReadLimits;

use crate::{
    MediaError,
    error::fault,
    limits::{self, MAX_CLIP, MAX_FRAMES, MAX_SIDE},
    pictures::{is_read, open_picture, picture_files, picture_size},
};

/// What a file is, by its first bytes.
enum Kind {
    Gif,
    Mp4,
    Picture,
    Other,
}

/// The frames of a video: one or more, all of one size.
pub(crate) fn open(path: &Path) -> Result<Vec<RgbImage>, MediaError> {
    if path.is_dir() {
        return read_folder(path);
    }
    match kind(path)? {
        Kind::Gif => read_gif(path),
        Kind::Mp4 => read_mp4(path),
        Kind::Picture => {
            let command = ffmpeg(path, "");
            Err(fault(
                path,
                format!(
                    "it is read as one picture: give it as the init image; {command} makes an MP4 file of an animation"
                ),
            ))
        }
        Kind::Other => {
            let reason = "it is neither a folder of pictures nor a GIF nor an MP4 or QuickTime file";
            let command = ffmpeg(path, "");
            Err(fault(path, format!("{reason}; {command} makes an MP4 file of a video")))
        }
    }
}

fn kind(path: &Path) -> Result<Kind, MediaError> {
    let mut start = Vec::new();
    let file = File::open(path).map_err(|e| fault(path, e))?;
    file.take(64).read_to_end(&mut start).map_err(|e| fault(path, e))?;
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or("");
    let extension = extension.to_ascii_lowercase();
    Ok(match start.get(4..8) {
        _ if start.starts_with(b"GIF8") => Kind::Gif,
        // HEIF, which has boxes, too, and no track.
        Some(b"ftyp")
            if [&b"heic"[..], b"heix", b"mif1", b"msf1", b"avif", b"avis"]
                .contains(&start.get(8..12).unwrap_or_default()) =>
        {
            Kind::Other
        }
        Some(b"ftyp" | b"moov" | b"mdat" | b"wide" | b"free" | b"skip") => Kind::Mp4,
        _ if image::guess_format(&start).is_ok_and(is_read) => Kind::Picture,
        // Damaged files get their reader's message.
        _ if extension == "gif" => Kind::Gif,
        _ if ["mp4", "m4v", "mov"].contains(&extension.as_str()) => Kind::Mp4,
        _ => Kind::Other,
    })
}

fn read_folder(folder: &Path) -> Result<Vec<RgbImage>, MediaError> {
    let files = picture_files(folder)?;
    let Some(first) = files.first() else {
        return Err(fault(folder, "there are no pictures in it"));
    };
    let size @ (width, height) = picture_size(first)?;
    limits::check_clip(files.len(), size).map_err(|reason| fault(folder, reason))?;
    for file in &files {
        let (w, h) = picture_size(file)?;
        if (w, h) != size {
            let (first, file) = (name(first), name(file));
            return Err(fault(
                folder,
                format!("its pictures have different sizes: {first} has {width}x{height} pixels, and {file} {w}x{h}"),
            ));
        }
    }
    files.iter().map(open_picture).collect()
}

fn name(file: &Path) -> String {
    format!("{:?}", file.file_name().unwrap_or_default())
}

fn read_mp4(path: &Path) -> Result<Vec<RgbImage>, MediaError> {
    let limits = ReadLimits::default()
        .with_frames(MAX_FRAMES as u32)
        .with_side(MAX_SIDE)
        .with_bytes(MAX_CLIP);
    let clip = t2v_mp4::read_frames(path, limits)?;
    let frames = clip.frames.into_iter();
    let frames = frames.map(|frame| RgbImage::from_raw(clip.width, clip.height, frame));
    let frames: Option<Vec<RgbImage>> = frames.collect();
    frames.ok_or_else(|| fault(path, "a frame is incomplete"))
}

fn read_gif(path: &Path) -> Result<Vec<RgbImage>, MediaError> {
    let count = count_gif_frames(path)?;
    let mut decoder = GifDecoder::new(open_file(path)?).map_err(|e| fault(path, e))?;
    let size = decoder.dimensions();
    let too_large = |reason: String| {
        let command = ffmpeg(path, &format!("-frames:v {MAX_FRAMES} -vf scale=640:-2"));
        fault(path, format!("{reason}; {command} keeps the first ones, smaller"))
    };
    limits::check_picture(size, decoder.total_bytes()).map_err(too_large)?;
    limits::check_clip(count, size).map_err(too_large)?;
    decoder.set_limits(Limits::default()).map_err(|e| fault(path, e))?;
    let frames = decoder.into_frames().take(count).map(|frame| {
        let picture = frame.map_err(|e| fault(path, e))?.into_buffer();
        Ok(DynamicImage::ImageRgba8(picture).into_rgb8())
    });
    let frames = frames.collect::<Result<Vec<RgbImage>, MediaError>>()?;
    match frames.is_empty() {
        true => Err(fault(path, "it has no frames")),
        false => Ok(frames),
    }
}

/// Counts without decoding.
fn count_gif_frames(path: &Path) -> Result<usize, MediaError> {
    let mut options = gif::DecodeOptions::new();
    options.skip_frame_decoding(true);
    let mut decoder = options.read_info(open_file(path)?).map_err(|e| fault(path, e))?;
    let mut count = 0;
    while decoder.next_frame_info().map_err(|e| fault(path, e))?.is_some() {
        count += 1;
    }
    Ok(count)
}

fn open_file(path: &Path) -> Result<BufReader<File>, MediaError> {
    File::open(path).map(BufReader::new).map_err(|e| fault(path, e))
}

/// The command that makes a readable file of any video.
fn ffmpeg(path: &Path, options: &str) -> String {
    let space = if options.is_empty() { "" } else { " " };
    format!("`ffmpeg -i {path:?}{space}{options} -c:v libx264 -pix_fmt yuv420p readable.mp4`")
}
