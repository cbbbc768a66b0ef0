//! Where benchmarks run.

use std::fmt;

use burn::tensor::{DType, Device};
use t2v_pipeline::{DeviceName, Dtype, PipelineError, Placement};

/// A device, and the type that networks compute in on it.
#[derive(Debug, Clone)]
pub struct Target {
    name: DeviceName,
    dtype: Dtype,
    placement: Placement,
}

impl Target {
    /// The device that the environment variable `T2V_DEVICE` names (`flex`, the CPU, without it), and the type that
    /// `T2V_DTYPE` names (`f32` without it).
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn from_env() -> Result<Self, PipelineError> {
        let value = |name: &str, default: &str| match std::env::var(name) {
            Ok(value) if !value.is_empty() => value,
            _ => default.to_owned(),
        };
        Self::new(&value("T2V_DEVICE", "flex"), &value("T2V_DTYPE", "f32"))
    }

    /// A device by its name, such as `cuda:1`, and a type by its name, such as `f16`.
    ///
    /// # Errors
    /// A device that this build doesn't have or that is not there, or a type that it can't compute in.
    pub fn new(device: &str, dtype: &str) -> Result<Self, PipelineError> {
        let name: DeviceName = device.parse()?;
        let device = name.device()?;
        let dtype = dtype.parse::<Dtype>()?.resolved(&device)?;
        Ok(Self {
            name,
            dtype,
            placement: Placement::new(&device).with_dtype(dtype),
        })
    }

    /// For pipelines.
    #[must_use]
    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &Device {
        self.placement.device()
    }

    /// Burn's name of the type.
    ///
    /// # Errors
    /// None that [`new`](Self::new) let pass.
    pub fn dtype(&self) -> Result<DType, PipelineError> {
        self.dtype.on(self.device())
    }

    /// Whether it is the CPU.
    #[must_use]
    pub fn is_cpu(&self) -> bool {
        t2v_kernels::is_cpu(self.device())
    }

    /// The name of a benchmark on it: anywhere but on the CPU it says where, so that what criterion compares with is
    /// the same device's.
    #[must_use]
    pub fn id(&self, benchmark: &str) -> String {
        match self.is_cpu() {
            true => benchmark.to_owned(),
            false => format!("{benchmark}, {self}"),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.dtype)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_other_devices_are_a_part_of_a_name() {
        let cpu = Target::new("flex", "auto").expect("the CPU is always there");
        assert_eq!(cpu.to_string(), "flex f32");
        assert_eq!(cpu.id("text encoder"), "text encoder");
    }

    #[test]
    fn what_can_not_be_is_refused() {
        for (device, dtype, reason) in [
            ("gpu", "f32", "there is no device `gpu`"),
            ("flex", "f8", "there is no type `f8`"),
            ("flex", "f16", "the CPU computes in f32"),
        ] {
            let fault = Target::new(device, dtype).expect_err("it is refused").to_string();
            assert!(fault.starts_with(reason), "{fault}");
        }
    }
}
