//! `WanTransformer3DModel` (`diffusers/models/transformers/transformer_wan.py`), the denoiser of Wan 2.1 and 2.2
//! ([Wan team, 2025](https://arxiv.org/abs/2503.20314)): a transformer over patches of a clip's latents, all of which see each other.

mod attention;
mod block;
mod condition;
mod config;
#[cfg(test)]
mod golden_tests;
mod original;
mod patches;
mod prepared;
mod rope;
mod streamed;

use burn::{
    module::{Module, Param},
    nn::Linear,
    tensor::{Device, Tensor},
};
pub use config::WanTransformerConfig;
pub use original::{check_wan_transformer, wan_transformer, wan_transformer_config};
pub use prepared::Prepared;
use prepared::network_of;
pub use streamed::StreamedWanTransformer;
use t2v_kernels::{Products, Rotation, linear, modulated_norm, project};
use t2v_weights::{Component, KeyMap, Network};

use self::{
    attention::Context,
    block::{WanBlock, modulation, modulations, table},
    condition::{ConditionEmbedder, Time},
};
use crate::{Conditioning, Denoiser, DenoiserError, Shortcuts, keys};

/// Wan's denoiser, of clips from text alone or from text and a picture.
///
/// What is attended to besides the clip stays the same from step to step: [`Denoiser::prepare`] computes its keys and values
/// once.
#[derive(Module, Debug)]
pub struct WanTransformer {
    /// A convolution in the checkpoint, whose kernel is as large as its stride.
    patch_embedding: Linear,
    condition_embedder: ConditionEmbedder,
    blocks: Vec<WanBlock>,
    proj_out: Linear,
    scale_shift_table: Param<Tensor<3>>,
    #[module(skip)]
    config: WanTransformerConfig,
}

impl Network for WanTransformer {
    type Config = WanTransformerConfig;
    type Error = DenoiserError;

    fn read_config(component: &Component) -> Result<WanTransformerConfig, DenoiserError> {
        WanTransformerConfig::from_component(component)
    }

    fn init(config: WanTransformerConfig, device: &Device) -> Result<Self, DenoiserError> {
        config.check()?;
        let blocks = blocks(&config, device);
        Ok(Self {
            blocks,
            ..Self::without_blocks(config, device)
        })
    }

    fn key_map() -> KeyMap {
        keys::wan()
    }
}

/// The blocks of a network, without values yet.
fn blocks(config: &WanTransformerConfig, device: &Device) -> Vec<WanBlock> {
    (0..config.num_layers).map(|_| WanBlock::new(config, device)).collect()
}

/// A call between its beginning and its end: what the blocks are given.
struct Running {
    /// `[batch, tokens, dim]`, which the blocks change
    x: Tensor<3>,
    time: Time,
    rotation: Rotation,
    /// Patches in time, height and width.
    counts: [usize; 3],
}

impl Running {
    /// The tokens behind one more block.
    fn pass(mut self, block: &WanBlock, keys: &attention::ContextKeys, products: Products) -> Self {
        self.x = block.forward(self.x, &self.time.modulations, keys, &self.rotation, products);
        self
    }
}

impl WanTransformer {
    /// All of the network but the blocks, without values yet.
    fn without_blocks(config: WanTransformerConfig, device: &Device) -> Self {
        let dim = config.inner_dim();
        Self {
            patch_embedding: linear(config.patch_values(config.in_channels), dim, true, device),
            condition_embedder: ConditionEmbedder::new(&config, device),
            blocks: Vec::new(),
            proj_out: linear(dim, config.patch_values(config.out_channels()), true, device),
            scale_shift_table: table(2, dim, device),
            config,
        }
    }

    /// What comes before the blocks.
    fn begin(&self, latents: Tensor<5>, timestep: f64, conditioning: &Conditioning) -> Running {
        let latents = conditioning.join_channels(latents);
        let ([_, _, frames, height, width], device) = (latents.dims(), latents.device());
        let patch = self.config.patch_size;
        let counts = patches::counts([frames, height, width], patch);
        Running {
            time: self
                .condition_embedder
                .time(&conditioning.timesteps(timestep, counts[0]), &device),
            rotation: rope::rotation(counts, self.config.attention_head_dim, &device),
            x: project(&self.patch_embedding, patches::to_tokens(latents, patch)),
            counts,
        }
    }

    /// What the blocks attend to besides the tokens.
    fn context(&self, conditioning: &Conditioning) -> Context {
        self.condition_embedder.context(conditioning)
    }

    /// What comes behind the blocks.
    fn end(&self, running: Running) -> Tensor<5> {
        let Running { x, time, counts, .. } = running;
        let values = modulations(&self.scale_shift_table, &time.embedding);
        let x = modulated_norm(x, modulation(&values, 1), modulation(&values, 0), self.config.eps);
        patches::to_latents(project(&self.proj_out, x), counts, self.config.patch_size)
    }

    /// The configuration the network was built from.
    #[must_use]
    pub fn config(&self) -> &WanTransformerConfig {
        &self.config
    }
}

impl Denoiser for WanTransformer {
    fn prepare(&self, mut conditioning: Conditioning) -> Conditioning {
        let context = self.context(&conditioning);
        let keys = self.blocks.iter().map(|block| block.context_keys(&context));
        conditioning.prepared = Some(Prepared::new(network_of(&self.proj_out), keys.collect()));
        conditioning
    }

    fn call(
        &self,
        latents: Tensor<5>,
        timestep: f64,
        conditioning: &Conditioning,
        shortcuts: Shortcuts<'_>,
    ) -> Tensor<5> {
        let mut running = self.begin(latents, timestep, conditioning);
        let prepared = conditioning.prepared.as_ref();
        let prepared = prepared.and_then(|prepared| prepared.of(network_of(&self.proj_out)));
        let context = prepared.is_none().then(|| self.context(conditioning));
        for (index, block) in self.blocks.iter().enumerate() {
            let computed = context.as_ref().map(|context| block.context_keys(context));
            let keys = computed.as_ref().or_else(|| prepared?.get(index));
            let Some(keys) = keys else {
                unreachable!("keys are prepared, or computed here")
            };
            running = running.pass(block, keys, shortcuts.products);
        }
        self.end(running)
    }
}
