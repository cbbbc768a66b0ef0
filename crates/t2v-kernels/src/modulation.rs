//! What a transformer's conditioning does to its tokens: normalise, scale and shift them, and let a layer's result in through
//! a gate (adaLN of [Peebles and Xie, 2022](https://arxiv.org/abs/2212.09748)).
//!
//! All is computed in f32 whatever the tokens are. The tokens of a clip are *runs* of equal length, one after the other, each
//! with values of its own: one run where the whole clip is conditioned alike, or one a frame.

use burn::{
    module::Param,
    tensor::{DType, Tensor, module},
};

use crate::{
    LayerNorm,
    shape::{assert_runs, assert_shape},
};

/// `layer_norm(x) * (1 + scale) + shift`, where the normalisation has no parameters.
///
/// # Shapes
/// - x: `[batch, tokens, dim]`, unchanged
/// - scale, shift: `[runs, dim]`, f32
///
/// # Panics
/// On other shapes.
#[must_use]
pub fn modulated_norm(x: Tensor<3>, scale: Tensor<2>, shift: Tensor<2>, epsilon: f64) -> Tensor<3> {
    let ([batch, tokens, dim], runs) = (x.dims(), scale.dims()[0]);
    assert_runs(tokens, runs);
    assert_shape("the scale of a modulation", &scale, [runs, dim]);
    assert_shape("the shift of a modulation", &shift, [runs, dim]);
    #[cfg(feature = "cpu-operators")]
    let x = match crate::flex::modulated_norm(x, scale.clone(), shift.clone(), epsilon) {
        Ok(out) => return out,
        Err(x) => x,
    };
    if runs == 1 {
        // One scale and one shift for all tokens are the parameters of a normalisation.
        let norm = LayerNorm {
            gamma: Param::from_tensor((scale + 1.0).squeeze_dim(0)),
            beta: Param::from_tensor(shift.squeeze_dim(0)),
            epsilon,
        };
        return norm.forward(x);
    }
    let (device, dtype) = (x.device(), x.dtype());
    let ones = Tensor::ones([dim], (&device, DType::F32));
    let normed = module::layer_norm(x.cast(DType::F32), ones, None, epsilon);
    let normed = normed.reshape([batch, runs, tokens / runs, dim]);
    let out = normed * (by_run(scale) + 1.0) + by_run(shift);
    out.reshape([batch, tokens, dim]).cast(dtype)
}

/// `residual + x * gate`.
///
/// # Shapes
/// - x, residual: `[batch, tokens, dim]`, unchanged
/// - gate: `[runs, dim]`, f32
///
/// # Panics
/// On other shapes.
#[must_use]
pub fn add_gated(residual: Tensor<3>, x: Tensor<3>, gate: Tensor<2>) -> Tensor<3> {
    let ([batch, tokens, dim], runs, dtype) = (x.dims(), gate.dims()[0], x.dtype());
    assert_runs(tokens, runs);
    assert_shape("the gate of a modulation", &gate, [runs, dim]);
    assert_shape("what a gated result is added to", &residual, [batch, tokens, dim]);
    #[cfg(feature = "cpu-operators")]
    let [residual, x] = match crate::flex::add_gated(residual, x, gate.clone()) {
        Ok(out) => return out,
        Err(inputs) => inputs,
    };
    let x = x.cast(DType::F32).reshape([batch, runs, tokens / runs, dim]);
    let let_in = (x * by_run(gate)).reshape([batch, tokens, dim]);
    (residual.cast(DType::F32) + let_in).cast(dtype)
}

/// `[runs, dim]` for `[batch, runs, tokens, dim]`.
fn by_run(values: Tensor<2>) -> Tensor<4> {
    let [runs, dim] = values.dims();
    values.cast(DType::F32).reshape([1, runs, 1, dim])
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution, Tolerance};

    use super::*;

    fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
        Tensor::random(shape, Distribution::Normal(0.5, 2.0), &Device::flex())
    }

    fn assert_close(actual: Tensor<3>, expected: Tensor<3>) {
        actual
            .into_data()
            .assert_approx_eq::<f32>(&expected.into_data(), Tolerance::rel_abs(1e-5, 1e-5));
    }

    /// Run by run with plain arithmetic.
    fn by_hand(x: &Tensor<3>, of_run: impl Fn(Tensor<3>, usize) -> Tensor<3>, runs: usize) -> Tensor<3> {
        let length = x.dims()[1] / runs;
        let parts = (0..runs).map(|run| of_run(x.clone().narrow(1, run * length, length), run));
        Tensor::cat(parts.collect(), 1)
    }

    #[test]
    fn each_run_has_its_scale_and_shift() {
        for runs in [1, 3] {
            let (x, scale, shift) = (random([2, 6, 8]), random([runs, 8]), random([runs, 8]));
            let expected = |part: Tensor<3>, run: usize| {
                let row = |values: &Tensor<2>| values.clone().narrow(0, run, 1).unsqueeze::<3>();
                let mean = part.clone().mean_dim(2);
                let centred = part - mean;
                let variance = centred.clone().square().mean_dim(2);
                centred / (variance + 1e-6).sqrt() * (row(&scale) + 1.0) + row(&shift)
            };
            let expected = by_hand(&x, expected, runs);
            assert_close(modulated_norm(x, scale.clone(), shift.clone(), 1e-6), expected);
        }
    }

    #[test]
    fn each_run_has_its_gate() {
        for runs in [1, 3] {
            let (residual, x, gate) = (random([2, 6, 8]), random([2, 6, 8]), random([runs, 8]));
            let expected = by_hand(&x, |part, run| part * gate.clone().narrow(0, run, 1).unsqueeze(), runs);
            assert_close(add_gated(residual.clone(), x, gate), residual + expected);
        }
    }
}
