//! The parameters of a module, by the names that burn-store looks for when it fills it.

use std::iter;

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::{Bool, Int, Tensor},
};
use burn_store::{ModuleAdapter, ModuleContext, PyTorchToBurnAdapter};

/// What a parameter may be called in a checkpoint.
pub(crate) struct Parameter {
    /// Where it is in the module.
    pub(crate) path: String,
    /// As torch calls it, where that is another name.
    other: Option<String>,
}

impl Parameter {
    /// The names in the order in which they are looked for.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        iter::once(self.path.as_str()).chain(self.other.as_deref())
    }
}

/// The parameters of a module, in its order.
pub(crate) fn parameters<M: Module>(module: &M) -> Vec<Parameter> {
    let mut visitor = Visitor::default();
    module.visit(&mut visitor);
    visitor.found
}

#[derive(Default)]
struct Visitor {
    found: Vec<Parameter>,
    path: Vec<String>,
    /// What the modules on the way are.
    kinds: Vec<String>,
}

impl Visitor {
    fn parameter(&mut self) {
        self.found.push(Parameter {
            path: self.path.join("."),
            other: self.other_name(),
        });
    }

    fn other_name(&self) -> Option<String> {
        let (name, parents) = self.path.split_last()?;
        let kind = ModuleContext::new(&self.kinds).module_type()?;
        let other = PyTorchToBurnAdapter.get_alternative_param_name(name, kind)?;
        Some([parents, &[other]].concat().join("."))
    }
}

/// Variants of enums are no part of a path, as in [`Weights::load`](crate::Weights::load).
fn is_variant(kind: &str) -> bool {
    kind.starts_with("Enum:")
}

impl ModuleVisitor for Visitor {
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
