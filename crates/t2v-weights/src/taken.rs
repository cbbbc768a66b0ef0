//! Which tensors of a checkpoint a module takes, before any is read: the names that burn-store looks for when it fills it.

use std::collections::HashMap;

use burn::{
    module::{ModuleVisitor, Param},
    tensor::{Bool, Int, Tensor},
};
use burn_store::{ModuleAdapter, ModuleContext, ModuleSnapshot, PyTorchToBurnAdapter};

/// Bytes of the tensors that `module` takes of those in `sizes`, which has the bytes of each by its path in the module.
pub(crate) fn bytes_taken<M: ModuleSnapshot>(module: &M, sizes: HashMap<String, u64>) -> u64 {
    let mut sum = Sum {
        sizes,
        path: Vec::new(),
        kinds: Vec::new(),
        bytes: 0,
    };
    module.visit(&mut sum);
    sum.bytes
}

struct Sum {
    /// Of those that no parameter took yet.
    sizes: HashMap<String, u64>,
    path: Vec<String>,
    /// What the modules on the way are.
    kinds: Vec<String>,
    bytes: u64,
}

impl Sum {
    fn parameter(&mut self) {
        let found = self.sizes.remove(&self.path.join("."));
        self.bytes += found.or_else(|| self.under_its_other_name()).unwrap_or(0);
    }

    fn under_its_other_name(&mut self) -> Option<u64> {
        let (name, parents) = self.path.split_last()?;
        let kind = ModuleContext::new(&self.kinds).module_type()?;
        let other = PyTorchToBurnAdapter.get_alternative_param_name(name, kind)?;
        let mut path = parents.to_vec();
        path.push(other);
        self.sizes.remove(&path.join("."))
    }
}

/// Variants of enums are no part of a path, as in [`Weights::load`](crate::Weights::load).
fn is_variant(kind: &str) -> bool {
    kind.starts_with("Enum:")
}

impl ModuleVisitor for Sum {
    fn enter_module(&mut self, name: &str, kind: &str) {
        self.kinds.push(kind.to_owned());
        if !is_variant(kind) {
            self.path.push(name.to_owned());
        }
    }

    fn exit_module(&mut self, _name: &str, kind: &str) {
        self.kinds.pop();
        if !is_variant(kind) {
            self.path.pop();
        }
    }

    fn visit_float<const D: usize>(&mut self, _: &Param<Tensor<D>>) {
        self.parameter();
    }

    fn visit_int<const D: usize>(&mut self, _: &Param<Tensor<D, Int>>) {
        self.parameter();
    }

    fn visit_bool<const D: usize>(&mut self, _: &Param<Tensor<D, Bool>>) {
        self.parameter();
    }
}
