//! Latents to tokens and back: a token is a patch of latents, in the order frames, rows, columns.
//!
//! The patch embedding, a convolution whose kernel is as large as its stride, is a linear layer over these tokens.

use burn::tensor::Tensor;

/// How many patches there are in time, height and width.
///
/// # Panics
/// The latents are no whole patches.
pub(super) fn counts(latents: [usize; 3], patch: [usize; 3]) -> [usize; 3] {
    let whole = (0..3).all(|axis| latents[axis].is_multiple_of(patch[axis]));
    assert!(whole, "latents of {latents:?} are no whole patches of {patch:?}");
    std::array::from_fn(|axis| latents[axis] / patch[axis])
}

/// # Shapes
/// - latents: `[batch, channels, frames, height, width]`
/// - output: `[batch, patches, channels * patch values]`
pub(super) fn to_tokens(latents: Tensor<5>, patch: [usize; 3]) -> Tensor<3> {
    let [batch, channels, frames, height, width] = latents.dims();
    let ([f, h, w], [pt, ph, pw]) = (counts([frames, height, width], patch), patch);
    latents
        .swap_dims(1, 2)
        .reshape([batch * f, pt, channels, h, ph, w, pw])
        .permute([0, 3, 5, 2, 1, 4, 6])
        .reshape([batch, f * h * w, channels * pt * ph * pw])
}

/// What [`to_tokens`] does, backwards, where a patch's values come with the channels last.
///
/// # Shapes
/// - tokens: `[batch, patches, patch values * channels]`, of so many `counts` of patches
/// - output: `[batch, channels, frames, height, width]`
pub(super) fn to_latents(tokens: Tensor<3>, counts: [usize; 3], patch: [usize; 3]) -> Tensor<5> {
    let ([batch, _, values], [f, h, w], [pt, ph, pw]) = (tokens.dims(), counts, patch);
    let channels = values / (pt * ph * pw);
    tokens
        .reshape([batch * f, h, w, pt, ph, pw, channels])
        .permute([0, 3, 6, 1, 4, 2, 5])
        .reshape([batch, f * pt, channels, h * ph, w * pw])
        .swap_dims(1, 2)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;

    #[test]
    fn tokens_become_the_latents_that_they_were() {
        let (shape, patch) = ([2, 3, 4, 6, 10], [2, 3, 2]);
        let latents = Tensor::<5>::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex());
        let counts = counts([4, 6, 10], patch);
        assert_eq!(counts, [2, 2, 5]);
        let tokens = to_tokens(latents.clone(), patch);
        assert_eq!(tokens.dims(), [2, 20, 36]);
        // The last step of a patch has its channels last.
        let channels_last = tokens.reshape([2, 20, 3, 12]).swap_dims(2, 3).reshape([2, 20, 36]);
        let back = to_latents(channels_last, counts, patch);
        back.into_data().assert_eq(&latents.into_data(), true);
    }

    #[test]
    fn a_token_holds_its_patch_channel_by_channel() {
        let shape = [1, 2, 1, 2, 4];
        let latents = Tensor::<1, burn::tensor::Int>::arange(0..16, &Device::flex())
            .float()
            .reshape(shape);
        let tokens: Vec<f32> = to_tokens(latents, [1, 2, 2]).into_data().iter().collect();
        let first = [0.0, 1.0, 4.0, 5.0, 8.0, 9.0, 12.0, 13.0];
        assert_eq!(tokens[..8], first);
        assert_eq!(tokens[8..], first.map(|value| value + 2.0));
    }
}
