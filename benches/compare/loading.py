"""Times loading a model folder, to a pipeline that can generate, here and in diffusers, in turn; with its files in the system's cache and from disk.

    .venv/bin/python scripts/make_random_modelscope.py /tmp/ms
    cargo build --release -p t2v-benches --example loading
    .venv/bin/python benches/compare/loading.py /tmp/ms [--runs 5]

Each run is a process of its own, of which starting it, and Python's imports, don't count. diffusers maps files that keep their type
into memory and reads them when they are first used, so that there is a time until every page of the weights was touched, too; t2v
has read them by then. To drop the system's cache takes root on Linux; elsewhere those rows are left out. The first round doesn't count.
"""

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path

BINARY = Path(__file__).parents[2] / "target/release/examples/loading"
CACHE = Path("/proc/sys/vm/drop_caches")
DIFFUSERS = """
import json
import sys
import time
from pathlib import Path
import diffusers
import torch
from transformers import CLIPTextModel, CLIPTokenizer  # imported here, as diffusers would within the call
folder, dtype, threads = sys.argv[1:]
torch.set_num_threads(int(threads))
kind = getattr(diffusers, json.loads(Path(folder, "model_index.json").read_text())["_class_name"])
start = time.perf_counter()
pipe = kind.from_pretrained(folder, torch_dtype=getattr(torch, dtype))
loaded = time.perf_counter()
for part in pipe.components.values():
    if isinstance(part, torch.nn.Module):
        for parameter in part.parameters():
            parameter.detach().view(-1)[:: 4096 // parameter.element_size()].sum()
print(loaded - start, time.perf_counter() - start)
"""


def drop_cache():
    os.sync()
    CACHE.write_text("3")


def warm_cache(folder):
    for file in folder.rglob("*.safetensors"):
        with file.open("rb") as stream:
            while stream.read(1 << 24):
                pass


def seconds(command):
    run = subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL)
    return [float(word) for word in run.stdout.split()]


def measure(sides, runs, prepare):
    """For each side the times of every run but the first."""
    rounds = []
    for _ in range(runs + 1):
        times = []
        for command in sides:
            prepare()
            times.append(seconds(command))
        rounds.append(times)
    return list(zip(*rounds[1:]))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--binary", type=Path, default=BINARY)
    parser.add_argument("--caches", nargs="+", choices=["warm", "cold"], default=["warm", "cold"])
    args = parser.parse_args()
    python = [sys.executable, "-c", DIFFUSERS, args.folder]
    sides = [[args.binary, args.folder], [*python, "float16", args.threads], [*python, "float32", args.threads]]
    rows = ["diffusers, f16, mapped", "diffusers, f16, every page touched", "diffusers, f32", "diffusers, f32, every page touched"]
    print("| cache | beside | t2v | diffusers | ratio | of each pair |\n| --- | --- | --- | --- | --- | --- |")
    for cache in args.caches:
        if cache == "cold" and not os.access(CACHE, os.W_OK):
            print("the system's cache can't be dropped here: nothing is measured from disk", file=sys.stderr)
            continue
        warm_cache(args.folder)
        ours, *theirs = measure(sides, args.runs, drop_cache if cache == "cold" else lambda: None)
        ours = [time for time, in ours]
        columns = [[run[end] for run in side] for side in theirs for end in (0, 1)]
        for name, times in zip(rows, columns):
            ratios = sorted(a / b for a, b in zip(ours, times))
            own, other = statistics.median(ours), statistics.median(times)
            print(f"| {cache} | {name} | {own:.2f} s | {other:.2f} s | {own / other:.2f} | {ratios[0]:.2f} to {ratios[-1]:.2f} |", flush=True)


if __name__ == "__main__":
    main()
