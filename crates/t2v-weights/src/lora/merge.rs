//! Sums in place of weights.

use std::collections::{BTreeMap, BTreeSet};

use burn::{
    module::{Module, ModuleMapper, Param},
    tensor::{DType, Tensor, TensorData},
};

use super::{AppliedLoras, beside::Factor, layer::LoraLayer};
use crate::WeightsError;

/// Which of a layer's parameters something is added to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    Weight,
    Bias,
}

/// A layer that is added to a parameter.
#[derive(Debug, Clone)]
pub(super) struct Replacement {
    layer: LoraLayer,
    part: Part,
    /// All factors together.
    scale: f64,
    /// For messages.
    file: String,
}

impl Replacement {
    pub(super) fn new(layer: &LoraLayer, part: Part, scale: f64, file: &str) -> Self {
        Self {
            layer: layer.clone(),
            part,
            scale,
            file: file.into(),
        }
    }

    /// Of the layer's matrices.
    pub(super) fn rank(&self) -> usize {
        self.layer.rank
    }

    /// All factors together.
    pub(super) fn scale(&self) -> f64 {
        self.scale
    }

    /// `[rows, rank]` and `[rank, columns]`.
    pub(super) fn factors(&self) -> Result<[Vec<f32>; 2], WeightsError> {
        self.layer.read().map_err(|reason| self.fault(reason))
    }

    fn fault(&self, reason: String) -> WeightsError {
        WeightsError::Lora {
            file: self.file.clone(),
            reason,
        }
    }
}

/// What is added, by the paths of parameters.
pub(super) type Replacements = BTreeMap<String, Vec<Replacement>>;

/// Adds layers to the parameters at their paths.
pub(super) struct Merger {
    replacements: Replacements,
    /// What sums are kept as.
    dtype: DType,
    /// The paths of weights in quantised blocks, beside which the layers stay as they are.
    quantised: BTreeSet<String>,
    path: Vec<String>,
    applied: AppliedLoras,
    fault: Option<WeightsError>,
}

impl Merger {
    /// For a module whose own path in the network is `path`, with nothing to begin with.
    pub(super) fn new(
        replacements: Replacements,
        dtype: DType,
        quantised: BTreeSet<String>,
        path: Vec<String>,
    ) -> Self {
        Self {
            replacements,
            dtype,
            quantised,
            path,
            applied: AppliedLoras::default(),
            fault: None,
        }
    }

    pub(super) fn merge<M: Module>(mut self, module: M) -> Result<(M, AppliedLoras), WeightsError> {
        if self.replacements.is_empty() {
            return Ok((module, self.applied));
        }
        let module = module.map(&mut self);
        match self.fault {
            Some(fault) => Err(fault),
            None => Ok((module, self.applied)),
        }
    }

    fn replaced<const D: usize>(
        &mut self,
        path: String,
        param: Param<Tensor<D>>,
        added: &[Replacement],
    ) -> Result<Param<Tensor<D>>, WeightsError> {
        // As checkpoints have it: of a linear layer `[out, in]`.
        let stored = param.transform_for_save().val();
        let sum = sum(stored, added)?.cast(self.dtype);
        self.applied.keep(path, param.val(), &sum);
        let id = param.id;
        Ok(param.transform_for_load(sum, id))
    }

    /// What becomes of a parameter with these layers added.
    fn changed<const D: usize>(
        &mut self,
        path: String,
        param: Param<Tensor<D>>,
    ) -> Result<Param<Tensor<D>>, WeightsError> {
        if let Some((weight, factor)) = Factor::of(&path) {
            let Some(added) = self.replacements.get(weight) else {
                return Ok(param);
            };
            let values = factor.values(added, &param.device())?.cast(self.dtype);
            let Ok(shape) = <[usize; D]>::try_from(&values.dims()[..]) else {
                return Ok(param);
            };
            self.applied.keep(path, param.val(), &values);
            return Ok(param.map(|_| values.reshape(shape)));
        }
        if self.quantised.contains(&path) {
            return Ok(param);
        }
        match self.replacements.remove(&path) {
            Some(added) => self.replaced(path, param, &added),
            None => Ok(param),
        }
    }
}

impl ModuleMapper for Merger {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let path = self.path.join(".");
        if self.fault.is_some() {
            return param;
        }
        match self.changed(path, param.clone()) {
            Ok(changed) => changed,
            Err(fault) => {
                self.fault = Some(fault);
                param
            }
        }
    }
}

/// `weight + Σ scale · up · down` in f32, or `bias + Σ scale · difference`.
fn sum<const D: usize>(weight: Tensor<D>, added: &[Replacement]) -> Result<Tensor<D>, WeightsError> {
    let (shape, device) = (weight.dims(), weight.device());
    let (rows, columns) = (shape[0], shape[1..].iter().product::<usize>());
    let mut sum: Tensor<2> = weight.cast(DType::F32).reshape([rows, columns]);
    for replacement in added {
        let Replacement { layer, part, scale, .. } = replacement;
        let matrix = |values: Vec<f32>, shape: [usize; 2]| {
            Tensor::<2>::from_data(TensorData::new(values, shape), (&device, DType::F32))
        };
        let difference = match part {
            Part::Weight => {
                let [up, down] = replacement.factors()?;
                let (up, down) = (matrix(up, [rows, layer.rank]), matrix(down, [layer.rank, columns]));
                up.mul_scalar(*scale).matmul(down)
            }
            Part::Bias => {
                let bias = layer.read_bias().map_err(|reason| replacement.fault(reason))?;
                matrix(bias, [rows, columns]).mul_scalar(*scale)
            }
        };
        sum = sum + difference;
    }
    Ok(sum.reshape(shape))
}
