"""Golden fixtures of crates/t2v-pipeline for Wan, from diffusers 0.42.1, transformers 5.23.0 and torch 2.13.0.

    python scripts/make_t2v_pipeline_wan_fixtures.py

Folders, saved by `WanPipeline`: `wan_a` after Wan 2.1, `wan_b` with two transformers after the large model of Wan 2.2, `wan_c`
with the other autoencoder and timesteps of tokens after the small one of Wan 2.2. All weights are f16; the references are
computed in f32 from the saved folders. The tokenizer is that of make_t2v_text_encoder_wan_fixtures.py.

`wan_golden.safetensors` has the metadata `runs`, a list: the keys of `RUN`. Tensors: `run.<i>`, the frames in 0..1.
"""

import json
import shutil

import diffusers
import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline, WanTransformer3DModel
from diffusers.models.autoencoders.autoencoder_kl_wan import WanRMS_norm
from fixtures import folder_of, generator, randomize, write
from transformers import T5Tokenizer, UMT5Config, UMT5EncoderModel

diffusers.utils.logging.disable_progress_bar()
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

UNIPC, EULER, DPM = "UniPCMultistepScheduler", "FlowMatchEulerDiscreteScheduler", "DPMSolverMultistepScheduler"
RUN = dict(
    folder="wan_a",
    prompt="A red fox runs through the snow.",
    negative_prompt=None,
    seed=0,
    scheduler=UNIPC,
    scheduler_overrides={},
    num_inference_steps=4,
    guidance_scale=5.0,
    width=32,
    height=16,
    num_frames=5,
)
RUNS = [
    dict(),
    dict(negative_prompt="low quality, blurry", seed=42, num_frames=9, height=32, width=16),
    dict(scheduler=EULER, scheduler_overrides={"shift": 3.0}, seed=7, num_inference_steps=5),
    dict(guidance_scale=1.0, num_frames=1, seed=4294967295, prompt="tom &amp;amp; jerry\n  at   &quot;home&quot;"),
    dict(scheduler=DPM, seed=3, prompt="ﬁne Ｗｏｒｄｓ", num_inference_steps=6),
    dict(prompt="a very long prompt " * 60, seed=5, num_inference_steps=3),
    dict(folder="wan_b", seed=11, num_inference_steps=6, negative_prompt="ugly"),
    dict(folder="wan_b", seed=12, scheduler=EULER, num_inference_steps=5, guidance_scale=3.0),
    dict(folder="wan_c", seed=21, height=32, width=32, num_frames=9),
    dict(folder="wan_c", seed=22, height=64, width=32, num_frames=1, scheduler=EULER, guidance_scale=1.0, negative_prompt="unused"),
]


@torch.no_grad()
def random_transformer(seed: int) -> WanTransformer3DModel:
    model = randomize(WanTransformer3DModel(**TRANSFORMER), seed, 0.8)
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
def random_text_encoder(seed: int) -> UMT5EncoderModel:
    model = randomize(UMT5EncoderModel(UMT5Config(**TEXT)), seed)
    rng = generator(seed + 5000)
    for key, parameter in model.named_parameters():
        if "layer_norm" in key:
            parameter.copy_(1 + 0.6 * torch.rand(parameter.shape, generator=rng) - 0.3)
    return model


def save(name: str, seed: int, vae: dict, flow_shift: float, second: bool = False, **settings) -> None:
    folder = FOLDER / name
    shutil.rmtree(folder, ignore_errors=True)
    pipe = WanPipeline(
        tokenizer=T5Tokenizer.from_pretrained(TOKENIZER),
        text_encoder=random_text_encoder(seed),
        vae=random_vae(vae, seed + 1),
        scheduler=UniPCMultistepScheduler(flow_shift=flow_shift, **FLOW),
        transformer=random_transformer(seed + 2),
        transformer_2=random_transformer(seed + 3) if second else None,
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


def frames_of(run: dict) -> torch.Tensor:
    pipe = WanPipeline.from_pretrained(FOLDER / run["folder"], torch_dtype=torch.float32)
    pipe.scheduler = getattr(diffusers, run["scheduler"]).from_config(pipe.scheduler.config, **run["scheduler_overrides"])
    keys = "prompt", "negative_prompt", "num_inference_steps", "guidance_scale", "width", "height", "num_frames"
    made = pipe(**{key: run[key] for key in keys}, generator=generator(run["seed"]), output_type="np")
    return torch.from_numpy(made.frames[0])


def main():
    save("wan_a", 500, VAE, 3.0)
    save("wan_b", 510, VAE, 5.0, second=True, boundary_ratio=0.875)
    save("wan_c", 520, RESIDUAL, 5.0, expand_timesteps=True)
    runs, tensors = [RUN | run for run in RUNS], {}
    for i, run in enumerate(runs):
        frames = frames_of(run)
        assert frames.shape == (run["num_frames"], run["height"], run["width"], 3), (run, frames.shape)
        clipped = float(((frames == 0) | (frames == 1)).float().mean())
        print(f"{i:2} {run['folder']} {run['scheduler']:32} std {frames.std():.3f} clipped {clipped:.3f}", flush=True)
        tensors[f"run.{i}"] = frames
    write(FOLDER / "wan_golden.safetensors", tensors, runs=runs)


main()
