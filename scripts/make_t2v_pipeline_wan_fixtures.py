"""Golden fixtures of crates/t2v-pipeline for Wan, from diffusers 0.42.1, transformers 5.23.0 and torch 2.13.0.

    python scripts/make_t2v_pipeline_wan_fixtures.py

Folders, saved by `WanPipeline`: `wan_a` after Wan 2.1, `wan_b` with two transformers after the large model of Wan 2.2, `wan_c`
with the other autoencoder and timesteps of tokens after the small one of Wan 2.2. All weights are f16; the references are
computed in f32 from the saved folders. The tokenizer is that of make_t2v_text_encoder_wan_fixtures.py.

`wan_golden.safetensors` has the metadata `runs`, a list: the keys of `RUN`. Tensors: `run.<i>`, the frames in 0..1.
"""

from diffusers import WanPipeline
from fixtures import write
from wan_pipelines import FOLDER, RESIDUAL, VAE, generate, load, save

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


def main():
    save("wan_a", WanPipeline, 500, VAE, 3.0)
    save("wan_b", WanPipeline, 510, VAE, 5.0, second=True, boundary_ratio=0.875)
    save("wan_c", WanPipeline, 520, RESIDUAL, 5.0, expand_timesteps=True)
    runs, tensors = [RUN | run for run in RUNS], {}
    for i, run in enumerate(runs):
        frames = generate(load(FOLDER / run["folder"], False), run, [])
        assert frames.shape == (run["num_frames"], run["height"], run["width"], 3), (run, frames.shape)
        clipped = float(((frames == 0) | (frames == 1)).float().mean())
        print(f"{i:2} {run['folder']} {run['scheduler']:32} std {frames.std():.3f} clipped {clipped:.3f}", flush=True)
        tensors[f"run.{i}"] = frames
    write(FOLDER / "wan_golden.safetensors", tensors, runs=runs)


if __name__ == "__main__":
    main()
