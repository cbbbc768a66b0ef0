//! LoRAs beside weights in blocks.

use burn::{
    module::Module,
    nn::{Linear, LinearConfig, LinearLayout},
    tensor::{DType, Device},
};
use safetensors::{Dtype, tensor::TensorView};
use t2v_quant::Quantized;
use t2v_weights::{Floats, KeyMap, Lora, LoraSet, LoraTarget, Weights};

use super::file::{F32, File, Q8_0, blocks, floats, values, written};

#[derive(Module, Debug)]
struct Model {
    to_q: Linear,
    to_k: Linear,
}

/// A LoRA of rank 2 for both layers, whose matrices hold one number each.
fn lora(down: f32, up: f32) -> Lora {
    let matrices =
        [(down, [2, 32]), (up, [2, 2])].map(|(value, shape)| (floats(&vec![value; shape[0] * shape[1]]), shape));
    let tensors: Vec<(String, TensorView<'_>)> = ["to_q", "to_k"]
        .iter()
        .flat_map(|layer| {
            let views = matrices.iter().zip(["lora_A", "lora_B"]);
            views.map(move |((bytes, shape), factor)| {
                let view = TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap();
                (format!("transformer.{layer}.{factor}.weight"), view)
            })
        })
        .collect();
    Lora::from_safetensors("lora.safetensors", safetensors::serialize(tensors, None).unwrap()).unwrap()
}

fn numbers(layer: &Linear) -> Vec<f32> {
    layer.weight.val().transpose().into_data().iter().collect()
}

#[test]
fn loras_lie_beside_blocks_and_are_taken_off_again() {
    let file = File::new()
        .with_tensor("to_q.weight", &[2, 32], Q8_0, blocks(2, 5))
        .with_tensor("to_k.weight", &[2, 32], F32, floats(&values(2, 7)));
    let (_folder, path) = written(&file.bytes());
    let layer = || {
        let config = LinearConfig::new(32, 2).with_bias(false);
        config.with_layout(LinearLayout::Col).init(&Device::flex())
    };
    let mut model = Model {
        to_q: layer(),
        to_k: layer(),
    };
    let kept = Floats::from(DType::F32).keep_half(true);
    Weights::open(path)
        .unwrap()
        .load(&mut model, &KeyMap::new(), kept)
        .unwrap();
    let set = LoraSet::new().with(lora(0.5, 2.0), 0.25).with(lora(1.0, -1.0), 1.0);
    let (added, applied) = set.apply(&model, &KeyMap::new(), LoraTarget::Denoiser, kept).unwrap();
    assert_eq!(applied.layers(), 2);
    // Rank 2: 2 · 2 · 0.5 · 0.25 - 2 · 1 · 1.
    let sum = |values: Vec<f32>| values.into_iter().map(|value| value + 0.5 - 2.0).collect::<Vec<_>>();
    assert_eq!(numbers(&added.to_q), sum(values(2, 5)));
    assert_eq!(numbers(&added.to_k), sum(values(2, 7)));
    let [up, down] = Quantized::of(&added.to_q.weight).unwrap().side_path().unwrap();
    assert_eq!((up.dims(), down.dims()), ([2, 4], [4, 32]));
    // The module before has none.
    assert_eq!(numbers(&model.to_q), values(2, 5));
    let off = applied.remove(added);
    assert!(Quantized::of(&off.to_q.weight).unwrap().side_path().is_none());
    assert_eq!(numbers(&off.to_q), values(2, 5));
    assert_eq!(numbers(&off.to_k), values(2, 7));
}
