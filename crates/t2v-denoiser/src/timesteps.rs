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
    TimestepFrequencies::default().embed(timestep, dim, device)
}

/// In which order and how densely the frequencies of a timestep's embedding lie.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TimestepFrequencies {
    /// Cosines before sines.
    pub flip_sin_to_cos: bool,
    /// Taken from the count of frequencies before the lowest is found: with 1 the last is 1/10000.
    pub freq_shift: f64,
}

impl Default for TimestepFrequencies {
    fn default() -> Self {
        Self {
            flip_sin_to_cos: true,
            freq_shift: 0.0,
        }
    }
}

impl TimestepFrequencies {
    /// As [`sinusoidal_embedding`], in this order.
    ///
    /// # Shapes
    /// - output: `[1, dim]`
    #[must_use]
    pub fn embed(self, timestep: f64, dim: usize, device: &Device) -> Tensor<2> {
        let half = dim / 2;
        let count = half as f32 - self.freq_shift as f32;
        let angles: Vec<f32> = (0..half)
            .map(|i| timestep as f32 * (-(10000f32.ln()) * i as f32 / count).exp())
            .collect();
        let cosines = angles.iter().map(|a| a.cos());
        let sines = angles.iter().map(|a| a.sin());
        let mut values: Vec<f32> = match self.flip_sin_to_cos {
            true => cosines.chain(sines).collect(),
            false => sines.chain(cosines).collect(),
        };
        values.resize(dim, 0.0);
        Tensor::<1>::from_floats(values.as_slice(), device).unsqueeze()
    }
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
        self.forward_with(x, None)
    }

    /// As [`forward`](Self::forward), with a condition where the network was made for one.
    ///
    /// # Shapes
    /// - condition: `[batch, condition_dim]`
    #[must_use]
    pub(crate) fn forward_with(&self, x: Tensor<2>, condition: Option<Tensor<2>>) -> Tensor<2> {
        let x = match (&self.cond_proj, condition) {
            (Some(layer), Some(condition)) => x + project(layer, condition.unsqueeze_dim(0)).squeeze_dim(0),
            _ => x,
        };
        let hidden = self.activation.forward(project(&self.linear_1, x.unsqueeze_dim(0)));
        project(&self.linear_2, hidden).squeeze_dim(0)
    }
}
