//! Optimisers of Burn on the adapters' matrices, with states that can be kept.

use burn::{
    optim::{AdamW, AdamWConfig, AdamWState, AdaptiveMomentumState, Lion, LionConfig, LionState, Optimizer},
    tensor::Tensor,
};
use serde::{Deserialize, Serialize};

use crate::{Factors, TrainSettings};

/// Which optimiser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum OptimiserKind {
    /// Adam with decoupled weight decay: Loshchilov and Hutter, <https://arxiv.org/abs/1711.05101>. Betas are 0.9 and 0.999.
    AdamW,
    /// The sign of a momentum: Chen et al., <https://arxiv.org/abs/2302.06675>. It wants a learning rate three to ten times
    /// smaller than AdamW's. Betas are 0.9 and 0.99.
    Lion,
}

enum Rule {
    AdamW(AdamW),
    Lion(Lion),
}

/// An optimiser and its state.
pub(crate) struct Optimiser {
    rule: Rule,
    /// Moving averages, each with an entry for each factor: of the gradients, and for AdamW of their squares. None before the
    /// first step.
    moments: Vec<Factors>,
    /// Steps that were taken.
    time: usize,
}

impl Optimiser {
    pub(crate) fn new(settings: &TrainSettings) -> Self {
        let decay = settings.weight_decay as f32;
        let rule = match settings.optimiser {
            OptimiserKind::AdamW => {
                let config = AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(decay);
                Rule::AdamW(config.build())
            }
            OptimiserKind::Lion => Rule::Lion(LionConfig::new().with_weight_decay(decay).build()),
        };
        Self {
            rule,
            moments: Vec::new(),
            time: 0,
        }
    }

    /// How many moving averages it keeps.
    pub(crate) fn moment_count(&self) -> usize {
        match self.rule {
            Rule::AdamW(_) => 2,
            Rule::Lion(_) => 1,
        }
    }

    /// Its moving averages, none before the first step.
    pub(crate) fn moments(&self) -> &[Factors] {
        &self.moments
    }

    /// Takes up the state that it had after `time` steps.
    pub(crate) fn restore(&mut self, moments: Vec<Factors>, time: usize) {
        (self.moments, self.time) = (moments, time);
    }

    /// The factors after a step against the gradients.
    pub(crate) fn step(&mut self, learning_rate: f64, factors: Factors, gradients: Factors) -> Factors {
        let mut moments = vec![Vec::new(); self.moment_count()];
        let mut updated = Vec::with_capacity(factors.0.len());
        for (i, (factor, gradient)) in factors.0.into_iter().zip(gradients.0).enumerate() {
            let state: Vec<Tensor<2>> = self.moments.iter().map(|moment| moment.0[i].clone()).collect();
            let (factor, state) = self.rule.step(learning_rate, factor, gradient, state, self.time);
            updated.push(factor);
            for (moment, value) in moments.iter_mut().zip(state) {
                moment.push(value);
            }
        }
        self.moments = moments.into_iter().map(Factors).collect();
        self.time += 1;
        Factors(updated)
    }
}

impl Rule {
    /// One matrix after a step, and its moving averages.
    fn step(
        &self,
        learning_rate: f64,
        factor: Tensor<2>,
        gradient: Tensor<2>,
        state: Vec<Tensor<2>>,
        time: usize,
    ) -> (Tensor<2>, Vec<Tensor<2>>) {
        let mut state = state.into_iter();
        match self {
            Rule::AdamW(rule) => {
                let known = state.next().zip(state.next());
                let known =
                    known.map(|(first, second)| AdamWState::new(AdaptiveMomentumState::new(time, first, second)));
                let (factor, state) = rule.step(learning_rate, factor, gradient, known);
                let moments = state.map(|state| vec![state.momentum.moment_1, state.momentum.moment_2]);
                (factor, moments.unwrap_or_default())
            }
            Rule::Lion(rule) => {
                let (factor, state) = rule.step(learning_rate, factor, gradient, state.next().map(LionState::new));
                (factor, state.map(|state| vec![state.momentum]).unwrap_or_default())
            }
        }
    }
}
