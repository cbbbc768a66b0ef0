//! A network with LoRAs added to its weights, of which another set can take the place.

use burn::tensor::Tensor;
use t2v_denoiser::{Conditioning, Denoiser, Shortcuts};
use t2v_kernels::lay_out;
use t2v_weights::{AppliedLoras, LoadOptions, LoraSet, LoraTarget, ModuleSnapshot, Network, WeightsError};

use super::parameter_bytes;
use crate::PipelineError;

/// A network and the LoRAs that its weights have.
pub(crate) struct Adapted<N> {
    pub(crate) network: N,
    applied: AppliedLoras,
    target: LoraTarget,
    options: LoadOptions,
}

impl<N: Network + ModuleSnapshot> Adapted<N> {
    /// With none.
    pub(crate) fn new(network: N, target: LoraTarget, options: &LoadOptions) -> Self {
        Self {
            network: lay_out(network, options.device()),
            applied: AppliedLoras::default(),
            target,
            options: options.clone(),
        }
    }

    /// Puts a set in place of the one before, whose weights are taken off to the bit. With an error there is none.
    pub(crate) fn set_loras(&mut self, set: &LoraSet) -> Result<(), WeightsError> {
        let applied = std::mem::take(&mut self.applied);
        if applied.layers() > 0 {
            self.network = applied.remove(self.network.clone());
        }
        if !set.is_empty() {
            let (network, applied) = set.apply(&self.network, &N::key_map(), self.target, self.options.floats())?;
            self.network = lay_out(network, self.options.device());
            self.applied = applied;
        }
        Ok(())
    }

    /// Of the parameters, and of those that lie aside while LoRAs are added to them.
    pub(crate) fn bytes(&self) -> usize {
        parameter_bytes(&self.network) + self.applied.bytes() as usize
    }
}

/// A denoiser in memory, of whatever family.
pub(crate) trait LoadedDenoiser: Denoiser {
    /// As [`Adapted::set_loras`].
    fn set_loras(&mut self, set: &LoraSet) -> Result<(), WeightsError>;

    /// As [`Adapted::bytes`].
    fn bytes(&self) -> usize;

    /// Has the network in memory that is called at a timestep, perhaps in place of another. Gives whether it is another than that
    /// of the call before, so that the conditioning has to be [prepared](Denoiser::prepare) anew.
    ///
    /// # Errors
    /// It can't be loaded.
    fn select(&self, _timestep: f64) -> Result<bool, PipelineError> {
        Ok(false)
    }

    /// Whether the calls since this was asked last gave what they should. To be asked after each.
    ///
    /// # Errors
    /// What a network needed for a call could not be read.
    fn check_call(&self) -> Result<(), PipelineError> {
        Ok(())
    }
}

impl<N: Network + Denoiser> Denoiser for Adapted<N> {
    fn prepare(&self, conditioning: Conditioning) -> Conditioning {
        self.network.prepare(conditioning)
    }

    fn reuses_features(&self) -> bool {
        self.network.reuses_features()
    }

    fn call(
        &self,
        latents: Tensor<5>,
        timestep: f64,
        conditioning: &Conditioning,
        shortcuts: Shortcuts<'_>,
    ) -> Tensor<5> {
        self.network.call(latents, timestep, conditioning, shortcuts)
    }
}

impl<N: Network + Denoiser> LoadedDenoiser for Adapted<N> {
    fn set_loras(&mut self, set: &LoraSet) -> Result<(), WeightsError> {
        Adapted::set_loras(self, set)
    }

    fn bytes(&self) -> usize {
        Adapted::bytes(self)
    }
}
