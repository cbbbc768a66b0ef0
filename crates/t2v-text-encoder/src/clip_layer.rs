//! The transformer layer that both towers of CLIP are made of (`CLIPEncoderLayer` upstream).

use burn::{
    module::Module,
    nn::Linear,
    tensor::{DType, Device, Tensor},
};
use t2v_kernels::{Activation, LayerNorm, MultiHead, attention, linear, project, project_add};

/// What a layer is built by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LayerSizes {
    pub(crate) width: usize,
    /// Width inside the feed-forward layers.
    pub(crate) inner: usize,
    /// A divisor of the width.
    pub(crate) heads: usize,
    pub(crate) activation: Activation,
    pub(crate) eps: f64,
}

#[derive(Module, Debug)]
struct SelfAttention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    #[module(skip)]
    split: MultiHead,
}

#[derive(Module, Debug)]
struct Mlp {
    fc1: Linear,
    fc2: Linear,
    #[module(skip)]
    activation: Activation,
}

#[derive(Module, Debug)]
pub(crate) struct ClipLayer {
    layer_norm1: LayerNorm,
    self_attn: SelfAttention,
    layer_norm2: LayerNorm,
    mlp: Mlp,
}

impl ClipLayer {
    pub(crate) fn new(sizes: LayerSizes, device: &Device) -> Self {
        let LayerSizes {
            width, inner, heads, ..
        } = sizes;
        let norm = || LayerNorm::new(width, sizes.eps, device);
        let project = || linear(width, width, true, device);
        Self {
            layer_norm1: norm(),
            self_attn: SelfAttention {
                q_proj: project(),
                k_proj: project(),
                v_proj: project(),
                out_proj: project(),
                split: MultiHead {
                    heads,
                    head_dim: width / heads,
                },
            },
            layer_norm2: norm(),
            mlp: Mlp {
                fc1: linear(width, inner, true, device),
                fc2: linear(inner, width, true, device),
                activation: sizes.activation,
            },
        }
    }

    /// The type that it computes in.
    pub(crate) fn dtype(&self) -> DType {
        t2v_kernels::dtype(&self.mlp.fc1)
    }

    /// `causal`: each token sees itself and those before it, rather than all.
    ///
    /// # Shapes
    /// - x: `[batch, tokens, width]`, unchanged
    pub(crate) fn forward(&self, x: Tensor<3>, causal: bool) -> Tensor<3> {
        let normed = self.layer_norm1.forward(x.clone());
        let query = project(&self.self_attn.q_proj, normed.clone());
        let key = project(&self.self_attn.k_proj, normed.clone());
        let value = project(&self.self_attn.v_proj, normed);
        let attended = attention(query, key, value, self.self_attn.split, causal);
        let x = project_add(&self.self_attn.out_proj, attended, x);
        let hidden = project(&self.mlp.fc1, self.layer_norm2.forward(x.clone()));
        project_add(&self.mlp.fc2, self.mlp.activation.forward(hidden), x)
    }
}
