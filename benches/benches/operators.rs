//! The operators of the models at the shapes that they have in ModelScope's checkpoint: two guided clips of 16 frames at
//! 256x256 in the denoiser, one frame at 256x256 in the decoder.
//!
//! ```text
//! cargo bench -p t2v-benches --bench operators
//! T2V_DEVICE=cuda T2V_DTYPE=f16 cargo bench -p t2v-benches --features cuda --bench operators
//! ```
//!
//! `benches/compare/operators.py` runs the same work in PyTorch.

#![allow(clippy::expect_used, missing_docs)]

use std::time::{Duration, Instant};

use burn::{
    nn::{
        GroupNormConfig, PaddingConfig2d, PaddingConfig3d,
        conv::{Conv2dConfig, Conv3dConfig},
    },
    tensor::{DType, Device, Distribution, Tensor},
};
use criterion::{Criterion, criterion_group, criterion_main};
use t2v_benches::{Target, in_dtype, warm_up};
use t2v_denoiser::{TemporalConv, Transformer2d, TransformerTemporal};
use t2v_kernels::{Activation, MultiHead, Products, ResnetBlock2d, ResnetBlock2dConfig};

/// What operators are measured with.
struct Bench<'a> {
    criterion: &'a mut Criterion,
    target: Target,
    dtype: DType,
}

impl Bench<'_> {
    fn device(&self) -> &Device {
        self.target.device()
    }

    fn random<const D: usize>(&self, shape: [usize; D]) -> Tensor<D> {
        let values: Tensor<D> = Tensor::random(shape, Distribution::Normal(0.0, 1.0), self.device());
        values.cast(self.dtype)
    }

    /// Measures `operator` on random numbers of this shape until its result is there, also on a device that works beside the
    /// CPU, and after the device has found out which of its kernels is fastest.
    fn measure<const I: usize, const D: usize>(
        &mut self,
        name: &str,
        shape: [usize; I],
        operator: impl Fn(Tensor<I>) -> Tensor<D>,
    ) {
        let x = self.random(shape);
        let device = self.device().clone();
        let run = || {
            let start = Instant::now();
            let result = operator(x.clone());
            device.sync().expect("the device finishes");
            let time = start.elapsed();
            drop(result);
            time
        };
        let mut cold = true;
        self.criterion.bench_function(&self.target.id(name), |b| {
            if std::mem::take(&mut cold) {
                device.sync().expect("the device finishes");
                warm_up(|| Ok::<Duration, ()>(run())).expect("nothing fails");
            }
            b.iter_custom(|times| (0..times).map(|_| run()).sum());
        });
    }
}

fn operators(c: &mut Criterion) {
    let target = Target::from_env().expect("T2V_DEVICE and T2V_DTYPE name what this build has");
    let bench = &mut Bench {
        dtype: target.dtype().expect("the target has the type"),
        target,
        criterion: c,
    };
    let (dtype, device) = (bench.dtype, &bench.device().clone());
    for (batch, from, to, size) in [
        (32, 320, 320, 32),
        (32, 960, 320, 32),
        (32, 640, 640, 16),
        (32, 1280, 1280, 8),
        (32, 1280, 1280, 4),
        (1, 512, 512, 64),
        (1, 256, 256, 256),
        (1, 128, 128, 256),
        (1, 4, 512, 32),
        (1, 128, 3, 256),
        (32, 48, 48, 8),
        (32, 80, 80, 4),
    ] {
        let conv = Conv2dConfig::new([from, to], [3, 3])
            .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
            .init(device);
        let conv = in_dtype(conv, dtype);
        let name = format!("conv2d 3x3, {batch}x{from}x{size}x{size} to {to}");
        bench.measure(&name, [batch, from, size, size], |x| t2v_kernels::conv2d(&conv, x));
    }
    for (channels, size) in [(320, 32), (640, 16), (1280, 8), (1280, 4), (48, 8), (80, 4)] {
        let conv = Conv3dConfig::new([channels, channels], [3, 1, 1])
            .with_padding(PaddingConfig3d::Explicit(1, 0, 0))
            .init(device);
        let conv = in_dtype(conv, dtype);
        let name = format!("conv3d (3,1,1), 32x{channels}x{size}x{size}");
        bench.measure(&name, [32, channels, size, size], |x| {
            t2v_kernels::conv_time(&conv, x, 16)
        });
    }
    for (batch, tokens, from, to) in [
        (32, 1024, 320, 320),
        (32, 1024, 320, 2560),
        (32, 256, 2560, 640),
        (32, 64, 1280, 1280),
        (2, 77, 1024, 4096),
    ] {
        let layer = in_dtype(t2v_kernels::linear(from, to, true, device), dtype);
        let name = format!("linear, {batch}x{tokens}, {from} to {to}");
        bench.measure(&name, [batch, tokens, from], |x| t2v_kernels::project(&layer, x));
    }
    for (batch, queries, keys, heads) in [
        (32, 1024, 1024, 5),
        (32, 1024, 77, 5),
        (2048, 16, 16, 5),
        (1, 1024, 1024, 8),
    ] {
        let split = MultiHead { heads, head_dim: 64 };
        let name = format!("attention, {batch}x{queries}x{keys}, {heads} heads");
        bench.measure(&name, [batch, queries.max(keys), heads * 64], |x| {
            let (query, key) = (x.clone().narrow(1, 0, queries), x.narrow(1, 0, keys));
            t2v_kernels::attention(query, key.clone(), key, split, false)
        });
    }
    for (batch, channels, size) in [(32, 320, 32), (32, 1280, 8), (1, 128, 256)] {
        let norm = GroupNormConfig::new(32, channels).init(device);
        let name = format!("group norm and SiLU, {batch}x{channels}x{size}x{size}");
        bench.measure(&name, [batch, channels, size, size], |x| {
            t2v_kernels::group_norm(&norm, x, Some(Activation::Silu))
        });
    }
    bench.measure("GEGLU, 32x1024x2560", [32, 1024, 2560], t2v_kernels::geglu);
    for (channels, size) in [(320, 32), (1280, 8)] {
        let layer = UNetLayer::new(channels, device, dtype);
        let text = bench.random([2, 77, 1024]);
        let name = format!("layer of the UNet, 32x{channels}x{size}x{size}");
        bench.measure(&name, [32, channels, size, size], |x| layer.forward(x, text.clone()));
    }
}

/// What a block of the denoiser repeats.
struct UNetLayer {
    residual: ResnetBlock2d,
    temporal_conv: TemporalConv,
    spatial: Transformer2d,
    temporal: TransformerTemporal,
}

impl UNetLayer {
    fn new(channels: usize, device: &Device, dtype: DType) -> Self {
        let split = MultiHead {
            heads: channels / 64,
            head_dim: 64,
        };
        let residual = ResnetBlock2dConfig {
            in_channels: channels,
            out_channels: channels,
            time_embed_dim: None,
            groups: 32,
            eps: 1e-5,
            activation: Activation::Silu,
            output_scale_factor: 1.0,
        };
        Self {
            residual: in_dtype(residual.init(device), dtype),
            temporal_conv: in_dtype(TemporalConv::new(channels, 32, device), dtype),
            spatial: in_dtype(Transformer2d::new(channels, split, 32, 1024, device), dtype),
            temporal: in_dtype(TransformerTemporal::new(channels, split, 32, device), dtype),
        }
    }

    fn forward(&self, x: Tensor<4>, text: Tensor<3>) -> Tensor<4> {
        let x = self.temporal_conv.forward(self.residual.forward(x, None), 16);
        let x = self.spatial.forward(x, text, 32, Products::Exact);
        self.temporal.forward(x, 16, Products::Exact)
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10);
    targets = operators
}
criterion_main!(benches);
