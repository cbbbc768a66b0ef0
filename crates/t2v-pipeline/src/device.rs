//! Devices by name, and the type that networks compute in on them.

mod backend;
#[cfg(feature = "gpu")]
mod cube;
mod dtype;
mod found;
mod placement;

use std::{fmt, str::FromStr};

pub use backend::Backend;
use burn::tensor::Device;
pub use dtype::Dtype;
pub use found::{FoundDevice, found_devices};
pub use placement::Placement;

use crate::PipelineError;

/// A device that a generation can run on: `auto`, `flex`, `wgpu`, `vulkan`, `metal` or `cuda`; those of GPUs also with an
/// index, as in `cuda:1`, which counts from 0 what [`found_devices`] lists of the backend.
///
/// ```
/// use t2v_pipeline::{Backend, DeviceName};
///
/// let name: DeviceName = "cuda:1".parse()?;
/// assert_eq!(name, DeviceName::new(Backend::Cuda, 1));
/// assert_eq!(name.to_string(), "cuda:1");
/// # Ok::<(), t2v_pipeline::PipelineError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct DeviceName {
    /// None takes the best there is.
    backend: Option<Backend>,
    index: usize,
}

impl DeviceName {
    /// The best device of this build that is there: a GPU, by [`Backend::ALL`]'s order from the end, or else the CPU. A
    /// GPU that is drawn by the CPU doesn't count.
    pub const AUTO: Self = Self {
        backend: None,
        index: 0,
    };

    /// The CPU.
    pub const FLEX: Self = Self::new(Backend::Flex, 0);

    /// A backend's device; `index` counts those of [`found_devices`] from 0. There is one CPU.
    #[must_use]
    pub const fn new(backend: Backend, index: usize) -> Self {
        Self {
            backend: Some(backend),
            index,
        }
    }

    /// Opens the device.
    ///
    /// # Errors
    /// A backend that was not compiled in, or a device that is not there or can't be opened: with what is.
    pub fn device(self) -> Result<Device, PipelineError> {
        let Some(backend) = self.backend else {
            return found::best().ok_or_else(|| self.fault("no device is there"));
        };
        if !backend.is_compiled_in() {
            return Err(self.fault(&format!(
                "the device `{self}` needs a build with `--features {backend}`"
            )));
        }
        backend.open(self.index).map_err(|reason| self.fault(&reason))
    }

    /// An error that says what there is.
    fn fault(self, reason: &str) -> PipelineError {
        PipelineError::Device(format!("{reason}; {}", found::summary()))
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.backend, self.index) {
            (None, _) => f.write_str("auto"),
            (Some(backend), 0) => backend.fmt(f),
            (Some(backend), index) => write!(f, "{backend}:{index}"),
        }
    }
}

impl FromStr for DeviceName {
    type Err = PipelineError;

    fn from_str(name: &str) -> Result<Self, PipelineError> {
        if name.eq_ignore_ascii_case("auto") {
            return Ok(Self::AUTO);
        }
        let (backend, index) = match name.split_once(':') {
            Some((backend, index)) => (backend, index.parse().ok()),
            None => (name, Some(0)),
        };
        let backend = Backend::ALL
            .into_iter()
            .find(|known| known.to_string().eq_ignore_ascii_case(backend));
        match (backend, index) {
            (Some(Backend::Flex), _) if name.contains(':') => {
                Err(PipelineError::Device("there is one CPU: `flex` has no index".into()))
            }
            (Some(backend), Some(index)) => Ok(Self::new(backend, index)),
            _ => {
                let known = Backend::ALL.map(|backend| backend.to_string()).join(", ");
                Err(PipelineError::Device(format!(
                    "there is no device `{}`; known are auto, {known}, those of GPUs also with an index as in `cuda:1`",
                    name.escape_debug()
                )))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in ["auto", "flex", "wgpu", "vulkan", "metal", "cuda", "cuda:1", "wgpu:12"] {
            assert_eq!(name.parse::<DeviceName>().unwrap().to_string(), name);
        }
        assert_eq!("CUDA:0".parse::<DeviceName>().unwrap().to_string(), "cuda");
    }

    #[test]
    fn other_names_are_refused_with_those_that_are_known() {
        for name in ["", "gpu", "cuda:", "cuda:-1", "cuda:x", ":1", "auto:1", "cuda:1:2"] {
            let fault = name.parse::<DeviceName>().unwrap_err().to_string();
            assert!(
                fault.contains("auto, flex, wgpu, vulkan, metal, cuda"),
                "{name}: {fault}"
            );
        }
        let fault = "flex:1".parse::<DeviceName>().unwrap_err().to_string();
        assert!(fault.contains("one CPU"), "{fault}");
    }

    #[test]
    fn a_device_that_is_not_there_is_refused_with_what_is() {
        for backend in Backend::ALL {
            let fault = match DeviceName::new(backend, 1000).device() {
                Err(fault) => fault.to_string(),
                Ok(_) => {
                    assert_eq!(backend, Backend::Flex);
                    continue;
                }
            };
            let reason = match backend.is_compiled_in() {
                true => format!("there is no device `{backend}:1000`"),
                false => format!("the device `{backend}:1000` needs a build with `--features {backend}`"),
            };
            assert!(fault.starts_with(&reason), "{fault}");
            assert!(fault.contains("this build has flex"), "{fault}");
            assert!(fault.contains("found: flex (the CPU"), "{fault}");
        }
    }

    #[test]
    fn the_best_device_is_found() {
        assert!(DeviceName::AUTO.device().is_ok());
    }
}
