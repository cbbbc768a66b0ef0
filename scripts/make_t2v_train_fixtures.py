"""Golden fixtures of crates/t2v-train: gradients of a LoRA and ten steps of AdamW, from peft 0.21.2 on diffusers 0.42.1.

    python scripts/make_t2v_train_fixtures.py
    python scripts/make_t2v_train_fixtures.py LORA...    # what diffusers makes of LoRAs of the crate's tests

The weights of networks are f16 in the files, and the references are computed with those in f32. `lora_text_encoder` has the
weights of the text encoder of `lora_text` alone.
"""

import json
import sys
from dataclasses import dataclass

import torch
from diffusers import (
    DDPMScheduler,
    FlowMatchEulerDiscreteScheduler,
    UNet3DConditionModel,
    UNetMotionModel,
    WanTransformer3DModel,
)
from fixtures import folder_of, generator, inputs, outputs, randomize, round_to_f16, weights, write
from peft import LoraConfig, inject_adapter_in_model
from transformers import CLIPTextConfig, CLIPTextModel

FOLDER = folder_of("t2v-train")
STEPS = 10
TARGETS = ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2"]
CONVOLUTIONS = ["to_q", "resnets.0.conv1", "resnets.0.conv2", "conv_shortcut", "conv1.2", "conv4.3", "conv_in", "upsamplers.0.conv"]
WAN_TARGETS = ["to_q", "to_k", "to_v", "to_out.0", "ffn.net.0.proj", "ffn.net.2"]
TEXT_TARGETS = ["q_proj", "k_proj", "v_proj", "out_proj"]
UNET = dict(
    sample_size=8,
    in_channels=4,
    out_channels=4,
    down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
    up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
    block_out_channels=(8, 16),
    layers_per_block=1,
    norm_num_groups=4,
    cross_attention_dim=12,
    attention_head_dim=4,
)
MOTION = dict(
    sample_size=8,
    in_channels=4,
    out_channels=4,
    down_block_types=("CrossAttnDownBlockMotion", "DownBlockMotion"),
    up_block_types=("UpBlockMotion", "CrossAttnUpBlockMotion"),
    block_out_channels=(8, 16),
    layers_per_block=1,
    norm_num_groups=4,
    cross_attention_dim=12,
    num_attention_heads=2,
    motion_num_attention_heads=2,
    motion_max_seq_length=8,
    use_motion_mid_block=False,
)
WAN = dict(
    num_attention_heads=2,
    attention_head_dim=12,
    in_channels=4,
    out_channels=4,
    text_dim=12,
    freq_dim=8,
    ffn_dim=20,
    num_layers=2,
    rope_max_seq_len=16,
)
TEXT = dict(
    vocab_size=20,
    hidden_size=12,
    intermediate_size=16,
    num_hidden_layers=2,
    num_attention_heads=3,
    max_position_embeddings=7,
    hidden_act="quick_gelu",
    bos_token_id=18,
    eos_token_id=19,
)


class Noise:
    """The noise of a diffusion: of betas."""

    def __init__(self, prediction: str, gamma: float | None = None):
        self.options = dict(
            beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, prediction_type=prediction
        )
        self.kind, self.prediction, self.gamma = "DDPMScheduler", prediction, gamma
        self.scheduler = DDPMScheduler(**self.options)

    def noisy(self, latents, noise, timestep):
        return self.scheduler.add_noise(latents, noise, timestep)

    def target(self, latents, noise, timestep):
        return noise if self.prediction == "epsilon" else self.scheduler.get_velocity(latents, noise, timestep)

    def told(self, timestep):
        return timestep

    def weight(self, timestep: int) -> float:
        """Min-SNR."""
        if self.gamma is None:
            return 1.0
        alpha = self.scheduler.alphas_cumprod[timestep].item()
        ratio = alpha / (1 - alpha)
        return min(ratio, self.gamma) / (ratio if self.prediction == "epsilon" else ratio + 1)


class Flow:
    """The noise of a flow; diffusers counts its timesteps from the most noise."""

    gamma = None

    def __init__(self, shift: float):
        self.options, self.kind = dict(shift=shift), "FlowMatchEulerDiscreteScheduler"
        self.scheduler = FlowMatchEulerDiscreteScheduler(**self.options)

    def told(self, timestep):
        return self.scheduler.timesteps[len(self.scheduler.timesteps) - 1 - timestep]

    def noisy(self, latents, noise, timestep):
        return self.scheduler.scale_noise(latents, self.told(timestep), noise)

    def target(self, latents, noise, timestep):
        return noise - latents

    def weight(self, timestep: int) -> float:
        return 1.0


@dataclass
class Case:
    name: str
    seed: int
    network: torch.nn.Module
    noise: Noise | Flow
    targets: list[str]
    size: tuple[int, int, int] = (3, 6, 8)
    # Text once a frame, as diffusers' pipeline of motion modules repeats it.
    repeats_text: bool = False
    # Whether places count differently.
    masked: bool = False
    text_encoder: CLIPTextModel | None = None


def adapted(model, targets: list[str], rng, prefix: str = "") -> dict[str, torch.nn.Parameter]:
    """The matrices of adapters on a model, random, by the names that the fixture gives them."""
    model.requires_grad_(False)
    inject_adapter_in_model(LoraConfig(r=2, lora_alpha=6, target_modules=targets, init_lora_weights=False), model)
    factors = {prefix + key.replace(".default.weight", ""): value for key, value in model.named_parameters() if "lora_" in key}
    with torch.no_grad():
        for value in factors.values():
            value.copy_(0.2 * torch.randn(value.shape, generator=rng))
            value.requires_grad_(True)
    return factors


def run(case: Case) -> None:
    network, noise_of = case.network, case.noise
    tensors = weights(network, torch.float16)
    config = json.loads(network.to_json_string())
    rng = generator(1000 + case.seed)
    factors = adapted(network, case.targets, rng)
    if case.text_encoder is not None:
        factors |= adapted(case.text_encoder, TEXT_TARGETS, rng, "text_encoder.")
    # Those of a convolution as matrices.
    tensors |= {f"input.{key}": value.detach().flatten(1).clone() for key, value in factors.items()}

    latents = torch.randn(1, 4, *case.size, generator=rng)
    text = torch.randn(1, 5, 12, generator=rng)
    noise = torch.randn(STEPS, *latents.shape[1:], generator=rng)
    timesteps = torch.randint(0, 1000, (STEPS,), generator=rng)
    given = dict(latents=latents, text=text, noise=noise, timesteps=timesteps.float())
    places = torch.ones(1, 1, *case.size)
    if case.masked:
        places = given["places"] = 0.1 + 0.9 * torch.rand(places.shape, generator=rng)
    if case.text_encoder is not None:
        ids = torch.tensor([[18, 3, 11, 7, 2, 19, 19]])
        given["ids"] = ids.float()
    tensors |= inputs(**given)

    optimiser = torch.optim.AdamW(factors.values(), lr=2e-3, betas=(0.9, 0.999), weight_decay=0.01, eps=1e-8)
    losses = []
    for step in range(STEPS):
        timestep, of_step = timesteps[step : step + 1], noise[step : step + 1]
        shown = text if case.text_encoder is None else case.text_encoder(ids).last_hidden_state
        if case.repeats_text:
            shown = shown.repeat_interleave(case.size[0], dim=0)
        noisy = noise_of.noisy(latents, of_step, timestep)
        found = network(noisy, timestep=noise_of.told(timestep), encoder_hidden_states=shown).sample
        error = (found - noise_of.target(latents, of_step, timestep)).square()
        loss = (error * places).mean() / places.mean() * noise_of.weight(int(timestep))
        losses.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        if step == 0:
            tensors |= {f"output.gradient.{key}": value.grad.flatten(1).clone() for key, value in factors.items()}
        torch.nn.utils.clip_grad_norm_(factors.values(), 0.5)
        optimiser.step()
    tensors |= outputs(losses=torch.tensor(losses))
    tensors |= {f"output.after.{key}": value.detach().flatten(1).clone() for key, value in factors.items()}
    call = dict(
        rank=2, alpha=6, targets=case.targets, gamma=noise_of.gamma, learning_rate=2e-3, weight_decay=0.01, clip=0.5
    )
    scheduler = {"_class_name": noise_of.kind} | noise_of.options
    write(FOLDER / f"{case.name}.safetensors", tensors, config=config, call=call, scheduler=scheduler)


def network(model, seed: int):
    return round_to_f16(randomize(model, seed))


@torch.no_grad()
def motion_network(seed: int) -> UNetMotionModel:
    model = network(UNetMotionModel(**MOTION), seed)
    for buffer in model.buffers():
        buffer.copy_(buffer.half().float())
    return model


@torch.no_grad()
def wan_network(seed: int) -> WanTransformer3DModel:
    """Normalisations scale by about 1 and shift; modulations are as large as what they change."""
    model = randomize(WanTransformer3DModel(**WAN), seed, 0.9)
    rng = generator(seed + 5000)
    for key, parameter in model.named_parameters():
        uniform = 2 * torch.rand(parameter.shape, generator=rng) - 1
        if ".norm" in key and key.endswith(".weight"):
            parameter.copy_(1 + 0.3 * uniform)
        elif key.endswith("scale_shift_table"):
            parameter.copy_(0.6 * uniform)
    return round_to_f16(model)


def make() -> None:
    unet = lambda seed: network(UNet3DConditionModel(**UNET), seed)
    run(Case("lora_epsilon", 900, unet(900), Noise("epsilon"), TARGETS))
    run(Case("lora_velocity", 901, unet(901), Noise("v_prediction", 5.0), TARGETS))
    run(Case("lora_convolutions", 906, unet(906), Noise("epsilon"), CONVOLUTIONS))
    run(Case("lora_motion", 902, motion_network(902), Noise("epsilon"), TARGETS, repeats_text=True, masked=True))
    run(Case("lora_flow", 903, wan_network(903), Flow(3.0), WAN_TARGETS, size=(3, 4, 6)))
    text_encoder = network(CLIPTextModel(CLIPTextConfig(**TEXT)), 904)
    of_text_encoder = weights(text_encoder, torch.float16)
    write(FOLDER / "lora_text_encoder.safetensors", of_text_encoder, config=TEXT, call={})
    run(Case("lora_text", 905, unet(905), Noise("epsilon"), TARGETS, text_encoder=text_encoder))


def check_file(path: str) -> None:
    """Has diffusers load a LoRA that the Rust crate saved for the network of the fixture of its name, and says what changed by it.

    diffusers 0.42.1 has the way of a LoRA into a `UNet3DConditionModel` no more; it lacks the mixin alone, which is given back here.
    """
    from pathlib import Path

    from diffusers.loaders import PeftAdapterMixin, StableDiffusionLoraLoaderMixin, WanLoraLoaderMixin
    from safetensors import safe_open
    from safetensors.torch import load_file

    file = FOLDER / f"{Path(path).stem}.safetensors"
    fixture = load_file(file)
    config = json.loads(safe_open(file, "pt").metadata()["config"])
    classes = {made.__name__: made for made in (UNet3DConditionModel, UNetMotionModel, WanTransformer3DModel)}
    made = classes[config["_class_name"]]
    network = made.from_config(config).eval()
    network.load_state_dict({key[8:]: value.float() for key, value in fixture.items() if key.startswith("weights.")})
    if made is UNet3DConditionModel:
        network.__class__ = type("UNet3DConditionModel", (UNet3DConditionModel, PeftAdapterMixin), {})
    noisy, text = fixture["input.latents"], fixture["input.text"]
    if made is UNetMotionModel:
        text = text.repeat_interleave(noisy.shape[2], dim=0)
    call = lambda: network(noisy, timestep=torch.tensor([500.0]), encoder_hidden_states=text).sample
    loader = WanLoraLoaderMixin if made is WanTransformer3DModel else StableDiffusionLoraLoaderMixin
    with torch.no_grad():
        before = call()
        if loader is WanLoraLoaderMixin:
            state, metadata = loader.lora_state_dict(path, return_lora_metadata=True)
            loader.load_lora_into_transformer(state, network, metadata=metadata)
        else:
            state, alphas, metadata = loader.lora_state_dict(path, return_lora_metadata=True)
            loader.load_lora_into_unet(state, alphas, network, metadata=metadata)
        after = call()
    say(Path(path).stem, len(state), before, after)
    if any(key.startswith("text_encoder.") for key in state):
        of_text = load_file(FOLDER / "lora_text_encoder.safetensors")
        model = CLIPTextModel(CLIPTextConfig(**TEXT)).eval()
        model.load_state_dict({key[8:]: value.float() for key, value in of_text.items()})
        ids = torch.tensor([[18, 3, 5, 19]])
        with torch.no_grad():
            before = model(ids).last_hidden_state
            loader.load_lora_into_text_encoder(state, alphas, model, prefix="text_encoder", metadata=metadata)
            say("its text encoder", len(state), before, model(ids).last_hidden_state)


def say(what: str, tensors: int, before: torch.Tensor, after: torch.Tensor) -> None:
    change, values = float((after - before).abs().max()), [round(float(x), 5) for x in after.flatten()[:4]]
    print(f"{what}: {tensors} tensors; the result changed by up to {change:.6f} and begins with {values}")


if len(sys.argv) > 1:
    for path in sys.argv[1:]:
        check_file(path)
else:
    make()
