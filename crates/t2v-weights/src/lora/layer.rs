//! Tensors of a file as layers: pairs of matrices or kernels that belong together.

use std::collections::HashMap;

use burn::tensor::DType;
use burn_store::{bridge, burn_pack::Tensor as DeferredTensor};

use super::{
    LoraTarget,
    alpha::{Scaled, scales},
    key::{LayerName, Role, classify},
    metadata::AdapterMetadata,
    refusal,
};

/// A layer, not read yet.
#[derive(Debug, Clone)]
pub(super) struct LoraLayer {
    pub(super) target: LoraTarget,
    pub(super) name: LayerName,
    /// The key of `down`, for messages.
    pub(super) key: String,
    /// Alpha over rank.
    pub(super) scale: f64,
    pub(super) rank: usize,
    /// What of the weight's shape it is for: `[out, in, kernel…]`, without ones at the end.
    pub(super) shape: Vec<usize>,
    down: DeferredTensor,
    /// None where `down` is all that is added, as if this were the identity.
    up: Option<DeferredTensor>,
    bias: Option<DeferredTensor>,
}

impl LoraLayer {
    /// `[out, rank]` and `[rank, in * kernel]`; the error says what is wrong.
    pub(super) fn read(&self) -> Result<[Vec<f32>; 2], String> {
        let up = match &self.up {
            Some(up) => values(up)?,
            None => identity(self.rank),
        };
        Ok([up, values(&self.down)?])
    }

    /// What is added to the layer's bias, whatever its alpha, if anything is.
    pub(super) fn bias(&self) -> Option<&DeferredTensor> {
        self.bias.as_ref()
    }

    /// `[out]`, zeros where nothing is added to the layer's bias; the error says what is wrong.
    pub(super) fn read_bias(&self) -> Result<Vec<f32>, String> {
        self.bias.as_ref().map_or_else(|| Ok(vec![0.0; self.shape[0]]), values)
    }
}

fn values(tensor: &DeferredTensor) -> Result<Vec<f32>, String> {
    let data = bridge::to_data(tensor).map_err(|e| format!("`{}`: {e}", tensor.name))?;
    let values: Vec<f32> = data.iter::<f32>().collect();
    match values.iter().all(|value| value.is_finite()) {
        true => Ok(values),
        false => Err(format!("`{}` has values that are no finite numbers", tensor.name)),
    }
}

/// `[size, size]`
fn identity(size: usize) -> Vec<f32> {
    let mut values = vec![0.0; size * size];
    values.iter_mut().step_by(size + 1).for_each(|value| *value = 1.0);
    values
}

/// What of a layer was found.
#[derive(Default)]
struct Parts {
    down: Option<DeferredTensor>,
    up: Option<DeferredTensor>,
    alpha: Option<f64>,
    bias: Option<DeferredTensor>,
    /// Whether `down` is all that is added.
    is_whole: bool,
}

/// The layer of Wan whose weight's difference comes as it is; diffusers reads no other.
const WHOLE: &str = "head.head";

type Sorted = Vec<((LoraTarget, LayerName), Parts)>;

/// The layers in the file's order, and the keys that are no part of one. The error says why there are none.
pub(super) fn layers(
    tensors: Vec<DeferredTensor>,
    metadata: &AdapterMetadata,
) -> Result<(Vec<LoraLayer>, Vec<String>), String> {
    let names: Vec<String> = tensors.iter().map(|tensor| tensor.name.clone()).collect();
    let keys: Vec<&str> = names.iter().map(String::as_str).collect();
    if let Some(reason) = refusal::refused(&keys) {
        return Err(reason);
    }
    let (parts, unknown) = sort(tensors)?;
    let mut layers = Vec::with_capacity(parts.len());
    let mut alphas = Vec::with_capacity(parts.len());
    for ((target, name), parts) in parts {
        let alpha = parts.alpha;
        if let Some(layer) = layer(target, name, parts)? {
            layers.push(layer);
            alphas.push(alpha);
        }
    }
    if layers.is_empty() {
        return Err(refusal::no_lora(&keys));
    }
    let scaled: Vec<Scaled<'_>> = layers
        .iter()
        .zip(&alphas)
        .map(|(layer, alpha)| Scaled {
            target: layer.target,
            name: &layer.name,
            rank: layer.rank,
            alpha: *alpha,
        })
        .collect();
    let scales = scales(&scaled, metadata);
    for (layer, scale) in layers.iter_mut().zip(scales) {
        layer.scale = scale;
    }
    Ok((layers, unknown))
}

/// Tensors by layer, in the order in which the layers' `down` come; alphas of other things are no part of a LoRA.
fn sort(tensors: Vec<DeferredTensor>) -> Result<(Sorted, Vec<String>), String> {
    let mut found: HashMap<(LoraTarget, LayerName), Parts> = HashMap::new();
    let (mut order, mut late, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
    for tensor in tensors {
        let Some(key) = classify(&tensor.name) else {
            unknown.push(tensor.name.clone());
            continue;
        };
        let layer = (key.target, key.name);
        match key.role {
            Role::Alpha | Role::Bias => {
                late.push((layer, key.role, tensor));
                continue;
            }
            Role::Whole if layer.1.as_str() != WHOLE => {
                unknown.push(tensor.name.clone());
                continue;
            }
            _ => {}
        }
        if tensor.dtype != DType::F32 {
            return Err(format!("`{}` holds {:?} instead of floats", tensor.name, tensor.dtype));
        }
        let parts = found.entry(layer.clone()).or_default();
        parts.is_whole |= key.role == Role::Whole;
        let part = match key.role {
            Role::Up => &mut parts.up,
            _ => {
                order.push(layer);
                &mut parts.down
            }
        };
        if let Some(other) = part.replace(tensor) {
            let name = layer_name(part.as_ref());
            return Err(format!("`{}` and `{name}` are for the same layer", other.name));
        }
    }
    for (layer, role, tensor) in late {
        match (found.get_mut(&layer), role) {
            (Some(parts), Role::Bias) => parts.bias = Some(tensor),
            (Some(parts), _) => parts.alpha = Some(alpha(&tensor)?),
            (None, _) => unknown.push(tensor.name.clone()),
        }
    }
    let sorted: Sorted = order
        .into_iter()
        .filter_map(|layer| found.remove(&layer).map(|parts| (layer, parts)))
        .collect();
    match found.into_values().find_map(|parts| parts.up) {
        Some(up) => Err(format!("`{}` has no matrix `down` (or `lora_A`) beside it", up.name)),
        None => Ok((sorted, unknown)),
    }
}

fn layer_name(tensor: Option<&DeferredTensor>) -> &str {
    tensor.map_or("", |tensor| tensor.name.as_str())
}

fn alpha(tensor: &DeferredTensor) -> Result<f64, String> {
    let data = bridge::to_data(tensor).map_err(|e| format!("`{}`: {e}", tensor.name))?;
    let mut values = data.iter::<f64>();
    match (values.next(), values.next()) {
        (Some(alpha), None) if alpha.is_finite() => Ok(alpha),
        _ => Err(format!("`{}` is not one finite number", tensor.name)),
    }
}

fn layer(target: LoraTarget, name: LayerName, parts: Parts) -> Result<Option<LoraLayer>, String> {
    let Some(down) = parts.down else { return Ok(None) };
    if parts.is_whole {
        return whole(target, name, down, parts.bias);
    }
    let Some(up) = parts.up else {
        return Err(format!("`{}` has no matrix `up` (or `lora_B`) beside it", down.name));
    };
    let (d, u) = (down.shape.to_vec(), up.shape.to_vec());
    let fits = matches!((d.as_slice(), u.as_slice()), ([rank, _, ..], [_, other, ..]) if rank == other && *rank > 0);
    if !fits || u[2..].iter().any(|size| *size != 1) {
        return Err(format!(
            "`{}` {d:?} and `{}` {u:?} do not go together: they should be [rank, in, …] and [out, rank]",
            down.name, up.name
        ));
    }
    let mut shape = d.clone();
    shape[0] = u[0];
    Ok(Some(LoraLayer {
        target,
        name,
        key: down.name.clone(),
        scale: 1.0,
        rank: d[0],
        shape: without_ones(&shape).to_vec(),
        down,
        up: Some(up),
        bias: parts.bias,
    }))
}

/// The difference of a whole weight.
fn whole(
    target: LoraTarget,
    name: LayerName,
    difference: DeferredTensor,
    bias: Option<DeferredTensor>,
) -> Result<Option<LoraLayer>, String> {
    let shape = difference.shape.to_vec();
    let [rows, _] = shape[..] else {
        let key = &difference.name;
        return Err(format!(
            "`{key}` has the shape {shape:?}; the difference of a matrix should be one"
        ));
    };
    Ok(Some(LoraLayer {
        target,
        name,
        key: difference.name.clone(),
        scale: 1.0,
        rank: rows,
        shape,
        down: difference,
        up: None,
        bias,
    }))
}

/// A 1x1 kernel is a matrix.
pub(super) fn without_ones(shape: &[usize]) -> &[usize] {
    let ones = shape.iter().skip(2).rev().take_while(|size| **size == 1).count();
    &shape[..shape.len() - ones]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_of_one_pixel_is_a_matrix() {
        assert_eq!(without_ones(&[4, 1, 1, 1]), [4, 1]);
        assert_eq!(without_ones(&[4, 8]), [4, 8]);
        assert_eq!(without_ones(&[4, 8, 3, 1, 1]), [4, 8, 3]);
        assert_eq!(without_ones(&[4]), [4]);
    }
}
