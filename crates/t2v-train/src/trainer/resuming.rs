//! A training kept for later, and taken up again.

use burn::module::Module;
use t2v_denoiser::Denoiser;

use super::Trainer;
use crate::{SavedState, TrainError, ema::Ema};

impl<N: Module + Denoiser> Trainer<N> {
    /// All that the next step depends on, besides network and data.
    #[must_use]
    pub fn state(&self) -> SavedState {
        SavedState {
            settings: self.settings.clone(),
            step: self.step,
            keys: self.adapters.keys().collect(),
            factors: self.adapters.factors(),
            moments: self.optimiser.moments().to_vec(),
            average: self.ema.as_ref().map(|ema| ema.average().clone()),
            losses: self.losses.clone(),
        }
    }

    /// Goes on where a state was taken.
    ///
    /// # Errors
    /// The state is of a training with other settings (but for the number of steps, the learning rate and its course), or of another
    /// network.
    pub fn restore(&mut self, state: SavedState) -> Result<(), TrainError> {
        state.check(
            &self.settings,
            &self.adapters.keys().collect::<Vec<_>>(),
            self.optimiser.moment_count(),
        )?;
        self.adapters = self.adapters.with_factors(state.factors);
        self.optimiser.restore(state.moments, state.step);
        if let Some(average) = state.average {
            self.ema = Ema::new(self.settings.ema_decay, average);
        }
        self.step = state.step;
        self.losses = state.losses;
        self.before = None;
        Ok(())
    }
}
