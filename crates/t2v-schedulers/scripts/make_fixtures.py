"""Writes tests/fixtures/*.safetensors: trajectories of diffusers' schedulers and numbers of torch's generator.

Made with diffusers==0.42.1 torch==2.13.0 numpy==2.4.6 scipy==1.17.1 safetensors==0.8.0, on an x86-64 CPU with AVX2.
Deterministic. Run with

    OMP_NUM_THREADS=1 python scripts/make_fixtures.py

(`make_sigma_fixtures.py`, which uses the functions of this file, makes the rest.)

Each file's metadata has one entry, `info`, a JSON object. In a trajectory file, that has a list `runs`, and run number i
has the tensors `i.samples` (the starting sample, then the sample after each step), `i.timesteps`, `i.originals` (the
estimates of the clean sample, for classes that return them) and `i.noised` (add_noise at the indices of the run's
`noised`, none for classes that have none). Its list `tables` has configurations whose timesteps for 1 to 50 steps lie in `table.j`, one after another. In
`generator`, `calls` has the sizes of consecutive draws.
"""

import copy
import functools
import inspect
import json
import math
import pathlib
import warnings

import diffusers
import numpy
import torch
from safetensors.torch import save_file

warnings.filterwarnings("ignore")
FOLDER = pathlib.Path(__file__).parent.parent / "tests" / "fixtures"
SHAPE = [1, 2, 3, 2, 2]
STEPS = [1, 4, 11, 30]
SD = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
COSINE = {"beta_schedule": "squaredcos_cap_v2"}
V = {"prediction_type": "v_prediction"}
PLAIN = {"final_sigmas_type": "sigma_min"}


def fake_model(x, t):
    """An analytic stand-in for a network; the tests have the same."""
    return 0.4 * x * math.cos(t / 500) + 0.1 * torch.sin(x)


def run_of(name, config, steps=None, **more):
    """A run: what the test has to repeat."""
    schedule = more.pop("schedule", None) or {"steps": steps}
    return {"class": name, "config": config, "schedule": schedule, "seed": 11, "shape": SHAPE, **more}


@functools.cache
def made(name, config):
    """A scheduler, made once: some constructors take a second."""
    config = json.loads(config)
    if config.get("solver_p"):
        predictor = config["solver_p"]
        config["solver_p"] = getattr(diffusers, predictor["_class_name"]).from_config(predictor)
    return getattr(diffusers, name).from_config(config)


def scheduler_of(run):
    scheduler = copy.deepcopy(made(run["class"], json.dumps(run["config"])))
    schedule = dict(run["schedule"])
    if run["class"] == "UniPCMultistepScheduler" and "sigmas" in schedule:
        schedule["sigmas"] = numpy.array(schedule["sigmas"])
    if "steps" in schedule:
        schedule["num_inference_steps"] = schedule.pop("steps")
    scheduler.set_timesteps(**schedule)
    timesteps = scheduler.timesteps
    if timesteps.dtype == torch.int64 and hasattr(scheduler, "_sigma_to_t") and sum(timesteps == timesteps[0]) > 1:
        scheduler.timesteps = fractional(scheduler)
    return scheduler


def fractional(scheduler):
    """The timesteps of a scheduler's sigmas before they are made whole numbers.

    Where the first whole number comes twice, diffusers' `step` begins with the second one's sigma and ends in an
    IndexError (https://github.com/huggingface/diffusers/issues/12771). These timesteps, and `set_begin_index`, are what it
    should do.
    """
    sigmas = scheduler.sigmas[:-1].double()
    if scheduler.config.use_flow_sigmas:
        return sigmas * scheduler.config.num_train_timesteps
    logs = numpy.log(numpy.array(((1 - scheduler.alphas_cumprod) / scheduler.alphas_cumprod) ** 0.5))
    return torch.from_numpy(numpy.array([scheduler._sigma_to_t(sigma, logs) for sigma in sigmas.numpy()]))


def begin_at(scheduler, index):
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(index)


def noised(run, original, noise):
    """add_noise at some timesteps, on fresh schedulers since a begun one ignores the timestep."""
    results = []
    for index in run["noised"]:
        scheduler = scheduler_of(run)
        begin_at(scheduler, index)
        timestep = scheduler.timesteps[index : index + 1]
        if hasattr(scheduler, "add_noise"):
            results.append(scheduler.add_noise(original, noise, timestep))
        else:
            results.append(scheduler.scale_noise(original, timestep, noise))
    return torch.stack(results)


def scaled(scheduler, sample, timestep):
    """The model's input; the flow-matching classes take the sample as it is."""
    return scheduler.scale_model_input(sample, timestep) if hasattr(scheduler, "scale_model_input") else sample


def step_arguments(scheduler, run, generator):
    """The options of a step, and the generator where the class takes one."""
    takes = "generator" in inspect.signature(scheduler.step).parameters
    return run.get("options", {}) | ({"generator": generator} if takes else {})


def trajectory(run):
    scheduler = scheduler_of(run)
    begin = run.get("begin", 0)
    begin_at(scheduler, begin)
    count = len(scheduler.timesteps)
    adds_noise = hasattr(scheduler, "add_noise") or hasattr(scheduler, "scale_noise")
    run["noised"] = sorted({0, count // 2, count - 1}) if adds_noise else []
    init_noise_sigma = getattr(scheduler, "init_noise_sigma", 1.0)
    run["init_noise_sigma"] = float(init_noise_sigma)
    generator = torch.Generator().manual_seed(run["seed"])
    sample = torch.randn(run["shape"], generator=generator) * init_noise_sigma
    samples, originals = [sample], []
    for timestep in scheduler.timesteps[begin:]:
        output = fake_model(scaled(scheduler, sample, timestep), timestep.item())
        if run["config"].get("variance_type") in ("learned", "learned_range"):
            output = torch.cat([output, 0.3 * output.abs()], dim=1)
        result = scheduler.step(output, timestep, sample, **step_arguments(scheduler, run, generator))
        sample = result.prev_sample
        samples.append(sample)
        originals.append(getattr(result, "pred_original_sample", getattr(result, "denoised", None)))
    assert all(torch.isfinite(sample).all() for sample in samples), run
    noise = torch.randn(run["shape"], generator=generator)
    tensors = {
        "samples": torch.stack(samples),
        "timesteps": scheduler.timesteps.double(),
    }
    if run["noised"]:
        tensors["noised"] = noised(run, samples[0], noise)
    if originals[0] is not None:
        tensors["originals"] = torch.stack(originals)
    return tensors


def table(name, config):
    """Timesteps for 1 to 50 steps, one after another."""
    counts = range(1, 51)
    runs = [run_of(name, config, steps) for steps in counts]
    return torch.cat([scheduler_of(run).timesteps.float() for run in runs])


def save(file, tensors, info):
    """With one metadata entry only, because safetensors writes several in a random order."""
    save_file(tensors, FOLDER / f"{file}.safetensors", {"info": json.dumps(info)})


def write(file, runs, tables):
    tensors = {}
    for index, run in enumerate(runs):
        tensors |= {f"{index}.{key}": value.contiguous() for key, value in trajectory(run).items()}
    tensors |= {f"table.{index}": table(name, config) for index, (name, config) in enumerate(tables)}
    save(file, tensors, {"runs": runs, "tables": tables})
    print(file, len(runs), "runs", len(tables), "tables", (FOLDER / f"{file}.safetensors").stat().st_size, "bytes")


def ddim():
    name = "DDIMScheduler"
    zeroscope = SD | {"clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1, "skip_prk_steps": True}
    trained = {"num_train_timesteps": 60, "trained_betas": [0.001 + 0.003 * i for i in range(60)]}
    switched = {
        "_class_name": "PNDMScheduler", "_use_default_values": ["set_alpha_to_one"], "set_alpha_to_one": False,
        "_diffusers_version": "0.42.1", "beta_schedule": "scaled_linear", "skip_prk_steps": True,
    }
    configs = [
        {},
        zeroscope,
        zeroscope | V | {"timestep_spacing": "trailing", "rescale_betas_zero_snr": True},
        SD | {"prediction_type": "sample", "timestep_spacing": "linspace", "clip_sample_range": 0.7},
        COSINE | V,
        trained | {"set_alpha_to_one": False},
        switched,
        SD | {"timestep_spacing": "trailing"},
    ]
    runs = [run_of(name, config, steps) for config in configs for steps in STEPS]
    threshold = SD | {"thresholding": True, "dynamic_thresholding_ratio": 0.9, "sample_max_value": 1.5}
    low = threshold | {"sample_max_value": 0.5, "dynamic_thresholding_ratio": 0.995}
    for steps in STEPS:
        runs += [
            run_of(name, threshold, steps, shape=[2, 2, 3, 2, 2]),
            run_of(name, low, steps),
            run_of(name, zeroscope, steps, options={"eta": 0.7}),
            run_of(name, SD, steps, options={"eta": 1.0, "use_clipped_model_output": True}),
        ]
    runs.append(run_of(name, zeroscope, 11, begin=4))
    write("ddim", runs, [(name, config) for config in configs])


def euler():
    name = "EulerDiscreteScheduler"
    video = SD | V | {
        "timestep_type": "continuous", "use_karras_sigmas": True, "sigma_min": 0.002, "sigma_max": 700.0,
        "timestep_spacing": "leading", "steps_offset": 1,
    }
    configs = [
        {},
        SD | {"timestep_spacing": "leading", "steps_offset": 1},
        SD | {"use_karras_sigmas": True},
        SD | {"use_exponential_sigmas": True},
        SD | {"use_beta_sigmas": True, "sigma_min": 0.05},
        SD | {"interpolation_type": "log_linear"},
        SD | {"interpolation_type": "log_linear", "use_karras_sigmas": True},
        video,
        SD | V | {"timestep_type": "continuous", "interpolation_type": "log_linear"},
        SD | PLAIN | {"prediction_type": "sample"},
        SD | V | {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"},
        COSINE | {"prediction_type": "original_sample"},
        SD | {"timestep_spacing": "trailing"},
    ]
    runs = [run_of(name, config, steps) for config in configs for steps in STEPS]
    churn = {"s_churn": 3.0, "s_tmin": 0.1, "s_tmax": 10.0, "s_noise": 1.003}
    runs += [run_of(name, SD, steps, options=churn) for steps in STEPS]
    runs += [
        run_of(name, SD | V, 11, options={"s_churn": 40.0}),
        run_of(name, SD, schedule={"timesteps": [999, 850, 736, 645, 545, 455, 343, 233, 124, 24]}),
        run_of(name, SD, schedule={"sigmas": [14.615, 6.475, 3.861, 1.886, 0.963, 0.399, 0.152, 0.0]}),
        run_of(name, SD, 11, begin=5),
    ]
    write("euler_discrete", runs, [(name, config) for config in configs])


def dpmsolver_multistep():
    name = "DPMSolverMultistepScheduler"
    configs = [SD | {"solver_order": order, "solver_type": solver, "algorithm_type": algorithm} | PLAIN
               for order in (1, 2, 3) for solver in ("midpoint", "heun")
               for algorithm in ("dpmsolver", "dpmsolver++", "sde-dpmsolver", "sde-dpmsolver++")
               if (order, algorithm) != (3, "sde-dpmsolver")]
    flow = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}
    threshold = {"thresholding": True, "dynamic_thresholding_ratio": 0.9, "sample_max_value": 1.5}
    ode = PLAIN | {"algorithm_type": "dpmsolver"}
    others = [
        {},
        SD | {"solver_order": 3},
        SD | {"use_karras_sigmas": True},
        SD | {"use_karras_sigmas": True, "sigma_min": 0.1, "sigma_max": 10.0},
        SD | {"use_exponential_sigmas": True},
        SD | {"use_beta_sigmas": True},
        SD | {"use_lu_lambdas": True},
        flow,
        flow | {"solver_order": 3, "algorithm_type": "sde-dpmsolver++"},
        flow | PLAIN | {"solver_order": 1},
        COSINE | {"use_karras_sigmas": True},
        COSINE | {"use_exponential_sigmas": True},
        COSINE | {"use_beta_sigmas": True},
        COSINE | {"use_lu_lambdas": True},
        COSINE | {"lambda_min_clipped": -5.1},
        COSINE | {"lambda_min_clipped": -5.1, "timestep_spacing": "trailing"},
        SD | {"timestep_spacing": "trailing"},
        SD | {"timestep_spacing": "leading", "steps_offset": 1},
        SD | V | {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"},
        SD | PLAIN | {"euler_at_final": True, "lower_order_final": False},
        SD | PLAIN | {"lower_order_final": False, "solver_order": 3},
        SD | {"prediction_type": "sample"},
        SD | ode | {"prediction_type": "sample"},
        SD | ode | V,
        SD | ode | threshold,
        SD | {"solver_type": "bh2", "variance_type": "fixed_small"},
        {"use_karras_sigmas": True, "num_train_timesteps": 500},
        # Here the last bit of NumPy's logarithm decides the first timestep.
        {"use_exponential_sigmas": True, "beta_start": 0.00085, "beta_end": 0.0145},
    ]
    tables = [(name, config) for config in others]
    runs = [run_of(name, config, steps) for config in configs for steps in (4, 30)]
    runs += [run_of(name, config, steps) for config in others for steps in STEPS]
    for steps in STEPS:
        runs += [
            run_of(name, SD | threshold, steps, shape=[2, 2, 3, 2, 2]),
            run_of(name, SD | {"variance_type": "learned"}, steps, shape=[1, 3, 2, 2, 2]),
            run_of(name, SD | ode | {"variance_type": "learned_range"}, steps, shape=[1, 3, 2, 2, 2]),
        ]
    runs += [
        run_of(name, flow | {"use_dynamic_shifting": True}, schedule={"steps": 11, "mu": 0.9}),
        run_of(name, SD, schedule={"timesteps": [999, 850, 736, 645, 545, 455, 343, 233, 124, 24]}),
        run_of(name, SD | {"solver_order": 3}, 11, begin=4),
    ]
    write("dpmsolver_multistep", runs, tables)


def generator():
    """Consecutive calls on one generator, and sums of the bits of long draws."""
    calls = [5, 24, 1, 16, 3, 17, 1000, 2, 31, 4103, 0, 15, 1]
    tensors, sums = {}, {}
    for seed in [0, 42, 123456789, 0xDEADBEEF, 2**32 + 7]:
        source = torch.Generator().manual_seed(seed)
        tensors[str(seed)] = torch.cat([torch.randn(count, generator=source) for count in calls])
        long = torch.randn(1_000_003, generator=torch.Generator().manual_seed(seed))
        sums[str(seed)] = sum(int(bits) & 0xFFFFFFFF for bits in long.view(torch.int32).tolist())
    shaped = torch.randn([2, 4, 3, 5, 2], generator=torch.Generator().manual_seed(3))
    save("generator", tensors | {"shaped": shaped}, {"calls": calls, "bit_sums": sums})


if __name__ == "__main__":
    torch.set_num_threads(1)
    FOLDER.mkdir(parents=True, exist_ok=True)
    generator()
    ddim()
    euler()
    dpmsolver_multistep()
