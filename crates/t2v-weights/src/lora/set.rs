//! Several LoRAs, each with its scale, added to a module.

use std::sync::Arc;

use burn::module::Module;

use super::{
    AppliedLoras, Lora, LoraTarget,
    fit::{Parameters, fit},
    merge::{Merger, Part, Replacement},
};
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

    /// The LoRAs with their scales, in order.
    pub fn entries(&self) -> impl Iterator<Item = (&Lora, f64)> {
        self.entries.iter().map(|(lora, scale)| (lora.as_ref(), *scale))
    }

    /// Adds them to the part of a model that `module` is: a module in which each touched weight is
    /// `W + Σ scale · alpha / rank · up · down`, computed in f32 on the weight's device. All other parameters are shared with
    /// `module`, which stays as it is.
    ///
    /// `keys` is the module's own map, `floats` what its weights were loaded as: the sums are kept in the type that the model
    /// computes in, so in f32 where halves are [kept](Floats::keep_half) only to save memory.
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
        let parameters = Parameters::of(module);
        let mut merger = Merger::new(floats.into().dtype());
        for (lora, scale) in &self.entries {
            if !scale.is_finite() {
                return Err(WeightsError::Lora {
                    file: lora.origin.clone(),
                    reason: format!("its scale is {scale}; it must be a finite number"),
                });
            }
            let fitting = fit(lora, target, keys, &parameters)?;
            let (file, mut unknown) = (&lora.origin, fitting.unknown);
            for (path, layer) in fitting.layers {
                if let Some(bias) = layer.bias() {
                    match parameters.bias(&path, bias.shape.num_elements()) {
                        Some(path) => merger.add(path, Replacement::new(layer, Part::Bias, *scale, file)),
                        None => unknown.push(bias.name.clone()),
                    }
                }
                merger.add(path, Replacement::new(layer, Part::Weight, scale * layer.scale, file));
            }
            warn(lora, target, &unknown);
            merger.leave_out(unknown);
        }
        merger.merge(module.clone())
    }
}

fn warn(lora: &Lora, target: LoraTarget, unknown: &[String]) {
    if !unknown.is_empty() {
        let (file, count, keys) = (&lora.origin, unknown.len(), crate::load::list(unknown));
        log::warn!(
            "`{file}` has layers that the model's {target} does not have; they are left out: {count} layers: {keys}"
        );
    }
}
