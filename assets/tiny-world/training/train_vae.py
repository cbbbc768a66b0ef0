"""Trains the AutoencoderKL on single frames.

    python train_vae.py [--steps 6000]
"""

import argparse
import time

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

from common import WORK, Training
from models import vae


def gradient_loss(a, b):
    dx = (a[..., :, 1:] - a[..., :, :-1]) - (b[..., :, 1:] - b[..., :, :-1])
    dy = (a[..., 1:, :] - a[..., :-1, :]) - (b[..., 1:, :] - b[..., :-1, :])
    return dx.abs().mean() + dy.abs().mean()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--batch", type=int, default=16)
    args = parser.parse_args()
    frames = np.load(WORK / "clips.npy", mmap_mode="r").reshape(-1, 64, 64, 3)
    torch.manual_seed(0)
    model: AutoencoderKL = vae().to(memory_format=torch.channels_last)
    training = Training("vae", {"vae": model}, args.steps, rate=1.5e-3)
    (WORK / "vae_normalised.pt").unlink(missing_ok=True)  # encode.py makes it anew, with the latents
    rng = np.random.default_rng(training.step)
    start, first = time.time(), training.step
    while training.running():
        pick = np.sort(rng.integers(0, len(frames), args.batch))
        x = torch.from_numpy(frames[pick]).permute(0, 3, 1, 2).float() / 127.5 - 1
        if rng.random() < 0.5:
            x = x.flip(-1)
        x = x.contiguous(memory_format=torch.channels_last)
        posterior = model.encode(x).latent_dist
        y = model.decode(posterior.sample()).sample
        error = y - x
        # The subject is a tenth of the picture: weigh pixels that differ from the frame's median colour.
        subject = (x - x.flatten(2).median(-1).values[..., None, None]).abs().amax(1, keepdim=True)
        weight = 0.6 + subject.clamp(max=1.0)
        loss = (weight * error.abs()).mean() + 8 * (weight * error**2).mean() + 0.5 * gradient_loss(y, x)
        training.update(loss + 1e-5 * posterior.kl().mean() / 64)
        if training.step % 100 == 0:
            psnr = -10 * torch.log10((error**2).mean() / 4)
            rate = (training.step - first) * args.batch / (time.time() - start)
            print(f"vae {training.step} loss {loss.item():.4f} psnr {psnr.item():.1f} dB {rate:.0f} images/s", flush=True)


if __name__ == "__main__":
    main()
