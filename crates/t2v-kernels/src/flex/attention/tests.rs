//! Attention against the plain formula, at sizes that are no multiple of a vector's, a turn's or a block's.

use burn::tensor::{Device, Distribution, Tensor, Tolerance, activation};

use super::{attention, queries_of_block};
use crate::{MultiHead, flex::attention_frames};

fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.3, 1.0), &Device::flex())
}

#[track_caller]
fn assert_same(actual: Result<Tensor<3>, [Tensor<3>; 3]>, expected: Tensor<3>) {
    let Ok(actual) = actual else {
        panic!("the operator didn't take its input");
    };
    let tolerance = Tolerance::rel_abs(2e-5, 2e-5);
    actual
        .into_data()
        .assert_approx_eq::<f32>(&expected.into_data(), tolerance);
}

/// By Burn's own operators.
fn plainly([q, k, v]: [Tensor<3>; 3], heads: usize, causal: bool) -> Tensor<3> {
    let ([entries, queries, inner], keys) = (q.dims(), k.dims()[1]);
    let head = |x: Tensor<3>| {
        let len = x.dims()[1];
        x.reshape([entries, len, heads, inner / heads]).swap_dims(1, 2)
    };
    let mut scores = head(q).matmul(head(k).swap_dims(2, 3)) / ((inner / heads) as f64).sqrt();
    if causal {
        let hidden = Tensor::<2>::ones([queries, keys], &Device::flex()).triu(1) * -1e9;
        scores = scores + hidden.unsqueeze();
    }
    let mixed = activation::softmax(scores, 3).matmul(head(v)).swap_dims(1, 2);
    mixed.reshape([entries, queries, inner])
}

#[test]
fn equals_the_formula() {
    for (queries, keys, heads, head_dim, causal) in [
        (50, 50, 2, 8, true),
        (70, 33, 3, 5, false),
        (1, 385, 2, 16, false),
        (65, 384, 1, 20, false),
        (1000, 300, 1, 16, false),
        (603, 1157, 2, 40, false),
        (77, 512, 2, 128, false),
        (130, 130, 1, 520, false),
        // A block's keys begin in the middle of a turn; the last queries see all keys; the last keys are seen by none.
        (700, 700, 1, 4, true),
        (1001, 1001, 2, 24, true),
        (900, 401, 1, 12, true),
        (300, 801, 1, 12, true),
    ] {
        let split = MultiHead { heads, head_dim };
        let tokens = |len| random([2, len, heads * head_dim]);
        let inputs = [tokens(queries), tokens(keys), tokens(keys)];
        let expected = plainly(inputs.clone(), heads, causal);
        assert_same(attention(inputs, split, causal), expected);
    }
}

/// Scores that grow, fall, and change their sign from key to key, so that one key takes all the weight, whatever block it is in.
#[test]
fn scores_may_be_large() {
    const KEYS: usize = 1000;
    let device = Device::flex();
    let split = MultiHead { heads: 1, head_dim: 4 };
    let numbers: Vec<f32> = (0..KEYS).map(|key| key as f32).collect();
    let values = Tensor::<1>::from_floats(numbers.as_slice(), &device)
        .reshape([1, KEYS, 1])
        .expand([1, KEYS, 4]);
    /// Scores by key, and the key with the largest one.
    type Case = (fn(usize) -> f32, f32);
    let cases: [Case; 4] = [
        (|key| key as f32, 999.0),
        (|key| -(key as f32), 0.0),
        (|key| -(key as f32 - 500.0).abs(), 500.0),
        (|key| key as f32 * if key.is_multiple_of(2) { -1.0 } else { 1.0 }, 999.0),
    ];
    for size in [1e4_f32, 1e30] {
        for (score, winner) in cases {
            // Half the product of the first channels: neighbours differ by a thousandth of four times `size`.
            let first = (0..KEYS).flat_map(|key| [8.0 * score(key) / KEYS as f32, 0.0, 0.0, 0.0]);
            let keys = Tensor::<1>::from_floats(first.collect::<Vec<f32>>().as_slice(), &device).reshape([1, KEYS, 4]);
            let query = Tensor::<1>::from_floats([size, 0.0, 0.0, 0.0], &device)
                .reshape([1, 1, 4])
                .repeat_dim(1, 70);
            let expected = Tensor::full([1, 70, 4], winner, &device);
            assert_same(attention([query, keys, values.clone()], split, false), expected);
        }
    }
}

/// Keys that are all alike share the weight, however many blocks they are in.
#[test]
fn equal_scores_give_the_mean() {
    let split = MultiHead { heads: 2, head_dim: 6 };
    let (queries, values) = (random([1, 40, 12]), random([1, 2011, 12]));
    let keys = random([1, 1, 12]).repeat_dim(1, 2011);
    let expected = values.clone().mean_dim(1).repeat_dim(1, 40);
    assert_same(attention([queries, keys, values], split, false), expected);
}

#[test]
fn a_value_that_is_no_number_shows() {
    let split = MultiHead { heads: 1, head_dim: 4 };
    let spoilt = random([1, 500, 4]).slice_assign(
        [0..1, 400..401, 0..1],
        Tensor::full([1, 1, 1], f32::NAN, &Device::flex()),
    );
    let others = || random([1, 500, 4]);
    for inputs in [
        [others(), spoilt.clone(), others()],
        [others(), others(), spoilt.clone()],
    ] {
        let Ok(out) = attention(inputs, split, false) else {
            panic!("the operator didn't take its input");
        };
        let first: Vec<f32> = out.slice_dim(2, 0..1).into_data().iter().collect();
        assert!(first.iter().all(|value| value.is_nan()));
    }
}

#[test]
fn blocks_are_of_about_the_same_size() {
    for (queries, sequences) in [(7800, 12), (32_760, 12), (1, 1), (64, 320), (4097, 1), (100, 2)] {
        let each = queries_of_block(queries, sequences);
        let blocks = queries.div_ceil(each);
        assert!((1..=1024).contains(&each), "{queries} {sequences}: {each}");
        assert!(blocks * each - queries < blocks, "{queries} {sequences}: {each}");
    }
}

#[test]
fn attention_over_frames() {
    for (clips, frames, tokens, heads, head_dim) in [(2, 16, 20, 2, 64), (1, 5, 37, 3, 8), (3, 33, 1, 1, 20)] {
        let (split, inner) = (MultiHead { heads, head_dim }, heads * head_dim);
        let qkv: [Tensor<3>; 3] = std::array::from_fn(|_| random([clips * frames, tokens, inner]) * 0.7);
        let by_token = qkv.clone().map(|x| {
            let x = x.reshape([clips, frames, tokens, inner]).swap_dims(1, 2);
            x.reshape([clips * tokens, frames, inner])
        });
        let expected = plainly(by_token, heads, false).reshape([clips, tokens, frames, inner]);
        let expected = expected.swap_dims(1, 2).reshape([clips * frames, tokens, inner]);
        assert_same(attention_frames(qkv, split, frames), expected);
    }
}

#[test]
fn attention_of_short_sequences() {
    let split = MultiHead { heads: 3, head_dim: 10 };
    let qkv: [Tensor<3>; 3] = std::array::from_fn(|_| random([6, 9, 30]));
    let expected = plainly(qkv.clone(), split.heads, false);
    assert_same(attention(qkv, split, false), expected);
}
