//! A training between two steps, as a file to go on from.

use std::{collections::HashMap, path::Path};

use burn::tensor::{DType, Device, Tensor, TensorData};
use serde_json::{Map, Value};

use crate::{
    Factors, TrainError, TrainSettings,
    error::file,
    tensor_file::{self, Entry, MatrixFile},
};

const FORMAT: &str = "t2v-train state 1";
/// The key of the losses.
const LOSSES: &str = "losses";

/// Adapters, the optimiser's moving averages, the average of the adapters, the losses so far and the step, from which all random
/// numbers follow.
#[derive(Debug, Clone)]
pub struct SavedState {
    pub(crate) settings: TrainSettings,
    /// Steps done.
    pub(crate) step: usize,
    /// Names and shapes of the factors.
    pub(crate) keys: Vec<(String, [usize; 2])>,
    pub(crate) factors: Factors,
    pub(crate) moments: Vec<Factors>,
    pub(crate) average: Option<Factors>,
    /// The loss of each step done.
    pub(crate) losses: Vec<f32>,
}

/// The settings that are not the same, with both values.
fn differences(had: &TrainSettings, has: &TrainSettings) -> Vec<String> {
    let fields = |settings: &TrainSettings| match serde_json::to_value(settings) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    let (had, has) = (fields(had), fields(has));
    let others = had.iter().filter(|(name, value)| has.get(*name) != Some(value));
    let told =
        others.map(|(name, value)| format!("`{name}` {value} in place of {}", has.get(name).unwrap_or(&Value::Null)));
    told.collect()
}

impl SavedState {
    /// Steps done.
    #[must_use]
    pub fn steps_done(&self) -> usize {
        self.step
    }

    /// The settings of the training.
    #[must_use]
    pub fn settings(&self) -> &TrainSettings {
        &self.settings
    }

    /// Whether a training can go on from it. The number of steps and the course of the learning rate may be others.
    pub(crate) fn check(
        &self,
        settings: &TrainSettings,
        keys: &[(String, [usize; 2])],
        moments: usize,
    ) -> Result<(), TrainError> {
        let fault = |reason: &str| TrainError::File {
            path: "the saved state".into(),
            reason: reason.into(),
        };
        let others = differences(&self.settings.going_on_as(settings), settings);
        if !others.is_empty() {
            let reason = format!(
                "was trained with other settings, {}; only the steps, the learning rate and its course may differ",
                others.join(", ")
            );
            return Err(fault(&reason));
        }
        if self.keys != keys {
            return Err(fault("has other layers than this base: it was trained on another one"));
        }
        if self.step > settings.steps {
            return Err(fault(&format!(
                "has {} steps, more than the {} asked for",
                self.step, settings.steps
            )));
        }
        match self.step > 0 && self.moments.len() != moments {
            true => Err(fault("lacks the optimiser's moving averages")),
            false => Ok(()),
        }
    }

    /// The groups of factors, by what their keys begin with.
    fn groups(&self) -> impl Iterator<Item = (String, &Factors)> {
        let moments = self.moments.iter().enumerate();
        std::iter::once(("factor".to_owned(), &self.factors))
            .chain(moments.map(|(i, moment)| (format!("moment.{i}"), moment)))
            .chain(self.average.iter().map(|average| ("average".to_owned(), average)))
    }

    /// Writes it, whole or not at all. `run` is what else has to be the same when it is gone on from.
    ///
    /// # Errors
    /// A path that can't be written to.
    pub fn save(&self, path: &Path, run: &str) -> Result<(), TrainError> {
        let mut entries = Vec::new();
        for (group, factors) in self.groups() {
            let keyed = self.keys.iter().zip(&factors.0);
            entries.extend(keyed.map(|((key, _), tensor)| Entry::new(format!("{group}.{key}"), tensor.clone())));
        }
        if let Some(factor) = self.factors.0.first().filter(|_| !self.losses.is_empty()) {
            let data = TensorData::new(self.losses.clone(), [1, self.losses.len()]);
            let losses = Tensor::from_data(data, (&factor.device(), DType::F32));
            entries.push(Entry::new(LOSSES.to_owned(), losses));
        }
        let settings = serde_json::to_string(&self.settings).map_err(|e| file(path, e))?;
        let order: Vec<&str> = self.keys.iter().map(|(key, _)| key.as_str()).collect();
        let metadata = HashMap::from([
            ("format".to_owned(), FORMAT.to_owned()),
            ("settings".to_owned(), settings),
            ("step".to_owned(), self.step.to_string()),
            ("moments".to_owned(), self.moments.len().to_string()),
            ("average".to_owned(), self.average.is_some().to_string()),
            (
                "keys".to_owned(),
                serde_json::to_string(&order).map_err(|e| file(path, e))?,
            ),
            ("run".to_owned(), run.to_owned()),
        ]);
        tensor_file::write(path, &entries, metadata)
    }

    /// Reads what [`save`](Self::save) wrote, for the same run.
    ///
    /// # Errors
    /// No such file, one of another kind, or of another run.
    pub fn open(path: &Path, run: &str, device: &Device) -> Result<Self, TrainError> {
        let from = MatrixFile::open(path)?;
        let text = |key: &str| {
            from.text(key).ok_or_else(|| {
                let reason = format!("is no saved state of a training: its metadata have no `{key}`");
                file(path, reason)
            })
        };
        if text("format")? != FORMAT {
            return Err(file(
                path,
                format!("is no saved state of this version of t2v-train ({FORMAT})"),
            ));
        }
        if text("run")? != run {
            let (had, has) = (text("run")?, run);
            return Err(file(
                path,
                format!("is of another training: of {had}, and this one is of {has}"),
            ));
        }
        let number = |key: &str| {
            text(key)?
                .parse::<usize>()
                .map_err(|e| file(path, format!("`{key}`: {e}")))
        };
        let keys: Vec<String> = serde_json::from_str(text("keys")?).map_err(|e| file(path, e))?;
        let read = |group: &str| {
            let keys: Vec<String> = keys.iter().map(|key| format!("{group}.{key}")).collect();
            from.matrices(&keys, device).map(Factors)
        };
        let factors = read("factor")?;
        let step = number("step")?;
        let losses = match step {
            0 => Vec::new(),
            _ => from.matrices(&[LOSSES.to_owned()], device)?,
        };
        let losses = losses.into_iter().map(|losses| losses.into_data().iter().collect());
        let moments = (0..number("moments")?).map(|i| read(&format!("moment.{i}")));
        Ok(Self {
            settings: serde_json::from_str(text("settings")?).map_err(|e| file(path, format!("`settings`: {e}")))?,
            step,
            losses: losses.flat_map(|losses: Vec<f32>| losses).collect(),
            moments: moments.collect::<Result<Vec<_>, TrainError>>()?,
            average: (text("average")? == "true").then(|| read("average")).transpose()?,
            keys: keys
                .iter()
                .cloned()
                .zip(factors.0.iter().map(|tensor| tensor.dims()))
                .collect(),
            factors,
        })
    }
}
