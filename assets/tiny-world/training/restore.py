"""Rebuilds a training state from an exported folder, so that training goes on where the shipped checkpoint is.

    python restore.py FOLDER        then: draw.py, encode.py, train_unet.py --steps N
                                    (train_vae.py --steps N before encode.py to go on with the VAE too)

The optimiser starts anew; the exported averages become both the weights and their averages.
"""

import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from common import WORK


def single(path):
    return {k: v.float() for k, v in load_file(path).items()}


def main():
    folder = Path(sys.argv[1])
    WORK.mkdir(parents=True, exist_ok=True)
    shutil.copytree(folder / "tokenizer", WORK / "tokenizer", dirs_exist_ok=True)
    text = single(folder / "text_encoder" / "model.safetensors")
    denoiser = single(folder / "unet" / "diffusion_pytorch_model.safetensors")
    autoencoder = single(folder / "vae" / "diffusion_pytorch_model.safetensors")
    parts = [("text", "text_encoder", text), ("unet", "unet", denoiser), ("vae", "vae", autoencoder)]
    for name, key, weights in parts:
        state = {"step": 0, "optimizer": None, "modules": {key: weights}, "averages": {key: weights}}
        torch.save(state, WORK / f"{name}.pt")
    torch.save(autoencoder, WORK / "vae_normalised.pt")


if __name__ == "__main__":
    main()
