//! The embedding of the time step (`diffusers/models/embeddings.py`).

use burn::{
    module::Module,
    nn::Linear,
    tensor::{Device, Tensor},
};
use t2v_kernels::{Activation, linear, project};

/// Cosines, then sines, of `timestep` at `dim / 2` geometrically spaced frequencies from 1 down to nearly 1/10000
/// ([Vaswani et al., 2017](https://arxiv.org/abs/1706.03762), in the order of the DDPM code with `flip_sin_to_cos`).
///
/// Computed on the host in f32, as torch does. An odd `dim` ends in a zero.
///
/// # Shapes
/// - output: `[1, dim]`
#[must_use]
pub fn sinusoidal_embedding(timestep: f64, dim: usize, device: &Device) -> Tensor<2> {
    let half = dim / 2;
    let angles: Vec<f32> = (0..half)
        .map(|i| timestep as f32 * (-(10000f32.ln()) * i as f32 / half as f32).exp())
        .collect();
    let cosines = angles.iter().map(|a| a.cos());
    let mut values: Vec<f32> = cosines.chain(angles.iter().map(|a| a.sin())).collect();
    values.resize(dim, 0.0);
    Tensor::<1>::from_floats(values.as_slice(), device).unsqueeze()
}

/// A two-layer perceptron over the sinusoidal embedding.
#[derive(Module, Debug)]
pub struct TimestepEmbedding {
    linear_1: Linear,
    cond_proj: Option<Linear>,
    linear_2: Linear,
    #[module(skip)]
    activation: Activation,
}

impl TimestepEmbedding {
    pub(crate) fn new(
        in_dim: usize,
        dim: usize,
        condition_dim: Option<usize>,
        activation: Activation,
        device: &Device,
    ) -> Self {
        Self {
            linear_1: linear(in_dim, dim, true, device),
            cond_proj: condition_dim.map(|condition| linear(condition, in_dim, false, device)),
            linear_2: linear(dim, dim, true, device),
            activation,
        }
    }

    /// # Shapes
    /// - x: `[batch, in_dim]` -> `[batch, dim]`
    #[must_use]
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let hidden = self.activation.forward(project(&self.linear_1, x.unsqueeze_dim(0)));
        project(&self.linear_2, hidden).squeeze_dim(0)
    }
}
