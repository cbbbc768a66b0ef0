"""Trains the denoiser on the latents (v prediction, linear betas), with captions from the frozen text encoder.

    python train_unet.py [--steps 5000]
"""

import argparse
import json
import random
import time

import numpy as np
import torch
from diffusers import DDPMScheduler
from diffusers.models.attention_processor import AttnProcessor
from transformers import CLIPTokenizer

from common import WORK, Training, averaged
from models import LATENT_SIZE, text_encoder, unet
from tokens import encode
from world import BACKGROUNDS, FRAME_SIZE, FRAMES, captions, partial_captions


def window(progress, short, rng):
    """How many neighbouring frames of each clip a step sees: short windows of many clips first, then whole clips.

    Short windows show more captions for the same work, so colours and shapes come sooner; motions need whole clips.
    (Of two frames torch 2.13 gives gradients that are not finite, on the CPU in bf16.)
    """
    if progress < short:
        return rng.choice([4, 8])
    return FRAMES


def caption(attributes, rng):
    """Mostly a full caption, sometimes one that leaves attributes open, one in ten empty (for guidance)."""
    dice = rng.random()
    if dice < 0.1:
        return ""
    return rng.choice(partial_captions(attributes) if dice < 0.2 else captions(attributes))


# Where the noise levels of a batch lie: parts of it, and the timesteps that they begin at. Most are where wrong captions
# cost most: colours and backgrounds from 600 up, shapes from 400 to 750, motions from 450 up.
LEVELS = [(0.10, 0), (0.35, 250), (0.37, 600), (0.18, 850)]


def timesteps(batch):
    """Spread evenly over the batch (less variance than independent draws), with the density of `LEVELS`."""
    u = ((torch.rand(batch) + torch.arange(batch)) / batch)[torch.randperm(batch)]
    parts = torch.tensor([0.0] + [part for part, _ in LEVELS]).cumsum(0)
    starts = torch.tensor([float(start) for _, start in LEVELS] + [1000.0])
    level = torch.searchsorted(parts, u, right=True).sub(1).clamp(0, len(LEVELS) - 1)
    inside = (u - parts[level]) / (parts[level + 1] - parts[level])
    return (starts[level] + inside * (starts[level + 1] - starts[level])).long().clamp(max=999)


def subject_weights(clips, attributes):
    """`[clips, frames, h, w]`: 1 for a latent cell of pure background, up to 5 where the subject is.

    The subject covers a tenth of the picture, but it carries three of the four attributes. A pixel counts as subject
    where it differs from the median picture of its background. A weight that depends on the data alone leaves the
    optimum of the regression where it was, at the conditional mean.
    """
    weights = np.empty((len(clips), FRAMES, LATENT_SIZE, LATENT_SIZE), np.float32)
    cell = FRAME_SIZE // LATENT_SIZE
    for background in BACKGROUNDS:
        members = [i for i, a in enumerate(attributes[: len(clips)]) if a[3] == background]
        median = np.median(np.stack([clips[i, 7] for i in members[:101]]), 0)
        for i in members:
            subject = np.abs(clips[i] - median).max(-1) > 50
            cells = subject.reshape(FRAMES, LATENT_SIZE, cell, LATENT_SIZE, cell).mean((2, 4))
            weights[i] = 1 + 4 * np.minimum(1, 2 * cells)
    return weights


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--frames", type=int, default=128, help="frames in a batch, of all clips together")
    parser.add_argument("--short", type=float, default=0.4, help="part of the steps on short windows; 0 to go on training")
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--bf16", action="store_true", help="1.5 times the speed on a CPU with AMX or AVX-512 BF16, slower on one without")
    args = parser.parse_args()
    torch.manual_seed(0)
    tokenizer = CLIPTokenizer.from_pretrained(WORK / "tokenizer")
    text = averaged("text", "text_encoder", text_encoder(len(tokenizer)))
    attributes = json.loads((WORK / "attributes.json").read_text())
    latents = np.load(WORK / "latents.npy", mmap_mode="r")
    clips = np.load(WORK / "clips.npy", mmap_mode="r")[: len(latents)]
    weights = torch.from_numpy(subject_weights(clips, attributes))
    weights /= weights.mean()
    model = unet().eval()  # the temporal convolutions' dropout costs time and helps nothing here
    if args.bf16:
        model.set_attn_processor(AttnProcessor())  # torch's fused attention is slow in bf16 on the CPU
    precision = torch.autocast("cpu", torch.bfloat16, enabled=args.bf16)
    training = Training("unet", {"unet": model}, args.steps, rate=args.rate, muon=True)
    noise_levels = DDPMScheduler(prediction_type="v_prediction", clip_sample=False)
    rng = random.Random(training.step)
    start, first, losses = time.time(), training.step, []
    while training.running():
        length = window(training.step / args.steps, args.short, rng)
        batch = args.frames // length
        pick = sorted(rng.sample(range(len(latents)), batch))
        first_frame = rng.randrange(FRAMES - length + 1)
        clean = torch.from_numpy(latents[pick, :, first_frame : first_frame + length]).float()
        with torch.no_grad():
            states = text(encode(tokenizer, [caption(attributes[i], rng) for i in pick])).last_hidden_state
        t = timesteps(batch)
        noise = torch.randn_like(clean)
        noisy = noise_levels.add_noise(clean, noise, t)
        target = noise_levels.get_velocity(clean, noise, t)
        weight = weights[pick, None, first_frame : first_frame + length]
        with precision:
            predicted = model(noisy, t, encoder_hidden_states=states).sample
        loss = (weight * (predicted.float() - target) ** 2).mean()
        training.update(loss)
        losses.append(loss.item())
        if training.step % 50 == 0:
            rate = (training.step - first) / (time.time() - start)
            print(f"unet {training.step} loss {np.mean(losses[-50:]):.4f} {rate:.2f} steps/s", flush=True)
        if training.step % 100 == 0:
            with torch.no_grad():
                shuffled = states.roll(batch // 2, 0)
                wrong = (weight * (model(noisy, t, encoder_hidden_states=shuffled).sample - target) ** 2).mean()
            print(f"unet {training.step} right captions {loss.item():.4f}, shuffled {wrong.item():.4f}", flush=True)


if __name__ == "__main__":
    main()
