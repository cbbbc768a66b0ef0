//! How adapters get into a network: the weight of each adapted layer is the sum of its own and the adapter's product.

use burn::{
    module::{Module, ModuleMapper, Param},
    tensor::{DType, Tensor, TensorData},
};
use t2v_weights::LoraTarget;

use crate::{Adapter, Adapters, recording::Recording};

/// A network on the autodiff device, with all parameters as constants.
#[must_use]
pub fn freeze<M: Module>(network: M) -> M {
    frozen(network, Recording::default())
}

/// As [`freeze`], for calls that are recorded so.
pub(crate) fn frozen<M: Module>(network: M, recording: Recording) -> M {
    network.map(&mut Frozen(recording))
}

struct Frozen(Recording);

impl ModuleMapper for Frozen {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, value, mapper) = param.consume();
        let value = self.0.of(value.detach().set_require_grad(false));
        Param::from_mapped_value(id, value, mapper)
    }
}

/// A copy of a denoiser in which the weight of each adapted layer is the sum of its own and the adapter's.
///
/// `kept` says for each adapter what its ranks are multiplied by, for dropout; none leaves them.
#[must_use]
pub fn attach<M: Module>(network: &M, adapters: &Adapters, kept: Option<&[Vec<f32>]>) -> M {
    attach_to(LoraTarget::Denoiser, network, adapters, kept)
}

/// As [`attach`], for a denoiser or a text encoder.
#[must_use]
pub fn attach_to<M: Module>(target: LoraTarget, network: &M, adapters: &Adapters, kept: Option<&[Vec<f32>]>) -> M {
    let (first, layers) = adapters.of(target);
    network.clone().map(&mut Attached {
        layers,
        scale: adapters.scale(),
        kept: kept.map(|kept| &kept[first..]),
        next: 0,
        path: Vec::new(),
    })
}

struct Attached<'a> {
    layers: &'a [Adapter],
    scale: f64,
    kept: Option<&'a [Vec<f32>]>,
    /// The adapter that comes next: they are in the order of the layers.
    next: usize,
    path: Vec<String>,
}

impl Attached<'_> {
    /// What is added to the weight of the next adapter's layer: `[in, out]`, of a convolution `[out, in · kernel]`.
    fn difference(&self) -> Tensor<2> {
        let layer = &self.layers[self.next];
        let mut down = layer.down().clone();
        if let Some(kept) = self.kept {
            let kept = &kept[self.next];
            let data = TensorData::new(kept.clone(), [kept.len(), 1]);
            down = down.clone() * Tensor::from_data(data, (&down.device(), DType::F32));
        }
        let up = layer.up().clone();
        let product = match layer.kernel().is_empty() {
            true => down.transpose().matmul(up.transpose()),
            false => up.matmul(down),
        };
        product * self.scale
    }
}

impl ModuleMapper for Attached<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let adapted = self.layers.get(self.next);
        if adapted.is_none_or(|layer| layer.path != self.path.join(".")) {
            return param;
        }
        let shape = param.dims();
        let difference: Tensor<D> = self.difference().reshape(shape);
        self.next += 1;
        let (id, weight, mapper) = param.consume();
        Param::from_mapped_value(id, weight + difference, mapper)
    }
}
