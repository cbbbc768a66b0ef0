//! Convolutions along the frames of clips.

use burn::{
    nn::{PaddingConfig3d, conv::Conv3d},
    tensor::Tensor,
};
use rayon::prelude::*;
use rten_gemm::{GemmExecutor, GemmInputB};

use super::{
    super::{
        buffer::Scratch,
        elements, scratch, tensor, try_into_contiguous,
        winograd::{self, Time},
    },
    Axis, Kernels, SMALL_IMAGE, Widened, patches, split_images,
};

/// How a convolution moves along the frames of clips, which stay where they are in memory.
struct Clips {
    clips: usize,
    frames: usize,
    channels: usize,
    /// Pixels of a frame.
    area: usize,
    /// Over the frames, and over the pixels of each, which it leaves alone.
    axes: [Axis; 2],
}

impl Clips {
    /// None if the convolution is left to Burn.
    fn of(conv: &Conv3d, [rows, channels, height, width]: [usize; 4], frames: usize) -> Option<Self> {
        let [kernel, 1, 1] = conv.kernel_size else {
            return None;
        };
        let area = height * width;
        let is_supported = kernel % 2 == 1
            && conv.padding == PaddingConfig3d::Explicit(kernel / 2, 0, 0)
            && conv.groups == 1
            && conv.dilation == [1; 3]
            && conv.stride == [1; 3]
            && frames * channels * area <= i32::MAX as usize;
        let axis = |size, pixel, kernel, before| Axis {
            size,
            pixel,
            kernel,
            stride: 1,
            before,
        };
        is_supported.then(|| Self {
            clips: rows / frames,
            frames,
            channels,
            area,
            axes: [axis(frames, channels * area, kernel, kernel / 2), axis(area, 1, 1, 0)],
        })
    }

    /// Elements of a clip.
    fn len(&self) -> usize {
        self.frames * self.channels * self.area
    }

    /// As one for Winograd's algorithm, if that takes its kernels and is faster.
    fn time<'a>(&self, clips: &'a [&'a [f32]], kernels: &'a Kernels) -> Option<Time<'a>> {
        if self.axes[0].kernel != 3 {
            return None;
        }
        let time = Time {
            layer: kernels.layer(clips, self.channels),
            clips: self.clips,
            frames: self.frames,
            area: self.area,
        };
        winograd::is_faster(&time).then_some(time)
    }

    /// Convolves all frames of a clip at once.
    fn multiply_joined(&self, clips: &[f32], kernels: &Widened, out: &mut [f32]) -> Option<()> {
        let pixels: Vec<(usize, usize)> = (0..self.frames)
            .flat_map(|frame| (0..self.area).map(move |pixel| (frame, pixel)))
            .collect();
        let out_channels = kernels.out_channels();
        let mut products = Scratch::new(out_channels * pixels.len());
        for (clip, out) in clips.chunks(self.len()).zip(out.chunks_mut(products.len())) {
            let gemm = GemmExecutor::default();
            let patches = patches(&gemm, clip, [self.channels, self.area], self.axes, &pixels)?;
            kernels.multiply(&gemm, GemmInputB::Im2Col(&patches), &mut products)?;
            split_images(&products, out_channels, out, self.frames);
        }
        Some(())
    }

    /// Convolves each frame by itself.
    fn multiply_each(&self, clips: &[f32], kernels: &Widened, out: &mut [f32]) -> Option<()> {
        out.par_chunks_mut(kernels.out_channels() * self.area)
            .enumerate()
            .try_for_each(|(row, out)| {
                let gemm = GemmExecutor::default();
                let pixels: Vec<(usize, usize)> = (0..self.area).map(|pixel| (row % self.frames, pixel)).collect();
                let clip = &clips[row / self.frames * self.len()..][..self.len()];
                let patches = patches(&gemm, clip, [self.channels, self.area], self.axes, &pixels)?;
                kernels.multiply(&gemm, GemmInputB::Im2Col(&patches), out)
            })
    }

    /// Writes `[batch * frames, out_channels, height, width]`.
    fn convolve(&self, kernels: &Kernels, clips: &[f32]) -> Option<Vec<f32>> {
        let mut out = scratch(self.clips * self.frames * kernels.out_channels() * self.area);
        if let Some(time) = self.time(&[clips], kernels) {
            winograd::convolve(&time, &mut out);
        } else {
            let mut room = Scratch::default();
            let kernels = kernels.widened(&mut room)?;
            match self.area < SMALL_IMAGE {
                true => self.multiply_joined(clips, &kernels, &mut out)?,
                false => self.multiply_each(clips, &kernels, &mut out)?,
            }
        }
        Some(out)
    }
}

/// Convolves `[batch * frames, channels, height, width]` along the frames with a `(kernel, 1, 1)` kernel that keeps
/// their number. Frames stay where they are in memory.
pub(crate) fn conv_time(conv: &Conv3d, x: Tensor<4>, frames: usize) -> Result<Tensor<4>, Tensor<4>> {
    let [rows, _, height, width] = x.dims();
    let Some(clips) = Clips::of(conv, x.dims(), frames) else {
        return Err(x);
    };
    let convolve = |x: Tensor<4>| {
        let kernels = Kernels::new(&conv.weight, conv.bias.as_ref())?;
        let x = try_into_contiguous(x).ok()?;
        let out = clips.convolve(&kernels, elements(&x))?;
        Some(tensor(out, [rows, kernels.out_channels(), height, width]))
    };
    convolve(x.clone()).ok_or(x)
}
