//! Sigma schedules: the noise levels `sqrt((1 - a) / a)` of a run, and their way back to timesteps.
//!
//! Karras et al., <https://arxiv.org/abs/2206.00364>, equation 5; beta: Lee et al., <https://arxiv.org/abs/2407.12173>; Lu
//! et al., <https://arxiv.org/abs/2206.00927>; flow: Esser et al., <https://arxiv.org/abs/2403.03206>. All schedules fall.

use crate::SchedulerError;
use crate::beta_quantile::beta_quantile;
use crate::config::ConfigReader;
use crate::float32::numpy_ln;
use crate::spacing::linspace;

/// What a run goes through: timesteps, and sigmas, which go on to the one that the run ends at.
pub(crate) type Table = (Vec<f64>, Vec<f32>);

/// The options `use_karras_sigmas`, `use_exponential_sigmas` and `use_beta_sigmas`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum SigmaShape {
    Karras,
    Exponential,
    Beta,
}

impl SigmaShape {
    /// Reads the three flags, of which at most one may be set.
    pub(crate) fn read(reader: &ConfigReader) -> Result<Option<Self>, SchedulerError> {
        let flags = [
            ("use_karras_sigmas", Self::Karras),
            ("use_exponential_sigmas", Self::Exponential),
            ("use_beta_sigmas", Self::Beta),
        ];
        let mut chosen = None;
        for (key, shape) in flags {
            if !reader.flag(key, false)? {
                continue;
            }
            if let Some((other, _)) = chosen {
                return Err(reader.unsupported(key, format!("excludes `{other}`: set only one of them")));
            }
            chosen = Some((key, shape));
        }
        Ok(chosen.map(|(_, shape)| shape))
    }

    /// `count` noise levels from `max` to `min`.
    pub(crate) fn sigmas(self, max: f64, min: f64, count: usize) -> Vec<f64> {
        match self {
            Self::Karras => karras(max, min, count),
            Self::Exponential => exponential(max, min, count),
            Self::Beta => beta(max, min, count),
        }
    }

    /// The option's name.
    pub(crate) fn option(self) -> &'static str {
        match self {
            Self::Karras => "use_karras_sigmas",
            Self::Exponential => "use_exponential_sigmas",
            Self::Beta => "use_beta_sigmas",
        }
    }
}

/// The option `final_sigmas_type`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum FinalSigma {
    Zero,
    SigmaMin,
}

/// The final sigmas by diffusers' names.
pub(crate) const FINAL_SIGMAS: &[(&str, FinalSigma)] =
    &[("zero", FinalSigma::Zero), ("sigma_min", FinalSigma::SigmaMin)];

impl FinalSigma {
    /// The noise level that a run ends at.
    pub(crate) fn value(self, training_sigmas: &[f32]) -> f64 {
        match self {
            Self::Zero => 0.0,
            Self::SigmaMin => training_sigmas.first().map_or(0.0, |&sigma| f64::from(sigma)),
        }
    }
}

/// The noise levels of the training timesteps, ascending.
pub(crate) fn training_sigmas(alphas_cumprod: &[f32]) -> Vec<f32> {
    alphas_cumprod.iter().map(|a| ((1.0 - a) / a).sqrt()).collect()
}

/// Their logarithms, as NumPy computes them.
pub(crate) fn log_sigmas(training_sigmas: &[f32]) -> Vec<f32> {
    training_sigmas.iter().map(|&sigma| numpy_ln(sigma)).collect()
}

/// The noise level at a fractional timestep, by linear interpolation.
pub(crate) fn interpolate(timestep: f64, training_sigmas: &[f32]) -> f64 {
    let at = |i: usize| f64::from(training_sigmas[i]);
    let last = training_sigmas.len() - 1;
    let low = timestep.clamp(0.0, last as f64) as usize;
    if timestep <= 0.0 || low == last {
        return at(low);
    }
    (at(low + 1) - at(low)) * (timestep - low as f64) + at(low)
}

/// The fractional timestep of a noise level, by interpolation of the logarithms.
pub(crate) fn sigma_to_t(sigma: f64, log_sigmas: &[f32]) -> f64 {
    let log_sigma = sigma.max(1e-10).ln();
    let (low, gap) = bracket(log_sigma, log_sigmas);
    let weight = ((f64::from(log_sigmas[low]) - log_sigma) / f64::from(gap)).clamp(0.0, 1.0);
    (1.0 - weight) * low as f64 + weight * (low + 1) as f64
}

/// [`sigma_to_t`] for a noise level that diffusers holds in single precision.
pub(crate) fn sigma_to_t_f32(sigma: f32, log_sigmas: &[f32]) -> f64 {
    let log_sigma = numpy_ln(sigma.max(1e-10));
    let (low, gap) = bracket(f64::from(log_sigma), log_sigmas);
    let weight = ((log_sigmas[low] - log_sigma) / gap).clamp(0.0, 1.0);
    f64::from(1.0 - weight) * low as f64 + f64::from(weight) * (low + 1) as f64
}

/// [`sigma_to_t_f32`] where diffusers weighs the timesteps in single precision too.
pub(crate) fn sigma_to_t_torch(sigma: f32, log_sigmas: &[f32]) -> f64 {
    let log_sigma = numpy_ln(sigma.max(1e-10));
    let (low, gap) = bracket(f64::from(log_sigma), log_sigmas);
    let weight = ((log_sigmas[low] - log_sigma) / gap).clamp(0.0, 1.0);
    f64::from((1.0 - weight) * low as f32 + weight * (low + 1) as f32)
}

/// The last training timestep (but for the very last) whose level is not above, and its distance to the next level.
fn bracket(log_sigma: f64, log_sigmas: &[f32]) -> (usize, f32) {
    let below = log_sigmas.iter().rposition(|&level| log_sigma >= f64::from(level));
    let low = below.unwrap_or(0).min(log_sigmas.len().saturating_sub(2));
    // A table of one level has no next one: an infinite gap makes it timestep 0.
    let next = log_sigmas.get(low + 1).copied().unwrap_or(f32::INFINITY);
    (low, log_sigmas[low] - next)
}

/// Equation 5 of Karras et al. with rho = 7.
fn karras(max: f64, min: f64, count: usize) -> Vec<f64> {
    const RHO: f64 = 7.0;
    let (max, min) = (max.powf(1.0 / RHO), min.powf(1.0 / RHO));
    let ramp = linspace(0.0, 1.0, count);
    ramp.iter().map(|r| (max + r * (min - max)).powf(RHO)).collect()
}

/// Evenly spaced logarithms.
fn exponential(max: f64, min: f64, count: usize) -> Vec<f64> {
    linspace(max.ln(), min.ln(), count)
        .iter()
        .map(|log| log.exp())
        .collect()
}

/// Quantiles of the beta distribution.
fn beta(max: f64, min: f64, count: usize) -> Vec<f64> {
    let ramp = linspace(0.0, 1.0, count);
    ramp.iter()
        .map(|r| min + beta_quantile(1.0 - r) * (max - min))
        .collect()
}

/// Evenly spaced half logarithms of the signal-to-noise ratio, given those of the ends.
pub(crate) fn lu(log_max: f64, log_min: f64, count: usize) -> Vec<f64> {
    let ramp = linspace(0.0, 1.0, count);
    ramp.iter().map(|r| (log_max + r * (log_min - log_max)).exp()).collect()
}

/// The levels of a flow model of `num_train` training timesteps, with the resolution-dependent shift.
pub(crate) fn flow(num_train: usize, shift: f64, count: usize) -> Vec<f64> {
    let alphas = linspace(1.0, 1.0 / num_train as f64, count + 1);
    let sigmas = alphas[1..].iter().rev().map(|alpha| 1.0 - alpha);
    sigmas
        .map(|sigma| shift * sigma / (1.0 + (shift - 1.0) * sigma))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_shapes_fall_from_max_to_min() {
        for shape in [SigmaShape::Karras, SigmaShape::Exponential, SigmaShape::Beta] {
            for count in [2, 3, 10, 100] {
                let sigmas = shape.sigmas(14.6, 0.03, count);
                assert_eq!(sigmas.len(), count);
                assert!((sigmas[0] - 14.6).abs() < 1e-12 && (sigmas[count - 1] - 0.03).abs() < 1e-12);
                assert!(sigmas.windows(2).all(|pair| pair[0] > pair[1]), "{shape:?} {count}");
            }
            assert!((shape.sigmas(14.6, 0.03, 1)[0] - 14.6).abs() < 1e-12);
        }
        let sigmas = flow(1000, 1.0, 2);
        assert!((sigmas[0] - 0.999).abs() < 1e-12 && (sigmas[1] - 0.4995).abs() < 1e-12);
    }

    #[test]
    fn sigma_to_t_inverts_the_table() {
        let table: Vec<f32> = (1..=50).map(|i| 0.1 * i as f32).collect();
        let logs = log_sigmas(&table);
        for (i, &sigma) in table.iter().enumerate() {
            assert!((sigma_to_t(f64::from(sigma), &logs) - i as f64).abs() < 1e-4);
            assert!((sigma_to_t_f32(sigma, &logs) - i as f64).abs() < 1e-4);
            assert_eq!(interpolate(i as f64, &table), f64::from(sigma));
        }
        assert_eq!((sigma_to_t(0.0, &logs), sigma_to_t(99.0, &logs)), (0.0, 49.0));
        assert_eq!(
            (interpolate(-1.0, &table), interpolate(99.0, &table)),
            (f64::from(table[0]), 5.0)
        );
    }
}
