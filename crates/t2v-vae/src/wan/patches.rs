//! Squares of pixels as channels, and back (`patchify` and `unpatchify` upstream).

use burn::tensor::Tensor;

/// `[frames, channels, height, width]` -> `[frames, channels * side * side, height / side, width / side]`; of the places in a
/// square those of one column follow each other.
pub(super) fn patchify(x: Tensor<4>, side: usize) -> Tensor<4> {
    if side == 1 {
        return x;
    }
    let [frames, channels, height, width] = x.dims();
    let [rows, columns] = [height / side, width / side];
    let squares: Tensor<6> = x.reshape([frames, channels, rows, side, columns, side]);
    squares
        .permute([0, 1, 5, 3, 2, 4])
        .reshape([frames, channels * side * side, rows, columns])
}

/// The inverse of [`patchify`].
pub(super) fn unpatchify(x: Tensor<4>, side: usize) -> Tensor<4> {
    if side == 1 {
        return x;
    }
    let [frames, all, rows, columns] = x.dims();
    let channels = all / (side * side);
    let squares: Tensor<6> = x.reshape([frames, channels, side, side, rows, columns]);
    squares
        .permute([0, 1, 4, 3, 5, 2])
        .reshape([frames, channels, rows * side, columns * side])
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Int};

    use super::*;

    #[test]
    fn columns_come_first_and_are_put_back() {
        let pixels = Tensor::<1, Int>::arange(0..24, &Device::flex())
            .float()
            .reshape([1, 1, 4, 6]);
        let patches = patchify(pixels.clone(), 2);
        assert_eq!(patches.dims(), [1, 4, 2, 3]);
        let first = patches.clone().slice([0..1, 0..4, 0..1, 0..1]).into_data();
        assert_eq!(first.as_slice::<f32>().unwrap(), [0.0, 6.0, 1.0, 7.0]);
        unpatchify(patches, 2).into_data().assert_eq(&pixels.into_data(), true);
    }
}
