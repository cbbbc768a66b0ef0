"""Shared by the make_*_fixtures.py scripts: random weights, fixture files, a small tokenizer.

The references are those of diffusers 0.42.1, transformers 5.23.0 and torch 2.13.0 (CPU, f32).

A fixture of a module is one safetensors file:
    weights.<state-dict key>   the parameters
    input.<argument>           the tensors it is called with
    output.<name>              what it returns
and string metadata: "config", the constructor's parameters as JSON, and "call", the arguments that
are no tensors as JSON.
"""

import json
import math
import os
from collections import Counter
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import diffusers
import torch
import transformers
from safetensors.torch import save
from tokenizers import Regex, normalizers, pre_tokenizers
from torch import nn
from transformers import CLIPTokenizer

CRATES = Path(__file__).resolve().parent.parent / "crates"
MAX_BYTES = 1_000_000
VERSIONS = {"diffusers": "0.42.1", "transformers": "5.23.0", "torch": "2.13.0"}

for library in (diffusers, transformers, torch):
    wanted, found = VERSIONS[library.__name__], library.__version__.split("+")[0]
    if wanted != found:
        raise SystemExit(f"the fixtures are those of {library.__name__} {wanted}, not {found}")

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)
diffusers.utils.logging.set_verbosity_error()
transformers.utils.logging.set_verbosity_error()


def folder_of(crate: str) -> Path:
    folder = CRATES / crate / "tests" / "fixtures"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@torch.no_grad()
def randomize(module: nn.Module, seed: int, gain: float = 1.0) -> nn.Module:
    """Makes every parameter random and non-zero; the activations stay near 1."""
    rng = generator(seed)
    norms = (nn.GroupNorm, nn.LayerNorm)
    seen = set()
    for owner in module.modules():
        for name, parameter in owner.named_parameters(recurse=False):
            if id(parameter) in seen:
                continue
            seen.add(id(parameter))
            uniform = 2 * torch.rand(parameter.shape, generator=rng) - 1
            if isinstance(owner, norms) and name == "weight":
                value = 1 + 0.3 * uniform
            elif parameter.ndim == 1:
                value = 0.2 * uniform
            elif isinstance(owner, nn.Embedding):
                value = torch.randn(parameter.shape, generator=rng)
            else:
                deviation = gain / math.sqrt(parameter[0].numel())
                value = deviation * torch.randn(parameter.shape, generator=rng)
            parameter.copy_(value)
    return module.eval()


@torch.no_grad()
def round_to_f16(module: nn.Module) -> nn.Module:
    """Rounds the parameters to what f16 can hold, and keeps them as f32."""
    for parameter in module.parameters():
        parameter.copy_(parameter.half().float())
    return module


def weights(module: nn.Module, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    return {f"weights.{key}": value.to(dtype) for key, value in module.state_dict().items()}


def inputs(**tensors) -> dict[str, torch.Tensor]:
    return {f"input.{key}": value for key, value in tensors.items()}


def outputs(**tensors) -> dict[str, torch.Tensor]:
    return {f"output.{key}": value for key, value in tensors.items()}


def with_metadata(file: bytes, metadata: dict[str, str]) -> bytes:
    """A safetensors file with its string metadata in a fixed order, which the library's own writer shuffles."""
    size = int.from_bytes(file[:8], "little")
    header = json.dumps({"__metadata__": metadata} | json.loads(file[8 : 8 + size])).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + file[8 + size :]


def write(path: Path, tensors: dict[str, torch.Tensor], **metadata) -> None:
    tensors = {key: value.detach().contiguous().clone() for key, value in tensors.items()}
    for key, value in tensors.items():
        assert not value.is_floating_point() or bool(value.isfinite().all()), key
    path.write_bytes(with_metadata(save(tensors), {key: json.dumps(value) for key, value in metadata.items()}))
    assert path.stat().st_size < MAX_BYTES, (path, path.stat().st_size)
    spread = {k[7:]: round(float(v.float().std()), 2) for k, v in tensors.items() if k.startswith("output.")}
    print(f"{path.relative_to(CRATES)}  {path.stat().st_size} bytes  std {spread}")


TRAINING_TEXT = """
A small brown fox is running through the quiet forest at dawn while the morning light shines on the wet grass.
Two red balloons float slowly over the city, and people on the street look up and smile at the children.
An astronaut rides a white horse on the surface of the moon, with the blue earth rising behind the mountains.
The ocean waves are crashing against the dark rocks during a storm; lightning strikes far away in the night sky.
A close up shot of a robot's hand playing the piano, cinematic lighting, highly detailed, 4k, slow motion.
She didn't know that they're going to the market, but we'll see what's there: apples, oranges, bread and cheese.
Spiderman is surfing on a golden wave. A panda is eating bamboo, then it drinks coffee in a tiny café near the river.
A time lapse of flowers opening in spring, the camera pans left and zooms in; the background is blurred and bright.
In 2024 the old train crossed the long bridge 12 times a day, carrying wood, stone, iron and the winter's mail.
A video of a cat and a dog dancing together in the kitchen, wearing funny hats, watched by an orange fish!
Snow is falling on the roof of the wooden house; smoke rises from the chimney, and the windows glow with warm light.
A knight walks into a dark castle, holding a burning torch. Dragons fly above the towers... the battle begins now.
Low quality, blurry, distorted, watermark, text, ugly, bad anatomy, worst quality, jpeg artifacts, out of frame.
The naïve painter's résumé was très élégant; crème brûlée, jalapeño, Ångström and Übermut were on the menu.
"""

START, END = "<|startoftext|>", "<|endoftext|>"
WORDS = r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""


def byte_alphabet() -> list[str]:
    """The 256 stand-in characters of byte-level BPE, in the order of GPT-2's `bytes_to_unicode`."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    return [chr(b) for b in plain] + [chr(256 + i) for i in range(256 - len(plain))]


def learn_merges(count: int) -> list[tuple[str, str]]:
    """The most frequent pairs; where two are as frequent, the lesser one (the trainer of `tokenizers` takes either)."""
    normalize = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()]).normalize_str
    pieces = pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True).pre_tokenize_str
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str
    frequency = Counter(to_bytes(piece)[0][0] for piece, _ in pieces(normalize(TRAINING_TEXT)))
    words = [([*word[:-1], word[-1] + "</w>"], times) for word, times in frequency.items()]
    merges = []
    while len(merges) < count:
        pairs = Counter()
        for parts, times in words:
            for pair in zip(parts, parts[1:]):
                pairs[pair] += times
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        for parts, _ in words:
            for i in range(len(parts) - 2, -1, -1):
                if tuple(parts[i : i + 2]) == best:
                    parts[i : i + 2] = ["".join(best)]
    return merges


def save_tokenizer(folder: Path, max_length: int, merges: int = 400, pad_token: str = END) -> CLIPTokenizer:
    """Writes vocab.json, merges.txt, tokenizer_config.json and special_tokens_map.json as CLIP's are."""
    folder.mkdir(parents=True, exist_ok=True)
    learnt, alphabet = learn_merges(merges), byte_alphabet()
    entries = dict.fromkeys(alphabet + [c + "</w>" for c in alphabet] + [a + b for a, b in learnt] + [START, END])
    vocabulary = {entry: i for i, entry in enumerate(entries)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False) + "\n", encoding="utf-8")
    lines = ["#version: 0.2"] + [f"{a} {b}" for a, b in learnt]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def added(content: str, normalized: bool) -> dict:
        return {
            "content": content, "lstrip": False, "normalized": normalized, "rstrip": False, "single_word": False
        }  # fmt: skip

    special = {
        "bos_token": added(START, True),
        "eos_token": added(END, True),
        "pad_token": pad_token,
        "unk_token": added(END, True),
    }
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2) + "\n")
    config = {
        "add_prefix_space": False,
        "do_lower_case": True,
        "errors": "replace",
        "model_max_length": max_length,
        "tokenizer_class": "CLIPTokenizer",
        **{key: {"__type": "AddedToken", **value} if isinstance(value, dict) else value for key, value in special.items()},
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    return CLIPTokenizer.from_pretrained(folder)


def encode(tokenizer: CLIPTokenizer, text: str) -> list[int]:
    """The token ids as TextToVideoSDPipeline.encode_prompt asks for them."""
    length = tokenizer.model_max_length
    return tokenizer(text, padding="max_length", max_length=length, truncation=True).input_ids
