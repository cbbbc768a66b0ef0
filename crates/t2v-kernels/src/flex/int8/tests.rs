//! Against plain arithmetic, to the bit, and against layers in floats.

use burn::{
    module::Param,
    nn::Linear,
    tensor::{DType, Device, Distribution, Tensor},
};

use super::{
    super::product::{Matrix, Target},
    Columns, Instructions, LEAST_ROWS, Room, Rows,
};
use crate::{Activation, Products, linear};

fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.1, 1.0), &Device::flex())
}

fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().try_into_vec().unwrap()
}

/// A row's integers and step.
fn quantised(row: &[f32]) -> (Vec<i32>, f32) {
    let largest = row.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
    if largest < 1e-30 {
        return (vec![0; row.len()], 0.0);
    }
    let integer = |x: &f32| (x * (127.0 / largest)).round_ties_even() as i32;
    (row.iter().map(integer).collect(), largest / 127.0)
}

/// `rows columns + bias`, where `columns` has a line for each.
fn product(rows: &[f32], columns: &[f32], bias: &[f32], depth: usize) -> Vec<f32> {
    let columns: Vec<_> = columns.chunks(depth).map(quantised).collect();
    let product = |row: &[f32]| -> Vec<f32> {
        let (row, step) = quantised(row);
        let of_column = |((column, column_step), bias): (&(Vec<i32>, f32), &f32)| {
            let sum: i32 = row.iter().zip(column).map(|(a, b)| a * b).sum();
            sum as f32 * (column_step * step) + bias
        };
        columns.iter().zip(bias).map(of_column).collect()
    };
    rows.chunks(depth).flat_map(product).collect()
}

fn present() -> Vec<Instructions> {
    let all = [Instructions::Avx2, Instructions::Vnni];
    all.into_iter()
        .filter(|instructions| instructions.are_there())
        .collect()
}

fn packed(instructions: Instructions, columns: &[f32], depth: usize, bias: Option<&[f32]>) -> Columns {
    let count = columns.len() / depth;
    let mut packed = Columns::new(instructions, [depth, count], bias);
    for mut panel in packed.panels() {
        // In two parts, the first of which ends within a vector.
        let (start, len) = (panel.columns.start, panel.columns.len());
        for [first, count] in [[0, len.min(5)], [len.min(5), len - len.min(5)]] {
            let lines = &columns[(start + first) * depth..][..count * depth];
            panel.pack(
                first,
                Matrix::new(lines, [count, depth], [depth, 1]),
                &mut Room::default(),
            );
        }
    }
    packed
}

#[test]
fn sums_are_exact_at_any_size_and_with_all_instructions() {
    for instructions in present() {
        for [rows, depth, columns] in [
            [1, 1, 1],
            [2, 3, 5],
            [7, 5, 16],
            [8, 64, 48],
            [9, 127, 49],
            [15, 33, 97],
            [17, 320, 31],
            [23, 1026, 15],
        ] {
            let (x, weight, bias) = (random([rows, depth]), random([columns, depth]), random([columns]));
            let (x, weight, bias) = (values(x), values(weight), values(bias));
            let weight_of = packed(instructions, &weight, depth, Some(&bias));
            let expected = product(&x, &weight, &bias, depth);
            let stride = columns + 3;
            let mut room = Rows::default();
            // In order, and as the transpose of what is in order; written, and added to what is there.
            let transposed: Vec<f32> = (0..rows * depth).map(|i| x[i % rows * depth + i / rows]).collect();
            for matrix in [
                Matrix::new(&x, [rows, depth], [depth, 1]),
                Matrix::new(&transposed, [rows, depth], [1, rows]),
            ] {
                for add in [false, true] {
                    let mut out = vec![0.5; rows * stride];
                    room.fill(matrix, instructions);
                    let values = &mut out[..];
                    weight_of.multiply(&room, Target { values, stride, add });
                    for (out, expected) in out.chunks(stride).zip(expected.chunks(columns)) {
                        let start = if add { 0.5 } else { 0.0 };
                        let expected: Vec<f32> = expected.iter().map(|x| x + start).collect();
                        assert_eq!(out[..columns], expected, "{instructions:?}, {rows} {depth} {columns}");
                        assert_eq!(out[columns..], [0.5; 3]);
                    }
                }
            }
        }
    }
}

/// The largest sums that there are, of both signs.
#[test]
fn sums_do_not_overflow() {
    let depth = super::MOST_DEPTH;
    let x: Vec<f32> = [1.0, -1.0].iter().flat_map(|x| vec![*x; depth]).collect();
    for instructions in present() {
        let columns = packed(instructions, &x, depth, None);
        let (mut rows, mut out) = (Rows::default(), [0.0; 4]);
        rows.fill(Matrix::new(&x, [2, depth], [depth, 1]), instructions);
        let values = &mut out[..];
        columns.multiply(
            &rows,
            Target {
                values,
                stride: 2,
                add: false,
            },
        );
        let expected = depth as f32;
        for (out, expected) in out.iter().zip([expected, -expected, -expected, expected]) {
            assert!((out / expected - 1.0).abs() < 1e-6, "{instructions:?}: {out}");
        }
    }
}

#[test]
fn what_is_not_finite_stays_so_and_stays_where_it_is() {
    let (rows, depth, columns) = (9, 70, 50);
    for instructions in present() {
        for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for at in [0, 35, depth - 1] {
                let (mut x, mut weight) = (values(random([rows, depth])), values(random([columns, depth])));
                x[3 * depth + at] = bad;
                weight[48 * depth + at] = bad;
                let weight = packed(instructions, &weight, depth, None);
                let (mut room, mut out) = (Rows::default(), vec![0.0; rows * columns]);
                room.fill(Matrix::new(&x, [rows, depth], [depth, 1]), instructions);
                let values = &mut out[..];
                weight.multiply(
                    &room,
                    Target {
                        values,
                        stride: columns,
                        add: false,
                    },
                );
                for (i, out) in out.iter().enumerate() {
                    let is_bad = i / columns == 3 || i % columns == 48;
                    assert_eq!(out.is_nan(), is_bad, "{instructions:?}: {out} at {i}");
                }
            }
        }
    }
}

#[test]
fn zeros_and_what_is_next_to_them_give_the_bias() {
    let (depth, columns) = (40, 3);
    let rows: Vec<f32> = [0.0, 1e-31, -1e-45, 1.0].iter().flat_map(|x| vec![*x; depth]).collect();
    for instructions in present() {
        let weight = packed(instructions, &vec![0.5; depth * columns], depth, Some(&[1.0, 2.0, 3.0]));
        let (mut room, mut out) = (Rows::default(), [0.0; 12]);
        room.fill(Matrix::new(&rows, [4, depth], [depth, 1]), instructions);
        let values = &mut out[..];
        weight.multiply(
            &room,
            Target {
                values,
                stride: columns,
                add: false,
            },
        );
        assert_eq!(out[..9], [1.0, 2.0, 3.0].repeat(3));
        assert!((out[9] - 21.0).abs() < 1e-4, "{}", out[9]);
    }
}

/// The root of the mean square of the difference, by that of what is expected.
fn error<const D: usize>(actual: Tensor<D>, expected: Tensor<D>) -> f32 {
    let square = |x: Tensor<D>| x.powi_scalar(2).mean().into_scalar::<f32>();
    (square(actual - expected.clone()) / square(expected)).sqrt()
}

/// Near the exact result, and another one where there are instructions.
#[track_caller]
fn assert_near<const D: usize>(actual: Tensor<D>, expected: Tensor<D>) {
    let error = error(actual, expected);
    let expected = match Instructions::best() {
        Some(_) => 1e-3..2e-2,
        None => 0.0..1e-6,
    };
    assert!(expected.contains(&error), "{error}");
}

#[test]
fn layers_are_near_exact_ones() {
    let device = Device::flex();
    let int8 = Products::Int8;
    for [batch, tokens, d_in, d_out] in [[1, LEAST_ROWS, 32, 7], [3, 131, 100, 49], [2, 300, 65, 130]] {
        for bias in [false, true] {
            let mut layer = linear(d_in, d_out, bias, &device);
            layer.weight = Param::from_tensor(random([d_out, d_in]).transpose());
            let x = random([batch, tokens, d_in]);
            assert_near(int8.project(&layer, x.clone()), layer.forward(x.clone()));
            let view = random([batch, d_in, tokens]).swap_dims(1, 2);
            assert_near(int8.project(&layer, view.clone()), layer.forward(view));
            let residual = random([batch, tokens, d_out]);
            let expected = layer.forward(x.clone()) + residual.clone();
            assert_near(int8.project_add(&layer, x.clone(), residual), expected);
            let image = random([batch, d_out, tokens, 1]);
            let expected = layer.forward(x.clone()).swap_dims(1, 2).unsqueeze_dim(3) + image.clone();
            assert_near(int8.project_add_image(&layer, x.clone(), image), expected);
            // The other layout, and half precision, which is the same to the bit where it holds the weights.
            let half = layer.weight.val().cast(DType::F16);
            let with = |weight: Tensor<2>| Linear {
                weight: Param::from_tensor(weight),
                bias: layer.bias.clone(),
            };
            let in_torch_layout = int8.project(&with(half.clone()), x.clone());
            let in_order = Tensor::from_data(half.clone().into_data(), &device);
            for other in [half.cast(DType::F32), in_order] {
                let other = int8.project(&with(other), x.clone());
                assert_eq!(other.into_data(), in_torch_layout.clone().into_data());
            }
        }
    }
}

#[test]
fn feed_forward_layers_are_near_exact_ones() {
    let device = Device::flex();
    for [batch, tokens, dim] in [[1, 128, 40], [2, 77, 48]] {
        let [proj, out] = [[dim, 8 * dim], [4 * dim, dim]].map(|[d_in, d_out]| {
            let mut layer = linear(d_in, d_out, true, &device);
            layer.weight = Param::from_tensor(random([d_out, d_in]).transpose() / (d_in as f32).sqrt());
            layer
        });
        let (x, residual) = (random([batch, tokens, dim]), random([batch, tokens, dim]));
        let expected = Products::Exact.feed_forward(&proj, &out, x.clone(), residual.clone());
        assert_near(Products::Int8.feed_forward(&proj, &out, x, residual), expected);
    }
}

#[test]
fn layers_with_an_activation_between_are_near_exact_ones() {
    let device = Device::flex();
    let [first, second] = [[40, 100], [100, 33]].map(|[d_in, d_out]| {
        let mut layer = linear(d_in, d_out, true, &device);
        layer.weight = Param::from_tensor(random([d_out, d_in]).transpose() / (d_in as f32).sqrt());
        layer
    });
    let (x, activation) = (random([2, 101, 40]), Activation::GeluNew);
    let expected = Products::Exact.mlp(&first, activation, &second, x.clone());
    assert_near(Products::Int8.mlp(&first, activation, &second, x), expected);
}

/// Few tokens, and short ones, are multiplied exactly.
#[test]
fn small_products_are_exact() {
    let device = Device::flex();
    for [tokens, d_in] in [[LEAST_ROWS - 1, 64], [1, 320], [400, 31]] {
        let layer = linear(d_in, 40, true, &device);
        let x = random([1, tokens, d_in]);
        let exact = Products::Exact.project(&layer, x.clone());
        assert_eq!(Products::Int8.project(&layer, x).into_data(), exact.into_data());
    }
}

#[test]
fn a_layer_passes_on_what_is_not_finite() {
    let device = Device::flex();
    for bad in [f32::NAN, f32::INFINITY] {
        let layer = linear(64, 40, true, &device);
        let x = random([2, 100, 64]);
        let bad_x = x.clone().slice_fill([1..2, 50..51, 7..8], bad);
        let out = Products::Int8.project(&layer, bad_x);
        let expected_bad = out.clone().slice([1..2, 50..51]);
        assert!(values(expected_bad).iter().all(|x| !x.is_finite()));
        assert!(values(out.slice_dim(0, 0..1)).iter().all(|x| x.is_finite()));
    }
}
