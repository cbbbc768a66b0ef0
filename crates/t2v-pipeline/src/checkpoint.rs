//! What a model folder says of itself: read and checked when it is opened, and never changed.

use burn::tensor::Device;
use serde_json::Value;
use t2v_schedulers::{Scheduler, SchedulerKind};
use t2v_weights::{ModelFolder, WeightsError};

use crate::{
    Dtype, PipelineError, Placement, PromptTable,
    defaults::Defaults,
    family::{self, Family},
};

/// A model folder of whatever family.
pub(crate) struct Checkpoint {
    /// What requests and reports call it.
    pub(crate) name: String,
    pub(crate) device: Device,
    /// What its networks compute in; never [`Dtype::Auto`].
    pub(crate) dtype: Dtype,
    pub(crate) family: Box<dyn Family>,
    /// Completes prompts in the checkpoint's own words.
    pub(crate) prompt_table: Option<PromptTable>,
    pub(crate) defaults: Defaults,
    scheduler_config: Value,
    /// The class that the folder names.
    scheduler_kind: SchedulerKind,
}

impl Checkpoint {
    /// Reads and checks every configuration.
    pub(crate) fn open(folder: &ModelFolder, name: &str, placement: &Placement) -> Result<Self, PipelineError> {
        let family = family::open(folder, &placement.load_options()?)?;
        let scheduler = folder.component("scheduler")?;
        let scheduler_config = Value::Object(scheduler.json("scheduler_config.json")?);
        let scheduler_kind = match scheduler.entry() {
            Some(entry) => entry.class.parse().map_err(|e| WeightsError::Config {
                file: format!("{}/model_index.json", folder.name()),
                reason: format!("`scheduler`: {e}"),
            })?,
            None => t2v_schedulers::kind_of_config(&scheduler_config)?,
        };
        let checkpoint = Self {
            name: name.to_owned(),
            device: placement.device().clone(),
            dtype: placement.dtype().resolved(placement.device())?,
            defaults: family.defaults().read(folder, family.geometry())?,
            family,
            prompt_table: PromptTable::read(folder)?,
            scheduler_config,
            scheduler_kind,
        };
        // Made once, so that a configuration which is no scheduler's fails here.
        checkpoint.scheduler(checkpoint.scheduler_kind(None)?)?;
        Ok(checkpoint)
    }

    /// The scheduler of a request: the named one, or the checkpoint's own.
    pub(crate) fn scheduler_kind(&self, name: Option<&str>) -> Result<SchedulerKind, PipelineError> {
        Ok(match name.or(self.defaults.scheduler.as_deref()) {
            Some(name) => name.parse()?,
            None => self.scheduler_kind,
        })
    }

    /// A scheduler with the checkpoint's settings.
    pub(crate) fn scheduler(&self, kind: SchedulerKind) -> Result<Box<dyn Scheduler>, PipelineError> {
        Ok(t2v_schedulers::for_model(kind, &self.scheduler_config)?)
    }
}
