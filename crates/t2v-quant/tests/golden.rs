//! Widened blocks against GGML's own reference in Python (`scripts/make_t2v_quant_fixtures.py`), and parameters that hold them.

#![allow(clippy::unwrap_used)]

use burn::{
    module::{Module, Param, Reparameterizer},
    nn::{Linear, LinearConfig, LinearLayout},
    tensor::{Bytes, DType, Device, Tensor},
};
use safetensors::SafeTensors;
use t2v_quant::{BlockFormat, Quantized};

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/blocks.safetensors");

/// Bytes, and the values that they stand for.
fn golden(format: BlockFormat) -> (Vec<u8>, Vec<f32>) {
    let file = std::fs::read(FIXTURE).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let data = |part: &str| tensors.tensor(&format!("{}.{part}", format.name())).unwrap();
    let values = data("values").data().chunks_exact(4);
    let values = values.map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()));
    (data("bytes").data().to_vec(), values.collect())
}

#[test]
fn values_are_those_of_the_reference_to_the_bit() {
    for format in BlockFormat::ALL {
        let (bytes, expected) = golden(format);
        assert_eq!(format.bytes(expected.len()), Some(bytes.len()));
        let mut values = vec![0.0; expected.len()];
        format.widen(&bytes, 0, &mut values);
        let differing = values
            .iter()
            .zip(&expected)
            .position(|(a, b)| a.to_bits() != b.to_bits() && a != b);
        assert_eq!(differing, None, "{}", format.name());
    }
}

/// Puts blocks behind the weight of a layer.
struct Holder(BlockFormat, [usize; 2], Vec<u8>);

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
        let (device, bytes) = (Device::flex(), Bytes::from_bytes_vec(self.2.clone()));
        let quantized = Quantized::new(self.0, self.1, true, bytes, &device).unwrap();
        let shape = param.val().dims();
        let base = Quantized::base(shape, DType::F32, &device);
        (param.map(|_| base), Some(quantized))
    }
}

#[test]
fn a_parameter_has_the_values_of_its_blocks() {
    for format in BlockFormat::ALL {
        let (bytes, values) = golden(format);
        let columns = format.block_values();
        let rows = values.len() / columns;
        let layer: Linear = LinearConfig::new(columns, rows)
            .with_layout(LinearLayout::Col)
            .init(&Device::flex());
        let layer = layer.apply_reparameterization(Holder(format, [rows, columns], bytes));
        assert_eq!(layer.weight.dims(), [columns, rows]);
        assert!(layer.weight.base().into_data().iter::<f32>().all(f32::is_nan));
        let held = Quantized::of(&layer.weight).unwrap();
        assert_eq!((held.format(), held.shape()), (format, [rows, columns]));
        assert_eq!(Some(held.byte_len()), format.bytes(values.len()));
        let widened: Vec<f32> = layer.weight.val().transpose().into_data().iter().collect();
        assert_eq!(widened, values, "{}", format.name());
        // What copies a module keeps them.
        assert!(Quantized::of(&layer.clone().to_device(&Device::flex()).weight).is_some());
    }
}

#[test]
fn what_is_no_matrix_of_blocks_is_said() {
    let made = |shape, len| {
        let bytes = Bytes::from_bytes_vec(vec![0; len]);
        Quantized::new(BlockFormat::Q8_0, shape, false, bytes, &Device::flex()).map(|_| ())
    };
    made([2, 64], 136).unwrap();
    assert!(made([2, 60], 136).unwrap_err().contains("no whole blocks of Q8_0"));
    assert!(made([2, 64], 135).unwrap_err().contains("not the 136"));
    assert!(made([usize::MAX, 64], 136).is_err());
}
