//! How RGB becomes luma and chroma, and how that is signalled.

use openh264::encoder::VuiConfig;

/// The colour coding of the video.
///
/// The matrix, the primaries and the transfer characteristics are BT.709's in either case, in the stream (VUI) as in the
/// container (`colr`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Colour {
    /// Limited range, luma 16 to 235: what every player expects.
    #[default]
    Bt709,
    /// Full range, luma 0 to 255: finer steps, for players that heed the signalling.
    Bt709Full,
}

impl Colour {
    /// Whether luma goes from 0 to 255.
    pub(crate) const fn is_full_range(self) -> bool {
        matches!(self, Self::Bt709Full)
    }

    /// For the sequence parameter set (ITU-T H.264 Annex E).
    pub(crate) const fn vui(self) -> VuiConfig {
        VuiConfig::bt709().full_range(self.is_full_range())
    }

    /// The `colr` box (ISO/IEC 14496-12 12.1.5): primaries, transfer, matrix, range.
    pub(crate) const fn colr(self) -> [u8; 19] {
        let mut colr = *b"\0\0\0\x13colrnclx\0\x01\0\x01\0\x01\0";
        if self.is_full_range() {
            colr[18] = 0x80;
        }
        colr
    }
}
