"""Draws what tiny-world makes of 24 prompts with seeds 0 to 23: a contact sheet, and the same clips side by side as an
animation.

    cargo build --release -p t2v-examples --example text_to_video
    python scripts/contact_sheet.py assets/contact_sheet.png assets/preview.webp

The sheet has two clips in a row, every third frame of each. Needs numpy, Pillow and safetensors.
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import load_file

EXAMPLES = Path(__file__).parent.parent / "target/release/examples"
PROMPTS = """a red ball bouncing in a blue sky
a yellow star falling at night
a green square moving right on a black background
a purple heart growing in the snow
an orange triangle rising over the sea
a white ring spinning in the desert at sunset
a blue diamond shrinking on a black background
a pink ball moving left at night
a red star spinning over the sea
a green heart rising in a blue sky
a yellow ring moving right in the snow
a purple square bouncing at night
an orange diamond growing on a black background
a white triangle falling in the desert at sunset
a blue ball shrinking in the snow
a pink heart moving left over the sea
a red triangle growing at night
a green ring bouncing in the desert at sunset
a yellow square spinning in a blue sky
a purple star moving right on a black background
an orange ball falling over the sea
a white diamond rising at night
a blue star moving left in the desert at sunset
a pink square shrinking in a blue sky""".splitlines()
COLUMNS = 6


def frames(prompt, seed, more):
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "frames.safetensors"
        command = [EXAMPLES / "text_to_video", prompt, "--seed", str(seed), "--frames-out", out, *more]
        subprocess.run(command, check=True, capture_output=True)
        return load_file(out)["frames"]


def bytes_of(frames):
    return (frames * 255).round().astype(np.uint8)


def beside(parts, columns, gap):
    """Pictures `[..., h, w, 3]` in rows of `columns`, with white gaps."""
    padded = [np.pad(part, [(0, 0)] * (part.ndim - 3) + [(0, gap)] * 2 + [(0, 0)], constant_values=1) for part in parts]
    rows = [np.concatenate(padded[i : i + columns], -2) for i in range(0, len(padded), columns)]
    return np.concatenate(rows, -3)[..., :-gap, :-gap, :]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("sheet")
    parser.add_argument("animation")
    arguments, more = parser.parse_known_args()
    clips = [frames(prompt, seed, more) for seed, prompt in enumerate(PROMPTS)]
    sheet = beside([np.concatenate(list(clip[::3]), 1) for clip in clips], 2, 8)
    Image.fromarray(bytes_of(sheet)).save(arguments.sheet)
    first, *others = [Image.fromarray(bytes_of(frame)) for frame in beside(clips, COLUMNS, 4)]
    first.save(arguments.animation, save_all=True, append_images=others, duration=125, loop=0, quality=80, method=6)


if __name__ == "__main__":
    main()
