//! Where a model computes, and how precisely.

use burn::tensor::Device;
use t2v_kernels::takes_half_weights;
use t2v_weights::LoadOptions;

use super::Dtype;
use crate::PipelineError;

/// Where a model computes, and in which floating-point type. A device alone says single precision.
///
/// ```no_run
/// use t2v_pipeline::{Backend, DeviceName, Dtype, Pipeline, Placement};
///
/// # fn main() -> Result<(), t2v_pipeline::PipelineError> {
/// let device = DeviceName::new(Backend::Cuda, 0).device()?;
/// let pipeline = Pipeline::from_dir("models/zeroscope", Placement::new(&device).with_dtype(Dtype::F16))?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    device: Device,
    dtype: Dtype,
}

impl Placement {
    /// On a device, in single precision.
    #[must_use]
    pub fn new(device: &Device) -> Self {
        Self {
            device: device.clone(),
            dtype: Dtype::F32,
        }
    }

    /// Sets the type that networks compute in. Whether the device can is seen when a model is opened, or by [`Dtype::on`].
    #[must_use]
    pub fn with_dtype(mut self, dtype: Dtype) -> Self {
        self.dtype = dtype;
        self
    }

    /// Where.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// In which type.
    #[must_use]
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// How networks are loaded: on the CPU large weights that are stored in half precision stay so.
    ///
    /// # Errors
    /// A type that the device can't compute in.
    pub fn load_options(&self) -> Result<LoadOptions, PipelineError> {
        let dtype = self.dtype.on(&self.device)?;
        let keep_half = takes_half_weights(dtype, &self.device);
        Ok(LoadOptions::new(dtype, &self.device).keep_half(keep_half))
    }
}

impl From<&Device> for Placement {
    fn from(device: &Device) -> Self {
        Self::new(device)
    }
}

impl From<&Placement> for Placement {
    fn from(placement: &Placement) -> Self {
        placement.clone()
    }
}
