//! Options that choose a model.

use std::{error::Error, path::Path, sync::Arc};

use clap::Args;
use t2v_pipeline::{Device, HubModel, ModelRegistry, Pipeline, TextToVideoRequest};

/// The options `--model`, `--revision` and `--variant`.
#[derive(Debug, Clone, Default, Args)]
pub struct ModelArgs {
    /// "tiny-world", the embedded model; a model folder in diffusers' layout; or "owner/name", a model of the Hugging
    /// Face Hub: from its cache, or downloaded by a build with the Cargo feature `hub`
    #[arg(long, value_name = "DIR_OR_ID")]
    pub model: Option<String>,
    /// Branch, tag or commit of a model of the Hugging Face Hub
    #[arg(long, requires = "model")]
    pub revision: Option<String>,
    /// Variant of the weight files of a model of the Hugging Face Hub, such as "fp16"
    #[arg(long, requires = "model")]
    pub variant: Option<String>,
}

impl ModelArgs {
    /// Opens the model that the options name, or else the request. Only `--model` may be a path.
    ///
    /// # Errors
    /// No such model, or one that can't be loaded.
    pub fn pipeline(
        &self,
        request: Option<&TextToVideoRequest>,
        device: &Device,
    ) -> Result<Arc<Pipeline>, Box<dyn Error>> {
        let registry = ModelRegistry::new(device);
        let Some(model) = &self.model else {
            return Ok(registry.pipeline_for(request.unwrap_or(&TextToVideoRequest::default()))?);
        };
        let names = registry.names();
        let of_hub = self.revision.is_some() || self.variant.is_some();
        let registry = if of_hub {
            registry.with_model(model, self.hub_model(HubModel::new(model)?))
        } else if names.contains(model) {
            registry
        } else if Path::new(model).is_dir() {
            registry.with_model(model, Path::new(model))
        } else if let Ok(hub_model) = HubModel::new(model) {
            registry.with_model(model, hub_model)
        } else {
            let names = names.join(", ");
            return Err(format!("there is no model folder `{model}`; or give {names} or a hub's owner/name").into());
        };
        Ok(registry.pipeline(model)?)
    }

    fn hub_model(&self, mut model: HubModel) -> HubModel {
        if let Some(revision) = &self.revision {
            model = model.with_revision(revision);
        }
        if let Some(variant) = &self.variant {
            model = model.with_variant(variant);
        }
        model
    }
}
