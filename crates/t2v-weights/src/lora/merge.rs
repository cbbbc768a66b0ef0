//! Sums in place of weights.

use std::collections::BTreeMap;

use burn::{
    module::{Module, ModuleMapper, Param},
    tensor::{DType, Tensor, TensorData},
};

use super::{AppliedLoras, layer::LoraLayer};
use crate::WeightsError;

/// Which of a layer's parameters something is added to.
#[derive(Clone, Copy)]
pub(super) enum Part {
    Weight,
    Bias,
}

/// A layer that is added to a parameter.
pub(super) struct Replacement<'a> {
    layer: &'a LoraLayer,
    part: Part,
    /// All factors together.
    scale: f64,
    /// For messages.
    file: &'a str,
}

impl<'a> Replacement<'a> {
    pub(super) fn new(layer: &'a LoraLayer, part: Part, scale: f64, file: &'a str) -> Self {
        Self {
            layer,
            part,
            scale,
            file,
        }
    }
}

/// Adds layers to the parameters at their paths.
pub(super) struct Merger<'a> {
    replacements: BTreeMap<String, Vec<Replacement<'a>>>,
    /// What sums are kept as.
    dtype: DType,
    path: Vec<String>,
    applied: AppliedLoras,
    fault: Option<WeightsError>,
}

impl<'a> Merger<'a> {
    pub(super) fn new(dtype: DType) -> Self {
        Self {
            replacements: BTreeMap::new(),
            dtype,
            path: Vec::new(),
            applied: AppliedLoras::default(),
            fault: None,
        }
    }

    pub(super) fn add(&mut self, path: String, replacement: Replacement<'a>) {
        // What is added 0 times takes no memory.
        if replacement.scale != 0.0 {
            self.replacements.entry(path).or_default().push(replacement);
        }
    }

    pub(super) fn leave_out(&mut self, keys: Vec<String>) {
        self.applied.left_out.extend(keys);
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
        added: &[Replacement<'_>],
    ) -> Result<Param<Tensor<D>>, WeightsError> {
        // As checkpoints have it: of a linear layer `[out, in]`.
        let stored = param.transform_for_save().val();
        let sum = sum(stored, added)?.cast(self.dtype);
        self.applied.keep(path, param.val(), &sum);
        let id = param.id;
        Ok(param.transform_for_load(sum, id))
    }
}

impl ModuleMapper for Merger<'_> {
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
        let Some(added) = self.replacements.remove(&path) else {
            return param;
        };
        match self.replaced(path, param.clone(), &added) {
            Ok(replaced) => replaced,
            Err(fault) => {
                self.fault = Some(fault);
                param
            }
        }
    }
}

/// `weight + Σ scale · up · down` in f32, or `bias + Σ scale · difference`.
fn sum<const D: usize>(weight: Tensor<D>, added: &[Replacement<'_>]) -> Result<Tensor<D>, WeightsError> {
    let (shape, device) = (weight.dims(), weight.device());
    let (rows, columns) = (shape[0], shape[1..].iter().product::<usize>());
    let mut sum: Tensor<2> = weight.cast(DType::F32).reshape([rows, columns]);
    for Replacement {
        layer,
        part,
        scale,
        file,
    } in added
    {
        let fault = |reason| WeightsError::Lora {
            file: (*file).into(),
            reason,
        };
        let matrix = |values: Vec<f32>, shape: [usize; 2]| {
            Tensor::<2>::from_data(TensorData::new(values, shape), (&device, DType::F32))
        };
        let difference = match part {
            Part::Weight => {
                let [up, down] = layer.read().map_err(fault)?;
                let (up, down) = (matrix(up, [rows, layer.rank]), matrix(down, [layer.rank, columns]));
                up.mul_scalar(*scale).matmul(down)
            }
            Part::Bias => matrix(layer.read_bias().map_err(fault)?, [rows, columns]).mul_scalar(*scale),
        };
        sum = sum + difference;
    }
    Ok(sum.reshape(shape))
}
