"""Carries a trained denoiser over to latents of another autoencoder: its first and last convolution take in the linear maps
between the old latents and the new ones that fit best. What is between them stays as it was.

    python adapt.py OLD_VAE_FOLDER      after encode.py; changes WORK/unet.pt
"""

import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from common import WORK
from encode import frames_tensor
from models import LATENT_CHANNELS, vae


# Kept small where inputs hardly vary, since the denoiser's errors vary there all the same.
RIDGE = 0.05


def fitted(inputs, outputs):
    """The matrix that maps rows of `inputs` to `outputs` with the least squared error, and the share it explains."""
    covariance = inputs.T @ inputs / len(inputs) + RIDGE * torch.eye(inputs.shape[1])
    matrix = torch.linalg.solve(covariance, inputs.T @ outputs / len(inputs)).T
    return matrix, 1 - (outputs - inputs @ matrix.T).square().mean() / outputs.square().mean()


@torch.no_grad()
def main():
    old = vae().eval()
    old.load_state_dict({k: v.float() for k, v in load_file(Path(sys.argv[1]) / "diffusion_pytorch_model.safetensors").items()})
    clips = np.load(WORK / "clips.npy", mmap_mode="r")[:200, ::5]
    before = [old.encode(frames_tensor(clip)).latent_dist.mean for clip in clips]
    after = torch.from_numpy(np.load(WORK / "latents.npy", mmap_mode="r")[:200, :, ::5]).float().transpose(1, 2)
    rows = [x.transpose(-3, -1).reshape(-1, LATENT_CHANNELS) for x in (torch.stack(before), after)]
    back, explained_back = fitted(rows[1], rows[0])
    forth, explained_forth = fitted(rows[0], rows[1])
    print(f"explained: {explained_back:.3f} of the old latents, {explained_forth:.3f} of the new ones")
    state = torch.load(WORK / "unet.pt")
    for weights in (state["modules"]["unet"], state["averages"]["unet"]):
        weights["conv_in.weight"] = torch.einsum("oiyx,in->onyx", weights["conv_in.weight"], back)
        weights["conv_out.weight"] = torch.einsum("no,oiyx->niyx", forth, weights["conv_out.weight"])
        weights["conv_out.bias"] = forth @ weights["conv_out.bias"]
    state["optimizer"], state["step"] = None, 0
    torch.save(state, WORK / "unet.pt")


if __name__ == "__main__":
    main()
