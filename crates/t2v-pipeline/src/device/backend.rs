//! What programs a device.

use std::fmt;

use burn::tensor::Device;

/// What programs a device. Each but the first needs the Cargo feature of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Backend {
    /// The CPU.
    Flex,
    /// A GPU through wgpu: WGSL, or SPIR-V or Metal's language where the build and the adapter have it.
    Wgpu,
    /// A GPU through Vulkan's SPIR-V, which reaches matrix units.
    Vulkan,
    /// A GPU of Apple.
    Metal,
    /// A GPU of NVIDIA.
    Cuda,
}

impl Backend {
    /// Every backend, the better ones for a machine that has several later.
    pub const ALL: [Self; 5] = [Self::Flex, Self::Wgpu, Self::Vulkan, Self::Metal, Self::Cuda];

    /// Whether this build has it.
    #[must_use]
    pub fn is_compiled_in(self) -> bool {
        match self {
            Self::Flex => cfg!(feature = "flex"),
            Self::Wgpu => cfg!(feature = "wgpu"),
            Self::Vulkan => cfg!(feature = "vulkan"),
            Self::Metal => cfg!(feature = "metal"),
            Self::Cuda => cfg!(feature = "cuda"),
        }
    }

    /// Opens a device of a backend that is compiled in; `index` counts them from 0.
    pub(super) fn open(self, index: usize) -> Result<Device, String> {
        match self {
            #[cfg(feature = "flex")]
            Self::Flex => Ok(Device::flex()),
            #[cfg(feature = "gpu")]
            backend => super::cube::open(backend, index),
            #[cfg(not(feature = "gpu"))]
            backend => Err(format!("there is no device `{backend}:{index}`")),
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flex => "flex",
            Self::Wgpu => "wgpu",
            Self::Vulkan => "vulkan",
            Self::Metal => "metal",
            Self::Cuda => "cuda",
        })
    }
}
