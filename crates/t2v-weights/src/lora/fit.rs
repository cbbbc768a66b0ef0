//! Which layers of a LoRA are for which parameters of a module, and what is said where they don't fit.

use std::collections::{BTreeMap, BTreeSet};

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::Tensor,
};

use super::{
    Lora, LoraTarget,
    layer::{LoraLayer, without_ones},
    names::Names,
    refusal::first,
};
use crate::{KeyMap, WeightsError};

/// What Burn calls what stands behind a parameter; that of weights here is always their quantised blocks.
const REPARAMETERISATION: &str = "Reparameterization";
/// Layers that are named in an error.
const LISTED: usize = 3;

/// The weights of a module by path, their shapes as checkpoints have them, and the lengths of its biases.
#[derive(Default)]
pub(super) struct Parameters {
    shapes: BTreeMap<String, Vec<usize>>,
    biases: BTreeMap<String, usize>,
    quantised: BTreeSet<String>,
    path: Vec<String>,
}

impl Parameters {
    pub(super) fn of<M: Module>(module: &M) -> Self {
        let mut parameters = Self::default();
        parameters.add(Vec::new(), module);
        parameters
    }

    /// Adds those of a module whose own path in the network is `path`.
    pub(super) fn add<M: Module>(&mut self, path: Vec<String>, module: &M) {
        self.path = path;
        module.visit(self);
    }

    /// The paths of weights in quantised blocks.
    pub(super) fn into_quantised(self) -> BTreeSet<String> {
        self.quantised
    }

    /// The path of the bias beside the weight at `path`, if it has `length` values.
    pub(super) fn bias(&self, path: &str, length: usize) -> Option<String> {
        let bias = format!("{}.bias", path.strip_suffix(".weight")?);
        (self.biases.get(&bias) == Some(&length)).then_some(bias)
    }
}

impl ModuleVisitor for Parameters {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        if container_type == REPARAMETERISATION {
            self.quantised.insert(self.path.join("."));
        }
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if D == 1 && self.path.last().is_some_and(|name| name == "bias") {
            self.biases
                .insert(self.path.join("."), param.lazy_shape().num_elements());
        }
        if D > 1 && self.path.last().is_some_and(|name| name == "weight") {
            // One without values has the shape that checkpoints have.
            let shape = match param.is_initialized() {
                true => param.transform_for_save().dims().to_vec(),
                false => param.lazy_shape().to_vec(),
            };
            self.shapes.insert(self.path.join("."), shape);
        }
    }
}

/// The layers of a LoRA that a module has, with the paths of their parameters, and the keys of those that it lacks.
pub(super) struct Fit<'a> {
    pub(super) layers: Vec<(String, &'a LoraLayer)>,
    pub(super) unknown: Vec<String>,
}

/// Looks every layer up.
///
/// # Errors
/// A layer has another shape than the module's, or the module has none of the layers.
pub(super) fn fit<'a>(
    lora: &'a Lora,
    target: LoraTarget,
    keys: &KeyMap,
    parameters: &Parameters,
) -> Result<Fit<'a>, WeightsError> {
    let fault = |reason| WeightsError::Lora {
        file: lora.origin.clone(),
        reason,
    };
    let exists = |path: &str| parameters.shapes.contains_key(path);
    let names = Names::new(keys, parameters.shapes.keys().map(String::as_str), &exists).map_err(fault)?;
    let (mut layers, mut unknown, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for layer in lora.of(target) {
        let Some(path) = names.path(&layer.name) else {
            unknown.push(layer.key.clone());
            continue;
        };
        let shape = without_ones(&parameters.shapes[&path]);
        match shape == layer.shape {
            true => layers.push((path, layer)),
            false => others.push((layer, shape)),
        }
    }
    if !others.is_empty() {
        return Err(fault(other_shapes(&others, target)));
    }
    if layers.is_empty() && !unknown.is_empty() {
        return Err(fault(other_model(&unknown, target, parameters)));
    }
    Ok(Fit { layers, unknown })
}

fn other_shapes(others: &[(&LoraLayer, &[usize])], target: LoraTarget) -> String {
    let describe = |(layer, shape): &(&LoraLayer, &[usize])| {
        format!("`{}` is for a weight {:?} that is {shape:?}", layer.key, layer.shape)
    };
    let listed: Vec<String> = others.iter().take(LISTED).map(describe).collect();
    let rest = if others.len() > LISTED { ", …" } else { "" };
    let (count, listed) = (others.len(), listed.join(", "));
    let base = others
        .iter()
        .find_map(|(layer, _)| trained_on(layer))
        .map_or_else(String::new, |base| format!("; it was made for {base}"));
    let layers = if count == 1 { "layer has" } else { "layers have" };
    format!("{count} {layers} another shape than in this model's {target}: {listed}{rest}{base}")
}

/// The width of the text embeddings tells what a LoRA of a U-Net was trained on.
fn trained_on(layer: &LoraLayer) -> Option<&'static str> {
    let name = layer.name.as_str();
    let cross_attention = name.ends_with("attn2.to_k") || name.ends_with("attn2_to_k");
    match layer.shape.get(1).filter(|_| cross_attention)? {
        768 => Some("Stable Diffusion 1.x"),
        1024 => Some("Stable Diffusion 2.x or ModelScope"),
        2048 => Some("SDXL"),
        _ => None,
    }
}

fn other_model(unknown: &[String], target: LoraTarget, parameters: &Parameters) -> String {
    let keys: Vec<&str> = unknown.iter().map(String::as_str).collect();
    let expected: Vec<&str> = parameters
        .shapes
        .keys()
        .filter_map(|path| path.strip_suffix(".weight"))
        .collect();
    let is_transformer = expected.iter().any(|path| path.starts_with("blocks."));
    let kind = if !is_transformer && keys.iter().any(|key| is_of_transformer(key)) {
        "; it is one for a diffusion transformer, such as Flux, Stable Diffusion 3 or Wan"
    } else if keys.iter().all(|key| key.contains("motion_modules")) {
        "; it is a motion LoRA, for models with motion modules"
    } else {
        ""
    };
    format!(
        "none of its {} layers is in this model's {target}: {}, where the model has {}{kind}",
        keys.len(),
        first(&keys),
        first(&expected)
    )
}

fn is_of_transformer(key: &str) -> bool {
    let beginnings = [
        "transformer.",
        "diffusion_model.",
        "lora_transformer",
        "lora_unet_blocks_",
    ];
    let blocks = [
        "double_blocks",
        "single_blocks",
        "joint_blocks",
        "single_transformer_blocks",
    ];
    beginnings.iter().any(|part| key.starts_with(part)) || blocks.iter().any(|part| key.contains(part))
}
