//! Overlapping tiles, blended linearly, for frames too large for memory (`tiled_decode` and `_tiled_encode` upstream).

use burn::tensor::Tensor;

const OVERLAP: f64 = 0.25;

/// How frames and latents are cut into tiles. Each tile is normalised by itself, so tiled results differ a little from
/// whole ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tiling {
    /// Side of a tile of a frame, in pixels.
    pub sample_size: usize,
    /// Side of a tile of latents.
    pub latent_size: usize,
}

impl Tiling {
    /// Tiles of the given sides; each at least 1.
    #[must_use]
    pub fn new(sample_size: usize, latent_size: usize) -> Self {
        Self {
            sample_size: sample_size.max(1),
            latent_size: latent_size.max(1),
        }
    }

    /// Decodes tile by tile.
    pub(crate) fn decode(self, latents: Tensor<4>, decode: impl Fn(Tensor<4>) -> Tensor<4>) -> Tensor<4> {
        blend_tiles(latents, self.latent_size, self.sample_size, decode)
    }

    /// Encodes tile by tile.
    pub(crate) fn encode(self, frames: Tensor<4>, encode: impl Fn(Tensor<4>) -> Tensor<4>) -> Tensor<4> {
        blend_tiles(frames, self.sample_size, self.latent_size, encode)
    }
}

/// Runs `f` on tiles of side `tile_in` that overlap by a quarter; its results, of side `tile_out`, are blended.
fn blend_tiles(x: Tensor<4>, tile_in: usize, tile_out: usize, f: impl Fn(Tensor<4>) -> Tensor<4>) -> Tensor<4> {
    let [_, _, height, width] = x.dims();
    let stride = ((tile_in as f64 * (1.0 - OVERLAP)) as usize).max(1);
    let blend = (tile_out as f64 * OVERLAP) as usize;
    let keep = tile_out - blend;
    let tile = |top: usize, left: usize| {
        let (bottom, right) = ((top + tile_in).min(height), (left + tile_in).min(width));
        f(x.clone().slice_dim(2, top..bottom).slice_dim(3, left..right))
    };
    let mut above: Vec<Tensor<4>> = Vec::new();
    let mut rows = Vec::new();
    for top in (0..height).step_by(stride) {
        let mut row: Vec<Tensor<4>> = Vec::new();
        for (column, left) in (0..width).step_by(stride).enumerate() {
            let mut current = tile(top, left);
            if let Some(upper) = above.get(column) {
                current = blend_edge(upper.clone(), current, 2, blend);
            }
            if let Some(before) = row.last() {
                current = blend_edge(before.clone(), current, 3, blend);
            }
            row.push(current);
        }
        let kept = row.iter().map(|tile| crop(tile.clone(), keep)).collect();
        rows.push(Tensor::cat(kept, 3));
        above = row;
    }
    Tensor::cat(rows, 2)
}

fn crop(tile: Tensor<4>, keep: usize) -> Tensor<4> {
    let [_, _, height, width] = tile.dims();
    tile.slice_dim(2, 0..keep.min(height)).slice_dim(3, 0..keep.min(width))
}

/// The first `extent` lines of `b` along `dim` fade over from the last ones of `a`.
fn blend_edge(a: Tensor<4>, b: Tensor<4>, dim: usize, extent: usize) -> Tensor<4> {
    let (len_a, len_b) = (a.dims()[dim], b.dims()[dim]);
    let extent = extent.min(len_a).min(len_b);
    if extent == 0 {
        return b;
    }
    let ramp: Vec<f32> = (0..extent).map(|i| i as f32 / extent as f32).collect();
    let ramp = Tensor::<1>::from_floats(ramp.as_slice(), &b.device()).cast(b.dtype());
    let mut shape = [1; 4];
    shape[dim] = extent;
    let ramp = ramp.reshape(shape);
    let fading = a.slice_dim(dim, len_a - extent..len_a) * (ramp.clone() * -1.0 + 1.0);
    let blended = fading + b.clone().slice_dim(dim, 0..extent) * ramp;
    if extent == len_b {
        return blended;
    }
    Tensor::cat(vec![blended, b.slice_dim(dim, extent..len_b)], dim)
}
