"""Wan as diffusers 0.42.1 runs it: small random folders, and the frames of a request.

Shared by the make_t2v_pipeline_wan*_fixtures.py scripts and compare_wan_with_diffusers.py.
"""

import json
import shutil
from pathlib import Path

import diffusers
import torch
import transformers
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanImageToVideoPipeline, WanPipeline, WanTransformer3DModel
from diffusers.models.autoencoders.autoencoder_kl_wan import WanRMS_norm
from diffusers.pipelines.wan import pipeline_wan, pipeline_wan_i2v
from fixtures import folder_of, generator, randomize
from PIL import Image
from transformers import T5Tokenizer, UMT5Config, UMT5EncoderModel

# Prompts are cleaned as without ftfy; the pipeline of pictures asks for it even where it is not installed.
pipeline_wan.is_ftfy_available = lambda: False
pipeline_wan_i2v.prompt_clean = pipeline_wan.prompt_clean

diffusers.utils.logging.disable_progress_bar()
transformers.utils.logging.disable_progress_bar()
FOLDER = folder_of("t2v-pipeline")
TOKENIZER = folder_of("t2v-text-encoder") / "t5_json"

TRANSFORMER = dict(
    num_attention_heads=2,
    attention_head_dim=12,
    in_channels=4,
    out_channels=4,
    text_dim=12,
    freq_dim=16,
    ffn_dim=32,
    num_layers=2,
    rope_max_seq_len=64,
)
VAE = dict(
    base_dim=4,
    z_dim=4,
    dim_mult=[1, 1, 2, 2],
    num_res_blocks=1,
    latents_mean=[0.3, -0.2, 0.1, -0.4],
    latents_std=[1.2, 0.8, 1.5, 0.9],
)
RESIDUAL = VAE | dict(
    is_residual=True, in_channels=12, out_channels=12, patch_size=2, scale_factor_spatial=16, decoder_base_dim=4
)
TEXT = dict(vocab_size=190, d_model=12, d_kv=4, d_ff=24, num_layers=2, num_heads=3)
FLOW = dict(prediction_type="flow_prediction", use_flow_sigmas=True)


@torch.no_grad()
def random_transformer(seed: int, **changes) -> WanTransformer3DModel:
    model = randomize(WanTransformer3DModel(**(TRANSFORMER | changes)), seed, 0.8)
    rng = generator(seed + 5000)
    for key, parameter in model.named_parameters():
        uniform = 2 * torch.rand(parameter.shape, generator=rng) - 1
        if ".norm" in key and key.endswith(".weight"):
            parameter.copy_(1 + 0.3 * uniform)
        elif key.endswith("scale_shift_table"):
            parameter.copy_(0.4 * uniform)
    return model


@torch.no_grad()
def random_vae(parameters: dict, seed: int) -> AutoencoderKLWan:
    model = randomize(AutoencoderKLWan(**parameters), seed, 0.7)
    rng = generator(seed + 5000)
    for owner in model.modules():
        if isinstance(owner, WanRMS_norm):
            owner.gamma.copy_(1 + 0.6 * torch.rand(owner.gamma.shape, generator=rng) - 0.3)
    return model


@torch.no_grad()
def random_text_encoder(seed: int, **changes) -> UMT5EncoderModel:
    model = randomize(UMT5EncoderModel(UMT5Config(**(TEXT | changes))), seed)
    rng = generator(seed + 5000)
    for key, parameter in model.named_parameters():
        if "layer_norm" in key:
            parameter.copy_(1 + 0.6 * torch.rand(parameter.shape, generator=rng) - 0.3)
    return model


def save(name: str, pipeline: type, seed: int, vae: dict, flow_shift: float, transformer=None, second: bool = False, **settings) -> None:
    """Saves a pipeline; `transformer` changes the sizes of the transformers, `settings` are other components and settings."""
    folder, changes = FOLDER / name, transformer or {}
    shutil.rmtree(folder, ignore_errors=True)
    pipe = pipeline(
        tokenizer=T5Tokenizer.from_pretrained(TOKENIZER),
        text_encoder=random_text_encoder(seed),
        vae=random_vae(vae, seed + 1),
        scheduler=UniPCMultistepScheduler(flow_shift=flow_shift, **FLOW),
        transformer=random_transformer(seed + 2, **changes),
        transformer_2=random_transformer(seed + 3, **changes) if second else None,
        **settings,
    )
    pipe.to(torch.float16).save_pretrained(folder)
    (folder / "tokenizer" / "spiece.model").unlink(missing_ok=True)
    for path in folder.rglob("*.json"):
        text = json.loads(path.read_text(encoding="utf-8"))
        if text.pop("_name_or_path", None) is not None:
            path.write_text(json.dumps(text, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    for path in folder.rglob("*.safetensors"):
        path.chmod(0o644)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{name}: {size} bytes")


def load(folder: Path, with_picture: bool):
    """A folder's pipeline, for clips that begin with a picture or for those of text alone."""
    pipeline = WanImageToVideoPipeline if with_picture else WanPipeline
    # A folder of clips from text has no encoder of pictures.
    known = json.loads((folder / "model_index.json").read_text())
    absent = {name: None for name in ("image_encoder", "image_processor") if with_picture and name not in known}
    pipe = pipeline.from_pretrained(folder, dtype=torch.float32, **absent)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def generate(pipe, run: dict, pictures: list[Image.Image]) -> torch.Tensor:
    """The frames of a run, [frames, height, width, 3] in 0..1; `pictures` are the first and perhaps the last."""
    overrides = run.get("scheduler_overrides", {})
    pipe.scheduler = getattr(diffusers, run["scheduler"]).from_config(pipe.scheduler.config, **overrides)
    keys = "prompt", "negative_prompt", "num_inference_steps", "guidance_scale", "guidance_scale_2", "width", "height", "num_frames"
    given = {key: run[key] for key in keys if key in run} | dict(zip(("image", "last_image"), pictures))
    made = pipe(**given, generator=generator(run["seed"]), output_type="np")
    return torch.from_numpy(made.frames[0])
