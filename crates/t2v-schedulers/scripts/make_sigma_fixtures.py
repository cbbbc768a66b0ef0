"""Writes tests/fixtures/*.safetensors for the solvers over sigma, the flow-matching ones and KarrasVe.

As make_fixtures.py, with the same versions. In `karras_ve`, run number i has the tensors `i.schedule`, `i.samples` (the
start, then the sample after each step), `i.hats` (the samples lifted by churn), `i.derivatives` and `i.originals`. Run with

    OMP_NUM_THREADS=1 python scripts/make_sigma_fixtures.py
"""

import torch
from diffusers.schedulers.deprecated import KarrasVeScheduler
from make_fixtures import COSINE, SD, SHAPE, V, run_of, save, write

SMALL_SHAPE = [1, 1, 2, 2, 2]


def sigma_family(name, shapes=True):
    """Configurations for the classes that solve over sigma: each value of each option that most of them share."""
    trained = {"num_train_timesteps": 60, "trained_betas": [0.001 + 0.003 * i for i in range(60)]}
    configs = [
        {},
        SD | {"timestep_spacing": "leading", "steps_offset": 1},
        SD | V | {"timestep_spacing": "trailing"},
        COSINE | V | {"num_train_timesteps": 700},
        trained | {"timestep_spacing": "leading"},
        SD | {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"},
    ]
    if shapes:
        bounds = {"sigma_min": 0.1, "sigma_max": 10.0}
        configs += [
            SD | {"use_karras_sigmas": True},
            SD | {"use_exponential_sigmas": True, "timestep_spacing": "leading"},
            SD | V | {"use_beta_sigmas": True},
            SD | bounds | {"use_karras_sigmas": True},
            {"use_exponential_sigmas": True, "num_train_timesteps": 777} | bounds,
        ]
    if name in ("LMSDiscreteScheduler", "HeunDiscreteScheduler"):
        configs.append(SD | {"prediction_type": "sample"})
    return configs


def write_family(file, name, configs, extra):
    """Runs of small samples, one more of the usual size with a later beginning, and tables."""
    runs = [run_of(name, config, steps, shape=SMALL_SHAPE) for config in configs for steps in (1, 2, 9, 30)]
    begun = run_of(name, configs[1], 11, begin=4)
    write(file, runs + [begun] + extra, [(name, config) for config in configs])


def euler_ancestral():
    name = "EulerAncestralDiscreteScheduler"
    write_family("euler_ancestral_discrete", name, sigma_family(name, shapes=False), [run_of(name, SD, 20)])


def heun():
    name = "HeunDiscreteScheduler"
    configs = sigma_family(name) + [
        {"beta_schedule": "exp"},
        SD | {"clip_sample": True, "clip_sample_range": 0.7},
    ]
    times = [999, 850, 736, 645, 545, 455, 343, 233, 124, 24]
    write_family("heun_discrete", name, configs, [run_of(name, SD, schedule={"timesteps": times})])


def kdpm2():
    name = "KDPM2DiscreteScheduler"
    write_family("kdpm2_discrete", name, sigma_family(name), [run_of(name, SD, 20)])


def kdpm2_ancestral():
    """Not where a step is so long that little is left of the level it goes down to: there its logarithm depends on how torch
    rounds square roots, and may be that of 0."""
    name = "KDPM2AncestralDiscreteScheduler"
    configs = [config for config in sigma_family(name) if config.get("beta_schedule") != "squaredcos_cap_v2"]
    bounds = {"use_karras_sigmas": True, "sigma_min": 0.5, "sigma_max": 50.0}
    configs.append(COSINE | V | bounds | {"num_train_timesteps": 700})
    runs = [run_of(name, config, steps, shape=SMALL_SHAPE) for config in configs for steps in (1, 9, 17, 30)]
    runs += [run_of(name, configs[1], 11, begin=4), run_of(name, SD, 20)]
    write("kdpm2_ancestral_discrete", runs, [])


def lms():
    name = "LMSDiscreteScheduler"
    orders = [run_of(name, SD, 12, shape=SMALL_SHAPE, options={"order": order}) for order in (1, 2, 3, 5, 7)]
    write_family("lms_discrete", name, sigma_family(name), orders)


def flow_match_euler():
    name = "FlowMatchEulerDiscreteScheduler"
    dynamic = {"use_dynamic_shifting": True}
    configs = [
        {},
        {"shift": 3.0},
        {"shift": 5.0, "num_train_timesteps": 700, "invert_sigmas": True},
        {"use_karras_sigmas": True, "shift": 2.0},
        {"use_exponential_sigmas": True},
        {"use_beta_sigmas": True, "sigma_min": 0.05, "sigma_max": 0.9},
        {"stochastic_sampling": True, "shift": 0.5},
    ]
    terminal = {"shift": 3.0, "shift_terminal": 0.1}
    extra = [run_of(name, config, steps, shape=SMALL_SHAPE)
             for config in (terminal, terminal | {"stochastic_sampling": True}) for steps in (2, 9, 30)]
    for steps in (1, 5, 30):
        for config in (dynamic, dynamic | {"time_shift_type": "linear"}, dynamic | {"invert_sigmas": True}):
            extra.append(run_of(name, config, schedule={"steps": steps, "mu": 0.9}, shape=SMALL_SHAPE))
    sigmas = [1.0, 0.9, 0.7, 0.4, 0.15, 0.05]
    for config in ({"shift": 3.0}, terminal, {"invert_sigmas": True}, {"use_karras_sigmas": True}, {}):
        extra.append(run_of(name, config, schedule={"sigmas": sigmas}, shape=SMALL_SHAPE))
    extra += [
        run_of(name, dynamic | {"shift_terminal": 0.02}, schedule={"sigmas": sigmas, "mu": 1.15}, shape=SMALL_SHAPE),
        run_of(name, {"shift": 3.0}, schedule={"timesteps": [1000, 800, 613.5, 300, 20]}, shape=SMALL_SHAPE),
        run_of(name, {"invert_sigmas": True}, schedule={"timesteps": [1000, 800, 613.5, 300, 20]}, shape=SMALL_SHAPE),
        run_of(name, {"shift": 3.0}, schedule={"steps": 7, "mu": 0.4}, shape=SMALL_SHAPE),
    ]
    write_family("flow_match_euler_discrete", name, configs, extra)


def flow_match_heun():
    name = "FlowMatchHeunDiscreteScheduler"
    configs = [{}, {"shift": 3.0}, {"shift": 7.0, "num_train_timesteps": 500}, {"shift": 0.4}]
    churn = {"s_churn": 3.0, "s_tmin": 0.1, "s_tmax": 0.9, "s_noise": 1.003}
    extra = [run_of(name, config, steps, shape=SMALL_SHAPE, options=options) for config in configs[:2]
             for steps in (1, 2, 9, 30) for options in (churn, {"s_churn": 40.0})]
    write_family("flow_match_heun_discrete", name, configs, extra)


def karras_ve_network(kind, sample, sigma):
    """`gaussian` is exact for normal data; `pipeline` is `x * sigma / (sigma + 1)` in the scalings of diffusers' pipeline."""
    if kind == "gaussian":
        return -sample * (sigma / (sigma**2 + 1))
    return sigma / 2 * ((sample + 1) / 2 * (sigma / 2) / (sigma / 2 + 1))


def karras_ve_run(network, config, steps):
    """diffusers' own loop."""
    scheduler = KarrasVeScheduler(**config)
    scheduler.set_timesteps(steps)
    generator = torch.Generator().manual_seed(11)

    def model(sample, sigma):
        return karras_ve_network(network, sample, sigma)

    sample = torch.randn(SHAPE, generator=generator) * scheduler.init_noise_sigma
    kept = {"samples": [sample], "hats": [], "derivatives": [], "originals": []}
    for t in scheduler.timesteps:
        sigma = scheduler.schedule[t]
        sigma_prev = scheduler.schedule[t - 1] if t > 0 else torch.tensor(0.0)
        hat, sigma_hat = scheduler.add_noise_to_input(sample, sigma, generator)
        result = scheduler.step(model(hat, sigma_hat), sigma_hat, sigma_prev, hat)
        if sigma_prev != 0:
            output = model(result.prev_sample, sigma_prev)
            result = scheduler.step_correct(
                output, sigma_hat, sigma_prev, hat, result.prev_sample, result.derivative)
        sample = result.prev_sample
        for key, value in [("samples", sample), ("hats", hat), ("derivatives", result.derivative),
                           ("originals", result.pred_original_sample)]:
            kept[key].append(value)
    assert torch.isfinite(sample).all(), (config, steps)
    return {"schedule": scheduler.schedule} | {key: torch.stack(values) for key, values in kept.items()}


def karras_ve():
    configs = [
        {},
        {"sigma_min": 0.1, "sigma_max": 8.0},
        {"s_churn": 0.0},
        {"s_churn": 2.0, "s_noise": 0.9, "s_min": 0.5, "s_max": 2000.0},
        {"sigma_max": 2.0, "s_min": 0.0, "s_max": 1e6},
        {"sigma_min": 0.5, "sigma_max": 0.9, "s_noise": 1.0},
    ]
    runs = [{"network": "gaussian", "config": config, "steps": steps} for config in configs for steps in (2, 7, 20)]
    # The other network enlarges its input by half a sigma: from high levels only few steps stay finite.
    runs += [{"network": "pipeline", "config": configs[0], "steps": steps} for steps in (2, 4, 6)]
    runs += [{"network": "pipeline", "config": configs[5], "steps": steps} for steps in (2, 7, 20)]
    tensors = {}
    for index, run in enumerate(runs):
        tensors |= {f"{index}.{key}": value.contiguous() for key, value in karras_ve_run(**run).items()}
    save("karras_ve", tensors, {"runs": runs, "shape": SHAPE, "seed": 11})


if __name__ == "__main__":
    torch.set_num_threads(1)
    euler_ancestral()
    heun()
    kdpm2()
    kdpm2_ancestral()
    lms()
    flow_match_euler()
    flow_match_heun()
    karras_ve()
