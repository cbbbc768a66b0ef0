//! Layers beside weights in quantised blocks, to which no sum can be added: their factors become those of a side path.

use burn::tensor::{DType, Device, Tensor, TensorData};

use super::merge::Replacement;
use crate::WeightsError;

/// Behind the path of a weight: its blocks' factors, of `t2v_quant::Quantized`.
const DOWN: &str = ".quantized.down";
const UP: &str = ".quantized.up";

/// Which factor of a side path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Factor {
    /// `[rank, columns]`
    Down,
    /// `[rows, rank]`
    Up,
}

impl Factor {
    /// What a parameter is, and the path of the weight that it stands beside.
    pub(super) fn of(path: &str) -> Option<(&str, Self)> {
        let down = path.strip_suffix(DOWN).map(|weight| (weight, Self::Down));
        down.or_else(|| path.strip_suffix(UP).map(|weight| (weight, Self::Up)))
    }

    /// The factors of several layers behind one another, in f32; those upwards have the scales in them.
    pub(super) fn values(self, added: &[Replacement], device: &Device) -> Result<Tensor<2>, WeightsError> {
        let factor = |replacement: &Replacement| {
            let [up, down] = replacement.factors()?;
            let rank = replacement.rank();
            let matrix = |values: Vec<f32>, shape: [usize; 2]| {
                Tensor::<2>::from_data(TensorData::new(values, shape), (device, DType::F32))
            };
            Ok(match self {
                Self::Down => {
                    let columns = down.len() / rank;
                    matrix(down, [rank, columns])
                }
                Self::Up => {
                    let rows = up.len() / rank;
                    matrix(up, [rows, rank]).mul_scalar(replacement.scale())
                }
            })
        };
        let factors: Vec<Tensor<2>> = added.iter().map(factor).collect::<Result<_, WeightsError>>()?;
        Ok(Tensor::cat(factors, if self == Self::Down { 0 } else { 1 }))
    }
}
