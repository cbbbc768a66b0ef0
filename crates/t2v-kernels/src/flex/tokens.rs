//! What a transformer does to tokens between its products: normalisation by the root mean square, rotation by position, gates.
//! Each is one pass over memory, in the place of the tokens where nobody else holds them.

use burn::tensor::Tensor;
use rayon::prelude::*;
use rten_simd::{
    Isa, SimdOp,
    ops::{BitOps, NumOps},
};
use rten_vecmath::SumSquare;

use super::{
    CHUNK, elements, into_contiguous, into_elements, is_supported, map_rows, parameter, simd::run, tensor,
    try_into_contiguous,
};
use crate::{MultiHead, RmsNorm, Rotation};

/// Normalises each token by the root of its mean square.
pub(crate) fn rms_norm(norm: &RmsNorm, x: Tensor<3>) -> Result<Tensor<3>, Tensor<3>> {
    let shape = x.dims();
    let Some(gamma) = parameter(norm.gamma.val()) else {
        return Err(x);
    };
    let (gamma, width) = (elements(&gamma), shape[2]);
    let values = map_rows(try_into_contiguous(x)?, width, |_, token| {
        let mean = f64::from(run(SumSquare::new(token))) / width as f64;
        let scale = (1.0 / (mean + norm.epsilon).sqrt()) as f32;
        for (value, gamma) in token.iter_mut().zip(gamma) {
            *value *= scale * gamma;
        }
    });
    Ok(tensor(values, shape))
}

/// Turns the pairs of neighbouring channels of every head by the angles of their token.
pub(crate) fn rotate(rotation: &Rotation, x: Tensor<3>, split: MultiHead) -> Result<Tensor<3>, Tensor<3>> {
    let shape @ [_, tokens, width] = x.dims();
    let tables = [&rotation.cos, &rotation.sin].map(|table| parameter(table.clone()));
    let [Some(cos), Some(sin)] = &tables else {
        return Err(x);
    };
    let (cos, sin, pairs) = (elements(cos), elements(sin), split.head_dim / 2);
    let values = map_rows(try_into_contiguous(x)?, width, |row, token| {
        let angles = row % tokens * pairs;
        let (cos, sin) = (&cos[angles..][..pairs], &sin[angles..][..pairs]);
        for head in token.chunks_exact_mut(split.head_dim) {
            let (channels, _) = head.as_chunks_mut::<2>();
            for ((pair, cos), sin) in channels.iter_mut().zip(cos).zip(sin) {
                let [first, second] = *pair;
                *pair = [first * cos - second * sin, first * sin + second * cos];
            }
        }
    });
    Ok(tensor(values, shape))
}

/// `residual + x * gate`, in the place of the residual: a gate, `[runs, dim]`, for each run of tokens.
pub(crate) fn add_gated(residual: Tensor<3>, x: Tensor<3>, gate: Tensor<2>) -> Result<Tensor<3>, [Tensor<3>; 2]> {
    let shape @ [_, tokens, width] = residual.dims();
    let (length, gates) = (tokens / gate.dims()[0], parameter(gate));
    let (Some(gates), true, true) = (gates, is_supported(&residual), is_supported(&x)) else {
        return Err([residual, x]);
    };
    let (mut values, x) = (into_elements(into_contiguous(residual)), into_contiguous(x));
    values
        .par_chunks_mut(width)
        .zip(elements(&x).par_chunks(width))
        .with_min_len(CHUNK.div_ceil(width))
        .enumerate()
        .for_each(|(row, (sum, x))| {
            let gate = &elements(&gates)[row % tokens / length * width..][..width];
            run(AddProducts { sum, x, by: gate });
        });
    Ok(tensor(values, shape))
}

/// Adds the products of neighbours to sums.
struct AddProducts<'a> {
    sum: &'a mut [f32],
    x: &'a [f32],
    by: &'a [f32],
}

impl SimdOp for AddProducts<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let ops = isa.f32();
        let mut sums = self.sum.chunks_exact_mut(ops.len());
        let (xs, factors) = (self.x.chunks_exact(ops.len()), self.by.chunks_exact(ops.len()));
        let rest = (xs.remainder(), factors.remainder());
        for ((sum, x), by) in sums.by_ref().zip(xs).zip(factors) {
            let value = ops.mul_add(ops.load(x), ops.load(by), ops.load(sum));
            ops.store(value, sum);
        }
        for ((sum, x), by) in sums.into_remainder().iter_mut().zip(rest.0).zip(rest.1) {
            *sum = x.mul_add(*by, *sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::{
        module::Param,
        tensor::{DType, Device, Distribution, Tolerance},
    };

    use super::*;

    fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
        Tensor::random(shape, Distribution::Normal(0.3, 1.5), &Device::flex())
    }

    /// What an operator makes of tokens that nobody else holds, of such that somebody does, and of a view; those that are held
    /// stay as they were.
    fn assert_all_ways<E>(x: Tensor<3>, operator: impl Fn(Tensor<3>) -> Result<Tensor<3>, E>, expected: Tensor<3>) {
        let (before, expected) = (x.clone().into_data(), expected.into_data());
        let view = x.clone().swap_dims(1, 2).mul_scalar(1.0).swap_dims(1, 2);
        let part = Tensor::cat(vec![x.zeros_like(), x.clone()], 1).slice_dim(1, x.dims()[1]..2 * x.dims()[1]);
        for input in [x.clone().mul_scalar(1.0), x.clone(), view, part] {
            let Ok(out) = operator(input) else {
                panic!("the operator didn't take its input");
            };
            out.into_data()
                .assert_approx_eq::<f32>(&expected, Tolerance::rel_abs(1e-5, 1e-5));
        }
        x.into_data().assert_eq(&before, true);
    }

    #[test]
    fn norms_by_the_root_mean_square() {
        for width in [1, 35, 512, 1537] {
            for dtype in [DType::F32, DType::BF16] {
                let gamma = random([width]).cast(dtype);
                let norm = RmsNorm {
                    gamma: Param::from_tensor(gamma.clone()),
                    epsilon: 1e-3,
                };
                let x = random([3, 29, width]);
                let root = (x.clone().square().mean_dim(2) + 1e-3).sqrt();
                let expected = x.clone() / root * gamma.cast(DType::F32).unsqueeze();
                assert_all_ways(x, |x| rms_norm(&norm, x), expected);
            }
        }
    }

    #[test]
    fn rotations() {
        for (heads, head_dim) in [(1, 2), (3, 10), (2, 44), (12, 128), (2, 70)] {
            let split = MultiHead { heads, head_dim };
            let (tokens, pairs) = (37, head_dim / 2);
            let angles = random([tokens, pairs]) * 3.0;
            let rotation = Rotation::new(angles.clone().cos(), angles.clone().sin());
            let x = random([2, tokens, heads * head_dim]);
            // A turn is a product with a number of length 1 in the complex plane.
            let paired = x.clone().reshape([2, tokens, heads, pairs, 2]);
            let [real, imaginary] = [0, 1].map(|index| paired.clone().narrow(4, index, 1).squeeze_dim::<4>(4));
            let by = |values: Tensor<2>| values.reshape([1, tokens, 1, pairs]);
            let (cos, sin) = (by(angles.clone().cos()), by(angles.sin()));
            let turned = [
                real.clone() * cos.clone() - imaginary.clone() * sin.clone(),
                real * sin + imaginary * cos,
            ];
            let expected: Tensor<5> = Tensor::stack(turned.to_vec(), 4);
            let expected = expected.reshape([2, tokens, heads * head_dim]);
            assert_all_ways(x, |x| rotate(&rotation, x, split), expected);
        }
    }

    #[test]
    fn gates_of_runs() {
        for (runs, length, width) in [(1, 41, 35), (3, 7, 130), (5, 1, 16)] {
            let tokens = runs * length;
            let (residual, x, gate) = (
                random([2, tokens, width]),
                random([2, tokens, width]),
                random([runs, width]),
            );
            let by_run = gate.clone().reshape([1, runs, 1, width]);
            let gated = (x.clone().reshape([2, runs, length, width]) * by_run).reshape([2, tokens, width]);
            let expected = residual.clone() + gated;
            assert_all_ways(
                residual.clone(),
                |sum| add_gated(sum, x.clone(), gate.clone()),
                expected.clone(),
            );
            assert_all_ways(x, |x| add_gated(residual.clone(), x, gate.clone()), expected);
        }
    }

    #[test]
    fn modulated_norms_of_runs() {
        for (runs, length, width) in [(1, 41, 35), (3, 7, 130), (5, 1, 1536)] {
            let tokens = runs * length;
            let (x, scale, shift) = (
                random([2, tokens, width]) + 3.0,
                random([runs, width]),
                random([runs, width]),
            );
            let centred = x.clone() - x.clone().mean_dim(2);
            let normed = centred.clone() / (centred.square().mean_dim(2) + 1e-6).sqrt();
            let by_run = |values: &Tensor<2>| values.clone().reshape([1, runs, 1, width]);
            let expected = normed.reshape([2, runs, length, width]) * (by_run(&scale) + 1.0) + by_run(&shift);
            let expected = expected.reshape([2, tokens, width]);
            let operator = |x| crate::flex::modulated_norm(x, scale.clone(), shift.clone(), 1e-6);
            assert_all_ways(x, operator, expected);
        }
    }

    #[test]
    fn tokens_in_half_precision_are_left_alone() {
        let (half, gate) = (random([1, 3, 4]).cast(DType::F16), random([1, 4]));
        assert!(rms_norm(&RmsNorm::new(4, 1e-6, &Device::flex()), half.clone()).is_err());
        assert!(add_gated(half.clone(), half.clone(), gate.clone()).is_err());
        assert!(crate::flex::modulated_norm(half, gate.clone(), gate, 1e-6).is_err());
    }
}
