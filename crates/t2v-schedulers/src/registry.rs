//! Makes schedulers by name and configuration.

use serde_json::Value;

use crate::ddim::Ddim;
use crate::ddim_inverse::DdimInverse;
use crate::ddpm::Ddpm;
use crate::deis_multistep::DeisMultistep;
use crate::dpmsolver_multistep::DpmSolverMultistep;
use crate::dpmsolver_singlestep::DpmSolverSinglestep;
use crate::euler_ancestral_discrete::EulerAncestralDiscrete;
use crate::euler_discrete::EulerDiscrete;
use crate::flow_match_euler_discrete::FlowMatchEulerDiscrete;
use crate::flow_match_heun_discrete::FlowMatchHeunDiscrete;
use crate::heun_discrete::HeunDiscrete;
use crate::ipndm::{Ipndm, IpndmForModel};
use crate::karras_ve::KarrasVeAdapter;
use crate::kdpm2_ancestral_discrete::Kdpm2AncestralDiscrete;
use crate::kdpm2_discrete::Kdpm2Discrete;
use crate::lcm::Lcm;
use crate::lms_discrete::LmsDiscrete;
use crate::pndm::Pndm;
use crate::score_sde_ve::ScoreSdeVeSampler;
use crate::unipc_multistep::UniPcMultistep;
use crate::{Scheduler, SchedulerError, SchedulerKind};

/// A scheduler from a `scheduler_config.json`, which may be that of another scheduler.
///
/// As in diffusers' `from_config`: options that the two share keep their values, the target's other options have its
/// defaults, keys that it does not know are ignored. A key of the wrong type, an unknown value or an option that cannot be
/// honoured is an error that names it. JSON cannot write diffusers' `-Infinity` (the default of `lambda_min_clipped`):
/// `null`, `"-inf"` and `"-Infinity"` stand for it.
pub fn from_config(kind: SchedulerKind, config: &Value) -> Result<Box<dyn Scheduler>, SchedulerError> {
    Ok(match kind {
        SchedulerKind::Ddpm => Box::new(Ddpm::from_config(config)?),
        SchedulerKind::Ddim => Box::new(Ddim::from_config(config)?),
        SchedulerKind::Pndm => Box::new(Pndm::from_config(config)?),
        SchedulerKind::LmsDiscrete => Box::new(LmsDiscrete::from_config(config)?),
        SchedulerKind::EulerDiscrete => Box::new(EulerDiscrete::from_config(config)?),
        SchedulerKind::EulerAncestralDiscrete => Box::new(EulerAncestralDiscrete::from_config(config)?),
        SchedulerKind::DpmSolverMultistep => Box::new(DpmSolverMultistep::from_config(config)?),
        SchedulerKind::HeunDiscrete => Box::new(HeunDiscrete::from_config(config)?),
        SchedulerKind::Kdpm2Discrete => Box::new(Kdpm2Discrete::from_config(config)?),
        SchedulerKind::DpmSolverSinglestep => Box::new(DpmSolverSinglestep::from_config(config)?),
        SchedulerKind::Kdpm2AncestralDiscrete => Box::new(Kdpm2AncestralDiscrete::from_config(config)?),
        SchedulerKind::UniPcMultistep => Box::new(UniPcMultistep::from_config(config)?),
        SchedulerKind::DdimInverse => Box::new(DdimInverse::from_config(config)?),
        SchedulerKind::DeisMultistep => Box::new(DeisMultistep::from_config(config)?),
        SchedulerKind::Ipndm => Box::new(Ipndm::from_config(config)?),
        SchedulerKind::KarrasVe => Box::new(KarrasVeAdapter::from_config(config)?),
        SchedulerKind::ScoreSdeVe => Box::new(ScoreSdeVeSampler::from_config(config)?),
        SchedulerKind::Lcm => Box::new(Lcm::from_config(config)?),
        SchedulerKind::FlowMatchEulerDiscrete => Box::new(FlowMatchEulerDiscrete::from_config(config)?),
        SchedulerKind::FlowMatchHeunDiscrete => Box::new(FlowMatchHeunDiscrete::from_config(config)?),
    })
}

/// The scheduler for a model that predicts noise, velocity or clean samples at the noise levels of its configuration.
///
/// It is [`from_config`]'s, but for IPNDM: diffusers' class has timesteps and noise levels of its own, which such models do
/// not know, and so this gives the same solver on the model's.
pub fn for_model(kind: SchedulerKind, config: &Value) -> Result<Box<dyn Scheduler>, SchedulerError> {
    match kind {
        SchedulerKind::Ipndm => Ok(Box::new(IpndmForModel::from_config(config)?)),
        _ => from_config(kind, config),
    }
}

/// The scheduler that a `scheduler_config.json` names as its `_class_name`.
pub fn kind_of_config(config: &Value) -> Result<SchedulerKind, SchedulerError> {
    match config.get("_class_name") {
        Some(Value::String(name)) => name.parse(),
        Some(other) => Err(SchedulerError::Config(format!(
            "`_class_name` is {other}, expected a string"
        ))),
        None => Err(SchedulerError::Config("`_class_name` is missing".to_owned())),
    }
}
