"""Golden fixtures of crates/t2v-text-encoder for CLIP's tower of pictures, from transformers 5.23.0 and torch 2.13.0.

    python scripts/make_t2v_text_encoder_vision_fixtures.py

    clip_vision_<name>.safetensors   small encoders, pictures that are prepared for them, and their hidden states before the last layer
"""

import torch
from fixtures import folder_of, generator, inputs, outputs, randomize, weights, write
from transformers import CLIPVisionConfig, CLIPVisionModel

FOLDER = folder_of("t2v-text-encoder")
ENCODERS = {
    "clip_vision_a": dict(
        hidden_size=12, intermediate_size=20, num_hidden_layers=3, num_attention_heads=3, image_size=14, patch_size=7, hidden_act="gelu"
    ),
    # Squares that leave some pixels out, the activation of OpenAI's checkpoints.
    "clip_vision_b": dict(
        hidden_size=10,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=17,
        patch_size=4,
        hidden_act="quick_gelu",
        layer_norm_eps=1e-3,
    ),
}


@torch.no_grad()
def main():
    for seed, (name, config) in enumerate(ENCODERS.items(), 700):
        model = randomize(CLIPVisionModel(CLIPVisionConfig(**config)), seed)
        pixels = torch.randn(2, 3, config["image_size"], config["image_size"], generator=generator(seed + 50))
        hidden = model(pixel_values=pixels, output_hidden_states=True).hidden_states[-2]
        # Published checkpoints have the tower's name before each key.
        named = {key.replace("weights.", "weights.vision_model.", 1): value for key, value in weights(model).items()}
        named = named if name.endswith("a") else weights(model)
        tensors = named | inputs(pixels=pixels) | outputs(penultimate=hidden)
        write(FOLDER / f"{name}.safetensors", tensors, config=config)


main()
