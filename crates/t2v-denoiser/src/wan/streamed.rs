//! Wan's transformer with its blocks on disk: read for each call, one after the other, and dropped.
//!
//! While a block computes the next one is read by another thread, so that two are in memory at most. Values are those of the
//! network in memory: the same layers compute the same sums.

use std::{
    mem::take,
    sync::{
        Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};
use t2v_kernels::Products;
use t2v_weights::{
    AppliedLoras, Floats, LayerWeights, LoadOptions, LoraPlan, LoraSet, LoraTarget, Network, ReadLayer, Weights,
    WeightsError,
};

use super::{Running, WanTransformer, WanTransformerConfig, block::WanBlock, blocks};
use crate::{Conditioning, Denoiser, DenoiserError, Shortcuts};

/// The list of blocks in the network.
const BLOCKS: &str = "blocks";

/// [`WanTransformer`] in less memory than its weights take: its blocks are read for each call.
///
/// A call in which they can't be read gives zeros; [`take_fault`](Self::take_fault) then says why.
#[derive(Debug)]
pub struct StreamedWanTransformer {
    /// All but the blocks.
    around: WanTransformer,
    /// Without values.
    blocks: Vec<WanBlock>,
    weights: LayerWeights,
    /// What is added to the blocks once they are read.
    loras: LoraPlan,
    /// Of what is in memory.
    applied: AppliedLoras,
    floats: Floats,
    fault: Mutex<Option<WeightsError>>,
}

impl StreamedWanTransformer {
    /// Reads what is not part of the blocks, and looks whether the blocks are there.
    ///
    /// # Errors
    /// As for [`Network::from_weights`]; shapes in the blocks are looked at when these are read.
    pub fn from_weights(
        config: WanTransformerConfig,
        weights: Weights,
        options: &LoadOptions,
    ) -> Result<Self, DenoiserError> {
        config.check()?;
        let device = options.device();
        let blocks = blocks(&config, device);
        let mut around = WanTransformer::without_blocks(config, device);
        let weights = weights.load_around(
            &mut around,
            BLOCKS,
            &blocks,
            &WanTransformer::key_map(),
            options.floats(),
        )?;
        Ok(Self {
            around,
            blocks,
            weights,
            loras: LoraPlan::default(),
            applied: AppliedLoras::default(),
            floats: options.floats(),
            fault: Mutex::new(None),
        })
    }

    /// The part of the network that is in memory between calls.
    #[must_use]
    pub fn in_memory(&self) -> &impl Module {
        &self.around
    }

    /// Puts a set of LoRAs in place of the one before. With an error there is none. They are added to each block when it is read.
    ///
    /// # Errors
    /// As for [`LoraSet::apply`]; a file that can't be read may come up in a call.
    pub fn set_loras(&mut self, set: &LoraSet) -> Result<(), WeightsError> {
        let (applied, _) = (take(&mut self.applied), take(&mut self.loras));
        self.around = applied.remove(self.around.clone());
        let keys = WanTransformer::key_map();
        let plan = set.plan(&self.around, BLOCKS, &self.blocks, &keys, LoraTarget::Denoiser)?;
        (self.around, self.applied) = plan.apply("", &self.around, self.floats)?;
        self.loras = plan;
        Ok(())
    }

    /// What went wrong in a call since this was asked last.
    #[must_use]
    pub fn take_fault(&self) -> Option<WeightsError> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Passes the tokens through the blocks as these arrive.
    fn pass(
        &self,
        mut running: Running,
        conditioning: &Conditioning,
        products: Products,
        arriving: &Receiver<Result<ReadLayer, WeightsError>>,
    ) -> Result<Running, WeightsError> {
        let context = self.around.context(conditioning);
        for (index, empty) in self.blocks.iter().enumerate() {
            let Ok(read) = arriving.recv() else {
                unreachable!("every block is sent, or the fault of one")
            };
            let mut block = empty.clone();
            self.weights.fill(&mut block, read?)?;
            let (block, _) = self.loras.apply(&format!("{BLOCKS}.{index}."), &block, self.floats)?;
            running = running.pass(&block, &block.context_keys(&context), products);
        }
        Ok(running)
    }
}

/// Sends the blocks' weights in order, up to the first that can't be read, until nobody waits for them.
fn read_blocks(weights: &LayerWeights, blocks: &SyncSender<Result<ReadLayer, WeightsError>>) {
    for index in 0..weights.count() {
        let read = weights.read(index);
        let is_last = read.is_err();
        if blocks.send(read).is_err() || is_last {
            return;
        }
    }
}

impl Denoiser for StreamedWanTransformer {
    fn call(
        &self,
        latents: Tensor<5>,
        timestep: f64,
        conditioning: &Conditioning,
        shortcuts: Shortcuts<'_>,
    ) -> Tensor<5> {
        let ([_, _, frames, height, width], like) = (latents.dims(), (latents.device(), latents.dtype()));
        let running = self.around.begin(latents, timestep, conditioning);
        // A block waits to be taken, while none is read: with the one that computes there are two.
        let (sender, arriving) = sync_channel(0);
        let weights = &self.weights;
        let passed = thread::scope(|scope| {
            scope.spawn(move || read_blocks(weights, &sender));
            let passed = self.pass(running, conditioning, shortcuts.products, &arriving);
            drop(arriving);
            passed
        });
        match passed {
            Ok(running) => self.around.end(running),
            Err(fault) => {
                *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
                let channels = self.around.config.out_channels();
                let device: (&Device, _) = (&like.0, like.1);
                Tensor::zeros([conditioning.batch(), channels, frames, height, width], device)
            }
        }
    }
}
