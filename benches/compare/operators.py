"""Times PyTorch on the work of `benches/operators.rs` and prints it beside criterion's last medians.

    cargo bench -p t2v-benches --bench operators
    .venv/bin/python benches/compare/operators.py [--threads 2] [--criterion target/criterion]

`--only "linear|attention"` measures operators of such names alone, as the bench does that is given the same.
`--device cuda --dtype f16` compares on a GPU, after the bench with `T2V_DEVICE=cuda T2V_DTYPE=f16`.
"""

import argparse
import json
import re
import statistics
import time
from pathlib import Path

import vectors  # noqa: F401 (before torch)
import torch
from diffusers.models.resnet import ResnetBlock2D, TemporalConvLayer
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.transformers.transformer_temporal import TransformerTemporalModel
from diffusers_stages import DTYPES
from torch.nn import functional as F


def median(operator):
    """Milliseconds of the middle of ten runs, after two that don't count."""
    times = []
    if torch.cuda.is_available():
        torch.cuda.synchronize()  # its inputs are there
    for _ in range(12):
        start = time.perf_counter()
        operator()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times[2:])


def cases():
    """Pairs of criterion's name and a function that makes the operator's inputs and returns the operator."""
    rand = torch.randn

    def conv2d(batch, channels, to, size):
        x, weight, bias = rand(batch, channels, size, size), rand(to, channels, 3, 3), rand(to)
        return lambda: F.conv2d(x, weight, bias, padding=1)

    def conv_time(channels, size):
        x, weight, bias = rand(2, channels, 16, size, size), rand(channels, channels, 3, 1, 1), rand(channels)
        return lambda: F.conv3d(x, weight, bias, padding=(1, 0, 0))

    def linear(batch, tokens, inputs, outputs):
        x, weight, bias = rand(batch, tokens, inputs), rand(outputs, inputs), rand(outputs)
        return lambda: F.linear(x, weight, bias)

    def attention(batch, queries, keys, heads):
        q, k = rand(batch, queries, heads * 64), rand(batch, keys, heads * 64)

        def attend():
            q_, k_ = (x.view(batch, -1, heads, 64).transpose(1, 2) for x in (q, k))
            return F.scaled_dot_product_attention(q_, k_, k_).transpose(1, 2).reshape(q.shape)

        return attend

    def norm(batch, channels, size):
        x = rand(batch, channels, size, size)
        return lambda: F.silu(F.group_norm(x, 32, torch.ones(channels), torch.zeros(channels)))

    def geglu():
        x = rand(32, 1024, 2560)

        def gated():
            value, gate = x.chunk(2, -1)
            return value * F.gelu(gate)

        return gated

    def unet_layer(channels, size):
        heads = channels // 64
        residual = ResnetBlock2D(in_channels=channels, temb_channels=None, eps=1e-5)
        temporal_conv = TemporalConvLayer(channels, channels)
        spatial = Transformer2DModel(heads, 64, channels, cross_attention_dim=1024, use_linear_projection=True)
        temporal = TransformerTemporalModel(heads, 64, channels)
        x, text = rand(32, channels, size, size), rand(32, 77, 1024)

        def forward():
            hidden = temporal_conv(residual(x, None), num_frames=16)
            hidden = spatial(hidden, encoder_hidden_states=text, return_dict=False)[0]
            return temporal(hidden, num_frames=16, return_dict=False)[0]

        return forward

    for shape in [
        (32, 320, 320, 32), (32, 960, 320, 32), (32, 640, 640, 16), (32, 1280, 1280, 8), (32, 1280, 1280, 4),
        (1, 512, 512, 64), (1, 256, 256, 256), (1, 128, 128, 256), (1, 4, 512, 32), (1, 128, 3, 256),
        (32, 48, 48, 8), (32, 80, 80, 4),
    ]:  # fmt: skip
        batch, channels, to, size = shape
        yield f"conv2d 3x3, {batch}x{channels}x{size}x{size} to {to}", lambda: conv2d(*shape)
    for channels, size in [(320, 32), (640, 16), (1280, 8), (1280, 4), (48, 8), (80, 4)]:
        yield f"conv3d (3,1,1), 32x{channels}x{size}x{size}", lambda: conv_time(channels, size)
    for shape in [
        (32, 1024, 320, 320), (32, 1024, 320, 2560), (32, 256, 2560, 640), (32, 64, 1280, 1280), (2, 77, 1024, 4096),
    ]:  # fmt: skip
        batch, tokens, inputs, outputs = shape
        yield f"linear, {batch}x{tokens}, {inputs} to {outputs}", lambda: linear(*shape)
    for shape in [(32, 1024, 1024, 5), (32, 1024, 77, 5), (2048, 16, 16, 5), (1, 1024, 1024, 8)]:
        batch, queries, keys, heads = shape
        yield f"attention, {batch}x{queries}x{keys}, {heads} heads", lambda: attention(*shape)
    for shape in [(32, 320, 32), (32, 1280, 8), (1, 128, 256)]:
        batch, channels, size = shape
        yield f"group norm and SiLU, {batch}x{channels}x{size}x{size}", lambda: norm(*shape)
    yield "GEGLU, 32x1024x2560", geglu
    for channels, size in [(320, 32), (1280, 8)]:
        yield f"layer of the UNet, 32x{channels}x{size}x{size}", lambda: unet_layer(channels, size)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--criterion", type=Path, default=Path("target/criterion"))
    parser.add_argument("--only", type=re.compile, default="", help="a regular expression")
    parser.add_argument("--device", default="flex", help="as T2V_DEVICE; PyTorch takes cuda for any but flex")
    parser.add_argument("--dtype", default="f32", choices=DTYPES)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.set_default_dtype(DTYPES[args.dtype])
    torch.set_default_device("cpu" if args.device == "flex" else "cuda")
    where = "" if args.device == "flex" else f", {args.device} {args.dtype}"
    ours = {}
    for path in args.criterion.glob("*/new/benchmark.json"):
        name = json.loads(path.read_text())["full_id"]
        ours[name] = json.loads((path.parent / "estimates.json").read_text())["median"]["point_estimate"] / 1e6
    print("| operator | t2v | PyTorch | ratio |\n| --- | --- | --- | --- |")
    with torch.no_grad():
        for name, case in cases():
            if not args.only.search(name):
                continue
            theirs, key = median(case()), name + where
            mine = f"{ours[key]:.2f} ms" if key in ours else ""
            ratio = f"{ours[key] / theirs:.2f}" if key in ours else ""
            print(f"| {name} | {mine} | {theirs:.2f} ms | {ratio} |", flush=True)


if __name__ == "__main__":
    main()
