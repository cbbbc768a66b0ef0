"""Compares the example scheduler_trace with the same loop in diffusers, for random options of every scheduler.

    OMP_NUM_THREADS=1 python examples/compare_traces.py target/release/examples/scheduler_trace [--count 20] [--seed 0]
"""

import argparse
import inspect
import json
import math
import random
import subprocess
import warnings

import diffusers
import torch
from diffusers.schedulers.deprecated.scheduling_karras_ve import KarrasVeScheduler

NAMES = """DDPM DDIM PNDM LMSDiscrete EulerDiscrete EulerAncestralDiscrete DPMSolverMultistep HeunDiscrete KDPM2Discrete
DPMSolverSinglestep KDPM2AncestralDiscrete UniPCMultistep DDIMInverse DEISMultistep IPNDM KarrasVe ScoreSdeVe LCM
FlowMatchEulerDiscrete FlowMatchHeunDiscrete""".split()
CHOICES = {
    "beta_schedule": ["linear", "scaled_linear", "squaredcos_cap_v2"],
    "beta_start": [0.0001, 0.00085],
    "beta_end": [0.012, 0.02],
    "prediction_type": ["epsilon", "v_prediction", "sample"],
    "timestep_spacing": ["leading", "trailing", "linspace"],
    "steps_offset": [0, 1],
    "use_karras_sigmas": [False, False, True],
    "clip_sample": [False, True],
    "set_alpha_to_one": [False, True],
    "skip_prk_steps": [False, True],
    "solver_order": [1, 2, 3],
    "solver_type": ["midpoint", "heun", "bh1", "bh2", "logrho"],
    "algorithm_type": ["dpmsolver++", "sde-dpmsolver++", "deis"],
    "variance_type": ["fixed_small", "fixed_large"],
    "final_sigmas_type": ["zero", "sigma_min"],
    "thresholding": [False, False, True],
    "shift": [1.0, 3.0],
    "s_churn": [0, 80],
    "correct_steps": [1, 2],
}


def model(sample, t):
    return sample * t / (t + 1)


def ramp():
    return (torch.arange(768) / 768).reshape(3, 8, 8, 4).permute(3, 0, 1, 2).contiguous()


def karras_ve(scheduler, generator):
    sample = ramp() * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        sigma = scheduler.schedule[t]
        below = scheduler.schedule[t - 1] if t > 0 else 0
        lifted, sigma = scheduler.add_noise_to_input(sample, sigma, generator=generator)
        output = sigma / 2 * model((lifted + 1) / 2, sigma / 2)
        step = scheduler.step(output, sigma, below, lifted)
        if below != 0:
            output = below / 2 * model((step.prev_sample + 1) / 2, below / 2)
            step = scheduler.step_correct(output, sigma, below, lifted, step.prev_sample, step["derivative"])
        sample = step.prev_sample
    return sample


def score_sde_ve(scheduler, generator, steps):
    scheduler.set_sigmas(steps)
    sample = ramp() * scheduler.init_noise_sigma
    for i, t in enumerate(scheduler.timesteps):
        for _ in range(scheduler.config.correct_steps):
            sample = scheduler.step_correct(model(sample, scheduler.sigmas[i]), sample, generator=generator).prev_sample
        step = scheduler.step_pred(model(sample, scheduler.sigmas[i]), t, sample, generator=generator)
        sample = step.prev_sample
    return step.prev_sample_mean


def trace(name, config, steps, seed):
    cls = KarrasVeScheduler if name == "KarrasVe" else getattr(diffusers, f"{name}Scheduler")
    scheduler, generator = cls(**config), torch.Generator().manual_seed(seed)
    scheduler.set_timesteps(steps)
    if name == "KarrasVe":
        return scheduler, karras_ve(scheduler, generator)
    if name == "ScoreSdeVe":
        return scheduler, score_sde_ve(scheduler, generator, steps)
    sample = ramp() * getattr(scheduler, "init_noise_sigma", 1.0)
    takes = {"generator": generator} if "generator" in inspect.signature(scheduler.step).parameters else {}
    for t in scheduler.timesteps:
        scaled = scheduler.scale_model_input(sample, t) if hasattr(scheduler, "scale_model_input") else sample
        sample = scheduler.step(model(scaled, t), t, sample, **takes).prev_sample
    return scheduler, sample


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scheduler", action="append")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    diffusers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    draw = random.Random(arguments.seed)
    for name in arguments.scheduler or NAMES:
        cls = KarrasVeScheduler if name == "KarrasVe" else getattr(diffusers, f"{name}Scheduler")
        options = [key for key in inspect.signature(cls.__init__).parameters if key in CHOICES]
        worst, bad, done, refused = 0.0, [], 0, 0
        while done < arguments.count and refused < 20 * arguments.count:
            config = {key: draw.choice(CHOICES[key]) for key in options if draw.random() < 0.5}
            steps, seed = draw.choice([1, 2, 3, 5, 10, 20, 25, 50]), draw.randrange(2**32)
            try:
                scheduler, sample = trace(name, config, steps, seed)
                finite = torch.isfinite(sample).all().item()
            except (AssertionError, ArithmeticError, AttributeError, IndexError, NotImplementedError, RuntimeError, ValueError, TypeError):
                finite = False
            if not finite:
                refused += 1
                continue
            done += 1
            sets = [part for key, value in config.items() for part in ("--set", f"{key}={json.dumps(value)}")]
            command = [arguments.binary, "--scheduler", name, "--num-inference-steps", str(steps), "--seed", str(seed), *sets]
            run = subprocess.run(command, capture_output=True, text=True)
            if run.returncode != 0:
                bad.append((config, steps, run.stderr.strip()))
                continue
            found = json.loads(run.stdout)
            sample = sample.double()
            pairs = [
                (found["sum"], sample.abs().sum().item()),
                (found["mean"], sample.abs().mean().item()),
                (found["std"], sample.std().item()),
            ]
            scale = sample.abs().max().item()
            error = max(abs(a - b) / max(abs(b), 1e-6) for a, b in pairs)
            first = max(abs(a - b) for a, b in zip(found["first"], sample.flatten()[:8].tolist())) / max(scale, 1e-6)
            error = max(error, first)
            timesteps = [float(t) for t in scheduler.timesteps]
            sigmas = getattr(scheduler, "sigmas", getattr(scheduler, "schedule", None)) if name != "DDIM" else None
            same = len(timesteps) == len(found["timesteps"]) and all(
                math.isclose(a, b, rel_tol=1e-5, abs_tol=1e-3) for a, b in zip(timesteps, found["timesteps"])
            )
            if sigmas is not None:
                sigmas = [float(s) for s in sigmas]
                same = same and len(sigmas) == len(found["sigmas"]) and all(
                    math.isclose(a, b, rel_tol=1e-5, abs_tol=1e-6) for a, b in zip(sigmas, found["sigmas"])
                )
            worst = max(worst, error)
            if error > 1e-5 or not same:
                bad.append((config, steps, f"error {error:.1e}, schedule {'equal' if same else 'differs'}"))
        print(f"{name}: {done} runs, {refused} refused by diffusers, greatest error {worst:.1e}, {len(bad)} differ", flush=True)
        for config, steps, what in bad[:4]:
            print("   ", steps, "steps", json.dumps(config), what)


if __name__ == "__main__":
    main()
