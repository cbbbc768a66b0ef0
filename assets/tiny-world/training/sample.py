"""Generates clips with diffusers from an exported folder and saves a contact sheet, one row a prompt.

    python sample.py FOLDER SHEET.png [--steps 25] [--guidance 5]
"""

import argparse

import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler, TextToVideoSDPipeline

from world import contact_sheet

PROMPTS = [
    "a red ball bouncing in a blue sky",
    "a yellow star falling at night",
    "a green square moving right on a black background",
    "a purple heart growing in the snow",
    "an orange triangle rising over the sea",
    "a white ring spinning in the desert at sunset",
]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("sheet")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--guidance", type=float, default=5.0)
    args = parser.parse_args()
    pipe = TextToVideoSDPipeline.from_pretrained(args.folder, torch_dtype=torch.float32)
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    clips = []
    for i, prompt in enumerate(PROMPTS):
        generator = torch.Generator().manual_seed(i)
        clip = pipe(
            prompt, num_inference_steps=args.steps, guidance_scale=args.guidance, num_frames=16, generator=generator
        ).frames[0]
        clips.append((clip * 255).round().astype(np.uint8))
    contact_sheet(clips, args.sheet)


if __name__ == "__main__":
    main()
