//! The blocks of the U-Net (`diffusers/models/unets/unet_3d_blocks.py`).
//!
//! One type serves the blocks with and without transformers: without them its lists of transformers are empty.

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};
use t2v_kernels::{Activation, Downsample2d, MultiHead, ResnetBlock2d, ResnetBlock2dConfig, Upsample2d, cat_channels};

use crate::{TemporalConv, Transformer2d, TransformerTemporal};

/// What the blocks of one network have in common.
#[derive(Debug, Clone)]
pub struct BlockConfig {
    /// Width of the time embedding.
    pub time_embed_dim: usize,
    /// Epsilon of the residual blocks' normalisations.
    pub eps: f64,
    /// Activation of the residual blocks.
    pub activation: Activation,
    /// Groups of every group normalisation.
    pub groups: usize,
    /// Width of the text embeddings.
    pub cross_attention_dim: usize,
    /// Width of an attention head.
    pub head_dim: usize,
}

impl BlockConfig {
    fn resnet(&self, in_channels: usize, out_channels: usize, scale: f64, device: &Device) -> ResnetBlock2d {
        ResnetBlock2dConfig {
            in_channels,
            out_channels,
            time_embed_dim: Some(self.time_embed_dim),
            groups: self.groups,
            eps: self.eps,
            activation: self.activation,
            output_scale_factor: scale,
        }
        .init(device)
    }

    fn temporal_conv(&self, channels: usize, device: &Device) -> TemporalConv {
        TemporalConv::new(channels, self.groups, device)
    }

    fn split(&self, channels: usize) -> MultiHead {
        MultiHead {
            heads: channels / self.head_dim,
            head_dim: self.head_dim,
        }
    }

    fn spatial(&self, channels: usize, device: &Device) -> Transformer2d {
        let split = self.split(channels);
        Transformer2d::new(channels, split, self.groups, self.cross_attention_dim, device)
    }

    fn temporal(&self, channels: usize, device: &Device) -> TransformerTemporal {
        TransformerTemporal::new(channels, self.split(channels), self.groups, device)
    }
}

/// What every block is conditioned on.
#[derive(Debug, Clone)]
pub(crate) struct Condition {
    /// `[batch * frames, time_embed_dim]`
    pub(crate) time: Tensor<2>,
    /// `[batch, tokens, cross_attention_dim]`
    pub(crate) text: Tensor<3>,
    pub(crate) frames: usize,
}

/// A resolution on the way down.
#[derive(Module, Debug)]
pub struct DownBlock3d {
    resnets: Vec<ResnetBlock2d>,
    temp_convs: Vec<TemporalConv>,
    attentions: Vec<Transformer2d>,
    temp_attentions: Vec<TransformerTemporal>,
    downsamplers: Option<Vec<Downsample2d>>,
}

impl DownBlock3d {
    /// `downsample_padding` is none for the block that does not downsample.
    #[must_use]
    pub fn new(
        config: &BlockConfig,
        [in_channels, out_channels]: [usize; 2],
        layers: usize,
        transformers: bool,
        downsample_padding: Option<usize>,
        device: &Device,
    ) -> Self {
        let inputs = |i| if i == 0 { in_channels } else { out_channels };
        let attended = if transformers { layers } else { 0 };
        Self {
            resnets: (0..layers)
                .map(|i| config.resnet(inputs(i), out_channels, 1.0, device))
                .collect(),
            temp_convs: (0..layers)
                .map(|_| config.temporal_conv(out_channels, device))
                .collect(),
            attentions: (0..attended).map(|_| config.spatial(out_channels, device)).collect(),
            temp_attentions: (0..attended).map(|_| config.temporal(out_channels, device)).collect(),
            downsamplers: downsample_padding.map(|padding| vec![Downsample2d::new(out_channels, padding, device)]),
        }
    }

    /// The block's output, last, and the states before it that the way up takes.
    pub(crate) fn forward(&self, mut x: Tensor<4>, condition: &Condition) -> Vec<Tensor<4>> {
        let mut states = Vec::new();
        for i in 0..self.resnets.len() {
            x = self.resnets[i].forward(x, Some(condition.time.clone()));
            x = self.temp_convs[i].forward(x, condition.frames);
            if let (Some(spatial), Some(temporal)) = (self.attentions.get(i), self.temp_attentions.get(i)) {
                x = spatial.forward(x, condition.text.clone());
                x = temporal.forward(x, condition.frames);
            }
            states.push(x.clone());
        }
        for downsampler in self.downsamplers.iter().flatten() {
            x = downsampler.forward(x);
            states.push(x.clone());
        }
        states
    }
}

/// The lowest resolution, between down and up.
#[derive(Module, Debug)]
pub struct MidBlock3d {
    resnets: Vec<ResnetBlock2d>,
    temp_convs: Vec<TemporalConv>,
    attentions: Vec<Transformer2d>,
    temp_attentions: Vec<TransformerTemporal>,
}

impl MidBlock3d {
    /// Two residual blocks around one pair of transformers.
    #[must_use]
    pub fn new(config: &BlockConfig, channels: usize, scale_factor: f64, device: &Device) -> Self {
        let resnet = || config.resnet(channels, channels, scale_factor, device);
        let conv = || config.temporal_conv(channels, device);
        Self {
            resnets: vec![resnet(), resnet()],
            temp_convs: vec![conv(), conv()],
            attentions: vec![config.spatial(channels, device)],
            temp_attentions: vec![config.temporal(channels, device)],
        }
    }

    pub(crate) fn forward(&self, mut x: Tensor<4>, condition: &Condition) -> Tensor<4> {
        for i in 0..self.resnets.len() {
            if i > 0 {
                x = self.attentions[i - 1].forward(x, condition.text.clone());
                x = self.temp_attentions[i - 1].forward(x, condition.frames);
            }
            x = self.resnets[i].forward(x, Some(condition.time.clone()));
            x = self.temp_convs[i].forward(x, condition.frames);
        }
        x
    }
}

/// A resolution on the way up.
#[derive(Module, Debug)]
pub struct UpBlock3d {
    resnets: Vec<ResnetBlock2d>,
    temp_convs: Vec<TemporalConv>,
    attentions: Vec<Transformer2d>,
    temp_attentions: Vec<TransformerTemporal>,
    upsamplers: Option<Vec<Upsample2d>>,
}

impl UpBlock3d {
    /// Channels are those of the matching block down (`skip`), of the block before (`previous`) and of the output.
    #[must_use]
    pub fn new(
        config: &BlockConfig,
        [skip, previous, out_channels]: [usize; 3],
        layers: usize,
        transformers: bool,
        upsample: bool,
        device: &Device,
    ) -> Self {
        let inputs = |i| {
            let skipped = if i == layers - 1 { skip } else { out_channels };
            let before = if i == 0 { previous } else { out_channels };
            before + skipped
        };
        let attended = if transformers { layers } else { 0 };
        Self {
            resnets: (0..layers)
                .map(|i| config.resnet(inputs(i), out_channels, 1.0, device))
                .collect(),
            temp_convs: (0..layers)
                .map(|_| config.temporal_conv(out_channels, device))
                .collect(),
            attentions: (0..attended).map(|_| config.spatial(out_channels, device)).collect(),
            temp_attentions: (0..attended).map(|_| config.temporal(out_channels, device)).collect(),
            upsamplers: upsample.then(|| vec![Upsample2d::new(out_channels, device)]),
        }
    }

    /// Takes its states from the end of `states`; upsamples to `size`, or to twice the size.
    pub(crate) fn forward(
        &self,
        mut x: Tensor<4>,
        states: &mut Vec<Tensor<4>>,
        condition: &Condition,
        size: Option<[usize; 2]>,
    ) -> Tensor<4> {
        for i in 0..self.resnets.len() {
            if let Some(state) = states.pop() {
                x = cat_channels(x, state);
            }
            x = self.resnets[i].forward(x, Some(condition.time.clone()));
            x = self.temp_convs[i].forward(x, condition.frames);
            if let (Some(spatial), Some(temporal)) = (self.attentions.get(i), self.temp_attentions.get(i)) {
                x = spatial.forward(x, condition.text.clone());
                x = temporal.forward(x, condition.frames);
            }
        }
        for upsampler in self.upsamplers.iter().flatten() {
            x = upsampler.forward(x, size);
        }
        x
    }
}
