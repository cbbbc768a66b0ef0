//! What is added to which parameter, worked out once for a network that comes in parts.

use burn::module::Module;

use super::{
    AppliedLoras, Lora, LoraSet, LoraTarget,
    fit::{Parameters, fit},
    merge::{Merger, Part, Replacement, Replacements},
};
use crate::{Floats, KeyMap, WeightsError};

/// What LoRAs add to the parameters of a network, by path.
#[derive(Debug, Default)]
pub struct LoraPlan {
    replacements: Replacements,
    left_out: Vec<String>,
}

impl LoraPlan {
    pub(super) fn new(
        set: &LoraSet,
        parameters: &Parameters,
        keys: &KeyMap,
        target: LoraTarget,
    ) -> Result<Self, WeightsError> {
        let mut plan = Self::default();
        for (lora, scale) in set.entries() {
            if !scale.is_finite() {
                return Err(WeightsError::Lora {
                    file: lora.origin.clone(),
                    reason: format!("its scale is {scale}; it must be a finite number"),
                });
            }
            let fitting = fit(lora, target, keys, parameters)?;
            let (file, mut unknown) = (&lora.origin, fitting.unknown);
            for (path, layer) in fitting.layers {
                if let Some(bias) = layer.bias() {
                    match parameters.bias(&path, bias.shape.num_elements()) {
                        Some(path) => plan.add(path, Replacement::new(layer, Part::Bias, scale, file)),
                        None => unknown.push(bias.name.clone()),
                    }
                }
                plan.add(path, Replacement::new(layer, Part::Weight, scale * layer.scale, file));
            }
            warn(lora, target, &unknown);
            plan.left_out.extend(unknown);
        }
        Ok(plan)
    }

    fn add(&mut self, path: String, replacement: Replacement) {
        // What is added 0 times takes no memory.
        if replacement.scale() != 0.0 {
            self.replacements.entry(path).or_default().push(replacement);
        }
    }

    /// As [`LoraSet::apply`], to the part of the network that has `prefix` before the paths of its parameters, such as
    /// `blocks.3.`; all of it has none.
    ///
    /// # Errors
    /// A file can't be read.
    pub fn apply<M: Module>(
        &self,
        prefix: &str,
        module: &M,
        floats: impl Into<Floats>,
    ) -> Result<(M, AppliedLoras), WeightsError> {
        let inside = self.replacements.iter().filter(|(path, _)| path.starts_with(prefix));
        let inside: Replacements = inside.map(|(path, added)| (path.clone(), added.clone())).collect();
        let path: Vec<String> = prefix.split_terminator('.').map(str::to_owned).collect();
        let mut parameters = Parameters::default();
        parameters.add(path.clone(), module);
        let merger = Merger::new(inside, floats.into().dtype(), parameters.into_quantised(), path);
        let (module, mut applied) = merger.merge(module.clone())?;
        if prefix.is_empty() {
            applied.left_out.extend(self.left_out.iter().cloned());
        }
        Ok((module, applied))
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
