//! Ways around a level that have no parameters (`AvgDown3D` and `DupUp3D` upstream).

use burn::tensor::Tensor;

use super::config::Halving;

/// Neighbouring pixels and frames become channels, whose means in groups are those that come out.
#[derive(Debug, Clone, Copy)]
pub(super) struct MeanDown {
    out_channels: usize,
    /// Frames that become one.
    frames: usize,
    /// Side of the square of pixels that become one.
    side: usize,
}

/// The frame that waits for its partner; none before the first, which has none.
#[derive(Debug, Clone, Default)]
pub(super) struct MeanState {
    begun: bool,
    waiting: Option<Tensor<4>>,
}

impl MeanDown {
    /// For a level after which frames are made smaller like this.
    pub(super) fn new(out_channels: usize, halving: Option<Halving>) -> Self {
        Self {
            out_channels,
            frames: halving.map_or(1, Halving::frames),
            side: if halving.is_some() { 2 } else { 1 },
        }
    }

    /// The next frame of a clip; none comes out while it waits for its partner. That of the first is all zeros.
    ///
    /// # Shapes
    /// - x: `[1, channels, height, width]` -> `[1, out_channels, height / side, width / side]`
    pub(super) fn forward(&self, x: Tensor<4>, state: &mut MeanState) -> Option<Tensor<4>> {
        if self.frames == 1 {
            return Some(self.mean(vec![x]));
        }
        let before = match state.begun {
            true => state.waiting.take(),
            false => Some(x.zeros_like()),
        };
        state.begun = true;
        match before {
            Some(before) => Some(self.mean(vec![before, x])),
            None => {
                state.waiting = Some(x);
                None
            }
        }
    }

    fn mean(&self, frames: Vec<Tensor<4>>) -> Tensor<4> {
        let [_, channels, height, width] = frames[0].dims();
        let (side, [height, width]) = (self.side, [height / self.side, width / self.side]);
        let squares = |frame: Tensor<4>| -> Tensor<4> {
            let squares: Tensor<5> = frame
                .reshape([channels, height, side, width, side])
                .permute([0, 2, 4, 1, 3]);
            squares.reshape([channels, side * side, height, width])
        };
        let count = frames.len() * side * side * channels / self.out_channels;
        let all: Tensor<5> = Tensor::stack(frames.into_iter().map(squares).collect(), 1);
        let groups: Tensor<4> = all.reshape([self.out_channels, count, height, width]);
        groups.mean_dim(1).swap_dims(0, 1)
    }
}

/// The inverse: channels are repeated, and become neighbouring pixels and frames.
#[derive(Debug, Clone, Copy)]
pub(super) struct RepeatUp {
    out_channels: usize,
    /// Frames that one becomes.
    frames: usize,
}

impl RepeatUp {
    /// For a level after which frames are made larger like this.
    pub(super) fn new(out_channels: usize, halving: Halving) -> Self {
        Self {
            out_channels,
            frames: halving.frames(),
        }
    }

    /// The frames that one becomes; of the first of a clip only the last.
    ///
    /// # Shapes
    /// - x: `[1, channels, height, width]` -> `[1, out_channels, 2 * height, 2 * width]`
    pub(super) fn forward(&self, x: Tensor<4>, is_first: bool) -> Vec<Tensor<4>> {
        let [_, channels, height, width] = x.dims();
        let out = self.out_channels;
        let repeats = out * self.frames * 4 / channels;
        let all: Tensor<6> = x
            .reshape([channels, 1, height, width])
            .expand([channels, repeats, height, width])
            .reshape([out, self.frames, 2, 2, height, width]);
        let from = if is_first { self.frames - 1 } else { 0 };
        let frame = |index: usize| {
            let squares: Tensor<5> = all.clone().slice_dim(1, index..index + 1).squeeze_dim(1);
            let rows = squares.permute([0, 3, 1, 4, 2]);
            rows.reshape([1, out, 2 * height, 2 * width])
        };
        (from..self.frames).map(frame).collect()
    }
}
