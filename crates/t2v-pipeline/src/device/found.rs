//! The devices that this build reaches.

use std::fmt;

use burn::tensor::Device;

use super::{Backend, DeviceName, Dtype};

/// A device that this build reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FoundDevice {
    /// What opens it.
    pub name: DeviceName,
    /// What the driver calls it.
    pub adapter: String,
    /// Bytes of its memory, where the driver tells.
    pub memory: Option<u64>,
    /// Whether it is a GPU whose work the CPU does, for tests.
    pub is_software: bool,
    /// What it computes in.
    pub dtypes: Vec<Dtype>,
    /// What [`Dtype::Auto`] is on it.
    pub auto: Dtype,
}

/// Every device that this build reaches, by backend. A card that two backends reach is there twice. Opens all of them, which
/// takes a moment.
#[must_use]
pub fn found_devices() -> Vec<FoundDevice> {
    Backend::ALL.into_iter().flat_map(found).collect()
}

#[cfg(feature = "flex")]
fn cpu() -> FoundDevice {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    FoundDevice {
        name: DeviceName::FLEX,
        adapter: format!("the CPU, {threads} threads"),
        memory: None,
        is_software: false,
        dtypes: vec![Dtype::F32],
        auto: Dtype::F32,
    }
}

#[cfg(feature = "gpu")]
fn gpus(backend: Backend) -> Vec<FoundDevice> {
    let opened = |(index, device): (usize, burn::cubecl::Device)| {
        let facts = super::cube::facts(&device)?;
        let device = Device::new(device);
        Some(FoundDevice {
            name: DeviceName::new(backend, index),
            adapter: facts.adapter,
            memory: facts.memory,
            is_software: facts.is_software,
            dtypes: Dtype::supported(&device).collect(),
            auto: Dtype::Auto.resolved(&device).unwrap_or_default(),
        })
    };
    let devices = super::cube::devices(backend).into_iter().enumerate();
    devices.filter_map(opened).collect()
}

fn found(backend: Backend) -> Vec<FoundDevice> {
    match backend {
        #[cfg(feature = "flex")]
        Backend::Flex => vec![cpu()],
        #[cfg(feature = "gpu")]
        backend => gpus(backend),
        #[cfg(not(feature = "gpu"))]
        _ => Vec::new(),
    }
}

/// The best device: a GPU of the best backend, or else the CPU, or else a GPU that the CPU does the work of.
pub(super) fn best() -> Option<Device> {
    let mut software = None;
    for backend in Backend::ALL.into_iter().rev() {
        for device in found(backend) {
            match device.is_software {
                false => return device.name.device().ok(),
                true => software = software.or(Some(device.name)),
            }
        }
    }
    software?.device().ok()
}

/// What this build has and what it found, for errors.
pub(super) fn summary() -> String {
    let compiled = Backend::ALL.into_iter().filter(|backend| backend.is_compiled_in());
    let compiled: Vec<String> = compiled.map(|backend| backend.to_string()).collect();
    let found: Vec<String> = found_devices().iter().map(FoundDevice::in_brief).collect();
    let or_none = |names: Vec<String>| match names.is_empty() {
        true => "nothing".to_owned(),
        false => names.join(", "),
    };
    format!("this build has {}; found: {}", or_none(compiled), or_none(found))
}

impl FoundDevice {
    fn in_brief(&self) -> String {
        let memory = self.memory.map(|bytes| format!(", {}", gigabytes(bytes)));
        format!("{} ({}{})", self.name, self.adapter, memory.unwrap_or_default())
    }
}

/// One line of a list.
impl fmt::Display for FoundDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.to_string();
        write!(f, "{name:<10} {}", self.adapter)?;
        if let Some(bytes) = self.memory {
            write!(f, ", {}", gigabytes(bytes))?;
        }
        if self.is_software {
            f.write_str(", software")?;
        }
        let dtypes: Vec<String> = self.dtypes.iter().map(Dtype::to_string).collect();
        write!(f, "; {}, auto is {}", dtypes.join(", "), self.auto)
    }
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_is_always_found() {
        let found = found_devices();
        assert_eq!(found[0].name, DeviceName::FLEX);
        let line = found[0].to_string();
        assert!(
            line.starts_with("flex       the CPU, ") && line.ends_with(" threads; f32, auto is f32"),
            "{line}"
        );
    }

    #[test]
    fn a_card_is_described_in_one_line() {
        let card = FoundDevice {
            name: DeviceName::new(Backend::Cuda, 1),
            adapter: "Some Card".into(),
            memory: Some(85_000_000_000),
            is_software: false,
            dtypes: vec![Dtype::F32, Dtype::F16],
            auto: Dtype::F16,
        };
        assert_eq!(card.to_string(), "cuda:1     Some Card, 85.0 GB; f32, f16, auto is f16");
        assert_eq!(card.in_brief(), "cuda:1 (Some Card, 85.0 GB)");
    }
}
