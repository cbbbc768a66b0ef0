//! A transformer of Wan whose blocks are read for each call.

use burn::tensor::Tensor;
use t2v_denoiser::{Conditioning, Denoiser, Shortcuts, StreamedWanTransformer};
use t2v_weights::{LoraSet, WeightsError};

use super::{adapted::LoadedDenoiser, parameter_bytes};
use crate::PipelineError;

/// The transformer, with what is in memory between calls. Nothing is prepared for a generation: keys and values of the text
/// would take as much memory as a block, and one more reading of all of them.
pub(super) struct Streamed {
    network: StreamedWanTransformer,
    bytes: usize,
}

impl Streamed {
    pub(super) fn new(network: StreamedWanTransformer) -> Self {
        let bytes = parameter_bytes(network.in_memory());
        Self { network, bytes }
    }
}

impl Denoiser for Streamed {
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

impl LoadedDenoiser for Streamed {
    fn set_loras(&mut self, set: &LoraSet) -> Result<(), WeightsError> {
        self.network.set_loras(set)?;
        self.bytes = parameter_bytes(self.network.in_memory());
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.bytes
    }

    fn check_call(&self) -> Result<(), PipelineError> {
        match self.network.take_fault() {
            Some(fault) => Err(fault.into()),
            None => Ok(()),
        }
    }
}
