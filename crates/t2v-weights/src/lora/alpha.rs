//! The scale of each layer: its alpha over its rank, with diffusers' own reading of kohya's files (see [`super`]).

use std::collections::HashMap;

use super::{LoraTarget, key::LayerName, metadata::AdapterMetadata};

/// A layer as far as its scale depends on it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scaled<'a> {
    pub(super) target: LoraTarget,
    pub(super) name: &'a LayerName,
    pub(super) rank: usize,
    pub(super) alpha: Option<f64>,
}

/// The scales of a file's layers, which are in the file's order.
pub(super) fn scales(layers: &[Scaled<'_>], metadata: &AdapterMetadata) -> Vec<f64> {
    let kohya = layers
        .iter()
        .all(|layer| matches!(layer.name, LayerName::Underscored(_)));
    let [denoiser, text_encoder] = [LoraTarget::Denoiser, LoraTarget::TextEncoder].map(|part| commonest(layers, part));
    let scale = |layer: &Scaled<'_>| {
        let alpha = match (kohya, layer.target) {
            (false, _) => layer.alpha,
            (true, LoraTarget::Denoiser) => kohya_alpha(layer, denoiser),
            (true, LoraTarget::TextEncoder) => kohya_alpha(layer, text_encoder),
        };
        let own = alpha.map(|alpha| alpha / layer.rank as f64);
        own.or_else(|| metadata.scale(layer.target, layer.name.as_str(), layer.rank))
            .unwrap_or(1.0)
    };
    layers.iter().map(scale).collect()
}

/// diffusers looks alphas up under names that attention layers and text encoders don't have.
fn kohya_alpha(layer: &Scaled<'_>, commonest: Option<f64>) -> Option<f64> {
    const ATTENTION: [&str; 4] = ["_to_q", "_to_k", "_to_v", "_to_out_0"];
    let name = layer.name.as_str();
    let keeps_own = layer.target == LoraTarget::Denoiser && !ATTENTION.iter().any(|end| name.ends_with(end));
    layer.alpha.filter(|_| keeps_own).or(commonest)
}

/// The alpha that most layers of a part have, the first of those that equally many have.
fn commonest(layers: &[Scaled<'_>], target: LoraTarget) -> Option<f64> {
    let of_target = layers.iter().filter(|layer| layer.target == target);
    let alphas: Vec<f64> = of_target.filter_map(|layer| layer.alpha).collect();
    let mut counts: HashMap<u64, usize> = HashMap::new();
    for alpha in &alphas {
        *counts.entry(alpha.to_bits()).or_default() += 1;
    }
    let most = counts.values().max()?;
    alphas.into_iter().find(|alpha| counts[&alpha.to_bits()] == *most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use LoraTarget::{Denoiser, TextEncoder};

    fn scales_of(layers: &[(LoraTarget, LayerName, usize, Option<f64>)]) -> Vec<f64> {
        let layers: Vec<Scaled<'_>> = layers
            .iter()
            .map(|(target, name, rank, alpha)| Scaled {
                target: *target,
                name,
                rank: *rank,
                alpha: *alpha,
            })
            .collect();
        scales(&layers, &AdapterMetadata::default())
    }

    fn underscored(name: &str) -> LayerName {
        LayerName::Underscored(name.into())
    }

    #[test]
    fn in_kohyas_files_attention_has_the_commonest_alpha() {
        let scales = scales_of(&[
            (Denoiser, underscored("attn1_to_q"), 2, Some(1.0)),
            (Denoiser, underscored("attn1_to_out_0"), 4, Some(1.0)),
            (Denoiser, underscored("attn2_to_k"), 2, Some(8.0)),
            (Denoiser, underscored("proj_in"), 2, Some(8.0)),
            (Denoiser, underscored("ff_net_2"), 2, Some(16.0)),
            (Denoiser, underscored("conv_in"), 2, None),
            (TextEncoder, underscored("mlp_fc1"), 2, Some(3.0)),
            (TextEncoder, underscored("mlp_fc2"), 2, Some(5.0)),
            (TextEncoder, underscored("q_proj"), 1, Some(5.0)),
        ]);
        // Of the 1s and the 8s in the denoiser the 1s come first.
        assert_eq!(scales, [0.5, 0.25, 0.5, 4.0, 8.0, 0.5, 2.5, 2.5, 5.0]);
    }

    #[test]
    fn elsewhere_each_layer_has_its_own() {
        let dotted = |name: &str| LayerName::Dotted(name.into());
        let scales = scales_of(&[
            (Denoiser, dotted("attn1.to_q"), 2, Some(1.0)),
            (Denoiser, dotted("attn1.to_k"), 4, None),
            (TextEncoder, dotted("mlp.fc1"), 4, Some(8.0)),
        ]);
        assert_eq!(scales, [0.5, 1.0, 2.0]);
    }

    #[test]
    fn without_alphas_scales_are_one() {
        assert_eq!(scales_of(&[(Denoiser, underscored("attn1_to_q"), 8, None)]), [1.0]);
    }
}
