"""Encodes the clips with the trained VAE, normalised to zero mean and unit variance in each latent channel.

The decoder was trained on latents that are normalised so. For the encoder the normalisation is folded into its last 1x1
convolution, so that the exported VAE needs no scaling factor.
Writes `WORK/vae_normalised.pt` and `WORK/latents.npy`, float16 `[clips, channels, frames, h, w]`.

    python encode.py [--clips 5000]
"""

import argparse

import numpy as np
import torch

from common import WORK, averaged
from models import LATENT_CHANNELS, LATENT_SIZE, vae
from world import FRAMES

# Training the autoencoder gives its encoder no variance of its own; this one is below what can be seen.
LOG_VARIANCE = -12.0


def frames_tensor(clips):
    return torch.from_numpy(np.ascontiguousarray(clips)).permute(0, 3, 1, 2).float() / 127.5 - 1


def fold_normalisation(model, mean, std):
    """quant_conv gives (mean, log variance). The variance becomes a constant."""
    c, quant = LATENT_CHANNELS, model.quant_conv
    quant.weight.data[:c] /= std[:, None, None, None]
    quant.bias.data[:c] = (quant.bias.data[:c] - mean) / std
    quant.weight.data[c:] = 0
    quant.bias.data[c:] = LOG_VARIANCE


@torch.no_grad()
def normalise(model, clips):
    sample = np.concatenate([clips[i, ::5] for i in range(0, len(clips), len(clips) // 200)])
    latents = torch.cat([model.encode(frames_tensor(part)).latent_dist.mean for part in np.array_split(sample, 16)])
    mean, std = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    print("latent mean", mean.tolist(), "std", std.tolist(), flush=True)
    x = frames_tensor(sample[:32])
    fold_normalisation(model, mean, std)
    decoded = model.decode(model.encode(x).latent_dist.mean).sample
    print("psnr", -10 * torch.log10(((decoded - x) ** 2).mean() / 4).item(), flush=True)


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--clips", type=int, default=None)
    args = parser.parse_args()
    normalised = WORK / "vae_normalised.pt"
    model = vae().to(memory_format=torch.channels_last).eval()
    if normalised.exists():
        model.load_state_dict(torch.load(normalised))
    clips = np.load(WORK / "clips.npy", mmap_mode="r")[: args.clips]
    out = np.lib.format.open_memmap(
        WORK / "latents.npy", "w+", np.float16, (len(clips), LATENT_CHANNELS, FRAMES, LATENT_SIZE, LATENT_SIZE)
    )
    if not normalised.exists():
        model = averaged("vae", "vae", model)
        normalise(model, clips)
        torch.save(model.state_dict(), normalised)
    for i in range(0, len(clips), 2):
        z = model.encode(frames_tensor(clips[i : i + 2].reshape(-1, *clips.shape[2:]))).latent_dist.mean
        out[i : i + 2] = z.reshape(-1, FRAMES, *z.shape[1:]).transpose(1, 2).numpy()
    out.flush()
    print("encoded", flush=True)


if __name__ == "__main__":
    main()
