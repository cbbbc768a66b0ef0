//! How inference timesteps are spread over the training timesteps: Table 2 of Lin et al.,
//! <https://arxiv.org/abs/2305.08891>. All functions return descending timesteps.

use crate::{SchedulerError, SchedulerKind};

/// The option `timestep_spacing`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum TimestepSpacing {
    Linspace,
    Leading,
    Trailing,
}

impl TimestepSpacing {
    /// `steps` whole timesteps below `train`, but for a great `offset`.
    pub(crate) fn timesteps(self, train: usize, steps: usize, offset: usize) -> Vec<f64> {
        match self {
            Self::Linspace => {
                let points = linspace_down(train as f64 - 1.0, steps);
                points.iter().map(|t| t.round_ties_even()).collect()
            }
            Self::Leading => leading(steps, train / steps, offset),
            Self::Trailing => trailing(train, train, steps),
        }
    }

    /// [`Self::timesteps`] for schedulers that take at most as many steps as there are training timesteps.
    pub(crate) fn checked_timesteps(
        self,
        kind: SchedulerKind,
        train: usize,
        steps: usize,
        offset: usize,
    ) -> Result<Vec<f64>, SchedulerError> {
        if steps > train {
            let reason = format!("{steps} steps are more than `num_train_timesteps`, {train}");
            return Err(SchedulerError::Schedule { kind, reason });
        }
        let timesteps = self.timesteps(train, steps, offset);
        if timesteps.iter().any(|&t| t >= train as f64) {
            let last = train - 1;
            let reason = format!("steps_offset {offset} with {steps} steps goes beyond timestep {last}");
            return Err(SchedulerError::Schedule { kind, reason });
        }
        Ok(timesteps)
    }
}

/// The spacings by diffusers' names.
pub(crate) const TIMESTEP_SPACINGS: &[(&str, TimestepSpacing)] = &[
    ("linspace", TimestepSpacing::Linspace),
    ("leading", TimestepSpacing::Leading),
    ("trailing", TimestepSpacing::Trailing),
];

/// `numpy.linspace(start, stop, count)`, ascending if `start < stop`.
pub(crate) fn linspace(start: f64, stop: f64, count: usize) -> Vec<f64> {
    let step = if count > 1 {
        (stop - start) / (count - 1) as f64
    } else {
        0.0
    };
    let value = |i: usize| {
        if i > 0 && i + 1 == count {
            stop
        } else {
            i as f64 * step + start
        }
    };
    (0..count).map(value).collect()
}

/// `count` points from `last` down to 0, not rounded.
pub(crate) fn linspace_down(last: f64, count: usize) -> Vec<f64> {
    let mut points = linspace(0.0, last, count);
    points.reverse();
    points
}

/// `count` multiples of `ratio`, down to 0, plus `offset`.
pub(crate) fn leading(count: usize, ratio: usize, offset: usize) -> Vec<f64> {
    (0..count).rev().map(|i| (i * ratio + offset) as f64).collect()
}

/// From `last` down in steps of `num_train / steps`, rounded, less 1.
///
/// For some numbers of steps (the least is 61 of 1000), rounding errors give NumPy's `arange` one more entry, at 0 but
/// for the error, so that diffusers ends in a timestep of -1. That entry is left out here.
pub(crate) fn trailing(last: usize, num_train: usize, steps: usize) -> Vec<f64> {
    let start = last as f64;
    let ratio = num_train as f64 / steps as f64;
    let count = (start / ratio).ceil() as usize;
    // NumPy takes the difference of the first two entries for the step.
    let delta = (start - ratio) - start;
    let points = (0..count).map(|i| (start + i as f64 * delta).round_ties_even() - 1.0);
    points.filter(|&t| t >= 0.0 || steps > num_train).collect()
}

/// Fractional timesteps as diffusers' tables of whole numbers have them: rounded, or cut.
///
/// Diffusers looks for its place in a run by the value of the first timestep, takes the second of two equal ones, and so
/// ends in an index beyond its table where the first timestep comes twice. Then all stay fractional, which keeps apart
/// what the noise levels keep apart. Later timesteps may be equal, as in diffusers.
pub(crate) fn whole_timesteps(fractional: Vec<f64>, rounds: bool) -> Vec<f64> {
    let whole = |t: &f64| if rounds { t.round_ties_even() } else { t.trunc() };
    let timesteps: Vec<f64> = fractional.iter().map(whole).collect();
    match timesteps.split_first() {
        Some((first, rest)) if rest.contains(first) => fractional,
        _ => timesteps,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spacings_of_table_2() {
        assert_eq!(leading(4, 250, 1), [751.0, 501.0, 251.0, 1.0]);
        assert_eq!(trailing(1000, 1000, 4), [999.0, 749.0, 499.0, 249.0]);
        assert_eq!(linspace_down(999.0, 4), [999.0, 666.0, 333.0, 0.0]);
        assert_eq!(linspace_down(999.0, 1), [0.0]);
    }

    #[test]
    fn timesteps_stay_fractional_where_the_first_would_come_twice() {
        assert_eq!(whole_timesteps(vec![998.9, 998.2, 3.5], false), [998.9, 998.2, 3.5]);
        assert_eq!(whole_timesteps(vec![998.9, 998.2, 3.5], true), [999.0, 998.0, 4.0]);
        assert_eq!(whole_timesteps(vec![998.9, 1.7, 1.2], false), [998.0, 1.0, 1.0]);
        assert_eq!(whole_timesteps(vec![999.4, 998.6], true), [999.4, 998.6]);
        assert!(whole_timesteps(Vec::new(), true).is_empty());
    }

    #[test]
    fn trailing_has_as_many_entries_as_steps() {
        for steps in 1..=1000 {
            let points = trailing(1000, 1000, steps);
            assert_eq!(points.len(), steps);
            assert_eq!(points[0], 999.0);
            assert!(points.windows(2).all(|pair| pair[0] > pair[1]), "{steps}");
        }
    }
}
