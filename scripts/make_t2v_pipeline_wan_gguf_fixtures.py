"""Golden fixtures of crates/t2v-pipeline for GGUF files, from diffusers 0.42.1, transformers 5.23.0, torch 2.13.0 and gguf 0.19.0.

    python scripts/make_t2v_pipeline_wan_gguf_fixtures.py

`wan_gguf` has a transformer of Wan in the layout of its own code and a UMT5 in llama.cpp's, with blocks of eight kinds, F32, F16 and
BF16, and the configurations that take the place of those of `wan_a`. Both compute in f32.

`golden.safetensors` has the metadata `run` and two tensors of frames in 0..1: `frames` of networks with the values that gguf widens,
and `frames_by_reader` of the transformer that diffusers' own reader of GGUF files makes, which widens blocks in f16.
"""

import json
import tempfile
from pathlib import Path

import numpy
import torch
from diffusers import GGUFQuantizationConfig, WanPipeline, WanTransformer3DModel
from fixtures import generator, write
from gguf import GGMLQuantizationType as Type
from gguf import GGUFReader
from gguf.quants import dequantize
from gguf_blocks import add, blocks_of, finish, writer
from transformers import UMT5Config, UMT5EncoderModel
from wan_layout import original_key
from wan_pipelines import FOLDER, TEXT, randomize, random_transformer

GGUF = FOLDER / "wan_gguf"
TRANSFORMER = dict(attention_head_dim=64, ffn_dim=256, num_layers=3, text_dim=32, freq_dim=32)
TEXT_ENCODER = TEXT | dict(d_model=32, d_kv=16, d_ff=64, num_heads=2)
# Of a block: what is where, by the block's number; the rows of the second layer are long enough for the newer kinds.
ATTENTION = (Type.Q8_0, Type.Q4_0, Type.Q5_1)
FIRST = (Type.Q5_0, Type.Q4_1, Type.BF16)
SECOND = (Type.Q4_K, Type.Q5_K, Type.Q6_K)
RUN = dict(prompt="A red fox runs through the snow.", seed=3, num_inference_steps=4, guidance_scale=5.0,
           width=32, height=16, num_frames=5)


def kind_of(name: str, shape: tuple) -> Type:
    parts = name.split(".")
    if len(shape) != 2:
        return Type.F32 if "norm" in name or "modulation" in name or name.startswith("patch") else Type.F16
    match parts:
        case ["blocks", block, "cross_attn", "v", _]:
            return Type.Q3_K if shape[1] % 256 == 0 else Type.Q8_0
        case ["blocks", block, "self_attn" | "cross_attn", *_]:
            return ATTENTION[int(block)]
        case ["blocks", block, "ffn", "0", _]:
            return FIRST[int(block)]
        case ["blocks", block, "ffn", "2", _]:
            return SECOND[int(block)]
        case ["time_projection", *_]:
            return Type.Q8_0
        case ["head", *_]:
            return Type.BF16
    return Type.F16


def save_transformer(path: Path, rng) -> None:
    model = random_transformer(700, **TRANSFORMER)
    file = writer(path, "wan")
    for key, value in model.state_dict().items():
        name, value = original_key(key), value.numpy()
        kind = kind_of(name, value.shape)
        values = value if kind in (Type.F32, Type.F16, Type.BF16) else blocks_of(value, kind, rng)
        add(file, name, values, kind)
    finish(file)
    model.save_config(path.parent)
    (path.parent / "config.json").rename(path.with_suffix(".json"))


# From transformers' names to llama.cpp's.
TEXT_NAMES = [
    ("shared", "token_embd"),
    ("encoder.final_layer_norm", "enc.output_norm"),
    ("encoder.block", "enc.blk"),
    ("layer.0.SelfAttention.relative_attention_bias", "attn_rel_b"),
    ("layer.0.SelfAttention.", "attn_"),
    ("layer.0.layer_norm", "attn_norm"),
    ("layer.1.DenseReluDense.wi_0", "ffn_gate"),
    ("layer.1.DenseReluDense.wi_1", "ffn_up"),
    ("layer.1.DenseReluDense.wo", "ffn_down"),
    ("layer.1.layer_norm", "ffn_norm"),
]


def text_name(key: str) -> str:
    for old, new in TEXT_NAMES:
        key = key.replace(old, new)
    return key


def text_encoder() -> UMT5EncoderModel:
    return randomize(UMT5EncoderModel(UMT5Config(**TEXT_ENCODER)), 710)


def save_text_encoder(path: Path, rng) -> None:
    model = text_encoder()
    file = writer(path, "t5encoder")
    # Lists of texts as tokenizers have them, to be passed over.
    file.add_token_list([f"token{i}" for i in range(40)])
    for key, value in model.state_dict().items():
        if key == "encoder.embed_tokens.weight":
            continue
        name, value = text_name(key), value.numpy()
        plain = value.ndim == 1 or "rel_b" in name
        add(file, name, value if plain else blocks_of(value, Type.Q8_0, rng), Type.F32 if plain else Type.Q8_0)
    finish(file)
    model.config.architectures = ["UMT5EncoderModel"]
    model.config.to_json_file(path.with_suffix(".json"))


def widened(path: Path) -> dict[str, torch.Tensor]:
    return {
        tensor.name: torch.from_numpy(dequantize(tensor.data, tensor.tensor_type).astype(numpy.float32)).reshape(
            *reversed([int(size) for size in tensor.shape]))
        for tensor in GGUFReader(path).tensors
    }


def load_text_encoder(path: Path) -> UMT5EncoderModel:
    model, values = text_encoder(), widened(path)
    state = {key: values[text_name("shared.weight" if key.startswith("encoder.embed") else key)] for key in model.state_dict()}
    model.load_state_dict(state)
    return model


def load_transformer(path: Path) -> WanTransformer3DModel:
    model, values = random_transformer(700, **TRANSFORMER), widened(path)
    model.load_state_dict({key: values[original_key(key)] for key in model.state_dict()})
    return model


def read_transformer(path: Path) -> WanTransformer3DModel:
    with tempfile.TemporaryDirectory() as folder:
        # diffusers looks for the configuration in a folder's sub-folder.
        config = Path(folder) / "transformer"
        config.mkdir()
        (config / "config.json").write_bytes(path.with_suffix(".json").read_bytes())
        return WanTransformer3DModel.from_single_file(
            str(path), config=folder, subfolder="transformer", torch_dtype=torch.float32,
            quantization_config=GGUFQuantizationConfig(compute_dtype=torch.float32))


def frames_of(transformer: WanTransformer3DModel, text: Path) -> torch.Tensor:
    pipe = WanPipeline.from_pretrained(
        FOLDER / "wan_a", torch_dtype=torch.float32, transformer=transformer, text_encoder=load_text_encoder(text))
    keys = [key for key in RUN if key != "seed"]
    made = pipe(**{key: RUN[key] for key in keys}, generator=generator(RUN["seed"]), output_type="np")
    return torch.from_numpy(made.frames[0])


def main():
    rng = numpy.random.default_rng(7)
    GGUF.mkdir(exist_ok=True)
    transformer, text = GGUF / "transformer.gguf", GGUF / "text_encoder.gguf"
    save_transformer(transformer, rng)
    save_text_encoder(text, rng)
    frames = frames_of(load_transformer(transformer), text)
    by_reader = frames_of(read_transformer(transformer), text)
    print("std", float(frames.std()), "most between the two", float((frames - by_reader).abs().max()))
    write(GGUF / "golden.safetensors", {"frames": frames, "frames_by_reader": by_reader}, run=RUN)
    for path in sorted(GGUF.iterdir()):
        print(path.name, path.stat().st_size)
    assert json.loads((GGUF / "transformer.json").read_text())["num_layers"] == 3


main()
