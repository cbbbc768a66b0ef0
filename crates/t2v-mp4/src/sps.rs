//! The sequence parameter set (ITU-T H.264 7.3.2.1.1 and Annex E), read before the decoder sees it: it says how much memory
//! the decoder will take.

#[cfg(test)]
mod tests;

use crate::bits::Bits;
use crate::fault::{Fault, Remedy};

/// The most macroblocks of a picture: level 5.2's.
const MAX_MACROBLOCKS: u32 = 36_864;
/// `profile_idc` of what the decoder decodes.
const BASELINE: u32 = 66;
const MAIN: u32 = 77;
const HIGH: u32 = 100;
/// And of what has the fields of High, and no B-frames.
const SCALABLE_BASELINE: u8 = 83;
/// The bits of those fields: 4:2:0, luma of 8 bits, chroma of 8 bits, no lossless bypass, no scaling matrices.
const HIGH_FIELDS: [u8; 7] = [0, 1, 0, 1, 1, 0, 0];
/// And of what it does not decode.
const EXTENDED: u32 = 88;
const HIGH_10: u32 = 110;
const HIGH_422: u32 = 122;
const HIGH_444: u32 = 244;
const CAVLC_444: u32 = 44;
/// `chroma_format_idc`, and the bits of luma and chroma above 8.
const EIGHT_BIT_420: (u32, u32, u32) = (1, 0, 0);
/// OpenH264 loses sums of large coefficients with them.
pub(crate) const OWN_MATRICES: &str = "it has scaling matrices of its own (x264's cqm), which are not decoded exactly";
/// `aspect_ratio_idc` that is followed by the ratio.
const EXTENDED_SAR: u32 = 255;

/// What pictures are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sps {
    /// After cropping; even.
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) full_range: bool,
    /// `matrix_coefficients` (ITU-T H.273), if said.
    pub(crate) matrix: Option<u16>,
    /// `chroma_sample_loc_type`, 0 to 5.
    pub(crate) siting: u32,
}

impl Sps {
    /// Reads a NAL unit from its header on.
    pub(crate) fn parse(nal: &[u8]) -> Result<Self, Fault> {
        let mut bits = Bits::new(nal.get(1..).unwrap_or_default());
        let cut_off = Fault::Malformed("a sequence parameter set ends too early, or has an impossible number");
        let (width, height) = read_format(&mut bits).unwrap_or(Err(cut_off))?;
        let video_signal = read_video_signal(&mut bits);
        let cut_off = Fault::Malformed("a sequence parameter set ends within its usability information");
        let (full_range, matrix, siting) = video_signal.ok_or(cut_off)?;
        Ok(Self {
            width,
            height,
            full_range,
            matrix,
            siting,
        })
    }
}

/// The same set under Scalable Baseline, a profile without reordering whose sets have the fields of High's: those that Main's
/// lack are put in. Baseline's stay as they are. `nal` must have been [parsed](Sps::parse).
pub(crate) fn without_reordering(nal: &[u8]) -> Vec<u8> {
    let mut set = nal.to_vec();
    match nal {
        [_, profile, ..] if u32::from(*profile) == HIGH => set[1] = SCALABLE_BASELINE,
        [_, profile, ..] if u32::from(*profile) == MAIN => {
            set[1] = SCALABLE_BASELINE;
            let mut bits = Bits::new(&set[1..]);
            // Profile, constraints, level; number of the set.
            let number = bits.number(24).and_then(|_| bits.unsigned());
            if number.is_some() {
                let fields = HIGH_FIELDS.map(|bit| bit == 1);
                set.truncate(1);
                set.extend(bits.with(&fields));
            }
        }
        _ => {}
    }
    set
}

/// Up to the usability information: the size. None at the end of the bits.
fn read_format(bits: &mut Bits) -> Option<Result<(u32, u32), Fault>> {
    let unsupported = |what: String| Some(Err(Fault::unsupported(what)));
    let profile = bits.number(8)?;
    // Constraints and level.
    bits.number(16)?;
    bits.unsigned()?;
    let format = match profile {
        BASELINE | MAIN => EIGHT_BIT_420,
        HIGH => match read_high(bits)? {
            (_, true) => return unsupported(OWN_MATRICES.to_owned()),
            (format, false) => format,
        },
        // The same fields follow, but scaling matrices may be more: they are behind what is told here.
        HIGH_10 | HIGH_422 | HIGH_444 | CAVLC_444 => return unsupported(described(profile, Some(read_high(bits)?.0))),
        other => return unsupported(described(other, None)),
    };
    if format != EIGHT_BIT_420 {
        return unsupported(described(profile, Some(format)));
    }
    skip_order(bits)?;
    let (columns, rows) = (bits.unsigned()?.checked_add(1)?, bits.unsigned()?.checked_add(1)?);
    if !bits.flag()? {
        let (what, remedy) = ("it is interlaced".to_owned(), Remedy::Convert("-vf yadif"));
        return Some(Err(Fault::Unsupported(what, remedy)));
    }
    if columns.checked_mul(rows).is_none_or(|count| count > MAX_MACROBLOCKS) {
        return unsupported(format!(
            "its pictures are {columns}x{rows} blocks of 16x16 pixels, above level 5.2"
        ));
    }
    // `direct_8x8_inference_flag`.
    bits.flag()?;
    let [left, right, top, bottom] = match bits.flag()? {
        true => [bits.unsigned()?, bits.unsigned()?, bits.unsigned()?, bits.unsigned()?],
        false => [0; 4],
    };
    // Cropping counts in chroma samples, of which a macroblock has 8.
    let crop = |blocks: u32, a: u32, b: u32| (blocks * 8).checked_sub(a.checked_add(b)?).filter(|&left| left > 0);
    Some(Ok((2 * crop(columns, left, right)?, 2 * crop(rows, top, bottom)?)))
}

/// What a profile is that is not read, with its chroma format and bits above 8, if it has them.
fn described(profile: u32, format: Option<(u32, u32, u32)>) -> String {
    let name = match profile {
        BASELINE => "Baseline".to_owned(),
        MAIN => "Main".to_owned(),
        EXTENDED => "Extended".to_owned(),
        HIGH => "High".to_owned(),
        HIGH_10 => "High 10".to_owned(),
        HIGH_422 => "High 4:2:2".to_owned(),
        HIGH_444 => "High 4:4:4 Predictive".to_owned(),
        CAVLC_444 => "CAVLC 4:4:4".to_owned(),
        other => format!("profile {other}"),
    };
    let pictures = format.map(|(chroma, luma_depth, chroma_depth)| {
        let chroma = ["grey", "4:2:0", "4:2:2", "4:4:4"]
            .get(chroma as usize)
            .unwrap_or(&"unknown chroma");
        let depth = luma_depth.max(chroma_depth).saturating_add(8);
        format!(" with {depth}-bit {chroma} pictures")
    });
    let pictures = pictures.unwrap_or_default();
    format!("it is H.264 {name}{pictures}, not 8-bit 4:2:0 in Baseline, Main or High profile")
}

/// Whether a picture parameter set (7.3.2.2) has scaling matrices of its own.
pub(crate) fn has_matrices(picture_set: &[u8]) -> bool {
    let mut bits = Bits::new(picture_set.get(1..).unwrap_or_default());
    let mut read = || {
        // Numbers of the sets; entropy coding and order; slice groups, which come with no such matrices.
        let _ = (bits.unsigned()?, bits.unsigned()?, bits.number(2)?);
        if bits.unsigned()? > 0 {
            return Some(false);
        }
        // Reference pictures, weighted prediction, three quantisers, three flags.
        let _ = (bits.unsigned()?, bits.unsigned()?, bits.number(3)?);
        let _ = (bits.signed()?, bits.signed()?, bits.signed()?, bits.number(3)?);
        // The transform of 8x8, or a one that ends the set, behind which are zeros.
        bits.flag()?;
        bits.flag()
    };
    read().unwrap_or(false)
}

/// What High profile has in front: chroma format, luma and chroma depth above 8; whether there are scaling matrices.
fn read_high(bits: &mut Bits) -> Option<((u32, u32, u32), bool)> {
    let format = bits.unsigned()?;
    if format == 3 {
        // `separate_colour_plane_flag`.
        bits.flag()?;
    }
    let depths = (bits.unsigned()?, bits.unsigned()?);
    if (format, depths.0, depths.1) != EIGHT_BIT_420 {
        return Some(((format, depths.0, depths.1), false));
    }
    // `qpprime_y_zero_transform_bypass_flag`.
    bits.flag()?;
    let has_matrices = bits.flag()?;
    if has_matrices {
        for size in [16, 16, 16, 16, 16, 16, 64, 64] {
            if bits.flag()? {
                skip_scaling_list(bits, size)?;
            }
        }
    }
    Some(((format, depths.0, depths.1), has_matrices))
}

fn skip_scaling_list(bits: &mut Bits, size: u32) -> Option<()> {
    let mut scale = 8;
    for _ in 0..size {
        scale = (scale + bits.signed()?).rem_euclid(256);
        if scale == 0 {
            break;
        }
    }
    Some(())
}

/// Frame numbers, picture order counts, reference frames.
fn skip_order(bits: &mut Bits) -> Option<()> {
    bits.unsigned()?;
    match bits.unsigned()? {
        0 => {
            bits.unsigned()?;
        }
        1 => {
            bits.flag()?;
            bits.signed()?;
            bits.signed()?;
            // At most 255 of them.
            for _ in 0..Some(bits.unsigned()?).filter(|&count| count <= 255)? {
                bits.signed()?;
            }
        }
        2 => {}
        _ => return None,
    }
    // At most 16 reference frames.
    Some(bits.unsigned()?).filter(|&frames| frames <= 16)?;
    bits.flag()?;
    Some(())
}

/// From the usability information: full range, matrix, siting of chroma.
fn read_video_signal(bits: &mut Bits) -> Option<(bool, Option<u16>, u32)> {
    let (mut full_range, mut matrix, mut siting) = (false, None, 0);
    if !bits.flag()? {
        return Some((full_range, matrix, siting));
    }
    if bits.flag()? && bits.number(8)? == EXTENDED_SAR {
        bits.number(32)?;
    }
    // Overscan.
    if bits.flag()? {
        bits.flag()?;
    }
    if bits.flag()? {
        bits.number(3)?;
        full_range = bits.flag()?;
        if bits.flag()? {
            bits.number(16)?;
            matrix = u16::try_from(bits.number(8)?).ok();
        }
    }
    if bits.flag()? {
        siting = Some(bits.unsigned()?).filter(|&siting| siting <= 5)?;
        bits.unsigned()?;
    }
    Some((full_range, matrix, siting))
}
