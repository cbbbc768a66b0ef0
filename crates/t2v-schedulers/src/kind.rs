//! The schedulers' names.

pub(crate) mod nearest;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::SchedulerError;

/// A scheduler by name.
///
/// It reads the name with and without the suffix `Scheduler`, in any case, and writes it as diffusers does
/// (`DDIMScheduler`). Serde takes it as that string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SchedulerKind {
    /// `DDPMScheduler`: denoising diffusion probabilistic models, ancestral sampling.
    Ddpm,
    /// `DDIMScheduler`: denoising diffusion implicit models.
    Ddim,
    /// `PNDMScheduler`: pseudo numerical methods, Runge-Kutta and linear multistep.
    Pndm,
    /// `LMSDiscreteScheduler`: a linear multistep method.
    LmsDiscrete,
    /// `EulerDiscreteScheduler`: Euler's method, Algorithm 2 of Karras et al.
    EulerDiscrete,
    /// `EulerAncestralDiscreteScheduler`: Euler's method with ancestral noise.
    EulerAncestralDiscrete,
    /// `DPMSolverMultistepScheduler`: DPM-Solver and DPM-Solver++, multistep.
    DpmSolverMultistep,
    /// `HeunDiscreteScheduler`: Heun's method, two model calls a step.
    HeunDiscrete,
    /// `KDPM2DiscreteScheduler`: the midpoint method in the logarithm of sigma, two model calls a step.
    Kdpm2Discrete,
    /// `DPMSolverSinglestepScheduler`: DPM-Solver and DPM-Solver++, singlestep.
    DpmSolverSinglestep,
    /// `KDPM2AncestralDiscreteScheduler`: the same with ancestral noise.
    Kdpm2AncestralDiscrete,
    /// `UniPCMultistepScheduler`: unified predictor-corrector, multistep.
    UniPcMultistep,
    /// `DDIMInverseScheduler`: DDIM from a clean sample to its noise.
    DdimInverse,
    /// `DEISMultistepScheduler`: exponential integrator with polynomials in log-rho, multistep.
    DeisMultistep,
    /// `IPNDMScheduler`: improved pseudo linear multistep; see [`for_model`](crate::for_model).
    Ipndm,
    /// `KarrasVeScheduler`: Algorithm 2 of Karras et al. with churn, two model calls a step. Diffusers' own form of it is
    /// [`KarrasVe`](crate::KarrasVe).
    KarrasVe,
    /// `ScoreSdeVeScheduler`: predictor-corrector sampling of the variance-exploding SDE, on a model's noise levels.
    ScoreSdeVe,
    /// `LCMScheduler`: multistep consistency sampling.
    Lcm,
    /// `FlowMatchEulerDiscreteScheduler`: Euler's method for flow matching; beyond the request API.
    FlowMatchEulerDiscrete,
    /// `FlowMatchHeunDiscreteScheduler`: Heun's method for flow matching, two model calls a step; beyond the request API.
    FlowMatchHeunDiscrete,
}

const SUFFIX: &str = "scheduler";

impl SchedulerKind {
    /// All schedulers: those of the request API in its order, then the flow-matching ones.
    pub const ALL: &'static [Self] = &[
        Self::Ddpm,
        Self::Ddim,
        Self::Pndm,
        Self::LmsDiscrete,
        Self::EulerDiscrete,
        Self::EulerAncestralDiscrete,
        Self::DpmSolverMultistep,
        Self::HeunDiscrete,
        Self::Kdpm2Discrete,
        Self::DpmSolverSinglestep,
        Self::Kdpm2AncestralDiscrete,
        Self::UniPcMultistep,
        Self::DdimInverse,
        Self::DeisMultistep,
        Self::Ipndm,
        Self::KarrasVe,
        Self::ScoreSdeVe,
        Self::Lcm,
        Self::FlowMatchEulerDiscrete,
        Self::FlowMatchHeunDiscrete,
    ];

    /// The name of diffusers' class.
    pub fn class_name(self) -> &'static str {
        match self {
            Self::Ddpm => "DDPMScheduler",
            Self::Ddim => "DDIMScheduler",
            Self::Pndm => "PNDMScheduler",
            Self::LmsDiscrete => "LMSDiscreteScheduler",
            Self::EulerDiscrete => "EulerDiscreteScheduler",
            Self::EulerAncestralDiscrete => "EulerAncestralDiscreteScheduler",
            Self::DpmSolverMultistep => "DPMSolverMultistepScheduler",
            Self::HeunDiscrete => "HeunDiscreteScheduler",
            Self::Kdpm2Discrete => "KDPM2DiscreteScheduler",
            Self::DpmSolverSinglestep => "DPMSolverSinglestepScheduler",
            Self::Kdpm2AncestralDiscrete => "KDPM2AncestralDiscreteScheduler",
            Self::UniPcMultistep => "UniPCMultistepScheduler",
            Self::DdimInverse => "DDIMInverseScheduler",
            Self::DeisMultistep => "DEISMultistepScheduler",
            Self::Ipndm => "IPNDMScheduler",
            Self::KarrasVe => "KarrasVeScheduler",
            Self::ScoreSdeVe => "ScoreSdeVeScheduler",
            Self::Lcm => "LCMScheduler",
            Self::FlowMatchEulerDiscrete => "FlowMatchEulerDiscreteScheduler",
            Self::FlowMatchHeunDiscrete => "FlowMatchHeunDiscreteScheduler",
        }
    }

    /// The names of [`Self::ALL`], for messages.
    pub(crate) fn list() -> String {
        let names: Vec<_> = Self::ALL.iter().map(|kind| kind.class_name()).collect();
        names.join(", ")
    }
}

/// The name in lower case and without the suffix.
fn stem(name: &str) -> String {
    let name = name.trim().to_ascii_lowercase();
    name.strip_suffix(SUFFIX).unwrap_or(&name).to_owned()
}

impl FromStr for SchedulerKind {
    type Err = SchedulerError;

    fn from_str(name: &str) -> Result<Self, SchedulerError> {
        let wanted = stem(name);
        let found = Self::ALL.iter().find(|kind| stem(kind.class_name()) == wanted);
        let name = name.to_owned();
        found.copied().ok_or(SchedulerError::UnknownScheduler { name })
    }
}

impl fmt::Display for SchedulerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.class_name())
    }
}

impl Serialize for SchedulerKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.class_name())
    }
}

impl<'de> Deserialize<'de> for SchedulerKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of the request API, without the suffix.
    const API_NAMES: [&str; 18] = [
        "DDPM",
        "DDIM",
        "PNDM",
        "LMSDiscrete",
        "EulerDiscrete",
        "EulerAncestralDiscrete",
        "DPMSolverMultistep",
        "HeunDiscrete",
        "KDPM2Discrete",
        "DPMSolverSinglestep",
        "KDPM2AncestralDiscrete",
        "UniPCMultistep",
        "DDIMInverse",
        "DEISMultistep",
        "IPNDM",
        "KarrasVe",
        "ScoreSdeVe",
        "LCM",
    ];

    #[test]
    fn names_are_read_in_any_form() {
        for &kind in SchedulerKind::ALL {
            let name = kind.to_string();
            assert!(name.ends_with("Scheduler"));
            let short = name.trim_end_matches("Scheduler");
            for form in [&name, short, &name.to_uppercase(), &short.to_lowercase()] {
                assert_eq!(form.parse::<SchedulerKind>(), Ok(kind), "{form}");
            }
            let json = serde_json::to_string(&kind).unwrap();
            assert_eq!(json, format!("\"{name}\""));
            assert_eq!(serde_json::from_str::<SchedulerKind>(&json).unwrap(), kind);
        }
    }

    #[test]
    fn the_names_of_the_request_api_come_first_and_in_its_order() {
        let names: Vec<_> = SchedulerKind::ALL.iter().map(|kind| kind.class_name()).collect();
        let api = API_NAMES.map(|name| format!("{name}Scheduler"));
        assert_eq!(names[..18], api);
    }

    #[test]
    fn other_names_are_errors_that_list_the_known_ones() {
        let error = "Eulr".parse::<SchedulerKind>().unwrap_err();
        let known = SchedulerKind::list();
        let expected = format!("unknown scheduler `Eulr`: did you mean EulerDiscreteScheduler? Known: {known}");
        assert_eq!(error.to_string(), expected);
        let error = "xyz".parse::<SchedulerKind>().unwrap_err();
        assert_eq!(error.to_string(), format!("unknown scheduler `xyz`. Known: {known}"));
        assert!("Scheduler".parse::<SchedulerKind>().is_err() && "".parse::<SchedulerKind>().is_err());
        assert!(serde_json::from_str::<SchedulerKind>("\"nope\"").is_err());
    }
}
