//! Which tiles large frames are cut into (`enable_tiling`, `tiled_encode` and `tiled_decode` upstream).

use crate::tiling::Tiles;

/// Sizes of overlapping tiles: height and width in pixels, best multiples of the spatial factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WanTiling {
    /// Sides of a tile. Frames that are no larger stay whole.
    pub size: [usize; 2],
    /// From one tile to the next; the rest of a tile overlaps the next.
    pub stride: [usize; 2],
}

impl Default for WanTiling {
    fn default() -> Self {
        Self {
            size: [256; 2],
            stride: [192; 2],
        }
    }
}

impl WanTiling {
    /// Whether frames of this height and width, which is as many of these as `unit` pixels, are cut.
    pub(super) fn cuts(&self, [height, width]: [usize; 2], unit: usize) -> bool {
        height > self.size[0] / unit || width > self.size[1] / unit
    }

    /// Of latents that stand for `factor` pixels in each direction, which become patches of `patch` pixels.
    pub(super) fn of_latents(&self, factor: usize, patch: usize) -> Tiles {
        self.tiles(factor, patch)
    }

    /// Of patches, which become latents. Upstream takes so many patches as a tile has pixels.
    pub(super) fn of_patches(&self, factor: usize, patch: usize) -> Tiles {
        self.tiles(1, factor / patch)
    }

    /// Tiles of what stands for `unit` pixels each, whose results stand for `out_unit`.
    fn tiles(&self, unit: usize, out_unit: usize) -> Tiles {
        let keep = self.stride.map(|stride| (stride / out_unit).max(1));
        Tiles {
            size: self.size.map(|size| (size / unit).max(1)),
            stride: self.stride.map(|stride| (stride / unit).max(1)),
            blend: [0, 1].map(|axis| (self.size[axis] / out_unit).saturating_sub(keep[axis])),
            keep,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_of_both_versions() {
        let tiling = WanTiling::default();
        let latents = tiling.of_latents(8, 1);
        assert_eq!((latents.size, latents.stride), ([32; 2], [24; 2]));
        assert_eq!((latents.blend, latents.keep), ([64; 2], [192; 2]));
        let latents = tiling.of_latents(16, 2);
        assert_eq!((latents.size, latents.stride), ([16; 2], [12; 2]));
        assert_eq!((latents.blend, latents.keep), ([32; 2], [96; 2]));
        let patches = tiling.of_patches(16, 2);
        assert_eq!((patches.size, patches.stride), ([256; 2], [192; 2]));
        assert_eq!((patches.blend, patches.keep), ([8; 2], [24; 2]));
        assert!(tiling.cuts([256, 257], 1) && !tiling.cuts([256, 256], 1) && tiling.cuts([33, 8], 8));
    }
}
