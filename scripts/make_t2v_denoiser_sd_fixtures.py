"""Golden fixtures of crates/t2v-denoiser for Stable Diffusion and AnimateDiff, from diffusers 0.42.1 and torch 2.13.0.

    python scripts/make_t2v_denoiser_sd_fixtures.py

A file with several calls numbers them from the second on: `input.sample`, `input.sample.1`, …
Whole networks keep their parameters as f16, and the references are computed with those in f32.
"""

import json

import torch
from diffusers import MotionAdapter, UNet2DConditionModel, UNetMotionModel
from diffusers.models.attention import FreeNoiseTransformerBlock
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D
from fixtures import folder_of, generator, inputs, outputs, randomize, round_to_f16, weights, write

FOLDER = folder_of("t2v-denoiser")
BATCH, TOKENS = 2, 5

SD1 = dict(
    sample_size=8,
    in_channels=4,
    out_channels=4,
    down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
    up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    block_out_channels=(8, 16),
    layers_per_block=1,
    norm_num_groups=4,
    cross_attention_dim=8,
    attention_head_dim=2,
)
# Level by level: what a list may say.
SD2 = SD1 | dict(
    down_block_types=("CrossAttnDownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"),
    up_block_types=("CrossAttnUpBlock2D", "UpBlock2D", "CrossAttnUpBlock2D"),
    block_out_channels=(8, 8, 16),
    layers_per_block=(1, 2, 1),
    attention_head_dim=(1, 3, 4),
    cross_attention_dim=(10, 7, 10),
    transformer_layers_per_block=(2, 1, 1),
    only_cross_attention=(True, False, False),
    use_linear_projection=True,
    upcast_attention=True,
    norm_eps=1e-6,
)
NETWORKS = {
    "unet_2d_a": (SD1, [(981, 8, 6), (3.7, 9, 7)]),
    "unet_2d_b": (SD2, [(500, 8, 12), (17, 7, 10)]),
    "unet_2d_c": (SD1 | dict(in_channels=9, mid_block_type=None, only_cross_attention=True), [(250, 6, 8)]),
    "unet_2d_lcm": (SD1 | dict(time_cond_proj_dim=16, mid_block_scale_factor=1.3), [(759, 8, 8)]),
    "unet_2d_rare": (
        SD1
        | dict(
            out_channels=3,
            mid_block_type="UNetMidBlock2D",
            center_input_sample=True,
            flip_sin_to_cos=False,
            freq_shift=1,
            time_embedding_dim=20,
            conv_in_kernel=5,
            conv_out_kernel=1,
            downsample_padding=0,
            act_fn="gelu",
        ),
        [(640, 8, 8)],
    ),
}


@torch.no_grad()
def network(model, seed: int):
    """Random parameters that f16 can hold; so are the positions that the motion modules keep beside them."""
    round_to_f16(randomize(model, seed, 0.9))
    for buffer in model.buffers():
        buffer.copy_(buffer.half().float())
    return model


def config(model) -> dict:
    return json.loads(model.to_json_string())


@torch.no_grad()
def unets_2d():
    for seed, (name, (parameters, cases)) in enumerate(NETWORKS.items(), 200):
        unet = network(UNet2DConditionModel(**parameters), seed)
        tensors = weights(unet, torch.float16)
        rng = generator(1000 + seed)
        width = parameters["cross_attention_dim"]
        width = width if isinstance(width, int) else width[0]
        for i, (timestep, *size) in enumerate(cases):
            given = dict(
                sample=torch.randn(BATCH, parameters["in_channels"], *size, generator=rng),
                timestep=torch.tensor([float(timestep)]),
                encoder_hidden_states=torch.randn(BATCH, TOKENS, width, generator=rng),
            )
            if unet.config.time_cond_proj_dim is not None:
                given["timestep_cond"] = torch.randn(BATCH, unet.config.time_cond_proj_dim, generator=rng)
            tensors |= numbered(i, inputs(**given) | outputs(sample=unet(**given).sample))
        write(FOLDER / f"{name}.safetensors", tensors, config=config(unet), call={})


def numbered(i: int, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return tensors if i == 0 else {f"{key}.{i}": value for key, value in tensors.items()}


MOTION_MODULE = dict(
    num_attention_heads=2,
    attention_head_dim=4,
    in_channels=8,
    num_layers=2,
    norm_num_groups=4,
    attention_bias=False,
    activation_fn="geglu",
    positional_embeddings="sinusoidal",
    num_positional_embeddings=8,
)
PLAIN = [dict(num_frames=5), dict(num_frames=8), dict(num_frames=1)]
# The last window ends with the clip, or it lacks one to three frames; a clip of one window; an uneven length.
WINDOWS = [
    dict(num_frames=16, context_length=8, context_stride=4, weighting_scheme="pyramid"),
    dict(num_frames=15, context_length=8, context_stride=4, weighting_scheme="pyramid"),
    dict(num_frames=13, context_length=8, context_stride=4, weighting_scheme="pyramid"),
    dict(num_frames=14, context_length=8, context_stride=4, weighting_scheme="flat"),
    dict(num_frames=12, context_length=8, context_stride=4, weighting_scheme="flat"),
    dict(num_frames=8, context_length=8, context_stride=4, weighting_scheme="pyramid"),
    dict(num_frames=11, context_length=5, context_stride=2, weighting_scheme="pyramid"),
    dict(num_frames=12, context_length=5, context_stride=3, weighting_scheme="pyramid"),
    dict(num_frames=10, context_length=6, context_stride=6, weighting_scheme="delayed_reverse_sawtooth"),
]


def windowed(module: AnimateDiffTransformer3D, case: dict) -> AnimateDiffTransformer3D:
    """The module with its blocks replaced as AnimateDiffPipeline.enable_free_noise replaces them."""
    copy = AnimateDiffTransformer3D(**MOTION_MODULE).eval()
    copy.load_state_dict(module.state_dict())
    properties = {key: case[key] for key in ("context_length", "context_stride", "weighting_scheme")}
    for i, block in enumerate(module.transformer_blocks):
        same = ("dim", "num_attention_heads", "attention_head_dim", "activation_fn", "attention_bias")
        same += ("double_self_attention", "positional_embeddings", "num_positional_embeddings")
        replaced = FreeNoiseTransformerBlock(**{key: getattr(block, key) for key in same}, **properties)
        replaced.load_state_dict(block.state_dict(), strict=True)
        copy.transformer_blocks[i] = replaced.eval()
    return copy


@torch.no_grad()
def motion_modules():
    module = randomize(AnimateDiffTransformer3D(**MOTION_MODULE), 220)
    for name, cases in {"motion_module": PLAIN, "motion_module_windows": WINDOWS}.items():
        tensors = weights(module)
        rng = generator(1220)
        for i, case in enumerate(cases):
            frames = case["num_frames"]
            x = torch.randn(BATCH * frames, MOTION_MODULE["in_channels"], 2, 3, generator=rng)
            layer = module if cases is PLAIN else windowed(module, case)
            sample = layer(x, num_frames=frames)
            tensors |= numbered(i, inputs(hidden_states=x) | outputs(sample=sample))
        write(FOLDER / f"{name}.safetensors", tensors, config=MOTION_MODULE, call=cases)


def clips(unet: UNetMotionModel, seed: int, cases: list[tuple]) -> dict[str, torch.Tensor]:
    """Calls of a network with clips; the text goes in once a frame, as AnimateDiffPipeline repeats it."""
    tensors, rng = {}, generator(seed)
    for i, (timestep, frames, *size) in enumerate(cases):
        sample = torch.randn(BATCH, unet.config.in_channels, frames, *size, generator=rng)
        text = torch.randn(BATCH, TOKENS, unet.config.cross_attention_dim, generator=rng)
        timestep = torch.tensor([float(timestep)])
        out = unet(sample, timestep, encoder_hidden_states=text.repeat_interleave(frames, dim=0)).sample
        given = inputs(sample=sample, timestep=timestep, encoder_hidden_states=text)
        tensors |= numbered(i, given | outputs(sample=out))
    return tensors


@torch.no_grad()
def unets_motion():
    # A base and an adapter in two files, as two folders hold them.
    base = network(UNet2DConditionModel(**SD1), 230)
    parameters = dict(
        block_out_channels=SD1["block_out_channels"],
        motion_layers_per_block=1,
        motion_num_attention_heads=2,
        motion_norm_num_groups=4,
        motion_max_seq_length=32,
    )
    adapter = network(MotionAdapter(**parameters), 231)
    unet = UNetMotionModel.from_unet2d(base, adapter).eval()
    tensors = weights(base, torch.float16) | clips(unet, 1230, [(981, 4, 8, 6), (40, 3, 5, 7)])
    made = config(unet)
    write(FOLDER / "unet_motion_a.safetensors", tensors, config=config(base), motion_config=made, call={})
    write(FOLDER / "motion_adapter_a.safetensors", weights(adapter, torch.float16), config=config(adapter), call={})

    # PIA: the adapter brings the convolution of five more channels; no motion in the middle. The base is that of
    # unet_motion_a.safetensors, and the configuration that of the network that they make.
    adapter = network(MotionAdapter(conv_in_channels=9, use_motion_mid_block=False, **parameters), 232)
    unet = UNetMotionModel.from_unet2d(base, adapter).eval()
    write(FOLDER / "unet_motion_pia.safetensors", clips(unet, 1232, [(300, 3, 6, 8)]), config=config(unet), call={})
    write(FOLDER / "motion_adapter_pia.safetensors", weights(adapter, torch.float16), config=config(adapter), call={})

    # A network saved as one, with lists where the class takes them.
    unet = UNetMotionModel(
        sample_size=8,
        in_channels=5,
        out_channels=4,
        down_block_types=("DownBlockMotion", "CrossAttnDownBlockMotion"),
        up_block_types=("CrossAttnUpBlockMotion", "UpBlockMotion"),
        block_out_channels=(8, 16),
        layers_per_block=(2, 1),
        norm_num_groups=4,
        cross_attention_dim=6,
        num_attention_heads=(1, 4),
        transformer_layers_per_block=(2, 1),
        temporal_transformer_layers_per_block=(2, 1),
        use_linear_projection=True,
        motion_max_seq_length=6,
        motion_num_attention_heads=(1, 2),
        use_motion_mid_block=False,
        act_fn="gelu",
        mid_block_scale_factor=1.2,
    )
    network(unet, 233)
    # The positions of a file count, whatever it holds.
    rng = generator(1333)
    for buffer in unet.buffers():
        buffer.copy_((buffer + 0.2 * torch.randn(buffer.shape, generator=rng)).half().float())
    tensors = weights(unet, torch.float16) | clips(unet, 1233, [(720, 6, 7, 9), (5.5, 1, 4, 4)])
    write(FOLDER / "unet_motion_b.safetensors", tensors, config=config(unet), call={})


if __name__ == "__main__":
    unets_2d()
    motion_modules()
    unets_motion()
