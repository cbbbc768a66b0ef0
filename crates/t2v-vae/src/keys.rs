//! From diffusers' keys to this crate's field paths.

use t2v_weights::KeyMap;

/// Checkpoints from before diffusers 0.13 call the attention's projections `query`, `key`, `value` and `proj_attn`.
pub(crate) fn autoencoder_kl() -> KeyMap {
    KeyMap::new()
        .rename(r"(\.attentions\.\d+)\.query\.", "$1.to_q.")
        .rename(r"(\.attentions\.\d+)\.key\.", "$1.to_k.")
        .rename(r"(\.attentions\.\d+)\.value\.", "$1.to_v.")
        .rename(r"(\.attentions\.\d+)\.proj_attn\.", "$1.to_out.0.")
}
