//! Weights that LoRAs replaced, to be put back.

use std::{any::Any, collections::BTreeMap};

use burn::{
    module::{Module, ModuleMapper, Param},
    tensor::Tensor,
};

use super::beside::Factor;

/// What [`LoraSet::apply`](super::LoraSet::apply) replaced.
///
/// Put back what was added last first.
#[derive(Debug, Default)]
pub struct AppliedLoras {
    /// A tensor of its own number of dimensions for each path.
    originals: BTreeMap<String, Box<dyn Any + Send + Sync>>,
    bytes: u64,
    pub(super) left_out: Vec<String>,
}

impl AppliedLoras {
    pub(super) fn keep<const D: usize, const S: usize>(&mut self, path: String, original: Tensor<D>, sum: &Tensor<S>) {
        self.bytes += (sum.shape().num_elements() * sum.dtype().size()) as u64;
        self.originals.insert(path, Box::new(original));
    }

    /// How many weights were replaced, or got a side path beside their quantised blocks.
    #[must_use]
    pub fn layers(&self) -> usize {
        let is_second = |path: &&String| Factor::of(path).is_some_and(|(_, factor)| factor == Factor::Up);
        self.originals.keys().filter(|path| !is_second(path)).count()
    }

    /// Bytes that the sums take beside the weights that they replace.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Keys of layers that the module does not have, in the order of their files.
    #[must_use]
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// The module with its own weights, the very tensors that it had.
    #[must_use]
    pub fn remove<M: Module>(self, module: M) -> M {
        match self.originals.is_empty() {
            true => module,
            false => module.map(&mut Restorer {
                originals: self.originals,
                path: Vec::new(),
            }),
        }
    }
}

struct Restorer {
    originals: BTreeMap<String, Box<dyn Any + Send + Sync>>,
    path: Vec<String>,
}

impl ModuleMapper for Restorer {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let original = self.originals.remove(&self.path.join("."));
        match original.and_then(|tensor| tensor.downcast::<Tensor<D>>().ok()) {
            Some(original) => param.map(|_| *original),
            None => param,
        }
    }
}
