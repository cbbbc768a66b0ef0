//! The blocks of the U-Nets (`unet_3d_blocks.py`, `unet_2d_blocks.py`, `unet_motion_model.py` in `diffusers/models/unets`).
//!
//! One type serves all of them, down, up and between, with and without transformers: they are lists of the same layers, and
//! a kind of layer that a block lacks is an empty list.

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};
use t2v_kernels::{
    Activation, Downsample2d, MultiHead, Products, ResnetBlock2d, ResnetBlock2dConfig, Upsample2d, cat_channels,
};

use crate::{ContextWindows, TemporalConv, Transformer2d, TransformerTemporal, prompts::for_all_prompts};

/// The residual blocks of one network.
#[derive(Debug, Clone)]
pub struct ResnetsConfig {
    /// Width of the time embedding.
    pub time_embed_dim: usize,
    /// Epsilon of their normalisations.
    pub eps: f64,
    /// Their activation.
    pub activation: Activation,
    /// Groups of every group normalisation.
    pub groups: usize,
}

impl ResnetsConfig {
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

    /// Of a block on the way down.
    pub(crate) fn down(
        &self,
        [in_channels, out_channels]: [usize; 2],
        layers: usize,
        device: &Device,
    ) -> Vec<ResnetBlock2d> {
        let inputs = |i| if i == 0 { in_channels } else { out_channels };
        (0..layers)
            .map(|i| self.resnet(inputs(i), out_channels, 1.0, device))
            .collect()
    }

    /// Of the block between down and up, whose sums are divided by `scale_factor`.
    pub(crate) fn mid(&self, channels: usize, layers: usize, scale_factor: f64, device: &Device) -> Vec<ResnetBlock2d> {
        (0..layers)
            .map(|_| self.resnet(channels, channels, scale_factor, device))
            .collect()
    }

    /// Of a block on the way up; channels are those of the matching block down (`skip`), of the block before (`previous`) and of
    /// the output.
    pub(crate) fn up(
        &self,
        [skip, previous, out_channels]: [usize; 3],
        layers: usize,
        device: &Device,
    ) -> Vec<ResnetBlock2d> {
        let layer = |i| {
            let skipped = if i == layers - 1 { skip } else { out_channels };
            let before = if i == 0 { previous } else { out_channels };
            self.resnet(before + skipped, out_channels, 1.0, device)
        };
        (0..layers).map(layer).collect()
    }
}

/// What the blocks of one network with temporal layers have in common.
#[derive(Debug, Clone)]
pub struct BlockConfig {
    /// Residual blocks.
    pub resnets: ResnetsConfig,
    /// Width of the text embeddings.
    pub cross_attention_dim: usize,
    /// Width of an attention head.
    pub head_dim: usize,
}

/// What every block is conditioned on.
#[derive(Debug, Clone)]
pub(crate) struct Condition {
    /// `[batch * frames, time_embed_dim]`
    pub(crate) time: Tensor<2>,
    /// `[batch, tokens, cross_attention_dim]`
    pub(crate) text: Tensor<3>,
    pub(crate) frames: usize,
    /// Of motion modules.
    pub(crate) windows: Option<ContextWindows>,
    /// What transformer blocks multiply in.
    pub(crate) products: Products,
}

impl Condition {
    /// Frames of all clips, each as often as there are prompts for it.
    pub(crate) fn rows(&self) -> usize {
        self.time.dims()[0]
    }

    /// The embedding of the timestep for so many rows, all of them or such as are for all prompts.
    fn time(&self, rows: usize) -> Tensor<2> {
        match rows == self.rows() {
            true => self.time.clone(),
            false => self.time.clone().slice_dim(0, 0..rows),
        }
    }
}

/// A resolution on the way down or up, or the lowest one between them.
///
/// Entry `i` of each list belongs to layer `i`; a layer goes without what a list is too short for.
#[derive(Module, Debug)]
pub struct UNetBlock {
    pub(crate) resnets: Vec<ResnetBlock2d>,
    temp_convs: Vec<TemporalConv>,
    pub(crate) attentions: Vec<Transformer2d>,
    temp_attentions: Vec<TransformerTemporal>,
    pub(crate) motion_modules: Vec<TransformerTemporal>,
    pub(crate) downsamplers: Option<Vec<Downsample2d>>,
    pub(crate) upsamplers: Option<Vec<Upsample2d>>,
}

impl UNetBlock {
    /// Residual blocks alone.
    pub(crate) fn of(resnets: Vec<ResnetBlock2d>) -> Self {
        Self {
            resnets,
            temp_convs: Vec::new(),
            attentions: Vec::new(),
            temp_attentions: Vec::new(),
            motion_modules: Vec::new(),
            downsamplers: None,
            upsamplers: None,
        }
    }

    /// On the way down; `downsample_padding` is none for the block that does not downsample.
    #[must_use]
    pub fn down(
        config: &BlockConfig,
        channels: [usize; 2],
        layers: usize,
        transformers: bool,
        downsample_padding: Option<usize>,
        device: &Device,
    ) -> Self {
        let attended = if transformers { layers } else { 0 };
        let resnets = config.resnets.down(channels, layers, device);
        Self {
            downsamplers: downsample_padding.map(|padding| vec![Downsample2d::new(channels[1], padding, device)]),
            ..Self::temporal(config, channels[1], resnets, attended, device)
        }
    }

    /// Between down and up: two residual blocks around one pair of transformers.
    #[must_use]
    pub fn mid(config: &BlockConfig, channels: usize, scale_factor: f64, device: &Device) -> Self {
        let resnets = config.resnets.mid(channels, 2, scale_factor, device);
        Self::temporal(config, channels, resnets, 1, device)
    }

    /// On the way up; channels are those of the matching block down, of the block before and of the output.
    #[must_use]
    pub fn up(
        config: &BlockConfig,
        channels: [usize; 3],
        layers: usize,
        transformers: bool,
        upsample: bool,
        device: &Device,
    ) -> Self {
        let attended = if transformers { layers } else { 0 };
        let resnets = config.resnets.up(channels, layers, device);
        Self {
            upsamplers: upsample.then(|| vec![Upsample2d::new(channels[2], device)]),
            ..Self::temporal(config, channels[2], resnets, attended, device)
        }
    }

    /// Residual blocks, each with a temporal convolution, and the first `attended` with a pair of transformers.
    fn temporal(
        config: &BlockConfig,
        channels: usize,
        resnets: Vec<ResnetBlock2d>,
        attended: usize,
        device: &Device,
    ) -> Self {
        let (groups, head_dim, text_dim) = (config.resnets.groups, config.head_dim, config.cross_attention_dim);
        let heads = channels / head_dim;
        let split = MultiHead { heads, head_dim };
        let temp_conv = |_| TemporalConv::new(channels, groups, device);
        let attention = |_| Transformer2d::new(channels, split, groups, text_dim, device);
        let temp_attention = |_| TransformerTemporal::new(channels, split, groups, device);
        Self {
            temp_convs: resnets.iter().map(temp_conv).collect(),
            attentions: (0..attended).map(attention).collect(),
            temp_attentions: (0..attended).map(temp_attention).collect(),
            ..Self::of(resnets)
        }
    }

    /// Layer `i`, whose parts always come in this order. The rows of `x` may be for all prompts.
    fn layer(&self, i: usize, x: Tensor<4>, condition: &Condition) -> Tensor<4> {
        let time = condition.time(x.dims()[0]);
        let mut x = self.resnets[i].forward(x, Some(time));
        if let Some(temp_conv) = self.temp_convs.get(i) {
            x = temp_conv.forward(x, condition.frames);
        }
        if let Some(attention) = self.attentions.get(i) {
            x = attention.forward(x, condition.text.clone(), condition.rows(), condition.products);
        }
        if let Some(temp_attention) = self.temp_attentions.get(i) {
            x = temp_attention.forward(x, condition.frames, condition.products);
        }
        if let Some(motion_module) = self.motion_modules.get(i) {
            x = motion_module.forward_windows(x, condition.frames, condition.windows, condition.products);
        }
        x
    }

    /// Layers on the way down, and the change of size after them.
    pub(crate) fn down_steps(&self) -> usize {
        self.resnets.len() + self.downsamplers.as_ref().map_or(0, Vec::len)
    }

    /// Step `i` of the way down, whose output is also a state that the way up takes.
    pub(crate) fn down_step(&self, i: usize, x: Tensor<4>, condition: &Condition) -> Tensor<4> {
        let downsampler = self
            .downsamplers
            .iter()
            .flatten()
            .nth(i.wrapping_sub(self.resnets.len()));
        match downsampler {
            Some(downsampler) => downsampler.forward(x),
            None => self.layer(i, x, condition),
        }
    }

    pub(crate) fn forward_mid(&self, x: Tensor<4>, condition: &Condition) -> Tensor<4> {
        (0..self.resnets.len()).fold(x, |x, i| self.layer(i, x, condition))
    }

    /// Layer `i` of the way up, with the state that belongs to it.
    pub(crate) fn up_layer(&self, i: usize, x: Tensor<4>, state: Tensor<4>, condition: &Condition) -> Tensor<4> {
        let state = for_all_prompts(state, condition.rows());
        self.layer(i, cat_channels(x, state), condition)
    }

    /// After the last layer of the way up: to `size`, or to twice the size.
    pub(crate) fn upsample(&self, x: Tensor<4>, size: Option<[usize; 2]>) -> Tensor<4> {
        let upsamplers = self.upsamplers.iter().flatten();
        upsamplers.fold(x, |x, upsampler| upsampler.forward(x, size))
    }
}
