//! Weights of a module that stay in quantised blocks.

use std::collections::{BTreeMap, BTreeSet};

use burn::{
    module::{Module, ModuleVisitor, Param, Reparameterizer},
    tensor::{Bytes, DType, Tensor},
};
use t2v_quant::{BlockFormat, Quantized};

use crate::blocks::BlockSource;

/// Modules whose operators look for blocks.
const HOLDERS: [&str; 2] = ["Linear", "Embedding"];

/// Blocks that are still in their file, or in memory.
#[derive(Debug, Clone)]
pub(crate) enum Blocks {
    Stored(BlockSource),
    Read {
        format: BlockFormat,
        shape: Vec<usize>,
        bytes: Bytes,
    },
}

impl Blocks {
    /// As checkpoints have it.
    pub(crate) fn shape(&self) -> &[usize] {
        match self {
            Self::Stored(source) => &source.shape,
            Self::Read { shape, .. } => shape,
        }
    }

    /// In memory.
    pub(crate) fn read(&self) -> Result<Self, String> {
        match self {
            Self::Stored(source) => Ok(Self::Read {
                format: source.format,
                shape: source.shape.clone(),
                bytes: source.bytes().map_err(|e| e.to_string())?,
            }),
            Self::Read { .. } => Ok(self.clone()),
        }
    }

    fn into_bytes(self) -> Result<(BlockFormat, Bytes), String> {
        match self {
            Self::Stored(source) => Ok((source.format, source.bytes().map_err(|e| e.to_string())?)),
            Self::Read { format, bytes, .. } => Ok((format, bytes)),
        }
    }
}

/// The paths of the weights of a module that may be in blocks.
pub(crate) fn holders<M: Module>(module: &M) -> BTreeSet<String> {
    let mut holders = Holders::default();
    module.visit(&mut holders);
    holders.found
}

#[derive(Default)]
struct Holders {
    found: BTreeSet<String>,
    path: Vec<String>,
    modules: Vec<String>,
}

impl ModuleVisitor for Holders {
    fn enter_module(&mut self, name: &str, module: &str) {
        self.path.push(name.into());
        self.modules.push(module.into());
    }

    fn exit_module(&mut self, _name: &str, _module: &str) {
        self.path.pop();
        self.modules.pop();
    }

    fn visit_float<const D: usize>(&mut self, _param: &Param<Tensor<D>>) {
        let is_holder = |module: &String| HOLDERS.iter().any(|kind| module.ends_with(kind));
        let is_weight = self.path.last().is_some_and(|name| name == "weight");
        if D == 2 && is_weight && self.modules.last().is_some_and(is_holder) {
            self.found.insert(self.path.join("."));
        }
    }
}

/// Gives the weights at the paths of `blocks` these in place of values; those of a module that computes in `dtype`. Gives what
/// went wrong, with the path.
pub(crate) fn quantize<M: Module>(
    module: &mut M,
    blocks: BTreeMap<String, Blocks>,
    dtype: DType,
) -> Vec<(String, String)> {
    let mut quantizer = Quantizer {
        blocks,
        dtype,
        faults: Vec::new(),
    };
    *module = module.clone().apply_reparameterization(&mut quantizer);
    quantizer.faults
}

struct Quantizer {
    blocks: BTreeMap<String, Blocks>,
    dtype: DType,
    faults: Vec<(String, String)>,
}

impl Reparameterizer for &mut Quantizer {
    type Reparam = Quantized;

    fn reparameterize<const D: usize>(
        &mut self,
        path: &str,
        param: Param<Tensor<D>>,
    ) -> (Param<Tensor<D>>, Option<Quantized>) {
        let Some(blocks) = self.blocks.remove(path) else {
            return (param, None);
        };
        match quantized(&param, blocks, self.dtype) {
            Ok((base, quantized)) => (base, Some(quantized)),
            Err(reason) => {
                self.faults.push((path.into(), reason));
                (param, None)
            }
        }
    }
}

/// The parameter without values, and what stands for them.
fn quantized<const D: usize>(
    param: &Param<Tensor<D>>,
    blocks: Blocks,
    dtype: DType,
) -> Result<(Param<Tensor<D>>, Quantized), String> {
    let (found, expected) = (blocks.shape().to_vec(), param.lazy_shape());
    if found != expected.as_slice() {
        return Err(format!("has shape {found:?} instead of {:?}", expected.as_slice()));
    }
    let (Ok(shape), Ok(matrix)) = (<[usize; D]>::try_from(&*found), <[usize; 2]>::try_from(&*found)) else {
        return Err(format!("has shape {found:?}, that of no matrix"));
    };
    let device = param.lazy_device();
    let loaded = |tensor| param.clone().transform_for_load(tensor, param.id);
    // A linear layer may keep the transpose of what is stored: a column shows it.
    let mut column = [1; D];
    column[0] = 2;
    let transposed = loaded(Tensor::zeros(column, &device)).dims() != column;
    let (format, bytes) = blocks.into_bytes()?;
    let quantized = Quantized::new(format, matrix, transposed, bytes, &device)?;
    Ok((loaded(Quantized::base(shape, dtype, &device)), quantized))
}
