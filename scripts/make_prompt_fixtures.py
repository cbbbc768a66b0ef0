"""Golden fixtures of crates/t2v-text-encoder for learnt words, weighted prompts and long ones.

    python scripts/make_prompt_fixtures.py          after make_t2v_text_encoder_fixtures.py

Learnt words are loaded by diffusers 0.42.1. Weights and chunks are not in diffusers: they are computed here with
transformers' text model, chunk by chunk, from parts and weights that are written out.
"""

import torch
from diffusers.loaders import TextualInversionLoaderMixin
from fixtures import encode, folder_of, generator, outputs, randomize, weights, write
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

FOLDER = folder_of("t2v-text-encoder")
WIDTH = 16

INVERSIONS = [
    # file, the word where it is not the file's own, prompts
    ("embeddings/cat.safetensors", None, ["a <cat-toy> in the snow", "a<cat-toy>, a <cat-toy> and a cat"]),
    ("embeddings/painter.bin", None, ["a panda by <painter>", "<painter> " * 30, "the <painter>_2 of <painter>_1"]),
    ("embeddings/charm.pt", None, ["charmturn of a red fox, charmturn"]),
    ("embeddings/bad.safetensors", "bad-hands", ["bad-hands, blurry", "a <cat-toy> by <painter> with bad-hands"]),
]
WEIGHTED = [
    # prompt, its parts and their weights
    (
        "a (red:1.3) fox and [two] ((balloons))",
        [("a ", 1), ("red", 1.3), (" fox and ", 1), ("two", 1 / 1.1), (" ", 1), ("balloons", 1.1 * 1.1)],
    ),
    ("a small fox \\(red\\)", [("a small fox (red)", 1)]),
    ("the quiet forest at dawn " * 30, [("the quiet forest at dawn " * 30, 1)]),
    (
        "the wet grass " * 20 + "(smoke rises:0.4) " + "over the river " * 30,
        [("the wet grass " * 20, 1), ("smoke rises", 0.4), (" " + "over the river " * 30, 1)],
    ),
]


class Loader(TextualInversionLoaderMixin):
    hf_device_map = None
    components = {}

    def __init__(self, tokenizer, text_encoder):
        self.tokenizer, self.text_encoder = tokenizer, text_encoder


def embedding_files():
    (FOLDER / "embeddings").mkdir(exist_ok=True)
    vectors = [torch.randn(n, WIDTH, generator=generator(40 + n)) for n in range(5)]
    save_file({"<cat-toy>": vectors[1]}, FOLDER / "embeddings/cat.safetensors")
    torch.save({"<painter>": vectors[3].half()}, FOLDER / "embeddings/painter.bin")
    a1111 = {"string_to_token": {"*": 265}, "string_to_param": {"*": vectors[2]}, "name": "charmturn", "step": 100}
    torch.save(a1111 | {"sd_checkpoint": None, "sd_checkpoint_name": "none"}, FOLDER / "embeddings/charm.pt")
    save_file({"emb_params": vectors[4]}, FOLDER / "embeddings/bad.safetensors")


@torch.no_grad()
def inversions(tokenizer, model):
    loader, tensors, cases = Loader(tokenizer, model), {}, []
    for file, word, prompts in INVERSIONS:
        loader.load_textual_inversion(str(FOLDER / file), token=word)
        for prompt in prompts:
            ids = torch.tensor([encode(tokenizer, loader.maybe_convert_prompt(prompt, tokenizer))])
            tensors[f"inversion.{len(tensors)}"] = model(ids).last_hidden_state
        cases.append({"file": file, "word": word, "prompts": prompts})
    return tensors, cases


def chunked(tokenizer, parts):
    """Ids and weights of each chunk: start, text, end, padding."""
    start, end, length = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.model_max_length
    ids, scale = [], []
    for text, weight in parts:
        tokens = tokenizer(text, add_special_tokens=False).input_ids
        ids += tokens
        scale += [weight] * len(tokens)
    chunks = []
    for at in range(0, len(ids), length - 2):
        tokens, factors = ids[at : at + length - 2], scale[at : at + length - 2]
        padding = length - 1 - len(tokens)
        chunks.append(([start, *tokens, *[end] * padding], [1.0, *factors, *[1.0] * padding]))
    return chunks


@torch.no_grad()
def weighted(tokenizer, model):
    tensors = {}
    for i, (_, parts) in enumerate(WEIGHTED):
        chunks = chunked(tokenizer, parts)
        assert (len(chunks) > 2) == (i >= 2), (i, len(chunks))
        for skip in (0, 1):
            embeddings = []
            for ids, factors in chunks:
                states = model(torch.tensor([ids]), output_hidden_states=True).hidden_states
                plain = model.final_layer_norm(states[-(skip + 1)])
                scaled = plain * torch.tensor(factors)[None, :, None]
                ratio = plain.mean() / scaled.mean()
                assert 0.5 < ratio < 2, ratio
                embeddings.append(scaled * ratio)
            tensors[f"weighted.{i}.{skip}"] = torch.cat(embeddings, 1)
    return tensors, [prompt for prompt, _ in WEIGHTED]


def main():
    tokenizer = CLIPTokenizer.from_pretrained(FOLDER / "tokenizer")
    special = {f"{kind}_token_id": getattr(tokenizer, f"{kind}_token_id") for kind in ("bos", "eos", "pad")}
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=40,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=tokenizer.model_max_length,
        projection_dim=WIDTH,
        **special,
    )
    model = randomize(CLIPTextModel(config), 31)
    embedding_files()
    parts, settings = weights(model), model.config.to_dict()
    long, prompts = weighted(tokenizer, model)
    words, cases = inversions(tokenizer, model)
    tensors = parts | outputs(**long, **words)
    write(FOLDER / "prompts.safetensors", tensors, config=settings, inversions=cases, weighted=prompts)


main()
