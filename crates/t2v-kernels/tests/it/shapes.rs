//! Tensors of wrong shapes: every operator refuses them, whoever computes it. Where numbers lie in flat slices, a wrong
//! width would otherwise give a result, of the wrong numbers.

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::{
    nn::{GroupNormConfig, conv::Conv2dConfig},
    tensor::{Device, Distribution, Tensor},
};
use t2v_kernels::{
    Activation, LayerNorm, MultiHead, add, add_to_channels, attention, attention_frames, cat_channels, conv_time,
    conv1x1, conv2d, conv3x1x1, conv3x3, feed_forward, geglu, group_norm, group_norm_frames, linear, project,
    project_add, project_add_image, upsample_nearest,
};

fn x<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex())
}

/// The operator panics, and says why.
#[track_caller]
fn assert_refused<const D: usize>(what: &str, operator: impl FnOnce() -> Tensor<D>) {
    let result = catch_unwind(AssertUnwindSafe(|| operator().into_data()));
    let panic = match result {
        Ok(data) => panic!("expected a panic about {what:?}, got {:?}", data.shape()),
        Err(panic) => panic,
    };
    let message = panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()));
    let message = message.unwrap();
    assert!(message.contains(what), "{message}");
}

/// Few tokens and many, which have ways of their own.
const TOKENS: [usize; 2] = [3, 400];

#[test]
fn linear_layers() {
    let layer = linear(40, 24, true, &Device::flex());
    for tokens in TOKENS {
        assert_eq!(project(&layer, x([2, tokens, 40])).dims(), [2, tokens, 24]);
        for width in [1, 20, 39, 41, 80] {
            let message =
                format!("the input of a linear layer has the shape [2, {tokens}, {width}], not [2, {tokens}, 40]");
            assert_refused(&message, || project(&layer, x([2, tokens, width])));
            let view = || x([2, width, tokens]).swap_dims(1, 2);
            assert_refused(&message, || project(&layer, view()));
            assert_refused(&message, || {
                project_add(&layer, x([2, tokens, width]), x([2, tokens, 24]))
            });
        }
        for residual in [
            [2, tokens, 23],
            [2, tokens, 48],
            [2, tokens - 1, 24],
            [1, tokens, 24],
            [4, tokens, 24],
        ] {
            let message = "what a linear layer is added to";
            assert_refused(message, || project_add(&layer, x([2, tokens, 40]), x(residual)));
        }
    }
}

#[test]
fn linear_layers_to_images() {
    let layer = linear(40, 24, true, &Device::flex());
    let image = [2, 24, 5, 7];
    assert_eq!(project_add_image(&layer, x([2, 35, 40]), x(image)).dims(), image);
    for tokens in [[2, 35, 39], [2, 35, 80], [2, 34, 40], [2, 70, 40]] {
        let message = "the input of a linear layer to an image";
        assert_refused(message, || project_add_image(&layer, x(tokens), x(image)));
    }
    for image in [[2, 23, 5, 7], [2, 48, 5, 7], [1, 24, 5, 7], [4, 24, 5, 7]] {
        let message = "the image that a linear layer is added to";
        assert_refused(message, || project_add_image(&layer, x([2, 35, 40]), x(image)));
    }
    assert_refused("the input", || {
        project_add_image(&layer, x([2, 35, 40]), x([2, 24, 5, 6]))
    });
}

#[test]
fn feed_forward_layers() {
    let layer = |from, to| linear(from, to, true, &Device::flex());
    let (proj, out) = (layer(12, 96), layer(48, 12));
    for tokens in TOKENS {
        let good = [2, tokens, 12];
        assert_eq!(feed_forward(&proj, &out, x(good), x(good)).dims(), good);
        for width in [6, 11, 13, 24] {
            let bad = [2, tokens, width];
            assert_refused("the input of a linear layer", || {
                feed_forward(&proj, &out, x(bad), x(good))
            });
            assert_refused("the input of a linear layer", || {
                feed_forward(&proj, &out, x(bad), x(bad))
            });
            assert_refused("a feed-forward layer is added to", || {
                feed_forward(&proj, &out, x(good), x(bad))
            });
        }
        let short = [2, tokens - 1, 12];
        assert_refused("a feed-forward layer is added to", || {
            feed_forward(&proj, &out, x(good), x(short))
        });
        for (proj, out) in [
            (layer(12, 95), layer(48, 12)),
            (layer(12, 96), layer(47, 12)),
            (layer(12, 96), layer(48, 24)),
        ] {
            assert_refused("a gated feed-forward layer of", || {
                feed_forward(&proj, &out, x(good), x(good))
            });
        }
    }
    assert_refused("a GEGLU has 25 channels", || geglu(x([2, 7, 25])));
}

#[test]
fn convolutions() {
    let device = Device::flex();
    // Large enough for Winograd's algorithm, small enough to be joined, and with one pixel's kernels.
    for (channels, size) in [(64, 16), (8, 4), (8, 20)] {
        let strided = Conv2dConfig::new([channels, 6], [3, 3])
            .with_stride([2, 2])
            .init(&device);
        for conv in [conv3x3(channels, 6, &device), conv1x1(channels, 6, &device), strided] {
            assert_eq!(conv2d(&conv, x([3, channels, size, size])).dims()[..2], [3, 6]);
            for wrong in [1, channels / 2, channels - 1, channels + 1, 2 * channels] {
                let message = format!("the input of a convolution has the shape [3, {wrong}, {size}, {size}]");
                assert_refused(&message, || conv2d(&conv, x([3, wrong, size, size])));
            }
        }
        let conv = conv3x1x1(channels, 6, &device);
        assert_eq!(
            conv_time(&conv, x([8, channels, size, size]), 4).dims(),
            [8, 6, size, size]
        );
        for wrong in [1, channels / 2, channels - 1, channels + 1, 2 * channels] {
            let message = format!("the input of a temporal convolution has the shape [8, {wrong}, {size}, {size}]");
            assert_refused(&message, || conv_time(&conv, x([8, wrong, size, size]), 4));
        }
        for frames in [0, 3, 16] {
            let message = format!("8 frames are no whole number of clips of {frames} frames");
            assert_refused(&message, || conv_time(&conv, x([8, channels, size, size]), frames));
        }
    }
}

#[test]
fn normalisations() {
    let norm = GroupNormConfig::new(4, 16).init(&Device::flex());
    for channels in [4, 15, 17, 32] {
        let message = format!("the input of a group normalisation has the shape [6, {channels}, 5, 7]");
        assert_refused(&message, || group_norm(&norm, x([6, channels, 5, 7]), None));
        let activation = Some(Activation::Silu);
        assert_refused(&message, || {
            group_norm_frames(&norm, x([6, channels, 5, 7]), 3, activation)
        });
    }
    assert_eq!(group_norm(&norm, x([6, 16, 5, 7]), None).dims(), [6, 16, 5, 7]);
    for frames in [0, 4, 12] {
        assert_refused("6 frames are no whole", || {
            group_norm_frames(&norm, x([6, 16, 5, 7]), frames, None)
        });
    }
    let norm = LayerNorm::new(35, 1e-5, &Device::flex());
    for width in [1, 7, 34, 36, 70] {
        let message = format!("the input of a layer normalisation has the shape [2, 9, {width}], not [2, 9, 35]");
        assert_refused(&message, || norm.forward(x([2, 9, width])));
    }
}

#[test]
fn attentions() {
    let split = MultiHead { heads: 3, head_dim: 8 };
    // As one token in several frames, by Burn, and in blocks.
    for (queries, keys, causal) in [
        (9, 9, false),
        (9, 9, true),
        (9, 11, false),
        (40, 50, false),
        (40, 40, true),
    ] {
        let run = |query, key, value| attention(x(query), x(key), x(value), split, causal);
        let (q, kv) = ([2, queries, 24], [2, keys, 24]);
        assert_eq!(run(q, kv, kv).dims(), q);
        for width in [8, 23, 25, 48] {
            assert_refused("the query of an attention", || run([2, queries, width], kv, kv));
            assert_refused("the key of an attention", || run(q, [2, keys, width], kv));
            assert_refused("the value of an attention", || run(q, kv, [2, keys, width]));
            let all = |len| [2, len, width];
            assert_refused("the query of an attention", || run(all(queries), all(keys), all(keys)));
        }
        for batch in [1, 3, 4] {
            assert_refused("the key of an attention", || run(q, [batch, keys, 24], kv));
            assert_refused("the value of an attention", || run(q, kv, [batch, keys, 24]));
        }
        for len in [1, keys - 1, keys + 1, 2 * keys] {
            assert_refused("the value of an attention", || run(q, kv, [2, len, 24]));
            assert_refused("the value of an attention", || run(q, [2, len, 24], kv));
        }
    }
}

#[test]
fn attentions_over_frames() {
    let split = MultiHead { heads: 3, head_dim: 8 };
    let run = |query, key, value, frames| attention_frames(x(query), x(key), x(value), split, frames);
    let good = [6, 5, 24];
    assert_eq!(run(good, good, good, 3).dims(), good);
    for bad in [
        [6, 5, 8],
        [6, 5, 23],
        [6, 5, 48],
        [6, 4, 24],
        [6, 6, 24],
        [3, 5, 24],
        [9, 5, 24],
    ] {
        assert_refused("the key of an attention over frames", || run(good, bad, good, 3));
        assert_refused("the value of an attention over frames", || run(good, good, bad, 3));
        assert_refused("of an attention over frames", || run(bad, good, good, 3));
    }
    for width in [8, 23, 25, 48] {
        let bad = [6, 5, width];
        assert_refused("the query of an attention over frames", || run(bad, bad, bad, 3));
    }
    for frames in [0, 4, 12] {
        assert_refused("6 frames are no whole", || run(good, good, good, frames));
    }
}

/// Burn's own words: these shapes are left to it.
#[test]
fn sums_and_concatenations() {
    assert_refused("", || add(x([2, 3, 5]), x([2, 3, 4])));
    assert_refused("", || add(x([2, 3, 5]), x([2, 15, 2])));
    assert_refused("", || add_to_channels(x([2, 3, 5, 7]), x([2, 2])));
    assert_refused("", || add_to_channels(x([2, 3, 5, 7]), x([3, 3])));
    assert_refused("", || cat_channels(x([2, 3, 5, 7]), x([2, 3, 5, 6])));
    assert_refused("", || cat_channels(x([2, 3, 5, 7]), x([1, 3, 5, 7])));
    assert_eq!(upsample_nearest(x([2, 3, 5, 7]), [10, 14]).dims(), [2, 3, 10, 14]);
}
