"""Random LoRA files in the layouts that people have, for compare_sd_with_diffusers.py and compare_wan_with_diffusers.py.

A LoRA of Stable Diffusion is a pair: the tensors of the file, and those that diffusers 0.42.1 can load where it cannot load the
file's layout.
"""

import random

import torch
from torch import nn
from wan_layout import original_key

Tensors = dict[str, torch.Tensor]
Factors = dict[str, tuple[torch.Tensor, torch.Tensor]]

PROJECTIONS = {"q_proj": "to_q", "k_proj": "to_k", "v_proj": "to_v", "out_proj": "to_out"}


def factors(module: nn.Module, choose: random.Random, wanted) -> Factors:
    """Down and up matrices, or kernels, for some of the layers whose names `wanted` takes."""
    rng = torch.Generator().manual_seed(choose.randrange(2**32))
    made = {}
    for name, layer in module.named_modules():
        if not isinstance(layer, (nn.Linear, nn.Conv2d)) or not wanted(name):
            continue
        # Of a kohya file without out_proj diffusers leaves the text encoder's attention out.
        if choose.random() < 0.4 and not name.endswith("out_proj"):
            continue
        rank, shape = choose.randint(1, 4), layer.weight.shape
        down = torch.randn(rank, *shape[1:], generator=rng) / shape[1:].numel() ** 0.5
        up = torch.randn(shape[0], rank, *[1] * (len(shape) - 2), generator=rng) * 0.3
        made[name] = (down, up)
    return made


def kohya(unet: Factors, text: Factors, alpha: float | None) -> Tensors:
    """One alpha for all layers, as trainers write it: of several, diffusers forgets which layer of attention had which."""
    state = {}
    for prefix, layers in {"lora_unet_": unet, "lora_te_text_model_": text}.items():
        for name, (down, up) in layers.items():
            stem = prefix + name.replace(".", "_")
            state |= {f"{stem}.lora_down.weight": down, f"{stem}.lora_up.weight": up}
            if alpha is not None:
                state[f"{stem}.alpha"] = torch.tensor(alpha)
    return state


def peft(unet: Factors, text: Factors) -> Tensors:
    state = {}
    for prefix, layers in {"unet.": unet, "text_encoder.text_model.": text}.items():
        for name, (down, up) in layers.items():
            state |= {f"{prefix}{name}.lora_A.weight": down, f"{prefix}{name}.lora_B.weight": up}
    return state


def processors(unet: Factors, text: Factors) -> Tensors:
    """What diffusers saved before it knew PEFT: attention by the names of its processors."""
    state = {}
    for name, (down, up) in unet.items():
        stem = f"unet.{name}.lora"
        if ".attn" in name:
            block, projection = name.removesuffix(".0").rsplit(".", 1)
            stem = f"unet.{block}.processor.{projection}_lora"
        state |= {f"{stem}.down.weight": down, f"{stem}.up.weight": up}
    for name, (down, up) in text.items():
        block, projection = name.rsplit(".", 1)
        stem = f"{block}.{PROJECTIONS[projection]}_lora" if projection in PROJECTIONS else f"{name}.lora_linear_layer"
        state |= {f"text_encoder.text_model.{stem}.{part}.weight": value for part, value in {"down": down, "up": up}.items()}
    return state


LAYOUTS = ("kohya", "peft", "processors")


def is_attention_or_feed_forward(name: str) -> bool:
    return ".attn" in name or ".ff." in name or name.endswith(("proj_in", "proj_out"))


def is_convolution(name: str) -> bool:
    return ".resnets." in name or ".downsamplers." in name or ".upsamplers." in name


def lora(pipe, choose: random.Random, layout: str) -> tuple[Tensors, Tensors]:
    """Of the U-Net's spatial layers, with or without convolutions, and in most cases of the text encoder's."""
    convolutions = choose.random() < 0.4

    def wanted(name: str) -> bool:
        spatial = is_attention_or_feed_forward(name) or (convolutions and is_convolution(name))
        return spatial and ".motion_modules." not in name

    unet = factors(pipe.unet, choose, wanted)
    text = factors(pipe.text_encoder, choose, lambda name: ".layers." in name) if choose.random() < 0.7 else {}
    if layout == "kohya":
        state = kohya(unet, text, choose.choice((None, 1.0, 2.5)))
    else:
        state = {"peft": peft, "processors": processors}[layout](unet, text)
    return state, state


def motion_lora(pipe, choose: random.Random, original: bool) -> tuple[Tensors, Tensors]:
    """Of the motion modules' attention; `original` files are as AnimateDiff's authors publish them."""
    layers = factors(pipe.unet, choose, lambda name: ".motion_modules." in name and ".attn" in name)
    state = processors(layers, {})
    if not original:
        return state, state
    renamed = {}
    for key, value in state.items():
        key = key.removeprefix("unet.").replace(".transformer_blocks", ".temporal_transformer.transformer_blocks")
        key = key.replace(".attn1.", ".attention_blocks.0.").replace(".attn2.", ".attention_blocks.1.")
        renamed[f"module.{key}"] = value
    return renamed, state


def wan_lora(pipe, choose: random.Random) -> Tensors:
    """Of the first transformer's blocks, by diffusers' names or by Wan's own."""
    layers = factors(pipe.transformer, choose, lambda name: ".attn" in name or ".ffn." in name)
    own, alpha = choose.random() < 0.5, choose.choice((None, 1.0, 2.5))
    down_name, up_name = choose.choice((("lora_A", "lora_B"), ("lora_down", "lora_up"))) if own else ("lora_A", "lora_B")
    of_pictures = [name for name in layers if ".add_" in name]
    # Where there is only one of the two kinds of layers for pictures, diffusers refuses the file or puts zeros in their place.
    if len({name.rsplit(".", 1)[1] for name in of_pictures}) == 1:
        layers = {name: pair for name, pair in layers.items() if name not in of_pictures}
    state = {}
    for name, (down, up) in layers.items():
        key = f"{name}.weight"
        stem = (f"diffusion_model.{original_key(key)}" if own else f"transformer.{key}").removesuffix(".weight")
        state |= {f"{stem}.{down_name}.weight": down, f"{stem}.{up_name}.weight": up}
        if own and alpha is not None:
            state[f"{stem}.alpha"] = torch.tensor(alpha)
    return state
