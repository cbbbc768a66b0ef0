//! What a component takes of a file that holds several.

use burn::{
    module::Module,
    nn::{Linear, LinearConfig, LinearLayout},
    tensor::{DType, Device},
};
use safetensors::{Dtype, tensor::TensorView};
use t2v_weights::{KeyMap, Selection, Weights};

#[derive(Module, Debug)]
struct Projections {
    q: Linear,
    k: Linear,
    out: Linear,
}

fn module() -> Projections {
    let linear = |outputs| {
        LinearConfig::new(2, outputs)
            .with_layout(LinearLayout::Col)
            .init(&Device::flex())
    };
    Projections {
        q: linear(2),
        k: linear(2),
        out: linear(3),
    }
}

/// A file of an attention under other names, in f16, with tensors of others around it.
fn file() -> Vec<u8> {
    let numbers = |from: usize, count: usize| -> Vec<u8> {
        let numbers = (from..from + count).map(|n| half::f16::from_f32(n as f32 / 4.0).to_le_bytes());
        numbers.flatten().collect()
    };
    let parts: Vec<(&str, Vec<usize>, Vec<u8>)> = vec![
        ("net.attn.in.weight", vec![4, 2], numbers(0, 8)),
        ("net.attn.in.bias", vec![4], numbers(20, 4)),
        ("net.attn.out.weight", vec![3, 2, 1, 1], numbers(40, 6)),
        ("net.attn.out.bias", vec![3], numbers(60, 3)),
        ("net.mask", vec![1], numbers(0, 1)),
        ("net.surplus", vec![1], numbers(0, 1)),
        ("other.attn.in.weight", vec![5], numbers(0, 5)),
    ];
    let views = parts.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::F16, shape.clone(), bytes).unwrap();
        (*name, view)
    });
    safetensors::serialize(views, None).unwrap()
}

fn selection() -> Selection {
    Selection::new()
        .prefixes(&["absent.", "net.", "other."])
        .leave_out("^mask$")
        .rename(r"^attn\.", "")
        .split(r"^in\.(\w+)$", &["q.$1", "k.$1"])
        .squeeze(r"^out\.")
}

fn values(linear: &Linear) -> (Vec<f32>, Vec<f32>) {
    let bias = linear.bias.as_ref().unwrap().val().into_data();
    // The layer's own layout is `[out, in]`, shown transposed.
    let weight = linear.weight.val().transpose().into_data();
    (weight.iter::<f32>().collect(), bias.iter::<f32>().collect())
}

#[test]
fn parts_and_squeezed_tensors_have_the_values_of_the_file() {
    let mut module = module();
    let weights = Weights::from_safetensors("model.safetensors", file()).with_selection(selection());
    let report = weights.load(&mut module, &KeyMap::new(), DType::F32).unwrap();
    // As the file calls it.
    assert_eq!(report.unused_keys, ["net.surplus"]);
    assert_eq!(values(&module.q), (vec![0.0, 0.25, 0.5, 0.75], vec![5.0, 5.25]));
    assert_eq!(values(&module.k), (vec![1.0, 1.25, 1.5, 1.75], vec![5.5, 5.75]));
    let out: Vec<f32> = (40..46).map(|n| n as f32 / 4.0).collect();
    assert_eq!(values(&module.out), (out, vec![15.0, 15.25, 15.5]));
}

#[test]
fn bytes_are_those_of_what_is_taken() {
    let weights = Weights::from_safetensors("model.safetensors", file()).with_selection(selection());
    let elements = 8 + 4 + 6 + 3 + 1;
    assert_eq!(weights.byte_len(DType::F32).unwrap(), 4 * elements);
    let shapes = weights.shapes().unwrap();
    let expected = [
        ("k.bias", vec![2]),
        ("k.weight", vec![2, 2]),
        ("out.bias", vec![3]),
        ("out.weight", vec![3, 2]),
        ("q.bias", vec![2]),
        ("q.weight", vec![2, 2]),
        ("surplus", vec![1]),
    ];
    assert_eq!(shapes, expected.map(|(name, shape)| (name.to_owned(), shape)));
}

#[test]
fn wrappers_are_taken_off_however_deep_and_only_where_they_are() {
    let selection = Selection::new().unwrap("state_dict.").unwrap("module.");
    for (keys, expected) in [
        (&["a", "b.module.c"][..], &["a", "b.module.c"][..]),
        (&["state_dict.state_dict.module.a", "state_dict.b", "epoch"], &["a"]),
        (&["state_dict.a", "optimizer.a"], &["a"]),
        (&["module.a", "module.b"], &["a", "b"]),
    ] {
        let taken = selection.plan("x", keys.iter().map(|key| (*key, &[1][..]))).unwrap();
        let names: Vec<String> = taken.into_iter().map(|taken| taken.name).collect();
        assert_eq!(names, expected, "{keys:?}");
    }
}

#[test]
fn what_has_no_key_of_a_prefix_gives_nothing() {
    let taken = Selection::new().prefixes(&["vae."]).plan("x", [("unet.a", &[1][..])]);
    assert_eq!(taken.unwrap(), []);
}

#[test]
fn what_cannot_be_taken_is_named() {
    let file = [("a.in", &[4, 2][..]), ("b.in", &[3]), ("scale", &[])];
    let three = ["$1.q", "$1.k", "$1.v"];
    for (selection, part) in [
        (
            Selection::new().split(r"^(\w)\.in$", &three),
            "`a.in` has 4 rows, which 3 parts don't divide",
        ),
        (
            Selection::new().split("^(scale)$", &three),
            "`scale` has 0 rows, which 3",
        ),
        (
            Selection::new().rename(r"^[ab]\.", ""),
            "`a.in` and `b.in` are both `in`",
        ),
        (Selection::new().rename("(", ""), "regex parse error"),
        (Selection::new().leave_out("["), "regex parse error"),
    ] {
        let message = selection.plan("model.ckpt", file).unwrap_err().to_string();
        assert!(
            message.contains(part) && message.contains("`model.ckpt`"),
            "{part}: {message}"
        );
    }
}

#[test]
fn files_that_are_joined_keep_each_its_selection() {
    let first =
        Weights::from_safetensors("a.safetensors", file()).with_selection(Selection::new().prefixes(&["other."]));
    let second = Weights::from_safetensors("b.safetensors", file()).with_selection(selection());
    let shapes = first.joined_by(second).shapes().unwrap();
    let names: Vec<&str> = shapes.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [
        "attn.in.weight",
        "k.bias",
        "k.weight",
        "out.bias",
        "out.weight",
        "q.bias",
        "q.weight",
        "surplus",
    ];
    assert_eq!(names, expected);
}
