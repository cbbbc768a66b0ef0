//! `vae/config.json` of Wan.

use serde::Deserialize;
use t2v_weights::{Component, size_fault};

use crate::{VaeError, error::fault};

/// Far above any model's.
const MAX_CHANNELS: usize = 1 << 16;
const MAX_LAYERS: usize = 64;
const MAX_LEVELS: usize = 16;
const MAX_PATCH: usize = 16;

const MEAN_2_1: [f64; 16] = [
    -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508, 0.4134, -0.0715, 0.5517, -0.3632, -0.1922,
    -0.9497, 0.2503, -0.2921,
];
const STD_2_1: [f64; 16] = [
    2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743, 3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253,
    2.8251, 1.916,
];

/// The constructor arguments of diffusers' `AutoencoderKLWan`, with its defaults, which are those of Wan 2.1.
///
/// A resolution is a level; each has half the height and width of the one before it.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct AutoencoderKlWanConfig {
    /// Channels of the encoder's first level.
    pub base_dim: usize,
    /// The same of the decoder's last level, if it isn't `base_dim`.
    pub decoder_base_dim: Option<usize>,
    /// Channels of the latents.
    pub z_dim: usize,
    /// Channels of each level, as multiples of those of the first.
    pub dim_mult: Vec<usize>,
    /// Residual blocks of a level of the encoder; the decoder has one more.
    pub num_res_blocks: usize,
    /// Scales of the image (1, 0.5, …) at which the encoder has attention after each residual block. Only without
    /// `is_residual`.
    pub attn_scales: Vec<f64>,
    /// For each level but the last, whether the next has half the frames, too.
    pub temperal_downsample: Vec<bool>,
    /// Share of values that training leaves out; has no effect here.
    pub dropout: f64,
    /// Mean of each channel of the latents.
    pub latents_mean: Vec<f64>,
    /// Standard deviation of each channel of the latents.
    pub latents_std: Vec<f64>,
    /// Whether levels have shortcuts, as those of Wan 2.2 do.
    pub is_residual: bool,
    /// Channels of a frame going in, patches of pixels as channels.
    pub in_channels: usize,
    /// Channels of a frame coming out, patches of pixels as channels.
    pub out_channels: usize,
    /// Side of the patches of pixels that become channels.
    pub patch_size: Option<usize>,
    /// Frames that a latent frame after the first stands for.
    pub scale_factor_temporal: Option<usize>,
    /// Pixels that a latent stands for in each direction.
    pub scale_factor_spatial: Option<usize>,
}

impl Default for AutoencoderKlWanConfig {
    fn default() -> Self {
        Self {
            base_dim: 96,
            decoder_base_dim: None,
            z_dim: 16,
            dim_mult: vec![1, 2, 4, 4],
            num_res_blocks: 2,
            attn_scales: Vec::new(),
            temperal_downsample: vec![false, true, true],
            dropout: 0.0,
            latents_mean: MEAN_2_1.into(),
            latents_std: STD_2_1.into(),
            is_residual: false,
            in_channels: 3,
            out_channels: 3,
            patch_size: None,
            scale_factor_temporal: Some(4),
            scale_factor_spatial: Some(8),
        }
    }
}

impl AutoencoderKlWanConfig {
    /// Reads and checks the `config.json` of a model folder's `vae`.
    ///
    /// # Errors
    /// The file is missing or damaged, belongs to another class, or describes no possible network.
    pub fn from_component(component: &Component) -> Result<Self, VaeError> {
        let config: Self = component.config(&["AutoencoderKLWan"])?;
        config.check()?;
        Ok(config)
    }

    /// Frames that a latent frame after the first stands for: clips have `temporal_factor * k + 1` frames.
    #[must_use]
    pub fn temporal_factor(&self) -> usize {
        self.temperal_downsample
            .iter()
            .fold(1, |factor, &halves| if halves { 2 * factor } else { factor })
    }

    /// Pixels that a latent stands for in each direction; sides of frames are multiples of it.
    #[must_use]
    pub fn spatial_factor(&self) -> usize {
        self.patch() << self.dim_mult.len().saturating_sub(1)
    }

    /// Side of the patches of pixels that are channels of the networks.
    pub(super) fn patch(&self) -> usize {
        self.patch_size.unwrap_or(1)
    }

    /// Channels going into each level of the encoder, and those of the last coming out.
    pub(super) fn encoder_dims(&self) -> Vec<usize> {
        let multiples = [1].iter().chain(&self.dim_mult);
        multiples.map(|multiple| self.base_dim * multiple).collect()
    }

    /// The same for the decoder, whose levels begin with the lowest resolution; what an enlargement makes of them is left out.
    pub(super) fn decoder_dims(&self) -> Vec<usize> {
        let base = self.decoder_base_dim.unwrap_or(self.base_dim);
        let first = self.dim_mult.last();
        let multiples = first.into_iter().chain(self.dim_mult.iter().rev());
        multiples.map(|multiple| base * multiple).collect()
    }

    /// Whether frames and sides are halved after a level of the encoder, by its index.
    pub(super) fn halving(&self, level: usize) -> Option<Halving> {
        let frames = *self.temperal_downsample.get(level)?;
        Some(Halving { frames })
    }

    /// # Errors
    /// A combination from which no autoencoder of frames can be built.
    pub(crate) fn check(&self) -> Result<(), VaeError> {
        self.check_levels()?;
        self.check_sizes()?;
        self.check_latents()?;
        self.check_factors()?;
        if self.is_residual {
            self.check_shortcuts()?;
        }
        if let Some(scale) = self.attn_scales.iter().find(|scale| !scale.is_finite()) {
            return fault("attn_scales", format!("has {scale}, which is no scale of an image"));
        }
        let dropout = self.dropout;
        if !(0.0..=1.0).contains(&dropout) {
            return fault("dropout", format!("is {dropout}; it is a share, 0 to 1"));
        }
        Ok(())
    }

    fn check_levels(&self) -> Result<(), VaeError> {
        let levels = self.dim_mult.len();
        if !(1..=MAX_LEVELS).contains(&levels) {
            let reason = format!("has {levels} entries; it has one a resolution, 1 to {MAX_LEVELS}");
            return fault("dim_mult", reason);
        }
        let between = self.temperal_downsample.len();
        if between + 1 != levels {
            let reason = format!(
                "has {between} entries; it has one for each of `dim_mult` but the last, {}",
                levels - 1
            );
            return fault("temperal_downsample", reason);
        }
        for &multiple in &self.dim_mult {
            if let Some(reason) = size_fault(multiple, 1..=MAX_CHANNELS) {
                return fault("dim_mult", format!("has an entry that {reason}"));
            }
        }
        Ok(())
    }

    fn check_sizes(&self) -> Result<(), VaeError> {
        let largest = self.dim_mult.iter().copied().max().unwrap_or(1);
        // An enlargement halves the channels of a level.
        let most = MAX_CHANNELS / largest;
        for (key, size, range) in [
            ("base_dim", self.base_dim, 1..=most),
            ("decoder_base_dim", self.decoder_base_dim.unwrap_or(1), 1..=most),
            ("z_dim", self.z_dim, 1..=MAX_CHANNELS),
            ("num_res_blocks", self.num_res_blocks, 1..=MAX_LAYERS),
            ("patch_size", self.patch(), 1..=MAX_PATCH),
        ] {
            if let Some(reason) = size_fault(size, range) {
                return fault(key, reason);
            }
        }
        let halves = !self.is_residual && self.dim_mult.len() > 1;
        if halves && self.decoder_dims().iter().skip(1).any(|&channels| channels < 2) {
            return fault("base_dim", "leaves the decoder with less than 2 channels to be halved");
        }
        let patch = self.patch();
        for (key, channels) in [("in_channels", self.in_channels), ("out_channels", self.out_channels)] {
            let expected = 3 * patch * patch;
            if channels != expected {
                let reason = format!(
                    "is {channels}; frames are RGB, and with `patch_size` {patch} that makes {expected} channels"
                );
                return fault(key, reason);
            }
        }
        Ok(())
    }

    fn check_latents(&self) -> Result<(), VaeError> {
        let latents = self.z_dim;
        for (key, values) in [("latents_mean", &self.latents_mean), ("latents_std", &self.latents_std)] {
            let len = values.len();
            if len != latents {
                return fault(key, format!("has {len} entries; `z_dim` has {latents} channels"));
            }
        }
        if let Some(mean) = self.latents_mean.iter().find(|mean| !(**mean as f32).is_finite()) {
            return fault("latents_mean", format!("has {mean}, too large for single precision"));
        }
        let is_divisor = |std: &f64| (*std as f32).is_normal() && (1.0 / *std as f32).is_normal();
        if let Some(std) = self.latents_std.iter().find(|std| !is_divisor(std)) {
            let reason =
                format!("has {std}; latents are divided by it in single precision, so it can't be 0 or as good as it");
            return fault("latents_std", reason);
        }
        Ok(())
    }

    fn check_factors(&self) -> Result<(), VaeError> {
        let (temporal, spatial) = (self.temporal_factor(), self.spatial_factor());
        let because = ["`temperal_downsample`", "`dim_mult` and `patch_size`"];
        for (key, given, factor, because) in [
            (
                "scale_factor_temporal",
                self.scale_factor_temporal,
                temporal,
                because[0],
            ),
            ("scale_factor_spatial", self.scale_factor_spatial, spatial, because[1]),
        ] {
            if let Some(given) = given.filter(|&given| given != factor) {
                return fault(key, format!("is {given}; {because} make it {factor}"));
            }
        }
        Ok(())
    }

    /// A shortcut takes means of channels, or repeats them, a whole number of times.
    fn check_shortcuts(&self) -> Result<(), VaeError> {
        let levels = self.dim_mult.len();
        let (encoder, decoder) = (self.encoder_dims(), self.decoder_dims());
        for level in 0..levels {
            let factor = self.halving(level).map_or(1, Halving::factor);
            let [from, to] = [encoder[level], encoder[level + 1]];
            if (from * factor) % to != 0 {
                let reason = format!(
                    "has {from} channels before and {to} after a resolution of the encoder; with `is_residual` the latter \
                     must divide {} ({from} times {factor})",
                    from * factor
                );
                return fault("dim_mult", reason);
            }
        }
        for level in 0..levels - 1 {
            let factor = self.halving(levels - 2 - level).map_or(1, Halving::factor);
            let [from, to] = [decoder[level], decoder[level + 1]];
            if (to * factor) % from != 0 {
                let reason = format!(
                    "has {from} channels before and {to} after a resolution of the decoder; with `is_residual` the former \
                     must divide {} ({to} times {factor})",
                    to * factor
                );
                return fault("dim_mult", reason);
            }
        }
        Ok(())
    }
}

/// What a level is made smaller by: both sides, and perhaps the number of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Halving {
    pub(super) frames: bool,
}

impl Halving {
    /// Frames that become one.
    pub(super) fn frames(self) -> usize {
        if self.frames { 2 } else { 1 }
    }

    /// Values that become one.
    pub(super) fn factor(self) -> usize {
        4 * self.frames()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parsed(changes: Value) -> AutoencoderKlWanConfig {
        serde_json::from_value(changes).unwrap()
    }

    #[test]
    fn what_no_autoencoder_can_have_is_named() {
        let residual = |dims: Value| json!({"is_residual": true, "dim_mult": dims});
        for (key, changes) in [
            ("base_dim", json!({"base_dim": 0})),
            ("base_dim", json!({"base_dim": 1u64 << 60})),
            ("base_dim", json!({"base_dim": 1})),
            ("decoder_base_dim", json!({"decoder_base_dim": 0})),
            ("z_dim", json!({"z_dim": 0})),
            ("dim_mult", json!({"dim_mult": []})),
            ("dim_mult", json!({"dim_mult": [1, 2, 4, 0]})),
            ("dim_mult", json!({"dim_mult": [1, 2, 4, 1u64 << 60]})),
            ("dim_mult", residual(json!([3, 2, 4, 4]))),
            ("dim_mult", residual(json!([1, 3, 3, 2]))),
            ("num_res_blocks", json!({"num_res_blocks": 0})),
            ("attn_scales", json!({"attn_scales": [0.5, f64::MAX]})),
            ("temperal_downsample", json!({"temperal_downsample": [true]})),
            ("dropout", json!({"dropout": 2.0})),
            ("latents_mean", json!({"latents_mean": [0.5]})),
            (
                "latents_mean",
                json!({"z_dim": 1, "latents_mean": [1e300], "latents_std": [1]}),
            ),
            (
                "latents_std",
                json!({"z_dim": 1, "latents_mean": [1], "latents_std": [0]}),
            ),
            (
                "latents_std",
                json!({"z_dim": 1, "latents_mean": [1], "latents_std": [1, 1]}),
            ),
            ("in_channels", json!({"in_channels": 12})),
            ("out_channels", json!({"out_channels": 4})),
            ("in_channels", json!({"patch_size": 2})),
            ("patch_size", json!({"patch_size": 0})),
            ("scale_factor_temporal", json!({"scale_factor_temporal": 8})),
            ("scale_factor_spatial", json!({"scale_factor_spatial": 16})),
        ] {
            let mut config = parsed(changes.clone());
            if key == "attn_scales" {
                config.attn_scales[1] *= 2.0;
            }
            let message = config.check().unwrap_err().to_string();
            assert!(message.contains(&format!("`{key}` of the VAE")), "{changes}: {message}");
        }
    }

    #[test]
    fn both_versions_pass() {
        let version_2_1 = parsed(json!({}));
        version_2_1.check().unwrap();
        assert_eq!((version_2_1.temporal_factor(), version_2_1.spatial_factor()), (4, 8));
        let version_2_2 = parsed(crate::wan::original::wan_2_2_config());
        version_2_2.check().unwrap();
        assert_eq!((version_2_2.temporal_factor(), version_2_2.spatial_factor()), (4, 16));
        let derived = json!({"scale_factor_temporal": null, "scale_factor_spatial": null, "temperal_downsample": [false, false, true]});
        let derived = parsed(derived);
        derived.check().unwrap();
        assert_eq!(derived.temporal_factor(), 2);
    }
}
