"""Quantised blocks and GGUF files, by the package gguf 0.19.0, which widens all kinds of blocks and makes those of the older ones."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy
from gguf import GGMLQuantizationType as Type
from gguf import GGUFWriter
from gguf.constants import GGML_QUANT_SIZES
from gguf.quants import dequantize, quantize

OLDER = (Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1, Type.Q8_0)
# Where in a block of the newer kinds the scale is, where the minimum, and which multiple of the scale that is for a mean of zero.
NEWER = {
    Type.Q2_K: (80, 82, 1.5),
    Type.Q3_K: (108, None, 0),
    Type.Q4_K: (0, 2, 7.5),
    Type.Q5_K: (0, 2, 15.5),
    Type.Q6_K: (208, None, 0),
}


def random_blocks(kind: Type, rows: int, columns: int, deviation: float, rng: numpy.random.Generator) -> numpy.ndarray:
    """A matrix of random blocks, `[rows, bytes]`, whose values have about this standard deviation and a mean of about zero."""
    values, size = GGML_QUANT_SIZES[kind]
    if kind in OLDER:
        matrix = rng.standard_normal((rows, columns), dtype=numpy.float32) * numpy.float32(deviation)
        return quantize(matrix, kind)
    scale, least, multiple = NEWER[kind]
    blocks = rng.integers(0, 256, (rows * columns // values, size), dtype=numpy.uint8)

    def put(blocks: numpy.ndarray, at: int, value: float):
        blocks[:, at : at + 2] = numpy.frombuffer(numpy.float16(value).tobytes(), numpy.uint8)

    def put_scale(blocks: numpy.ndarray, value: float):
        put(blocks, scale, value)
        if least is not None:
            put(blocks, least, value * multiple)

    sample = blocks[:64].copy()
    put_scale(sample, 2.0**-10)
    put_scale(blocks, 2.0**-10 * deviation / float(dequantize(sample, kind).std()))
    return blocks.reshape(rows, -1)


def blocks_of(matrix: numpy.ndarray, kind: Type, rng: numpy.random.Generator) -> numpy.ndarray:
    """The blocks of a matrix, or random ones of its standard deviation where the package can't make them."""
    if kind in OLDER:
        return quantize(matrix, kind)
    return random_blocks(kind, *matrix.shape, float(matrix.std()), rng)


def writer(path: Path, architecture: str) -> GGUFWriter:
    path.parent.mkdir(parents=True, exist_ok=True)
    return GGUFWriter(path, architecture)


def add(file: GGUFWriter, name: str, values: numpy.ndarray, kind: Type) -> None:
    """Adds numbers in F32, F16 or BF16, or blocks."""
    if kind == Type.BF16:
        values = quantize(numpy.ascontiguousarray(values, numpy.float32), kind)
    elif kind in (Type.F32, Type.F16):
        values = values.astype(numpy.float32 if kind == Type.F32 else numpy.float16)
    file.add_tensor(name, numpy.ascontiguousarray(values), raw_dtype=kind)


def finish(file: GGUFWriter) -> None:
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_tensors_to_file()
    file.close()


ALIGNMENT = 32


def byte_len(kind: Type, shape: tuple[int, ...]) -> int:
    values, size = GGML_QUANT_SIZES[kind]
    return int(numpy.prod(shape)) // values * size


def stream(path: Path, architecture: str, tensors: list[tuple[str, tuple[int, ...], Type, str, Callable]]) -> None:
    """Writes a file with one tensor in memory at a time. Of each there are name, shape, kind, what it shares its bytes with, by
    any name, and a function that gives the bytes; it is called for the first that shares them."""
    text = lambda value: struct.pack("<Q", len(value)) + value.encode()  # noqa: E731
    header = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), 1)
    header += text("general.architecture") + struct.pack("<I", 8) + text(architecture)
    offsets, end = {}, 0
    for name, shape, kind, shared, _ in tensors:
        if shared not in offsets:
            offsets[shared] = end
            end += -(-byte_len(kind, shape) // ALIGNMENT) * ALIGNMENT
        header += text(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *reversed(shape))
        header += struct.pack("<IQ", kind, offsets[shared])
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        file.write(header)
        written = set()
        for _, shape, kind, shared, produce in tensors:
            if shared in written:
                continue
            written.add(shared)
            file.write(b"\0" * (-file.tell() % ALIGNMENT))
            values = produce()
            assert values.nbytes == byte_len(kind, shape), (shared, values.nbytes)
            file.write(memoryview(values).cast("B"))
        file.write(b"\0" * (-file.tell() % ALIGNMENT))
