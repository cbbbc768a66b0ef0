//! What a model folder says of itself: read and checked when it is opened, and never changed.

use std::sync::OnceLock;

use burn::tensor::Device;
use serde_json::Value;
use t2v_schedulers::{Scheduler, SchedulerKind};
use t2v_weights::{ModelFolder, ReadMeter, WeightsError};

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
    /// Counts what is read of the network that is being loaded.
    pub(crate) meter: ReadMeter,
    /// Completes prompts in the checkpoint's own words.
    pub(crate) prompt_table: Option<PromptTable>,
    pub(crate) defaults: Defaults,
    /// Motion modules from elsewhere.
    motion_adapter: Option<MotionAdapter>,
    /// What videos say of them, once it was asked for: it takes reading all of their weights.
    motion_adapter_report: OnceLock<MotionAdapterReport>,
    scheduler_config: Value,
    /// That of generations which paint into masks.
    inpainting_config: Value,
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
        let meter = ReadMeter::new();
        let family = family::open(&Opening {
            folder,
            motion_adapter: motion_adapter.map(|adapter| &adapter.component),
            options: &placement.load_options()?.with_meter(&meter),
        })?;
        let scheduler = folder.component("scheduler")?;
        let scheduler_config = scheduler.json("scheduler_config.json")?;
        let scheduler_kind = match scheduler.entry() {
            Some(entry) => entry.class.parse().map_err(|e| WeightsError::Config {
                file: format!("{}/model_index.json", folder.name()),
                reason: format!("`scheduler`: {e}"),
            })?,
            None => t2v_schedulers::kind_of_config(&Value::Object(scheduler_config.clone()))?,
        };
        let as_made = |inpaints| {
            let mut config = scheduler_config.clone();
            family.scheduler_config(scheduler_kind, &mut config, inpaints);
            Value::Object(config)
        };
        let (scheduler_config, inpainting_config) = (as_made(false), as_made(true));
        let checkpoint = Self {
            name: name.to_owned(),
            device: placement.device().clone(),
            dtype: placement.dtype().resolved(placement.device())?,
            defaults: family.defaults().read(folder, family.geometry())?,
            family,
            meter,
            prompt_table: PromptTable::read(folder)?,
            motion_adapter: motion_adapter.cloned(),
            motion_adapter_report: OnceLock::new(),
            scheduler_config,
            inpainting_config,
            scheduler_kind,
        };
        // Made once, so that a configuration which is no scheduler's fails here.
        checkpoint.scheduler(checkpoint.scheduler_kind(None)?, None)?;
        Ok(checkpoint)
    }

    /// The scheduler of a request: the named one, or the checkpoint's own.
    pub(crate) fn scheduler_kind(&self, name: Option<&str>) -> Result<SchedulerKind, PipelineError> {
        Ok(match name.or(self.defaults.scheduler.as_deref()) {
            Some(name) => name.parse()?,
            None => self.scheduler_kind,
        })
    }

    /// A scheduler with the checkpoint's settings, but for the shift of a flow, where one is asked for.
    pub(crate) fn scheduler(
        &self,
        kind: SchedulerKind,
        flow_shift: Option<f64>,
    ) -> Result<Box<dyn Scheduler>, PipelineError> {
        let Some(shift) = flow_shift else {
            return Ok(t2v_schedulers::for_model(kind, &self.scheduler_config)?);
        };
        let mut config = self.scheduler_config.clone();
        // The first is what solvers call it, the second the schedulers that are of flows alone.
        (config["flow_shift"], config["shift"]) = (shift.into(), shift.into());
        Ok(t2v_schedulers::for_model(kind, &config)?)
    }

    /// As [`scheduler`](Self::scheduler), for a generation that paints into a mask.
    pub(crate) fn inpainting_scheduler(&self, kind: SchedulerKind) -> Result<Box<dyn Scheduler>, PipelineError> {
        Ok(t2v_schedulers::for_model(kind, &self.inpainting_config)?)
    }

    /// What videos say of motion modules from elsewhere.
    pub(crate) fn motion_adapter(&self) -> Result<Option<MotionAdapterReport>, PipelineError> {
        let Some(adapter) = &self.motion_adapter else {
            return Ok(None);
        };
        if let Some(report) = self.motion_adapter_report.get() {
            return Ok(Some(report.clone()));
        }
        let report = MotionAdapterReport::of(adapter)?;
        Ok(Some(self.motion_adapter_report.get_or_init(|| report).clone()))
    }

    /// The last timestep of training.
    pub(crate) fn last_timestep(&self) -> usize {
        let count = self.scheduler_config.get("num_train_timesteps").and_then(Value::as_u64);
        count.map_or(TRAIN_TIMESTEPS, |count| count as usize).saturating_sub(1)
    }
}
