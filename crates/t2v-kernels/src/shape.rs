//! Checks of the shapes that operators are given.
//!
//! They come before the choice of who computes, so that every backend panics on the same mistakes and with the same words:
//! the CPU's operators work on flat slices, where a wrong width would give wrong numbers instead.

use burn::{nn::Linear, tensor::Tensor};

/// # Panics
/// Unless a tensor has this shape; `what` names it, as in "the input of a linear layer".
#[track_caller]
pub(crate) fn assert_shape<const D: usize>(what: &str, x: &Tensor<D>, expected: [usize; D]) {
    let actual = x.dims();
    assert!(actual == expected, "{what} has the shape {actual:?}, not {expected:?}");
}

/// # Panics
/// Unless the rows of `[batch * frames, ...]` are whole clips.
#[track_caller]
pub(crate) fn assert_whole_clips(rows: usize, frames: usize) {
    let is_whole = frames > 0 && rows.is_multiple_of(frames);
    assert!(
        is_whole,
        "{rows} frames are no whole number of clips of {frames} frames"
    );
}

/// # Panics
/// Unless the tokens of a clip are this many runs of equal length.
#[track_caller]
pub(crate) fn assert_runs(tokens: usize, runs: usize) {
    let is_whole = runs > 0 && tokens.is_multiple_of(runs);
    assert!(is_whole, "{tokens} tokens are not {runs} runs of equal length");
}

/// The widths that a layer takes and gives.
pub(crate) fn widths(layer: &Linear) -> [usize; 2] {
    layer.weight.dims()
}
