"""Teaches the decoder of an exported VAE colours and outlines that the world does not have, and leaves all else as it is.

A decoder that has only ever seen eight colours gives every latent the nearest of them: a colour between two comes out as patches of
both, so that nothing can be taught whose colour isn't one of the eight. The encoder does tell such colours apart. Latents
stay what they are, and with them the denoiser.

    python widen_decoder.py FOLDER [--steps 1500] [--clips 6000]

`FOLDER` is a model's, whose `vae` is written anew in the end.
"""

import argparse
import math
import random
import time
from multiprocessing import Pool
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

import world
from common import WORK, Training
from export import save_weights
from train_vae import mirrored, noisy, reconstruction

# Frames of a drawn clip that are kept.
KEPT = [1, 6, 11, 15]
# Share of clips in the colours and shapes of the world.
KNOWN = 0.4
# Numbers of points of stars, and their inner radii; with the largest a star is nearly a polygon of twice as many corners.
STRANGE_OUTLINES = [(points, inner) for points in (3, 4, 5, 6, 7) for inner in (0.35, 0.55, 0.75, 1.0)]

known_outline, known_attributes = world.outline, world.all_attributes()


def outline(shape, x, y, radius, angle):
    """The world's outlines, and stars by their number of points and inner radius."""
    if isinstance(shape, str):
        return known_outline(shape, x, y, radius, angle)
    points, inner = shape
    corners = [(i * math.pi / points + angle, radius * (inner if i % 2 else 1.1)) for i in range(2 * points)]
    return [(x + r * math.sin(a), y - r * math.cos(a)) for a, r in corners]


def draw(seed):
    """A few frames of a clip in any colour and outline, or one of the world."""
    rng = random.Random(seed)
    colour, shape, motion, background = rng.choice(known_attributes)
    if rng.random() >= KNOWN:
        colour = "any"
        world.COLOURS[colour] = tuple(rng.randrange(10, 251) for _ in range(3))
        shape = rng.choice([shape, rng.choice(STRANGE_OUTLINES)])
    world.outline = outline
    return world.draw_clip((colour, shape, motion, background), rng, KEPT)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--clips", type=int, default=6000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--bf16", action="store_true", help="multiply in bfloat16")
    args = parser.parse_args()
    with Pool(2) as pool:
        frames = np.concatenate(pool.map(draw, range(args.clips), chunksize=16))
    print(f"{len(frames)} frames drawn", flush=True)
    WORK.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    model = AutoencoderKL.from_pretrained(args.folder / "vae", torch_dtype=torch.float32)
    model = model.to(memory_format=torch.channels_last).requires_grad_(False)
    trained = {"post_quant_conv": model.post_quant_conv, "decoder": model.decoder}
    for part in trained.values():
        part.requires_grad_(True)
    training = Training("decoder", trained, args.steps, rate=args.rate, muon=True)
    rng = np.random.default_rng(training.step)
    start, first, history = time.time(), training.step, []
    while training.running():
        x = mirrored(frames[rng.integers(0, len(frames), args.batch)], rng)
        with torch.no_grad():
            latents = noisy(model.encode(x).latent_dist.mean)
        with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
            y = model.decode(latents).sample.float()
        loss, _, psnr = reconstruction(y, x)
        training.update(loss)
        history.append([loss.item(), psnr])
        if training.step % 100 == 0:
            rate = (training.step - first) * args.batch / (time.time() - start)
            loss, psnr = np.mean(history[-100:], 0)
            print(f"decoder {training.step} loss {loss:.4f} psnr {psnr:.1f} dB {rate:.0f} images/s", flush=True)
    for name, part in training.averages.items():
        trained[name].load_state_dict(part.state_dict())
    save_weights(model, args.folder / "vae" / "diffusion_pytorch_model.safetensors")


if __name__ == "__main__":
    main()
