//! The learning rate of each step.

use std::f64::consts::PI;

use crate::TrainSettings;

/// The learning rate of a step, counted from 0: it rises evenly over the warm-up, whose last step has all of it, then it stays or
/// falls along a half cosine, which would reach 0 after the last step.
pub(crate) fn learning_rate(settings: &TrainSettings, step: usize) -> f64 {
    let (full, warmup) = (settings.learning_rate, settings.warmup_steps);
    if step < warmup {
        return full * (step + 1) as f64 / warmup as f64;
    }
    if !settings.cosine {
        return full;
    }
    let left = settings.steps.saturating_sub(warmup).max(1);
    let done = (step - warmup) as f64 / left as f64;
    full * 0.5 * (1.0 + (PI * done.min(1.0)).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rises_and_falls() {
        let mut settings = TrainSettings {
            steps: 110,
            warmup_steps: 10,
            learning_rate: 2.0,
            cosine: true,
            ..TrainSettings::default()
        };
        let at = |settings: &TrainSettings, step| (learning_rate(settings, step) * 1e6).round() / 1e6;
        assert_eq!(
            [0, 4, 9, 10, 60].map(|step| at(&settings, step)),
            [0.2, 1.0, 2.0, 2.0, 1.0]
        );
        assert!(learning_rate(&settings, 109) < 0.001 && learning_rate(&settings, 500) == 0.0);
        settings.cosine = false;
        assert_eq!([9, 10, 109].map(|step| at(&settings, step)), [2.0; 3]);
        settings.warmup_steps = 0;
        assert_eq!(at(&settings, 0), 2.0);
    }
}
