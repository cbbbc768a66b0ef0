"""Stable Diffusion and AnimateDiff as diffusers 0.42.1 runs them: small random folders, and the reference of a request.

A request is a dictionary of REQUEST's keys; `generate` gives its frames. Shared by make_t2v_pipeline_sd_fixtures.py and
compare_sd_with_diffusers.py.
"""

from pathlib import Path

import diffusers
import torch
import transformers
from diffusers import (
    AnimateDiffPipeline,
    AnimateDiffVideoToVideoPipeline,
    MotionAdapter,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
)
from fixtures import generator
from PIL import Image

diffusers.utils.logging.disable_progress_bar()
transformers.utils.logging.disable_progress_bar()

VIDEO = {"text_to_video": AnimateDiffPipeline, "video_to_video": AnimateDiffVideoToVideoPipeline}
IMAGE = {
    "text_to_image": StableDiffusionPipeline,
    "image_to_image": StableDiffusionImg2ImgPipeline,
    "inpaint": StableDiffusionInpaintPipeline,
}
REQUEST = dict(
    task="text_to_video",
    prompt="A panda is eating bamboo on a rock.",
    negative_prompt=None,
    seed=0,
    scheduler="DDIMScheduler",
    scheduler_overrides={},
    num_inference_steps=4,
    guidance_scale=7.5,
    guidance_rescale=0.0,
    width=24,
    height=16,
    num_frames=4,
    clip_skip=None,
    strength=None,
    init_size=None,  # [height, width] of the pictures to start from, where it isn't that of the result
    free_init=None,  # the arguments of enable_free_init
    free_noise=None,  # the arguments of enable_free_noise
)


def init_pictures(run: dict) -> torch.Tensor | None:
    """What a run starts from: bytes [frames, height, width, 3]."""
    if run["strength"] is None:
        return None
    frames = run["num_frames"] if run["task"] in VIDEO else 1
    size = run["init_size"] or (run["height"], run["width"])
    return torch.randint(256, (frames, *size, 3), generator=generator(1000 + run["seed"]), dtype=torch.uint8)


def mask(run: dict) -> torch.Tensor | None:
    """What an inpainting run paints anew: bytes [height, width], grey levels in patches of 4 x 4."""
    if run["task"] != "inpaint":
        return None
    height, width = run["init_size"] or (run["height"], run["width"])
    coarse = torch.randint(256, (-(-height // 4), -(-width // 4)), generator=generator(2000 + run["seed"]), dtype=torch.uint8)
    return coarse.repeat_interleave(4, 0).repeat_interleave(4, 1)[:height, :width].contiguous()


def load(folder: Path, task: str, adapter: Path | None = None, dtype=torch.float32):
    """A pipeline of a folder for a task; `adapter` is the motion adapter's folder where the pipeline's has none."""
    parts = {} if adapter is None else {"motion_adapter": MotionAdapter.from_pretrained(adapter, dtype=dtype)}
    if task in IMAGE:
        parts["safety_checker"] = None
    pipe = (VIDEO | IMAGE)[task].from_pretrained(folder, dtype=dtype, **parts)
    pipe.set_progress_bar_config(disable=True)
    # The pipelines ask for text_encoder.text_model when clip_skip is given; transformers 5 has put its layers
    # into the CLIPTextModel itself.
    vars(pipe.text_encoder)["text_model"] = pipe.text_encoder
    assert all(p.dtype == dtype for m in (pipe.unet, pipe.vae, pipe.text_encoder) for p in m.parameters())
    return pipe


def generate(pipe, run: dict) -> torch.Tensor:
    """The frames of a run, [frames, height, width, 3] in 0..1; one frame where the task is a still picture."""
    pipe.scheduler = getattr(diffusers, run["scheduler"]).from_config(pipe.scheduler.config, **run["scheduler_overrides"])
    keys = ("prompt", "negative_prompt", "num_inference_steps", "guidance_scale", "clip_skip")
    request = {key: run[key] for key in keys}
    if run["task"] != "image_to_image":
        request |= {"width": run["width"], "height": run["height"]}
    if run["task"] == "text_to_video":
        request["num_frames"] = run["num_frames"]
    if run["task"] == "text_to_image":
        request["guidance_rescale"] = run["guidance_rescale"]
    start = init_pictures(run)
    if start is not None:
        pictures = [Image.fromarray(picture.numpy()) for picture in start]
        request |= {"strength": run["strength"]}
        request |= {"video": pictures} if run["task"] in VIDEO else {"image": pictures[0]}
    if run["task"] == "inpaint":
        request["mask_image"] = Image.fromarray(mask(run).numpy())
    if run["free_init"] is not None:
        pipe.enable_free_init(**run["free_init"])
    if run["free_noise"] is not None:
        pipe.enable_free_noise(**run["free_noise"])
    made = pipe(**request, generator=generator(run["seed"]), output_type="np")
    return torch.from_numpy(made.images if run["task"] in IMAGE else made.frames[0])
