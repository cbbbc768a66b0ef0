//! Options that choose a model.

use std::{
    error::Error,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;
use t2v_pipeline::{FolderModel, HubModel, ModelRegistry, Pipeline, PipelineError, Placement, TextToVideoRequest};

/// The options that say which model, and how it is read.
#[derive(Debug, Clone, Default, Args)]
pub struct ModelArgs {
    /// "tiny-world", the embedded model; a model folder in diffusers' layout; a checkpoint of Stable Diffusion or a
    /// transformer of Wan in one file; or "owner/name", a model of the Hugging Face Hub: from its cache, or downloaded by a build with the Cargo feature
    /// `hub`
    #[arg(long, value_name = "DIR_OR_ID")]
    pub model: Option<String>,
    /// Branch, tag or commit of a model of the Hugging Face Hub
    #[arg(long, requires = "model")]
    pub revision: Option<String>,
    /// Variant of the weight files, such as "fp16"
    #[arg(long, requires = "model")]
    pub variant: Option<String>,
    /// For a checkpoint of Stable Diffusion in one file: a folder in diffusers' layout that has at least its tokenizer; for a
    /// transformer of Wan: one that has all else
    #[arg(long, value_name = "DIR", requires = "model")]
    pub config: Option<PathBuf>,
    /// Weights of Wan's transformer in place of the folder's: a file in safetensors or GGUF
    #[arg(long, value_name = "FILE", requires = "model")]
    pub transformer: Option<PathBuf>,
    /// The same of the second transformer, that for little noise, of Wan 2.2's large models
    #[arg(long, value_name = "FILE", requires = "model")]
    pub transformer_2: Option<PathBuf>,
    /// Weights of Wan's text encoder (UMT5) in place of the folder's: a file in safetensors or GGUF
    #[arg(long, value_name = "FILE", requires = "model")]
    pub text_encoder: Option<PathBuf>,
    /// Motion modules that make clips of a model of pictures (AnimateDiff): a diffusers folder, or a file such as
    /// mm_sd_v15_v2.ckpt
    #[arg(long, value_name = "DIR_OR_FILE", requires = "model")]
    pub motion_adapter: Option<PathBuf>,
    /// Refuse weights that the model has no place for, instead of a warning
    #[arg(long, requires = "model")]
    pub strict: bool,
}

impl ModelArgs {
    /// Opens the model that the options name, or else the request. Only `--model` may be a path.
    ///
    /// # Errors
    /// No such model, or one that can't be loaded.
    pub fn pipeline(
        &self,
        request: Option<&TextToVideoRequest>,
        placement: &Placement,
    ) -> Result<Arc<Pipeline>, Box<dyn Error>> {
        let registry = ModelRegistry::new(placement);
        let Some(model) = &self.model else {
            // Only its model counts: LoRAs and learnt words that it names are files that are added afterwards.
            let mut named = TextToVideoRequest::default();
            named.model_id = request.and_then(|request| request.model_id.clone());
            return registry.pipeline_for(&named).map_err(|error| match error {
                PipelineError::UnknownModel { .. } => {
                    format!("{error}; give a folder or another id with --model").into()
                }
                error => error.into(),
            });
        };
        let path = Path::new(model);
        if registry.names().contains(model) {
            self.refuse_options(model)?;
            return Ok(registry.pipeline(model)?);
        }
        if path.exists() && self.revision.is_none() {
            let mut folder = FolderModel::new(path).with_strict(self.strict);
            if let Some(variant) = &self.variant {
                folder = folder.with_variant(variant);
            }
            if let Some(config) = &self.config {
                folder = folder.with_config(config);
            }
            if let Some(adapter) = &self.motion_adapter {
                folder = folder.with_motion_adapter(adapter);
            }
            for (component, file) in self.weights() {
                if let Some(file) = file {
                    folder = folder.with_weights(component, file);
                }
            }
            // Videos name the folder, not the way to it.
            let name = folder_name(path);
            return Ok(registry.with_model(&name, folder).pipeline(&name)?);
        }
        if let Some(option) = self.option_of_folders() {
            return Err(format!("{option} is for models on disk, and there is none at `{model}`").into());
        }
        let Ok(hub_model) = HubModel::new(model) else {
            let names = registry.names().join(", ");
            return Err(format!("there is no model folder `{model}`; or give {names} or a hub's owner/name").into());
        };
        Ok(registry.with_model(model, self.hub_model(hub_model)).pipeline(model)?)
    }

    /// The embedded model comes in one form.
    fn refuse_options(&self, model: &str) -> Result<(), String> {
        let given = [
            ("--revision", self.revision.is_some()),
            ("--variant", self.variant.is_some()),
            ("--config", self.config.is_some()),
            ("--motion-adapter", self.motion_adapter.is_some()),
            ("--transformer", self.transformer.is_some()),
            ("--transformer-2", self.transformer_2.is_some()),
            ("--text-encoder", self.text_encoder.is_some()),
        ];
        let Some((option, _)) = given.into_iter().find(|(_, given)| *given) else {
            return Ok(());
        };
        Err(format!(
            "{option} is for model folders and models of the Hugging Face Hub, not for {model}"
        ))
    }

    /// Files of weights, by the component that they are of.
    fn weights(&self) -> [(&'static str, &Option<PathBuf>); 3] {
        [
            ("transformer", &self.transformer),
            ("transformer_2", &self.transformer_2),
            ("text_encoder", &self.text_encoder),
        ]
    }

    fn option_of_folders(&self) -> Option<&'static str> {
        let options = [
            ("--config", &self.config),
            ("--motion-adapter", &self.motion_adapter),
            ("--transformer", &self.transformer),
            ("--transformer-2", &self.transformer_2),
            ("--text-encoder", &self.text_encoder),
        ];
        options
            .into_iter()
            .find_map(|(option, path)| path.as_ref().map(|_| option))
    }

    fn hub_model(&self, model: HubModel) -> HubModel {
        let mut model = model.with_strict(self.strict);
        if let Some(revision) = &self.revision {
            model = model.with_revision(revision);
        }
        if let Some(variant) = &self.variant {
            model = model.with_variant(variant);
        }
        model
    }
}

/// The last part of a path, also of one that ends in `..`.
fn folder_name(path: &Path) -> String {
    let whole = path.canonicalize();
    let name = whole.as_deref().unwrap_or(path).file_name();
    name.unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use t2v_pipeline::DeviceName;

    use super::*;

    #[test]
    #[allow(clippy::unwrap_used)]
    fn a_request_may_name_loras_that_are_added_afterwards() {
        let mut request = TextToVideoRequest::new("a ball");
        request.lora_model = Some("ink".into());
        let placement = Placement::new(&DeviceName::FLEX.device().unwrap());
        ModelArgs::default().pipeline(Some(&request), &placement).unwrap();
    }
}
