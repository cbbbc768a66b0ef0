//! Products with weights in quantised blocks, against those with the same weights widened.

use burn::{
    module::{Module, ModuleMapper, Param, Reparameterizer},
    nn::{EmbeddingConfig, Linear},
    tensor::{Bytes, DType, Device, Distribution, Int, Tensor},
};
use safetensors::SafeTensors;
use t2v_quant::{BlockFormat, Quantized};

use crate::{Products, embed, linear, project, project_add};

/// Bytes of so many blocks: those of the fixture, again and again.
fn blocks(format: BlockFormat, count: usize) -> Vec<u8> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../t2v-quant/tests/fixtures/blocks.safetensors"
    );
    let file = std::fs::read(path).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let bytes = tensors.tensor(&format!("{}.bytes", format.name())).unwrap();
    let bytes = bytes.data().iter().copied().cycle();
    bytes.take(count * format.block_bytes()).collect()
}

/// Puts blocks behind the parameter `weight`.
struct Holder {
    format: BlockFormat,
    /// As it is stored.
    shape: [usize; 2],
    transposed: bool,
}

impl Reparameterizer for Holder {
    type Reparam = Quantized;

    fn reparameterize<const D: usize>(
        &mut self,
        path: &str,
        param: Param<Tensor<D>>,
    ) -> (Param<Tensor<D>>, Option<Quantized>) {
        if path != "weight" {
            return (param, None);
        }
        let [rows, columns] = self.shape;
        let bytes = Bytes::from_bytes_vec(blocks(self.format, rows * columns / self.format.block_values()));
        let device = Device::flex();
        let quantized = Quantized::new(self.format, self.shape, self.transposed, bytes, &device).unwrap();
        let base = Quantized::base(param.dims(), DType::F32, &device);
        (param.map(|_| base), Some(quantized))
    }
}

fn layer(format: BlockFormat, d_in: usize, d_out: usize) -> Linear {
    linear(d_in, d_out, true, &Device::flex()).apply_reparameterization(Holder {
        format,
        shape: [d_out, d_in],
        transposed: true,
    })
}

/// The layer with values in place of blocks.
fn widened(layer: &Linear) -> Linear {
    Linear {
        weight: Param::from_tensor(layer.weight.val()),
        bias: layer.bias.clone(),
    }
}

fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex())
}

#[track_caller]
fn assert_same<const D: usize>(actual: Tensor<D>, expected: Tensor<D>) {
    let tolerance = burn::tensor::Tolerance::rel_abs(1e-4, 1e-3);
    actual
        .into_data()
        .assert_approx_eq::<f32>(&expected.into_data(), tolerance);
}

/// Few tokens and many; the depth is worked on in parts that begin within blocks.
#[test]
fn products_are_those_of_the_widened_weight() {
    for format in BlockFormat::ALL {
        let layer = layer(format, 768, 49);
        let widened = widened(&layer);
        assert!(Quantized::of(&layer.weight).is_some() && Quantized::of(&widened.weight).is_none());
        for tokens in [1, 9, 130] {
            let (x, residual) = (random([2, tokens, 768]), random([2, tokens, 49]));
            let expected = widened.forward(x.clone());
            assert_same(
                super::linear(Products::Exact, &layer, x.clone()).unwrap(),
                expected.clone(),
            );
            // To the bit what a weight in f32 gives.
            let same = super::linear(Products::Exact, &widened, x.clone()).unwrap();
            let ours = super::linear(Products::Exact, &layer, x.clone()).unwrap();
            ours.into_data().assert_eq(&same.into_data(), true);
            assert_same(project_add(&layer, x, residual.clone()), expected + residual);
        }
    }
}

/// Gives the side path its factors.
struct Side(Vec<String>);

impl ModuleMapper for Side {
    fn enter_module(&mut self, name: &str, _module: &str) {
        self.0.push(name.into());
    }

    fn exit_module(&mut self, _name: &str, _module: &str) {
        self.0.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let shape: &[usize] = match self.0.last().map(String::as_str) {
            Some("down") => &[3, 256],
            Some("up") => &[40, 3],
            _ => return param,
        };
        let shape: [usize; D] = shape.try_into().unwrap();
        param.map(|_| random(shape))
    }
}

#[test]
fn side_paths_are_added() {
    let layer = layer(BlockFormat::Q4_K, 256, 40);
    let (x, residual) = (random([2, 17, 256]), random([2, 17, 40]));
    let without = project(&layer, x.clone());
    let layer = layer.map(&mut Side(Vec::new()));
    let [up, down] = Quantized::of(&layer.weight).unwrap().side_path().unwrap();
    let added = x
        .clone()
        .matmul(down.transpose().unsqueeze())
        .matmul(up.transpose().unsqueeze());
    let expected = without + added;
    assert_same(project(&layer, x.clone()), expected.clone());
    assert_same(widened(&layer).forward(x.clone()), expected.clone());
    assert_same(layer.forward(x.clone()), expected.clone());
    assert_same(project_add(&layer, x, residual.clone()), expected + residual);
}

#[test]
fn rows_of_a_table_are_widened_alone() {
    for format in [BlockFormat::Q8_0, BlockFormat::Q6_K] {
        let table = EmbeddingConfig::new(7, 256)
            .init(&Device::flex())
            .apply_reparameterization(Holder {
                format,
                shape: [7, 256],
                transposed: false,
            });
        let ids = Tensor::<2, Int>::from_ints([[6, 0, 3], [3, 3, 1]], &Device::flex());
        let expected = table.forward(ids.clone());
        embed(&table, ids).into_data().assert_eq(&expected.into_data(), true);
    }
}
