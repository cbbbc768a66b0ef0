"""The stages of a checkpoint of ModelScope or Stable Diffusion (with a motion adapter) in diffusers: what `benches/src/stages.rs` runs here. For stages.py and growth.py beside
this file, and for scripts/gpu_kit/."""

import json
import time
from pathlib import Path

import torch
from diffusers import AutoencoderKL, MotionAdapter, UNet2DConditionModel, UNet3DConditionModel, UNetMotionModel
from transformers import CLIPTextModel

MODELS = {"text_encoder": CLIPTextModel, "unet": UNet3DConditionModel, "vae": AutoencoderKL}
UNETS = {unet.__name__: unet for unet in (UNet2DConditionModel, UNet3DConditionModel)}
DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


class DiffusersStages:
    """Networks of a model folder, read when they are first run."""

    def __init__(self, folder, device="cpu", dtype="f32", motion_adapter=None):
        self.motion_adapter = motion_adapter
        self.folder, self.device, self.dtype = Path(folder), torch.device(device), DTYPES[dtype]
        self.models, self.compiled = {}, {}

    def config(self, name):
        return json.loads((self.folder / name / "config.json").read_text())

    def model(self, name):
        if name not in self.models:
            kind = UNETS[self.config(name)["_class_name"]] if name == "unet" else MODELS[name]
            model = kind.from_pretrained(self.folder / name, torch_dtype=self.dtype)
            if name == "unet" and self.motion_adapter:
                adapter = MotionAdapter.from_pretrained(self.motion_adapter, torch_dtype=self.dtype)
                model = UNetMotionModel.from_unet2d(model, adapter)
            self.models[name] = model.to(self.device).eval().requires_grad_(False)
        return self.models[name]

    def call(self, name, compiled):
        """What runs a network."""
        model = self.model(name)
        whole = model.decode if name == "vae" else model
        if not compiled:
            return whole
        if name not in self.compiled:
            self.compiled[name] = torch.compile(whole, dynamic=False)  # each size its own code: the fastest
        return self.compiled[name]

    def forget_compiled(self):
        """To be called when a setting of torch changes, by which compiled code may differ."""
        self.compiled.clear()
        torch.compiler.reset()

    def synchronize(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def noise(self, *shape):
        return torch.randn(shape, device=self.device, dtype=self.dtype)

    def inputs(self, stage):
        """The name of the stage's network, and what it is given."""
        kind, *numbers = stage.split()
        text, unet, vae = (self.config(name) for name in MODELS)
        if kind == "text":
            tokens = text["max_position_embeddings"]
            ids = (300 + 7 * torch.arange(2 * tokens)) % text["vocab_size"]
            return "text_encoder", [ids.view(2, tokens).to(self.device)]
        clips, frames, height, width = map(int, numbers if kind == "clips" else [2, *numbers])
        factor = 2 ** (len(vae["block_out_channels"]) - 1)
        height, width = height // factor, width // factor
        if kind == "decode":  # all frames at once, as TextToVideoSDPipeline does
            return "vae", [self.noise(frames, vae["latent_channels"], height, width)]
        embeddings = self.noise(clips, text["max_position_embeddings"], unet["cross_attention_dim"])
        latents = self.noise(clips, unet["in_channels"], frames, height, width)
        if unet["_class_name"] == "UNet2DConditionModel":
            # Each frame with its text, as AnimateDiffPipeline gives it.
            embeddings = embeddings.repeat_interleave(frames, dim=0)
            if not self.motion_adapter:
                latents = latents.transpose(1, 2).flatten(0, 1)
        return "unet", [latents, 500, embeddings]

    @torch.no_grad()
    def run(self, stage, compiled=False):
        """Seconds until the stage's result is there."""
        name, inputs = self.inputs(stage)
        run = self.call(name, compiled)
        self.synchronize()
        start = time.perf_counter()
        result = run(*inputs)
        self.synchronize()
        seconds = time.perf_counter() - start
        if not result[0].isfinite().all():
            raise FloatingPointError("the result has values that are not finite")
        return seconds
