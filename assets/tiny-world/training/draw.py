"""Draws the training set: `WORK/clips.npy`, uint8 `[clips, frames, size, size, 3]`, and `WORK/attributes.json`.

    python draw.py [--clips 16000]
"""

import argparse
import json
import random
from multiprocessing import Pool

import numpy as np

from common import WORK
from world import FRAME_SIZE, FRAMES, draw_clip, training_attributes


def draw(job):
    attributes, seed = job
    return draw_clip(attributes, random.Random(seed))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--clips", type=int, default=16000)
    clips = parser.parse_args().clips
    WORK.mkdir(parents=True, exist_ok=True)
    rng = random.Random(0)
    known, chosen = training_attributes(), []
    while len(chosen) < clips:
        rng.shuffle(known)
        chosen += known
    chosen = chosen[:clips]
    out = np.lib.format.open_memmap(WORK / "clips.npy", "w+", np.uint8, (clips, FRAMES, FRAME_SIZE, FRAME_SIZE, 3))
    with Pool(2) as pool:
        jobs = [(a, 1000 + i) for i, a in enumerate(chosen)]
        for i, clip in enumerate(pool.imap(draw, jobs, chunksize=16)):
            out[i] = clip
    out.flush()
    (WORK / "attributes.json").write_text(json.dumps(chosen))
    print(f"{clips} clips drawn", flush=True)


if __name__ == "__main__":
    main()
