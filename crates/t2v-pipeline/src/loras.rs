//! LoRAs by name, and those that a request asks for ([Hu et al., 2021](https://arxiv.org/abs/2106.09685)).

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use serde::{Deserialize, Serialize};
use t2v_weights::{Lora, LoraSet, WeightsError};

use crate::{PipelineError, TextToVideoRequest, ValidationError};

/// Far beyond what leaves a picture.
const MAX_STRENGTH: f64 = 100.0;
/// Of one request.
const MAX_LORAS: usize = 16;

/// A LoRA that a generation used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LoraReport {
    /// The name that it was asked for by.
    pub name: String,
    /// What its weights were multiplied by.
    pub strength: f64,
    /// SHA-256 of its file, as hexadecimal digits.
    pub sha256: String,
}

/// A LoRA under a name.
#[derive(Debug, Clone)]
struct Known {
    lora: Arc<Lora>,
    sha256: String,
}

/// The LoRAs of a pipeline.
#[derive(Debug, Default)]
pub(crate) struct Loras {
    known: RwLock<BTreeMap<String, Known>>,
}

/// The LoRAs of a generation.
#[derive(Debug, Clone, Default)]
pub(crate) struct ChosenLoras {
    pub(crate) set: LoraSet,
    /// What says whether two generations use the same: hashes, files' names, which may say what they are for, and strengths.
    identity: Vec<(String, String, u64)>,
    /// Names, by the files that errors name.
    names: BTreeMap<String, String>,
}

impl PartialEq for ChosenLoras {
    fn eq(&self, other: &Self) -> bool {
        self.identity == other.identity
    }
}

impl Loras {
    pub(crate) fn add(&self, name: String, lora: Lora) -> Result<(), PipelineError> {
        let sha256 = lora.sha256()?;
        let lora = Arc::new(lora);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(name, Known { lora, sha256 });
        Ok(())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.contains_key(name)
    }

    /// What a request chooses, with its report. Adds a fault for each name that is unknown.
    pub(crate) fn choose(
        &self,
        asked: &[(String, f64)],
        faults: &mut ValidationError,
    ) -> (ChosenLoras, Vec<LoraReport>) {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let (mut chosen, mut reports) = (ChosenLoras::default(), Vec::new());
        for (name, strength) in asked {
            let Some(Known { lora, sha256 }) = known.get(name) else {
                let names: Vec<&str> = known.keys().map(String::as_str).collect();
                faults.add("lora_model", unknown("LoRA", name, &names));
                continue;
            };
            chosen.set = chosen.set.with(Arc::clone(lora), *strength);
            let origin = lora.origin().to_owned();
            chosen.identity.push((sha256.clone(), origin, strength.to_bits()));
            chosen.names.insert(lora.origin().to_owned(), name.clone());
            reports.push(LoraReport {
                name: name.clone(),
                strength: *strength,
                sha256: sha256.clone(),
            });
        }
        (chosen, reports)
    }
}

impl ChosenLoras {
    /// What is wrong with one of them as a fault of the request, which names it and not its file.
    pub(crate) fn fault(&self, error: WeightsError) -> PipelineError {
        let WeightsError::Lora { file, reason } = error else {
            return error.into();
        };
        let mut faults = ValidationError::default();
        let name = self.names.get(&file).unwrap_or(&file);
        faults.add(
            "lora_model",
            format!("The LoRA {name} can't be used with this model: {reason}."),
        );
        faults.into()
    }
}

pub(crate) fn unknown(what: &str, name: &str, known: &[&str]) -> String {
    let known = match known {
        [] => "there are none".to_owned(),
        known => format!("known are {}", known.join(", ")),
    };
    format!("There is no {what} `{}`; {known}.", name.escape_debug())
}

/// The parts of a list with commas.
pub(crate) fn listed(text: Option<&str>) -> Vec<&str> {
    let parts = text.unwrap_or_default().split(',').map(str::trim);
    parts.filter(|part| !part.is_empty()).collect()
}

impl TextToVideoRequest {
    /// Adds a LoRA, by a name that the registry or the pipeline knows. A strength of 1 is what it was trained for; more, less
    /// and negative ones work, too.
    #[must_use]
    pub fn with_lora(mut self, name: impl AsRef<str>, strength: f64) -> Self {
        let joined = |list: Option<String>, entry: String| {
            Some(list.map_or_else(|| entry.clone(), |list| format!("{list},{entry}")))
        };
        // Those that are there without a strength have that of 1.
        let before = listed(self.lora_model.as_deref()).len();
        if self.lora_strength.is_none() && before > 0 {
            self.lora_strength = Some(vec!["1"; before].join(","));
        }
        self.lora_model = joined(self.lora_model.take(), name.as_ref().to_owned());
        self.lora_strength = joined(self.lora_strength.take(), strength.to_string());
        self
    }

    /// The LoRAs that are asked for, and their strengths.
    ///
    /// # Errors
    /// What is wrong with the fields.
    pub fn loras(&self) -> Result<Vec<(String, f64)>, ValidationError> {
        let (names, strengths) = (
            listed(self.lora_model.as_deref()),
            listed(self.lora_strength.as_deref()),
        );
        let mut faults = ValidationError::default();
        if names.len() > MAX_LORAS {
            faults.add(
                "lora_model",
                format!("At most {MAX_LORAS} LoRAs can be used at once, not {}.", names.len()),
            );
        }
        let numbers: Vec<Option<f64>> = strengths
            .iter()
            .map(|text| {
                text.parse()
                    .ok()
                    .filter(|strength: &f64| strength.abs() <= MAX_STRENGTH)
            })
            .collect();
        if let Some((text, _)) = strengths.iter().zip(&numbers).find(|(_, number)| number.is_none()) {
            let fault = format!(
                "The lora strength must be numbers of at most {MAX_STRENGTH}, not `{}`.",
                text.escape_debug()
            );
            faults.add("lora_strength", fault);
        }
        if !names.is_empty() && strengths.len() > 1 && strengths.len() != names.len() {
            let (names, strengths) = (names.len(), strengths.len());
            faults.add(
                "lora_strength",
                format!("The lora strength must have one number, or one for each of {names} LoRAs, not {strengths}."),
            );
        }
        ValidationError::of(faults)?;
        let strength = |i: usize| numbers.get(i).or(numbers.first()).copied().flatten().unwrap_or(1.0);
        Ok(names
            .iter()
            .enumerate()
            .map(|(i, name)| ((*name).to_owned(), strength(i)))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_with_commas_are_read() {
        let loras = |models: &str, strengths: &str| {
            let mut request = TextToVideoRequest::new("a");
            request.lora_model = Some(models.into());
            request.lora_strength = Some(strengths.into());
            request.loras().map_err(|faults| faults.to_string())
        };
        let pair = |name: &str, strength| (name.to_owned(), strength);
        assert_eq!(loras("", "").unwrap(), []);
        assert_eq!(loras("a, b", "").unwrap(), [pair("a", 1.0), pair("b", 1.0)]);
        assert_eq!(loras("a,b", "0.5").unwrap(), [pair("a", 0.5), pair("b", 0.5)]);
        assert_eq!(loras(" a ,b", "0.5, -1.5").unwrap(), [pair("a", 0.5), pair("b", -1.5)]);
        assert!(
            loras("a,b", "1,2,3")
                .unwrap_err()
                .contains("one for each of 2 LoRAs, not 3")
        );
        for strength in ["x", "NaN", "inf", "1e9"] {
            assert!(loras("a", strength).unwrap_err().contains(strength), "{strength}");
        }
        let request = TextToVideoRequest::new("a").with_lora("x", 0.5).with_lora("y", 2.0);
        assert_eq!(request.loras().unwrap(), [pair("x", 0.5), pair("y", 2.0)]);
    }
}
