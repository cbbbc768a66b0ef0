//! The transformer in a file of its own, in the layout of Wan's first code.
//!
//! Such a file has no configuration: the sizes are read off the shapes; the width of a head is that of every model there is.
//! The keys themselves need no other names, since the network's key map knows both layouts.
//!
//! Upstream: `convert_wan_transformer_to_diffusers` of `diffusers/loaders/single_file_utils.py`; names: `wan/modules/model.py`
//! of Wan 2.1.

use std::collections::HashMap;

use serde_json::{Value, json};
use t2v_weights::{Selection, Taken, WeightsError};

/// The width of an attention head in every model of Wan.
const HEAD_DIM: usize = 128;

/// Keys of networks that have more than this one: a part of a key, and what it is of.
const OTHERS: [(&str, &str); 6] = [
    ("vace_blocks.", "VACE"),
    ("face_adapter.", "Wan Animate"),
    ("motion_encoder.", "Wan Animate"),
    ("casual_audio_encoder.", "Wan for speech"),
    ("control_adapter.", "Wan Fun for cameras"),
    ("ref_conv.", "Wan Fun Control"),
];

/// The tensors of the transformer in a file, by itself or among other parts of a model.
#[must_use]
pub fn wan_transformer() -> Selection {
    Selection::new()
        .unwrap("state_dict.")
        .unwrap("model.diffusion_model.")
        .unwrap("diffusion_model.")
}

/// `transformer/config.json` of a transformer in Wan's own layout, from the names and shapes of its tensors; `origin` is the
/// file's name for messages.
///
/// # Errors
/// It is another network.
pub fn wan_transformer_config<'a>(
    origin: &str,
    tensors: impl Iterator<Item = (&'a str, &'a [usize])>,
) -> Result<Value, WeightsError> {
    let taken = taken(origin, tensors)?;
    let shapes = Shapes(
        taken
            .iter()
            .map(|tensor| (tensor.name.as_str(), tensor.shape.as_slice()))
            .collect(),
    );
    shapes.config().map_err(|reason| fault(origin, reason))
}

/// Whether a file's transformer is one that there is a network for; `origin` is the file's name for messages.
///
/// # Errors
/// It has more parts, which another of Wan's models has.
pub fn check_wan_transformer<'a>(
    origin: &str,
    tensors: impl Iterator<Item = (&'a str, &'a [usize])>,
) -> Result<(), WeightsError> {
    taken(origin, tensors).map(drop)
}

/// The tensors of a transformer that there is a network for.
fn taken<'a>(origin: &str, tensors: impl Iterator<Item = (&'a str, &'a [usize])>) -> Result<Vec<Taken>, WeightsError> {
    let taken = wan_transformer().plan(origin, tensors)?;
    for (part, model) in OTHERS {
        if taken.iter().any(|tensor| tensor.name.contains(part)) {
            let reason =
                format!("it is the transformer of {model} (it has keys with `{part}`), which is not supported");
            return Err(fault(origin, reason));
        }
    }
    Ok(taken)
}

fn fault(origin: &str, reason: String) -> WeightsError {
    WeightsError::SingleFile {
        file: origin.into(),
        reason,
    }
}

/// Shapes by name.
struct Shapes<'a>(HashMap<&'a str, &'a [usize]>);

impl Shapes<'_> {
    /// Size of an axis of a tensor that has `axes` of them.
    fn size(&self, key: &str, axes: usize, axis: usize) -> Result<usize, String> {
        match self.0.get(key) {
            Some(shape) if shape.len() == axes => Ok(shape[axis]),
            Some(shape) => Err(format!(
                "`{key}` has the shape {shape:?}; Wan's transformer has one of {axes} axes there"
            )),
            None => Err(format!("it is no transformer in Wan's own layout: it lacks `{key}`")),
        }
    }

    fn config(&self) -> Result<Value, String> {
        let patch = |axis| self.size("patch_embedding.weight", 5, axis);
        let (dim, patch_size) = (patch(0)?, [patch(2)?, patch(3)?, patch(4)?]);
        let values: usize = patch_size.iter().product();
        let out = self.size("head.head.weight", 2, 0)?;
        if !dim.is_multiple_of(HEAD_DIM) || values == 0 || !out.is_multiple_of(values) {
            return Err(format!(
                "its tokens have {dim} channels and give {out} values for patches of {patch_size:?}; they should be \
                 multiples of {HEAD_DIM} and {values}"
            ));
        }
        let has = |key: &str| self.0.contains_key(key);
        let blocks = (0..self.0.len()).take_while(|block| has(&format!("blocks.{block}.self_attn.q.weight")));
        let picture = has("img_emb.proj.0.weight");
        let image_dim = picture.then(|| self.size("img_emb.proj.1.weight", 2, 1)).transpose()?;
        let positions = has("img_emb.emb_pos")
            .then(|| self.size("img_emb.emb_pos", 3, 1))
            .transpose()?;
        Ok(json!({
            "_class_name": "WanTransformer3DModel",
            "patch_size": patch_size,
            "num_attention_heads": dim / HEAD_DIM,
            "attention_head_dim": HEAD_DIM,
            "in_channels": patch(1)?,
            "out_channels": out / values,
            "text_dim": self.size("text_embedding.0.weight", 2, 1)?,
            "freq_dim": self.size("time_embedding.0.weight", 2, 1)?,
            "ffn_dim": self.size("blocks.0.ffn.0.weight", 2, 0)?,
            "num_layers": blocks.count(),
            "cross_attn_norm": has("blocks.0.norm3.weight"),
            "image_dim": image_dim,
            "added_kv_proj_dim": picture.then_some(dim),
            "pos_embed_seq_len": positions,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Tensor = (String, Vec<usize>);

    fn tensors(dim: usize, channels: [usize; 2], ffn: usize, blocks: usize) -> Vec<Tensor> {
        let mut tensors = vec![
            ("patch_embedding.weight".into(), vec![dim, channels[0], 1, 2, 2]),
            ("text_embedding.0.weight".into(), vec![dim, 4096]),
            ("time_embedding.0.weight".into(), vec![dim, 256]),
            ("head.head.weight".into(), vec![4 * channels[1], dim]),
        ];
        for block in 0..blocks {
            tensors.push((format!("blocks.{block}.self_attn.q.weight"), vec![dim, dim]));
            tensors.push((format!("blocks.{block}.ffn.0.weight"), vec![ffn, dim]));
            tensors.push((format!("blocks.{block}.norm3.weight"), vec![dim]));
        }
        tensors
    }

    fn config(tensors: &[Tensor]) -> Result<Value, WeightsError> {
        let shapes = tensors.iter().map(|(key, shape)| (key.as_str(), shape.as_slice()));
        wan_transformer_config("wan.safetensors", shapes)
    }

    #[test]
    fn sizes_of_known_models() {
        let small = config(&tensors(1536, [16, 16], 8960, 30)).unwrap();
        for (key, value) in [
            ("num_attention_heads", json!(12)),
            ("in_channels", json!(16)),
            ("out_channels", json!(16)),
            ("ffn_dim", json!(8960)),
            ("num_layers", json!(30)),
            ("text_dim", json!(4096)),
            ("cross_attn_norm", json!(true)),
            ("image_dim", Value::Null),
        ] {
            assert_eq!(small[key], value, "{key}");
        }
        let mut with_picture = tensors(5120, [36, 16], 13824, 40);
        with_picture.push(("img_emb.proj.0.weight".into(), vec![1280]));
        with_picture.push(("img_emb.proj.1.weight".into(), vec![1280, 1280]));
        with_picture.push(("img_emb.emb_pos".into(), vec![1, 514, 1280]));
        let wrapped = with_picture.into_iter();
        let wrapped = wrapped.map(|(key, shape)| (format!("model.diffusion_model.{key}"), shape));
        let with_picture = config(&wrapped.collect::<Vec<_>>()).unwrap();
        for (key, value) in [
            ("in_channels", json!(36)),
            ("out_channels", json!(16)),
            ("image_dim", json!(1280)),
            ("added_kv_proj_dim", json!(5120)),
            ("pos_embed_seq_len", json!(514)),
        ] {
            assert_eq!(with_picture[key], value, "{key}");
        }
    }

    #[test]
    fn other_networks_are_named() {
        let message = config(&[("conv_in.weight".into(), vec![4, 4, 3, 3])])
            .unwrap_err()
            .to_string();
        assert!(message.contains("lacks `patch_embedding.weight`"), "{message}");
        let mut vace = tensors(1536, [16, 16], 8960, 1);
        vace.push(("vace_blocks.0.before_proj.weight".into(), vec![1536, 1536]));
        let message = config(&vace).unwrap_err().to_string();
        assert!(message.contains("VACE"), "{message}");
    }
}
