"""Draws a contact sheet with the release build of the example: one row a prompt, every third frame, seeds 0, 1, 2, ...

    cargo build --release -p t2v-examples --examples
    python scripts/contact_sheet.py assets/contact_sheet.png

Needs numpy, Pillow and safetensors.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import load_file

BINARY = Path(__file__).parent.parent / "target/release/examples/text_to_video"
PROMPTS = [
    "a red ball bouncing in a blue sky",
    "a yellow star falling at night",
    "a green square moving right on a black background",
    "a purple heart growing in the snow",
    "an orange triangle rising over the sea",
    "a white ring spinning in the desert at sunset",
    "a blue diamond shrinking on a black background",
    "a pink ball moving left at night",
]


def frames(prompt, seed, more):
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "frames.safetensors"
        command = [BINARY, prompt, "--seed", str(seed), "--frames-out", out, *more]
        subprocess.run(command, check=True, capture_output=True)
        return (load_file(out)["frames"] * 255).round().astype(np.uint8)


def main():
    rows = [np.concatenate(list(frames(p, i, sys.argv[2:])[::3]), 1) for i, p in enumerate(PROMPTS)]
    sheet = Image.fromarray(np.concatenate(rows, 0))
    sheet.resize((sheet.width * 3 // 2, sheet.height * 3 // 2), Image.LANCZOS).save(sys.argv[1])


if __name__ == "__main__":
    main()
