//! Networks of a model: from a component's configuration and weights to a module.

use burn::tensor::{DType, Device};
use burn_store::ModuleSnapshot;

use crate::{Component, Floats, KeyMap, ReadMeter, Weights, WeightsError};

/// How a network is loaded.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    pub(crate) floats: Floats,
    pub(crate) device: Device,
    meter: Option<ReadMeter>,
}

impl LoadOptions {
    /// Every parameter as `dtype`, on `device`.
    #[must_use]
    pub fn new(dtype: DType, device: &Device) -> Self {
        Self {
            floats: dtype.into(),
            device: device.clone(),
            meter: None,
        }
    }

    /// Leaves large matrices and kernels that are stored in half precision, or in quantised blocks, as they are, for networks
    /// whose operators widen them while they compute: less memory, and the same results.
    #[must_use]
    pub fn keep_half(mut self, keep_half: bool) -> Self {
        self.floats = self.floats.keep_half(keep_half);
        self
    }

    /// The same in f32, for a network that overflows in half precision.
    #[must_use]
    pub fn in_single_precision(mut self) -> Self {
        self.floats = self.floats.in_single_precision();
        self
    }

    /// Has `meter` count the bytes of the network that is being loaded, and stop it.
    #[must_use]
    pub fn with_meter(mut self, meter: &ReadMeter) -> Self {
        self.meter = Some(meter.clone());
        self
    }

    /// Where.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// What floating-point parameters become in memory.
    #[must_use]
    pub fn floats(&self) -> Floats {
        self.floats
    }
}

/// A network that a configuration describes and a checkpoint's weights fill.
pub trait Network: ModuleSnapshot + Sized {
    /// The configuration.
    type Config;
    /// Why there is no network.
    type Error: From<WeightsError>;

    /// Reads and checks the configuration of a component.
    ///
    /// # Errors
    /// A file that is missing, damaged or of another class, a value that no network can have.
    fn read_config(component: &Component) -> Result<Self::Config, Self::Error>;

    /// The network of a configuration, whose parameters have no values yet.
    ///
    /// # Errors
    /// A value that no network can have.
    fn init(config: Self::Config, device: &Device) -> Result<Self, Self::Error>;

    /// From a checkpoint's keys to the network's fields.
    fn key_map() -> KeyMap;

    /// A network with the given weights.
    ///
    /// # Errors
    /// As for [`init`](Self::init); weights that can't be read, or don't fit.
    fn from_weights(config: Self::Config, weights: &Weights, options: &LoadOptions) -> Result<Self, Self::Error> {
        let mut network = Self::init(config, &options.device)?;
        let weights = match &options.meter {
            Some(meter) => weights.clone().with_meter(meter),
            None => weights.clone(),
        };
        weights.load(&mut network, &Self::key_map(), options.floats)?;
        Ok(network)
    }

    /// Reads configuration and weights of a component of a model folder.
    ///
    /// # Errors
    /// As for [`read_config`](Self::read_config) and [`from_weights`](Self::from_weights).
    fn from_component(component: &Component, options: &LoadOptions) -> Result<Self, Self::Error> {
        Self::from_weights(Self::read_config(component)?, &component.weights()?, options)
    }
}
