//! Two transformers of Wan 2.2, each for a part of the denoising: the first makes the layout, the second the details.
//!
//! Both together are twice the largest network, so that where memory is short one makes room for the other. That happens once in
//! a generation, since timesteps only fall.

use std::{
    cell::{Cell, RefCell},
    path::Path,
};

use burn::tensor::Tensor;
use t2v_denoiser::{Conditioning, Denoiser, Shortcuts, StreamedWanTransformer, WanTransformer, WanTransformerConfig};
use t2v_weights::{Component, LoadOptions, Lora, LoraSet, LoraTarget, Network, WeightsError};

use super::{
    adapted::{Adapted, LoadedDenoiser},
    wan_streamed::Streamed,
};
use crate::{MemoryMode, PipelineError, expert::Expert};

/// A transformer that can be loaded.
pub(super) struct Transformer {
    pub(super) component: Component,
    pub(super) config: WanTransformerConfig,
    pub(super) options: LoadOptions,
}

impl Transformer {
    /// All of it, or in the streamed mode what is not part of its blocks.
    pub(super) fn load(&self, mode: MemoryMode) -> Result<Box<dyn LoadedDenoiser>, PipelineError> {
        let (weights, config) = (self.component.weights()?, self.config.clone());
        if mode == MemoryMode::Streamed {
            let transformer = StreamedWanTransformer::from_weights(config, weights, &self.options)?;
            return Ok(Box::new(Streamed::new(transformer)));
        }
        let transformer = WanTransformer::from_weights(config, &weights, &self.options)?;
        Ok(Box::new(Adapted::new(transformer, LoraTarget::Denoiser, &self.options)))
    }
}

/// The transformer that a LoRA says it is for.
fn named_by(lora: &Lora) -> Option<Expert> {
    Expert::named_by(Path::new(lora.origin()))
}

/// Those LoRAs of a set that are for a transformer. Where one doesn't say, it is for the first, as in diffusers.
fn loras_of(expert: Expert, set: &LoraSet) -> LoraSet {
    set.filtered(|lora| named_by(lora).unwrap_or(Expert::Noisy) == expert)
}

/// A transformer for noisy latents and another for those with less noise.
pub(super) struct Experts {
    sources: [Transformer; 2],
    /// The lowest timestep of the first.
    boundary: f64,
    mode: MemoryMode,
    loras: LoraSet,
    loaded: RefCell<[Option<Box<dyn LoadedDenoiser>>; 2]>,
    /// The one that was called last.
    current: Cell<Option<Expert>>,
}

impl Experts {
    /// With the first in memory. `sources` are the first and the second, `boundary` is the lowest timestep of the first.
    pub(super) fn load(sources: [Transformer; 2], boundary: f64, mode: MemoryMode) -> Result<Self, PipelineError> {
        let noisy = sources[Expert::Noisy as usize].load(mode)?;
        Ok(Self {
            sources,
            boundary,
            mode,
            loras: LoraSet::default(),
            loaded: RefCell::new([Some(noisy), None]),
            current: Cell::new(None),
        })
    }

    fn at(&self, timestep: f64) -> Expert {
        if timestep >= self.boundary {
            Expert::Noisy
        } else {
            Expert::Clear
        }
    }

    /// Loads an expert, after the other was dropped where memory is for one.
    fn bring(&self, expert: Expert) -> Result<(), PipelineError> {
        let mut loaded = self.loaded.borrow_mut();
        if loaded[expert as usize].is_some() {
            return Ok(());
        }
        let source = &self.sources[expert as usize];
        // Of streamed ones hardly anything is in memory.
        if self.mode == MemoryMode::Sequential {
            *loaded = [None, None];
            t2v_kernels::release_memory(source.options.device());
        }
        let mut network = source.load(self.mode)?;
        network.set_loras(&loras_of(expert, &self.loras))?;
        loaded[expert as usize] = Some(network);
        Ok(())
    }
}

impl Denoiser for Experts {
    /// For the expert that was [selected](LoadedDenoiser::select).
    fn prepare(&self, conditioning: Conditioning) -> Conditioning {
        let loaded = self.loaded.borrow();
        match self.current.get().and_then(|expert| loaded[expert as usize].as_ref()) {
            Some(network) => network.prepare(conditioning),
            None => conditioning,
        }
    }

    fn call(
        &self,
        latents: Tensor<5>,
        timestep: f64,
        conditioning: &Conditioning,
        shortcuts: Shortcuts<'_>,
    ) -> Tensor<5> {
        let loaded = self.loaded.borrow();
        let Some(network) = &loaded[self.at(timestep) as usize] else {
            unreachable!("the transformer of a timestep is selected before it is called")
        };
        network.call(latents, timestep, conditioning, shortcuts)
    }
}

impl LoadedDenoiser for Experts {
    /// Each transformer gets its own: see [`Expert::named_by`].
    fn set_loras(&mut self, set: &LoraSet) -> Result<(), WeightsError> {
        for (lora, _) in set.entries() {
            if named_by(lora).is_none() {
                log::warn!(
                    "`{}` is added to the first transformer, for noisy latents; one for the second has `low_noise` in its file's name",
                    lora.origin()
                );
            }
        }
        self.loras = set.clone();
        let loaded = self.loaded.get_mut();
        for expert in [Expert::Noisy, Expert::Clear] {
            if let Some(network) = &mut loaded[expert as usize] {
                network.set_loras(&loras_of(expert, set))?;
            }
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        let loaded = self.loaded.borrow();
        loaded.iter().flatten().map(|network| network.bytes()).sum()
    }

    fn select(&self, timestep: f64) -> Result<bool, PipelineError> {
        let expert = self.at(timestep);
        self.bring(expert)?;
        Ok(self.current.replace(Some(expert)) != Some(expert))
    }

    fn check_call(&self) -> Result<(), PipelineError> {
        let loaded = self.loaded.borrow();
        loaded.iter().flatten().try_for_each(|network| network.check_call())
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Device};
    use t2v_weights::ModelFolder;

    use super::*;

    fn experts(mode: MemoryMode) -> Experts {
        let folder = ModelFolder::open(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/wan_b")).unwrap();
        let source = |name| {
            let component = folder.component(name).unwrap();
            Transformer {
                config: WanTransformerConfig::from_component(&component).unwrap(),
                component,
                options: LoadOptions::new(DType::F32, &Device::flex()),
            }
        };
        Experts::load([source("transformer"), source("transformer_2")], 875.0, mode).unwrap()
    }

    fn loaded(experts: &Experts) -> [bool; 2] {
        let loaded = experts.loaded.borrow();
        [loaded[0].is_some(), loaded[1].is_some()]
    }

    #[test]
    fn one_makes_room_for_the_other() {
        let experts = experts(MemoryMode::Sequential);
        let one = experts.bytes();
        assert!(one > 0);
        assert_eq!(loaded(&experts), [true, false]);
        for (timestep, is_another, expected) in [
            (999.0, true, [true, false]),
            (875.0, false, [true, false]),
            (874.9, true, [false, true]),
            (0.0, false, [false, true]),
            // Of the next generation.
            (999.0, true, [true, false]),
        ] {
            assert_eq!(experts.select(timestep).unwrap(), is_another, "{timestep}");
            assert_eq!((loaded(&experts), experts.bytes()), (expected, one), "{timestep}");
        }
    }

    #[test]
    fn both_stay_where_there_is_memory() {
        let experts = experts(MemoryMode::Resident);
        let one = experts.bytes();
        assert!(experts.select(999.0).unwrap() && experts.select(10.0).unwrap() && experts.select(999.0).unwrap());
        assert_eq!((loaded(&experts), experts.bytes()), ([true, true], 2 * one));
    }
}
