"""Measures t2v on this machine's GPU, beside diffusers where that is at hand, and writes a table.

    python3 scripts/gpu_kit/run.py --out OUT [--kit target/gpu_kit] [--budget 460] [--only "stages f16" "golden *"]

Needs python3 with torch, this repository, and the folder that build.sh wrote. OUT gets gpu.md, gpu.json with all numbers, and
log.txt with what programs said. What no longer fits into the budget (seconds) is a row that says so; what fails is a row with
its reason. `--list` lists the parts in their order, for `--only`. benches/GPU.md explains the table.
"""

import argparse
import fnmatch
import json
import subprocess
import sys
import time
from pathlib import Path

import machine
import measure
import table
from child import Failure, answers
from clock import Clock

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
STAGES = ["text encoder", "decode 16 256 256", "step 16 256 256", "step 24 320 576"]
GENERATION = "25 16 256 256"
EAGER = [("sdpa", False), ("math", False)]


class Context:
    """What every part needs."""

    def __init__(self, args):
        self.args, self.out, self.work = args, args.out.resolve(), args.work.resolve()
        self.out.mkdir(parents=True, exist_ok=True)
        self.work.mkdir(parents=True, exist_ok=True)
        self.clock = Clock(args.budget)
        self.program = [args.binary.resolve()] if args.binary else machine.unpack(args.kit.resolve(), self.work)
        self.environment = machine.environment(self.work)
        self.python, self.kit_scripts = [sys.executable], HERE
        self.torch_device, self.runs = args.torch_device, args.runs
        numbers = map(int, args.generation.split())
        self.generation = dict(zip(("steps", "frames", "height", "width"), numbers, strict=True))
        self.maker = None

    def log(self, name):
        return self.work / f"{name}.log"

    def start_maker(self):
        """Has random weights made while other things run that are not timed beside them."""
        if self.args.model or (self.work / "model/scheduler/scheduler_config.json").exists():
            return
        command = [*self.python, ROOT / "scripts/make_random_modelscope.py", self.work / "model"]
        command += ["--device", self.torch_device, *(["--tiny"] if self.args.tiny else [])]
        with open(self.log("model"), "ab") as log:
            self.maker = subprocess.Popen(command, stdout=log, stderr=log, env=self.environment)

    @property
    def model(self):
        if self.args.model:
            return self.args.model.resolve()
        if self.maker:
            limit = self.clock.limit(240)
            try:
                code = self.maker.wait(limit)
            except subprocess.TimeoutExpired:
                raise Failure(f"no random weights within {limit:.0f} s") from None
            if code:
                lines = self.log("model").read_text().strip().splitlines()
                raise Failure(f"no random weights: {lines[-1] if lines else code}")
        return self.work / "model"


def golden(context, device, dtype):
    command = [*context.program, "golden", "--device", device, "--dtype", dtype, "--root", ROOT]
    if context.args.golden_only:
        command += ["--only", context.args.golden_only]
    log = context.log(f"golden {device} {dtype}")
    values, error = answers(command, context.environment, log, context.clock.limit(context.args.golden_limit))
    return "golden", [{"device": device, "dtype": dtype, "values": values, "error": error}]


def tiny_world(context, device, dtype):
    command = [*context.program, "tiny-world", "--device", device, "--dtype", dtype]
    log = context.log(f"tiny-world {device} {dtype}")
    limit = context.clock.limit(context.args.tiny_world_limit)
    found, error = answers(command, context.environment, log, limit)
    row = {"device": device, "dtype": dtype, "error": error}
    for line in found:
        row |= line
    return "tiny-world", [row]


def parts(args):
    """Name, the seconds below which it is not begun, and what runs it; the more important first."""
    device, second, dtypes = args.device, args.second, args.dtypes
    half, others = dtypes[:1], dtypes[1:]
    for dtype in args.golden_dtypes:
        yield f"golden {device} {dtype}", 10, lambda c, dtype=dtype: golden(c, device, dtype)
    for dtype in args.golden_dtypes:
        yield f"tiny-world {device} {dtype}", 10, lambda c, dtype=dtype: tiny_world(c, device, dtype)

    def staged(name, dtypes, variants, stages=args.stages):
        for dtype in dtypes:
            run = lambda c, dtype=dtype: ("stages", measure.stages(c, device, dtype, variants, stages))  # noqa: E731
            yield f"{name} {dtype}", args.needs, run

    def generated(name, dtypes, variants):
        for dtype in dtypes:
            run = lambda c, dtype=dtype: ("generation", measure.generation(c, device, dtype, variants))  # noqa: E731
            yield f"{name} {dtype}", args.needs, run

    # Compiling takes what is left of a budget, so the largest stage is the first.
    largest_first = args.stages[::-1]
    yield from staged("stages", half, EAGER)
    yield from generated("generation", half, EAGER[:1])
    yield from staged("compiled", half, [("sdpa", True)], largest_first)
    yield from staged("stages", others, EAGER)
    if second:
        for dtype in args.golden_dtypes:
            yield f"golden {second} {dtype}", 10, lambda c, dtype=dtype: golden(c, second, dtype)
            yield f"tiny-world {second} {dtype}", 10, lambda c, dtype=dtype: tiny_world(c, second, dtype)
    yield from generated("generation", others, EAGER[:1])
    yield from staged("compiled", others, [("sdpa", True)], largest_first)
    yield from staged("compiled math", dtypes, [("math", True)], largest_first)
    yield from generated("compiled generation", dtypes, [("sdpa", True)])


def measure_all(context, results):
    needs_model = ("stages", "generation", "compiled")
    chosen = []
    for name, needs, run in parts(context.args):
        if any(fnmatch.fnmatch(name, pattern) for pattern in context.args.only):
            chosen.append((name, needs, run))
        else:
            results["skipped"].append([name, "not asked for (`--only`)"])
    if any(name.startswith(needs_model) for name, _, _ in chosen):
        context.start_maker()
    for name, needs, run in chosen:
        left = context.clock.left()
        if left < needs:
            results["skipped"].append([name, f"{left:.0f} s were left of the budget, it needs {needs:.0f} s"])
            continue
        start = time.monotonic()
        try:
            kind, rows = run(context)
            results[kind] += rows
        except Exception as error:  # the next part may still work
            results["skipped"].append([name, f"{type(error).__name__}: {error}"])
        print(f"{name}: {time.monotonic() - start:.0f} s, {context.clock.left():.0f} s left", flush=True)
        write(context, results)


def write(context, results):
    """All files, after each part: an end from outside loses none of them."""
    results["seconds"] = context.args.budget - context.clock.left()
    logs = sorted(context.work.glob("*.log"))
    text = "".join(f"==> {log.stem}\n{log.read_text(errors='replace')[-20000:]}\n" for log in logs)
    for name, content in {
        "gpu.md": "\n".join(table.markdown(results)) + "\n",
        "gpu.json": json.dumps(results, indent=1) + "\n",
        "log.txt": text,
    }.items():
        partial = context.out / f"{name}.partial"
        partial.write_text(content)
        partial.rename(context.out / name)


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--kit", type=Path, default=ROOT / "target/gpu_kit", metavar="DIR")
    parser.add_argument("--work", type=Path, default=Path("/tmp/t2v_gpu_kit"), metavar="DIR", help="for unpacked things")
    parser.add_argument("--budget", type=float, default=460, metavar="SECONDS")
    parser.add_argument("--only", nargs="+", default=["*"], metavar="PART", help="names of parts, with * and ?")
    parser.add_argument("--list", action="store_true")
    kernels = "compiled kernels of an earlier run, its OUT/kernels.tar.xz: nothing is cold then"
    parser.add_argument("--kernels", type=Path, metavar="FILE", help=kernels)
    parser.add_argument("--keep-kernels", action="store_true", help="pack this run's for a later one")
    parser.add_argument("--binary", type=Path, help="the program itself, instead of that in the kit")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--second", default="vulkan", help="another device for goldens and tiny-world; empty for none")
    parser.add_argument("--torch-device", default="cuda")
    parser.add_argument("--dtypes", nargs="+", default=["f16", "bf16", "f32"], help="the more important first")
    parser.add_argument("--golden-dtypes", nargs="+", default=["f32", "f16"])
    parser.add_argument("--golden-limit", type=float, default=60, metavar="SECONDS")
    parser.add_argument("--golden-only", metavar="NAMES", help="how names of fixtures begin, with commas between")
    parser.add_argument("--tiny-world-limit", type=float, default=90, metavar="SECONDS")
    parser.add_argument("--needs", type=float, default=40, metavar="SECONDS", help="left for a part with a model to begin")
    parser.add_argument("--model", type=Path, metavar="DIR", help="a model folder; without it random weights are made")
    parser.add_argument("--tiny", action="store_true", help="random weights of a narrow model")
    parser.add_argument("--stages", nargs="+", default=STAGES)
    parser.add_argument("--generation", default=GENERATION, metavar="'STEPS FRAMES HEIGHT WIDTH'")
    parser.add_argument("--runs", type=int, default=5, help="pairs of each stage, and generations, the first of which is cold")
    parser.add_argument("--title", default="t2v on a GPU")
    args = parser.parse_args()
    if args.runs < 2:
        parser.error("--runs must be at least 2: the first generation is the cold one")
    return args


def main():
    args = options()
    if args.list:
        return print("\n".join(name for name, _, _ in parts(args)))
    context = Context(args)
    steps = context.generation
    results = {
        "title": args.title,
        "facts": [],
        "devices": [],
        "skipped": [],
        "golden": [],
        "tiny-world": [],
        "stages": [],
        "generation": [],
        "generation_size": "{steps} steps, {frames} frames, {width}x{height}".format(**steps),
        "seconds": 0.0,
    }
    commit = args.kit / "commit"
    results["facts"] = [["t2v", commit.read_text().strip() if commit.exists() else "a build of this repository"]]
    results["facts"] += map(list, machine.facts())
    log = context.log("devices")
    results["devices"], fault = answers([*context.program, "devices"], context.environment, log, context.clock.limit(60))
    if fault:
        results["skipped"].append(["devices", fault])
    if args.kernels:
        machine.restore_kernels(args.kernels, context.work)
        results["facts"].append(["kernels", "compiled and measured by an earlier run"])
    measure_all(context, results)
    if context.maker and context.maker.poll() is None:
        context.maker.kill()
    write(context, results)
    if args.keep_kernels:
        machine.keep_kernels(context.work, context.out / "kernels.tar.xz")
    print((context.out / "gpu.md").read_text())


if __name__ == "__main__":
    main()
