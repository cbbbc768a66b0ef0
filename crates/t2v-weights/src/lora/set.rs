//! Several LoRAs, each with its scale, added to a module.

use std::sync::Arc;

use burn::module::Module;

use super::{AppliedLoras, Lora, LoraPlan, LoraTarget, fit::Parameters};
use crate::{Floats, KeyMap, WeightsError};

/// LoRAs that are added together, each times its scale.
#[derive(Debug, Clone, Default)]
pub struct LoraSet {
    entries: Vec<(Arc<Lora>, f64)>,
}

impl LoraSet {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One more. Scales may be negative, and above 1.
    #[must_use]
    pub fn with(mut self, lora: impl Into<Arc<Lora>>, scale: f64) -> Self {
        self.entries.push((lora.into(), scale));
        self
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Those for which `is_wanted` holds.
    #[must_use]
    pub fn filtered(&self, is_wanted: impl Fn(&Lora) -> bool) -> Self {
        let wanted = self.entries.iter().filter(|(lora, _)| is_wanted(lora));
        Self {
            entries: wanted.cloned().collect(),
        }
    }

    /// The LoRAs with their scales, in order.
    pub fn entries(&self) -> impl Iterator<Item = (&Lora, f64)> {
        self.entries.iter().map(|(lora, scale)| (lora.as_ref(), *scale))
    }

    /// Adds them to the part of a model that `module` is: a module in which each touched weight is
    /// `W + Σ scale · alpha / rank · up · down`, computed in f32 on the weight's device. All other parameters are shared with
    /// `module`, which stays as it is.
    ///
    /// `keys` is the module's own map, `floats` what its weights were loaded as: the sums are kept in the type that the model
    /// computes in, so in f32 where halves are [kept](Floats::keep_half) only to save memory. Weights in quantised blocks stay so:
    /// the matrices of the LoRA lie beside them, and the layer adds what they give, as in diffusers.
    ///
    /// Layers that the module lacks are left out with a warning. LoRAs that have nothing for this part change nothing.
    ///
    /// # Errors
    /// A scale is no finite number; a layer has another shape than the module's; the module has none of a file's layers; a file
    /// can't be read.
    pub fn apply<M: Module>(
        &self,
        module: &M,
        keys: &KeyMap,
        target: LoraTarget,
        floats: impl Into<Floats>,
    ) -> Result<(M, AppliedLoras), WeightsError> {
        let plan = LoraPlan::new(self, &Parameters::of(module), keys, target)?;
        plan.apply("", module, floats)
    }

    /// What they add to a module and to the layers of its list, the field `list`, which are not in it: without values, as they
    /// may be. The errors are those of [`apply`](Self::apply), but for files that can't be read.
    ///
    /// # Errors
    /// As for [`apply`](Self::apply).
    pub fn plan<M: Module, L: Module>(
        &self,
        module: &M,
        list: &str,
        layers: &[L],
        keys: &KeyMap,
        target: LoraTarget,
    ) -> Result<LoraPlan, WeightsError> {
        let mut parameters = Parameters::of(module);
        for (index, layer) in layers.iter().enumerate() {
            parameters.add(vec![list.into(), index.to_string()], layer);
        }
        LoraPlan::new(self, &parameters, keys, target)
    }
}
