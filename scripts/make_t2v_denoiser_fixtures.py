"""Golden fixtures of crates/t2v-denoiser, from diffusers 0.42.1 and torch 2.13.0.

    python scripts/make_t2v_denoiser_fixtures.py
"""

import json

import torch
from diffusers import UNet3DConditionModel
from diffusers.models.embeddings import Timesteps
from diffusers.models.resnet import TemporalConvLayer
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.transformers.transformer_temporal import TransformerTemporalModel
from diffusers.models.unets.unet_3d_blocks import UNetMidBlock3DCrossAttn, get_down_block, get_up_block
from fixtures import folder_of, generator, inputs, outputs, randomize, round_to_f16, weights, write

FOLDER = folder_of("t2v-denoiser")
BATCH, FRAMES, TOKENS = 2, 3, 7


@torch.no_grad()
def timestep_embedding():
    config = dict(num_channels=32, flip_sin_to_cos=True, downscale_freq_shift=0)
    timesteps = torch.tensor([0.0, 1.0, 3.7, 500.0, 999.0])
    tensors = inputs(timesteps=timesteps) | outputs(embedding=Timesteps(**config)(timesteps))
    write(FOLDER / "timestep_embedding.safetensors", tensors, config=config, call={})


@torch.no_grad()
def spatial_transformers():
    common = dict(num_layers=1, norm_num_groups=4, cross_attention_dim=20, use_linear_projection=True)
    cases = {
        "transformer_2d": dict(num_attention_heads=2, attention_head_dim=8, in_channels=16, **common),
        # as CrossAttnDownBlock3D builds it for attention_head_dim 6: 32 // 6 heads of 6 channels, 30 of 32
        "transformer_2d_uneven": dict(num_attention_heads=32 // 6, attention_head_dim=6, in_channels=32, **common),
    }
    for seed, (name, config) in enumerate(cases.items(), 20):
        model = randomize(Transformer2DModel(**config), seed)
        rng = generator(100 + seed)
        x = torch.randn(FRAMES, config["in_channels"], 4, 5, generator=rng)
        text = torch.randn(FRAMES, TOKENS, 20, generator=rng)
        sample = model(x, encoder_hidden_states=text).sample
        tensors = weights(model) | inputs(hidden_states=x, encoder_hidden_states=text) | outputs(sample=sample)
        write(FOLDER / f"{name}.safetensors", tensors, config=config, call={})


@torch.no_grad()
def temporal_transformers():
    common = dict(in_channels=16, num_layers=1, norm_num_groups=4)
    cases = {
        "transformer_temporal": dict(num_attention_heads=2, attention_head_dim=8, cross_attention_dim=20, **common),
        "transformer_in": dict(num_attention_heads=8, attention_head_dim=4, **common),
    }
    for seed, (name, config) in enumerate(cases.items(), 30):
        model = randomize(TransformerTemporalModel(**config), seed)
        call = dict(num_frames=5)
        x = torch.randn(BATCH * call["num_frames"], 16, 3, 4, generator=generator(100 + seed))
        tensors = weights(model) | inputs(hidden_states=x) | outputs(sample=model(x, **call).sample)
        write(FOLDER / f"{name}.safetensors", tensors, config=config, call=call)


@torch.no_grad()
def temporal_conv():
    config, call = dict(in_dim=16, out_dim=16, dropout=0.1, norm_num_groups=4), dict(num_frames=5)
    layer = randomize(TemporalConvLayer(**config), 40)
    x = torch.randn(BATCH * 5, 16, 3, 4, generator=generator(140))
    tensors = weights(layer) | inputs(hidden_states=x) | outputs(hidden_states=layer(x, **call))
    write(FOLDER / "temporal_conv.safetensors", tensors, config=config, call=call)


@torch.no_grad()
def blocks():
    """The blocks, built with the arguments UNet3DConditionModel.__init__ passes."""
    common = dict(
        temb_channels=24,
        resnet_eps=1e-5,
        resnet_act_fn="silu",
        resnet_groups=4,
        cross_attention_dim=20,
        num_attention_heads=8,
        dual_cross_attention=False,
    )
    frames = BATCH * FRAMES
    rng = generator(50)
    temb = torch.randn(frames, 24, generator=rng)
    text = torch.randn(frames, TOKENS, 20, generator=rng)
    call = dict(num_frames=FRAMES)

    for seed, (name, kind) in enumerate({"cross_attn_down_block": "CrossAttnDownBlock3D", "down_block": "DownBlock3D"}.items(), 51):
        config = dict(
            down_block_type=kind,
            num_layers=2,
            in_channels=16,
            out_channels=24,
            add_downsample=True,
            downsample_padding=1,
            **common,
        )
        block = randomize(get_down_block(**config), seed)
        given = dict(hidden_states=torch.randn(frames, 16, 5, 6, generator=rng), temb=temb)
        if "CrossAttn" in kind:
            given["encoder_hidden_states"] = text
        out, states = block(**given, **call)
        states = {f"states.{i}": state for i, state in enumerate(states)}
        tensors = weights(block) | inputs(**given) | outputs(hidden_states=out, **states)
        write(FOLDER / f"{name}.safetensors", tensors, config=config, call=call)

    config = dict(in_channels=24, output_scale_factor=1.25, **common)
    block = randomize(UNetMidBlock3DCrossAttn(**config), 55)
    given = dict(hidden_states=torch.randn(frames, 24, 3, 4, generator=rng), temb=temb, encoder_hidden_states=text)
    tensors = weights(block) | inputs(**given) | outputs(hidden_states=block(**given, **call))
    write(FOLDER / "mid_block.safetensors", tensors, config=config, call=call)

    for seed, (name, kind, size) in enumerate(
        [("cross_attn_up_block", "CrossAttnUpBlock3D", None), ("up_block", "UpBlock3D", [5, 8])], 56
    ):
        config = dict(
            up_block_type=kind,
            num_layers=2,
            in_channels=8,
            out_channels=16,
            prev_output_channel=24,
            add_upsample=True,
            resolution_idx=1,
            **common,
        )
        block = randomize(get_up_block(**config), seed)
        given = dict(hidden_states=torch.randn(frames, 24, 3, 4, generator=rng), temb=temb)
        if "CrossAttn" in kind:
            given["encoder_hidden_states"] = text
        # the last state is taken first
        states = tuple(torch.randn(frames, channels, 3, 4, generator=rng) for channels in (8, 16))
        arguments = call | ({} if size is None else {"upsample_size": size})
        out = block(**given, res_hidden_states_tuple=states, **arguments)
        given |= {f"res_states.{i}": state for i, state in enumerate(states)}
        tensors = weights(block) | inputs(**given) | outputs(hidden_states=out)
        write(FOLDER / f"{name}.safetensors", tensors, config=config, call=arguments)


@torch.no_grad()
def unets():
    """Whole models: the parameters are stored as f16, and the reference is computed with those in f32."""
    configs = {
        "unet_a": dict(
            sample_size=8,
            in_channels=4,
            out_channels=4,
            down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
            up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
            block_out_channels=(16, 32),
            layers_per_block=1,
            norm_num_groups=4,
            cross_attention_dim=16,
            attention_head_dim=8,
        ),
        "unet_b": dict(
            sample_size=8,
            in_channels=4,
            out_channels=5,
            down_block_types=("DownBlock3D", "CrossAttnDownBlock3D", "CrossAttnDownBlock3D"),
            up_block_types=("UpBlock3D", "CrossAttnUpBlock3D", "UpBlock3D"),
            block_out_channels=(8, 16, 16),
            layers_per_block=2,
            downsample_padding=1,
            mid_block_scale_factor=1.3,
            act_fn="gelu",
            norm_num_groups=4,
            norm_eps=1e-6,
            cross_attention_dim=12,
            attention_head_dim=4,
            time_cond_proj_dim=None,
        ),
    }
    cases = {"unet_a": [(981, 8, 6), (3.7, 5, 7)], "unet_b": [(500, 8, 4)]}
    for seed, (name, config) in enumerate(configs.items(), 70):
        unet = round_to_f16(randomize(UNet3DConditionModel(**config), seed))
        tensors = weights(unet, torch.float16)
        rng = generator(100 + seed)
        for i, (timestep, height, width) in enumerate(cases[name]):
            sample = torch.randn(BATCH, config["in_channels"], FRAMES, height, width, generator=rng)
            text = torch.randn(BATCH, TOKENS, config["cross_attention_dim"], generator=rng)
            timestep = torch.tensor([float(timestep)])
            out = unet(sample, timestep, encoder_hidden_states=text).sample
            given = inputs(sample=sample, timestep=timestep, encoder_hidden_states=text) | outputs(sample=out)
            tensors |= given if i == 0 else {f"{key}.{i}": value for key, value in given.items()}
        write(FOLDER / f"{name}.safetensors", tensors, config=json.loads(unet.to_json_string()), call={})


timestep_embedding()
spatial_transformers()
temporal_transformers()
temporal_conv()
blocks()
unets()
