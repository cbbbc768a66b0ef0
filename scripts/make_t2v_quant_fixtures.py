"""Golden fixture of crates/t2v-quant, from gguf 0.19.0: random blocks of each kind and the values that they stand for.

    python scripts/make_t2v_quant_fixtures.py

Tensors: `<kind>.bytes`, U8, and `<kind>.values`, F32.
"""

from pathlib import Path

import numpy
from gguf.constants import GGML_QUANT_SIZES
from gguf.quants import dequantize, quantize
from gguf_blocks import NEWER, OLDER, random_blocks
from safetensors.numpy import save_file

PATH = Path(__file__).parent.parent / "crates/t2v-quant/tests/fixtures/blocks.safetensors"
BLOCKS = 6


def main():
    rng = numpy.random.default_rng(0)
    tensors = {}
    for kind in (*OLDER, *NEWER):
        values, size = GGML_QUANT_SIZES[kind]
        blocks = random_blocks(kind, BLOCKS, values, 0.3, rng)
        if kind in OLDER:
            # All bits, beside what a quantiser makes of numbers.
            scales = quantize(rng.standard_normal((BLOCKS, values), dtype=numpy.float32), kind)
            mixed = rng.integers(0, 256, scales.shape, dtype=numpy.uint8)
            count = 4 if kind.name.endswith("_1") else 2
            mixed[:, :count] = scales[:, :count]
            blocks = numpy.concatenate([blocks, mixed])
        widened = dequantize(blocks, kind)
        assert numpy.isfinite(widened).all() and widened.std() > 0.1, kind
        tensors[f"{kind.name}.bytes"] = blocks.reshape(-1)
        tensors[f"{kind.name}.values"] = widened.astype(numpy.float32).reshape(-1)
        print(kind.name, blocks.shape, float(widened.std()))
    PATH.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, PATH)
    print(PATH.stat().st_size, "bytes")


main()
