"""Fixtures of LoRA in crates/t2v-weights: files in each layout, and the weights that diffusers makes of them.

    python scripts/make_lora_fixtures.py

The references are those of diffusers 0.42.1 with peft 0.21.2 (CPU, f32): `load_lora_weights`, `set_adapters`, `fuse_lora`.

    <name>.safetensors, .bin, .ckpt   LoRA files of a tiny Stable Diffusion with motion modules, some layers each
    runs_code.ckpt                    one that would run code if Python read it
    base.safetensors                  its weights in those layers, under diffusers' keys after `unet.` and `text_encoder.`
    expected.safetensors              `<case>.<key>`: the same after a case's LoRAs were added
    cases.json                        for each case its files with their scales, in order
"""

import json
import os
from collections import OrderedDict

import peft
import torch
from diffusers import (
    AnimateDiffPipeline,
    DDIMScheduler,
    MotionAdapter,
    UNet2DConditionModel,
    UNetMotionModel,
)
from fixtures import folder_of, generator, randomize
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel

PEFT = "0.21.2"
if peft.__version__ != PEFT:
    raise SystemExit(f"the fixtures are those of peft {PEFT}, not {peft.__version__}")

FOLDER = folder_of("t2v-weights") / "lora"
BLOCK = "down_blocks.0.attentions.0.transformer_blocks.0"
MOTION = "down_blocks.0.motion_modules.0.transformer_blocks.0"

# Layer, rank, alpha in the kohya file (None: it has none).
UNET = [
    ("conv_in", 3, 7.5),
    ("time_embedding.linear_1", 3, 7.0),
    ("down_blocks.0.attentions.0.proj_in", 3, 6.0),
    (f"{BLOCK}.attn1.to_q", 2, 1.0),
    (f"{BLOCK}.attn2.to_k", 2, 2.0),
    (f"{BLOCK}.attn2.to_out.0", 4, 2.0),
    (f"{BLOCK}.ff.net.0.proj", 2, 5.0),
    (f"{BLOCK}.ff.net.2", 3, None),
    ("down_blocks.0.resnets.0.conv1", 3, 0.5),
    ("down_blocks.0.resnets.0.time_emb_proj", 3, 0.25),
    ("down_blocks.0.downsamplers.0.conv", 2, 2.0),
    ("down_blocks.1.resnets.0.conv_shortcut", 3, 0.75),
]
TEXT = [
    ("encoder.layers.0.self_attn.q_proj", 2, 1.0),
    ("encoder.layers.0.self_attn.out_proj", 3, 3.0),
    ("encoder.layers.0.mlp.fc1", 2, 3.0),
    ("encoder.layers.1.mlp.fc2", 4, 8.0),
]
ATTENTION = [layer for layer in UNET if ".attn" in layer[0]]
TEXT_ATTENTION = [layer for layer in TEXT if ".self_attn." in layer[0]]
MOTION_LAYERS = [(f"{MOTION}.attn1.to_q", 2, None), (f"{MOTION}.attn2.to_v", 2, None), (f"{MOTION}.attn2.to_out.0", 3, None)]


def tiny_model():
    """The parts that take LoRAs: an AnimateDiff U-Net and a CLIP text model."""
    common = {"block_out_channels": (8, 16), "cross_attention_dim": 12, "norm_num_groups": 4, "layers_per_block": 1}
    unet = UNet2DConditionModel(
        sample_size=8,
        attention_head_dim=2,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        **common,
    )
    adapter = MotionAdapter(
        block_out_channels=(8, 16), motion_layers_per_block=1, motion_num_attention_heads=2, motion_norm_num_groups=4
    )
    text = CLIPTextConfig(
        hidden_size=12,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        vocab_size=100,
        bos_token_id=0,
        eos_token_id=1,
    )
    return randomize(UNetMotionModel.from_unet2d(unet, adapter), 1), randomize(CLIPTextModel(text), 2)


def pipeline():
    unet, text_encoder = tiny_model()
    scheduler = DDIMScheduler(clip_sample=False, steps_offset=1)
    parts = {"vae": None, "tokenizer": None, "motion_adapter": None, "feature_extractor": None, "image_encoder": None}
    return AnimateDiffPipeline(unet=unet, text_encoder=text_encoder, scheduler=scheduler, **parts)


def factors(module, layers, seed):
    """Random down and up matrices, or kernels for convolutions."""
    rng = generator(seed)
    weights = dict(module.named_parameters())
    made = OrderedDict()
    for name, rank, alpha in layers:
        shape = weights[f"{name}.weight"].shape
        down = torch.randn(rank, *shape[1:], generator=rng) * 0.3
        up = torch.randn(shape[0], rank, *[1] * (len(shape) - 2), generator=rng) * 0.3
        made[name] = (down, up, alpha)
    return made


def kohya(unet, text_encoder):
    parts = [("lora_unet_", factors(unet, UNET, 10)), ("lora_te_text_model_", factors(text_encoder, TEXT, 11))]
    state = {}
    for prefix, layers in parts:
        for name, (down, up, alpha) in layers.items():
            stem = prefix + name.replace(".", "_")
            state |= {f"{stem}.lora_down.weight": down.half(), f"{stem}.lora_up.weight": up.half()}
            if alpha is not None:
                state[f"{stem}.alpha"] = torch.tensor(alpha)
    return state


def old_names(name, suffix):
    """The processors of diffusers before 0.22."""
    stem, last = name.rsplit(".attn", 1)[0], name.split(".attn", 1)[1]
    number, projection = last[0], last[2:].removesuffix(".0")
    return f"unet.{stem}.attn{number}.processor.{projection}_lora.{suffix}.weight"


def diffusers_old(unet, text_encoder):
    state = {}
    for name, (down, up, _) in factors(unet, ATTENTION, 20).items():
        state |= {old_names(name, "down"): down, old_names(name, "up"): up}
    renamed = {"q_proj": "to_q_lora", "out_proj": "to_out_lora"}
    for name, (down, up, _) in factors(text_encoder, TEXT_ATTENTION, 21).items():
        stem, projection = name.rsplit(".", 1)
        stem = f"text_encoder.text_model.{stem}.{renamed[projection]}"
        state |= {f"{stem}.down.weight": down, f"{stem}.up.weight": up}
    return state


def diffusers_layers(unet, text_encoder):
    state = {}
    for name, (down, up, _) in factors(unet, UNET, 30).items():
        state |= {f"unet.{name}.lora.down.weight": down, f"unet.{name}.lora.up.weight": up}
    for name, (down, up, _) in factors(text_encoder, TEXT, 31).items():
        stem = f"text_encoder.text_model.{name}.lora_linear_layer"
        state |= {f"{stem}.down.weight": down, f"{stem}.up.weight": up}
    return state


@torch.no_grad()
def save_peft(name):
    """As diffusers' training scripts save it, the configuration in the file's metadata."""
    pipe = pipeline()
    state, metadata = {}, {}
    for part, layers, seed in [("unet", UNET, 40), ("text_encoder", TEXT, 41)]:
        module = getattr(pipe, part)
        config = LoraConfig(
            r=2,
            lora_alpha=3,
            target_modules=[layer for layer, _, _ in layers],
            rank_pattern={layer: rank for layer, rank, _ in layers if rank != 2},
            alpha_pattern={"proj_in": 5, "mlp.fc1": 1},
        )
        config.inference_mode = True
        module.add_adapter(config)
        state[part] = get_peft_model_state_dict(module, adapter_name="default")
        made = factors(tiny_model()[part == "text_encoder"], layers, seed)
        for layer, (down, up, _) in made.items():
            state[part] |= {f"{layer}.lora_A.weight": down, f"{layer}.lora_B.weight": up}
        metadata[part] = config.to_dict() | {"target_modules": sorted(layer for layer, _, _ in layers)}
    pipe.save_lora_weights(
        FOLDER,
        unet_lora_layers=state["unet"],
        text_encoder_lora_layers=state["text_encoder"],
        unet_lora_adapter_metadata=metadata["unet"],
        text_encoder_lora_adapter_metadata=metadata["text_encoder"],
        weight_name=name,
    )


def motion(unet):
    """A motion LoRA as it is published, and as diffusers' script converts it."""
    original, converted = {}, {}
    for name, (down, up, _) in factors(unet, MOTION_LAYERS, 50).items():
        head, last = name.rsplit(".attn", 1)
        stem = head.replace(".transformer_blocks", ".temporal_transformer.transformer_blocks")
        stem = f"module.{stem}.attention_blocks.{int(last[0]) - 1}.processor.{last[2:].removesuffix('.0')}_lora"
        original |= {f"{stem}.down.weight": down, f"{stem}.up.weight": up}
        converted |= {old_names(name, "down"): down, old_names(name, "up"): up}
    return original, converted


@torch.no_grad()
def expected(files):
    """The weights of all layers after the LoRAs of a case were added, and those before."""
    pipe = pipeline()
    adapters = [f"adapter_{i}" for i in range(len(files))]
    for adapter, (file, _) in zip(adapters, files):
        pipe.load_lora_weights(LOADABLE.get(file) or str(FOLDER / file), adapter_name=adapter)
    pipe.set_adapters(adapters, [scale for _, scale in files])
    pipe.fuse_lora(components=["unet", "text_encoder"], adapter_names=adapters)
    return all_layers(pipe)


def all_layers(pipe):
    tensors = {}
    for part, layers in [("unet", UNET + MOTION_LAYERS), ("text_encoder", TEXT)]:
        modules = dict(getattr(pipe, part).named_modules())
        for name, _, _ in layers:
            module = modules[name]
            tensors[f"{part}.{name}.weight"] = getattr(module, "base_layer", module).weight.detach().clone()
    return tensors


class RunsCode:
    """What Python would make a folder of while it reads it."""

    def __reduce__(self):
        return os.mkdir, ("code_ran",)


CASES = {
    "kohya": [("kohya.safetensors", 0.8)],
    "peft": [("peft.safetensors", -0.7)],
    "old": [("old.bin", 1.6)],
    "layers": [("layers.safetensors", 1.0)],
    "two": [("kohya.safetensors", 0.5), ("peft.safetensors", 1.5)],
    "motion": [("motion.ckpt", 0.9), ("layers.safetensors", -0.25)],
}
LOADABLE = {}  # what diffusers is given where it doesn't read the file itself


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    unet, text_encoder = tiny_model()
    save_file(kohya(unet, text_encoder), FOLDER / "kohya.safetensors")
    torch.save(diffusers_old(unet, text_encoder), FOLDER / "old.bin")
    save_file(diffusers_layers(unet, text_encoder), FOLDER / "layers.safetensors")
    save_peft("peft.safetensors")
    original, LOADABLE["motion.ckpt"] = motion(unet)
    torch.save({"epoch": 3, "global_step": 100, "state_dict": original}, FOLDER / "motion.ckpt")

    torch.save({"state_dict": original | {"x": RunsCode()}}, FOLDER / "runs_code.ckpt")

    base = all_layers(pipeline())
    save_file(base, FOLDER / "base.safetensors")
    results = {}
    for case, files in CASES.items():
        after = expected(files)
        changed = [key for key in base if not torch.equal(base[key], after[key])]
        print(case, len(changed), "layers,", max(float((after[k] - base[k]).abs().max()) for k in changed))
        results |= {f"{case}.{key}": after[key] for key in changed}
    save_file(results, FOLDER / "expected.safetensors")
    (FOLDER / "cases.json").write_text(json.dumps(CASES, indent=1) + "\n")
    print(sum(path.stat().st_size for path in FOLDER.iterdir()), "bytes")


if __name__ == "__main__":
    main()
