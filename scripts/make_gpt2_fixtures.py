"""Golden fixtures of crates/t2v-text-encoder for GPT-2, from transformers 5.23.0 and torch 2.13.0.

    python scripts/make_gpt2_fixtures.py
"""

import json
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import torch
from fixtures import END, TRAINING_TEXT, byte_alphabet, folder_of, outputs, randomize, write
from tokenizers import pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, GPT2Tokenizer

FOLDER = folder_of("t2v-text-encoder")
TEXTS = [
    "a red ball",
    " leading space, two  spaces and\nlines\n\n",
    "It's 2024: they'll say “naïve” 一只熊猫 😀",
    f"an end {END} and more",
]


def learn_merges(count: int) -> list[tuple[str, str]]:
    """The most frequent pairs; where two are as frequent, the lesser one."""
    cut = pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str
    words = [(list(word), times) for word, times in Counter(piece for piece, _ in cut(TRAINING_TEXT)).items()]
    merges = []
    for _ in range(count):
        pairs = Counter()
        for parts, times in words:
            for pair in zip(parts, parts[1:]):
                pairs[pair] += times
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        for parts, _ in words:
            for i in range(len(parts) - 2, -1, -1):
                if tuple(parts[i : i + 2]) == best:
                    parts[i : i + 2] = ["".join(best)]
    return merges


def tokenizer() -> GPT2Tokenizer:
    merges = learn_merges(120)
    entries = dict.fromkeys(byte_alphabet() + [a + b for a, b in merges] + [END])
    with tempfile.TemporaryDirectory() as folder:
        vocabulary = {entry: i for i, entry in enumerate(entries)}
        (Path(folder) / "vocab.json").write_text(json.dumps(vocabulary))
        lines = ["#version: 0.2"] + [f"{a} {b}" for a, b in merges]
        (Path(folder) / "merges.txt").write_text("\n".join(lines) + "\n")
        return GPT2Tokenizer.from_pretrained(folder)


@torch.no_grad()
def main():
    shutil.rmtree(FOLDER / "gpt2", ignore_errors=True)
    words = tokenizer()
    end = words.convert_tokens_to_ids(END)
    config = GPT2Config(
        vocab_size=len(words), n_positions=64, n_embd=16, n_layer=2, n_head=2, bos_token_id=end, eos_token_id=end
    )
    model = randomize(GPT2LMHeadModel(config), 51, gain=2.5)
    model.save_pretrained(FOLDER / "gpt2")
    words.save_pretrained(FOLDER / "gpt2")
    (FOLDER / "gpt2" / "generation_config.json").unlink()
    ids = [words(text).input_ids for text in TEXTS]
    prompt = torch.tensor([ids[0]])
    greedy = model.generate(prompt, do_sample=False, max_new_tokens=12, attention_mask=torch.ones_like(prompt))
    added = greedy[0, prompt.shape[1] :].tolist()
    tensors = outputs(**{f"logits.{i}": model(torch.tensor([row])).logits for i, row in enumerate(ids)})
    cases = [{"text": text, "ids": row} for text, row in zip(TEXTS, ids)]
    write(FOLDER / "gpt2.safetensors", tensors, cases=cases, greedy=words.decode(added, skip_special_tokens=True))
    print(added, words.decode(added))


main()
