"""Stages and whole generations of a model, here and in diffusers, in turn."""

import json
import statistics

import machine
from child import Child, Failure, answers

# A run counts as faster if it takes this share of the fastest before it, or less; after so many that don't, all is warm.
FASTER, FLAT, MOST = 0.95, 2, 12


def warm_up(run):
    """Runs until the time no longer falls. Gives the first time, in which kernels are compiled and measured."""
    first = fastest = run()
    flat = runs = 0
    while flat < FLAT and runs < MOST:
        seconds = run()
        runs += 1
        flat = 0 if seconds <= FASTER * fastest else flat + 1
        fastest = min(fastest, seconds)
    return first


class Ours:
    """The kit's program with a model's networks loaded."""

    name = "t2v"

    def __init__(self, context, device, dtype):
        command = [*context.program, "stages", context.model, "--device", device, "--dtype", dtype]
        self.child = Child(command, context.environment, context.log(f"stages {device} {dtype}"))
        self.clock = context.clock

    def ready(self):
        return self.child.ask_nothing(self.clock.limit(120))

    def run(self, stage):
        return self.child.ask(stage, self.clock.limit(180))["seconds"]

    def memory(self):
        return self.child.ask("memory", 20) | {"process": machine.process_memory(self.child.process.pid)}

    def release(self):
        self.child.ask("release", 20)

    def close(self):
        self.child.close()


class Theirs:
    """diffusers with a model's networks loaded, in one of torch's settings at a time."""

    def __init__(self, context, dtype):
        command = [*context.python, context.kit_scripts / "worker.py", context.model, context.torch_device, dtype]
        self.child = Child(command, context.environment, context.log(f"diffusers {dtype}"))
        self.clock = context.clock

    def ready(self):
        return self.child.ask_nothing(self.clock.limit(120))

    def ask(self, seconds, **question):
        return self.child.ask(json.dumps(question), self.clock.limit(seconds))

    def run(self, stage, setting):
        return self.ask(240, do="run", stage=stage, **setting)["seconds"]

    def generate(self, size, setting):
        return self.ask(240, do="generate", **size, **setting)["seconds"]

    def memory(self):
        return self.ask(20, do="memory") | {"process": machine.process_memory(self.child.process.pid)}

    def release(self):
        self.ask(20, do="release")

    def close(self):
        self.child.close()


def settings(dtype, attention, compiled):
    """Those of torch to compare with: with and without TF32 where that matters. Names, and what the worker takes."""
    for tf32 in (True, False) if dtype == "f32" else (False,):
        words = ["compiled" if compiled else "eager", {"sdpa": "SDPA", "math": "math attention"}[attention]]
        if dtype == "f32":
            words.append("TF32" if tf32 else "no TF32")
        yield ", ".join(words), {"attention": attention, "compiled": compiled, "tf32": tf32}


def stages(context, device, dtype, variants, stages):
    """Rows of every stage beside diffusers in several settings: `(attention, compiled)`."""
    rows = []
    ours, theirs = Side(lambda: Ours(context, device, dtype)), Side(lambda: Theirs(context, dtype))
    try:
        for stage in stages:
            mine = once(ours, stage)
            for attention, compiled in variants:
                for name, setting in settings(dtype, attention, compiled):
                    row = {"device": device, "dtype": dtype, "stage": stage, "against": name}
                    rows.append(row | compare(context, mine, ours, theirs, stage, setting))
    finally:
        ours.close()
        theirs.close()
    return rows


class Side:
    """A program with a model, begun at once, and once more where it has ended since."""

    def __init__(self, begin):
        self.begin, self.program, self.failure = begin, None, None
        self.restart()

    def restart(self):
        self.program, self.failure, self.load_seconds = None, None, None
        try:
            self.program = self.begin()
        except (OSError, Failure) as failure:
            self.failure = Failure(str(failure))

    def loaded(self):
        """The program, once its model is loaded. One that never was is not begun again: it would fail again."""
        if self.failure:
            raise self.failure
        if self.load_seconds is not None and not self.program.child.is_alive():
            self.restart()
            if self.failure:
                raise self.failure
        if self.load_seconds is None:
            try:
                self.load_seconds = self.program.ready()["load_seconds"]
            except Failure as failure:
                self.failure = failure
                raise
        return self.program

    def close(self):
        if self.program:
            self.program.close()


def first_and_memory(side, run):
    """Warms a stage up, then frees what that took and runs it once more: its first time, and the memory that it needs."""
    program = side.loaded()
    first = warm_up(lambda: run(program))
    program.release()
    run(program)
    return {"first": first, "memory": program.memory(), "load": side.load_seconds}


def once(side, stage):
    """A stage on our side, before it is compared."""
    try:
        return first_and_memory(side, lambda program: program.run(stage))
    except Failure as failure:
        return {"error": str(failure)}


def compare(context, mine, ours, theirs, stage, setting):
    """Our stage and theirs, one after the other."""
    try:
        other = first_and_memory(theirs, lambda program: program.run(stage, setting))
    except Failure as failure:
        other = {"error": str(failure)}
    mine, runs = dict(mine), []
    turns = [(mine, lambda: ours.loaded().run(stage)), (other, lambda: theirs.loaded().run(stage, setting))]
    for _ in range(context.runs):
        runs.append([turn(*side) for side in turns])
    for i, side in enumerate([mine, other]):
        if "error" not in side:
            side["times"] = [run[i] for run in runs]
            side["median"] = statistics.median(side["times"])
    return {"t2v": mine, "diffusers": other}


def turn(side, run):
    """One run of a side that has not failed."""
    if "error" in side:
        return None
    try:
        return run()
    except Failure as failure:
        side["error"] = str(failure)
        return None


def generation(context, device, dtype, variants):
    """Rows of whole generations: the medians of those after the first, which also loads or compiles."""
    rows, size = [], context.generation
    command = [*context.program, "generate", context.model, "--device", device, "--dtype", dtype]
    for name, value in size.items():
        command += [f"--{name}", value]
    log = context.log(f"generate {device} {dtype}")
    found, failure = answers([*command, "--runs", context.runs], context.environment, log, context.clock.limit(240))
    warm = found[1:]
    if warm:
        mine = {
            "first": found[0]["seconds"],
            "times": [run["seconds"] for run in warm],
            "median": statistics.median(run["seconds"] for run in warm),
            "stages": {name: statistics.median(run["stages"].get(name, 0) for run in warm) for name in warm[0]["stages"]},
            "mp4": statistics.median(run["mp4_seconds"] for run in warm),
            "memory": warm[-1]["memory"] | {"process": None},
        }
    else:
        mine = {"error": failure or "it did not end a second time"}
    theirs = Side(lambda: Theirs(context, dtype))
    try:
        for attention, compiled in variants:
            for name, setting in settings(dtype, attention, compiled):
                row = {"device": device, "dtype": dtype, "against": name, "t2v": mine}
                rows.append(row | {"diffusers": generations(context, theirs, size, setting)})
    finally:
        theirs.close()
    return rows


def generations(context, side, size, setting):
    try:
        program = side.loaded()
        program.release()
        times = [program.generate(size, setting) for _ in range(context.runs)]
        memory = program.memory()
    except Failure as failure:
        return {"error": str(failure)}
    return {"first": times[0], "times": times[1:], "median": statistics.median(times[1:]), "memory": memory}
