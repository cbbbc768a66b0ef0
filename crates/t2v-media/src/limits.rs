//! How large pictures to start from may be: larger ones are refused before they are decoded.

/// The longest side, in pixels.
pub(crate) const MAX_SIDE: u32 = 8192;
/// The most frames of a video.
pub(crate) const MAX_FRAMES: usize = 128;
/// The most bytes of all frames of a video together, as RGB8.
pub(crate) const MAX_CLIP: u64 = 2 << 30;
/// The most bytes that a picture may take in the format that it is decoded to.
const MAX_PICTURE: u64 = 512 << 20;

/// What is too large about a picture, as a clause. `bytes` is what it takes while it is decoded.
pub(crate) fn check_picture((width, height): (u32, u32), bytes: u64) -> Result<(), String> {
    if width.max(height) > MAX_SIDE {
        return Err(format!(
            "it has {width}x{height} pixels, and a side may have at most {MAX_SIDE}"
        ));
    }
    if bytes > MAX_PICTURE {
        let (takes, most) = (bytes.div_ceil(1 << 20), MAX_PICTURE >> 20);
        return Err(format!(
            "its {width}x{height} pixels take {takes} MiB to decode, and at most {most} MiB are allowed"
        ));
    }
    Ok(())
}

/// What is too large about a video of so many frames, as a clause.
pub(crate) fn check_clip(frames: usize, (width, height): (u32, u32)) -> Result<(), String> {
    if frames > MAX_FRAMES {
        return Err(format!("it has {frames} frames, and at most {MAX_FRAMES} are allowed"));
    }
    let bytes = frames as u64 * u64::from(width) * u64::from(height) * 3;
    if bytes > MAX_CLIP {
        let (takes, most) = (bytes.div_ceil(1 << 20), MAX_CLIP >> 20);
        return Err(format!(
            "its {frames} frames of {width}x{height} pixels take {takes} MiB, and at most {most} MiB are allowed: take \
             fewer or smaller ones"
        ));
    }
    Ok(())
}
