"""Writes the trained parts as a diffusers model folder in half precision.

    python export.py FOLDER
"""

import json
import shutil
import sys
from pathlib import Path

import torch
from diffusers import DDIMScheduler
from safetensors.torch import save_file

from common import WORK, averaged
from models import TOKENS, text_encoder, unet, vae

TOKENIZER_FILES = ["vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json"]
INDEX = {
    "_class_name": "TextToVideoSDPipeline",
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet3DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
# What t2v uses where a request is silent; diffusers does not read this file.
DEFAULTS = {
    "num_frames": 16,
    "fps": 8,
    "num_inference_steps": 12,
    "guidance_scale": 3.0,
    "scheduler": "DPMSolverMultistepScheduler",
}


def save_weights(module, path):
    tensors = {k: v.detach().half().contiguous() for k, v in module.state_dict().items()}
    save_file(tensors, path, metadata={"format": "pt"})


def main():
    folder = Path(sys.argv[1])
    for part in ["scheduler", "text_encoder", "tokenizer", "unet", "vae"]:
        (folder / part).mkdir(parents=True, exist_ok=True)
    for name in TOKENIZER_FILES:
        shutil.copy(WORK / "tokenizer" / name, folder / "tokenizer" / name)
    vocabulary = len(json.loads((folder / "tokenizer" / "vocab.json").read_text()))
    text = averaged("text", "text_encoder", text_encoder(vocabulary))
    denoiser = averaged("unet", "unet", unet())
    autoencoder = vae()
    autoencoder.load_state_dict(torch.load(WORK / "vae_normalised.pt"))
    save_weights(text, folder / "text_encoder" / "model.safetensors")
    save_weights(denoiser, folder / "unet" / "diffusion_pytorch_model.safetensors")
    save_weights(autoencoder, folder / "vae" / "diffusion_pytorch_model.safetensors")
    text.config.architectures = ["CLIPTextModel"]
    text.config.to_json_file(folder / "text_encoder" / "config.json")
    denoiser.save_config(folder / "unet")
    autoencoder.save_config(folder / "vae")
    DDIMScheduler(prediction_type="v_prediction", clip_sample=False, timestep_spacing="trailing").save_config(
        folder / "scheduler"
    )
    (folder / "model_index.json").write_text(json.dumps(INDEX, indent=2) + "\n")
    (folder / "t2v.json").write_text(json.dumps(DEFAULTS, indent=2) + "\n")
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file() and "training" not in f.parts)
    print(f"{size / 1e6:.2f} MB, {TOKENS} tokens")


if __name__ == "__main__":
    main()
