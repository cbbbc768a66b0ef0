"""Golden fixtures of crates/t2v-train: gradients of a LoRA and ten steps of AdamW, from peft 0.21.2 on diffusers 0.42.1.

    python scripts/make_t2v_train_fixtures.py
"""

import json
import sys

import torch
from diffusers import DDPMScheduler, UNet3DConditionModel
from fixtures import folder_of, generator, inputs, outputs, randomize, round_to_f16, write
from peft import LoraConfig, inject_adapter_in_model

FOLDER = folder_of("t2v-train")
STEPS = 10
TARGETS = ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2"]
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


def snr_weight(scheduler, timestep: int, gamma: float, prediction: str) -> float:
    alpha = scheduler.alphas_cumprod[timestep].item()
    ratio = alpha / (1 - alpha)
    return min(ratio, gamma) / (ratio if prediction == "epsilon" else ratio + 1)


def case(name: str, seed: int, prediction: str, gamma: float | None) -> None:
    unet = round_to_f16(randomize(UNet3DConditionModel(**UNET), seed))
    base = {f"weights.{key}": value.half() for key, value in unet.state_dict().items()}
    config = json.loads(unet.to_json_string())
    unet.requires_grad_(False)
    inject_adapter_in_model(LoraConfig(r=2, lora_alpha=6, target_modules=TARGETS, init_lora_weights=False), unet)
    rng = generator(1000 + seed)
    factors = {key: value for key, value in unet.named_parameters() if "lora_" in key}
    with torch.no_grad():
        for value in factors.values():
            value.copy_(0.2 * torch.randn(value.shape, generator=rng))
            value.requires_grad_(True)
    short = {key: key.replace(".default.weight", "") for key in factors}
    tensors = base | {f"input.{short[key]}": value.detach().clone() for key, value in factors.items()}

    options = dict(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, prediction_type=prediction)
    scheduler = DDPMScheduler(**options)
    latents = torch.randn(1, 4, 3, 6, 8, generator=rng)
    text = torch.randn(1, 5, UNET["cross_attention_dim"], generator=rng)
    noise = torch.randn(STEPS, *latents.shape[1:], generator=rng)
    timesteps = torch.randint(0, 1000, (STEPS,), generator=rng)
    tensors |= inputs(latents=latents, text=text, noise=noise, timesteps=timesteps.float())

    optimiser = torch.optim.AdamW(factors.values(), lr=2e-3, betas=(0.9, 0.999), weight_decay=0.01, eps=1e-8)
    losses = []
    for step in range(STEPS):
        timestep = timesteps[step : step + 1]
        noisy = scheduler.add_noise(latents, noise[step : step + 1], timestep)
        target = noise[step : step + 1] if prediction == "epsilon" else scheduler.get_velocity(latents, noise[step : step + 1], timestep)
        found = unet(noisy, timestep, encoder_hidden_states=text).sample
        loss = (found - target).square().mean()
        if gamma is not None:
            loss = loss * snr_weight(scheduler, int(timestep), gamma, prediction)
        losses.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        if step == 0:
            tensors |= {f"output.gradient.{short[key]}": value.grad.clone() for key, value in factors.items()}
        torch.nn.utils.clip_grad_norm_(factors.values(), 0.5)
        optimiser.step()
    tensors |= outputs(losses=torch.tensor(losses))
    tensors |= {f"output.after.{short[key]}": value.detach().clone() for key, value in factors.items()}
    call = dict(rank=2, alpha=6, targets=TARGETS, gamma=gamma, learning_rate=2e-3, weight_decay=0.01, clip=0.5)
    write(FOLDER / f"{name}.safetensors", tensors, config=config, call=call, scheduler=options)


def check_file(path: str) -> None:
    """Has diffusers load a LoRA that the Rust crate saved for the network of `lora_velocity`, and says what changed by it.

    diffusers 0.42.1 has the way of a LoRA into a `UNet3DConditionModel` no more; it lacks the mixin alone, which is given back here.
    """
    from diffusers.loaders import PeftAdapterMixin, StableDiffusionLoraLoaderMixin
    from safetensors.torch import load_file

    fixture = load_file(FOLDER / "lora_velocity.safetensors")
    unet = UNet3DConditionModel(**UNET).eval()
    unet.load_state_dict({key[8:]: value.float() for key, value in fixture.items() if key.startswith("weights.")})
    unet.__class__ = type("UNet3DConditionModel", (UNet3DConditionModel, PeftAdapterMixin), {})
    noisy, text = fixture["input.latents"], fixture["input.text"]
    with torch.no_grad():
        before = unet(noisy, 500, encoder_hidden_states=text).sample
        state, alphas, metadata = StableDiffusionLoraLoaderMixin.lora_state_dict(path, return_lora_metadata=True)
        StableDiffusionLoraLoaderMixin.load_lora_into_unet(state, alphas, unet, metadata=metadata)
        after = unet(noisy, 500, encoder_hidden_states=text).sample
    change, values = float((after - before).abs().max()), [round(float(x), 5) for x in after.flatten()[:4]]
    print(f"{len(state)} tensors; the prediction changed by up to {change:.6f} and begins with {values}")


if len(sys.argv) > 1:
    check_file(sys.argv[1])
else:
    case("lora_epsilon", 900, "epsilon", None)
    case("lora_velocity", 901, "v_prediction", 5.0)
