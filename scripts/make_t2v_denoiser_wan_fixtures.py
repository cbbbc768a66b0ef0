"""Golden fixtures of crates/t2v-denoiser for Wan, from diffusers 0.42.1 and torch 2.13.0.

    python scripts/make_t2v_denoiser_wan_fixtures.py

A file with several calls numbers them from the second on: `input.hidden_states`, `input.hidden_states.1`, …
Networks keep their parameters as f16, and the references are computed with those in f32. `wan_original` has the weights of
`wan_picture` under the names of Wan's own code, which diffusers' conversion must turn back into the same; and no calls.

`wan_lora_<layout>` are LoRAs for `wan_text`, and `wan_lora` has what diffusers' network gives with each, called as `wan_text`
is first. They need peft.
"""

import json

import torch
from diffusers import WanTransformer3DModel
from diffusers.loaders.lora_pipeline import WanLoraLoaderMixin
from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers
from fixtures import folder_of, generator, inputs, outputs, randomize, round_to_f16, weights, write
from safetensors.torch import save_file
from wan_layout import original_key

FOLDER = folder_of("t2v-denoiser")
BATCH = 2
# In attention to pictures diffusers takes all tokens before the last 512 for a picture's.
TOKENS, TEXT_BESIDE_PICTURES = 7, 512

TEXT = dict(
    num_attention_heads=3,
    attention_head_dim=14,
    in_channels=4,
    out_channels=4,
    text_dim=10,
    freq_dim=8,
    ffn_dim=20,
    num_layers=2,
    rope_max_seq_len=16,
)
# Other sizes of everything, no normalisation before the attention to text, more channels out than in, an uneven patch.
RARE = TEXT | dict(
    patch_size=(2, 1, 3),
    num_attention_heads=2,
    attention_head_dim=10,
    out_channels=6,
    freq_dim=9,
    cross_attn_norm=False,
    eps=1e-4,
    num_layers=3,
)
PICTURE = TEXT | dict(
    num_attention_heads=2,
    attention_head_dim=12,
    in_channels=9,
    text_dim=4,
    image_dim=6,
    added_kv_proj_dim=24,
)
# First and last picture: a position for each of their tokens.
PICTURES = PICTURE | dict(pos_embed_seq_len=10, num_layers=1)
TOKEN_BY_TOKEN = TEXT | dict(in_channels=6, out_channels=6, attention_head_dim=16, num_attention_heads=2)

# Timestep, then frames, height, width of the latents.
NETWORKS = {
    "wan_text": (TEXT, [(999, 3, 4, 6), (17.25, 1, 6, 4), (500, 2, 8, 2)]),
    "wan_rare": (RARE, [(640, 4, 3, 6)]),
    "wan_picture": (PICTURE, [(981, 3, 4, 6)]),
    "wan_pictures": (PICTURES, [(250.5, 2, 6, 4)]),
    "wan_token_by_token": (TOKEN_BY_TOKEN, [(875, 3, 6, 4), (31.5, 5, 2, 4)]),
}
# What each latent frame's timestep is multiplied by.
FACTORS = {"wan_token_by_token": [[0.0, 1.0, 1.0], [0.0, 1.0, 0.5, 1.0, 0.0]]}


@torch.no_grad()
def network(parameters: dict, seed: int) -> WanTransformer3DModel:
    """Normalisations scale by about 1 and shift; modulations are as large as what they change."""
    model = randomize(WanTransformer3DModel(**parameters), seed, 0.9)
    rng = generator(seed + 5000)
    for key, parameter in model.named_parameters():
        uniform = 2 * torch.rand(parameter.shape, generator=rng) - 1
        if ".norm" in key and key.endswith(".weight"):
            parameter.copy_(1 + 0.3 * uniform)
        elif key.endswith(("scale_shift_table", "pos_embed")):
            parameter.copy_(0.6 * uniform)
    return round_to_f16(model)


def config(model) -> dict:
    return json.loads(model.to_json_string())


def numbered(i: int, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return tensors if i == 0 else {f"{key}.{i}": value for key, value in tensors.items()}


@torch.no_grad()
def call(model, timestep: float, size: list[int], factors: list[float] | None, rng) -> dict[str, torch.Tensor]:
    shown = model.config.image_dim
    text = (BATCH, TOKENS if shown is None else TEXT_BESIDE_PICTURES, model.config.text_dim)
    given = dict(
        hidden_states=torch.randn(BATCH, model.config.in_channels, *size, generator=rng),
        timestep=torch.full((BATCH,), timestep),
        encoder_hidden_states=torch.randn(text, generator=rng),
    )
    if shown is not None:
        tokens = model.config.pos_embed_seq_len or 5
        picture = torch.randn(BATCH, tokens, shown, generator=rng)
        # As the pipeline gives two pictures: one after the other in the batch.
        split = 1 if model.config.pos_embed_seq_len is None else 2
        given["encoder_hidden_states_image"] = picture.reshape(BATCH * split, tokens // split, shown)
    called = dict(given)
    if factors is not None:
        frames, height, width = size
        mask = torch.tensor(factors)[:, None, None].expand(frames, height, width)
        tokens = (mask[:, ::2, ::2] * timestep).flatten()
        called["timestep"] = tokens.unsqueeze(0).expand(BATCH, -1)
    sample = model(**called).sample
    given["timestep"] = given["timestep"][:1]
    if shown is not None:
        given["encoder_hidden_states_image"] = picture
    return inputs(**given) | outputs(sample=sample)


# What Wan's own code calls things, in the order in which they are replaced.
def original(model) -> dict[str, torch.Tensor]:
    state = {original_key(key): value for key, value in model.state_dict().items()}
    converted = convert_wan_transformer_to_diffusers(dict(state))
    expected = model.state_dict()
    assert converted.keys() == expected.keys(), converted.keys() ^ expected.keys()
    assert all(torch.equal(converted[key], expected[key]) for key in expected)
    return {f"weights.{key}": value.half() for key, value in state.items()}


# Layers of the blocks by the names of Wan's own code, with their names in diffusers.
LORA_LAYERS = [(f"{old}.{letter}", f"{new}.{name}")
               for old, new in (("self_attn", "attn1"), ("cross_attn", "attn2"))
               for letter, name in zip("qkvo", ("to_q", "to_k", "to_v", "to_out.0"))]
LORA_LAYERS += [("ffn.0", "ffn.net.0.proj"), ("ffn.2", "ffn.net.2")]
# Beside the blocks; diffusers does not read them in musubi-tuner's layout.
LORA_OTHERS = [("text_embedding.0", "condition_embedder.text_embedder.linear_1"),
               ("text_embedding.2", "condition_embedder.text_embedder.linear_2"),
               ("time_embedding.0", "condition_embedder.time_embedder.linear_1"),
               ("time_embedding.2", "condition_embedder.time_embedder.linear_2"),
               ("time_projection.1", "condition_embedder.time_proj"),
               ("head.head", "proj_out")]


def lora_files(model, rng) -> dict[str, dict[str, torch.Tensor]]:
    """The same matrices in each layout, with alphas in the second and third. The last has differences of biases, too, as those of
    lightx2v have, and that of the last layer as a whole; diffusers leaves out those of normalisations."""
    files = {"peft": {}, "original": {}, "musubi": {}, "differences": {}}
    layers = [(f"blocks.{block}.{old}", f"blocks.{block}.{new}") for block in range(2) for old, new in LORA_LAYERS]
    for index, (old, new) in enumerate(layers + LORA_OTHERS):
        rank = 2 + index % 2
        rows, columns = model.get_submodule(new).weight.shape
        down = 0.3 * torch.randn(rank, columns, generator=rng)
        up = 0.3 * torch.randn(rows, rank, generator=rng)
        files["peft"] |= {f"transformer.{new}.lora_A.weight": down, f"transformer.{new}.lora_B.weight": up}
        key = f"diffusion_model.{old}"
        files["original"] |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up}
        if old.startswith("blocks."):
            alpha = torch.tensor(0.5 + index)
            files["original"][f"{key}.alpha"] = alpha
            key = f"lora_unet_{old.replace('.', '_')}"
            files["musubi"] |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up, f"{key}.alpha": alpha}
        key = f"diffusion_model.{old}"
        bias = 0.5 * torch.randn(rows, generator=rng)
        if old == "head.head":
            files["differences"] |= {f"{key}.diff": 0.3 * torch.randn(rows, columns, generator=rng), f"{key}.diff_b": bias}
        else:
            files["differences"] |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up, f"{key}.diff_b": bias}
    files["differences"]["diffusion_model.blocks.0.self_attn.q.alpha"] = torch.tensor(1.0)
    zeros = torch.zeros(model.config.num_attention_heads * model.config.attention_head_dim)
    files["differences"]["diffusion_model.blocks.0.self_attn.norm_k.diff"] = zeros
    files["differences"]["diffusion_model.blocks.0.norm3.diff_b"] = zeros
    return files


@torch.no_grad()
def loras():
    (name, (parameters, cases)) = next(iter(NETWORKS.items()))
    results = {}
    for layout, file in lora_files(network(parameters, 300), generator(7)).items():
        path = FOLDER / f"{name.replace('text', 'lora')}_{layout}.safetensors"
        save_file({key: value.contiguous().clone() for key, value in file.items()}, path)
        model = network(parameters, 300)
        state = WanLoraLoaderMixin.lora_state_dict(path)
        model.load_lora_adapter(state)
        tensors = call(model, float(cases[0][0]), cases[0][1:], None, generator(1300))
        results |= {layout: tensors["output.sample"]}
    assert not any(torch.allclose(a, b) for a in results.values() for b in results.values() if a is not b)
    write(FOLDER / "wan_lora.safetensors", outputs(**results), config={}, call={})


def main():
    for seed, (name, (parameters, cases)) in enumerate(NETWORKS.items(), 300):
        model = network(parameters, seed)
        tensors = weights(model, torch.float16)
        rng = generator(1000 + seed)
        factors = FACTORS.get(name, [None] * len(cases))
        for i, (timestep, *size) in enumerate(cases):
            tensors |= numbered(i, call(model, float(timestep), size, factors[i], rng))
        write(FOLDER / f"{name}.safetensors", tensors, config=config(model), call={"timestep_factors": factors})
        if name == "wan_picture":
            write(FOLDER / "wan_original.safetensors", original(model), config=config(model), call={})


main()
loras()
