//! The schedulers' names.

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
    /// `EulerDiscreteScheduler`: Euler's method, Algorithm 2 of Karras et al.
    EulerDiscrete,
    /// `DPMSolverMultistepScheduler`: DPM-Solver and DPM-Solver++, multistep.
    DpmSolverMultistep,
    /// `DPMSolverSinglestepScheduler`: DPM-Solver and DPM-Solver++, singlestep.
    DpmSolverSinglestep,
    /// `UniPCMultistepScheduler`: unified predictor-corrector, multistep.
    UniPcMultistep,
    /// `DDIMInverseScheduler`: DDIM from a clean sample to its noise.
    DdimInverse,
    /// `DEISMultistepScheduler`: exponential integrator with polynomials in log-rho, multistep.
    DeisMultistep,
    /// `IPNDMScheduler`: improved pseudo linear multistep; see [`for_model`](crate::for_model).
    Ipndm,
    /// `ScoreSdeVeScheduler`: predictor-corrector sampling of the variance-exploding SDE, on a model's noise levels.
    ScoreSdeVe,
    /// `LCMScheduler`: multistep consistency sampling.
    Lcm,
}

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

const SUFFIX: &str = "scheduler";

impl SchedulerKind {
    /// All schedulers that are built.
    pub const ALL: &'static [Self] = &[
        Self::Ddpm,
        Self::Ddim,
        Self::Pndm,
        Self::EulerDiscrete,
        Self::DpmSolverMultistep,
        Self::DpmSolverSinglestep,
        Self::UniPcMultistep,
        Self::DdimInverse,
        Self::DeisMultistep,
        Self::Ipndm,
        Self::ScoreSdeVe,
        Self::Lcm,
    ];

    /// The name of diffusers' class.
    pub fn class_name(self) -> &'static str {
        match self {
            Self::Ddpm => "DDPMScheduler",
            Self::Ddim => "DDIMScheduler",
            Self::Pndm => "PNDMScheduler",
            Self::EulerDiscrete => "EulerDiscreteScheduler",
            Self::DpmSolverMultistep => "DPMSolverMultistepScheduler",
            Self::DpmSolverSinglestep => "DPMSolverSinglestepScheduler",
            Self::UniPcMultistep => "UniPCMultistepScheduler",
            Self::DdimInverse => "DDIMInverseScheduler",
            Self::DeisMultistep => "DEISMultistepScheduler",
            Self::Ipndm => "IPNDMScheduler",
            Self::ScoreSdeVe => "ScoreSdeVeScheduler",
            Self::Lcm => "LCMScheduler",
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
        if let Some(kind) = Self::ALL.iter().find(|kind| stem(kind.class_name()) == wanted) {
            return Ok(*kind);
        }
        let name = name.to_owned();
        if API_NAMES.iter().any(|known| stem(known) == wanted) {
            return Err(SchedulerError::NotBuilt { name });
        }
        Err(SchedulerError::UnknownScheduler { name })
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

    #[test]
    fn names_are_read_in_any_form() {
        for &kind in SchedulerKind::ALL {
            let name = kind.to_string();
            assert!(name.ends_with("Scheduler"));
            let short = name.trim_end_matches("Scheduler");
            for form in [&name, short, &name.to_uppercase(), &short.to_lowercase()] {
                assert_eq!(form.parse::<SchedulerKind>(), Ok(kind), "{form}");
            }
            assert!(API_NAMES.contains(&short), "{short}");
            let json = serde_json::to_string(&kind).unwrap();
            assert_eq!(json, format!("\"{name}\""));
            assert_eq!(serde_json::from_str::<SchedulerKind>(&json).unwrap(), kind);
        }
    }

    #[test]
    fn other_names_are_errors_that_list_the_built_ones() {
        for name in API_NAMES {
            match name.parse::<SchedulerKind>() {
                Ok(kind) => assert!(SchedulerKind::ALL.contains(&kind)),
                Err(error) => {
                    let text = error.to_string();
                    assert!(matches!(error, SchedulerError::NotBuilt { .. }), "{name}");
                    assert!(text.contains(name) && text.contains("DDIMScheduler"), "{text}");
                }
            }
        }
        let error = "Eulr".parse::<SchedulerKind>().unwrap_err();
        let expected = format!("unknown scheduler `Eulr`; built: {}", SchedulerKind::list());
        assert_eq!(error.to_string(), expected);
        assert!("Scheduler".parse::<SchedulerKind>().is_err() && "".parse::<SchedulerKind>().is_err());
        assert!(serde_json::from_str::<SchedulerKind>("\"nope\"").is_err());
    }
}
