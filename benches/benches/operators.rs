//! The operators of the models at the shapes that they have in ModelScope's checkpoint: two guided clips of 16 frames at
//! 256x256 in the denoiser, one frame at 256x256 in the decoder.
//!
//! ```text
//! cargo bench -p t2v-benches --bench operators
//! T2V_DEVICE=wgpu cargo bench -p t2v-benches --features wgpu --bench operators
//! ```
//!
//! `benches/compare/operators.py` runs the same work in PyTorch.

#![allow(clippy::expect_used, missing_docs)]

use burn::{
    nn::{
        GroupNormConfig, PaddingConfig2d, PaddingConfig3d,
        conv::{Conv2dConfig, Conv3dConfig},
    },
    tensor::{Device, Distribution, Tensor},
};
use criterion::{Criterion, criterion_group, criterion_main};
use t2v_denoiser::{TemporalConv, Transformer2d, TransformerTemporal};
use t2v_kernels::{Activation, MultiHead, ResnetBlock2d, ResnetBlock2dConfig};
use t2v_pipeline::DeviceName;

/// Measures `operator` on random numbers of this shape until its result is there, also on a device that works beside the CPU.
fn measure<const I: usize, const D: usize>(
    c: &mut Criterion,
    name: &str,
    device: &Device,
    shape: [usize; I],
    operator: impl Fn(Tensor<I>) -> Tensor<D>,
) {
    c.bench_function(name, |b| {
        let x = Tensor::random(shape, Distribution::Normal(0.0, 1.0), device);
        b.iter(|| {
            let result = operator(x.clone());
            device.sync().expect("the device finishes");
            result
        });
    });
}

fn operators(c: &mut Criterion) {
    let name = std::env::var("T2V_DEVICE").unwrap_or_else(|_| "flex".into());
    let device = name
        .parse::<DeviceName>()
        .and_then(DeviceName::device)
        .expect("a device of this build");
    let device = &device;
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
        let name = format!("conv2d 3x3, {batch}x{from}x{size}x{size} to {to}");
        measure(c, &name, device, [batch, from, size, size], |x| {
            t2v_kernels::conv2d(&conv, x)
        });
    }
    for (channels, size) in [(320, 32), (640, 16), (1280, 8), (1280, 4), (48, 8), (80, 4)] {
        let conv = Conv3dConfig::new([channels, channels], [3, 1, 1])
            .with_padding(PaddingConfig3d::Explicit(1, 0, 0))
            .init(device);
        let name = format!("conv3d (3,1,1), 32x{channels}x{size}x{size}");
        measure(c, &name, device, [32, channels, size, size], |x| {
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
        let layer = t2v_kernels::linear(from, to, true, device);
        let name = format!("linear, {batch}x{tokens}, {from} to {to}");
        measure(c, &name, device, [batch, tokens, from], |x| {
            t2v_kernels::project(&layer, x)
        });
    }
    for (batch, queries, keys, heads) in [
        (32, 1024, 1024, 5),
        (32, 1024, 77, 5),
        (2048, 16, 16, 5),
        (1, 1024, 1024, 8),
    ] {
        let split = MultiHead { heads, head_dim: 64 };
        let name = format!("attention, {batch}x{queries}x{keys}, {heads} heads");
        measure(c, &name, device, [batch, queries.max(keys), heads * 64], |x| {
            let (query, key) = (x.clone().narrow(1, 0, queries), x.narrow(1, 0, keys));
            t2v_kernels::attention(query, key.clone(), key, split, false)
        });
    }
    for (batch, channels, size) in [(32, 320, 32), (32, 1280, 8), (1, 128, 256)] {
        let norm = GroupNormConfig::new(32, channels).init(device);
        let name = format!("group norm and SiLU, {batch}x{channels}x{size}x{size}");
        measure(c, &name, device, [batch, channels, size, size], |x| {
            t2v_kernels::group_norm(&norm, x, Some(Activation::Silu))
        });
    }
    measure(c, "GEGLU, 32x1024x2560", device, [32, 1024, 2560], t2v_kernels::geglu);
    for (channels, size) in [(320, 32), (1280, 8)] {
        let layer = UNetLayer::new(channels, device);
        let text = Tensor::random([2, 77, 1024], Distribution::Normal(0.0, 1.0), device);
        let name = format!("layer of the UNet, 32x{channels}x{size}x{size}");
        measure(c, &name, device, [32, channels, size, size], |x| {
            layer.forward(x, text.clone())
        });
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
    fn new(channels: usize, device: &Device) -> Self {
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
            residual: residual.init(device),
            temporal_conv: TemporalConv::new(channels, 32, device),
            spatial: Transformer2d::new(channels, split, 32, 1024, device),
            temporal: TransformerTemporal::new(channels, split, 32, device),
        }
    }

    fn forward(&self, x: Tensor<4>, text: Tensor<3>) -> Tensor<4> {
        let x = self.temporal_conv.forward(self.residual.forward(x, None), 16);
        self.temporal.forward(self.spatial.forward(x, text), 16)
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10);
    targets = operators
}
criterion_main!(benches);
