//! Which layers have adapters, and what diffusers calls them.

use serde::{Deserialize, Serialize};

use crate::{TrainError, error::setting};

/// The layers that have adapters, by the ends of their names in diffusers, as PEFT's `target_modules`: `to_q` means every layer
/// whose name is that or ends in `.to_q`. They may be linear layers or convolutions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TargetModules(Vec<String>);

impl Default for TargetModules {
    /// The projections of every attention, and both layers of every feed-forward network; Wan calls the latter `ffn`.
    fn default() -> Self {
        let attention = ["to_q", "to_k", "to_v", "to_out.0"];
        let feed_forward = ["ff.net.0.proj", "ff.net.2", "ffn.net.0.proj", "ffn.net.2"];
        Self::new(attention.iter().chain(&feed_forward).map(|end| (*end).to_owned()))
    }
}

impl TargetModules {
    /// Layers whose names end so.
    pub fn new(ends: impl IntoIterator<Item = String>) -> Self {
        Self(ends.into_iter().collect())
    }

    /// The ends of names.
    #[must_use]
    pub fn ends(&self) -> &[String] {
        &self.0
    }

    /// Whether a layer of this name is meant.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        let is_end = |end: &String| {
            name.strip_suffix(end.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        self.0.iter().any(is_end)
    }

    /// # Errors
    /// There are none, or one is empty.
    pub(crate) fn check(&self) -> Result<(), TrainError> {
        match self.0.is_empty() || self.0.iter().any(|end| end.trim().is_empty()) {
            true => Err(setting(
                "targets",
                format!("names no layers; {} are meant without it", Self::default().0.join(", ")),
            )),
            false => Ok(()),
        }
    }
}

/// The layers of a text encoder that have adapters where it is trained: those that diffusers' own scripts train.
pub(crate) fn of_text_encoders() -> TargetModules {
    TargetModules::new(["q_proj", "k_proj", "v_proj", "out_proj"].map(str::to_owned))
}

/// What diffusers calls the layer whose weight is at a path of a module of `t2v-denoiser`: the names that its key map reads, back.
/// None for what can't have an adapter there.
pub(crate) fn diffusers_name(path: &str) -> Option<String> {
    let layer = path.strip_suffix(".weight")?;
    // A convolution in the checkpoint that is a linear layer here.
    if layer == "patch_embedding" {
        return None;
    }
    let renamed = [
        (".ff.proj", ".ff.net.0.proj"),
        (".ff.out", ".ff.net.2"),
        (".ffn.proj", ".ffn.net.0.proj"),
        (".ffn.out", ".ffn.net.2"),
        // Of convolutions along time, the first of which has no dropout before it.
        (".conv1.conv", ".conv1.2"),
        (".conv2.conv", ".conv2.3"),
        (".conv3.conv", ".conv3.3"),
        (".conv4.conv", ".conv4.3"),
    ];
    let named = renamed
        .iter()
        .find_map(|(ours, theirs)| Some(format!("{}{theirs}", layer.strip_suffix(ours)?)));
    Some(named.unwrap_or_else(|| layer.to_owned()))
}

/// What transformers calls the layer of CLIP's text model whose weight is at a path: the name of all its versions, of which the newer
/// leave out where it begins.
pub(crate) fn transformers_name(path: &str) -> Option<String> {
    Some(format!("text_model.{}", path.strip_suffix(".weight")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_names_are_whole_words() {
        let targets = TargetModules::default();
        for name in ["to_q", "a.b.attn1.to_q", "a.to_out.0", "a.ff.net.2", "a.ffn.net.0.proj"] {
            assert!(targets.contains(name), "{name}");
        }
        for name in ["a.xto_q", "a.to_q.b", "a.net.2", "proj_in", "time_emb_proj"] {
            assert!(!targets.contains(name), "{name}");
        }
    }

    #[test]
    fn layers_are_called_what_diffusers_calls_them() {
        let name = |path| diffusers_name(path).unwrap();
        assert_eq!(
            name("mid_block.attentions.0.transformer_blocks.0.ff.proj.weight"),
            "mid_block.attentions.0.transformer_blocks.0.ff.net.0.proj"
        );
        assert_eq!(name("a.ff.out.weight"), "a.ff.net.2");
        assert_eq!(name("blocks.0.ffn.out.weight"), "blocks.0.ffn.net.2");
        assert_eq!(name("a.temp_convs.0.conv1.conv.weight"), "a.temp_convs.0.conv1.2");
        assert_eq!(name("a.temp_convs.0.conv4.conv.weight"), "a.temp_convs.0.conv4.3");
        assert_eq!(name("a.resnets.0.conv1.weight"), "a.resnets.0.conv1");
        assert_eq!(diffusers_name("patch_embedding.weight"), None);
        assert_eq!(
            transformers_name("encoder.layers.0.self_attn.q_proj.weight").unwrap(),
            "text_model.encoder.layers.0.self_attn.q_proj"
        );
        assert_eq!(name("a.attn1.to_out.0.weight"), "a.attn1.to_out.0");
        assert_eq!(diffusers_name("a.attn1.to_out.0.bias"), None);
    }
}
