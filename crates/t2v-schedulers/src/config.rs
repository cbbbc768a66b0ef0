//! Reads a `scheduler_config.json` as diffusers' `from_config` does: known keys are taken, others are ignored.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crate::{SchedulerError, SchedulerKind};

/// The most training timesteps, and the most steps of a run, for which there are tables: a hundred times diffusers' default.
pub(crate) const MAX_TIMESTEPS: usize = 100_000;

/// The range of `num_train_timesteps`.
pub(crate) const TRAIN_TIMESTEPS: RangeInclusive<usize> = 1..=MAX_TIMESTEPS;

/// The range of `steps_offset`.
pub(crate) const STEPS_OFFSETS: RangeInclusive<usize> = 0..=MAX_TIMESTEPS;

/// The range of `solver_order` of the solvers that take any order.
pub(crate) const SOLVER_ORDERS: RangeInclusive<usize> = 1..=100;

/// Reads the options of one scheduler from a JSON object.
pub(crate) struct ConfigReader<'a> {
    kind: SchedulerKind,
    map: &'a Map<String, Value>,
    /// Keys that were defaults of the class that wrote the file: the reading class uses its own defaults for them.
    defaulted: Vec<&'a str>,
}

impl<'a> ConfigReader<'a> {
    pub(crate) fn new(kind: SchedulerKind, config: &'a Value) -> Result<Self, SchedulerError> {
        let Some(map) = config.as_object() else {
            return Err(SchedulerError::Config(format!(
                "expected a JSON object, found {config}"
            )));
        };
        if let Some(class) = map
            .get("_class_name")
            .filter(|class| !class.is_string() && !class.is_array())
        {
            return Err(SchedulerError::Config(format!(
                "`_class_name` is {class}, expected a string"
            )));
        }
        let defaulted = map.get("_use_default_values").and_then(Value::as_array);
        let defaulted = defaulted.into_iter().flatten().filter_map(Value::as_str).collect();
        Ok(Self { kind, map, defaulted })
    }

    /// The value of a key that was not a mere default of the class that wrote the file.
    pub(crate) fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|_| !self.defaulted.contains(&key))
    }

    fn bad(&self, key: &str, found: &Value, expected: impl Into<String>) -> SchedulerError {
        SchedulerError::BadOption {
            kind: self.kind,
            option: key.to_owned(),
            found: found.to_string(),
            expected: expected.into(),
        }
    }

    /// An error for an option, or a combination of options, that cannot be honoured.
    pub(crate) fn unsupported(&self, option: &str, reason: impl Into<String>) -> SchedulerError {
        SchedulerError::Unsupported {
            kind: self.kind,
            option: option.to_owned(),
            reason: reason.into(),
        }
    }

    /// A flag; `null` is false, as in Python.
    pub(crate) fn flag(&self, key: &str, default: bool) -> Result<bool, SchedulerError> {
        match self.get(key) {
            None => Ok(default),
            Some(Value::Null) => Ok(false),
            Some(Value::Bool(value)) => Ok(*value),
            Some(other) => Err(self.bad(key, other, "true or false")),
        }
    }

    /// A whole number within a range.
    pub(crate) fn count(
        &self,
        key: &str,
        default: usize,
        range: RangeInclusive<usize>,
    ) -> Result<usize, SchedulerError> {
        let Some(value) = self.get(key) else {
            return Ok(default);
        };
        let count = value.as_u64().and_then(|count| usize::try_from(count).ok());
        let count = count.filter(|count| range.contains(count));
        let (least, most) = range.into_inner();
        count.ok_or_else(|| self.bad(key, value, format!("a whole number from {least} to {most}")))
    }

    /// A number.
    pub(crate) fn number(&self, key: &str, default: f64) -> Result<f64, SchedulerError> {
        let Some(value) = self.get(key) else {
            return Ok(default);
        };
        value.as_f64().ok_or_else(|| self.bad(key, value, "a number"))
    }

    /// A number or `null`.
    pub(crate) fn optional_number(&self, key: &str) -> Result<Option<f64>, SchedulerError> {
        match self.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value
                .as_f64()
                .map(Some)
                .ok_or_else(|| self.bad(key, value, "a number or null")),
        }
    }

    /// A number that may be minus infinity, which JSON cannot write: `null` and some strings stand for it.
    pub(crate) fn number_or_minus_infinity(&self, key: &str) -> Result<f64, SchedulerError> {
        match self.get(key) {
            None | Some(Value::Null) => Ok(f64::NEG_INFINITY),
            Some(Value::String(text)) if text == "-inf" || text == "-Infinity" => Ok(f64::NEG_INFINITY),
            Some(value) => value
                .as_f64()
                .ok_or_else(|| self.bad(key, value, "a number or \"-Infinity\"")),
        }
    }

    /// A list of numbers, rounded to single precision, or `null`.
    pub(crate) fn optional_list(&self, key: &str) -> Result<Option<Vec<f32>>, SchedulerError> {
        let value = match self.get(key) {
            None | Some(Value::Null) => return Ok(None),
            Some(value) => value,
        };
        let numbers = value.as_array().and_then(|list| {
            let numbers = list.iter().map(|item| item.as_f64().map(|number| number as f32));
            numbers.collect::<Option<Vec<_>>>()
        });
        numbers
            .map(Some)
            .ok_or_else(|| self.bad(key, value, "a list of numbers or null"))
    }

    /// One of some words; `None` if the key is absent or `null`.
    pub(crate) fn optional_choice<T: Copy>(
        &self,
        key: &str,
        choices: &[(&str, T)],
    ) -> Result<Option<T>, SchedulerError> {
        let value = match self.get(key) {
            None | Some(Value::Null) => return Ok(None),
            Some(value) => value,
        };
        let found = choices.iter().find(|(word, _)| value.as_str() == Some(word));
        found.map(|&(_, choice)| Some(choice)).ok_or_else(|| {
            let words: Vec<_> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            self.bad(key, value, format!("one of {}", words.join(", ")))
        })
    }

    /// One of some words.
    pub(crate) fn choice<T: Copy>(&self, key: &str, default: T, choices: &[(&str, T)]) -> Result<T, SchedulerError> {
        match self.get(key) {
            Some(Value::Null) => self.required_choice(key, choices),
            _ => Ok(self.optional_choice(key, choices)?.unwrap_or(default)),
        }
    }

    fn required_choice<T: Copy>(&self, key: &str, choices: &[(&str, T)]) -> Result<T, SchedulerError> {
        let words: Vec<_> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        Err(self.bad(key, &Value::Null, format!("one of {}", words.join(", "))))
    }
}
