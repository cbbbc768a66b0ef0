"""Trains the AutoencoderKL on single frames.

Latents that merely reconstruct well can be a poor thing to learn from: with the usual, weak KL term this autoencoder
left four of its eight channels nearly linear in the others, and put all hues on one line, blue next to green. So here the
decoder sees standardised latents with noise, channels are kept from repeating each other, and each latent cell must
tell the mean colour of its pixels by a linear map.

    python train_vae.py [--steps 6000]
"""

import argparse
import time

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

from common import WORK, Training
from encode import frames_tensor
from models import LATENT_CHANNELS, LATENT_SIZE, vae

# Noise on standardised latents, at most; each frame has its own share of it.
NOISE = 0.3


def gradient_loss(a, b):
    dx = (a[..., :, 1:] - a[..., :, :-1]) - (b[..., :, 1:] - b[..., :, :-1])
    dy = (a[..., 1:, :] - a[..., :-1, :]) - (b[..., 1:, :] - b[..., :-1, :])
    return dx.abs().mean() + dy.abs().mean()


def mirrored(frames, rng):
    """Frames as the networks take them, half of the batches mirrored."""
    x = frames_tensor(frames)
    if rng.random() < 0.5:
        x = x.flip(-1)
    return x.contiguous(memory_format=torch.channels_last)


def noisy(latents):
    return latents + NOISE * torch.rand(len(latents), 1, 1, 1) * torch.randn_like(latents)


def reconstruction(y, x):
    """The loss of a decoded frame, what each pixel counts in it, and the PSNR."""
    error = y - x
    # The subject is a tenth of the picture: weigh pixels that differ from the frame's median colour.
    subject = (x - x.flatten(2).median(-1).values[..., None, None]).abs().amax(1, keepdim=True)
    weight = 0.6 + subject.clamp(max=1.0)
    loss = (weight * error.abs()).mean() + 8 * (weight * error**2).mean() + 0.5 * gradient_loss(y, x)
    return loss, weight, -10 * (error**2).mean().div(4).log10().item()


def standardise(latents):
    """Zero mean and unit variance in each channel, and how far the channels are from being uncorrelated."""
    centred = latents - latents.mean((0, 2, 3), keepdim=True)
    scaled = centred / (centred.square().mean((0, 2, 3), keepdim=True) + 1e-6).sqrt()
    rows = scaled.transpose(0, 1).flatten(1)
    correlation = rows @ rows.T / rows.shape[1]
    return scaled, (correlation - torch.eye(len(rows))).square().sum() / len(rows)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=1e-3)
    args = parser.parse_args()
    frames = np.load(WORK / "clips.npy", mmap_mode="r").reshape(-1, 64, 64, 3)
    torch.manual_seed(0)
    model: AutoencoderKL = vae().to(memory_format=torch.channels_last)
    colour = torch.nn.Conv2d(LATENT_CHANNELS, 3, 1)
    training = Training("vae", {"vae": model, "colour": colour}, args.steps, rate=args.rate, muon=True)
    (WORK / "vae_normalised.pt").unlink(missing_ok=True)  # encode.py makes it anew, with the latents
    rng = np.random.default_rng(training.step)
    start, first, history = time.time(), training.step, []
    while training.running():
        pick = np.sort(rng.integers(0, len(frames), args.batch))
        x = mirrored(frames[pick], rng)
        latents, correlation = standardise(model.encode(x).latent_dist.mean)
        latents = noisy(latents)
        loss, weight, psnr = reconstruction(model.decode(latents).sample, x)
        means = F.avg_pool2d(x, x.shape[-1] // LATENT_SIZE)
        linear = (F.avg_pool2d(weight, x.shape[-1] // LATENT_SIZE) * (colour(latents) - means) ** 2).mean()
        training.update(loss + 2 * linear + 0.02 * correlation)
        history.append([loss.item(), linear.item(), correlation.item(), psnr])
        if training.step % 100 == 0:
            rate = (training.step - first) * args.batch / (time.time() - start)
            loss, linear, correlation, psnr = np.mean(history[-100:], 0)
            print(
                f"vae {training.step} loss {loss:.4f} colour {linear:.5f} correlation {correlation:.4f}"
                f" psnr {psnr:.1f} dB {rate:.0f} images/s",
                flush=True,
            )


if __name__ == "__main__":
    main()
