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
    let by_head = |x: Tensor<3>| {
        let [batch, len, _] = x.dims();
        x.reshape([batch, len, split.heads, split.head_dim]).swap_dims(1, 2)
    };
    attention_by_head(by_head(query), by_head(key), by_head(value), causal)
        .swap_dims(1, 2)
        .reshape([batch, queries, inner])
}

/// Heads, over the whole batch, that one kernel of a GPU computes: no more blocks than this can be asked for in one direction.
const MOST_AT_ONCE: usize = 1 << 15;

/// Queries are given to a GPU's fused attention in whole tiles of this many; what is none, it would do with all scores in
/// memory.
const TILE: usize = 64;

/// [`attention`] with Burn's operator.
///
/// # Shapes
/// - query, output: `[batch, heads, queries, head_dim]`
/// - key, value: `[batch, heads, keys, head_dim]`
fn attention_by_head(query: Tensor<4>, key: Tensor<4>, value: Tensor<4>, causal: bool) -> Tensor<4> {
    let options = AttentionModuleOptions {
        is_causal: causal,
        ..Default::default()
    };
    let call = |query, key, value| module::attention(query, key, value, None, None, options);
    let [batch, heads, queries, head_dim] = query.dims();
    let device = query.device();
    if crate::is_cpu(&device) {
        return call(query, key, value);
    }
    let at_once = (MOST_AT_ONCE / heads).max(1);
    if batch > at_once {
        let parts = (0..batch).step_by(at_once).map(|first| {
            let len = at_once.min(batch - first);
            let [query, key, value] = [&query, &key, &value].map(|x| x.clone().narrow(0, first, len));
            attention_by_head(query, key, value, causal)
        });
        return Tensor::cat(parts.collect(), 0);
    }
    // Few queries are not worth it; later ones would change what earlier ones see in a causal attention.
    let missing = queries.next_multiple_of(TILE) - queries;
    if missing == 0 || queries < 2 * TILE || causal {
        return call(query, key, value);
    }
    let more = Tensor::zeros([batch, heads, missing, head_dim], (&device, query.dtype()));
    call(Tensor::cat(vec![query, more], 2), key, value).narrow(2, 0, queries)
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
    // One change of order each way: from frames as the batch to tokens and heads as the batch.
    let clips = rows / frames;
    let by_token = |x: Tensor<3>| {
        x.reshape([clips, frames, tokens, split.heads, split.head_dim])
            .permute([0, 2, 3, 1, 4])
            .reshape([clips * tokens, split.heads, frames, split.head_dim])
    };
    attention_by_head(by_token(query), by_token(key), by_token(value), false)
        .reshape([clips, tokens, split.heads, frames, split.head_dim])
        .permute([0, 3, 1, 2, 4])
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
