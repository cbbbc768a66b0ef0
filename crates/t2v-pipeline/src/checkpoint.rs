//! What a model folder says of itself: read and checked when it is opened, and never changed.

use burn::tensor::Device;
use serde_json::{Map, Value};
use t2v_schedulers::{Scheduler, SchedulerKind};
use t2v_weights::{ModelFolder, WeightsError};

use crate::{
    Dtype, MotionAdapterReport, PipelineError, Placement, PromptTable,
    defaults::Defaults,
    family::{self, Family, Opening},
    registry::MotionAdapter,
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
    /// What videos say of motion modules from elsewhere.
    pub(crate) motion_adapter: Option<MotionAdapterReport>,
    scheduler_config: Map<String, Value>,
    /// As the folder has it.
    clip_sample: Option<Value>,
    /// The class that the folder names.
    scheduler_kind: SchedulerKind,
}

/// Of schedulers' configurations that do not say.
const TRAIN_TIMESTEPS: usize = 1000;

impl Checkpoint {
    /// Reads and checks every configuration.
    pub(crate) fn open(
        folder: &ModelFolder,
        motion_adapter: Option<&MotionAdapter>,
        name: &str,
        placement: &Placement,
    ) -> Result<Self, PipelineError> {
        let family = family::open(&Opening {
            folder,
            motion_adapter: motion_adapter.map(|adapter| &adapter.component),
            options: &placement.load_options()?,
        })?;
        let scheduler = folder.component("scheduler")?;
        let mut scheduler_config = scheduler.json("scheduler_config.json")?;
        let scheduler_kind = match scheduler.entry() {
            Some(entry) => entry.class.parse().map_err(|e| WeightsError::Config {
                file: format!("{}/model_index.json", folder.name()),
                reason: format!("`scheduler`: {e}"),
            })?,
            None => t2v_schedulers::kind_of_config(&Value::Object(scheduler_config.clone()))?,
        };
        let clip_sample = scheduler_config.get("clip_sample").cloned();
        family.scheduler_config(scheduler_kind, &mut scheduler_config);
        let checkpoint = Self {
            name: name.to_owned(),
            device: placement.device().clone(),
            dtype: placement.dtype().resolved(placement.device())?,
            defaults: family.defaults().read(folder, family.geometry())?,
            family,
            prompt_table: PromptTable::read(folder)?,
            motion_adapter: motion_adapter.map(MotionAdapterReport::of).transpose()?,
            scheduler_config,
            clip_sample,
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
        Ok(t2v_schedulers::for_model(
            kind,
            &Value::Object(self.scheduler_config.clone()),
        )?)
    }

    /// As [`scheduler`](Self::scheduler), with the settings that upstream's pipeline for masks has: it changes others of the
    /// folder's.
    pub(crate) fn inpainting_scheduler(&self, kind: SchedulerKind) -> Result<Box<dyn Scheduler>, PipelineError> {
        let mut config = self.scheduler_config.clone();
        match self.clip_sample.clone() {
            Some(clip_sample) => config.insert("clip_sample".into(), clip_sample),
            None => config.remove("clip_sample"),
        };
        if self.scheduler_kind == SchedulerKind::Pndm || config.contains_key("skip_prk_steps") {
            config.insert("skip_prk_steps".into(), true.into());
        }
        Ok(t2v_schedulers::for_model(kind, &Value::Object(config))?)
    }

    /// The last timestep of training.
    pub(crate) fn last_timestep(&self) -> usize {
        let count = self.scheduler_config.get("num_train_timesteps").and_then(Value::as_u64);
        count.map_or(TRAIN_TIMESTEPS, |count| count as usize).saturating_sub(1)
    }
}
