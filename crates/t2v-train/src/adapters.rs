//! Low-rank adapters, and how they get into a network.

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::{DType, Device, Gradients, Tensor, TensorData},
};
use t2v_weights::LoraTarget;

use crate::{
    Factors, TrainError, TrainSettings, Trainable,
    draws::{Draws, Purpose},
    error::setting,
    recording::Recording,
    targets::{TargetModules, diffusers_name, of_text_encoders, transformers_name},
};

/// The adapter of one linear layer or convolution.
#[derive(Debug, Clone)]
pub struct Adapter {
    /// The network that the layer is of.
    target: LoraTarget,
    /// Where the layer's weight is in its network.
    pub(crate) path: String,
    /// What diffusers calls the layer.
    name: String,
    /// The sides of a convolution's kernel; none of a linear layer.
    kernel: Vec<usize>,
    /// `[rank, in]`, of a convolution `[rank, in · kernel]`
    down: Tensor<2>,
    /// `[out, rank]`
    up: Tensor<2>,
}

impl Adapter {
    /// The network that the layer is of.
    #[must_use]
    pub fn target(&self) -> LoraTarget {
        self.target
    }

    /// What diffusers, or for the text encoder transformers, calls the layer.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The sides of a convolution's kernel; none of a linear layer.
    #[must_use]
    pub fn kernel(&self) -> &[usize] {
        &self.kernel
    }

    /// `[rank, in]`, PEFT's `lora_A`; of a convolution `[rank, in · kernel]`, its kernels row by row.
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

/// The adapters of a denoiser, in the order of its layers, and after them those of a text encoder where it is trained, too. Their
/// matrices are f32 and off the autodiff device.
#[derive(Debug, Clone)]
pub struct Adapters {
    layers: Vec<Adapter>,
    /// What the denoiser is called among the components of its model.
    component: &'static str,
    /// What each product is multiplied by.
    scale: f64,
}

/// A linear layer or a convolution.
struct Layer {
    /// Where its weight is.
    path: String,
    inputs: usize,
    outputs: usize,
    /// The sides of a convolution's kernel.
    kernel: Vec<usize>,
}

/// The weights of a network that are matrices or kernels.
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
        if D < 2 || self.path.last().is_none_or(|name| name != "weight") {
            return;
        }
        let dims = param.dims();
        // A linear layer shows its weight as `[in, out]`, however it lies in memory, a convolution as `[out, in, kernel …]`.
        let (inputs, outputs) = match D {
            2 => (dims[0], dims[1]),
            _ => (dims[1], dims[0]),
        };
        self.found.push(Layer {
            path: self.path.join("."),
            inputs,
            outputs,
            kernel: dims[2..].to_vec(),
        });
    }
}

impl Layers {
    /// Those of a network that are meant, with their names.
    fn named<M: Module>(
        network: &M,
        targets: &TargetModules,
        name: fn(&str) -> Option<String>,
    ) -> Vec<(Layer, String)> {
        let mut layers = Self::default();
        network.visit(&mut layers);
        let named = layers.found.into_iter().filter_map(|layer| {
            let name = name(&layer.path)?;
            targets.contains(&name).then_some((layer, name))
        });
        named.collect()
    }
}

impl Adapters {
    /// New adapters for the layers of a denoiser that are meant: `down` is random, `up` is zero, so that they change nothing yet.
    ///
    /// # Errors
    /// No layer of the network is meant.
    pub fn new<N: Trainable>(network: &N, settings: &TrainSettings, device: &Device) -> Result<Self, TrainError> {
        let layers = Layers::named(network, &settings.targets, diffusers_name);
        if layers.is_empty() {
            return Err(no_layers(&settings.targets));
        }
        let mut adapters = Self {
            layers: Vec::new(),
            component: N::COMPONENT,
            scale: settings.scale(),
        };
        adapters.add(layers, LoraTarget::Denoiser, settings, device);
        Ok(adapters)
    }

    /// These, and new ones for the attention of a text encoder.
    #[must_use]
    pub fn with_text_encoder<M: Module>(mut self, model: &M, settings: &TrainSettings, device: &Device) -> Self {
        let layers = Layers::named(model, &of_text_encoders(), transformers_name);
        self.add(layers, LoraTarget::TextEncoder, settings, device);
        self
    }

    fn add(&mut self, layers: Vec<(Layer, String)>, target: LoraTarget, settings: &TrainSettings, device: &Device) {
        let rank = settings.rank;
        for (layer, name) in layers {
            // All that an output sees.
            let seen = layer.inputs * layer.kernel.iter().product::<usize>();
            let place = [self.layers.len(), 0];
            let mut generator = Draws::new(settings.seed, Purpose::Adapters, place).generator();
            // The variance of PEFT's initial values, which are uniform.
            let deviation = 1.0 / (3.0 * seen as f32).sqrt();
            let mut values = generator.randn(rank * seen);
            values.iter_mut().for_each(|value| *value *= deviation);
            self.layers.push(Adapter {
                target,
                path: layer.path,
                name,
                kernel: layer.kernel,
                down: Tensor::from_data(TensorData::new(values, [rank, seen]), (device, DType::F32)),
                up: Tensor::zeros([layer.outputs, rank], (device, DType::F32)),
            });
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

    /// What the names of a part's layers begin with in a file.
    #[must_use]
    pub fn prefix(&self, target: LoraTarget) -> &'static str {
        match target {
            LoraTarget::Denoiser => self.component,
            LoraTarget::TextEncoder => "text_encoder",
        }
    }

    /// The adapters of a part, and the number of the first of them.
    pub(crate) fn of(&self, target: LoraTarget) -> (usize, &[Adapter]) {
        let is_denoisers = |layer: &Adapter| layer.target == LoraTarget::Denoiser;
        let split = self.layers.partition_point(is_denoisers);
        match target {
            LoraTarget::Denoiser => (0, &self.layers[..split]),
            LoraTarget::TextEncoder => (split, &self.layers[split..]),
        }
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
            ..self.clone()
        }
    }

    /// The same adapters on the autodiff device, as leaves whose gradients are kept.
    pub(crate) fn leaves(&self, recording: Recording) -> Self {
        self.with_factors(self.factors().map(|factor| recording.of(factor).require_grad()))
    }

    /// The gradients of [leaves](Self::leaves); zeros for what did not count.
    pub(crate) fn gradients(&self, gradients: &Gradients) -> Factors {
        let of = |factor: Tensor<2>| factor.grad(gradients).unwrap_or_else(|| factor.inner().zeros_like());
        self.factors().map(of)
    }
}

fn no_layers(targets: &TargetModules) -> TrainError {
    let ends = targets.ends().join(", ");
    let reason = format!("are {ends}, and no layer of the denoiser has such a name");
    setting("targets", reason)
}
