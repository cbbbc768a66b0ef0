//! Weights of a list of alike layers, of which one is in memory at a time.

use std::{collections::BTreeSet, fmt};

use burn::module::Module;
use burn_store::{ApplyResult, ModuleSnapshot};

use crate::{Floats, KeyMap, Weights, WeightsError, load::describe, named::Named, parameters::parameters};

/// The weights of the layers in a module's list, not read yet: what is known is where each tensor is.
pub struct LayerWeights {
    weights: Weights,
    list: String,
    layers: Vec<Named>,
    floats: Floats,
}

/// The weights of one layer, in memory.
pub struct ReadLayer {
    named: Named,
    index: usize,
}

impl fmt::Debug for LayerWeights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LayerWeights")
            .field("weights", &self.weights)
            .field("list", &self.list)
            .field("layers", &self.layers.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ReadLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadLayer")
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}

impl Weights {
    /// Fills a module whose list of layers, the field `list`, is empty, and gives the weights of `layers`, which it would have
    /// there; these stay without values.
    ///
    /// # Errors
    /// As for [`load`](Self::load). Of the layers it is looked at what they are called; their shapes and values when
    /// they are [read](LayerWeights::read).
    pub fn load_around<M: ModuleSnapshot, L: Module>(
        self,
        module: &mut M,
        list: &str,
        layers: &[L],
        keys: &KeyMap,
        floats: impl Into<Floats>,
    ) -> Result<LayerWeights, WeightsError> {
        let floats = floats.into();
        let (mut named, earlier) = self.named(keys, floats)?;
        let prefixes: Vec<String> = (0..layers.len()).map(|index| format!("{list}.{index}.")).collect();
        let of_layers: Vec<Named> = prefixes.iter().map(|prefix| named.part(prefix)).collect();
        let is_around = |path: &str| !prefixes.iter().any(|prefix| path.starts_with(prefix));
        named.tensors.retain(|tensor| is_around(&tensor.name));
        named.blocks.retain(|path, _| is_around(path));
        let mut result = named.fill(module, floats);
        for ((layer, named), prefix) in layers.iter().zip(&of_layers).zip(&prefixes) {
            compare(layer, named, prefix, &mut result);
        }
        self.checked(&result, keys, &earlier)?;
        Ok(LayerWeights {
            weights: self,
            list: list.into(),
            layers: of_layers,
            floats,
        })
    }
}

/// Adds the keys that a layer lacks, and those that it has no parameter for.
fn compare<L: Module>(layer: &L, named: &Named, prefix: &str, result: &mut ApplyResult) {
    let mut found: BTreeSet<&str> = named.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    for parameter in parameters(layer) {
        if !parameter.names().any(|name| found.remove(name)) {
            result
                .missing
                .push((format!("{prefix}{}", parameter.path), String::new()));
        }
    }
    result
        .unused
        .extend(found.into_iter().map(|name| format!("{prefix}{name}")));
}

impl LayerWeights {
    /// How many layers there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.layers.len()
    }

    /// Reads the weights of a layer; any thread may do so.
    ///
    /// # Errors
    /// A file can't be read.
    ///
    /// # Panics
    /// There is no such layer.
    pub fn read(&self, index: usize) -> Result<ReadLayer, WeightsError> {
        let named = self.layers[index].read();
        let named = named.map_err(|(path, reason)| WeightsError::Format {
            file: self.weights.origin().into(),
            reason: format!("`{}.{index}.{path}` can't be read: {reason}", self.list),
        })?;
        Ok(ReadLayer { named, index })
    }

    /// Fills a layer with what was read.
    ///
    /// # Errors
    /// Tensors of other shapes than the layer's parameters.
    pub fn fill<L: ModuleSnapshot>(&self, layer: &mut L, read: ReadLayer) -> Result<(), WeightsError> {
        let result = read.named.fill(layer, self.floats);
        match result.errors.first() {
            Some(error) => {
                let (list, index) = (&self.list, read.index);
                Err(self.weights.mismatch(format!("{list}.{index}.{}", describe(error))))
            }
            None => Ok(()),
        }
    }
}
