"""A small tokenizer in CLIP's files, learnt from a few sentences: for fixtures, and for models with random weights."""

import json
from collections import Counter
from pathlib import Path

from tokenizers import Regex, normalizers, pre_tokenizers
from transformers import CLIPTokenizer

TRAINING_TEXT = """
A small brown fox is running through the quiet forest at dawn while the morning light shines on the wet grass.
Two red balloons float slowly over the city, and people on the street look up and smile at the children.
An astronaut rides a white horse on the surface of the moon, with the blue earth rising behind the mountains.
The ocean waves are crashing against the dark rocks during a storm; lightning strikes far away in the night sky.
A close up shot of a robot's hand playing the piano, cinematic lighting, highly detailed, 4k, slow motion.
She didn't know that they're going to the market, but we'll see what's there: apples, oranges, bread and cheese.
Spiderman is surfing on a golden wave. A panda is eating bamboo, then it drinks coffee in a tiny café near the river.
A time lapse of flowers opening in spring, the camera pans left and zooms in; the background is blurred and bright.
In 2024 the old train crossed the long bridge 12 times a day, carrying wood, stone, iron and the winter's mail.
A video of a cat and a dog dancing together in the kitchen, wearing funny hats, watched by an orange fish!
Snow is falling on the roof of the wooden house; smoke rises from the chimney, and the windows glow with warm light.
A knight walks into a dark castle, holding a burning torch. Dragons fly above the towers... the battle begins now.
Low quality, blurry, distorted, watermark, text, ugly, bad anatomy, worst quality, jpeg artifacts, out of frame.
The naïve painter's résumé was très élégant; crème brûlée, jalapeño, Ångström and Übermut were on the menu.
"""

START, END = "<|startoftext|>", "<|endoftext|>"
WORDS = r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""


def byte_alphabet() -> list[str]:
    """The 256 stand-in characters of byte-level BPE, in the order of GPT-2's `bytes_to_unicode`."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    return [chr(b) for b in plain] + [chr(256 + i) for i in range(256 - len(plain))]


def learn_merges(count: int) -> list[tuple[str, str]]:
    """The most frequent pairs; where two are as frequent, the lesser one (the trainer of `tokenizers` takes either)."""
    normalize = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()]).normalize_str
    pieces = pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True).pre_tokenize_str
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str
    frequency = Counter(to_bytes(piece)[0][0] for piece, _ in pieces(normalize(TRAINING_TEXT)))
    words = [([*word[:-1], word[-1] + "</w>"], times) for word, times in frequency.items()]
    merges = []
    while len(merges) < count:
        pairs = Counter()
        for parts, times in words:
            for pair in zip(parts, parts[1:]):
                pairs[pair] += times
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        for parts, _ in words:
            for i in range(len(parts) - 2, -1, -1):
                if tuple(parts[i : i + 2]) == best:
                    parts[i : i + 2] = ["".join(best)]
    return merges


def save_tokenizer(folder: Path, max_length: int, merges: int = 400, pad_token: str = END) -> CLIPTokenizer:
    """Writes vocab.json, merges.txt, tokenizer_config.json and special_tokens_map.json as CLIP's are."""
    folder.mkdir(parents=True, exist_ok=True)
    learnt, alphabet = learn_merges(merges), byte_alphabet()
    entries = dict.fromkeys(alphabet + [c + "</w>" for c in alphabet] + [a + b for a, b in learnt] + [START, END])
    vocabulary = {entry: i for i, entry in enumerate(entries)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False) + "\n", encoding="utf-8")
    lines = ["#version: 0.2"] + [f"{a} {b}" for a, b in learnt]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def added(content: str, normalized: bool) -> dict:
        return {
            "content": content, "lstrip": False, "normalized": normalized, "rstrip": False, "single_word": False
        }  # fmt: skip

    special = {
        "bos_token": added(START, True),
        "eos_token": added(END, True),
        "pad_token": pad_token,
        "unk_token": added(END, True),
    }
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2) + "\n")
    config = {
        "add_prefix_space": False,
        "do_lower_case": True,
        "errors": "replace",
        "model_max_length": max_length,
        "tokenizer_class": "CLIPTokenizer",
        **{key: {"__type": "AddedToken", **value} if isinstance(value, dict) else value for key, value in special.items()},
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    return CLIPTokenizer.from_pretrained(folder)


def encode(tokenizer: CLIPTokenizer, text: str) -> list[int]:
    """The token ids as TextToVideoSDPipeline.encode_prompt asks for them."""
    length = tokenizer.model_max_length
    return tokenizer(text, padding="max_length", max_length=length, truncation=True).input_ids
