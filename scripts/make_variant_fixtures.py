"""Which weight files diffusers 0.42.1 and transformers 5.23.0 read from a folder, for crates/t2v-weights.

    python scripts/make_variant_fixtures.py

Each case is a folder of small models whose weight files differ in one number, opened with
`TextToVideoSDPipeline.from_pretrained(folder, variant=...)`; what was read is the file of that number.
"""

import json
import shutil
import tempfile
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, TextToVideoSDPipeline, UNet3DConditionModel
from fixtures import CRATES, save_tokenizer
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel

FILE = CRATES / "t2v-weights/tests/fixtures/variants.json"
D, T = "diffusion_pytorch_model", "model"
SHARD = "-00001-of-00001"

# variant, weight files of vae, weight files of text_encoder; an index stands for itself and its one shard
CASES = [
    (None, [f"{D}.safetensors", f"{D}.fp16.safetensors"], [f"{T}.safetensors", f"{T}.fp16.safetensors"]),
    ("fp16", [f"{D}.safetensors", f"{D}.fp16.safetensors"], [f"{T}.safetensors", f"{T}.fp16.safetensors"]),
    ("bf16", [f"{D}.safetensors", f"{D}.fp16.safetensors"], [f"{T}.safetensors", f"{T}.fp16.safetensors"]),
    ("fp16", [f"{D}.safetensors"], [f"{T}.safetensors"]),
    ("fp16", [f"{D}.fp16.safetensors"], [f"{T}.safetensors"]),
    ("fp16", [f"{D}.safetensors"], [f"{T}.fp16.safetensors"]),
    ("fp16", [f"{D}.bf16.safetensors"], [f"{T}.fp16.safetensors"]),
    ("fp16", [f"{D}.fp16.bin", f"{D}.safetensors"], ["pytorch_model.fp16.bin", f"{T}.safetensors"]),
    ("fp16", [f"{D}.fp16.bin", f"{D}.fp16.safetensors"], ["pytorch_model.fp16.bin", f"{T}.fp16.safetensors"]),
    (None, [f"{D}.bin", f"{D}.safetensors"], ["pytorch_model.bin", f"{T}.safetensors"]),
    (None, [f"{D}.bin", f"{D}.fp16.safetensors"], ["pytorch_model.bin", f"{T}.fp16.safetensors"]),
    (None, [f"{D}.bin"], ["pytorch_model.bin"]),
    (None, [f"{D}.safetensors", f"{D}.safetensors.index.json"], [f"{T}.safetensors", f"{T}.safetensors.index.json"]),
    (None, [f"{D}.bin", f"{D}.safetensors.index.json"], ["pytorch_model.bin", f"{T}.safetensors.index.json"]),
    (
        "fp16",
        [f"{D}.safetensors", f"{D}.safetensors.index.fp16.json"],
        [f"{T}.safetensors", f"{T}.safetensors.index.fp16.json"],
    ),
    (
        "fp16",
        [f"{D}.fp16.safetensors", f"{D}.safetensors.index.fp16.json"],
        [f"{T}.fp16.safetensors", f"{T}.safetensors.index.fp16.json"],
    ),
    ("fp16", [f"{D}.safetensors.fp16.index.json"], [f"{T}.fp16.safetensors"]),
    ("fp16", [f"{D}.safetensors.index.json"], [f"{T}.fp16.safetensors"]),
    ("fp16", [f"{D}.safetensors.index.json", f"{D}.fp16.safetensors"], [f"{T}.fp16.safetensors"]),
    (None, [f"{D}.safetensors.index.json"], [f"{T}.safetensors.index.json"]),
    ("fp16", [f"{D}.safetensors"], ["pytorch_model.bin.index.fp16.json", "pytorch_model.bin"]),
    (None, [f"{D}.safetensors"], ["pytorch_model.bin.index.json"]),
    ("non_ema", [f"{D}.safetensors", f"{D}.non_ema.safetensors"], [f"{T}.safetensors"]),
    ("non", [f"{D}.safetensors", f"{D}.non_ema.safetensors"], [f"{T}.safetensors"]),
    # what follows, diffusers refuses
    (None, [f"{D}.fp16.safetensors"], [f"{T}.safetensors"]),
    (None, [f"{D}.bin.index.json"], [f"{T}.safetensors"]),
]


def small_pipeline(folder):
    torch.manual_seed(1)
    tokenizer = save_tokenizer(folder / "tokenizer", 20, merges=20)
    size = len(tokenizer)
    text = CLIPTextConfig(
        vocab_size=size,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        max_position_embeddings=20,
        bos_token_id=size - 2,
        eos_token_id=size - 1,
        pad_token_id=size - 1,
    )
    unet = UNet3DConditionModel(
        block_out_channels=(8,),
        down_block_types=("CrossAttnDownBlock3D",),
        up_block_types=("CrossAttnUpBlock3D",),
        layers_per_block=1,
        cross_attention_dim=8,
        attention_head_dim=4,
        norm_num_groups=4,
    )
    vae = AutoencoderKL(block_out_channels=(8,), norm_num_groups=4)
    return TextToVideoSDPipeline(vae, CLIPTextModel(text), tokenizer, unet, DDIMScheduler())


MARKS = {"vae": "decoder.conv_out.bias", "text_encoder": "final_layer_norm.bias"}


def write(folder, component, model, names):
    """The files, each with its number in place of the marked tensor's first value."""
    for old in folder.iterdir():
        if old.name != "config.json":
            old.unlink()
    for number, name in enumerate(names, 1):
        state = {key: value.clone().contiguous() for key, value in model.state_dict().items()}
        state[MARKS[component]][0] = number
        file = name
        if name.endswith(".json"):
            variant = name.replace("safetensors", "").replace("bin", "").split(".", 1)[1]
            variant = variant.replace("index", "").replace("json", "").strip(".")
            extension = "safetensors" if "safetensors" in name else "bin"
            file = f"{name.split('.')[0]}{'.' + variant if variant else ''}{SHARD}.{extension}"
            index = {"metadata": {"total_size": 1}, "weight_map": dict.fromkeys(state, file)}
            (folder / name).write_text(json.dumps(index))
        if file.endswith(".bin"):
            torch.save(state, folder / file)
        else:
            save_file(state, folder / file, metadata={"format": "pt"})


def main():
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder) / "model"
        folder.mkdir()
        pipeline = small_pipeline(folder)
        pipeline.save_pretrained(folder)
        for variant, *files in CASES:
            names = dict(zip(MARKS, files))
            for component, listed in names.items():
                write(folder / component, component, getattr(pipeline, component), listed)
            row = {"variant": variant, "files": names, "read": None}
            try:
                found = TextToVideoSDPipeline.from_pretrained(folder, variant=variant)
                row["read"] = {
                    component: names[component][int(getattr(found, component).state_dict()[mark][0]) - 1]
                    for component, mark in MARKS.items()
                }
            except (OSError, ValueError) as error:
                print("refused:", str(error).splitlines()[0][:150])
            rows.append(row)
            print(row)
        shutil.rmtree(folder)
    FILE.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")


if __name__ == "__main__":
    main()
