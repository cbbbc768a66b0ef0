"""Shared by the make_*_fixtures.py scripts: random weights, fixture files; the small tokenizer is that of small_tokenizer.py.

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
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import diffusers
import torch
import transformers
from safetensors.torch import save
from small_tokenizer import END, START, TRAINING_TEXT, byte_alphabet, encode, save_tokenizer
from torch import nn

__all__ = ["END", "START", "TRAINING_TEXT", "byte_alphabet", "encode", "save_tokenizer"]  # of small_tokenizer.py

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
