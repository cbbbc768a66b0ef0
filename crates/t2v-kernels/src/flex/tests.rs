//! Every operator against Burn's own, at sizes that are no multiple of a vector's or a block's.

use burn::{
    module::Param,
    nn::{
        GroupNormConfig, Linear, PaddingConfig2d,
        conv::{Conv2dConfig, Conv3dConfig},
    },
    tensor::{DType, Device, Distribution, Tensor, Tolerance, activation},
};
use half::bf16;

use super::product::{Bias, Matrix, RightSide, Target};
use crate::{Activation, ChannelRmsNorm, LayerNorm, Products, linear, merge_frames, split_frames};

fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.3, 1.5), &Device::flex())
}

#[track_caller]
fn assert_same<const D: usize>(actual: Result<Tensor<D>, impl Sized>, expected: Tensor<D>) {
    assert_within(2e-5, actual, expected);
}

#[track_caller]
fn assert_within<const D: usize>(tolerance: f32, actual: Result<Tensor<D>, impl Sized>, expected: Tensor<D>) {
    let Ok(actual) = actual else {
        panic!("the operator didn't take its input");
    };
    let tolerance = Tolerance::rel_abs(tolerance, tolerance);
    actual
        .into_data()
        .assert_approx_eq::<f32>(&expected.into_data(), tolerance);
}

#[test]
fn activations() {
    let x = random([3, 5, 7, 401]) * 4.0;
    for (kind, expected) in [
        (Activation::Silu, activation::silu(x.clone())),
        (Activation::Gelu, activation::gelu(x.clone())),
        (Activation::GeluNew, activation::gelu_approximate(x.clone())),
        (
            Activation::QuickGelu,
            x.clone() * activation::sigmoid(x.clone() * 1.702),
        ),
        (Activation::Relu, activation::relu(x.clone())),
        (Activation::Mish, activation::mish(x.clone())),
    ] {
        assert_same(super::activate(kind, x.clone()), expected.clone());
        let permuted = x.clone().permute([2, 0, 3, 1]);
        assert_same(super::activate(kind, permuted), expected.permute([2, 0, 3, 1]));
    }
}

#[test]
fn activation_leaves_other_holders_alone() {
    let x = random([2, 100]);
    let before = x.clone().into_data();
    let _ = super::activate(Activation::Relu, x.clone());
    assert_eq!(x.into_data(), before);
}

#[test]
fn geglu() {
    let x = random([2, 7, 26]);
    let halves = x.clone().chunk(2, 2);
    let expected = halves[0].clone() * activation::gelu(halves[1].clone());
    assert_same(super::geglu(x), expected);
}

#[test]
fn group_norms() {
    for (shape, groups, frames) in [
        ([3, 6, 5, 7], 3, 1),
        ([6, 8, 3, 3], 2, 3),
        ([4, 32, 40, 41], 32, 2),
        // Planes of which two, and none, are activated together.
        ([1, 6, 70, 90], 2, 1),
        ([2, 4, 130, 130], 2, 2),
    ] {
        let mut norm = GroupNormConfig::new(groups, shape[1])
            .with_epsilon(1e-6)
            .init(&Device::flex());
        norm.gamma = Some(Param::from_tensor(random([shape[1]])));
        norm.beta = Some(Param::from_tensor(random([shape[1]])));
        let x = random(shape) + 20.0;
        let expected = merge_frames(norm.forward(split_frames(x.clone(), frames)));
        assert_same(super::group_norm(&norm, x.clone(), frames, None), expected.clone());
        let activated = super::group_norm(&norm, x, frames, Some(Activation::Silu));
        assert_same(activated, activation::silu(expected));
    }
}

/// Every height of a tile, every number of vectors, several blocks of the depth, and rows that have to be copied; right sides in f32,
/// and in bf16, for which some processors have tiles. None may add more than the rounding of f32.
#[test]
fn products() {
    let value = |i: usize| (i * 7919 % 1009) as f32 / 504.5 - 1.0;
    let values: Vec<f32> = (0..2_500_000).map(value).collect();
    let in_bf16: Vec<f32> = values.iter().map(|value| bf16::from_f32(*value).to_f32()).collect();
    for (rows, depth, columns) in [
        (1, 1, 1),
        (2, 3, 16),
        (7, 5, 31),
        (15, 385, 97),
        (24, 1100, 144),
        (3, 1000, 50),
        (33, 16, 16),
        (70, 385, 97),
        (300, 100, 40),
    ] {
        let lefts = [[depth, 1], [1, rows], [2048, 1], [3, 1100]];
        for (case, strides) in lefts.into_iter().enumerate() {
            let left = Matrix::new(&values[case..], [rows, depth], strides);
            let right_strides = if case % 2 == 0 { [columns, 1] } else { [1, depth + 5] };
            let stride = columns + case;
            let bias = &values[1000..];
            for (right, shape) in [
                (&values, RightSide::new(depth, columns)),
                (&in_bf16, RightSide::in_bf16(depth, columns)),
            ] {
                let right = Matrix::new(&right[9..], [depth, columns], right_strides);
                let mut packed = vec![f32::NAN; shape.len()];
                shape.pack(right, &mut packed);
                for (bias, add) in [
                    (Bias::None, false),
                    (Bias::Rows(bias), true),
                    (Bias::Columns(bias), true),
                ] {
                    let before = &values[500..][..rows * stride];
                    let mut out = before.to_vec();
                    let values = &mut out;
                    shape.multiply(left, &packed, bias, Target { values, stride, add });
                    for (i, (out, before)) in out.iter().zip(before).enumerate() {
                        let (row, column) = (i / stride, i % stride);
                        if column >= columns {
                            assert_eq!(out, before, "what is beside the product is not the product's");
                            continue;
                        }
                        let product = |k| f64::from(left.at(row, k)) * f64::from(right.at(k, column));
                        let (sum, size) =
                            (0..depth).fold((0.0, 1.0), |(sum, size), k| (sum + product(k), size + product(k).abs()));
                        let bias = match bias {
                            Bias::None => 0.0,
                            Bias::Rows(bias) => bias[row],
                            Bias::Columns(bias) => bias[column],
                        };
                        let expected = sum + f64::from(bias) + if add { f64::from(*before) } else { 0.0 };
                        let rounding = (3e-7 + 1e-8 * depth as f64) * size;
                        assert!(
                            (f64::from(*out) - expected).abs() < rounding,
                            "{rows} {depth} {columns} {case}: {out}, {expected}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn linear_layers() {
    for (rows, bias) in [(1, true), (4, false), (9, true), (37, false), (64, true)] {
        for transposed_weight in [false, true] {
            let weight = match transposed_weight {
                false => random([21, 34]),
                true => random([34, 21]).transpose(),
            };
            let layer = Linear {
                weight: Param::from_tensor(weight),
                bias: bias.then(|| Param::from_tensor(random([34]))),
            };
            let x = random([3, rows, 21]);
            let residual = random([3, rows, 34]);
            let sum = super::linear_add(Products::Exact, &layer, x.clone(), residual.clone());
            assert_same(sum, layer.forward(x.clone()) + residual);
            assert_same(super::linear(Products::Exact, &layer, x.clone()), layer.forward(x));
            let view = random([3, 21, rows]).swap_dims(1, 2);
            assert_same(
                super::linear(Products::Exact, &layer, view.clone()),
                layer.forward(view),
            );
            let part = random([3, rows, 50]).slice([0..3, 0..rows, 20..41]);
            assert_same(
                super::linear(Products::Exact, &layer, part.clone()),
                layer.forward(part),
            );
        }
    }
}

/// The largest number is multiplied like others, and what is no number doesn't become one.
#[test]
fn products_of_extreme_numbers() {
    const SIDE: usize = 40;
    let diagonal: Vec<f32> = (0..SIDE * SIDE)
        .map(|i| f32::from(u8::from(i % (SIDE + 1) == 0)))
        .collect();
    let mut left = diagonal.clone();
    (left[0], left[SIDE + 1]) = (f32::MAX, f32::from_bits(u32::MAX));
    for shape in [RightSide::new(SIDE, SIDE), RightSide::in_bf16(SIDE, SIDE)] {
        let mut packed = vec![0.0; shape.len()];
        shape.pack(Matrix::new(&diagonal, [SIDE; 2], [SIDE, 1]), &mut packed);
        let (mut out, left) = (vec![0.0; SIDE * SIDE], Matrix::new(&left, [SIDE; 2], [SIDE, 1]));
        let target = Target {
            values: &mut out,
            stride: SIDE,
            add: false,
        };
        shape.multiply(left, &packed, Bias::None, target);
        assert_eq!(out[..2], [f32::MAX, 0.0]);
        assert!(out[SIDE + 1].is_nan());
        assert_eq!(out[2 * SIDE..], diagonal[2 * SIDE..]);
    }
}

#[test]
fn weights_in_half_precision() {
    for dtype in [DType::F16, DType::BF16] {
        let halved = |weight: Tensor<2>| (weight.clone().cast(dtype), weight.cast(dtype).cast(DType::F32));
        let (half, whole) = halved(random([34, 21]));
        let layer = |weight: Tensor<2>| Linear {
            weight: Param::from_tensor(weight.transpose()),
            bias: Some(Param::from_tensor(random([34]).zeros_like() + 0.5)),
        };
        let x = random([3, 7, 21]);
        assert_same(
            super::linear(Products::Exact, &layer(half), x.clone()),
            layer(whole).forward(x),
        );

        let mut conv = Conv2dConfig::new([5, 13], [3, 3]).init(&Device::flex());
        let (half, whole) = halved(random([13, 45]));
        let x = random([2, 5, 11, 18]);
        conv.weight = Param::from_tensor(whole.reshape([13, 5, 3, 3]));
        let expected = conv.forward(x.clone());
        conv.weight = Param::from_tensor(half.reshape([13, 5, 3, 3]));
        assert_same(super::conv2d(&conv, x.clone()), expected.clone());
        // An operator that is left to Burn.
        conv.dilation = [2, 2];
        let by_burn = crate::conv2d(&conv, x.clone());
        conv.weight = Param::from_tensor(conv.weight.val().cast(DType::F32));
        assert_same::<4>(Ok::<_, ()>(by_burn), conv.forward(x));
    }
}

/// Several blocks of the depth and of the columns, in every precision and order of a weight; then enough rows that it is packed as a
/// whole.
#[test]
fn linear_layers_of_few_and_of_many_rows() {
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        for in_torch_layout in [true, false] {
            // Rows of 1024 elements are copied first.
            let d_in = if dtype == DType::F16 { 1024 } else { 801 };
            let shape = if in_torch_layout { [205, d_in] } else { [d_in, 205] };
            let weight = random(shape).cast(dtype);
            let layer = |weight: Tensor<2>| Linear {
                weight: Param::from_tensor(if in_torch_layout { weight.transpose() } else { weight }),
                bias: Some(Param::from_tensor(random([205]).zeros_like() + 0.5)),
            };
            for rows in [1, 13, 170] {
                let (x, residual) = (random([2, rows, d_in]), random([2, rows, 205]));
                let expected = layer(weight.clone().cast(DType::F32)).forward(x.clone());
                let layer = layer(weight.clone());
                assert_within(
                    2e-4,
                    super::linear(Products::Exact, &layer, x.clone()),
                    expected.clone(),
                );
                let sum = super::linear_add(Products::Exact, &layer, x, residual.clone());
                assert_within(2e-4, sum, expected + residual);
            }
        }
    }
}

#[test]
fn linear_layers_to_images() {
    for bias in [true, false] {
        let layer = linear(21, 34, bias, &Device::flex());
        let (tokens, image) = (random([3, 35, 21]), random([3, 34, 5, 7]));
        let projected = layer.forward(tokens.clone()).swap_dims(1, 2).reshape([3, 34, 5, 7]);
        let expected = projected + image.clone();
        assert_same(super::linear_to_image(Products::Exact, &layer, tokens, image), expected);
    }
}

#[test]
fn feed_forward_layers() {
    let (proj, out) = (
        linear(12, 96, true, &Device::flex()),
        linear(48, 12, true, &Device::flex()),
    );
    let (x, residual) = (random([3, 101, 12]), random([3, 101, 12]));
    let halves = proj.forward(x.clone()).chunk(2, 2);
    let expected = out.forward(halves[0].clone() * activation::gelu(halves[1].clone())) + residual.clone();
    assert_same(
        super::feed_forward(Products::Exact, [&proj, &out], x, residual),
        expected,
    );
}

/// Of enough tokens to be taken, in two sizes of blocks, with weights in single and in half precision.
#[test]
fn layers_with_an_activation_between() {
    for (dtype, tolerance) in [(DType::F32, 2e-5), (DType::BF16, 1e-2)] {
        for activation in [Activation::GeluNew, Activation::Silu] {
            let device = Device::flex();
            let [mut proj, mut out] = [linear(12, 50, true, &device), linear(50, 9, true, &device)];
            let (x, half) = (random([3, 101, 12]), |weight: Tensor<2>| weight.cast(dtype));
            let expected = out.forward(activation.forward(proj.forward(x.clone())));
            for layer in [&mut proj, &mut out] {
                layer.weight = Param::from_tensor(half(layer.weight.val()));
            }
            let view = x.clone().swap_dims(1, 2).mul_scalar(1.0).swap_dims(1, 2);
            for x in [x, view] {
                assert_within(
                    tolerance,
                    super::mlp(Products::Exact, [&proj, &out], activation, x),
                    expected.clone(),
                );
            }
        }
    }
    let [wide, narrow] = [
        linear(300, 300, true, &Device::flex()),
        linear(300, 300, true, &Device::flex()),
    ];
    let few = super::mlp(Products::Exact, [&wide, &narrow], Activation::Silu, random([1, 3, 300]));
    assert!(few.is_err(), "few tokens are left to the layers");
}

#[test]
fn layer_norms() {
    let mut norm = LayerNorm::new(35, 1e-3, &Device::flex());
    norm.gamma = Param::from_tensor(random([35]));
    norm.beta = Param::from_tensor(random([35]));
    let x = random([3, 700, 35]) + 5.0;
    let expected = burn::tensor::module::layer_norm(x.clone(), norm.gamma.val(), Some(norm.beta.val()), norm.epsilon);
    assert_same(super::layer_norm(&norm, x), expected);
}

#[test]
fn sums() {
    let (x, y) = (random([3, 7, 11, 13]), random([3, 7, 11, 13]));
    let before = x.clone().into_data();
    assert_same(super::add(x.clone(), y.clone()), x.clone() + y.clone());
    let view = random([3, 7, 13, 11]).swap_dims(2, 3);
    assert_same(super::add(x.clone(), view.clone()), x.clone() + view.clone());
    assert_same(super::add(view.clone(), x.clone()), view + x.clone());
    assert!(super::add(x.clone(), y.narrow(0, 0, 1)).is_err());
    let shift = random([3, 7]);
    let expected = x.clone() + shift.clone().unsqueeze_dims(&[2, 3]);
    assert_same(super::add_to_channels(x.clone(), shift), expected);
    assert_eq!(x.into_data(), before, "another holder's tensor changed");
}

#[test]
fn convolutions() {
    let padded = |p: [usize; 4]| PaddingConfig2d::Explicit(p[0], p[1], p[2], p[3]);
    for (kernel, stride, padding) in [
        ([3, 3], [1, 1], padded([1, 1, 1, 1])),
        ([3, 3], [2, 2], padded([0, 0, 1, 1])),
        ([3, 3], [2, 2], padded([1, 1, 1, 1])),
        ([1, 1], [1, 1], PaddingConfig2d::Valid),
        ([1, 3], [1, 2], padded([0, 2, 0, 1])),
        ([2, 3], [3, 2], padded([1, 2, 0, 1])),
    ] {
        // Then some of few pixels, which are multiplied together.
        for (batch, [height, width], bias) in [
            (1, [11, 18], true),
            (3, [11, 18], false),
            (6, [2, 2], true),
            (6, [4, 4], true),
            (6, [3, 7], true),
            (6, [7, 3], true),
        ] {
            let conv = Conv2dConfig::new([5, 13], kernel)
                .with_stride(stride)
                .with_padding(padding.clone())
                .with_bias(bias)
                .init(&Device::flex());
            let x = random([batch, 5, height, width]);
            assert_same(super::conv2d(&conv, x.clone()), conv.forward(x));
            let view = random([batch, height, width, 5]).permute([0, 3, 1, 2]);
            assert_same(super::conv2d(&conv, view.clone()), conv.forward(view));
        }
    }
}

#[test]
fn convolutions_by_winograd() {
    for (batch, [from, to], [height, width], padding) in [
        (1, [64, 5], [41, 70], [1, 1, 1, 1]),
        (3, [67, 33], [12, 11], [1, 1, 1, 1]),
        (5, [64, 64], [8, 8], [0, 0, 0, 0]),
        (3, [80, 7], [15, 9], [2, 0, 0, 1]),
        // Several blocks of columns, with kernels that are kept for all of them, and with too many for that.
        (2, [900, 300], [60, 61], [1, 1, 1, 1]),
        (2, [900, 520], [40, 61], [1, 1, 1, 1]),
    ] {
        let [top, left, bottom, right] = padding;
        let conv = Conv2dConfig::new([from, to], [3, 3])
            .with_padding(PaddingConfig2d::Explicit(top, left, bottom, right))
            .init(&Device::flex());
        let x = random([batch, from, height, width]);
        // The transforms have rounding errors of their own.
        assert_within(5e-5, super::conv2d(&conv, x.clone()), conv.forward(x));
    }
}

#[test]
fn convolutions_in_time_by_winograd() {
    for (frames, [from, to], [height, width]) in [(16, [64, 5], [4, 4]), (7, [67, 33], [5, 7]), (8, [64, 40], [30, 21])]
    {
        let conv = Conv3dConfig::new([from, to], [3, 1, 1])
            .with_padding(burn::nn::PaddingConfig3d::Explicit(1, 0, 0))
            .init(&Device::flex());
        let x = random([2 * frames, from, height, width]);
        let expected = merge_frames(conv.forward(split_frames(x.clone(), frames)));
        assert_same(super::conv_time(&conv, x, frames), expected);
    }
}

#[test]
fn convolutions_of_other_kinds_are_left_alone() {
    let grouped = Conv2dConfig::new([4, 4], [3, 3]).with_groups(2).init(&Device::flex());
    assert!(super::conv2d(&grouped, random([1, 4, 5, 5])).is_err());
    let half = random([1, 4, 5, 5]).cast(DType::F16);
    assert!(super::activate(Activation::Silu, half).is_err());
}

#[test]
fn convolutions_in_time() {
    for frames in [1, 2, 5] {
        let conv = Conv3dConfig::new([6, 9], [3, 1, 1])
            .with_padding(burn::nn::PaddingConfig3d::Explicit(1, 0, 0))
            .init(&Device::flex());
        let x = random([2 * frames, 6, 3, 5]);
        let expected = merge_frames(conv.forward(split_frames(x.clone(), frames)));
        assert_same(super::conv_time(&conv, x, frames), expected);
    }
}

#[test]
fn batches_after_themselves() {
    for shape in [[1, 2, 3], [3, 70, 130], [2, 0, 5]] {
        let x: Tensor<3> = random(shape);
        for x in [x.clone(), x.swap_dims(1, 2)] {
            assert_same(super::repeat_batch(x.clone(), 3), Tensor::cat(vec![x; 3], 0));
        }
    }
}

#[test]
fn channels_after_channels() {
    let (x, y) = (random([3, 5, 4, 7]), random([3, 2, 4, 7]));
    assert_same(
        super::cat_channels(x.clone(), y.clone()),
        Tensor::cat(vec![x.clone(), y], 1),
    );
    assert!(super::cat_channels(x, random([3, 2, 4, 6])).is_err());
}

#[test]
fn doubling() {
    let x = random([2, 3, 5, 7]);
    let wide = x.clone().reshape([2, 3, 5, 1, 7, 1]).expand([2, 3, 5, 2, 7, 2]);
    assert_same(super::upsample_2x(x), wide.reshape([2, 3, 10, 14]));
}

#[test]
fn norms_over_channels() {
    for shape in [[1, 5, 3, 7], [2, 24, 67, 41], [3, 96, 8, 8]] {
        let norm = ChannelRmsNorm {
            gamma: Param::from_tensor(random([shape[1]])),
        };
        // A pixel of zeros stays one.
        let mask = Tensor::<4>::random(
            [shape[0], 1, shape[2], shape[3]],
            Distribution::Bernoulli(0.8),
            &Device::flex(),
        );
        let x = random(shape) * mask;
        let length = x.clone().square().sum_dim(1).sqrt().clamp_min(1e-12);
        let gamma = norm.gamma.val().reshape([1, shape[1] as i32, 1, 1]) * (shape[1] as f64).sqrt();
        let expected = x.clone() / length * gamma;
        assert_same(super::channel_rms_norm(&norm, x.clone(), None), expected.clone());
        let activated = activation::silu(expected);
        assert_same(
            super::channel_rms_norm(&norm, x.clone(), Some(Activation::Silu)),
            activated.clone(),
        );
        let last = x.permute([0, 2, 3, 1]).mul_scalar(1.0).permute([0, 3, 1, 2]);
        assert_same(super::channel_rms_norm(&norm, last, Some(Activation::Silu)), activated);
    }
}

#[test]
fn convolutions_of_images_in_turns() {
    // By Winograd's algorithm, by patches of joined and of single images, and by pixels; the frames lie in one tensor.
    for (batch, channels, kernel, size) in [
        (1, 32, 3, [21, 18]),
        (2, 24, 3, [9, 30]),
        (3, 4, 3, [4, 5]),
        (1, 7, 3, [12, 9]),
        (2, 6, 1, [9, 7]),
    ] {
        let mut conv = Conv2dConfig::new([3 * channels, 10], [kernel, kernel])
            .with_padding(PaddingConfig2d::Explicit(
                kernel / 2,
                kernel / 2,
                kernel / 2,
                kernel / 2,
            ))
            .init(&Device::flex());
        conv.weight = Param::from_tensor(random([10, 3 * channels, kernel, kernel]) * 0.1);
        let frames = random([5 * batch, channels, size[0], size[1]]);
        let from = |first: usize| frames.clone().slice_dim(0, first * batch..(first + 1) * batch);
        let images = [from(0), from(3), from(1)];
        let turns: Tensor<5> = Tensor::stack(images.to_vec(), 2);
        let expected = conv.forward(turns.reshape([batch, 3 * channels, size[0], size[1]]));
        assert_within(5e-5, super::conv2d_turns(&conv, &images).ok_or(()), expected);
    }
}
