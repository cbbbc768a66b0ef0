//! Scaled dot-product attention over several heads.

use burn::tensor::{Tensor, module, ops::AttentionModuleOptions};

use crate::shape::{assert_shape, assert_whole_clips};

/// How queries, keys and values are split: `heads` of `head_dim` each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MultiHead {
    /// Number of heads.
    pub heads: usize,
    /// Width of a head.
    pub head_dim: usize,
}

impl MultiHead {
    /// `heads * head_dim`.
    #[must_use]
    pub fn inner_dim(self) -> usize {
        self.heads * self.head_dim
    }
}

/// `softmax(q k^T / sqrt(head_dim)) v` for each head ([Vaswani et al., 2017](https://arxiv.org/abs/1706.03762)).
///
/// `causal` hides later positions from earlier ones.
///
/// # Shapes
/// - query: `[batch, queries, heads * head_dim]`
/// - key, value: `[batch, keys, heads * head_dim]`
/// - output: `[batch, queries, heads * head_dim]`
///
/// # Panics
/// On other shapes.
#[must_use]
pub fn attention(query: Tensor<3>, key: Tensor<3>, value: Tensor<3>, split: MultiHead, causal: bool) -> Tensor<3> {
    let ([batch, queries, _], keys, inner) = (query.dims(), key.dims()[1], split.inner_dim());
    assert_shape("the query of an attention", &query, [batch, queries, inner]);
    assert_shape("the key of an attention", &key, [batch, keys, inner]);
    assert_shape("the value of an attention", &value, [batch, keys, inner]);
    #[cfg(feature = "cpu-operators")]
    let [query, key, value] = match crate::flex::attention([query, key, value], split, causal) {
        Ok(out) => return out,
        Err(inputs) => inputs,
    };
    let heads = |x: Tensor<3>| {
        let [batch, len, _] = x.dims();
        x.reshape([batch, len, split.heads, split.head_dim]).swap_dims(1, 2)
    };
    let query = if causal { query } else { pad_queries(query) };
    let padded = query.dims()[1];
    let options = AttentionModuleOptions {
        is_causal: causal,
        ..Default::default()
    };
    module::attention(heads(query), heads(key), heads(value), None, None, options)
        .swap_dims(1, 2)
        .reshape([batch, padded, inner])
        .narrow(1, 0, queries)
}

/// More queries, whose results are to be left out, where a GPU's fused attention would not take them: it wants whole tiles of
/// queries, and otherwise all scores are written to memory. Few queries are not worth it.
fn pad_queries(query: Tensor<3>) -> Tensor<3> {
    const TILE: usize = 64;
    let ([batch, queries, width], device) = (query.dims(), query.device());
    let missing = queries.next_multiple_of(TILE) - queries;
    if missing == 0 || queries < 2 * TILE || crate::is_cpu(&device) {
        return query;
    }
    let more = Tensor::zeros([batch, missing, width], (&device, query.dtype()));
    Tensor::cat(vec![query, more], 1)
}

/// As [`attention`], of each token to itself in the other frames of its clip.
///
/// # Shapes
/// - query, key, value: `[batch * frames, tokens, heads * head_dim]`, unchanged
///
/// # Panics
/// On other shapes.
#[must_use]
pub fn attention_frames(
    query: Tensor<3>,
    key: Tensor<3>,
    value: Tensor<3>,
    split: MultiHead,
    frames: usize,
) -> Tensor<3> {
    let ([rows, tokens, _], inner) = (query.dims(), split.inner_dim());
    assert_whole_clips(rows, frames);
    assert_shape("the query of an attention over frames", &query, [rows, tokens, inner]);
    assert_shape("the key of an attention over frames", &key, [rows, tokens, inner]);
    assert_shape("the value of an attention over frames", &value, [rows, tokens, inner]);
    #[cfg(feature = "cpu-operators")]
    let [query, key, value] = match crate::flex::attention_frames([query, key, value], split, frames) {
        Ok(out) => return out,
        Err(inputs) => inputs,
    };
    let clips = rows / frames;
    let by_token = |x: Tensor<3>| {
        x.reshape([clips, frames, tokens, inner])
            .swap_dims(1, 2)
            .reshape([clips * tokens, frames, inner])
    };
    attention(by_token(query), by_token(key), by_token(value), split, false)
        .reshape([clips, tokens, frames, inner])
        .swap_dims(1, 2)
        .reshape([rows, tokens, inner])
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution, Tolerance, activation::softmax};

    use super::*;

    fn reference(q: Tensor<3>, k: Tensor<3>, v: Tensor<3>, split: MultiHead, causal: bool) -> Tensor<3> {
        let device = q.device();
        let (queries, keys) = (q.dims()[1], k.dims()[1]);
        let parts = (0..split.heads).map(|head| {
            let range = head * split.head_dim..(head + 1) * split.head_dim;
            let part = |x: &Tensor<3>| x.clone().slice_dim(2, range.clone());
            let mut scores = part(&q).matmul(part(&k).swap_dims(1, 2)) / (split.head_dim as f64).sqrt();
            if causal {
                let hidden = Tensor::<2>::ones([queries, keys], &device).triu(1) * -1e9;
                scores = scores + hidden.unsqueeze();
            }
            softmax(scores, 2).matmul(part(&v))
        });
        Tensor::cat(parts.collect(), 2)
    }

    #[test]
    fn equals_the_formula() {
        let device = Device::flex();
        let split = MultiHead { heads: 3, head_dim: 4 };
        for (queries, keys, causal) in [(5, 7, false), (6, 6, true), (600, 500, false)] {
            let random = |len| Tensor::<3>::random([2, len, 12], Distribution::Normal(0.0, 1.0), &device);
            let (q, k, v) = (random(queries), random(keys), random(keys));
            let expected = reference(q.clone(), k.clone(), v.clone(), split, causal);
            attention(q, k, v, split, causal)
                .into_data()
                .assert_approx_eq::<f32>(&expected.into_data(), Tolerance::rel_abs(1e-4, 1e-5));
        }
    }
}
