//! Tensors under the paths of a module's parameters, and how they get there.

use std::collections::BTreeMap;

use burn_store::{
    ApplyError, ApplyResult, ModuleAdapter, ModuleContext, ModuleSnapshot, PyTorchToBurnAdapter,
    burn_pack::Tensor as DeferredTensor,
};

use crate::{
    Floats,
    quantize::{Blocks, holders, quantize},
    tensors::cast_to,
};

/// Tensors of a module, not read yet or just read.
#[derive(Clone, Default)]
pub(crate) struct Named {
    pub(crate) tensors: Vec<DeferredTensor>,
    /// The quantised blocks of those that may stay in them, by path.
    pub(crate) blocks: BTreeMap<String, Blocks>,
}

impl Named {
    /// Those of a part of the module, under the paths that they have in it.
    pub(crate) fn part(&self, prefix: &str) -> Self {
        let inside = |path: &str| path.strip_prefix(prefix).map(str::to_owned);
        let tensors = self.tensors.iter().filter_map(|tensor| {
            let mut part = tensor.clone();
            part.name = inside(&tensor.name)?;
            Some(part)
        });
        let blocks = self.blocks.iter();
        Self {
            tensors: tensors.collect(),
            blocks: blocks
                .filter_map(|(path, blocks)| Some((inside(path)?, blocks.clone())))
                .collect(),
        }
    }

    /// The same in memory. What stays in blocks is read as blocks alone.
    ///
    /// # Errors
    /// A file that can't be read, with the path of the tensor.
    pub(crate) fn read(&self) -> Result<Self, (String, String)> {
        let read = |tensor: &DeferredTensor| -> Result<_, (String, String)> {
            if self.blocks.contains_key(&tensor.name) {
                return Ok(tensor.clone());
            }
            let bytes = tensor.to_bytes().map_err(|e| (tensor.name.clone(), e.to_string()))?;
            let DeferredTensor { name, dtype, shape, .. } = tensor;
            Ok(DeferredTensor::new(name.clone(), *dtype, shape.clone(), None, bytes))
        };
        let of_path = |(path, blocks): (&String, &Blocks)| {
            let read = blocks.read().map_err(|reason| (path.clone(), reason))?;
            Ok((path.clone(), read))
        };
        Ok(Self {
            tensors: self.tensors.iter().map(read).collect::<Result<_, _>>()?,
            blocks: self
                .blocks
                .iter()
                .map(of_path)
                .collect::<Result<_, (String, String)>>()?,
        })
    }

    /// Fills a module, floating-point parameters as `floats`: weights that may stay in blocks, and whose operators take them,
    /// with these, all others with values.
    pub(crate) fn fill<M: ModuleSnapshot>(self, module: &mut M, floats: Floats) -> ApplyResult {
        let Self { tensors, mut blocks } = self;
        if !blocks.is_empty() {
            let holders = holders(module);
            blocks.retain(|path, _| holders.contains(path));
        }
        let is_kept = |path: &String| blocks.contains_key(path);
        let tensors = tensors.into_iter().filter(|tensor| !is_kept(&tensor.name)).collect();
        // A list of layers of several kinds is a list of an enum's values; keys don't say which.
        let skip_enum_variants = true;
        let adapter = Box::new(TorchModules { floats });
        let mut result = module.apply(tensors, None, Some(adapter), skip_enum_variants);
        result.missing.retain(|(path, _)| !is_kept(path));
        if !blocks.is_empty() {
            let faults = quantize(module, blocks, floats.dtype()).into_iter();
            let faults = faults.map(|(path, message)| ApplyError::LoadError { path, message });
            result.errors.extend(faults);
        }
        result
    }
}

/// Burn's normalisation layers name their parameters `gamma` and `beta`, torch's `weight` and `bias`.
///
/// Unlike burn-store's own adapter this one leaves linear weights as torch stores them, `[out, in]`: the models' linear
/// layers are column-major, so a view does what a transposing copy would.
#[derive(Clone)]
struct TorchModules {
    floats: Floats,
}

impl ModuleAdapter for TorchModules {
    fn adapt(&self, tensor: DeferredTensor, context: ModuleContext<'_>) -> DeferredTensor {
        let wanted = self
            .floats
            .of_module(tensor.dtype, &tensor.shape, context.module_type());
        let is_of = |kind| context.module_type().is_some_and(|name| name.ends_with(kind));
        let tensor = match () {
            () if is_of("Linear") => as_matrix(tensor),
            () if is_of("Conv2d") => as_kernels_of_images(tensor),
            () if is_of("ChannelRmsNorm") => as_vector(tensor),
            () => tensor,
        };
        cast_to(tensor, wanted)
    }

    fn get_alternative_param_name(&self, name: &str, module: &str) -> Option<String> {
        PyTorchToBurnAdapter.get_alternative_param_name(name, module)
    }

    fn clone_box(&self) -> Box<dyn ModuleAdapter> {
        Box::new(self.clone())
    }
}

/// A convolution by a kernel of one pixel is a linear layer over pixels, and checkpoints have one where others have the other.
/// One in three dimensions whose kernel is as large as its stride is a linear layer over patches.
fn as_matrix(mut tensor: DeferredTensor) -> DeferredTensor {
    match *tensor.shape.as_slice() {
        [out, width, 1, 1] => tensor.shape = [out, width].into(),
        [out, channels, time, height, width] => tensor.shape = [out, channels * time * height * width].into(),
        _ => {}
    }
    tensor
}

/// A convolution over the frames of a clip is one over images of their channels in turns (`conv2d_turns` in `t2v-kernels`).
fn as_kernels_of_images(mut tensor: DeferredTensor) -> DeferredTensor {
    if let [out, channels, frames, height, width] = *tensor.shape.as_slice() {
        tensor.shape = [out, channels * frames, height, width].into();
    }
    tensor
}

/// Checkpoints have a value a channel in the shape of an image or a clip.
fn as_vector(mut tensor: DeferredTensor) -> DeferredTensor {
    if let [channels, 1, 1] | [channels, 1, 1, 1] = *tensor.shape.as_slice() {
        tensor.shape = [channels].into();
    }
    tensor
}
