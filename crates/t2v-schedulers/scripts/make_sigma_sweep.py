"""Compares random configurations with diffusers: writes trajectories to a file, which a test then repeats.

    OMP_NUM_THREADS=1 python scripts/make_sigma_sweep.py HeunDiscreteScheduler 200 7 /tmp/sweep.safetensors
    T2V_SWEEP=/tmp/sweep.safetensors cargo test -p t2v-schedulers --test it -- --ignored sweep

The arguments are a class, the number of configurations, a seed, and the file. Runs in
which diffusers itself fails, is not finite or goes on to timestep -1 are counted and left out. Errors may be 1e-5 of the
greatest value, ten times what golden runs may have: odd configurations are worse conditioned.
"""

import json
import random
import sys

import torch
from make_fixtures import run_of, trajectory
from make_sigma_fixtures import FEW
from safetensors.torch import save_file

DYNAMIC = "use_dynamic_shifting"


def maybe(draw, chance, **values):
    """Some of these keys, each with one of its values."""
    return {key: draw.choice(choices) for key, choices in values.items() if draw.random() < chance}


def betas(draw, schedules):
    count = draw.choice([1000, 1000, 1000, 500, 777, 60, 2500])
    config = maybe(draw, 0.7, beta_schedule=schedules) | {"num_train_timesteps": count}
    config |= maybe(draw, 0.4, beta_start=[0.00085, 0.0001, 0.001], beta_end=[0.012, 0.02, 0.0145])
    if draw.random() < 0.1:
        top = draw.uniform(0.01, 0.05) * 1000 / count
        config["trained_betas"] = [0.0005 + top * i / count for i in range(count)]
    return config


def sigma_config(draw, name):
    schedules = ["linear", "scaled_linear", "squaredcos_cap_v2"] + ["exp"] * (name == "HeunDiscreteScheduler")
    predictions = ["epsilon", "v_prediction"] + ["sample"] * (name[:3] in ("Heu", "LMS", "Eul"))
    if "Ancestral" in name:
        predictions = predictions[:2]
    config = betas(draw, schedules) | maybe(
        draw, 0.6, prediction_type=predictions, timestep_spacing=["linspace", "leading", "trailing"],
        steps_offset=[0, 1, 3])
    if draw.random() < 0.5:
        config[draw.choice(["use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"])] = True
    config |= maybe(draw, 0.15, sigma_min=[0.01, 0.1, 0.3], sigma_max=[5.0, 20.0, 80.0])
    config |= maybe(draw, 0.15, rescale_betas_zero_snr=[True], clip_sample=[True], clip_sample_range=[0.5, 2.0])
    return config


def flow_config(draw, name):
    config = {"num_train_timesteps": draw.choice([1000, 1000, 500, 777, 60, 2500])}
    config |= maybe(draw, 0.6, shift=[0.5, 1.0, 2.2, 3.0, 5.0, 12.0])
    if name == "FlowMatchHeunDiscreteScheduler":
        return config
    if draw.random() < 0.4:
        config[draw.choice(["use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"])] = True
    config |= maybe(draw, 0.15, sigma_min=[0.01, 0.1, 0.3], sigma_max=[0.8, 0.95, 1.0])
    return config | maybe(draw, 0.3, use_dynamic_shifting=[True], time_shift_type=["exponential", "linear"],
                          shift_terminal=[0.02, 0.1, None, 0.0], invert_sigmas=[True], stochastic_sampling=[True])


def schedule_of(draw, name, config):
    count = draw.choice([draw.randint(1, 50), draw.randint(1, 12), draw.randint(1, 50), draw.randint(51, 120)])
    shaped = any(config.get(f"use_{shape}_sigmas") for shape in ("karras", "exponential", "beta"))
    schedule = {"steps": min(count, config["num_train_timesteps"])}
    explicit = draw.random() < 0.15
    if explicit and (name == "HeunDiscreteScheduler" and not shaped or name == "FlowMatchEulerDiscreteScheduler"):
        times = draw.sample(range(1, config["num_train_timesteps"]), min(count, 40))
        schedule = {"timesteps": sorted(times, reverse=True)}
        if "Flow" in name and draw.random() < 0.6:
            schedule = {"sigmas": [t / config["num_train_timesteps"] for t in schedule["timesteps"]]}
    if name == "FlowMatchEulerDiscreteScheduler" and config.get(DYNAMIC):
        schedule["mu"] = draw.choice([0.5, 0.9, 1.15, 2.0])
    return schedule


def options_of(draw, name):
    if name == "LMSDiscreteScheduler":
        return maybe(draw, 0.3, order=[1, 2, 3, 4, 5, 6])
    if name == "FlowMatchHeunDiscreteScheduler" or name == "EulerDiscreteScheduler":
        return maybe(draw, 0.3, s_churn=[0.5, 3.0, 40.0], s_tmin=[0.05, 0.3], s_tmax=[0.7, 0.9], s_noise=[1.003, 0.9])
    return {}


def random_run(draw, name):
    config = flow_config(draw, name) if "Flow" in name else sigma_config(draw, name)
    schedule = schedule_of(draw, name, config)
    run = run_of(name, config, schedule=schedule, shape=FEW, options=options_of(draw, name), slack=10)
    if schedule.get("steps", 0) > 3 and draw.random() < 0.1:
        run["begin"] = 2 * draw.randint(0, schedule["steps"] // 2 - 1)
    return run


def main(name, count, seed, file):
    draw, runs, tensors, failed = random.Random(int(seed)), [], {}, 0
    while len(runs) < int(count):
        run = random_run(draw, name)
        try:
            kept = trajectory(run)
        except (AssertionError, IndexError, ValueError, ZeroDivisionError):
            kept = None
        if kept is None or kept["timesteps"].min() < 0:
            failed += 1
            continue
        tensors |= {f"{len(runs)}.{key}": value.contiguous() for key, value in kept.items()}
        runs.append(run)
    save_file(tensors, file, {"info": json.dumps({"runs": runs, "tables": []})})
    print(name, len(runs), "runs;", failed, "left out")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])
