//! Layers in the type that a checkpoint's would have.

use burn::{
    module::{Module, ModuleMapper, Param},
    tensor::{DType, Tensor},
};

/// A layer whose parameters have a type, as if a model had been loaded in it: those of normalisations stay in f32.
#[must_use]
pub fn in_dtype<M: Module>(layer: M, dtype: DType) -> M {
    let mut mapper = Cast {
        dtype,
        owners: Vec::new(),
    };
    layer.map(&mut mapper)
}

struct Cast {
    dtype: DType,
    /// The types of the modules around a parameter, as in `Struct:Linear`.
    owners: Vec<String>,
}

impl ModuleMapper for Cast {
    fn enter_module(&mut self, _name: &str, owner: &str) {
        self.owners.push(owner.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _owner: &str) {
        self.owners.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let is_norm = self.owners.last().is_some_and(|owner| owner.ends_with("Norm"));
        match is_norm {
            true => param,
            false => param.map(|values| values.cast(self.dtype)),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::{nn::GroupNormConfig, tensor::Device};

    use super::*;

    #[test]
    fn normalisations_stay_in_single_precision() {
        let device = Device::flex();
        let linear = in_dtype(t2v_kernels::linear(4, 2, true, &device), DType::F16);
        assert_eq!(linear.weight.val().dtype(), DType::F16);
        assert_eq!(linear.bias.map(|bias| bias.val().dtype()), Some(DType::F16));
        let norm = in_dtype(GroupNormConfig::new(2, 4).init(&device), DType::F16);
        assert_eq!(norm.gamma.map(|gamma| gamma.val().dtype()), Some(DType::F32));
    }
}
