//! The model that the options name: to be trained on, and to make clips with.

use std::path::Path;

use t2v_denoiser::open_motion_adapter;
use t2v_pipeline::{Device, FolderModel, Hub, HubModel, ModelSource, open_single_file};
use t2v_train::Base;
use t2v_weights::ModelFolder;

use crate::{args::Args, run::Result};

/// The components that a base is made of.
const COMPONENTS: [&str; 5] = ["text_encoder", "unet", "transformer", "vae", "motion_adapter"];
const EMBEDDED: &str = "tiny-world";

/// The model that is trained on.
pub(crate) fn base(args: &Args, device: &Device) -> Result<Base> {
    let base = folder(&args.model, device)?;
    Ok(match &args.motion_adapter {
        Some(path) => base.with_motion_adapter(open_motion_adapter(path)?),
        None => base,
    })
}

fn folder(model: &str, device: &Device) -> Result<Base> {
    let path = Path::new(model);
    if model == EMBEDDED {
        return Ok(Base::tiny_world(device)?);
    }
    if path.exists() {
        let canonical = path.canonicalize();
        let name = canonical.as_deref().unwrap_or(path);
        let name = name.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        let folder = match path.is_file() {
            true => open_single_file(path, None)?,
            false => ModelFolder::open(path)?,
        };
        return Ok(Base::new(folder, &name, device)?);
    }
    match HubModel::new(model) {
        Ok(hub_model) => Ok(Base::new(
            Hub::from_env().open(&hub_model, &COMPONENTS)?,
            model,
            device,
        )?),
        Err(_) => {
            Err(format!("there is no model `{model}`; give {EMBEDDED}, a model folder or a hub's owner/name").into())
        }
    }
}

/// The same model, to make clips with.
pub(crate) fn source(args: &Args) -> Result<ModelSource> {
    let path = Path::new(&args.model);
    if args.model == EMBEDDED {
        return Ok(ModelSource::Embedded);
    }
    if !path.exists() {
        return Ok(HubModel::new(&args.model)?.into());
    }
    let folder = FolderModel::new(path);
    Ok(match &args.motion_adapter {
        Some(adapter) => folder.with_motion_adapter(adapter).into(),
        None => folder.into(),
    })
}
