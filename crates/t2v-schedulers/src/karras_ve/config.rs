//! The options of `KarrasVeScheduler`.

use serde_json::Value;

use super::KIND;
use crate::SchedulerError;
use crate::config::ConfigReader;

/// The options of a `scheduler_config.json`, checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Config {
    pub(super) sigma_min: f64,
    pub(super) sigma_max: f64,
    /// The standard deviation of the noise that churn adds, as a share of the exact one.
    pub(super) s_noise: f64,
    /// How much noise churn adds, over all steps.
    pub(super) s_churn: f64,
    /// The least and the greatest noise level of churn.
    s_min: f64,
    s_max: f64,
}

impl Config {
    pub(super) fn read(config: &Value) -> Result<Self, SchedulerError> {
        let reader = ConfigReader::new(KIND, config)?;
        // Another scheduler's configuration may have these as `null`.
        let number = |key, default| Ok(reader.optional_number(key)?.unwrap_or(default));
        let config = Self {
            sigma_min: number("sigma_min", 0.02)?,
            sigma_max: number("sigma_max", 100.0)?,
            s_noise: number("s_noise", 1.007)?,
            s_churn: number("s_churn", 80.0)?,
            s_min: number("s_min", 0.05)?,
            s_max: number("s_max", 50.0)?,
        };
        if config.sigma_min <= 0.0 {
            let reason = format!("is {}, expected a number above 0", config.sigma_min);
            return Err(reader.unsupported("sigma_min", reason));
        }
        if config.sigma_max < config.sigma_min {
            let reason = format!(
                "is {}, expected at least `sigma_min`, {}",
                config.sigma_max, config.sigma_min
            );
            return Err(reader.unsupported("sigma_max", reason));
        }
        for (key, value) in [("s_churn", config.s_churn), ("s_noise", config.s_noise)] {
            if value < 0.0 {
                let reason = format!("is {value}, expected at least 0");
                return Err(reader.unsupported(key, reason));
            }
        }
        Ok(config)
    }

    /// Whether there is churn at a noise level.
    pub(super) fn churns_at(&self, sigma: f32) -> bool {
        (self.s_min as f32..=self.s_max as f32).contains(&sigma)
    }
}
