//! A moving average of the adapters, which is smoother than what they are after any one step.

use crate::Factors;

/// The average.
pub(crate) struct Ema {
    decay: f64,
    average: Factors,
}

impl Ema {
    /// An average that begins with these; none for a decay of 0.
    pub(crate) fn new(decay: f64, factors: Factors) -> Option<Self> {
        (decay > 0.0).then_some(Self {
            decay,
            average: factors,
        })
    }

    pub(crate) fn average(&self) -> &Factors {
        &self.average
    }

    /// Takes the factors after a step in; `step` counts from 1. Early on the average follows faster, since what it began with says
    /// nothing.
    pub(crate) fn update(&mut self, factors: Factors, step: usize) {
        let decay = self.decay.min((1 + step) as f64 / (10 + step) as f64);
        self.average = self
            .average
            .clone()
            .zip(factors, |average, new| average * decay + new * (1.0 - decay));
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor};

    use super::*;

    #[test]
    fn it_follows_with_a_delay() {
        let of = |value: f32| Factors(vec![Tensor::from_floats([[value]], &Device::flex())]);
        assert!(Ema::new(0.0, of(0.0)).is_none());
        let mut ema = Ema::new(0.9, of(0.0)).unwrap();
        ema.update(of(11.0), 1);
        let value = |ema: &Ema| ema.average().tensors()[0].clone().into_scalar::<f32>();
        // 9 of 11 parts are new.
        assert!((value(&ema) - 9.0).abs() < 1e-5);
        ema.update(of(0.0), 1000);
        assert!((value(&ema) - 8.1).abs() < 1e-5);
    }
}
