"""Writes trajectories of diffusers' schedulers with random options, for the test `sweep` in tests/it/golden.rs.

    OMP_NUM_THREADS=1 python scripts/make_sweep.py /tmp/sweep.safetensors [--class NAME] [--count 300] [--seed 0]

Runs that diffusers refuses, or whose samples are not finite there, are left out.
"""

import argparse
import json
import logging
import random

import torch
from make_fixtures import run_of, trajectory
from make_solver_fixtures import AYS
from safetensors.torch import save_file

FLAG = [True, False]
BETAS = {"beta_start": [0.0001, 0.00085, 0.001], "beta_end": [0.012, 0.02, 0.03], "num_train_timesteps": [1000, 1000, 500, 100]}
SCHEDULES = ["linear", "scaled_linear", "squaredcos_cap_v2"]
PREDICTIONS = ["epsilon", "sample", "v_prediction"]
SPACED = {"timestep_spacing": ["linspace", "leading", "trailing"], "steps_offset": [0, 0, 1]}
CLIP = {"clip_sample": FLAG, "clip_sample_range": [1.0, 0.7, 2.0]}
THRESHOLD = {"thresholding": [True, False, False], "dynamic_thresholding_ratio": [0.9, 0.995], "sample_max_value": [1.0, 1.5, 0.5]}
ZERO = {"rescale_betas_zero_snr": [True, False, False]}
FLOWS = {"use_flow_sigmas": [True, False, False], "flow_shift": [1.0, 3.0, 5.0]}
MULTISTEP = BETAS | THRESHOLD | FLOWS | {"solver_order": [1, 2, 3], "beta_schedule": SCHEDULES, "lower_order_final": FLAG}
MULTISTEP |= {"prediction_type": [*PREDICTIONS, "flow_prediction"]}
ENDS = {"final_sigmas_type": ["zero", "sigma_min"]}
CLASSES = {
    "DDPMScheduler": BETAS | SPACED | CLIP | THRESHOLD | ZERO | {
        "beta_schedule": [*SCHEDULES, "laplace", "sigmoid"], "prediction_type": PREDICTIONS,
        "variance_type": ["fixed_small", "fixed_small_log", "fixed_large", "learned", "learned_range"],
    },
    "PNDMScheduler": BETAS | SPACED | {
        "beta_schedule": SCHEDULES, "prediction_type": ["epsilon", "v_prediction"], "skip_prk_steps": FLAG,
        "set_alpha_to_one": FLAG, "rescale_betas_zero_snr": FLAG,
    },
    "DPMSolverSinglestepScheduler": MULTISTEP | ENDS | ZERO | {
        "algorithm_type": ["dpmsolver", "dpmsolver++", "sde-dpmsolver++"], "solver_type": ["midpoint", "heun", "bh2"],
        "lambda_min_clipped": [-5.1, -float("inf"), -float("inf")],
    },
    "UniPCMultistepScheduler": MULTISTEP | ENDS | SPACED | ZERO | {
        "solver_order": [1, 2, 3, 4], "solver_type": ["bh1", "bh2"], "predict_x0": [True, True, False],
        "disable_corrector": [[], [], [0, 2]], "shift_terminal": [None, None, 0.1],
    },
    "DEISMultistepScheduler": MULTISTEP | SPACED | {"solver_order": [1, 2, 3, 4], "rescale_betas_zero_snr": FLAG},
    "DDIMInverseScheduler": BETAS | SPACED | CLIP | ZERO | {
        "beta_schedule": SCHEDULES, "prediction_type": PREDICTIONS, "set_alpha_to_one": FLAG,
    },
    "IPNDMScheduler": {"num_train_timesteps": [1000, 10], "trained_betas": [None, None, [1.0, 0.8, 0.5, 0.2, 0.0]]},
    "LCMScheduler": BETAS | CLIP | THRESHOLD | ZERO | SPACED | {
        "beta_schedule": SCHEDULES, "prediction_type": PREDICTIONS, "original_inference_steps": [50, 50, 20, 100],
        "timestep_scaling": [10.0, 1.0, 0.001],
    },
}


def choose(rng, options):
    """Some of the options, each with one of its values."""
    config = {key: rng.choice(values) for key, values in options.items() if rng.random() < 0.6}
    if "use_flow_sigmas" in options and rng.random() < 0.4:
        config[rng.choice(["use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"])] = True
        if rng.random() < 0.3:
            config |= {"sigma_min": 0.1, "sigma_max": 10.0}
    return config


def random_run(rng, name):
    config = choose(rng, CLASSES[name])
    schedule = {"steps": rng.choice([rng.randint(1, 12), rng.randint(1, 60)])}
    more = {}
    if name in ("DDPMScheduler", "LCMScheduler", "DPMSolverSinglestepScheduler") and rng.random() < 0.1:
        schedule = {"timesteps": AYS}
    elif name == "LCMScheduler" and rng.random() < 0.3:
        schedule |= {"strength": rng.choice([0.5, 0.8])}
    elif rng.random() < 0.15 and schedule["steps"] > 3:
        more["begin"] = rng.randint(1, schedule["steps"] - 1)
    if config.get("use_flow_sigmas") and rng.random() < 0.3:
        config["use_dynamic_shifting"] = True
        schedule["mu"] = 0.7
    shape = [2, 3, 2, 2, 2]
    return run_of(name, config, schedule=schedule, **more) | {"shape": shape, "seed": rng.randrange(2**31)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("path")
    parser.add_argument("--class", dest="name", action="append", choices=CLASSES)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng, runs, tensors = random.Random(arguments.seed), [], {}
    for name in arguments.name or CLASSES:
        done = refused = 0
        while done < arguments.count:
            run = random_run(rng, name)
            try:
                results = trajectory(run)
            except (AssertionError, ArithmeticError, IndexError, NotImplementedError, RuntimeError, TypeError, ValueError):
                refused += 1
                continue
            tensors |= {f"{len(runs)}.{key}": value.contiguous() for key, value in results.items()}
            runs.append(run)
            done += 1
        print(name, done, "runs,", refused, "left out")
    text = json.dumps({"runs": runs}).replace("-Infinity", '"-Infinity"')
    save_file(tensors, arguments.path, {"info": text})


if __name__ == "__main__":
    logging.disable()
    torch.set_num_threads(1)
    main()
