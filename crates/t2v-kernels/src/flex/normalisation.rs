//! Group normalisation and normalisation over channels, with the activation after them, and layer normalisation.

use burn::{nn::GroupNorm, tensor::Tensor};
use rayon::prelude::*;
use rten_simd::{Isa, SimdOp};
use rten_vecmath::{Normalize, NormalizeOptions, Sum, SumSquareSub};

use super::{
    CHUNK, buffer::Scratch, elements, elementwise::activate_slice, map_rows, parameter, scratch, simd::run, tensor,
    try_into_contiguous,
};
use crate::{Activation, ChannelRmsNorm, LayerNorm, norm::LEAST_LENGTH};

/// Elements whose sum is taken in f32 before it is added up in f64.
const PARTIAL_SUM: usize = 4096;

/// Mean and variance of what `parts` hold together, the latter about the mean.
fn moments(parts: &[&[f32]]) -> (f64, f64) {
    let sum = |of: &dyn Fn(&[f32]) -> f32| -> f64 {
        let pieces = parts.iter().flat_map(|part| part.chunks(PARTIAL_SUM));
        pieces.map(|piece| f64::from(of(piece))).sum()
    };
    let len = parts.iter().map(|part| part.len()).sum::<usize>() as f64;
    let mean = sum(&|x| run(Sum::new(x))) / len;
    let variance = sum(&|x| run(SumSquareSub::new(x, mean as f32))) / len;
    (mean, variance)
}

/// Normalises `[batch * frames, channels, ...]`; a group is made of its channels in all the `frames` of a batch entry.
pub(crate) fn group_norm<const D: usize>(
    norm: &GroupNorm,
    x: Tensor<D>,
    frames: usize,
    activation: Option<Activation>,
) -> Result<Tensor<D>, Tensor<D>> {
    let shape = x.dims();
    let (rows, channels) = (shape[0], shape[1]);
    let area: usize = shape[2..].iter().product();
    let affine = |p: &Option<burn::module::Param<Tensor<1>>>| p.as_ref().and_then(|p| parameter(p.val()));
    let (Some(gamma), Some(beta)) = (affine(&norm.gamma), affine(&norm.beta)) else {
        return Err(x);
    };
    let (gamma, beta) = (elements(&gamma), elements(&beta));
    let x = try_into_contiguous(x)?;
    let (groups, width) = (norm.num_groups, channels / norm.num_groups * area);
    let statistics = |parts: &[&[f32]]| {
        let (mean, variance) = moments(parts);
        (mean as f32, (1.0 / (variance + norm.epsilon).sqrt()) as f32)
    };
    // Those of one frame are taken when it is normalised, for which it then is in a cache.
    let of_clips: Vec<(f32, f32)> = if frames > 1 {
        let x = elements(&x);
        (0..rows / frames * groups)
            .into_par_iter()
            .map(|index| {
                let (entry, group) = (index / groups, index % groups);
                let start = |frame| ((entry * frames + frame) * groups + group) * width;
                let parts: Vec<&[f32]> = (0..frames).map(|f| &x[start(f)..start(f) + width]).collect();
                statistics(&parts)
            })
            .collect()
    } else {
        Vec::new()
    };
    let values = map_rows(x, width, |index, values| {
        let (row, group) = (index / groups, index % groups);
        let (mean, scale) = match frames {
            1 => statistics(&[values]),
            _ => of_clips[row / frames * groups + group],
        };
        let of_group = group * channels / groups..(group + 1) * channels / groups;
        // Planes that are still in the cache when they are activated.
        let planes = (CHUNK / area).max(1);
        let [gamma, beta] = [gamma, beta].map(|values| values[of_group.clone()].chunks(planes));
        for ((values, gamma), beta) in values.chunks_mut(planes * area).zip(gamma).zip(beta) {
            run(NormalisePlanes {
                values: &mut *values,
                area,
                mean,
                scale,
                gamma,
                beta,
            });
            if let Some(activation) = activation {
                activate_slice(activation, values);
            }
        }
    });
    Ok(tensor(values, shape))
}

/// Normalises channels of a group, `area` elements each, multiplies each by its `gamma` and adds its `beta`.
struct NormalisePlanes<'a> {
    values: &'a mut [f32],
    area: usize,
    mean: f32,
    scale: f32,
    gamma: &'a [f32],
    beta: &'a [f32],
}

impl SimdOp for NormalisePlanes<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let planes = self.values.chunks_exact_mut(self.area);
        for ((plane, gamma), beta) in planes.zip(self.gamma).zip(self.beta) {
            let options = NormalizeOptions {
                pre_scale_bias: self.mean,
                scale: self.scale * gamma,
                bias: *beta,
                ..Default::default()
            };
            Normalize::new_mut(plane, options).eval(isa);
        }
    }
}

/// Normalises each token, in the place of `x` where nobody else holds it.
pub(crate) fn layer_norm(norm: &LayerNorm, x: Tensor<3>) -> Result<Tensor<3>, Tensor<3>> {
    let shape = x.dims();
    let (Some(gamma), Some(beta)) = (parameter(norm.gamma.val()), parameter(norm.beta.val())) else {
        return Err(x);
    };
    let (gamma, beta) = (elements(&gamma), elements(&beta));
    let values = map_rows(try_into_contiguous(x)?, shape[2], |_, token| {
        normalise_token(token, [gamma, beta], norm.epsilon);
    });
    Ok(tensor(values, shape))
}

/// Normalises each token without parameters, multiplies it by `1 + scale` and adds `shift`, each `[runs, dim]`: those of the
/// token's run.
pub(crate) fn modulated_norm(
    x: Tensor<3>,
    scale: Tensor<2>,
    shift: Tensor<2>,
    epsilon: f64,
) -> Result<Tensor<3>, Tensor<3>> {
    let (shape, runs) = (x.dims(), scale.dims()[0]);
    let [_, tokens, width] = shape;
    let (Some(scale), Some(shift)) = (parameter(scale + 1.0), parameter(shift)) else {
        return Err(x);
    };
    let (scale, shift) = (elements(&scale), elements(&shift));
    let values = map_rows(try_into_contiguous(x)?, width, |row, token| {
        let first = row % tokens / (tokens / runs) * width;
        let of_run = [scale, shift].map(|values| &values[first..][..width]);
        normalise_token(token, of_run, epsilon);
    });
    Ok(tensor(values, shape))
}

/// Normalises a token, multiplies its channels and adds to them.
fn normalise_token(token: &mut [f32], [scale, shift]: [&[f32]; 2], epsilon: f64) {
    let (mean, variance) = moments(&[token]);
    let options = NormalizeOptions {
        pre_scale_bias: mean as f32,
        scale: (1.0 / (variance + epsilon).sqrt()) as f32,
        element_scale: Some(scale),
        element_bias: Some(shift),
        ..Default::default()
    };
    run(Normalize::new_mut(token, options));
}

/// Pixels whose sums over the channels stay in the cache.
const PIXELS: usize = 1 << 11;

/// Normalises each pixel of `[batch, channels, height, width]` over its channels.
pub(crate) fn channel_rms_norm(
    norm: &ChannelRmsNorm,
    x: Tensor<4>,
    activation: Option<Activation>,
) -> Result<Tensor<4>, Tensor<4>> {
    let shape = x.dims();
    let [batch, channels, height, width] = shape;
    let area = height * width;
    let Some(gamma) = parameter(norm.gamma.val()) else {
        return Err(x);
    };
    let x = try_into_contiguous(x)?;
    let (gamma, values) = (elements(&gamma), elements(&x));
    let mut scales = Scratch::new(batch * area);
    for (image, scales) in values.chunks(channels * area).zip(scales.chunks_mut(area)) {
        scales.par_chunks_mut(PIXELS).enumerate().for_each(|(index, scales)| {
            let first = index * PIXELS;
            run(PixelScales {
                image,
                area,
                first,
                scales,
            });
        });
    }
    let mut out = scratch(values.len());
    out.par_chunks_mut(area).enumerate().for_each(|(plane, out)| {
        let scales = &scales[plane / channels * area..][..area];
        let values = &values[plane * area..][..area];
        let parts = values.chunks(PIXELS).zip(scales.chunks(PIXELS));
        for (out, (values, scales)) in out.chunks_mut(PIXELS).zip(parts) {
            let gamma = gamma[plane % channels];
            run(Scaled {
                values,
                scales,
                gamma,
                out: &mut *out,
            });
            if let Some(activation) = activation {
                activate_slice(activation, out);
            }
        }
    });
    Ok(tensor(out, shape))
}

/// Writes what pixels of an image, the `first` and those after it, are to be multiplied with.
struct PixelScales<'a> {
    /// `[channels, area]`
    image: &'a [f32],
    area: usize,
    first: usize,
    scales: &'a mut [f32],
}

impl SimdOp for PixelScales<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, _: I) {
        self.scales.fill(0.0);
        for plane in self.image.chunks_exact(self.area) {
            let values = &plane[self.first..][..self.scales.len()];
            for (sum, value) in self.scales.iter_mut().zip(values) {
                *sum += value * value;
            }
        }
        let root = ((self.image.len() / self.area) as f32).sqrt();
        for scale in self.scales.iter_mut() {
            *scale = root / scale.sqrt().max(LEAST_LENGTH);
        }
    }
}

/// Writes the products of values, their scales and one factor.
struct Scaled<'a> {
    values: &'a [f32],
    scales: &'a [f32],
    gamma: f32,
    out: &'a mut [f32],
}

impl SimdOp for Scaled<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, _: I) {
        for (out, (value, scale)) in self.out.iter_mut().zip(self.values.iter().zip(self.scales)) {
            *out = value * scale * self.gamma;
        }
    }
}
