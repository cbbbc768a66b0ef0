//! Devices by name.

use std::{fmt, str::FromStr};

use burn::tensor::Device;

use crate::PipelineError;

/// The devices that a generation can run on. Each but the first needs the Cargo feature of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum DeviceName {
    /// The CPU.
    #[default]
    Flex,
    /// A GPU through wgpu's WGSL compiler.
    Wgpu,
    /// A GPU through Vulkan's SPIR-V.
    Vulkan,
    /// An NVIDIA GPU.
    Cuda,
}

impl DeviceName {
    /// Every name.
    pub const ALL: [Self; 4] = [Self::Flex, Self::Wgpu, Self::Vulkan, Self::Cuda];

    /// The first device of that name.
    ///
    /// # Errors
    /// Its backend was not compiled in.
    pub fn device(self) -> Result<Device, PipelineError> {
        match self {
            #[cfg(feature = "flex")]
            Self::Flex => Ok(Device::flex()),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => Ok(Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
            #[cfg(feature = "vulkan")]
            Self::Vulkan => Ok(Device::vulkan(burn::tensor::DeviceKind::DefaultDevice)),
            #[cfg(feature = "cuda")]
            Self::Cuda => Ok(Device::cuda(burn::tensor::DeviceIndex::Default)),
            #[allow(unreachable_patterns)]
            other => Err(PipelineError::Device(format!(
                "the device `{other}` needs a build with `--features {other}`"
            ))),
        }
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flex => "flex",
            Self::Wgpu => "wgpu",
            Self::Vulkan => "vulkan",
            Self::Cuda => "cuda",
        })
    }
}

impl FromStr for DeviceName {
    type Err = PipelineError;

    fn from_str(name: &str) -> Result<Self, PipelineError> {
        let found = Self::ALL
            .into_iter()
            .find(|device| device.to_string().eq_ignore_ascii_case(name));
        found.ok_or_else(|| {
            let known = Self::ALL.map(|device| device.to_string()).join(", ");
            PipelineError::Device(format!("there is no device `{name}`; known are {known}"))
        })
    }
}
