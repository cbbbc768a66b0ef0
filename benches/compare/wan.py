"""Stages of Wan here, in diffusers and in stable-diffusion.cpp, in turn: medians of times, and peaks of memory, as rows of tables.

    .venv/bin/python scripts/make_random_wan.py /tmp/wan
    .venv/bin/python scripts/wan_single_files_of.py /tmp/wan /tmp/wan_files
    .venv/bin/pip install cyllama
    cargo build --release -p t2v-benches --example stages
    .venv/bin/python benches/compare/wan.py /tmp/wan --files /tmp/wan_files                 # a guided step and a decode
    .venv/bin/python benches/compare/wan.py /tmp/wan --memory 17 49 81                      # memory of decoding longer clips
    .venv/bin/python scripts/wan_single_files_of.py /tmp/wan /tmp/wan_files --gguf Q8_0
    .venv/bin/python benches/compare/wan.py /tmp/wan --files /tmp/wan_files --transformer transformer-Q8_0.gguf --stages step --peers t2v stable-diffusion.cpp

Weights are in bf16 here and in stable-diffusion.cpp, in the type that is named in diffusers. Every measurement is a process of its own, which reads the network
and runs it on a tiny clip before it is measured (stable-diffusion.cpp isn't warmed up); the peak of resident memory is that of
the measured run, with the weights. A guided step is one call for two prompts; stable-diffusion.cpp makes one after the other.
`--runs N` is for medians, `--peers` and `--stages` choose, and `--size FRAMES HEIGHT WIDTH` is for trying it out.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from wan_workers import forget_peak, peak

BINARY = Path(__file__).parents[2] / "target/release/examples/stages"
WORKERS = Path(__file__).parent / "wan_workers.py"
STAGES = {"text": "text encoder", "step": "a guided step", "decode": "decoding"}
PEERS = ["t2v", "diffusers f32", "diffusers bf16", "stable-diffusion.cpp"]


def ours(args, stages, size):
    """Seconds and bytes of stages, as all of these functions give them."""
    measured = {}
    for stage in stages:
        command = [args.binary, args.folder] + ([args.files / args.transformer] if args.transformer else [])
        environment = os.environ | {"T2V_DEVICE": "flex", "RAYON_NUM_THREADS": str(args.threads)}
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as process:

            def run(sides):
                words = "text encoder" if stage == "text" else " ".join([stage, *map(str, sides)])
                print(words, file=process.stdin, flush=True)
                answer = process.stdout.readline()
                if not answer:
                    raise SystemExit(f"`{words}` failed here, see above")
                return float(answer)

            run([5, 32, 32])
            forget_peak(process.pid)
            seconds = run(size)
            measured[stage] = seconds, peak(process.pid)
            process.stdin.close()
    return measured


def worker(args, *options):
    command = [sys.executable, WORKERS, *options, "--threads", str(args.threads)]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    answers = [json.loads(line) for line in output.splitlines() if line.startswith('{"stage"')]
    return {answer["stage"]: (answer["seconds"], answer["peak"]) for answer in answers}


def measure(args, peer, stages, size):
    """What a peer takes, told at once: what others still measure may take an hour."""
    measured = measured_by(args, peer, stages, size)
    for stage, (seconds, most) in measured.items():
        print(f"{peer}, {STAGES[stage]}: {seconds:.4g} s, {gigabytes(most)}", file=sys.stderr, flush=True)
    return measured


def measured_by(args, peer, stages, size):
    sides = ["--size", *map(str, size)]
    if peer == "t2v":
        return ours(args, stages, size)
    if peer == "stable-diffusion.cpp":
        file = ["--transformer", args.transformer] if args.transformer else []
        return worker(args, "sd.cpp", "--files", args.files, *file, *sides)
    measured = {}
    for stage in stages:
        dtype = peer.split()[1]
        measured |= worker(args, "diffusers", "--folder", args.folder, "--stage", stage, "--dtype", dtype, *sides)
    return measured


def gigabytes(size):
    return f"{size / 1e9:.2f} GB"


def table_of_stages(args):
    """A row a stage: seconds, how ours compare to them, and the peak."""
    rounds = [{peer: measure(args, peer, args.stages, args.size) for peer in args.peers} for _ in range(args.runs)]
    frames, height, width = args.size
    print(f"| {frames} frames, {height}x{width} | {' | '.join(args.peers)} |\n{'| --- ' * (len(args.peers) + 1)}|")
    for stage in args.stages:
        cells = []
        for peer in args.peers:
            if stage not in rounds[0][peer]:
                cells.append("-")
                continue
            seconds = statistics.median(measured[peer][stage][0] for measured in rounds)
            most = max(measured[peer][stage][1] for measured in rounds)
            cell = f"{seconds:.4g} s, {gigabytes(most)}"
            if peer != "t2v" and "t2v" in args.peers:
                mine = statistics.median(measured["t2v"][stage][0] for measured in rounds)
                cell += f" ({mine / seconds:.2f})"
            cells.append(cell)
        print(f"| {STAGES[stage]} | {' | '.join(cells)} |", flush=True)


def table_of_memory(args):
    """A row a length: the peak of decoding it."""
    _, height, width = args.size
    print(f"| decoding {height}x{width} | {' | '.join(args.peers)} |\n{'| --- ' * (len(args.peers) + 1)}|")
    for frames in args.memory:
        results = [measure(args, peer, ["decode"], [frames, height, width])["decode"] for peer in args.peers]
        cells = [f"{gigabytes(most)} ({seconds:.4g} s)" for seconds, most in results]
        print(f"| {frames} frames | {' | '.join(cells)} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=Path, help="those of wan_single_files_of.py; without them there is no stable-diffusion.cpp")
    parser.add_argument("--transformer", metavar="NAME", help="one among those files, in place of the folder's and of transformer.safetensors")
    parser.add_argument("--size", type=int, nargs=3, default=[17, 480, 832], metavar=("FRAMES", "HEIGHT", "WIDTH"))
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=["step", "decode"])
    parser.add_argument("--peers", nargs="+", choices=PEERS)
    parser.add_argument("--memory", type=int, nargs="+", metavar="FRAMES", help="peaks of decoding clips of these lengths")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--binary", type=Path, default=BINARY)
    args = parser.parse_args()
    if args.peers is None:
        args.peers = PEERS[:2] if args.memory else PEERS if args.files else PEERS[:3]
    if args.files is None and ("stable-diffusion.cpp" in args.peers or args.transformer):
        parser.error("stable-diffusion.cpp and --transformer need --files")
    table_of_memory(args) if args.memory else table_of_stages(args)


if __name__ == "__main__":
    main()
