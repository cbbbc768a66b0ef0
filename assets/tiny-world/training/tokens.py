"""The tokenizer of tiny-world: CLIP's byte-level BPE with a vocabulary of a few hundred entries.

    python tokens.py DIR      writes vocab.json, merges.txt, tokenizer_config.json, special_tokens_map.json
"""

import json
import sys
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTokenizer

from models import TOKENS
from world import BACKGROUNDS, COLOURS, MOTIONS, SHAPES

OTHER_WORDS = "a an the of is are and with on in at video clip movie scene it that this , .".split()
START, END = "<|startoftext|>", "<|endoftext|>"


def byte_alphabet() -> list[str]:
    """The 256 stand-in characters of byte-level BPE, in the order of GPT-2's `bytes_to_unicode`."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    shifted = 256 - len(plain)
    return [chr(b) for b in plain] + [chr(256 + i) for i in range(shifted)]


def world_words() -> set[str]:
    return {w for text in [*COLOURS, *SHAPES, *MOTIONS, *BACKGROUNDS] for w in text.split()}


def learn_merges(words) -> list[tuple[str, str]]:
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    bpe.normalizer = normalizers.Lowercase()
    bpe.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), ByteLevel(add_prefix_space=False)])
    trainer = trainers.BpeTrainer(vocab_size=4000, min_frequency=1, end_of_word_suffix="</w>", show_progress=False)
    bpe.train_from_iterator(sorted(words), trainer)
    return [tuple(merge) for merge in json.loads(bpe.to_str())["model"]["merges"]]


def save_tokenizer(folder: Path, words=frozenset()) -> CLIPTokenizer:
    """A tokenizer to which each of `words`, or else of the captions', is one token."""
    folder.mkdir(parents=True, exist_ok=True)
    merges, alphabet = learn_merges(words or {*world_words(), *OTHER_WORDS}), byte_alphabet()
    entries = alphabet + [c + "</w>" for c in alphabet]
    for a, b in merges:
        if a + b not in entries:
            entries.append(a + b)
    entries += [START, END]
    (folder / "vocab.json").write_text(json.dumps({entry: i for i, entry in enumerate(entries)}, ensure_ascii=False))
    lines = ["#version: 0.2"] + [f"{a} {b}" for a, b in merges]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n")
    special = {"bos_token": START, "eos_token": END, "pad_token": END, "unk_token": END}
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2) + "\n")
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": TOKENS, "do_lower_case": True, **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    return CLIPTokenizer.from_pretrained(folder)


def encode(tokenizer, texts):
    return tokenizer(
        texts, padding="max_length", truncation=True, max_length=TOKENS, return_tensors="pt"
    ).input_ids


if __name__ == "__main__":
    tokenizer = save_tokenizer(Path(sys.argv[1]))
    print(len(tokenizer), tokenizer.tokenize("a red ball spinning in the desert at sunset, beautifully"))
