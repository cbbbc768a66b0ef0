"""Writes more of tests/fixtures/*.safetensors: see make_fixtures.py, which this continues with nine classes.

    OMP_NUM_THREADS=1 python scripts/make_solver_fixtures.py
"""

import diffusers
import torch
from make_fixtures import COSINE, PLAIN, SD, SHAPE, STEPS, V, run_of, save, write

SAMPLE = {"prediction_type": "sample"}
SMALL = {"num_train_timesteps": 60, "trained_betas": [0.001 + 0.003 * i for i in range(60)]}
THRESHOLD = {"thresholding": True, "dynamic_thresholding_ratio": 0.9, "sample_max_value": 1.5}
FLOW = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}
SHAPES = [{"use_karras_sigmas": True}, {"use_exponential_sigmas": True}, {"use_beta_sigmas": True}]
RANGE = {"sigma_min": 0.1, "sigma_max": 10.0}
BATCH = [2, 2, 3, 2, 2]
AYS = [999, 850, 736, 645, 545, 455, 343, 233, 124, 24]


def runs_of(name, configs, steps=STEPS):
    return [run_of(name, config, count) for config in configs for count in steps]


def ddpm():
    name = "DDPMScheduler"
    configs = [
        {},
        SD | {"clip_sample": False, "steps_offset": 1, "variance_type": "fixed_small_log"},
        SD | V | {"timestep_spacing": "trailing", "variance_type": "fixed_large", "clip_sample_range": 0.7}
        | {"rescale_betas_zero_snr": True},
        SD | SAMPLE | {"timestep_spacing": "linspace"},
        COSINE | V,
        {"beta_schedule": "laplace"},
        {"beta_schedule": "sigmoid", "num_train_timesteps": 700},
        SMALL | {"variance_type": "learned"},
        SD | {"variance_type": "learned_range", "clip_sample": False},
        {"_class_name": "DDIMScheduler", "set_alpha_to_one": False, "beta_schedule": "scaled_linear"},
    ]
    runs = runs_of(name, configs)
    runs += [run_of(name, SD | THRESHOLD, steps, shape=BATCH) for steps in STEPS]
    runs += [run_of(name, SD, schedule={"timesteps": AYS}), run_of(name, SD, 11, begin=4)]
    write("ddpm", runs, [(name, config) for config in configs])


def pndm():
    name = "PNDMScheduler"
    skip = {"skip_prk_steps": True}
    configs = [
        SD | skip | {"steps_offset": 1},
        skip | V | {"set_alpha_to_one": True},
        skip | SMALL | {"timestep_spacing": "linspace"},
        skip | COSINE | {"timestep_spacing": "trailing"},
        skip | {"_class_name": "DDIMScheduler", "clip_sample": False, "num_train_timesteps": 700},
    ]
    full = [
        SD | V,
        {"set_alpha_to_one": True, "timestep_spacing": "trailing"},
        SMALL | {"timestep_spacing": "linspace"},
        COSINE | {"steps_offset": 1},
    ]
    runs = runs_of(name, configs, [1, 2, 4, 11, 30]) + runs_of(name, full, [4, 5, 11, 30])
    runs += [run_of(name, SD | skip, 11, begin=4)]
    write("pndm", runs, [(name, config) for config in configs])


def dpmsolver_singlestep():
    name = "DPMSolverSinglestepScheduler"
    configs = [
        SD | {"solver_order": order, "solver_type": solver, "algorithm_type": algorithm} | PLAIN
        for order in (1, 2, 3)
        for solver in ("midpoint", "heun")
        for algorithm in ("dpmsolver", "dpmsolver++", "sde-dpmsolver++")
    ]
    ode = PLAIN | {"algorithm_type": "dpmsolver"}
    others = [
        {},
        SD | {"solver_order": 3},
        SD | {"solver_order": 3, "lower_order_final": True} | PLAIN,
        SD | PLAIN | {"lower_order_final": True, "algorithm_type": "deis", "solver_type": "bh1"},
        *(SD | shape for shape in SHAPES),
        SD | SHAPES[0] | RANGE,
        COSINE | SHAPES[0],
        FLOW,
        FLOW | PLAIN | {"solver_order": 3, "algorithm_type": "sde-dpmsolver++"},
        COSINE | V | {"lambda_min_clipped": -5.1},
        SD | SAMPLE | {"num_train_timesteps": 500, "rescale_betas_zero_snr": True},
        SMALL | ode | SAMPLE,
        SD | ode | V,
    ]
    runs = runs_of(name, configs, [4, 30]) + runs_of(name, others)
    for steps in (1, 6, 11):
        runs += [
            run_of(name, SD | THRESHOLD, steps, shape=BATCH),
            run_of(name, SD | {"variance_type": "learned"}, steps, shape=[1, 3, 2, 2, 2]),
        ]
    runs += [
        run_of(name, FLOW | {"use_dynamic_shifting": True}, schedule={"steps": 11, "mu": 0.9}),
        run_of(name, SD, schedule={"timesteps": AYS}),
        run_of(name, SD | {"solver_order": 3}, 11, begin=4),
    ]
    write("dpmsolver_singlestep", runs, [(name, config) for config in others])


def unipc_multistep():
    name = "UniPCMultistepScheduler"
    configs = [
        SD | {"solver_order": order, "solver_type": solver, "predict_x0": predict} | PLAIN
        for order in (1, 2, 3, 4)
        for solver in ("bh1", "bh2")
        for predict in (True, False)
    ]
    shifted = FLOW | {"use_dynamic_shifting": True, "shift_terminal": 0.1}
    others = [
        {},
        SD | {"solver_order": 3, "solver_type": "midpoint"},
        SD | PLAIN | {"lower_order_final": False, "disable_corrector": [0, 1, 5]},
        *(SD | shape for shape in SHAPES),
        *(SD | shape | PLAIN for shape in SHAPES),
        SD | SHAPES[0] | RANGE,
        COSINE | SHAPES[0],
        FLOW,
        FLOW | SHAPES[0],
        COSINE | V,
        SD | {"timestep_spacing": "trailing"},
        SD | {"timestep_spacing": "leading", "steps_offset": 1},
        SD | V | {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"},
        SMALL | SAMPLE,
        SD | V | PLAIN | {"predict_x0": False},
        SD | SAMPLE | PLAIN | {"predict_x0": False},
        {"solver_p": {"_class_name": "DPMSolverMultistepScheduler", "solver_order": 1}},
    ]
    runs = runs_of(name, configs, [4, 30]) + runs_of(name, others)
    runs += runs_of(name, [FLOW | PLAIN | {"solver_order": 3, "shift_terminal": 0.02}], [4, 11, 30])
    runs += [run_of(name, SD | THRESHOLD, steps, shape=BATCH) for steps in (1, 6, 11)]
    runs += [
        run_of(name, shifted, schedule={"steps": 11, "mu": 0.9}),
        run_of(name, shifted | {"time_shift_type": "linear"}, schedule={"steps": 11, "mu": 2.5}),
        run_of(name, FLOW, schedule={"sigmas": [1.0, 0.9, 0.7, 0.4, 0.15]}),
        run_of(name, SD | {"solver_order": 3}, 11, begin=4),
    ]
    write("unipc_multistep", runs, [(name, config) for config in others])


def deis_multistep():
    name = "DEISMultistepScheduler"
    configs = [
        {},
        SD | {"solver_order": 1, "solver_type": "heun", "algorithm_type": "dpmsolver++"},
        SD | {"solver_order": 3},
        SD | {"solver_order": 4, "lower_order_final": False},
        *(SD | shape for shape in SHAPES),
        SD | SHAPES[0] | RANGE,
        COSINE | SHAPES[0],
        FLOW | {"solver_order": 3},
        COSINE | V,
        SD | {"timestep_spacing": "trailing", "rescale_betas_zero_snr": True},
        SD | {"timestep_spacing": "leading", "steps_offset": 1},
        SMALL | SAMPLE,
    ]
    runs = runs_of(name, configs)
    runs += [run_of(name, SD | THRESHOLD, steps, shape=BATCH) for steps in (1, 6, 11)]
    runs += [
        run_of(name, FLOW | {"use_dynamic_shifting": True}, schedule={"steps": 11, "mu": 0.9}),
        run_of(name, SD | {"solver_order": 3}, 11, begin=4),
    ]
    write("deis_multistep", runs, [(name, config) for config in configs])


def ddim_inverse():
    name = "DDIMInverseScheduler"
    configs = [
        {},
        SD | {"clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1},
        SD | V | {"timestep_spacing": "trailing", "rescale_betas_zero_snr": True},
        SD | SAMPLE | {"set_alpha_to_zero": False, "clip_sample_range": 0.7},
        COSINE | V,
        SMALL | {"clip_sample": False},
    ]
    write("ddim_inverse", runs_of(name, configs), [(name, config) for config in configs])


def ipndm():
    name = "IPNDMScheduler"
    trained = {"trained_betas": [1.0, 0.95, 0.8, 0.6, 0.33, 0.1, 0.0]}
    runs = runs_of(name, [{}], [1, 2, 3, 4, 5, 7, 11, 20, 30, 50])
    runs += runs_of(name, [SD | V | {"_class_name": "DDIMScheduler", "num_train_timesteps": 60}], [4, 11, 30])
    runs += runs_of(name, [trained], [2, 6, 9]) + [run_of(name, {}, 11, begin=4)]
    runs += runs_of(name, [{"num_train_timesteps": 7}, {"beta_schedule": "sigmoid"}, V], [3, 6, 13])
    write("ipndm", runs, [(name, {})])


def lcm():
    name = "LCMScheduler"
    configs = [
        {},
        SD | {"steps_offset": 1, "timestep_spacing": "trailing", "set_alpha_to_one": False},
        V | {"rescale_betas_zero_snr": True, "original_inference_steps": 100},
        SAMPLE | {"clip_sample": True, "clip_sample_range": 0.7},
        COSINE | V | {"timestep_scaling": 3.0},
        {"beta_schedule": "linear", "beta_end": 0.02, "timestep_scaling": 0.01},
        {"num_train_timesteps": 700, "original_inference_steps": 60},
    ]
    runs = runs_of(name, configs, [1, 4, 11, 30])
    runs += runs_of(name, [SMALL | {"original_inference_steps": 30}], [1, 4, 11, 30])
    runs += [run_of(name, THRESHOLD, steps, shape=BATCH) for steps in (1, 4, 8)]
    half = {"strength": 0.5}
    runs += [
        run_of(name, {}, schedule={"steps": 4, "original_inference_steps": 20}),
        run_of(name, {}, schedule={"steps": 5} | half),
        run_of(name, {}, schedule={"timesteps": [999, 759, 499, 259]}),
        run_of(name, {}, schedule={"timesteps": [999, 759, 499, 259]} | half),
        run_of(name, {}, 8, begin=3),
    ]
    write("lcm", runs, [(name, config) for config in configs])


def score_model(x, sigma):
    """An analytic stand-in for a network of the score; the test has the same."""
    return x * sigma / (sigma + 1)


def other_classes():
    """Each class from files that another class wrote, that name none, or that name one unknown to diffusers."""
    solvers = "DDPM DDIM PNDM LMSDiscrete EulerDiscrete EulerAncestralDiscrete DPMSolverMultistep HeunDiscrete KDPM2Discrete"
    solvers += " DPMSolverSinglestep KDPM2AncestralDiscrete UniPCMultistep DDIMInverse DEISMultistep LCM"
    solvers += " FlowMatchEulerDiscrete FlowMatchHeunDiscrete"
    zeroscope = SD | {"clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1, "skip_prk_steps": True}
    defaults = SD | {"timestep_spacing": "leading", "set_alpha_to_one": True, "clip_sample": False}
    configs = [
        zeroscope | {"_class_name": "DDIMScheduler"},
        SD | {"timestep_spacing": "trailing", "clip_sample": False},
        defaults | {"_class_name": "LCMScheduler", "_use_default_values": list(defaults)},
        zeroscope | {"_class_name": "SomebodysScheduler", "_use_default_values": ["steps_offset", "clip_sample"]},
    ]
    runs = [run_of(f"{name}Scheduler", config, 7, shape=[1, 1, 2, 2, 2]) for name in solvers.split() for config in configs]
    write("other_classes", runs, [])


def score_sde_ve():
    """The loop of diffusers' pipeline for this scheduler, at all of its calls."""
    configs = [
        {},
        {"snr": 0.3, "correct_steps": 2},
        {"sigma_min": 0.05, "sigma_max": 30.0},
        {"sampling_eps": 0.01, "correct_steps": 0},
        {"num_train_timesteps": 100, "sigma_max": 5.0, "snr": 0.05},
        {"_class_name": "DDIMScheduler", "beta_start": 0.0001},
    ]
    runs, tensors = [], {}
    for config in configs:
        for steps in (1, 4, 11, 30):
            index, scheduler = len(runs), diffusers.ScoreSdeVeScheduler.from_config(dict(config))
            scheduler.set_timesteps(steps)
            scheduler.set_sigmas(steps)
            generator = torch.Generator().manual_seed(11)
            sample = torch.randn(SHAPE, generator=generator) * scheduler.init_noise_sigma * 1e-3
            samples, means = [sample], []
            for i, timestep in enumerate(scheduler.timesteps):
                sigma = scheduler.sigmas[i]
                for _ in range(scheduler.config.correct_steps):
                    output = score_model(sample, sigma)
                    sample = scheduler.step_correct(output, sample, generator=generator).prev_sample
                    samples.append(sample)
                result = scheduler.step_pred(score_model(sample, sigma), timestep, sample, generator=generator)
                # A score of this size grows without a bound.
                sample = torch.tanh(result.prev_sample)
                samples.append(sample)
                means.append(result.prev_sample_mean)
            noise = torch.randn([1, 2, 2, 2], generator=generator)
            at = torch.tensor([steps // 2])
            noised = scheduler.add_noise(torch.ones_like(noise), noise, at)
            runs.append({"config": config, "steps": steps, "init_noise_sigma": scheduler.init_noise_sigma})
            tensors |= {
                f"{index}.samples": torch.stack(samples), f"{index}.means": torch.stack(means),
                f"{index}.timesteps": scheduler.timesteps.double(), f"{index}.sigmas": scheduler.sigmas.double(),
                f"{index}.noised": noised,
            }
            assert all(torch.isfinite(tensor).all() for tensor in tensors.values()), config
    scheduler = diffusers.ScoreSdeVeScheduler()
    scheduler.set_timesteps(7, sampling_eps=0.2)
    scheduler.set_sigmas(7, sigma_min=0.5, sigma_max=20.0)
    tensors |= {"given.timesteps": scheduler.timesteps.double(), "given.sigmas": scheduler.sigmas.double()}
    save("score_sde_ve", tensors, {"runs": runs})
    print("score_sde_ve", len(runs), "runs")


if __name__ == "__main__":
    torch.set_num_threads(1)
    ddpm()
    pndm()
    dpmsolver_singlestep()
    unipc_multistep()
    deis_multistep()
    ddim_inverse()
    ipndm()
    lcm()
    score_sde_ve()
    other_classes()
