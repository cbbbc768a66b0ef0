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
