//! A parameter that stands for its values by quantised blocks.

use burn::{
    module::{Module, Param, ParamId, Reparameterization},
    tensor::{Bytes, DType, Device, Int, Tensor, TensorData},
};

use crate::BlockFormat;

/// A weight in quantised blocks, behind a parameter whose own tensor has its shape and no memory.
///
/// `param.val()` widens all of it to f32. What computes with parts of it takes [`blocks`](Self::blocks), and adds what the
/// [side path](Self::side_path) gives. The factors of that path are parameters, by whose replacement a LoRA is added.
#[derive(Module, Debug)]
pub struct Quantized {
    /// Bytes.
    blocks: Param<Tensor<1, Int>>,
    /// `[rank, columns]`, or one number where nothing is added.
    down: Param<Tensor<2>>,
    /// `[rows, rank]`, or one number.
    up: Param<Tensor<2>>,
    #[module(skip)]
    layout: Layout,
}

#[derive(Debug, Clone, Copy)]
struct Layout {
    format: BlockFormat,
    rows: usize,
    columns: usize,
    transposed: bool,
}

impl Quantized {
    /// A matrix of `shape` whose rows are whole blocks. Where the parameter has the transpose of what is stored, as linear
    /// layers have it, it is `transposed`.
    ///
    /// # Errors
    /// Rows that are no whole blocks, or other bytes than the matrix has, as a sentence.
    pub fn new(
        format: BlockFormat,
        shape: [usize; 2],
        transposed: bool,
        blocks: Bytes,
        device: &Device,
    ) -> Result<Self, String> {
        let ([rows, columns], name) = (shape, format.name());
        let expected = format.bytes(columns).and_then(|row| row.checked_mul(rows));
        match expected {
            None => Err(format!("rows of {columns} values are no whole blocks of {name}")),
            Some(len) if len != blocks.len() => Err(format!(
                "{} bytes are not the {len} of a matrix {shape:?} in {name}",
                blocks.len()
            )),
            Some(len) => {
                let data = TensorData::from_bytes(blocks, [len], DType::U8);
                let blocks = Tensor::from_data(data, (device, DType::U8));
                let layout = Layout {
                    format,
                    rows,
                    columns,
                    transposed,
                };
                let nothing = || Tensor::zeros([1, 1], (device, DType::F32));
                Ok(Self {
                    blocks: Param::initialized(ParamId::new(), blocks),
                    down: Param::initialized(ParamId::new(), nothing()),
                    up: Param::initialized(ParamId::new(), nothing()),
                    layout,
                })
            }
        }
    }

    /// What a parameter has of the kind.
    #[must_use]
    pub fn of<const D: usize>(param: &Param<Tensor<D>>) -> Option<&Self> {
        param.reparameterization()
    }

    /// What a parameter's own tensor is beside the blocks: of the right shape, one number in memory, and no number, so that
    /// nothing can be computed with it unnoticed.
    #[must_use]
    pub fn base<const D: usize>(shape: [usize; D], dtype: DType, device: &Device) -> Tensor<D> {
        Tensor::<D>::full([1; D], f32::NAN, (device, dtype)).expand(shape)
    }

    /// The kind of blocks.
    #[must_use]
    pub fn format(&self) -> BlockFormat {
        self.layout.format
    }

    /// Rows and columns as they are stored.
    #[must_use]
    pub fn shape(&self) -> [usize; 2] {
        [self.layout.rows, self.layout.columns]
    }

    /// Whether the parameter has the transpose of what is stored.
    #[must_use]
    pub fn is_transposed(&self) -> bool {
        self.layout.transposed
    }

    /// The bytes, row by row.
    #[must_use]
    pub fn blocks(&self) -> Tensor<1, Int> {
        self.blocks.val()
    }

    /// The factors of what is added to the blocks, `up · down`: up `[rows, rank]`, down `[rank, columns]`; none if nothing is.
    #[must_use]
    pub fn side_path(&self) -> Option<[Tensor<2>; 2]> {
        let [_, columns] = self.down.dims();
        (columns == self.layout.columns).then(|| [self.up.val(), self.down.val()])
    }

    /// Bytes of the blocks.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.blocks.lazy_shape().num_elements()
    }
}

impl Reparameterization for Quantized {
    const NAME: &'static str = "quantized";

    fn apply<const D: usize>(&self, base: Tensor<D>) -> Tensor<D> {
        let Layout {
            format,
            rows,
            columns,
            transposed,
        } = self.layout;
        let data = self.blocks.val().into_data();
        let mut values = vec![0.0; rows * columns];
        format.widen(data.as_bytes(), 0, &mut values);
        let stored = Tensor::<2>::from_data(TensorData::new(values, [rows, columns]), (&base.device(), DType::F32));
        let stored = match self.side_path() {
            Some([up, down]) => stored + up.cast(DType::F32).matmul(down.cast(DType::F32)),
            None => stored,
        };
        let stored = if transposed { stored.transpose() } else { stored };
        stored.reshape(base.shape()).cast(base.dtype())
    }
}
