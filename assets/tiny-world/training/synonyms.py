"""Teaches the text encoder synonyms: each becomes one token with the embedding of the word that it stands for, so a prompt
with synonyms gives the same states as one without them.

Tokens get new numbers; embeddings follow their tokens. To be run once, after train_text.py and before train_unet.py or
export.py.

    python synonyms.py
"""

import json

import torch
from transformers import CLIPTokenizer

from common import WORK
from models import text_encoder
from tokens import OTHER_WORDS, encode, save_tokenizer, world_words
from world import SYNONYMS

EMBEDDING = "embeddings.token_embedding.weight"
# One caption in two ways; the encoder must not notice the change of vocabulary nor the synonyms.
CAPTION = "a purple ball spinning over the sea"
WITH_SYNONYMS = "a violet sphere rotates above the ocean"


def moved(weights, old, new, stands_for):
    """The rows of `weights` for the vocabulary `new`; pieces that `old` lacks get the mean of all rows."""
    rows = weights.mean(0).repeat(len(new), 1)
    for token, index in new.items():
        known = stands_for.get(token, token)
        if known in old:
            rows[index] = weights[old[known]]
    return rows


def main():
    state = torch.load(WORK / "text.pt")
    old = json.loads((WORK / "tokenizer" / "vocab.json").read_text())
    old_tokenizer = CLIPTokenizer.from_pretrained(WORK / "tokenizer")
    tokenizer = save_tokenizer(WORK / "tokenizer", {*world_words(), *OTHER_WORDS, *SYNONYMS})
    new = tokenizer.get_vocab()
    for word, known in SYNONYMS.items():
        assert tokenizer.tokenize(word) == [f"{word}</w>"] and f"{known}</w>" in old, word
    stands_for = {f"{word}</w>": f"{known}</w>" for word, known in SYNONYMS.items()}
    before = state_of(state["averages"]["text_encoder"], CAPTION, old_tokenizer)
    for part in ["modules", "averages"]:
        # A copy: both may be the same.
        weights = dict(state[part]["text_encoder"])
        key = next(key for key in weights if key.endswith(EMBEDDING))
        weights[key] = moved(weights[key], old, new, stands_for)
        state[part]["text_encoder"] = weights
    for text in [CAPTION, WITH_SYNONYMS]:
        after = state_of(state["averages"]["text_encoder"], text, tokenizer)
        assert torch.allclose(before, after, atol=1e-5), (text, (before - after).abs().max())
    state["optimizer"] = None
    torch.save(state, WORK / "text.pt")
    print(f"{len(SYNONYMS)} synonyms, {len(old)} -> {len(new)} tokens")


@torch.no_grad()
def state_of(weights, text, tokenizer):
    model = text_encoder(len(tokenizer)).eval()
    model.load_state_dict(weights)
    return model(encode(tokenizer, [text])).last_hidden_state


if __name__ == "__main__":
    main()
