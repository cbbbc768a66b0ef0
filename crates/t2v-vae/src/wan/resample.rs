//! Halving and doubling sides and frames (`WanResample` upstream).

use burn::{
    module::Module,
    nn::{
        PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
    },
    tensor::{Device, Tensor},
};
use t2v_kernels::{conv2d, conv2d_turns, conv3x3, upsample_nearest};

use super::{
    config::Halving,
    history::{History, time_conv},
};

/// Half of height and width, and perhaps of the frames after the first.
#[derive(Module, Debug)]
pub(super) struct Downsample {
    resample: Conv2d,
    time_conv: Option<Conv2d>,
}

/// The smaller frame that came out of two last, and the one that waits for its partner.
#[derive(Debug, Clone, Default)]
pub(super) struct DownsampleState {
    last: Option<Tensor<4>>,
    waiting: Option<Tensor<4>>,
}

impl Downsample {
    pub(super) fn new(channels: usize, halving: Halving, device: &Device) -> Self {
        let resample = Conv2dConfig::new([channels, channels], [3, 3])
            .with_stride([2, 2])
            .with_padding(PaddingConfig2d::Explicit(0, 0, 1, 1));
        Self {
            resample: resample.init(device),
            time_conv: halving.frames.then(|| time_conv(channels, channels, device)),
        }
    }

    /// The next frame of a clip; where frames are halved, none comes out while it waits for its partner. The first has none.
    ///
    /// # Shapes
    /// - x: `[1, channels, height, width]` -> half of height and width
    pub(super) fn forward(&self, x: Tensor<4>, state: &mut DownsampleState) -> Option<Tensor<4>> {
        let x = conv2d(&self.resample, x);
        let Some(conv) = &self.time_conv else {
            return Some(x);
        };
        let Some(last) = state.last.take() else {
            state.last = Some(x.clone());
            return Some(x);
        };
        let Some(waiting) = state.waiting.take() else {
            (state.last, state.waiting) = (Some(last), Some(x));
            return None;
        };
        state.last = Some(x.clone());
        Some(conv2d_turns(conv, &[last, waiting, x]))
    }
}

/// Twice the height and width, and perhaps two frames for each after the first.
#[derive(Module, Debug)]
pub(super) struct Upsample {
    resample: Conv2d,
    time_conv: Option<Conv2d>,
}

/// What an enlargement remembers of a clip: of the first frame, that there was one.
#[derive(Debug, Clone, Default)]
pub(super) struct UpsampleState {
    begun: bool,
    history: History,
}

impl Upsample {
    pub(super) fn new([in_channels, out_channels]: [usize; 2], halving: Halving, device: &Device) -> Self {
        Self {
            resample: conv3x3(in_channels, out_channels, device),
            time_conv: halving.frames.then(|| time_conv(in_channels, 2 * in_channels, device)),
        }
    }

    /// The frames that the next one of a clip becomes.
    ///
    /// # Shapes
    /// - x: `[1, in_channels, height, width]` -> each `[1, out_channels, 2 * height, 2 * width]`
    pub(super) fn forward(&self, x: Tensor<4>, state: &mut UpsampleState) -> Vec<Tensor<4>> {
        let frames = match &self.time_conv {
            Some(conv) if state.begun => state.history.convolve(conv, x).chunk(2, 1),
            _ => vec![x],
        };
        state.begun = true;
        frames.into_iter().map(|frame| self.enlarge(frame)).collect()
    }

    fn enlarge(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, _, height, width] = x.dims();
        conv2d(&self.resample, upsample_nearest(x, [2 * height, 2 * width]))
    }
}
