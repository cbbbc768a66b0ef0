//! The noise schedules a model was trained with: betas and their cumulative products.
//!
//! Ho et al., "Denoising Diffusion Probabilistic Models", <https://arxiv.org/abs/2006.11239>; the cosine schedule: Nichol
//! and Dhariwal, <https://arxiv.org/abs/2102.09672>; zero terminal signal-to-noise ratio: Lin et al., Algorithm 1,
//! <https://arxiv.org/abs/2305.08891>.

use std::f64::consts::FRAC_PI_2;

use crate::SchedulerError;
use crate::config::{ConfigReader, TRAIN_TIMESTEPS};
use crate::float32::{exp, linspace};

/// How betas follow from `beta_start` and `beta_end`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum BetaSchedule {
    Linear,
    ScaledLinear,
    SquaredCosine,
    Exponential,
    Laplace,
    Sigmoid,
}

/// The schedules that most schedulers know, by diffusers' names.
pub(crate) const BETA_SCHEDULES: &[(&str, BetaSchedule)] = &[
    ("linear", BetaSchedule::Linear),
    ("scaled_linear", BetaSchedule::ScaledLinear),
    ("squaredcos_cap_v2", BetaSchedule::SquaredCosine),
];

/// Those and the ones that DDPM adds.
pub(crate) const DDPM_BETA_SCHEDULES: &[(&str, BetaSchedule)] = &[
    ("linear", BetaSchedule::Linear),
    ("scaled_linear", BetaSchedule::ScaledLinear),
    ("squaredcos_cap_v2", BetaSchedule::SquaredCosine),
    ("laplace", BetaSchedule::Laplace),
    ("sigmoid", BetaSchedule::Sigmoid),
];

/// The options `num_train_timesteps`, `beta_*`, `trained_betas` and `rescale_betas_zero_snr`.
#[derive(Clone, Debug)]
pub(crate) struct BetaOptions {
    pub(crate) num_train_timesteps: usize,
    pub(crate) start: f64,
    pub(crate) end: f64,
    pub(crate) schedule: BetaSchedule,
    pub(crate) trained: Option<Vec<f32>>,
    pub(crate) rescale_zero_snr: bool,
}

impl BetaOptions {
    /// Reads the options, with the defaults and beta schedules that most schedulers have.
    pub(crate) fn read(reader: &ConfigReader) -> Result<Self, SchedulerError> {
        Self::read_among(reader, BETA_SCHEDULES)
    }

    /// [`Self::read`] for schedulers with other beta schedules.
    pub(crate) fn read_among(
        reader: &ConfigReader,
        schedules: &[(&str, BetaSchedule)],
    ) -> Result<Self, SchedulerError> {
        let mut options = Self::read_plain(reader, 0.0001, 0.02, schedules)?;
        options.rescale_zero_snr = reader.flag("rescale_betas_zero_snr", false)?;
        Ok(options)
    }

    /// Reads the options of a scheduler that has no `rescale_betas_zero_snr`, with its defaults for the ends.
    pub(crate) fn read_plain(
        reader: &ConfigReader,
        start: f64,
        end: f64,
        schedules: &[(&str, BetaSchedule)],
    ) -> Result<Self, SchedulerError> {
        let options = Self {
            num_train_timesteps: reader.count("num_train_timesteps", 1000, TRAIN_TIMESTEPS)?,
            start: reader.number("beta_start", start)?,
            end: reader.number("beta_end", end)?,
            schedule: reader.choice("beta_schedule", BetaSchedule::Linear, schedules)?,
            trained: reader.optional_list("trained_betas")?,
            rescale_zero_snr: false,
        };
        options.check_range(reader)?;
        let (wanted, trained) = (options.num_train_timesteps, options.trained.as_ref());
        match trained.map(Vec::len).filter(|&len| len != wanted) {
            None => Ok(options),
            Some(len) => {
                let reason = format!("has {len} values, `num_train_timesteps` wants {wanted}");
                Err(reader.unsupported("trained_betas", reason))
            }
        }
    }

    /// Refuses variances of noise beyond 0 to 1, which leave no square roots. Schedules by a formula ignore the ends.
    fn check_range(&self, reader: &ConfigReader) -> Result<(), SchedulerError> {
        let bad = |beta: &f64| !(0.0..=1.0).contains(beta);
        if let Some(betas) = &self.trained {
            return match betas.iter().map(|&beta| f64::from(beta)).find(bad) {
                None => Ok(()),
                Some(beta) => {
                    Err(reader.unsupported("trained_betas", format!("has {beta}, expected values from 0 to 1")))
                }
            };
        }
        if !matches!(
            self.schedule,
            BetaSchedule::Linear | BetaSchedule::ScaledLinear | BetaSchedule::Sigmoid
        ) {
            return Ok(());
        }
        let ends = [("beta_start", self.start), ("beta_end", self.end)];
        match ends.into_iter().find(|(_, beta)| bad(beta)) {
            None => Ok(()),
            Some((key, beta)) => Err(reader.unsupported(key, format!("is {beta}, expected 0 to 1"))),
        }
    }

    /// Cumulative products of `1 - beta`, one a training timestep.
    pub(crate) fn alphas_cumprod(&self) -> Vec<f32> {
        let betas = match self.rescale_zero_snr {
            true => rescale_zero_terminal_snr(&self.betas()),
            false => self.betas(),
        };
        cumulative_product(betas.iter().map(|beta| 1.0 - beta))
    }

    /// [`Self::alphas_cumprod`] for schedulers that divide by the last one: where it would be 0, it is `2^-24`.
    pub(crate) fn positive_alphas_cumprod(&self) -> Vec<f32> {
        let mut alphas = self.alphas_cumprod();
        if let Some(last) = alphas.last_mut().filter(|_| self.rescale_zero_snr) {
            *last = 2f32.powi(-24);
        }
        alphas
    }

    fn betas(&self) -> Vec<f32> {
        if let Some(betas) = &self.trained {
            return betas.clone();
        }
        let count = self.num_train_timesteps;
        match self.schedule {
            BetaSchedule::Linear => linspace(self.start, self.end, count),
            BetaSchedule::ScaledLinear => {
                let roots = linspace(self.start.sqrt(), self.end.sqrt(), count);
                roots.iter().map(|root| root * root).collect()
            }
            BetaSchedule::SquaredCosine => {
                betas_for_alpha_bar(count, |t| ((t + 0.008) / 1.008 * FRAC_PI_2).cos().powi(2))
            }
            BetaSchedule::Exponential => betas_for_alpha_bar(count, |t| (-12.0 * t).exp()),
            BetaSchedule::Laplace => betas_for_alpha_bar(count, laplace_alpha_bar),
            BetaSchedule::Sigmoid => {
                let (start, range) = (self.start as f32, (self.end - self.start) as f32);
                let points = linspace(-6.0, 6.0, count);
                points.iter().map(|&x| 1.0 / (1.0 + exp(-x)) * range + start).collect()
            }
        }
    }
}

/// Betas, capped at 0.999, whose cumulative product follows a function of time in `[0, 1]`.
fn betas_for_alpha_bar(count: usize, alpha_bar: impl Fn(f64) -> f64) -> Vec<f32> {
    let time = |i: usize| i as f64 / count as f64;
    let beta = |i: usize| (1.0 - alpha_bar(time(i + 1)) / alpha_bar(time(i))).min(0.999);
    (0..count).map(|i| beta(i) as f32).collect()
}

/// The logarithm of the signal-to-noise ratio has Laplace's distribution: Hang et al.,
/// <https://arxiv.org/abs/2407.03297>.
fn laplace_alpha_bar(time: f64) -> f64 {
    let centred = 0.5 - time;
    let log_ratio = -0.5 * 1f64.copysign(centred) * (1.0 - 2.0 * centred.abs() + 1e-6).ln();
    let ratio = log_ratio.exp();
    (ratio / (1.0 + ratio)).sqrt()
}

/// Torch's `cumprod` of `f32`: accumulated in double precision.
fn cumulative_product(values: impl Iterator<Item = f32>) -> Vec<f32> {
    let products = values.scan(1f64, |product, value| {
        *product *= f64::from(value);
        Some(*product as f32)
    });
    products.collect()
}

/// Shifts and scales the square roots of the cumulative products so that the last is 0 and the first stays.
fn rescale_zero_terminal_snr(betas: &[f32]) -> Vec<f32> {
    let roots = cumulative_product(betas.iter().map(|beta| 1.0 - beta));
    let roots: Vec<f32> = roots.iter().map(|product| product.sqrt()).collect();
    let (Some(&first), Some(&last)) = (roots.first(), roots.last()) else {
        return Vec::new();
    };
    let scale = first / (first - last);
    let products = roots.iter().map(|root| ((root - last) * scale).powi(2));
    let mut previous = 1.0;
    let betas = products.map(|product| {
        let alpha = product / previous;
        previous = product;
        1.0 - alpha
    });
    betas.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(schedule: BetaSchedule, rescale_zero_snr: bool) -> BetaOptions {
        BetaOptions {
            num_train_timesteps: 1000,
            start: 0.00085,
            end: 0.012,
            schedule,
            trained: None,
            rescale_zero_snr,
        }
    }

    #[test]
    fn products_fall_from_one_to_zero() {
        for (name, schedule) in BETA_SCHEDULES {
            let alphas = options(*schedule, false).alphas_cumprod();
            assert_eq!(alphas.len(), 1000);
            assert!(alphas.windows(2).all(|pair| pair[0] > pair[1]), "{name}");
            assert!(alphas[0] > 0.99 && alphas[999] > 0.0 && alphas[999] < 0.01, "{name}");
        }
    }

    #[test]
    fn rescaling_keeps_the_first_and_zeroes_the_last() {
        let plain = options(BetaSchedule::ScaledLinear, false).alphas_cumprod();
        let rescaled = options(BetaSchedule::ScaledLinear, true);
        assert_eq!(rescaled.alphas_cumprod()[999], 0.0);
        assert!((rescaled.alphas_cumprod()[0] - plain[0]).abs() < 1e-6);
        assert_eq!(rescaled.positive_alphas_cumprod()[999], 2f32.powi(-24));
    }
}
