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
        Tiles::square(self.latent_size, self.sample_size).run(latents, decode)
    }

    /// Encodes tile by tile.
    pub(crate) fn encode(self, frames: Tensor<4>, encode: impl Fn(Tensor<4>) -> Tensor<4>) -> Tensor<4> {
        Tiles::square(self.sample_size, self.latent_size).run(frames, encode)
    }
}

/// Tiles of images, each by height and width, and what becomes of their results.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tiles {
    /// Sides of a tile.
    pub(crate) size: [usize; 2],
    /// From one tile to the next.
    pub(crate) stride: [usize; 2],
    /// Lines of a result that fade over from the one before.
    pub(crate) blend: [usize; 2],
    /// Lines of a result that are kept; the next one has the others.
    pub(crate) keep: [usize; 2],
}

impl Tiles {
    /// Tiles of side `tile_in` that overlap by a quarter, with results of side `tile_out`.
    fn square(tile_in: usize, tile_out: usize) -> Self {
        let stride = ((tile_in as f64 * (1.0 - OVERLAP)) as usize).max(1);
        let blend = (tile_out as f64 * OVERLAP) as usize;
        Self {
            size: [tile_in; 2],
            stride: [stride; 2],
            blend: [blend; 2],
            keep: [tile_out - blend; 2],
        }
    }

    /// Runs `f` on each tile and blends the results, which may be another number of images.
    ///
    /// # Shapes
    /// - x: `[images, channels, height, width]`
    pub(crate) fn run(&self, x: Tensor<4>, f: impl Fn(Tensor<4>) -> Tensor<4>) -> Tensor<4> {
        let [_, _, height, width] = x.dims();
        let tile = |top: usize, left: usize| {
            let (bottom, right) = ((top + self.size[0]).min(height), (left + self.size[1]).min(width));
            f(x.clone().slice_dim(2, top..bottom).slice_dim(3, left..right))
        };
        let mut above: Vec<Tensor<4>> = Vec::new();
        let mut rows = Vec::new();
        for top in (0..height).step_by(self.stride[0]) {
            let mut row: Vec<Tensor<4>> = Vec::new();
            for (column, left) in (0..width).step_by(self.stride[1]).enumerate() {
                let mut current = tile(top, left);
                if let Some(upper) = above.get(column) {
                    current = blend_edge(upper.clone(), current, 2, self.blend[0]);
                }
                if let Some(before) = row.last() {
                    current = blend_edge(before.clone(), current, 3, self.blend[1]);
                }
                row.push(current);
            }
            let kept = row.iter().map(|tile| crop(tile.clone(), self.keep)).collect();
            rows.push(Tensor::cat(kept, 3));
            above = row;
        }
        Tensor::cat(rows, 2)
    }
}

/// At most this height and width, from the upper left.
pub(crate) fn crop(tile: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
    let [_, _, height, width] = tile.dims();
    tile.slice_dim(2, 0..size[0].min(height))
        .slice_dim(3, 0..size[1].min(width))
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
