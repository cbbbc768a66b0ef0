//! Low-rank adapters, and how they get into a network.

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param},
    tensor::{DType, Device, Gradients, Tensor, TensorData},
};

use crate::{
    Factors, TrainError, TrainSettings,
    draws::{Draws, Purpose},
    error::setting,
    targets::{TargetModules, diffusers_name},
};

/// The adapter of one linear layer.
#[derive(Debug, Clone)]
pub struct Adapter {
    /// Where the layer's weight is in its network.
    path: String,
    /// What diffusers calls the layer.
    name: String,
    /// `[rank, in]`
    down: Tensor<2>,
    /// `[out, rank]`
    up: Tensor<2>,
}

impl Adapter {
    /// What diffusers calls the layer.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `[rank, in]`, PEFT's `lora_A`.
    #[must_use]
    pub fn down(&self) -> &Tensor<2> {
        &self.down
    }

    /// `[out, rank]`, PEFT's `lora_B`.
    #[must_use]
    pub fn up(&self) -> &Tensor<2> {
        &self.up
    }
}

/// The adapters of a network, in the order of its layers. Their matrices are f32 and off the autodiff device.
#[derive(Debug, Clone)]
pub struct Adapters {
    layers: Vec<Adapter>,
    /// What each product is multiplied by.
    scale: f64,
}

/// A linear layer: where its weight is, `in` and `out`.
struct Layer {
    path: String,
    widths: [usize; 2],
}

/// The weights of a network that are matrices.
#[derive(Default)]
struct Layers {
    found: Vec<Layer>,
    path: Vec<String>,
}

impl ModuleVisitor for Layers {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        // A linear layer shows its weight as `[in, out]`, however it lies in memory.
        if D == 2 && self.path.last().is_some_and(|name| name == "weight") {
            let dims = param.dims();
            self.found.push(Layer {
                path: self.path.join("."),
                widths: [dims[0], dims[1]],
            });
        }
    }
}

impl Adapters {
    /// New adapters for the layers of a network that are meant: `down` is random, `up` is zero, so that they change nothing yet.
    ///
    /// # Errors
    /// No layer of the network is meant.
    pub fn new<M: Module>(network: &M, settings: &TrainSettings, device: &Device) -> Result<Self, TrainError> {
        let mut layers = Layers::default();
        network.visit(&mut layers);
        let named = layers.found.into_iter().filter_map(|layer| {
            let name = diffusers_name(&layer.path)?;
            settings.targets.contains(&name).then_some((layer, name))
        });
        let layers: Vec<Adapter> = named
            .enumerate()
            .map(|(i, (layer, name))| {
                let [input, output] = layer.widths;
                let mut generator = Draws::new(settings.seed, Purpose::Adapters, [i, 0]).generator();
                // The variance of PEFT's initial values, which are uniform.
                let deviation = 1.0 / (3.0 * input as f32).sqrt();
                let values: Vec<f32> = generator
                    .randn(settings.rank * input)
                    .iter()
                    .map(|x| x * deviation)
                    .collect();
                let on = (device, DType::F32);
                Adapter {
                    path: layer.path,
                    name,
                    down: Tensor::from_data(TensorData::new(values, [settings.rank, input]), on),
                    up: Tensor::zeros([output, settings.rank], (device, DType::F32)),
                }
            })
            .collect();
        match layers.is_empty() {
            true => Err(no_layers(&settings.targets)),
            false => Ok(Self {
                layers,
                scale: settings.scale(),
            }),
        }
    }

    /// One a layer.
    #[must_use]
    pub fn layers(&self) -> &[Adapter] {
        &self.layers
    }

    /// What each product is multiplied by.
    #[must_use]
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// How many numbers are trained.
    #[must_use]
    pub fn parameters(&self) -> usize {
        let of = |tensor: &Tensor<2>| tensor.shape().num_elements();
        self.layers.iter().map(|layer| of(&layer.down) + of(&layer.up)).sum()
    }

    /// Names and shapes of the matrices, in the order of [`factors`](Self::factors).
    pub(crate) fn keys(&self) -> impl Iterator<Item = (String, [usize; 2])> {
        self.layers.iter().flat_map(|layer| {
            [
                (format!("{}.lora_A", layer.name), layer.down.dims()),
                (format!("{}.lora_B", layer.name), layer.up.dims()),
            ]
        })
    }

    /// All matrices.
    #[must_use]
    pub fn factors(&self) -> Factors {
        let both = self
            .layers
            .iter()
            .flat_map(|layer| [layer.down.clone(), layer.up.clone()]);
        Factors(both.collect())
    }

    /// The same adapters with other matrices.
    ///
    /// # Panics
    /// On matrices of another number or shape.
    #[must_use]
    pub fn with_factors(&self, factors: Factors) -> Self {
        let pairs = factors.0.chunks_exact(2);
        assert_eq!(pairs.len(), self.layers.len(), "an adapter has two factors");
        let layers = self.layers.iter().zip(pairs).map(|(layer, pair)| {
            let (down, up) = (pair[0].clone(), pair[1].clone());
            assert_eq!(
                [down.dims(), up.dims()],
                [layer.down.dims(), layer.up.dims()],
                "{}",
                layer.name
            );
            Adapter {
                down,
                up,
                ..layer.clone()
            }
        });
        Self {
            layers: layers.collect(),
            scale: self.scale,
        }
    }

    /// The same adapters on the autodiff device, as leaves whose gradients are kept.
    pub(crate) fn leaves(&self) -> Self {
        self.with_factors(self.factors().map(|factor| factor.autodiff().require_grad()))
    }

    /// The gradients of [leaves](Self::leaves); zeros for what did not count.
    pub(crate) fn gradients(&self, gradients: &Gradients) -> Factors {
        let of = |factor: Tensor<2>| factor.grad(gradients).unwrap_or_else(|| factor.inner().zeros_like());
        self.factors().map(of)
    }
}

fn no_layers(targets: &TargetModules) -> TrainError {
    let ends = targets.ends().join(", ");
    let reason = format!("are {ends}, and no linear layer of the denoiser has such a name");
    setting("targets", reason)
}

/// A network on the autodiff device, with all parameters as constants.
#[must_use]
pub fn freeze<M: Module>(network: M) -> M {
    struct Frozen;
    impl ModuleMapper for Frozen {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let (id, value, mapper) = param.consume();
            Param::from_mapped_value(id, value.detach().set_require_grad(false).autodiff(), mapper)
        }
    }
    network.map(&mut Frozen)
}

/// A copy of a network in which the weight of each adapted layer is the sum of its own and the adapter's.
///
/// `kept` says for each adapter what its ranks are multiplied by, for dropout; none leaves them.
#[must_use]
pub fn attach<M: Module>(network: &M, adapters: &Adapters, kept: Option<&[Vec<f32>]>) -> M {
    network.clone().map(&mut Attached {
        adapters,
        kept,
        next: 0,
        path: Vec::new(),
    })
}

struct Attached<'a> {
    adapters: &'a Adapters,
    kept: Option<&'a [Vec<f32>]>,
    /// The adapter that comes next: they are in the order of the layers.
    next: usize,
    path: Vec<String>,
}

impl Attached<'_> {
    /// What is added to the weight of the next adapter's layer, `[in, out]`.
    fn difference(&self) -> Tensor<2> {
        let Adapter { down, up, .. } = &self.adapters.layers[self.next];
        let mut down = down.clone();
        if let Some(kept) = self.kept {
            let kept = &kept[self.next];
            let data = TensorData::new(kept.clone(), [kept.len(), 1]);
            down = down.clone() * Tensor::from_data(data, (&down.device(), DType::F32));
        }
        down.transpose().matmul(up.clone().transpose()) * self.adapters.scale
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
        let adapted = self.adapters.layers.get(self.next);
        if D != 2 || adapted.is_none_or(|layer| layer.path != self.path.join(".")) {
            return param;
        }
        let shape = param.dims();
        let difference: Tensor<D> = self.difference().reshape(shape);
        self.next += 1;
        let (id, weight, mapper) = param.consume();
        Param::from_mapped_value(id, weight + difference, mapper)
    }
}
