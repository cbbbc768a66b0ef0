"""Golden fixtures of crates/t2v-pipeline for Wan's clips that begin with a picture, from diffusers 0.42.1, transformers 5.23.0 and
torch 2.13.0.

    python scripts/make_t2v_pipeline_wan_pictures_fixtures.py

It needs the folders of make_t2v_pipeline_wan_fixtures.py. Its own, saved by `WanImageToVideoPipeline`: `wan_i2v` after Wan 2.1,
with an encoder of pictures, `wan_i2v_ends` after its model for the first picture and the last, `wan_i2v_b` with two transformers
after the large model of Wan 2.2. All weights are f16; the references are computed in f32 from the saved folders.

    wan_pictures_golden.safetensors   metadata `runs`, a list: the keys of `RUN`; `picture.<i>.<j>`, bytes; `run.<i>`, frames in 0..1
    clip_pictures.safetensors         metadata `configs`; pictures, and what `CLIPImageProcessorPil` makes of them
    bicubic.safetensors               pictures, and what Pillow makes of them
"""

import numpy as np
import torch
from diffusers import WanImageToVideoPipeline
from fixtures import randomize, write
from PIL import Image
from transformers import CLIPVisionConfig, CLIPVisionModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from wan_pipelines import FOLDER, VAE, generate, load, save

VISION = dict(
    hidden_size=12, intermediate_size=20, num_hidden_layers=3, num_attention_heads=3, image_size=28, patch_size=7, hidden_act="gelu"
)
TOKENS = (28 // 7) ** 2 + 1
PROCESSOR = dict(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
# Latents, those of the given frames, and a mask of four frames for each latent frame.
CHANNELS = dict(in_channels=4 + 4 + 4)
SEEN = CHANNELS | dict(image_dim=12, added_kv_proj_dim=24)

UNIPC, EULER = "UniPCMultistepScheduler", "FlowMatchEulerDiscreteScheduler"
RUN = dict(
    folder="wan_i2v",
    prompt="A red fox runs through the snow.",
    negative_prompt=None,
    seed=0,
    scheduler=UNIPC,
    num_inference_steps=4,
    guidance_scale=5.0,
    guidance_scale_2=None,
    width=32,
    height=16,
    num_frames=9,
    # Width and height of the first picture, and of the last.
    pictures=[[50, 37]],
)
RUNS = [
    dict(),
    dict(seed=1, pictures=[[32, 16]], scheduler=EULER, guidance_scale=1.0, num_frames=1),
    dict(seed=2, pictures=[[20, 70]], width=16, height=32, num_frames=5, negative_prompt="blurry"),
    dict(folder="wan_i2v_ends", seed=3, pictures=[[40, 30], [25, 44]]),
    dict(folder="wan_i2v_ends", seed=4, pictures=[[40, 30], [25, 44]], scheduler=EULER, num_frames=5, guidance_scale=1.0),
    dict(folder="wan_i2v_b", seed=5, num_inference_steps=6, scheduler=EULER),
    dict(folder="wan_i2v_b", seed=6, num_inference_steps=6, guidance_scale=3.0, guidance_scale_2=6.0, num_frames=5),
    dict(folder="wan_i2v_b", seed=7, pictures=[[33, 33], [48, 20]], num_inference_steps=5, scheduler=EULER, guidance_scale_2=1.5),
    dict(folder="wan_c", seed=8, width=32, height=32),
    dict(folder="wan_c", seed=9, width=32, height=64, num_frames=5, scheduler=EULER, guidance_scale=1.0),
    dict(folder="wan_c", seed=10, width=32, height=32, num_frames=1),
    dict(folder="wan_b", seed=11, pictures=[], num_inference_steps=6, num_frames=5, guidance_scale=4.0, guidance_scale_2=2.0),
]

PROCESSORS = [
    dict(),
    dict(PROCESSOR),
    PROCESSOR | dict(size={"height": 28, "width": 28}, do_center_crop=False),
    PROCESSOR | dict(resample=1),
    # Smaller than what is cut out of it.
    PROCESSOR | dict(size={"shortest_edge": 21}),
    PROCESSOR | dict(do_normalize=False),
    PROCESSOR | dict(do_resize=False),
    PROCESSOR | dict(do_rescale=False, image_mean=[100.0, 110.0, 120.0], image_std=[50.0, 60.0, 70.0]),
]
PICTURES = [(40, 35), (60, 41), (23, 77), (90, 33), (50, 64), (28, 28), (40, 31), (29, 64)]
RESIZED = [(20, 30, 10, 15), (31, 17, 64, 64), (7, 9, 7, 30), (50, 3, 20, 9), (16, 16, 16, 16), (40, 40, 13, 40), (3, 70, 8, 16), (64, 48, 28, 21)]


def picture(width: int, height: int, seed: int) -> Image.Image:
    """Smooth colours with some noise: neither resizing nor encoding is trivial."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    smooth = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC), dtype=np.int64)
    return Image.fromarray(np.clip(smooth + rng.integers(-30, 31, smooth.shape), 0, 255).astype(np.uint8))


def tensor_of(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(image).astype(np.uint8).copy()).float()


def folders() -> None:
    def encoder(seed: int) -> dict:
        network = randomize(CLIPVisionModel(CLIPVisionConfig(**VISION)), seed)
        return dict(image_encoder=network, image_processor=CLIPImageProcessorPil(**PROCESSOR))

    save("wan_i2v", WanImageToVideoPipeline, 530, VAE, 3.0, SEEN, **encoder(538))
    save("wan_i2v_ends", WanImageToVideoPipeline, 540, VAE, 3.0, SEEN | dict(pos_embed_seq_len=2 * TOKENS), **encoder(548))
    save("wan_i2v_b", WanImageToVideoPipeline, 550, VAE, 5.0, CHANNELS, second=True, boundary_ratio=0.9)


def golden() -> None:
    runs, tensors = [RUN | run for run in RUNS], {}
    for i, run in enumerate(runs):
        pictures = [picture(width, height, 100 * i + j) for j, (width, height) in enumerate(run["pictures"])]
        frames = generate(load(FOLDER / run["folder"], bool(pictures)), run, pictures)
        assert frames.shape == (run["num_frames"], run["height"], run["width"], 3), (run, frames.shape)
        clipped = float(((frames == 0) | (frames == 1)).float().mean())
        print(f"{i:2} {run['folder']} {run['scheduler']:32} std {frames.std():.3f} clipped {clipped:.3f}", flush=True)
        tensors[f"run.{i}"] = frames
        tensors |= {f"picture.{i}.{j}": tensor_of(image) for j, image in enumerate(pictures)}
    write(FOLDER / "wan_pictures_golden.safetensors", tensors, runs=runs)


def processed() -> None:
    tensors = {}
    for i, (config, (width, height)) in enumerate(zip(PROCESSORS, PICTURES, strict=True)):
        image = picture(width, height, 2000 + i)
        tensors[f"input.{i}"] = tensor_of(image)
        pixels = CLIPImageProcessorPil(**config)(images=image, return_tensors="pt").pixel_values
        tensors[f"output.{i}"] = pixels
    write(FOLDER / "clip_pictures.safetensors", tensors, configs=PROCESSORS)


def resized() -> None:
    tensors = {}
    for i, (width, height, to_width, to_height) in enumerate(RESIZED):
        image = picture(width, height, 3000 + i)
        tensors[f"input.{i}"] = tensor_of(image)
        tensors[f"output.{i}"] = tensor_of(image.resize((to_width, to_height), Image.Resampling.BICUBIC))
    write(FOLDER / "bicubic.safetensors", tensors)


def main() -> None:
    folders()
    golden()
    processed()
    resized()


if __name__ == "__main__":
    main()
