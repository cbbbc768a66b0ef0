//! Where the models of a registry come from.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use t2v_denoiser::open_motion_adapter;
use t2v_hub::{Hub, HubModel};
use t2v_weights::{Component, ModelFolder};

use crate::{
    PipelineError, Placement,
    family::COMPONENTS,
    single_file::{open_single_file, with_file},
};

/// What stands behind a name of a [`ModelRegistry`](crate::ModelRegistry).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ModelSource {
    /// tiny-world, the checkpoint inside this crate.
    #[cfg(feature = "embedded")]
    Embedded,
    /// A model folder in diffusers' layout.
    Folder(FolderModel),
    /// A model of the Hugging Face Hub.
    Hub(HubModel),
}

/// A model folder in diffusers' layout, or a checkpoint of Stable Diffusion or a transformer of Wan in one file, and how it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderModel {
    path: PathBuf,
    variant: Option<String>,
    strict: bool,
    motion_adapter: Option<PathBuf>,
    config: Option<PathBuf>,
    weights: BTreeMap<String, PathBuf>,
}

impl FolderModel {
    /// The folder at `path`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            variant: None,
            strict: false,
            motion_adapter: None,
            config: None,
            weights: BTreeMap::new(),
        }
    }

    /// For a checkpoint in one file: a folder in diffusers' layout whose configurations, scheduler and tokenizer it takes. At
    /// least the tokenizer has to be there; what else lacks is assumed by the checkpoint's kind. Beside a transformer of Wan, all but
    /// its weights and configuration has to be there.
    #[must_use]
    pub fn with_config(mut self, folder: impl Into<PathBuf>) -> Self {
        self.config = Some(folder.into());
        self
    }

    /// Puts AnimateDiff's motion modules into a model of pictures, which then makes clips: a folder that diffusers'
    /// `MotionAdapter` saved, or a file in AnimateDiff's own layout.
    #[must_use]
    pub fn with_motion_adapter(mut self, path: impl Into<PathBuf>) -> Self {
        self.motion_adapter = Some(path.into());
        self
    }

    /// Takes the weights of a component of Wan from a file in place of the folder's own: `transformer`, `transformer_2` or
    /// `text_encoder`, in safetensors or GGUF, with the names of diffusers and transformers, of Wan's own code, or of llama.cpp.
    #[must_use]
    pub fn with_weights(mut self, component: impl Into<String>, file: impl Into<PathBuf>) -> Self {
        self.weights.insert(component.into(), file.into());
        self
    }

    /// Takes the weight files of a variant, such as `fp16`, as diffusers' `from_pretrained(…, variant="fp16")` does.
    #[must_use]
    pub fn with_variant(mut self, variant: impl Into<String>) -> Self {
        self.variant = Some(variant.into());
        self
    }

    /// Refuses weights that the configuration has no place for, instead of warning of them as diffusers does.
    #[must_use]
    pub fn with_strict(mut self, strict: bool) -> Self {
        self.strict = strict;
        self
    }

    /// Opens it.
    pub(crate) fn open(&self) -> Result<OpenedModel, PipelineError> {
        let folder = match self.path.is_file() {
            true => open_single_file(&self.path, self.config.as_deref())?,
            false => ModelFolder::open(&self.path)?,
        };
        let folder = folder.with_strict(self.strict);
        let folder = self
            .weights
            .iter()
            .try_fold(folder, |folder, (component, file)| with_file(folder, component, file))?;
        let adapter = self
            .motion_adapter
            .as_ref()
            .map(|path| MotionAdapter::open(path, self.strict));
        Ok(OpenedModel {
            folder: match &self.variant {
                Some(variant) => folder.with_variant(variant)?,
                None => folder,
            },
            motion_adapter: adapter.transpose()?,
        })
    }
}

impl<P: Into<PathBuf>> From<P> for FolderModel {
    fn from(path: P) -> Self {
        Self::new(path)
    }
}

impl From<&str> for ModelSource {
    fn from(path: &str) -> Self {
        FolderModel::new(path).into()
    }
}

impl From<&Path> for ModelSource {
    fn from(path: &Path) -> Self {
        FolderModel::new(path).into()
    }
}

impl From<PathBuf> for ModelSource {
    fn from(path: PathBuf) -> Self {
        FolderModel::new(path).into()
    }
}

impl From<FolderModel> for ModelSource {
    fn from(folder: FolderModel) -> Self {
        Self::Folder(folder)
    }
}

impl From<HubModel> for ModelSource {
    fn from(model: HubModel) -> Self {
        Self::Hub(model)
    }
}

impl ModelSource {
    /// The folder, downloaded if it must be.
    pub(super) fn open(&self, hub: &Hub) -> Result<OpenedModel, PipelineError> {
        match self {
            #[cfg(feature = "embedded")]
            Self::Embedded => Ok(ModelFolder::embedded(super::EMBEDDED, t2v_tiny_world::FILES)?.into()),
            Self::Folder(folder) => folder.open(),
            Self::Hub(model) => Ok(hub.open(model, &COMPONENTS)?.into()),
        }
    }
}

/// A model folder whose index is read, and what goes with it.
pub(crate) struct OpenedModel {
    pub(crate) folder: ModelFolder,
    pub(crate) motion_adapter: Option<MotionAdapter>,
}

/// Motion modules from elsewhere.
#[derive(Clone)]
pub(crate) struct MotionAdapter {
    /// Of its folder or file, without the way to it.
    pub(crate) name: String,
    pub(crate) component: Component,
}

impl MotionAdapter {
    fn open(path: &Path, strict: bool) -> Result<Self, PipelineError> {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        Ok(Self {
            name: name.into_owned(),
            component: open_motion_adapter(path)?.with_strict(strict),
        })
    }
}

impl From<ModelFolder> for OpenedModel {
    fn from(folder: ModelFolder) -> Self {
        Self {
            folder,
            motion_adapter: None,
        }
    }
}

impl OpenedModel {
    /// Bytes of its parameters once they are loaded.
    pub(super) fn weight_bytes(&self, placement: &Placement) -> Result<u64, PipelineError> {
        let floats = placement.load_options()?.floats();
        let mut bytes = 0;
        let unet = self.folder.entry("unet")?;
        let has_motion_modules = unet.is_some_and(|unet| unet.class == "UNetMotionModel");
        for component in COMPONENTS {
            // Which is saved beside such a network, and not read.
            let is_spare = component == "motion_adapter" && has_motion_modules;
            if !is_spare && self.folder.entry(component)?.is_some() {
                bytes += self.folder.component(component)?.weights()?.byte_len(floats)?;
            }
        }
        if let Some(adapter) = &self.motion_adapter {
            bytes += adapter.component.weights()?.byte_len(floats)?;
        }
        Ok(bytes)
    }
}
