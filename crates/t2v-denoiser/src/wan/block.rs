//! The block of attention to each other, attention to text and a feed-forward layer (`WanTransformerBlock`).

use burn::{
    module::{Initializer, Module, Param},
    nn::Linear,
    tensor::{DType, Device, Tensor},
};
use t2v_kernels::{Activation, LayerNorm, Products, Rotation, add_gated, linear, modulated_norm};

use super::{
    WanTransformerConfig,
    attention::{Context, ContextKeys, WanAttention},
};

/// Shift, scale and gate of the attention, then those of the feed-forward layer.
pub(super) const MODULATIONS: usize = 6;

/// Two linear layers with an activation between.
#[derive(Module, Debug)]
pub(super) struct FeedForward {
    proj: Linear,
    out: Linear,
    #[module(skip)]
    activation: Activation,
}

impl FeedForward {
    /// From `widths[0]` channels by way of `widths[1]` to `widths[2]`.
    pub(super) fn new(widths: [usize; 3], activation: Activation, device: &Device) -> Self {
        Self {
            proj: linear(widths[0], widths[1], true, device),
            out: linear(widths[1], widths[2], true, device),
            activation,
        }
    }

    pub(super) fn forward(&self, x: Tensor<3>, products: Products) -> Tensor<3> {
        products.mlp(&self.proj, self.activation, &self.out, x)
    }
}

/// A transformer block whose layers the timestep scales, shifts and gates.
#[derive(Module, Debug)]
pub(super) struct WanBlock {
    attn1: WanAttention,
    attn2: WanAttention,
    norm2: Option<LayerNorm>,
    ffn: FeedForward,
    scale_shift_table: Param<Tensor<3>>,
    #[module(skip)]
    eps: f64,
}

impl WanBlock {
    pub(super) fn new(config: &WanTransformerConfig, device: &Device) -> Self {
        let dim = config.inner_dim();
        Self {
            attn1: WanAttention::new(config, false, device),
            attn2: WanAttention::new(config, true, device),
            norm2: config.cross_attn_norm.then(|| LayerNorm::new(dim, config.eps, device)),
            ffn: FeedForward::new([dim, config.ffn_dim, dim], Activation::GeluNew, device),
            scale_shift_table: table(MODULATIONS, dim, device),
            eps: config.eps,
        }
    }

    /// # Shapes
    /// - x: `[batch, tokens, dim]`, unchanged, or of fewer clips, which are for all prompts
    /// - time: `[runs, 6, dim]`, for runs of tokens of equal length
    pub(super) fn forward(
        &self,
        x: Tensor<3>,
        time: &Tensor<3>,
        keys: &ContextKeys,
        rotation: &Rotation,
        products: Products,
    ) -> Tensor<3> {
        let values = modulations(&self.scale_shift_table, time);
        let of = |index| modulation(&values, index);
        let normed = modulated_norm(x.clone(), of(1), of(0), self.eps);
        let x = add_gated(x, self.attn1.to_itself(normed, rotation, products), of(2));
        let normed = match &self.norm2 {
            Some(norm) => norm.forward(x.clone()),
            None => x.clone(),
        };
        let x = self.attn2.to_context(normed, keys, x, products);
        let normed = modulated_norm(x.clone(), of(4), of(3), self.eps);
        add_gated(x, self.ffn.forward(normed, products), of(5))
    }

    /// Keys and values of what is attended to besides the tokens.
    pub(super) fn context_keys(&self, context: &Context) -> ContextKeys {
        self.attn2.context_keys(context)
    }
}

/// Learnt modulations, to which the timestep's are added.
pub(super) fn table(count: usize, dim: usize, device: &Device) -> Param<Tensor<3>> {
    Initializer::Zeros.init([1, count, dim], device)
}

/// Learnt modulations and the timestep's together, in f32.
///
/// # Shapes
/// - time: `[runs, count or 1, dim]`
/// - output: `[runs, count, dim]`
pub(super) fn modulations(table: &Param<Tensor<3>>, time: &Tensor<3>) -> Tensor<3> {
    table.val().cast(DType::F32) + time.clone().cast(DType::F32)
}

/// One of [`modulations`], `[runs, dim]`.
pub(super) fn modulation(values: &Tensor<3>, index: usize) -> Tensor<2> {
    values.clone().narrow(1, index, 1).squeeze_dim(1)
}
