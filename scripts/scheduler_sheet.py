"""One prompt and one seed under every scheduler: a contact sheet with four frames of each.

    cargo build --release -p t2v-examples --example text_to_video
    python scripts/scheduler_sheet.py assets/schedulers.png

DDIMInverse starts from a picture: the first frame of the row above it.
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw

NAMES = """DDPM DDIM PNDM LMSDiscrete EulerDiscrete EulerAncestralDiscrete DPMSolverMultistep HeunDiscrete KDPM2Discrete
DPMSolverSinglestep KDPM2AncestralDiscrete UniPCMultistep DDIMInverse DEISMultistep IPNDM KarrasVe ScoreSdeVe LCM""".split()
SIDE, LABEL, COLUMNS, SHOWN = 64, 16, 3, (0, 5, 10, 15)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("sheet")
    parser.add_argument("--binary", default="target/release/examples/text_to_video")
    parser.add_argument("--prompt", default="a green ball moving right on a black background")
    parser.add_argument("--seed", default="0")
    parser.add_argument("--steps", default="30")
    arguments = parser.parse_args()
    rows = -(-len(NAMES) // COLUMNS)
    width, height = SIDE * len(SHOWN) + 8, SIDE + LABEL
    sheet = Image.new("RGB", (width * COLUMNS, height * rows), "white")
    draw = ImageDraw.Draw(sheet)
    with tempfile.TemporaryDirectory() as folder:
        previous = None
        for i, name in enumerate(NAMES):
            out = Path(folder) / name
            command = [arguments.binary, arguments.prompt, "--scheduler", name, "--seed", arguments.seed]
            command += ["--num-inference-steps", arguments.steps, "--out", str(out)]
            if name == "DDIMInverse":
                command += ["--init-image", str(previous), "--strength", "1", "--guidance-scale", "1"]
            subprocess.run(command, check=True, capture_output=True)
            frames = sorted(out.iterdir())
            previous = frames[0]
            x, y = i // rows * width, i % rows * height
            draw.text((x + 2, y + 2), name, fill="black")
            for k, frame in enumerate(SHOWN):
                sheet.paste(Image.open(frames[frame]), (x + k * SIDE, y + LABEL))
    sheet.save(arguments.sheet)


if __name__ == "__main__":
    main()
