//! Where the models of a registry come from.

use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device};
use t2v_kernels::takes_half_weights;
use t2v_weights::{Floats, ModelFolder};

use super::{hub::Hub, hub_model::HubModel};
use crate::PipelineError;

/// What stands behind a name of a [`ModelRegistry`](crate::ModelRegistry).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ModelSource {
    /// tiny-world, the checkpoint inside this crate.
    #[cfg(feature = "embedded")]
    Embedded,
    /// A model folder in diffusers' layout.
    Folder(PathBuf),
    /// A model of the Hugging Face Hub.
    Hub(HubModel),
}

impl From<&str> for ModelSource {
    fn from(path: &str) -> Self {
        Self::Folder(path.into())
    }
}

impl From<&Path> for ModelSource {
    fn from(path: &Path) -> Self {
        Self::Folder(path.into())
    }
}

impl From<PathBuf> for ModelSource {
    fn from(path: PathBuf) -> Self {
        Self::Folder(path)
    }
}

impl From<HubModel> for ModelSource {
    fn from(model: HubModel) -> Self {
        Self::Hub(model)
    }
}

impl ModelSource {
    /// The folder, downloaded if it must be.
    pub(super) fn open(&self, hub: &Hub) -> Result<ModelFolder, PipelineError> {
        match self {
            #[cfg(feature = "embedded")]
            Self::Embedded => Ok(ModelFolder::embedded(super::EMBEDDED, t2v_tiny_world::FILES)?),
            Self::Folder(path) => Ok(ModelFolder::open(path)?),
            Self::Hub(model) => hub.open(model),
        }
    }
}

/// The components that have weights.
pub(super) const NETWORKS: [&str; 3] = ["text_encoder", "unet", "vae"];

/// Bytes of a model's parameters once it is loaded.
pub(super) fn parameter_bytes(folder: &ModelFolder, device: &Device) -> Result<u64, PipelineError> {
    // As the networks load them: in single precision, and halves may stay as they are.
    let floats = Floats::from(DType::F32).keep_half(takes_half_weights(DType::F32, device));
    let mut bytes = 0;
    for network in NETWORKS {
        bytes += folder.component(network)?.weights()?.byte_len(floats)?;
    }
    Ok(bytes)
}
