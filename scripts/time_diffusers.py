"""Times diffusers on a checkpoint: load, one guided generation, peak memory.

    python scripts/time_diffusers.py FOLDER [--motion-adapter FOLDER] [--steps 1] [--frames 16] [--size 256]

With a motion adapter FOLDER is a Stable Diffusion that it makes move (AnimateDiff), without one a ModelScope.
Prints the numbers that `examples/text_to_video.rs` prints, to be run in turn with it.
"""

import argparse
import resource
import time

import torch
from diffusers import AnimateDiffPipeline, DDIMScheduler, MotionAdapter, TextToVideoSDPipeline


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--motion-adapter")
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--size", type=int, default=256)
    args = parser.parse_args()
    torch.set_num_threads(2)
    start = time.time()
    options = dict(torch_dtype=torch.float32, low_cpu_mem_usage=True)
    if args.motion_adapter is None:
        pipe = TextToVideoSDPipeline.from_pretrained(args.folder, **options)
    else:
        adapter = MotionAdapter.from_pretrained(args.motion_adapter, **options)
        pipe = AnimateDiffPipeline.from_pretrained(args.folder, motion_adapter=adapter, **options)
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    loaded = time.time()
    latents = pipe(
        "a red ball",
        num_inference_steps=args.steps,
        num_frames=args.frames,
        height=args.size,
        width=args.size,
        generator=torch.Generator().manual_seed(0),
        output_type="latent",
    ).frames
    denoised = time.time()
    with torch.no_grad():
        pipe.decode_latents(latents)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"loading {loaded - start:.2f} s, text encoding and denoising {denoised - loaded:.2f} s, ", end="")
    print(f"decoding {time.time() - denoised:.2f} s, peak memory {peak / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
