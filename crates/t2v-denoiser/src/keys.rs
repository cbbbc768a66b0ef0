//! From diffusers' keys to this crate's field paths.

use t2v_weights::KeyMap;

/// Of every U-Net here: `nn.Sequential` indices become names; everything else is called what the checkpoint calls it.
pub(crate) fn unet() -> KeyMap {
    KeyMap::new()
        .rename(r"((?:^|\.)conv[1-4])\.0\.", "$1.norm.")
        .rename(r"((?:^|\.)conv[1-4])\.[23]\.", "$1.conv.")
        .rename(r"((?:^|\.)ff)\.net\.0\.proj\.", "$1.proj.")
        .rename(r"((?:^|\.)ff)\.net\.2\.", "$1.out.")
        .optional(r"\.pos_embed\.pe$")
}

/// Of Wan's transformer, from diffusers' keys and from those of its first code: no key of one means something else in the other,
/// since the normalisations whose names are exchanged have no parameters.
pub(crate) fn wan() -> KeyMap {
    let layers = [
        ("time_embedding.0", "condition_embedder.time_embedder.linear_1"),
        ("time_embedding.2", "condition_embedder.time_embedder.linear_2"),
        ("time_projection.1", "condition_embedder.time_proj"),
        ("text_embedding.0", "condition_embedder.text_embedder.linear_1"),
        ("text_embedding.2", "condition_embedder.text_embedder.linear_2"),
        ("img_emb.proj.0", "condition_embedder.image_embedder.norm1"),
        ("img_emb.proj.1", "condition_embedder.image_embedder.ff.proj"),
        ("img_emb.proj.3", "condition_embedder.image_embedder.ff.out"),
        ("img_emb.proj.4", "condition_embedder.image_embedder.norm2"),
        ("head.head", "proj_out"),
    ];
    let parts = [
        ("self_attn", "attn1"),
        ("cross_attn", "attn2"),
        ("norm3", "norm2"),
        ("q", "to_q"),
        ("k", "to_k"),
        ("v", "to_v"),
        ("o", "to_out.0"),
        ("k_img", "add_k_proj"),
        ("v_img", "add_v_proj"),
        ("norm_k_img", "norm_added_k"),
        ("ffn.0", "ffn.proj"),
        ("ffn.2", "ffn.out"),
        ("ff.net.0.proj", "ff.proj"),
        ("ff.net.2", "ff.out"),
        ("ffn.net.0.proj", "ffn.proj"),
        ("ffn.net.2", "ffn.out"),
    ];
    let escaped = |name: &str| name.replace('.', r"\.");
    let map = KeyMap::new().rename(r"^model\.diffusion_model\.", "");
    let map = layers.iter().fold(map, |map, (from, to)| {
        map.rename(&format!(r"^{}\.", escaped(from)), &format!("{to}."))
    });
    let map = parts.iter().fold(map, |map, (from, to)| {
        map.rename(&format!(r"\.{}\.", escaped(from)), &format!(".{to}."))
    });
    map.rename(r"^head\.modulation$", "scale_shift_table")
        .rename(r"\.modulation$", ".scale_shift_table")
        .rename(r"^img_emb\.emb_pos$", "condition_embedder.image_embedder.pos_embed")
        // A normalisation of checkpoints that no code ever used.
        .ignore(r"\.norm_added_q\.")
}
