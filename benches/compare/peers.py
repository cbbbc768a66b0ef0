"""Times a guided step of a U-Net here, in diffusers, in OpenVINO and in stable-diffusion.cpp, in turn, and prints a table of medians.

    .venv/bin/python scripts/make_random_sd15.py /tmp/sd15
    .venv/bin/python scripts/single_file_of.py /tmp/sd15/sd15 /tmp/sd15.safetensors
    .venv/bin/pip install openvino cyllama
    cargo build --release -p t2v-benches --example stages
    .venv/bin/python benches/compare/peers.py /tmp/sd15/sd15 --single-file /tmp/sd15.safetensors --stages "step 1 512 512" "step 1 256 256"
    .venv/bin/python benches/compare/peers.py /tmp/ms --stages "step 16 256 256"

All compute in f32, OpenVINO since its hint says so. t2v and stable-diffusion.cpp keep the folder's f16 weights and widen them as they go,
the others hold f32. stable-diffusion.cpp knows Stable Diffusion alone, and computes the two halves of a guided step one after the other,
the others in one call; cyllama ships it with the vector instructions that its build chose. The first round doesn't count.
"""

import argparse
import contextlib
import gc
import os
import statistics
import sys
import time
from pathlib import Path

import vectors  # noqa: F401 (before torch)
import torch
from diffusers_stages import DiffusersStages
from stages import BINARY, Rust


class OpenVino:
    """A U-Net for one shape, converted from PyTorch's."""

    def __init__(self, torch_stages, stage, threads):
        import openvino

        name, (latents, timestep, text) = torch_stages.inputs(stage)
        unet, self.inputs = torch_stages.model(name), (latents, torch.tensor(timestep), text)

        class Step(torch.nn.Module):
            def forward(self, latents, timestep, text):
                return unet(latents, timestep, text, return_dict=False)[0]

        with torch.no_grad():
            model = openvino.convert_model(Step().eval(), example_input=self.inputs, input=[tuple(x.shape) for x in self.inputs])
        settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        self.model = openvino.Core().compile_model(model, "CPU", settings)
        found = self.model.get_property("INFERENCE_PRECISION_HINT").to_string()
        if found not in ("f32", "float32"):
            raise SystemExit(f"OpenVINO computes in {found}")

    def run(self, _):
        arrays = [x.numpy() for x in self.inputs]
        start = time.perf_counter()
        self.model(arrays)
        return time.perf_counter() - start


@contextlib.contextmanager
def silence():
    """Keeps what native code prints out of the table."""
    sys.stdout.flush()
    kept, null = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(null)


class StableDiffusionCpp:
    """A run of two steps, of which the second counts."""

    def __init__(self, file, threads):
        from cyllama import sd

        settings = sd.SDContextParams(model_path=str(file))
        settings.n_threads = threads
        with silence():
            self.sd, self.context = sd, sd.SDContext(settings)

    def run(self, stage):
        height, width = map(int, stage.split()[2:])
        seconds = []
        self.sd.set_progress_callback(lambda step, steps, elapsed: seconds.append(elapsed) if (step, steps) == (2, 2) else None)
        with silence():
            self.context.generate("a red ball", width=width, height=height, sample_steps=2, cfg_scale=7.5, seed=0)
        if not seconds:
            raise SystemExit("stable-diffusion.cpp told of no second step")
        return seconds[0]


def is_of_pictures(torch_stages):
    return torch_stages.config("unet")["_class_name"] == "UNet2DConditionModel"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--single-file", type=Path, help="the same weights for stable-diffusion.cpp, of Stable Diffusion")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--stages", nargs="+", default=["step 1 512 512"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--binary", type=Path, default=BINARY)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch_stages = DiffusersStages(args.folder)
    print("| stage | | time | t2v against it | of each pair |\n| --- | --- | --- | --- | --- |")
    rust = Rust(args.folder, binary=args.binary)
    cpp = StableDiffusionCpp(args.single_file, args.threads) if args.single_file and is_of_pictures(torch_stages) else None
    for stage in args.stages:
        peers = {"t2v": rust, "diffusers": torch_stages, "OpenVINO": OpenVino(torch_stages, stage, args.threads), "stable-diffusion.cpp": cpp}
        peers = {name: peer for name, peer in peers.items() if peer}
        rounds = [[peer.run(stage) for peer in peers.values()] for _ in range(args.runs + 1)][1:]
        for name, times in zip(peers, zip(*rounds)):
            ratios = sorted(own / time for (own, *_), time in zip(rounds, times))
            own, median = statistics.median(own for own, *_ in rounds), statistics.median(times)
            print(f"| {stage} | {name} | {median:.2f} s | {own / median:.2f} | {ratios[0]:.2f} to {ratios[-1]:.2f} |", flush=True)
        del peers
        gc.collect()


if __name__ == "__main__":
    main()
